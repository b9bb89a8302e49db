"""Model: tokens or features -> layers -> a read-out; how one is made, reads text, runs on, and is saved."""

import os
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from elman import cells
from elman.checks import checked_features, checked_seed, checked_tokens
from elman.describe import described
from elman.errors import DataError, SettingError
from elman.flow import outward
from elman.gates import Array
from elman.generation import Generates
from elman.gradient_checks import checked_truncation
from elman.head import Head, check_map
from elman.io import safetensors
from elman.lanes import LayerLane
from elman.layer import Layer
from elman.pooled import POOLS, Pooled
from elman.pools import Streams
from elman.proof import Proof
from elman.rnn import RNN
from elman.shapes import Shape, written
from elman.stack import Stack
from elman.states import State
from elman.storage import in_file
from elman.streams import Stream
from elman.text import Vocabulary
from elman.trace import HOW_TO_MAKE, Cell, checked_size
from elman.transcription import Transcribes
from elman.trees import Tree, batched, plain

FORMAT, VERSION = "elman model", 1


class Model(Transcribes, Generates):
    """A recurrent language model: one-hot tokens -> cell -> read-out. `Model.from_layers` makes models of any layers.

    a<t> = cell(x<t>, a<t-1>), y<t> = softmax(wya a<t> + by)

    `word_dim` is the size of the vocabulary, `hidden_dim` that of the state, `bptt_truncate` the number of steps after which
    gradients are cut (None: never; a pair (k1, k2): the losses of every k1 steps flow back through k2 steps). `cell` and
    `readout` are cells; other sizes that the cell names are given by name. With `layers` there are several upon one another,
    with `dropout` between them while training; `recurrent_dropout` is that of each layer. Weights are drawn uniformly from
    +-sqrt(1/fan_in) by `seed`. Raises `SettingError` for sizes that do not fit.

    >>> import elman
    >>> model = elman.Model(8, hidden_dim=5)
    >>> model.forward_propagation([1, 2, 3]).probabilities.shape
    (3, 8)
    """

    def __init__(
        self,
        word_dim: int,
        hidden_dim: int = 100,
        bptt_truncate: int | tuple[int, int] | None = 4,
        cell: Cell = cells.elman,
        seed: int = 0,
        *,
        readout: Cell = cells.readout,
        layers: int = 1,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        dtype: str = "float32",
        target: str = "auto",
        vocabulary: Vocabulary | None = None,
        **sizes: int,
    ) -> None:
        for kind, given in (("cell", cell), ("readout", readout)):
            if not isinstance(given, Cell):
                raise SettingError(f"Model: {kind}={given!r} is not a cell; {HOW_TO_MAKE}")
        word_dim, hidden_dim = checked_size("Model: word_dim", word_dim), checked_size("Model: hidden_dim", hidden_dim)
        if unknown := set(sizes) - set(cell.sizes) - set(readout.sizes):
            known = [f"{each.name} ({', '.join(each.sizes)})" for each in (cell, readout)]
            raise SettingError(f"Model: {', '.join(sorted(unknown))} is no size of {' or '.join(known)}")
        if isinstance(layers, bool) or not isinstance(layers, int | np.integer) or layers < 1:
            raise SettingError(f"Model: layers={layers!r} must be a number of layers, 1 or more")
        first, last, *others = (int(s) for s in np.random.SeedSequence(checked_seed(seed)).generate_state(layers + 1))
        seeds = (first, *others)
        stacked: list[RNN] = []
        for position in range(layers):
            below = word_dim if not position else int(stacked[-1].output_shape[0])
            named: dict[str, Any] = {"input": below, "hidden": hidden_dim} | sizes
            ours = {n: s for n, s in named.items() if n in cell.sizes}
            how: dict[str, Any] = {"dtype": dtype, "target": target, "recurrent_dropout": recurrent_dropout}
            stacked.append(RNN(cell, seed=seeds[position], **how, **ours))
            _check_vector(stacked[-1])
        rnn = stacked[0] if layers == 1 else Stack(stacked, dropout=dropout)
        self._build(rnn, readout, {**sizes, "output": word_dim}, last, bptt_truncate, True, vocabulary)
        if self.head.output_shape != (self.word_dim,):
            wanted = f"({self.word_dim}), one value a symbol,"
            raise SettingError(f"Model: the read-out gives {written(self.head.output_shape)}; {wanted} is wanted")

    @classmethod
    def from_layers(
        cls,
        layers: Layer,
        outputs: int | None = None,
        *,
        readout: Cell = cells.readout,
        pool: str | None = None,
        tokens: bool | None = None,
        vocabulary: Vocabulary | None = None,
        bptt_truncate: int | tuple[int, int] | None = None,
        seed: int = 0,
        **sizes: int,
    ) -> Self:
        """A model of any layers: features `[T, I]` (or tokens) -> layers -> a read-out of `outputs` values.

        `readout` is a map such as `cells.readout` (softmax), `cells.readout_linear` or `cells.readout_sigmoid`. Without
        `pool` it reads every step; with "last" it reads once what each direction gave at its last step, with "mean" or "max"
        the mean or the largest of each value over the steps. `tokens` says that integers stand for one-hot vectors (true
        where there is a `vocabulary`); otherwise integers are features like floats. Raises `SettingError` for what does not
        fit.

        >>> import numpy as np, elman
        >>> both = elman.Bidirectional(*(elman.RNN(elman.cells.gru, input=3, hidden=4, seed=seed) for seed in (0, 1)))
        >>> classifier = elman.Model.from_layers(both, outputs=2, pool="max")
        >>> classifier.forward_propagation(np.ones((5, 7, 3)), lengths=[7, 3, 0, 1, 5]).probabilities.shape
        (5, 2)
        """
        if not isinstance(layers, Layer):
            raise SettingError(f"Model: {layers!r} is not a layer; make one with RNN, Stack or Bidirectional")
        if not isinstance(readout, Cell):
            raise SettingError(f"Model: readout={readout!r} is not a cell; take one such as elman.cells.readout")
        if pool not in (None, "last", *POOLS):
            raise SettingError(f"Model: pool={pool!r} is unknown; it is last, {', '.join(POOLS)}, or None for every step")
        _check_vector(layers)
        layers = Pooled(layers, pool) if pool in POOLS else layers
        model = cls.__new__(cls)
        named = sizes if outputs is None else {**sizes, "output": checked_size("Model: outputs", outputs)}
        reads = vocabulary is not None if tokens is None else tokens
        model._build(layers, readout, named, checked_seed(seed), bptt_truncate, reads, vocabulary, once=pool is not None)
        if len(model.head.output_shape) != 1:
            raise SettingError(f"Model: the read-out gives {written(model.head.output_shape)}; a vector is wanted")
        return model

    def _build(
        self,
        rnn: Layer,
        readout: Cell,
        sizes: Mapping[str, int],
        seed: int,
        bptt_truncate: int | tuple[int, int] | None,
        reads_tokens: bool,
        vocabulary: Vocabulary | None,
        once: bool = False,
    ) -> None:
        if vocabulary is not None and not isinstance(vocabulary, Vocabulary):
            raise SettingError(f"Model: vocabulary={vocabulary!r} is none; make one with elman.Vocabulary")
        if vocabulary is not None and len(vocabulary) != rnn.input_shape[0]:
            raise SettingError(f"Model: word_dim={rnn.input_shape[0]}, but the vocabulary has {len(vocabulary)} symbols")
        check_map(readout)
        read: dict[str, Any] = {**sizes, "hidden": int(rnn.output_shape[0])}
        ours = {n: s for n, s in read.items() if n in readout.sizes}
        head = Head(RNN(readout, dtype=rnn.dtype.name, seed=seed, target=_target(rnn), **ours), rnn, once=once)
        self._set_parts(rnn, head, checked_truncation(bptt_truncate, "bptt_truncate"))
        self.reads_tokens, self.vocabulary, self.name = reads_tokens, vocabulary, f"Model({rnn.name})"
        self.training: dict[str, Any] = {}
        self.proof: Proof | None = None

    def __repr__(self) -> str:
        count, [size] = sum(value.size for value in self.parameters.values()), self.rnn.input_shape
        reads = f"{size} {'symbols' if self.reads_tokens else 'features'}"
        return f"Model({reads}, {self.rnn.name}, {count:,} parameters, {self.rnn.dtype})"

    # --- parts --------------------------------------------------------------------------------------------------------

    @property
    def cell(self) -> Cell:
        """The cell of the first recurrent layer."""
        first: Any = next(iter(self.rnn._leaves().values()))
        found: Cell = first.cell
        return found

    @property
    def word_dim(self) -> int:
        """Number of symbols, or of features."""
        return int(self.rnn.input_shape[0])

    # --- one step after another ---------------------------------------------------------------------------------------

    def initial_state(self, batch: int | None = None) -> State:
        """The state before the first step, of one sequence or of a batch."""
        return self.rnn.initial_state(batch)

    def stream(self, state: Any = None) -> Stream:
        """A running sequence that keeps its state between pushes; `push` returns the read-out's outputs.

        Raises `SettingError` where a direction reads from the end. A model that pools gives its output after each step.
        """
        self._check_forward()
        return Stream(self, state)

    def streams(self, count: int = 0) -> Streams:
        """A pool of `count` independent running sequences that advance in one call. Raises as `stream` does."""
        self._check_forward()
        return Streams(self, count)

    # --- files --------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], *, stored: str | None = None) -> None:
        """Write the model to one safetensors file, atomically: weights, graphs, sizes, vocabulary, training facts.

        `stored="float16"` rounds each weight to 11 significant bits: a file of half the size, which opens as a model of the
        same type as this one. A recorded output (`proof`) goes with the weights that it was recorded for, so it stays out
        where they changed or are rounded. Raises `ModelFileError` where the file cannot be written, or a weight is too large
        for `stored`.
        """
        safetensors.write(path, *in_file(self.parameters, self._facts(), self.proof, stored))

    def prove(self, x: Any, y: Any, source: str = "recorded") -> None:
        """Keep an input and the output recorded for it, by `source`: a file of the model is checked with them when opened.

        Raises `ShapeError` for an output that is no floating-point numbers.

        >>> import elman
        >>> model = elman.Model(8, 5)
        >>> model.prove([1, 2, 3], model.forward_propagation([1, 2, 3]).output)
        >>> elman.suspects.check(model, model.proof)
        0.0
        """
        self.proof = Proof.of(self.parameters, x, y, source)

    def _facts(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "layers": described(self.rnn),
            "readout": self.readout.graph.to_json(),
            "once": self.head.once,
            "tokens": bool(self.reads_tokens),
            "bptt_truncate": self.bptt_truncate,
            "dtype": self.rnn.dtype.name,
            "vocabulary": None if self.vocabulary is None else self.vocabulary.to_json(),
            "training": self.training,
        }

    def _input(self, x: Any, lengths: Any = None) -> Array:
        if not self.reads_tokens:
            return checked_features("Model", x, self.word_dim, self.rnn.dtype)
        if isinstance(x, str):
            if self.vocabulary is None:
                raise DataError("Model: this model has no vocabulary, so text has no tokens; give integers")
            if not x:
                raise DataError("Model: the sequence is empty; at least one token is wanted")
            x = self.vocabulary.encode(x)
        return checked_tokens("Model", x, self.word_dim, lengths)

    # --- running in a stream, and on from a prompt --------------------------------------------------------------------

    def _check_forward(self) -> None:
        self.rnn._check_forward("stream")

    @property
    def _next_shape(self) -> Shape | None:
        return None if self.head.once else self.head.output_shape

    def _advance(self, x: Array, state: State, lengths: Any = None) -> tuple[Array, State]:
        flow, _, batch = self.rnn._inward(self._input(x, lengths), None, lengths, None)
        passed = self.rnn._pass(flow, batched(plain(state)) if state.batch is None else plain(state))
        output = self.head.each_step(passed.y, flow.lengths)  # of a model that reads once: as if the sequence ended there
        return outward(output, batch), self.rnn._state_out(passed.states, batch)

    def _lane_from(self, state: State, *, tokens: bool) -> LayerLane | None:
        below = self.rnn._lane_from(state, tokens=tokens)
        above = None if below is None else self.head.lane(below.y, state.batch)
        if below is None or above is None:
            return None

        def is_current() -> bool:
            return below.is_current() and above.is_current()

        return LayerLane(below.x, above.y, [*below.lanes, *above.lanes], below.states_of, is_current, below.limit)

    def _pushed(self, x: Any) -> tuple[Array, bool]:
        if self.reads_tokens:
            single = not isinstance(x, str | list | tuple) and np.ndim(x) == 0
            return self._input(np.asarray(x)[None] if single else x), single
        chunk, single = self.rnn._pushed(x)
        if chunk.dtype.kind in "iu":  # numbers, not tokens
            chunk, single = self.rnn._pushed(np.asarray(x, self.rnn.dtype))
        return checked_features("Model", chunk, self.word_dim, self.rnn.dtype), single

    def _state_of(self, states: Tree, batch: int | None = None) -> State:
        return self.rnn._state_of(states, batch)

    def _resumed(self, state: Any, batch: int | None) -> State:
        return self.rnn._resumed(state, batch)

    def _next(self, tokens: Array, state: State) -> tuple[Array, State]:
        found = self.forward_propagation(tokens, state)
        return found.logits[:, -1], found.state


def _target(layer: Layer) -> str:
    """The target of a layer's first part."""
    first: Any = next(iter(layer._leaves().values()))
    name: str = first.target
    return name


def _check_vector(layer: Layer) -> None:
    if len(layer.output_shape) != 1:
        raise SettingError(
            f"Model: the output of {layer.name} is {written(layer.output_shape)}; the read-out wants a vector"
        )
