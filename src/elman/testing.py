"""Proofs: `check_cell` for any cell, `check_gradient` for any gradient, `random_cell` for equations that nobody chose.

Longer than the guide for a file: `check_cell` is one list of promises.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from elman.errors import CellError, DataError, ProductError, SettingError
from elman.gates import Array
from elman.graph import Graph
from elman.random_cells import random_cell
from elman.replay import from_graph
from elman.rnn import RNN
from elman.shapes import written
from elman.targets.interpreter import interpret
from elman.trace import HOW_TO_MAKE, Cell

__all__ = ["check_cell", "check_gradient", "random_cell"]

Arrays = dict[str, Array]
Loss = Callable[[Mapping[str, Array]], float]

SIZES = {"input": 7, "hidden": 5, "output": 11, "memory": 13}
"""Sizes that differ (others follow), so that a wrong size name shows; none is a small number that equations write out."""
STEPS, LENGTHS = 6, (4, 6, 0, 3)
CLOSE = 1e-10
"""How far two ways to one value may lie apart in float64, relative to the largest of an array (at least 1)."""


# --- gradients --------------------------------------------------------------------------------------------------------


def check_gradient(
    function: Loss, gradient: Mapping[str, Any], point: Mapping[str, Any], *, tolerance: float = 1e-6, seed: int = 0
) -> None:
    """Compare a gradient with central differences along random directions: of every array by itself, then of all.

    `function` takes float64 arrays by name and returns a number; `gradient` holds the arrays to check, `point` where they
    were taken; `tolerance` is relative to the slope. Raises `CellError` that says which array is wrong and by how much, and
    `DataError` where the function has a kink or a jump at the point, so that another must be taken.

    >>> w = np.array([1.0, 2.0, 4.0])
    >>> check_gradient(lambda at: float(at["w"] @ at["w"]), {"w": 2 * w}, {"w": w})
    >>> check_gradient(lambda at: float(at["w"] @ at["w"]), {"w": 3 * w}, {"w": w})
    Traceback (most recent call last):
    elman.errors.CellError: the gradient for w gives a slope of 10.9173, central differences give 7.27818: off by 0.33 of it
    """
    rng = np.random.default_rng(seed)
    for names in [*([name] for name in gradient), list(gradient)]:
        direction = {name: rng.standard_normal(np.shape(point[name])) for name in names}
        length = np.sqrt(sum(float(np.sum(along**2)) for along in direction.values()))
        direction = {name: along / length for name, along in direction.items()}
        slope, noise = _slope(function, dict(point), direction, tolerance)
        given = sum(float(np.sum(gradient[name] * along)) for name, along in direction.items())
        error, scale = abs(given - slope), max(abs(slope), abs(given))
        if not error <= tolerance * scale + noise:
            raise CellError(
                f"the gradient for {', '.join(names)} gives a slope of {given:.6g}, central differences give {slope:.6g}: "
                f"off by {error / scale:.2g} of it"
            )


def _slope(function: Loss, point: Arrays, direction: Arrays, tolerance: float) -> tuple[float, float]:
    """The slope along a direction by central differences of fourth order, and how far rounding may move it.

    Raises `DataError` unless, at some step, half the step gives the same and one-sided differences meet as they should.
    """

    def at(distance: float) -> float:
        return float(function(point | {name: point[name] + distance * along for name, along in direction.items()}))

    middle = at(0.0)
    for step in (1e-3, 1e-4, 1e-5):
        far, near, nearest = ((at(k * step), at(-k * step)) for k in (2.0, 1.0, 0.5))
        noise = 4e-15 * max(1.0, *map(abs, (middle, *far, *near))) / step
        wide = (8.0 * (near[0] - near[1]) - (far[0] - far[1])) / (12.0 * step)
        slope = (8.0 * (nearest[0] - nearest[1]) - (near[0] - near[1])) / (6.0 * step)
        bend, half_bend = (abs(a + b - 2.0 * middle) / h for (a, b), h in ((near, step), (nearest, step / 2.0)))
        doubt = tolerance * abs(slope) / 4.0 + noise
        if abs(slope - wide) <= doubt and half_bend <= 0.75 * bend + doubt:  # a bend halves with the step, a kink stays
            return slope, noise
    raise DataError("the function is not smooth at this point: differences do not settle as the step shrinks; take another")


# --- cells ------------------------------------------------------------------------------------------------------------


def check_cell(cell: Cell, *, seed: int = 0, target: str = "auto", **sizes: int) -> None:
    """Check all that elman promises about a cell, on random float64 values, at sizes that differ (or at those given).

    The target gives what the interpreter gives, every named value; step by step, in chunks, padded, after a reset and on
    tokens it gives what the plain sequence gives; the derived gradients are those of central differences, to 1e-6; the
    graph survives JSON. Raises `CellError`: which cell, which check, which value, how far off; `SettingError` for what is no
    cell, or a size that it lacks.

    >>> from elman import cells
    >>> check_cell(cells.lstm)
    """
    if not isinstance(cell, Cell):
        raise SettingError(f"check_cell: {cell!r} is not a cell; {HOW_TO_MAKE}")
    sizes, name = _fitting(cell, sizes), "values"
    try:
        with np.errstate(all="ignore"):
            problem = _drawn(cell, sizes, seed, target)
            for check in CHECKS:
                name = check.__name__[1:].replace("_", " ")
                for found, wanted in check(problem):
                    _agree(found, wanted)
    except Exception as error:  # a target may fail in any way
        kind = "" if isinstance(error, CellError) else f"{type(error).__name__}: "
        raise CellError(f"{cell.name}: {name}: {kind}{error}") from error


def _fitting(cell: Cell, given: Mapping[str, int]) -> dict[str, int]:
    """Sizes at which the equations fit: all different if they can be, else even, equal, or equal and easily divided.

    A residual sum may want equal sizes; a declared matrix has its own, and is wrong where it fits with no others.
    """
    more, refused = count(17, 2), []
    free = {name: SIZES.get(name) or next(more) for name in cell.sizes if name not in given}
    for sizes in (free, {n: 2 * s for n, s in free.items()}, dict.fromkeys(free, 5), dict.fromkeys(free, 12)):
        try:
            cell.graph(**given, **sizes)
        except CellError as error:
            refused.append(error)
            continue
        swapped = next((error for error in refused if isinstance(error.__cause__, ProductError)), None)
        if swapped is not None and len(free) > 1 and len({*sizes.values()}) == 1:
            only = f"{' = '.join(free)}; are the rows and columns of a weight swapped?"
            raise CellError(f"{swapped}; it fits only where {only}") from None
        return {**given, **sizes}
    raise refused[0]


@dataclass(frozen=True)
class _Problem:
    """A layer with random parameters, and what it is run on."""

    rnn: RNN
    x: Array  # [B, T, I]
    state: Arrays  # [B, ...]
    reset: Array  # [B, T]
    rng: np.random.Generator

    @property
    def input(self) -> str:
        return next(iter(self.rnn.graph.leaves("input")))

    def row(self, b: int) -> Arrays:
        return {name: value[b] for name, value in self.state.items()}

    def run(self, x: Array, state: Any = None, **asked: Any) -> Arrays:
        return _named(*self.rnn(x, state, **asked))

    def whole(self) -> Arrays:
        return self.run(self.x, self.state)


def _drawn(cell: Cell, sizes: Mapping[str, Any], seed: int, target: str) -> _Problem:
    """Random values, parameters near their first ones; smaller or positive if the cell's values would not be finite.

    Raises `CellError` where nothing helps.
    """
    rng, rnn = np.random.default_rng(seed), RNN(cell, dtype="float64", seed=seed, target=target, **sizes)
    first, axes, bad = rnn.parameters, (len(LENGTHS), STEPS), ""
    shapes = [(*axes, *rnn.graph.nodes[i].shape) for i in rnn.graph.leaves("input").values()]
    shapes += [(*axes[:1], *rnn.graph.nodes[i].shape) for i in rnn.graph.leaves("state").values()]
    for scale, rule in ((0.5, np.array), (0.1, np.array), (0.5, np.absolute), (0.1, np.absolute)):
        noise = {n: rng.standard_normal(v.shape) / v.shape[-1] ** (v.ndim / 2 - 0.5) for n, v in first.items()}
        rnn.update({name: value + scale * noise[name] for name, value in first.items()})
        x, *states = (rule(2.0 * scale * rng.standard_normal(shape)) for shape in shapes)
        state = dict(zip(rnn.graph.leaves("state"), states, strict=True))
        reset = rng.random(axes) < 0.2
        reset[:, -1] = True  # also past the end of the shorter ones, where it must do nothing
        problem = _Problem(rnn, x, state, reset, rng)
        values = rnn.inspect(x, state, reset=problem.reset) | problem.whole()
        bad = next((name for name, value in values.items() if not np.isfinite(value).all()), "")
        if not bad:
            return problem
    raise CellError(f"{bad} is not finite, whatever the parameters, the input and the state are")


def _named(y: Any, state: Mapping[str, Any]) -> Arrays:
    return {"the output": np.asarray(y)} | {f"the state {name}": np.asarray(value) for name, value in state.items()}


def _agree(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise `CellError` for the first value that lies too far from what is wanted; infinities and NaN must be there too."""
    for name, right in wanted.items():
        value = found[name]
        if value.shape != right.shape:
            raise CellError(f"{name} is {written(value.shape)}, {written(right.shape)} is wanted")
        same = (value == right) | (np.isnan(value) & np.isnan(right))
        apart = np.where(same, 0.0, np.absolute(value - right))
        if apart.size and not apart.max() <= CLOSE * np.absolute(right).max(initial=1.0, where=np.isfinite(right)):
            place = np.unravel_index(np.argmax(apart), apart.shape)  # the first NaN if there is one
            where = f"{name} at {tuple(map(int, place))}"
            raise CellError(f"{where} is {value[place]:.6g}, {right[place]:.6g} is wanted: {apart[place]:.2g} apart")


