"""Layers that nobody chose: any cell, alone, stacked and in both directions, at random sizes, with what to run them on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

import elman
from elman import Backwards, Bidirectional, CellError, Layer, Stack, State
from elman.cells import exponential, linear, variants
from elman.passes.carry import brings_states
from elman.stack import MERGES
from elman.testing import random_cell

FAMILIES = (elman.cells, variants, linear, exponential)
ORDER = (
    "gru", "gru_reset_before", "lstm", "running_max", "running_mean", "dense", "elman", "jordan", "lstm_peephole",
    "lstm_coupled", "lstm_projected", "mgu", "mogrifier_lstm", "lstm_layer_norm", "gru_layer_norm", "clockwork", "indrnn",
    "sru", "qrnn", "mingru", "minlstm", "lru", "rg_lru", "slstm", "mlstm", "rwkv",
)  # fmt: skip
"""Problems draw cells by their place: another order, as of imports that were sorted, would make others of them all."""
FOUND = {
    cell.name: cell
    for family in FAMILIES
    for cell in vars(family).values()
    if isinstance(cell, elman.Cell) and not cell.name.startswith("readout")
}
CELLS = {name: FOUND[name] for name in ORDER if name in FOUND} | FOUND
"""Every recurrent cell that comes with the library, new ones last."""

SMOOTH = ("elman", "gru", "gru_reset_before", "lstm", "jordan", "lstm_peephole", "mgu", "sru", "mingru", "lstm_projected")
"""Cells without a kink, for central differences."""


class Maker:
    """Makes layers from one generator: cells, sizes and parameters are drawn."""

    def __init__(self, seed: int, *, smooth: bool = False, **settings: Any) -> None:
        self.rng = np.random.default_rng(seed)
        self.smooth, self.settings = smooth, settings

    def size(self, low: int = 1, high: int = 7) -> int:
        return int(self.rng.integers(low, high))

    def rnn(self, cell: elman.Cell, *, learn_initial: bool = False, **fixed: int) -> elman.RNN:
        """A cell at sizes that fit it, with parameters away from their first values."""
        sizes = {name: self.size() for name in cell.sizes} | {n: s for n, s in fixed.items() if n in cell.sizes}
        settings = dict(self.settings)
        if not brings_states(cell.graph(**sizes)):  # then there is nothing to drop from, which RNN says
            settings.pop("recurrent_dropout", None)
        rnn = elman.RNN(cell, **sizes, **settings, seed=self.size(0, 1000), learn_initial=learn_initial)
        noise = {name: self.rng.normal(size=value.shape) for name, value in rnn.parameters.items()}
        rnn.update({name: value + 0.3 * noise[name] for name, value in rnn.parameters.items()})
        return rnn

    def any(self, inputs: int, outputs: int | None = None) -> elman.RNN:
        """Any cell whose output is a vector, of the size asked for; one in two learns where it starts."""
        wanted = self.size() if outputs is None else outputs
        for _ in range(100):
            names = SMOOTH if self.smooth else tuple(CELLS)
            cell = CELLS[names[self.size(0, len(names))]]
            if not self.smooth and self.rng.random() < 0.3:
                cell = random_cell(self.size(0, 1000))
            try:
                sizes = dict.fromkeys(
                    ("hidden", "output", "projection")[self.size(0, 3) :], wanted
                )  # which is the output's?
                rnn = self.rnn(cell, input=inputs, learn_initial=bool(self.rng.random() < 0.5), **sizes)
            except CellError:
                continue  # fewer units than modules
            if rnn.output_shape == (wanted,):
                return rnn
        raise AssertionError(f"no cell gives {outputs} values a step")

    def two(self, outputs: int | None = None) -> tuple[elman.RNN, elman.RNN]:
        inputs = self.size()
        return self.any(inputs, outputs), self.any(inputs, outputs)


def stack(make: Maker) -> Layer:
    sizes = [make.size() for _ in range(4)]
    return Stack([make.any(*pair) for pair in pairwise(sizes)], dropout=0.5)


def residual(make: Maker) -> Layer:
    inputs, size = make.size(), make.size()
    return Stack([make.any(inputs, size), make.any(size, size), make.any(size, size)], residual=True)


def merging(merge: str) -> Callable[[Maker], Layer]:
    return lambda make: Bidirectional(*make.two(None if merge == "concatenate" else make.size()), merge=merge)


def backwards(make: Maker) -> Layer:
    return Backwards(make.any(make.size()))


def stack_in_stack(make: Maker) -> Layer:
    size = make.size()
    inner = Stack([make.any(size, size), make.any(size, size)], residual=True, dropout=0.25)
    return Stack([make.any(make.size(), size), inner, make.any(size)], residual=False)


def stack_of_directions(make: Maker) -> Layer:
    first = Bidirectional(*make.two())
    (size,) = first.output_shape
    second = Bidirectional(make.any(size, size), make.any(size, size), merge="mean")
    third = Bidirectional(make.any(size, size), make.any(size, size), merge="product")
    return Stack([first, second, third], residual=True)


def directions_of_stacks(make: Maker) -> Layer:
    inputs, size, outputs = make.size(), make.size(), make.size()
    ahead = Stack([make.any(inputs, size), make.any(size, outputs)], dropout=0.5)
    behind = Stack([make.any(inputs, outputs), make.any(outputs, outputs)], residual=True)
    return Bidirectional(ahead, behind, merge="sum")


def ways_in_turn(make: Maker) -> Layer:
    """Forward, backward, forward, each adding to what it reads."""
    size = make.size()
    layers = [make.any(make.size(), size), Backwards(make.any(size, size)), make.any(size, size)]
    return Stack(layers, residual=True)


def backwards_of_all(make: Maker) -> Layer:
    ahead = stack_in_stack(make)
    (inputs,) = ahead.input_shape
    return Backwards(Bidirectional(ahead, Backwards(make.any(inputs))))


def directions_of_directions(make: Maker) -> Layer:
    inputs = make.size()
    one, two = (
        Bidirectional(make.any(inputs), make.any(inputs)),
        Bidirectional(make.any(inputs, 3), make.any(inputs, 3), merge="sum"),
    )
    return Bidirectional(one, two)


ONE_WAY = {"stack": stack, "residual": residual, "stack in stack": stack_in_stack}
"""Layers of layers whose every output needs only what came before."""
BOTH_WAYS = {merge: merging(merge) for merge in MERGES} | {
    "backwards": backwards,
    "stack of directions": stack_of_directions,
    "directions of stacks": directions_of_stacks,
    "ways in turn": ways_in_turn,
    "directions of directions": directions_of_directions,
    "backwards of all": backwards_of_all,
}
SEEDS = range(3)
RANDOM_CELLS = (3, 26, 43, 53, 66, 71, 72, 78, 83, 85, 9, 11, 13, 20, 28)
"""Seeds: ten equations in which everything matters, then maps without states and outputs that are numbers or matrices."""

ALONE = (*CELLS, *(f"random_{seed}" for seed in RANDOM_CELLS))
FORWARD = (*ALONE, *(f"{kind} {seed}" for kind in ONE_WAY for seed in SEEDS))
WITH_DIRECTIONS = tuple(f"{kind} {seed}" for kind in BOTH_WAYS for seed in SEEDS)
ALL = FORWARD + WITH_DIRECTIONS
MADE_OF_LAYERS = ALL[len(ALONE) :]


@dataclass(frozen=True)
class Problem:
    """A layer and what it is run on: every row has a state of its own, a length and resets."""

    layer: Layer
    x: np.ndarray  # [B, T, I]
    state: State
    lengths: np.ndarray  # [B]
    reset: np.ndarray  # [B, T]

    @property
    def size(self) -> tuple[int, int]:
        return self.x.shape[0], self.x.shape[1]

    def row(self, b: int) -> dict[str, Any]:
        """What a row is alone, without its padding."""
        n = self.lengths[b]
        return {"x": self.x[b, :n], "state": self.state[b], "reset": self.reset[b, :n]}

    def weights(self, seed: int) -> tuple[np.ndarray, State]:
        """Weights of the outputs and of the last states in a loss; also in the padding, where they must not count."""
        rng = np.random.default_rng(seed)
        y, last = self.layer(self.x, self.state)
        return rng.normal(size=y.shape).astype(y.dtype), changed(last, lambda a: rng.normal(size=a.shape).astype(a.dtype))


def named(name: str, make: Maker) -> Layer:
    """The layer of a name: a cell's, or a kind with the seed that `make` has."""
    kind = name.rpartition(" ")[0]
    if kind:
        return (ONE_WAY | BOTH_WAYS)[kind](make)
    cell = CELLS[name] if name in CELLS else random_cell(int(name.rpartition("_")[2]))
    return make.rnn(cell, learn_initial=bool(make.rng.random() < 0.5), **({"hidden": 5} if cell.name == "clockwork" else {}))


