"""Model: tokens -> a recurrent layer -> a read-out; forward propagation, loss, gradients, prediction, generation.

Longer than the guide for a file: it is one class, and half of it says what goes in and comes out.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from elman import cells
from elman.checks import check_tokens, checked_seed, checked_truncate
from elman.errors import DataError, ElmanError, SettingError, ShapeError
from elman.gates import Array
from elman.graph import Graph
from elman.io import safetensors
from elman.program import Asked, program
from elman.rnn import RNN
from elman.sampling import Sampling
from elman.scoring import TARGET, with_logits, with_loss
from elman.shapes import written
from elman.states import State
from elman.text import Vocabulary
from elman.trace import Cell

FORMAT, VERSION = "elman model", 1


@dataclass(frozen=True)
class Propagation:
    """What forward propagation gives, step by step (a batch puts `[B, ...]` before each shape).

    `a` `[T, H]` the layer's output, `logits` `[T, V]` before the read-out's activation, `probabilities` `[T, V]` behind
    it, `state` the last state.
    """

    a: Array
    logits: Array
    probabilities: Array
    state: State


class Model:
    """A recurrent language model: one-hot tokens -> cell -> read-out.

    a<t> = cell(x<t>, a<t-1>), y<t> = softmax(wya a<t> + by)

    `word_dim` is the size of the vocabulary, `hidden_dim` that of the state, `bptt_truncate` the number of steps after which
    gradients are cut (None: never). `cell` and `readout` are cells; other sizes that the cell names are given by name.
    Weights are drawn uniformly from +-sqrt(1/fan_in) by `seed`. Raises `SettingError` for sizes that do not fit.

    >>> import elman
    >>> model = elman.Model(8, hidden_dim=5)
    >>> model.forward_propagation([1, 2, 3]).probabilities.shape
    (3, 8)
    """

    def __init__(
        self,
        word_dim: int,
        hidden_dim: int = 100,
        bptt_truncate: int | None = 4,
        cell: Cell = cells.elman,
        seed: int = 0,
        *,
        readout: Cell = cells.readout,
        dtype: str = "float32",
        target: str = "auto",
        vocabulary: Vocabulary | None = None,
        **sizes: int,
    ) -> None:
        for kind, given in (("cell", cell), ("readout", readout)):
            if not isinstance(given, Cell):
                raise SettingError(f"Model: {kind}={given!r} is not a cell; make one of a function with @elman.cell")
        if vocabulary is not None and not isinstance(vocabulary, Vocabulary):
            raise SettingError(f"Model: vocabulary={vocabulary!r} is none; make one with elman.Vocabulary")
        if vocabulary is not None and len(vocabulary) != word_dim:
            raise SettingError(f"Model: word_dim={word_dim}, but the vocabulary has {len(vocabulary)} symbols")
        self.bptt_truncate = None if bptt_truncate is None else checked_truncate(bptt_truncate, "bptt_truncate")
        self.vocabulary = vocabulary
        self.training: dict[str, Any] = {}
        seeds = [int(s) for s in np.random.SeedSequence(checked_seed(seed)).generate_state(2)]
        named: dict[str, Any] = {"input": word_dim, "hidden": hidden_dim} | sizes
        ours = {n: s for n, s in named.items() if n in cell.sizes}
        self.rnn = RNN(cell, dtype=dtype, seed=seeds[0], target=target, **ours)
        shape = self.rnn.graph.nodes[next(iter(self.rnn.graph.named("output").values()))].shape
        if len(shape) != 1:
            raise SettingError(f"Model: the output of {cell.name} is {written(shape)}; the read-out wants a vector")
        read: dict[str, Any] = sizes | {"hidden": int(shape[0]), "output": word_dim}
        self.readout = RNN(
            readout, dtype=dtype, seed=seeds[1], target=target, **{n: s for n, s in read.items() if n in readout.sizes}
        )
        unknown = set(sizes) - set(cell.sizes) - set(readout.sizes)
        if unknown:
            raise SettingError(f"Model: {', '.join(sorted(unknown))} is no size of {cell.name} or {readout.name}")
        self._check_parts()

    def _check_parts(self) -> None:
        if self.readout.cell.states:
            name = self.readout.cell.name
            raise SettingError(f"Model: the read-out {name} has states; a read-out is a map, states belong in the cell")
        shared = sorted(set(self.rnn.parameters) & set(self.readout.parameters))
        if shared:
            raise SettingError(f"Model: cell and read-out both have a parameter {', '.join(shared)}; rename one")
        graph = self.readout.graph
        shape = graph.nodes[next(iter(graph.named("output").values()))].shape
        if shape != (self.word_dim,):
            wanted = f"({self.word_dim}), one value a symbol,"
            raise SettingError(f"Model: the read-out gives {written(shape)}; {wanted} is wanted")

    def __repr__(self) -> str:
        count = sum(value.size for value in self.parameters.values())
        return f"Model({self.word_dim} symbols, {self.cell.name}, {count:,} parameters, {self.rnn.dtype})"

    # --- parts --------------------------------------------------------------------------------------------------------

    @property
    def cell(self) -> Cell:
        """The cell of the recurrent layer."""
        return self.rnn.cell

    @property
    def word_dim(self) -> int:
        """Number of symbols."""
        return int(self.rnn.input_shape[0])

    @property
    def parameters(self) -> Mapping[str, Array]:
        """All parameters by name, read-only: those of the cell, then those of the read-out."""
        return MappingProxyType({**self.rnn.parameters, **self.readout.parameters})

    def update(self, values: Mapping[str, Any]) -> None:
        """Set parameters by name, all or none. Raises as `RNN.update` does."""
        before = self.rnn.parameters
        unknown = [n for n in values if n not in self.parameters]
        if unknown:
            raise SettingError(f"Model: there is no parameter {unknown[0]!r}; parameters are {', '.join(self.parameters)}")
        self.rnn.update({n: v for n, v in values.items() if n in before})
        try:
            self.readout.update({n: v for n, v in values.items() if n not in before})
        except ElmanError:
            self.rnn.update(before)
            raise

    # --- forward ------------------------------------------------------------------------------------------------------

    def forward_propagation(self, tokens: Any, state: Any = None) -> Propagation:
        """Run over tokens `[T]` (or `[B, T]`) from a state (zeros).

        Raises `DataError` for an empty sequence, `TokenError` for a token outside the vocabulary, `ShapeError` for
        another rank or a state of another size.
        """
        a, last = self.rnn(self._tokens(tokens), state)
        found = self._read(with_logits(self.readout.graph), a)
        return Propagation(a, found["logits"], found["probabilities"], last)

    def predict(self, tokens: Any, state: Any = None) -> Array:
        """The likeliest next token after each step: integers `[T]` (or `[B, T]`)."""
        likeliest: Array = np.argmax(self.forward_propagation(tokens, state).probabilities, -1)
        return likeliest

    def loss(self, tokens: Any, targets: Any, state: Any = None) -> float:
        """Mean cross entropy in nats of `targets` under the predictions after `tokens`; both `[T]` or both `[B, T]`."""
        return float(self.losses(tokens, targets, state)[0].mean(dtype=np.float64))

    def losses(self, tokens: Any, targets: Any, state: Any = None) -> tuple[Array, State]:
        """Cross entropy in nats of each step, `[T]` or `[B, T]`, and the last state."""
        tokens, targets = self._pair(tokens, targets)
        a, last = self.rnn(tokens, state)
        return self._read(with_loss(self.readout.graph), a, targets)["loss"], last

    def inspect(self, tokens: Any, state: Any = None) -> dict[str, Array]:
        """Every named value of cell and read-out at every step: name -> `[T, ...]` (or `[B, T, ...]`)."""
        values = self.rnn.inspect(self._tokens(tokens), state)
        return values | self.readout.inspect(self.rnn(self._tokens(tokens), state)[0])

    # --- gradient -----------------------------------------------------------------------------------------------------

    def gradients(self, tokens: Any, targets: Any, state: Any = None) -> tuple[float, dict[str, Array], State]:
        """Mean cross entropy in nats, its gradients by parameter, and the last state.

        Truncated back-propagation through time (Williams and Peng, 1990): no gradient flows back past steps k, 2k, ... with
        k = `bptt_truncate`, while the state goes on.
        """
        tokens, targets = self._pair(tokens, targets)
        record = self.rnn.record(tokens, state, truncate=self.bptt_truncate)
        compiled = program(with_loss(self.readout.graph), Asked(gradient=True), self.rnn.dtype.name, self.rnn.target)
        inward = _inward(record.y, tokens.ndim == 1)
        inputs = {self.readout._input: inward, TARGET: _inward(targets, tokens.ndim == 1)}
        run = compiled.forward(compiled.prepare(self.readout.parameters), inputs, {})
        losses = run.outcome.outputs["loss"]
        share = np.full(losses.shape, 1.0 / losses.size, self.rnn.dtype)
        found = compiled.backward(self.readout.parameters, run, {"loss": share})
        d_a = found.outputs["d_" + self.readout._input]
        inner = record.gradients(d_a[:, 0] if tokens.ndim == 1 else d_a.swapaxes(0, 1))
        return float(losses.mean(dtype=np.float64)), inner.parameters | found.sums, record.state

    # --- one symbol after another -------------------------------------------------------------------------------------

    def stream(self) -> "Stream":
        """A running sequence that keeps its state between pushes."""
        return Stream(self)

    def sample(
        self,
        prompt: Any,
        length: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Iterator[int]:
        """Draw `length` tokens one by one after a prompt (tokens, or text where there is a vocabulary).

        Raises `DataError` for an empty prompt and `SettingError` for a setting out of range, before anything is drawn.
        """
        sampling = Sampling(temperature, top_k, top_p)
        if isinstance(length, bool) or not isinstance(length, int | np.integer) or length < 0:
            raise SettingError(f"length={length!r} must be a number of symbols, 0 or more")
        rng = np.random.default_rng(checked_seed(seed))
        stream, tokens = self.stream(), self._tokens(prompt)
        if tokens.ndim != 1:
            raise ShapeError(f"generate: the prompt is {written(tokens.shape)}; one sequence [T] is wanted")
        banned = self.vocabulary.unknown if self.vocabulary is not None else None

        def draw() -> Iterator[int]:
            logits = stream.logits(tokens)[-1]
            for _ in range(length):
                token = sampling.draw(logits, rng, banned=banned)
                yield token
                logits = stream.logits(np.array([token]))[-1]

        return draw()

    def generate(
        self,
        prompt: Any,
        length: int = 200,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Any:
        """Continue a prompt by `length` symbols: text gives text, tokens give tokens `[length]`; same seed, same answer."""
        drawn = list(self.sample(prompt, length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed))
        if isinstance(prompt, str) and self.vocabulary is not None:
            return self.vocabulary.decode(np.array(drawn, np.int64))
        return np.array(drawn, np.int64)

    # --- files --------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one safetensors file, atomically: weights, graphs, sizes, vocabulary, training facts.

        Raises `ModelFileError` where it cannot be written.
        """
        facts = {
            "format": FORMAT,
            "version": VERSION,
            "cell": self.rnn.graph.to_json(),
            "readout": self.readout.graph.to_json(),
            "sizes": {"cell": self.rnn.sizes, "readout": self.readout.sizes},
            "bptt_truncate": self.bptt_truncate,
            "dtype": self.rnn.dtype.name,
            "vocabulary": None if self.vocabulary is None else self.vocabulary.to_json(),
            "training": self.training,
        }
        safetensors.write(path, self.parameters, facts)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _tokens(self, tokens: Any) -> Array:
        if isinstance(tokens, str):
            if self.vocabulary is None:
                raise DataError("Model: this model has no vocabulary, so text has no tokens; give integers")
            tokens = self.vocabulary.encode(tokens)
        try:
            array: Array = np.asarray(tokens)
        except ValueError:
            raise ShapeError("Model: sequences of tokens of different lengths; pad them, or run them one by one") from None
        if array.size == 0:
            raise DataError("Model: the sequence is empty; at least one token is wanted")
        if array.dtype.kind not in "iu" or array.ndim not in (1, 2):
            raise ShapeError(f"Model: tokens are {array.dtype} {written(array.shape)}; integers [T] or [B, T] are wanted")
        check_tokens("Model", array, self.word_dim)
        return array

    def _pair(self, tokens: Any, targets: Any) -> tuple[Array, Array]:
        tokens, targets = self._tokens(tokens), self._tokens(targets)
        if tokens.shape != targets.shape:
            found = f"tokens are {written(tokens.shape)}, targets are {written(targets.shape)}"
            raise ShapeError(f"Model: {found}; one target a token is wanted")
        return tokens, targets

    def _read(self, graph: Graph, a: Array, targets: Array | None = None) -> dict[str, Array]:
        single = a.ndim == 2
        compiled = program(graph, Asked(), self.rnn.dtype.name, self.rnn.target)
        inputs = {self.readout._input: _inward(a, single)}
        if targets is not None:
            inputs[TARGET] = _inward(targets, single)
        outcome = compiled.forward(compiled.prepare(self.readout.parameters), inputs, {}).outcome
        return {name: value[:, 0] if single else value.swapaxes(0, 1) for name, value in outcome.outputs.items()}


class Stream:
    """A running sequence: `push` a token or a chunk, and the state is kept for the next push."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.state: State = model.rnn.initial_state()

    def push(self, tokens: Any) -> Array:
        """Probabilities of what follows: `[V]` after one token, `[T, V]` after each of a chunk `[T]`."""
        single = not isinstance(tokens, str | list | tuple) and np.ndim(tokens) == 0
        found = self._advance(np.asarray(tokens)[None] if single else tokens).probabilities
        return found[0] if single else found

    def logits(self, tokens: Array) -> Array:
        """Logits `[T, V]` after each token of a chunk."""
        return self._advance(tokens).logits

    def reset(self) -> None:
        """Start anew."""
        self.state = self.model.rnn.initial_state()

    def _advance(self, tokens: Any) -> Propagation:
        found = self.model.forward_propagation(tokens, self.state)
        self.state = found.state
        return found


def _inward(value: Array, single: bool) -> Array:
    return value[:, None] if single else value.swapaxes(0, 1)