# --- what is checked: pairs of what is found and what is wanted -------------------------------------------------------

Pairs = Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]


def _walk(p: _Problem) -> Iterator[tuple[tuple[int, int], Arrays, list[Any]]]:
    """Every step of every row by the interpreter, from the graph as it was traced: where, the states before, all nodes."""
    for b in range(len(p.x)):
        state = p.row(b)
        for t in range(STEPS):
            nodes = interpret(p.rnn.graph, {**p.rnn.parameters, p.input: p.x[b, t], **state})
            yield (b, t), state, nodes
            state = {name: nodes[index] for name, index in p.rnn.graph.named("state").items()}


def _function_on_arrays(p: _Problem) -> Pairs:
    for place, state, nodes in _walk(p):
        given = p.rnn.cell.step(p.x[place], *state.values(), **p.rnn.parameters)
        given = given if isinstance(given, tuple | list) else (given,)
        last = {name: nodes[index] for name, index in p.rnn.graph.named("state").items()}
        (y,) = (nodes[index] for index in p.rnn.graph.named("output").values())
        yield _named(given[0], dict(zip(state, given[len(given) - len(state) :], strict=True))), _named(y, last)


def _target_against_interpreter(p: _Problem) -> Pairs:
    graph, found, axes = p.rnn.graph, p.whole(), p.x.shape[:2]
    values = {name: np.empty((*axes, *graph.nodes[index].shape)) for name, index in graph.values.items()}
    wanted = {name: np.empty_like(value) for name, value in found.items()}
    for (b, t), _, nodes in _walk(p):
        for name, index in graph.values.items():
            values[name][b, t] = nodes[index]
        (wanted["the output"][b, t],) = (nodes[index] for index in graph.named("output").values())
        for name, index in graph.named("state").items():
            wanted[f"the state {name}"][b] = nodes[index]
    yield p.rnn.inspect(p.x, p.state), values
    yield found, wanted