@cache
def problem(name: str, dtype: str = "float64", target: str = "auto", *, smooth: bool = False, **settings: Any) -> Problem:
    """A random problem; one name gives one problem. States come from a run, so they are such as the cell can have."""
    letters = sum(ord(letter) * (k + 1) for k, letter in enumerate(name))
    for seed in range(1000 * letters, 1000 * letters + 100):
        make = Maker(seed, smooth=smooth, dtype=dtype, target=target, **settings)
        layer = named(name, make)
        rng, batch, steps = make.rng, make.size(3, 6), make.size(4, 10)
        x = rng.normal(size=(batch, steps, *layer.input_shape)).astype(dtype)
        lengths = rng.permutation([0, steps, *rng.integers(0, steps + 1, batch - 2)])
        reset = rng.random((batch, steps)) < 0.25
        reset[lengths.argmax(), steps - 2] = True
        y, state = layer(rng.normal(size=(batch, 3, *layer.input_shape)).astype(dtype))
        y = layer(x, state)[0]
        if np.isfinite(y).all() and np.abs(y).max(initial=0.0) < 100.0 and all(moderate(a) for a in leaves(state)):
            return Problem(layer, x, state, lengths, reset)
    raise AssertionError(f"{name}: no seed gives moderate values")


def moderate(array: np.ndarray) -> bool:
    return bool(np.isfinite(array).all() and np.abs(array).max(initial=0.0) < 100.0)


