"""The equations as literal float64 loops, one example and one time step at a time: the oracle of the value tests.

Nothing here knows the library. A step takes the parameters, the input and the states, and returns every named value.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


# ---------------------------------------------------------------- the equations


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def elman(p: Mapping[str, np.ndarray], x: np.ndarray, a: np.ndarray) -> Arrays:
    mulax = p["wax"] @ x
    mulaa = p["waa"] @ a
    add = mulax + mulaa + p["ba"]
    return {"mulax": mulax, "mulaa": mulaa, "add": add, "a": np.tanh(add)}


def gru(p: Mapping[str, np.ndarray], x: np.ndarray, h: np.ndarray) -> Arrays:
    r = sigmoid(p["wr"] @ x + p["ur"] @ h + p["br"])
    z = sigmoid(p["wz"] @ x + p["uz"] @ h + p["bz"])
    n = np.tanh(p["wn"] @ x + p["bn"] + r * (p["un"] @ h + p["dn"]))
    return {"r": r, "z": z, "n": n, "h": (1.0 - z) * n + z * h}


def gru_reset_before(p: Mapping[str, np.ndarray], x: np.ndarray, h: np.ndarray) -> Arrays:
    r = sigmoid(p["wr"] @ x + p["ur"] @ h + p["br"])
    z = sigmoid(p["wz"] @ x + p["uz"] @ h + p["bz"])
    n = np.tanh(p["wn"] @ x + p["bn"] + p["un"] @ (r * h))
    return {"r": r, "z": z, "n": n, "h": (1.0 - z) * n + z * h}


def lstm(p: Mapping[str, np.ndarray], x: np.ndarray, h: np.ndarray, c: np.ndarray) -> Arrays:
    i = sigmoid(p["wi"] @ x + p["ui"] @ h + p["bi"])
    f = sigmoid(p["wf"] @ x + p["uf"] @ h + p["bf"])
    g = np.tanh(p["wg"] @ x + p["ug"] @ h + p["bg"])
    o = sigmoid(p["wo"] @ x + p["uo"] @ h + p["bo"])
    new_c = f * c + i * g
    return {"i": i, "f": f, "g": g, "o": o, "c": new_c, "h": o * np.tanh(new_c)}


def readout(p: Mapping[str, np.ndarray], a: np.ndarray) -> Arrays:
    mulya = p["wya"] @ a
    logits = mulya + p["by"]
    return {"mulya": mulya, "logits": logits, "probabilities": softmax(logits)}


def softmax(x: np.ndarray) -> np.ndarray:
    scores = np.exp(x - np.max(x))
    return scores / np.sum(scores)


def cross_entropy(logits: np.ndarray, target: int) -> float:
    top = np.max(logits)
    return float(top + np.log(np.sum(np.exp(logits - top))) - logits[target])


# ---------------------------------------------------------------- cells and their parameters


@dataclass(frozen=True)
class Cell:
    """A step with what a sequence must know of it; the first state is the output."""

    name: str
    step: Callable[..., Arrays]
    states: tuple[str, ...]
    gates: tuple[tuple[str, str, str], ...]  # of each gate: input weight, recurrent weight, bias
    more_biases: tuple[str, ...] = ()

    @property
    def recurrent(self) -> tuple[str, ...]:
        return tuple(u for _, u, _ in self.gates)

    @property
    def biases(self) -> tuple[str, ...]:
        return tuple(b for _, _, b in self.gates) + self.more_biases

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for w, u, b in self.gates:
            shapes |= {w: (hidden, inputs), u: (hidden, hidden), b: (hidden,)}
        return shapes | dict.fromkeys(self.more_biases, (hidden,))


def named_gates(letters: str) -> tuple[tuple[str, str, str], ...]:
    return tuple((f"w{letter}", f"u{letter}", f"b{letter}") for letter in letters)


CELLS = {
    cell.name: cell
    for cell in (
        Cell("elman", elman, ("a",), (("wax", "waa", "ba"),)),
        Cell("gru", gru, ("h",), named_gates("rzn"), ("dn",)),
        Cell("gru_reset_before", gru_reset_before, ("h",), named_gates("rzn")),
        Cell("lstm", lstm, ("h", "c"), named_gates("ifgo")),
    )
}


def random_parameters(shapes: Mapping[str, tuple[int, ...]], rng: np.random.Generator) -> Arrays:
    """Unequal numbers, of variance 1 / fan_in for weights and 1/4 for biases: no activation idles or saturates."""
    return {name: rng.normal(size=shape) * (0.5 if len(shape) == 1 else shape[1] ** -0.5) for name, shape in shapes.items()}


# ---------------------------------------------------------------- sequences


def one_hot(tokens: np.ndarray, size: int) -> np.ndarray:
    return np.eye(size)[tokens]


def unroll(
    cell: Cell, p: Mapping[str, np.ndarray], x: np.ndarray, state: Arrays, reset: np.ndarray | None = None
) -> tuple[list[Arrays], Arrays]:
    """The named values of every step of one sequence [T, I], and the state after the last step."""
    values = []
    for t in range(len(x)):
        if reset is not None and reset[t]:
            state = {name: np.zeros_like(array) for name, array in state.items()}
        values.append(cell.step(p, x[t], *(state[name] for name in cell.states)))
        state = {name: values[-1][name] for name in cell.states}
    return values, state


def run(
    cell: Cell,
    p: Mapping[str, np.ndarray],
    x: np.ndarray,
    state: Arrays,
    *,
    lengths: np.ndarray | None = None,
    reset: np.ndarray | None = None,
) -> tuple[np.ndarray, Arrays]:
    """Outputs and last state of one sequence [T, I] or, sequence after sequence, of a batch [B, T, I]."""
    if x.ndim == 2:
        values, last = unroll(cell, p, x, state, reset)
        return np.array([value[cell.states[0]] for value in values]), last
    y = np.zeros((*x.shape[:2], state[cell.states[0]].shape[-1]))
    last = {name: array.copy() for name, array in state.items()}
    for b in range(len(x)):
        length = x.shape[1] if lengths is None else lengths[b]
        row = {name: array[b] for name, array in state.items()}
        values, row = unroll(cell, p, x[b, :length], row, None if reset is None else reset[b])
        for t, value in enumerate(values):
            y[b, t] = value[cell.states[0]]
        for name in cell.states:
            last[name][b] = row[name]
    return y, last


@dataclass(frozen=True)
class Problem:
    """All that determines the outputs of a sequence or a batch."""

    cell: Cell
    parameters: Arrays
    x: np.ndarray  # [T, I] or [B, T, I]
    state: Arrays  # [H] or [B, H]
    lengths: np.ndarray | None = None
    reset: np.ndarray | None = None

    @property
    def sizes(self) -> dict[str, int]:
        return {"input": self.x.shape[-1], "hidden": self.state[self.cell.states[0]].shape[-1]}

    @property
    def arrays(self) -> Arrays:
        """Everything that a gradient can be taken of."""
        return {**self.parameters, "x": self.x, **self.state}

    def solve(self) -> tuple[np.ndarray, Arrays]:
        return run(self.cell, self.parameters, self.x, self.state, lengths=self.lengths, reset=self.reset)


def random_problem(
    name: str,
    T: int,
    I: int,
    H: int,
    *,
    B: int | None = None,
    lengths: Iterable[int] | None = None,
    resets: float = 0.0,
    seed: int = 20,
) -> Problem:
    """Random unequal numbers everywhere, also in the padding and in the initial state; `resets`: their share."""
    rng = np.random.default_rng(seed)
    cell, rows = CELLS[name], () if B is None else (B,)
    lengths = None if lengths is None else np.array(list(lengths))
    reset = rng.random((*rows, T)) < resets if resets else None
    if reset is not None and lengths is not None:
        for b in np.flatnonzero(lengths < T):
            reset[b, lengths[b]] = True  # just past the end, where it must not touch the state
    return Problem(
        cell,
        random_parameters(cell.shapes(I, H), rng),
        rng.normal(size=(*rows, T, I)),
        {state: rng.normal(size=(*rows, H)) for state in cell.states},
        lengths,
        reset,
    )


# The value set: the tests of values run on all of these, and the tests of the tests count on all of them.
CASES: dict[str, dict[str, Any]] = {
    "one sequence": {"T": 7, "I": 3, "H": 5},
    "one unit": {"T": 5, "I": 1, "H": 1},
    "wide input": {"T": 3, "I": 33, "H": 17, "B": 2},
    "batch of one": {"T": 4, "I": 2, "H": 3, "B": 1},
    "batch": {"T": 9, "I": 5, "H": 7, "B": 4},
    "lengths": {"T": 8, "I": 4, "H": 9, "B": 5, "lengths": (3, 8, 0, 5, 1)},
    "resets": {"T": 10, "I": 6, "H": 3, "resets": 0.3},
    "lengths and resets": {"T": 7, "I": 2, "H": 11, "B": 6, "lengths": (6, 0, 2, 7, 2, 5), "resets": 0.3},
}


# ---------------------------------------------------------------- gradients


def truncated(problem: Problem, every: int) -> Callable[[Arrays], np.ndarray]:
    """The outputs as a function of all arrays, with the state before steps every, 2 every ... held where it is now.

    This is truncated back-propagation through time, literally: derivatives cannot pass a number that does not move.
    """
    steps, held, state = problem.x.shape[-2], [], problem.state
    pieces = [slice(t, t + every) for t in range(0, steps, every)]

    def piece(p: Arrays, x: np.ndarray, state: Arrays, part: slice) -> tuple[np.ndarray, Arrays]:
        lengths = None if problem.lengths is None else np.clip(problem.lengths - part.start, 0, every)
        reset = None if problem.reset is None else problem.reset[..., part]
        return run(problem.cell, p, x[..., part, :], state, lengths=lengths, reset=reset)

    for part in pieces:
        held.append(state)
        state = piece(problem.parameters, problem.x, state, part)[1]

    def outputs(arrays: Arrays) -> np.ndarray:
        starts = [{name: arrays[name] for name in problem.cell.states}, *held[1:]]
        ys = [piece(arrays, arrays["x"], start, part)[0] for start, part in zip(starts, pieces, strict=True)]
        return np.concatenate(ys, axis=-2)

    return outputs


def mean_cross_entropy(p: Mapping[str, np.ndarray], y: np.ndarray, targets: np.ndarray) -> float:
    """The loss of a read-out over the outputs y [..., T, H], in nats."""
    rows = zip(y.reshape(-1, y.shape[-1]), targets.ravel(), strict=True)
    return float(np.mean([cross_entropy(readout(p, a)["logits"], target) for a, target in rows]))


def random_direction(arrays: Mapping[str, np.ndarray], rng: np.random.Generator) -> Arrays:
    """A random direction of length 1 in the space of all these arrays together."""
    direction = {name: rng.normal(size=array.shape) for name, array in arrays.items()}
    length = np.sqrt(sum(np.sum(array**2) for array in direction.values()))
    return {name: array / length for name, array in direction.items()}


def slope(function: Callable[[Arrays], float], arrays: Arrays, direction: Arrays, step: float = 1e-3) -> float:
    """The derivative of function along direction, by central differences of fourth order."""

    def at(distance: float) -> float:
        return function(arrays | {name: arrays[name] + distance * along for name, along in direction.items()})

    return (8.0 * (at(step) - at(-step)) - (at(2.0 * step) - at(-2.0 * step))) / (12.0 * step)
