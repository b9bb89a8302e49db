"""EncoderDecoder: a sequence in, another sequence out, through the state between them.

Cho et al., Learning phrase representations using RNN encoder-decoder, 2014; Sutskever et al., Sequence to sequence learning
with neural networks, 2014.

Longer than the guide for a file: half of it is how parts are made to meet, and what is said where they do not.
"""

import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from elman import decoding, files
from elman.checks import checked_lengths, checked_seed, checked_token
from elman.decoding import Hypothesis
from elman.describe import built, declared, described
from elman.errors import ModelFileError, SettingError, ShapeError
from elman.flow import outward, time_first
from elman.gates import Array
from elman.head import read_last, unread_last
from elman.io import safetensors
from elman.layer import Layer, Record
from elman.model import Model
from elman.network import Propagation
from elman.rnn import RNN
from elman.shapes import Shape, written
from elman.states import State
from elman.trace import Cell
from elman.trees import batched, flat, nested, plain, row_shapes

FORMAT, VERSION = "elman encoder-decoder", 1


class EncoderDecoder:
    """An encoder reads a source; a decoder, a `Model`, starts from what it gave and says the target one step after another.

    Where `bridge` is None, the encoder's last state is the decoder's first: both are of the same cells and sizes. With a
    `bridge`, a map such as `cells.dense`, each of the decoder's states starts as the bridge of the encoder's last output,
    with parameters of its own: any layers can meet then, and a vector is a source of one step. As for layers, integers are
    tokens and floats are features. Gradients flow all the way, whatever the decoder's `bptt_truncate`; an
    initial state that the decoder learnt is not used.

    `start` is the token that a decoder of tokens reads first (a decoder of features reads zeros), `end` the token that ends
    a target, if there is one. Parameters are called `encoder.wi`, `bridge.h.w`, `decoder.wya` and so on. Raises
    `SettingError` for parts that do not meet.

    >>> import numpy as np, elman
    >>> encoder = elman.RNN(elman.cells.gru, input=3, hidden=4)
    >>> net = EncoderDecoder(encoder, elman.Model(8, 4, None, elman.cells.gru), start=0, end=1)
    >>> net.loss(np.ones((5, 3)), [2, 3, 1]) > 0.0, len(net.generate(np.ones((5, 3)), length=6)) <= 6
    (True, True)
    """

    def __init__(
        self,
        encoder: Layer,
        decoder: Model,
        *,
        bridge: Cell | None = None,
        start: int | None = None,
        end: int | None = None,
        seed: int = 0,
    ) -> None:
        if not isinstance(encoder, Layer):
            raise SettingError(f"EncoderDecoder: the encoder is {encoder!r}; a layer (RNN, Stack, Bidirectional) is wanted")
        if not isinstance(decoder, Model):
            raise SettingError(f"EncoderDecoder: the decoder is {decoder!r}; a Model is wanted")
        if bridge is not None and not isinstance(bridge, Cell):
            raise SettingError(f"EncoderDecoder: bridge={bridge!r} is not a cell; take elman.cells.dense")
        self._join(encoder, decoder, start, end)
        self._take(self._made(bridge, checked_seed(seed)) if bridge is not None else {})

    def __repr__(self) -> str:
        count = sum(value.size for value in self.parameters.values())
        return f"{self.name[:-1]}, {count:,} parameters, {self.encoder.dtype})"

    # --- parameters ---------------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> Mapping[str, Array]:
        """All parameters by name, read-only."""
        return MappingProxyType(
            {f"{part}.{name}": value for part, held in self._parts().items() for name, value in held.parameters.items()}
        )

    def _owners(self) -> list[tuple[RNN, dict[str, str]]]:
        """The layers that hold the parameters, and from their names for these to those here."""
        layers = {f"encoder.{name}": leaf for name, leaf in self.encoder._leaves().items()}
        layers |= {f"bridge.{name}.": bridge for name, bridge in self._bridges.items()}
        found: list[tuple[Any, dict[str, str]]] = [
            (layer, {name: before + name for name in layer.parameters}) for before, layer in layers.items()
        ]
        inner = self.decoder._owners()
        return found + [(layer, {n: f"decoder.{outer}" for n, outer in names.items()}) for layer, names in inner]

    @property
    def _drops(self) -> bool:
        return self.encoder._drops or self.decoder._drops

    def update(self, values: Mapping[str, Any]) -> None:
        """Set parameters by name, all or none. Raises as `RNN.update` does."""
        known = self.parameters
        unknown = [name for name in values if name not in known]
        if unknown:
            raise SettingError(f"{self.name}: there is no parameter {unknown[0]!r}; parameters are {', '.join(known)}")
        before = {part: dict(held.parameters) for part, held in self._parts().items()}
        try:
            for part, held in self._parts().items():
                prefix = f"{part}."
                held.update({n.removeprefix(prefix): v for n, v in values.items() if n.startswith(prefix)})
        except Exception:
            for part, held in self._parts().items():
                held.update(before[part])
            raise

    # --- forward ------------------------------------------------------------------------------------------------------

    def encode(self, x: Any, lengths: Any = None) -> State:
        """The decoder's first state after a source `[T, I]`, tokens `[T]`, or a batch of them."""
        return self._encoded(x, lengths, None)

    def forward_propagation(self, x: Any, targets: Any, lengths: Any = None, target_lengths: Any = None) -> Propagation:
        """What the decoder says at each step of the targets when it is told those before (teacher forcing).

        `x` a source `[T, I]` or tokens `[T]`, `targets` tokens `[U]` or features `[U, O]`; both may be batches.
        """
        first = self.encode(x, lengths)
        self._check_batch(first, targets)
        return self.decoder.forward_propagation(self._shifted(targets, target_lengths), first, target_lengths)

    def loss(
        self, x: Any, targets: Any, lengths: Any = None, target_lengths: Any = None, *, label_smoothing: float = 0.0
    ) -> float:
        """Mean loss of the targets, a step, with teacher forcing (Williams and Zipser, 1989); as `Model.loss`."""
        first = self.encode(x, lengths)
        self._check_batch(first, targets)
        told = self._shifted(targets, target_lengths)
        return self.decoder.loss(told, targets, first, target_lengths, label_smoothing=label_smoothing)

    def gradients(
        self,
        x: Any,
        targets: Any,
        lengths: Any = None,
        target_lengths: Any = None,
        *,
        label_smoothing: float = 0.0,
        dropout_seed: int | None = None,
        recompute: bool = False,
    ) -> tuple[float, dict[str, Array]]:
        """The loss with teacher forcing, and its gradients by parameter, through the state into the encoder.

        `label_smoothing`, `dropout_seed` and `recompute` as for `Model.gradients`.
        """
        run: dict[str, Any] = {"dropout_seed": dropout_seed, "recompute": recompute}
        record = self.encoder.record(x, None, lengths, **run, input_gradient=False)
        run |= {"dropout_seed": _of_decoder(dropout_seed)}
        first, bridged = self._first_state(record.y, record.state, lengths)
        self._check_batch(record.state, targets)
        told = self._shifted(targets, target_lengths)
        asked: dict[str, Any] = {"truncate": None, "label_smoothing": label_smoothing}
        scored = self.decoder._scored(told, targets, first, target_lengths, None, **asked, **run)
        found = {f"decoder.{name}": value for name, value in scored.parameters.items()}
        if not self._bridges:
            d_last = plain(scored.d_state) if record.state.batch is not None else batched(plain(scored.d_state))
            inner = record._followed_back(np.zeros_like(record.y), d_last)
        else:
            d_y, of_bridges = self._through_bridges(bridged, scored.d_state, record, lengths)
            inner = record.gradients(d_y)
            found |= of_bridges
        found |= {f"encoder.{name}": value for name, value in inner.parameters.items()}
        return scored.loss, {name: found[name] for name in self.parameters}

    def inspect(
        self,
        x: Any,
        targets: Any,
        lengths: Any = None,
        target_lengths: Any = None,
        *,
        keep: Iterable[str] | None = None,
        dropout_seed: int | None = None,
    ) -> dict[str, Array]:
        """Every named value of the encoder at every step of the source, and of the decoder at every step of the targets.

        Names begin with `encoder.` and `decoder.`; `bridge.h` is what a bridge gives for the state h, `[H]` or `[B, H]`.
        `keep` names those wanted (all). `dropout_seed` draws what dropout drops (nothing). Raises `SettingError` for
        another name.
        """
        of_parts = {"encoder": self.encoder.values, "bridge": tuple(self._bridges), "decoder": self.decoder.values}
        known = [f"{part}.{name}" for part, held in of_parts.items() for name in held]
        names = known if keep is None else [keep] if isinstance(keep, str) else list(keep)
        for name in names:
            if name not in known:
                raise SettingError(f"{self.name}: there is no value {name!r}; values are {', '.join(known)}")
        wanted = {part: [n.removeprefix(f"{part}.") for n in names if n.startswith(f"{part}.")] for part in of_parts}
        found: dict[str, Mapping[str, Array]] = {}
        if wanted["encoder"]:
            found["encoder"] = self.encoder.inspect(x, None, lengths, keep=wanted["encoder"], dropout_seed=dropout_seed)
        if wanted["bridge"]:
            y, last = self._read(x, lengths, dropout_seed)
            found["bridge"] = _given(self._bridged(y, last, lengths), last)
        if wanted["decoder"]:
            first = self._encoded(x, lengths, dropout_seed)
            self._check_batch(first, targets)
            asked: dict[str, Any] = {"keep": wanted["decoder"], "dropout_seed": _of_decoder(dropout_seed)}
            found["decoder"] = self.decoder.inspect(self._shifted(targets, target_lengths), first, target_lengths, **asked)
        return {name: found[name.partition(".")[0]][name.partition(".")[2]] for name in names}

    # --- saying -------------------------------------------------------------------------------------------------------

    def generate(self, x: Any, length: int, *, lengths: Any = None) -> Any:
        """What the decoder says when it is told what it said (free running): the likeliest token each time.

        Tokens up to `length`, or up to `end` (not included); for a batch a list of them. A decoder of features gives
        `[length, O]`, one source at a time.
        """
        length, state = decoding.checked_length(length), self.encode(x, lengths)
        if self.decoder.reads_tokens and state.batch is None:
            assert self.start is not None, "a decoder of tokens has a start"
            return decoding.said(self.decoder.stream(state).push, self.start, length, self.end, self.decoder._banned)
        rows = state if state.batch is not None else State.stack([state])
        if not self.decoder.reads_tokens:
            if state.batch is not None:
                raise ShapeError(f"{self.name}: features are generated from one source; this is a batch of {state.batch}")
            return decoding.fed_back(self.decoder._advance, self._begin(1), rows, length)
        begin = self._begin(rows.batch or 0)
        return decoding.likeliest(self.decoder._next, begin, rows, length, self.end, self.decoder._banned)

    def beam_search(self, x: Any, length: int, *, width: int = 4, length_penalty: float = 0.0) -> list[Hypothesis]:
        """The likeliest targets of one source that `width` beams find, best first; as `Model.beam_search`."""
        if not self.decoder.reads_tokens:
            raise SettingError(f"{self.name}: the decoder says features, of which there is no likeliest; use generate")
        length, settings = (
            decoding.checked_length(length),
            decoding.Beams(width, self.end, length_penalty, self.decoder._banned),
        )
        state = self.encode(x)
        if state.batch is not None:
            raise ShapeError(f"{self.name}: beams search from one source; this is a batch of {state.batch}")
        return decoding.beams(self.decoder._next, self._begin(1), State.stack([state]), length, settings)

    # --- files --------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to one safetensors file, atomically; `EncoderDecoder.load` opens it. Raises `ModelFileError`."""
        safetensors.write(path, self.parameters, self._facts())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Open a file that `save` wrote, or a checkpoint of its training; no code in it is run.

        Raises `ModelFileError` for any other.
        """
        return files.opened(path, FORMAT, VERSION, cls._from_facts)

    def _facts(self) -> dict[str, Any]:
        bridges = {name: described(bridge) for name, bridge in self._bridges.items()}
        facts = {"format": FORMAT, "version": VERSION, "encoder": described(self.encoder), "bridges": bridges}
        return facts | {"decoder": self.decoder._facts(), "start": self.start, "end": self.end, "training": self.training}

    @classmethod
    def _from_facts(cls, arrays: Mapping[str, Array], facts: Mapping[str, Any]) -> Self:
        encoder, bridges, decoder = facts["encoder"], facts["bridges"], facts["decoder"]
        described_parts = {f"bridge.{name}": declared(bridge) for name, bridge in bridges.items()}
        shapes = {"encoder": declared(encoder), **described_parts, "decoder": files.model_parameters(decoder)}
        wanted = {f"{part}.{name}": shape for part, held in shapes.items() for name, shape in held.items()}
        files.check_arrays(arrays, wanted, decoder["dtype"])
        if not isinstance(facts["training"], dict):
            raise ModelFileError(f"training is {type(facts['training']).__name__}, dict is wanted")
        inner = {n.removeprefix("decoder."): value for n, value in arrays.items() if n.startswith("decoder.")}
        made = cls.__new__(cls)
        made._join(built(encoder, decoder["dtype"]), files.model_from(inner, decoder), facts["start"], facts["end"])
        made._take({name: built(bridge, decoder["dtype"]) for name, bridge in bridges.items()})
        made.update(arrays)
        made.training = facts["training"]
        return made

    # --- inside -------------------------------------------------------------------------------------------------------

    def _join(self, encoder: Layer, decoder: Model, start: int | None, end: int | None) -> None:
        self.encoder, self.decoder, self.name = encoder, decoder, f"EncoderDecoder({encoder.name}, {decoder.rnn.name})"
        size, whose = decoder.word_dim, " of the decoder"
        self.start = checked_token("EncoderDecoder: start", start, size, whose)
        self.end = checked_token("EncoderDecoder: end", end, size, whose)
        self.training: dict[str, Any] = {}
        self._check_parts()

    def _take(self, bridges: Mapping[str, Any]) -> None:
        """Take a bridge for each state of the decoder, in the states' order; or none, where its states are the encoder's."""
        if not bridges:
            self._check_states()
        self._bridges: dict[str, RNN] = {}
        shapes = row_shapes(self.decoder.rnn._zero_states(0)) if bridges else {}
        if set(bridges) != set(shapes):
            raise SettingError(f"EncoderDecoder: the decoder has the states {_told(shapes)}; each wants a bridge")
        for name, shape in shapes.items():
            bridge, (width,) = bridges[name], self.encoder.output_shape
            maps = isinstance(bridge, RNN) and not bridge.cell.states
            if not maps or (bridge.input_shape, bridge.output_shape) != ((width,), shape):
                raise SettingError(f"EncoderDecoder: the bridge {bridge.name} does not map ({width}) to {written(shape)}")
            self._bridges[name] = bridge

    def _parts(self) -> dict[str, Layer | Model]:
        bridges = {f"bridge.{name}": bridge for name, bridge in self._bridges.items()}
        return {"encoder": self.encoder, **bridges, "decoder": self.decoder}

    def _check_parts(self) -> None:
        encoder, decoder = self.encoder, self.decoder
        if encoder.dtype != decoder.rnn.dtype:
            raise SettingError(f"EncoderDecoder: the encoder is of {encoder.dtype}, the decoder of {decoder.rnn.dtype}")
        if decoder._next_shape != (decoder.word_dim,):
            gives = "once a sequence" if decoder._next_shape is None else written(decoder._next_shape)
            raise SettingError(
                f"EncoderDecoder: the decoder gives {gives} and reads ({decoder.word_dim}); it must read what it gives"
            )
        decoder.rnn._check_forward("stream")
        if {id(leaf) for leaf in encoder._leaves().values()} & {id(leaf) for leaf in decoder.rnn._leaves().values()}:
            raise SettingError("EncoderDecoder: encoder and decoder hold the same layer; make one for each")
        if decoder.reads_tokens and self.start is None:
            raise SettingError("EncoderDecoder: start is missing, the token that the decoder reads first")
        if not decoder.reads_tokens and (self.start, self.end) != (None, None):
            raise SettingError("EncoderDecoder: start and end are tokens; this decoder reads features")

    def _check_states(self) -> None:
        theirs, ours = (row_shapes(layer._zero_states(0)) for layer in (self.encoder, self.decoder.rnn))
        if theirs != ours:
            raise SettingError(
                f"EncoderDecoder: the encoder's state ({_told(theirs)}) is not of the decoder's form ({_told(ours)}); "
                "give bridge=elman.cells.dense, which makes a first state of the encoder's last output"
            )

    def _made(self, bridge: Cell, seed: int) -> dict[str, RNN]:
        """A bridge for each state of the decoder."""
        made, width = {}, int(self.encoder.output_shape[0])
        self.encoder._turned()  # which says where directions have no last step of their own
        for position, (name, shape) in enumerate(row_shapes(self.decoder.rnn._zero_states(0)).items()):
            if len(shape) != 1 or len(self.encoder.output_shape) != 1:
                raise SettingError(f"EncoderDecoder: the state {name} is {written(shape)}; a bridge makes vectors")
            asked = {"input": width, "hidden": int(shape[0])}
            sizes: dict[str, Any] = {size: value for size, value in asked.items() if size in bridge.sizes}
            made[name] = RNN(bridge, dtype=self.encoder.dtype.name, seed=seed + position, **sizes)
        return made

    def _first_state(self, y: Array, last: State, lengths: Any) -> tuple[State, dict[str, Record]]:
        """The decoder's first state, from the encoder's output and last state; and the bridges' records."""
        if not self._bridges:
            return self.decoder.rnn._resumed(plain(last), last.batch), {}
        records = self._bridged(y, last, lengths)
        return self.decoder.rnn._resumed(nested(_given(records, last)), last.batch), records

    def _bridged(self, y: Array, last: State, lengths: Any) -> dict[str, Record]:
        """The bridges' records, of one step each."""
        context = read_last(time_first(y, last.batch), self._lengths(lengths), self.encoder)[0]
        return {name: bridge.record(context[:, None]) for name, bridge in self._bridges.items()}

    def _through_bridges(
        self, bridged: Mapping[str, Record], d_state: State, record: Record, lengths: Any
    ) -> tuple[Array, dict[str, Array]]:
        """The gradient for the encoder's output, and those for the bridges."""
        batch = record.state.batch
        d_leaves = flat(plain(d_state))
        found: dict[str, Array] = {}
        d_context: Array | None = None
        for name, bridge in bridged.items():
            d_leaf = d_leaves[name] if batch is not None else d_leaves[name][None]
            gradients = bridge.gradients(d_leaf[:, None])
            assert gradients.x is not None, "a bridge reads vectors"
            d_context = gradients.x[:, 0] if d_context is None else d_context + gradients.x[:, 0]
            found |= {f"bridge.{name}.{n}": value for n, value in gradients.parameters.items()}
        assert d_context is not None, "a decoder has a state"
        d_y = unread_last(d_context[None], time_first(record.y, batch), self._lengths(lengths), self.encoder)
        return outward(d_y, batch), found

    def _encoded(self, x: Any, lengths: Any, seed: int | None) -> State:
        """The decoder's first state, dropout drawn by a seed (nothing is dropped)."""
        return self._first_state(*self._read(x, lengths, seed), lengths)[0]

    def _read(self, x: Any, lengths: Any, seed: int | None) -> tuple[Array, State]:
        """The encoder's output and last state."""
        if seed is None:
            return self.encoder(x, None, lengths)
        record = self.encoder.record(x, None, lengths, dropout_seed=seed)
        return record.y, record.state

    def _check_batch(self, first: State, targets: Any) -> None:
        """Raises `ShapeError` where sources and targets are not as many."""
        single = 1 if self.decoder.reads_tokens else 2
        given = None if isinstance(targets, str) or np.ndim(targets) == single else len(targets)
        if given != first.batch:
            told = ["one sequence" if count is None else f"a batch of {count}" for count in (first.batch, given)]
            raise ShapeError(
                f"{self.name}: the source is {told[0]}, the targets are {told[1]}; one target a source is wanted"
            )

    def _lengths(self, lengths: Any) -> Array | None:
        return None if lengths is None else np.asarray(lengths)

    def _begin(self, rows: int) -> Array:
        """What the decoder reads first: the start token, or zeros."""
        if self.decoder.reads_tokens:
            return np.full((rows, 1), self.start)
        return np.zeros((rows, 1, self.decoder.word_dim), self.encoder.dtype)

    def _shifted(self, targets: Any, lengths: Any) -> Array:
        """What the decoder reads while it is told the targets, each one step late; past a length nothing is read."""
        tokens = self.decoder.reads_tokens
        if not isinstance(targets, str):
            try:
                targets = np.asarray(targets)
            except ValueError:
                raise ShapeError(f"{self.name}: targets of different lengths; pad them, give target_lengths") from None
            if lengths is not None and targets.ndim == (2 if tokens else 3):
                ends = checked_lengths(f"{self.name}, targets", lengths, *targets.shape[:2])
                targets = np.array(targets)
                targets[np.arange(targets.shape[1]) >= ends[:, None]] = self.start if tokens else 0
        found: Array = self.decoder._input(targets)
        if found.ndim == (1 if tokens else 2):
            return np.concatenate((self._begin(1)[0], found[:-1]))
        shifted: Array = np.concatenate((self._begin(len(found)), found[:, :-1]), axis=1)
        return shifted[:, : found.shape[1]]  # there may be no step


def _given(bridged: Mapping[str, Record], last: State) -> dict[str, Array]:
    """What bridges give, by the state that it is for: `[H]` or `[B, H]`, as the encoder's last state is."""
    return {name: record.y[0, 0] if last.batch is None else record.y[:, 0] for name, record in bridged.items()}


def _of_decoder(seed: int | None) -> int | None:
    """The seed of what the decoder drops: with that of the encoder it would drop what the encoder did."""
    return None if seed is None else int(np.random.SeedSequence((seed, 1)).generate_state(1)[0])


def _told(shapes: Mapping[str, Shape]) -> str:
    return ", ".join(f"{name} {written(shape)}" for name, shape in shapes.items()) or "none"