# ---------------------------------------------------------------- states as trees


def leaves(state: State) -> Iterator[np.ndarray]:
    for value in state.values():
        if isinstance(value, State):
            yield from leaves(value)
        else:
            yield value


def by_path(state: State, before: str = "state") -> Iterator[tuple[str, np.ndarray]]:
    for name, value in state.items():
        if isinstance(value, State):
            yield from by_path(value, f"{before}.{name}")
        else:
            yield f"{before}.{name}", value


def changed(state: State, change: Callable[[np.ndarray], np.ndarray]) -> State:
    """The same state with every array changed."""
    fields = {n: changed(v, change) if isinstance(v, State) else change(v) for n, v in state.items()}
    return State(fields, cell=state.cell, batch=state.batch)


def by_direction(layer: Layer, ahead: State, behind: State) -> State:
    """What reads forward has the state `ahead`, what reads backward the state `behind`; a layer of layers has of both."""
    if isinstance(layer, elman.RNN):
        return ahead
    pairs = {name: (ahead[name], behind[name]) for name in layer.parts}
    turned = {"layer"} if isinstance(layer, Backwards) else {"backward"} if isinstance(layer, Bidirectional) else set()
    fields = {n: by_direction(layer.parts[n], *(pair[::-1] if n in turned else pair)) for n, pair in pairs.items()}
    return State(fields, cell=ahead.cell, batch=ahead.batch)