def _graph_through_json(p: _Problem) -> Pairs:
    again = Graph.from_json(json.loads(json.dumps(p.rnn.graph.to_json())))
    if again != p.rnn.graph or str(again) != str(p.rnn.graph):
        raise CellError("the graph that comes back is another")
    opened = from_graph(again)
    sizes: dict[str, Any] = {name: size for name, size in p.rnn.sizes.items() if name in opened.sizes}
    rnn = RNN(opened, dtype="float64", target=p.rnn.target, **sizes)
    rnn.update(p.rnn.parameters)
    yield _named(*rnn(p.x, p.state)), p.whole()


def _step_by_step(p: _Problem) -> Pairs:
    state: Mapping[str, Array] = p.state
    ys = []
    for t in range(STEPS):
        y, state = p.rnn.step(p.x[:, t], state)
        ys.append(y)
    yield _named(np.stack(ys, 1), state), p.whole()


def _chunks(p: _Problem) -> Pairs:
    for cut in (1, 4):
        first, state = p.rnn(p.x[:, :cut], p.state)
        second, state = p.rnn(p.x[:, cut:], state)
        yield _named(np.concatenate((first, second), 1), state), p.whole()


def _padded_batch(p: _Problem) -> Pairs:
    together = p.run(p.x, p.state, lengths=LENGTHS, reset=p.reset)
    for b, length in enumerate(LENGTHS):
        alone = _named(np.zeros_like(together["the output"][b]), p.row(b))
        if length:
            short = p.run(p.x[b, :length], p.row(b), reset=p.reset[b, :length])
            alone["the output"][:length] = short.pop("the output")
            alone |= short
        yield {name: value[b] for name, value in together.items()}, alone


def _reset(p: _Problem) -> Pairs:
    first, _ = p.rnn(p.x[:, :2], p.state)
    second, state = p.rnn(p.x[:, 2:])
    yield p.run(p.x, p.state, reset=np.arange(STEPS) == 2), _named(np.concatenate((first, second), 1), state)


def _tokens(p: _Problem) -> Pairs:
    tokens, sides = p.rng.integers(p.x.shape[-1], size=p.x.shape[:2]), []
    dy = p.rng.standard_normal(p.rnn(tokens)[0].shape)
    for x in (tokens, np.eye(p.x.shape[-1])[tokens]):
        parameters, _, first = p.rnn.gradients(x, dy, p.state, lengths=LENGTHS, reset=p.reset)
        gradients = {f"the gradient for {name}": value for name, value in {**parameters, **first}.items()}
        sides.append(p.run(x, p.state, lengths=LENGTHS, reset=p.reset) | gradients)
    yield sides[0], sides[1]


def _gradients(p: _Problem) -> Pairs:
    for _ in range(5):
        try:
            _check_gradients(p)
        except DataError:  # a kink; elsewhere there is none
            p = _drawn(p.rnn.cell, p.rnn.sizes, int(p.rng.integers(2**31)), p.rnn.target)
        else:
            return iter(())
    _check_gradients(p)
    return iter(())


def _check_gradients(p: _Problem) -> None:
    point = {**p.rnn.parameters, p.input: p.x, **p.state}
    record = p.rnn.record(p.x, p.state, lengths=LENGTHS, reset=p.reset)
    weights = {name: p.rng.standard_normal(value.shape) for name, value in _named(record.y, record.state).items()}
    last = {name: weights[f"the state {name}"] for name in p.state}
    parameters, dx, first = record.gradients(weights["the output"], last)

    def loss(at: Mapping[str, Array]) -> float:
        p.rnn.update({name: at[name] for name in parameters})
        outcome = p.run(at[p.input], {name: at[name] for name in p.state}, lengths=LENGTHS, reset=p.reset)
        return sum(float(np.sum(weights[name] * value)) for name, value in outcome.items())

    check_gradient(loss, {**parameters, p.input: dx, **first}, point)


CHECKS = (
    _function_on_arrays,
    _target_against_interpreter,
    _graph_through_json,
    _step_by_step,
    _chunks,
    _padded_batch,
    _reset,
    _gradients,
    _tokens,
)
