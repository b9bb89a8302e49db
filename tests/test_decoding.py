"""Decoding: beams against every continuation there is, free running and encoder-decoders against literal loops.

The literal side is in float64, one sequence and one step at a time: an encoder is unrolled, a bridge is one formula, and a
decoder is fed what it is told (teacher forcing) or what it said (free running).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import elman
from elman import DataError, EncoderDecoder, Model, ModelFileError, SettingError, ShapeError, TokenError, cells
from messages import said
from oracles import CELLS, Arrays, Cell, cross_entropy, one_hot, random_direction, random_parameters, sigmoid, slope, softmax

CLOSE = 1e-12
RELATIVE = 1e-6


def assert_close(got, wanted, close: float = CLOSE) -> None:
    assert np.shape(got) == np.shape(wanted)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=close * max(1.0, float(np.abs(wanted).max(initial=0.0))))


# ---------------------------------------------------------------- the literal side


def own(p: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): array for name, array in p.items() if name.startswith(prefix)}


@dataclass(frozen=True)
class Loop:
    """Cells upon one another and a read-out: what a model of one direction is, one step after another."""

    cells: tuple[Cell, ...]
    p: Arrays
    prefix: str = ""

    def layer(self, k: int) -> Arrays:
        return own(self.p, self.prefix + (f"{k}." if len(self.cells) > 1 else ""))

    def step(self, x: np.ndarray, states: list[Arrays]) -> tuple[np.ndarray, list[Arrays]]:
        """The output of the last layer, and all states."""
        after = []
        for k, cell in enumerate(self.cells):
            values = cell.step(self.layer(k), x, *(states[k][name] for name in cell.states))
            after.append({name: values[name] for name in cell.states})
            x = values[cell.states[0]]
        return x, after

    def run(self, x: np.ndarray, states: list[Arrays]) -> tuple[list[np.ndarray], list[Arrays]]:
        outputs = []
        for x_t in x:
            y, states = self.step(x_t, states)
            outputs.append(y)
        return outputs, states

    def logits(self, a: np.ndarray) -> np.ndarray:
        return self.p[f"{self.prefix}wya"] @ a + self.p[f"{self.prefix}by"]

    def zero(self) -> list[Arrays]:
        return [{name: np.zeros(len(self.layer(k)[u])) for name in cell.states} for k, cell in enumerate(self.cells)
                for u in cell.recurrent[:1]]  # fmt: skip


def all_continuations(loop: Loop, logits: np.ndarray, states: list[Arrays], length: int, end: int | None) -> list[tuple]:
    """(tokens, ln p, ended) of every continuation: the probability of a token is that of the softmax, end included."""
    if not length:
        return [((), 0.0, False)]
    found, size = [], len(logits)
    for token, log_p in enumerate(logits - np.logaddexp.reduce(logits)):
        if token == end:
            found.append(((), log_p, True))
            continue
        a, after = loop.step(one_hot(np.array(token), size), states)
        rest = all_continuations(loop, loop.logits(a), after, length - 1, end)
        found += [((token, *tokens), log_p + more, ended) for tokens, more, ended in rest]
    return found


def score(tokens: tuple[int, ...], log_p: float, ended: bool, penalty: float) -> float:
    """ln p / n^penalty; the end is one of the n."""
    n = len(tokens) + ended
    return log_p / n**penalty if n else log_p


def random_model(sizes: dict[str, int], cell: str, layers: int, seed: int, dtype: str = "float64") -> Model:
    """A language model whose probabilities are far from equal."""
    model = Model(sizes["V"], sizes["H"], None, getattr(cells, cell), layers=layers, dtype=dtype)
    rng = np.random.default_rng(seed)
    p = random_parameters({name: array.shape for name, array in model.parameters.items()}, rng)
    model.update({name: array * (2.0 if name == "wya" else 1.0) for name, array in p.items()})
    return model


def loop_of(model: Model, cell: str, layers: int) -> Loop:
    return Loop((CELLS[cell],) * layers, {name: array.astype(float) for name, array in model.parameters.items()})


MODELS = {"elman": ("elman", 1), "lstm": ("lstm", 1), "two layers": ("gru", 2)}
every_model = pytest.mark.parametrize("kind", MODELS)


def prompted(kind: str, seed: int, V: int = 4) -> tuple[Model, Loop, np.ndarray, np.ndarray, list[Arrays]]:
    """A model, its loop, a prompt, and after it: the logits and the states."""
    cell, layers = MODELS[kind]
    model = random_model({"V": V, "H": 5}, cell, layers, seed)
    loop, prompt = loop_of(model, cell, layers), np.random.default_rng(seed).integers(V, size=3)
    outputs, states = loop.run(one_hot(prompt, V), loop.zero())
    return model, loop, prompt, loop.logits(outputs[-1]), states


# ---------------------------------------------------------------- beams


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("end", [None, 0, 2])
@every_model
def test_enough_beams_find_every_continuation(kind, end, penalty):
    model, loop, prompt, logits, states = prompted(kind, 1)
    wanted = all_continuations(loop, logits, states, 3, end)
    wanted.sort(key=lambda one: -score(*one, penalty))
    found = model.beam_search(prompt, 3, width=len(wanted) + 5, end=end, length_penalty=penalty)
    assert [tuple(one.tokens.tolist()) for one in found] == [tokens for tokens, _, _ in wanted]
    assert [one.ended for one in found] == [ended for _, _, ended in wanted]
    assert_close(np.array([one.log_probability for one in found]), np.array([log_p for _, log_p, _ in wanted]), 1e-11)
    assert sum(np.exp(one.log_probability) for one in found) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("end", [None, 1])
@every_model
def test_one_beam_is_the_likeliest_token_each_time(kind, end):
    for seed in range(6):
        model, loop, prompt, logits, states = prompted(kind, seed, V=6)
        tokens, log_p, ended = [], 0.0, False
        while len(tokens) < 7:
            token = int(np.argmax(logits))
            log_p += float(logits[token] - np.logaddexp.reduce(logits))
            if token == end:
                ended = True
                break
            tokens.append(token)
            a, states = loop.step(one_hot(np.array(token), 6), states)
            logits = loop.logits(a)
        (found,) = model.beam_search(prompt, 7, width=1, end=end)
        assert (found.tokens.tolist(), found.ended) == (tokens, ended)
        assert found.log_probability == pytest.approx(log_p, rel=1e-11)
        if end is None:
            assert model.generate(prompt, length=7, temperature=0).tolist() == tokens


@pytest.mark.parametrize("width", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("end", [None, 1])
def test_what_few_beams_find_is_what_it_says(width, end):
    """Each is a continuation, with its own probability; they differ, the best is first, and there are at most `width`."""
    for seed in range(4):
        model, loop, prompt, logits, states = prompted("two layers", seed, V=5)
        every = {(tokens, ended): log_p for tokens, log_p, ended in all_continuations(loop, logits, states, 3, end)}
        for penalty in (0.0, 1.0):
            found = model.beam_search(prompt, 3, width=width, end=end, length_penalty=penalty)
            names = [(tuple(one.tokens.tolist()), one.ended) for one in found]
            assert 1 <= len(found) <= width
            assert len(set(names)) == len(names)
            for one, name in zip(found, names, strict=True):
                assert one.log_probability == pytest.approx(every[name], rel=1e-11)
            scores = [score(tokens, every[tokens, ended], ended, penalty) for tokens, ended in names]
            assert scores == sorted(scores, reverse=True)
            if end is None:
                assert len(found) == width


def test_the_end_is_no_token_of_what_was_found():
    model, _, prompt, _, _ = prompted("lstm", 3)
    for end in range(4):
        for one in model.beam_search(prompt, 4, width=30, end=end):
            assert end not in one.tokens.tolist()
            assert one.ended or len(one.tokens) == 4
    for one in model.beam_search(prompt, 4, width=30):
        assert (one.ended, len(one.tokens)) == (False, 4)


def test_a_penalty_of_the_length_prefers_longer_ones():
    """ln p is negative: without a penalty the short ones win, with one they are measured by the token."""
    model, loop, prompt, logits, states = prompted("elman", 4, V=3)
    every = all_continuations(loop, logits, states, 5, 0)

    def mean_length(penalty: float) -> float:
        best = model.beam_search(prompt, 5, width=len(every), end=0, length_penalty=penalty)[:8]
        return float(np.mean([len(one.tokens) for one in best]))

    assert mean_length(0.0) < mean_length(1.0) < mean_length(2.0)


def test_beams_from_a_state():
    model, loop, prompt, _, _ = prompted("two layers", 5)
    rng = np.random.default_rng(5)
    states = [{"h": rng.normal(size=5)} for _ in range(2)]
    outputs, after = loop.run(one_hot(prompt, 4), states)
    wanted = max(all_continuations(loop, loop.logits(outputs[-1]), after, 3, None), key=lambda one: one[1])
    found = model.beam_search(prompt, 3, width=64, state={"0": states[0], "1": states[1]})[0]
    assert tuple(found.tokens.tolist()) == wanted[0]
    assert found.log_probability == pytest.approx(wanted[1], rel=1e-11)


def test_beams_of_no_length():
    model, _, prompt, _, _ = prompted("elman", 6)
    (only,) = model.beam_search(prompt, 0, width=5, end=1)
    assert (only.tokens.tolist(), only.log_probability, only.ended) == ([], 0.0, False)


def test_beams_of_single_precision_find_the_same():
    model = random_model({"V": 5, "H": 6}, "gru", 1, 7, "float32")
    loop = loop_of(model, "gru", 1)
    outputs, states = loop.run(one_hot(np.array([1, 4]), 5), loop.zero())
    every = sorted(all_continuations(loop, loop.logits(outputs[-1]), states, 3, 0), key=lambda one: -one[1])
    for got, wanted in zip(model.beam_search([1, 4], 3, width=200, end=0), every, strict=True):
        assert got.log_probability == pytest.approx(wanted[1], abs=1e-4)


VOCABULARY = elman.Vocabulary.characters("abc\n")


def text_model() -> Model:
    model = Model(len(VOCABULARY), 5, None, cells.gru, vocabulary=VOCABULARY, dtype="float64", seed=1)
    rng = np.random.default_rng(8)
    model.update(random_parameters({name: array.shape for name, array in model.parameters.items()}, rng))
    return model


def test_beams_after_a_text():
    model, end = text_model(), int(VOCABULARY.encode("\n")[0])
    by_text, by_tokens = (model.beam_search(prompt, 4, width=5, end=end) for prompt in ("ab", VOCABULARY.encode("ab")))
    for one, two in zip(by_text, by_tokens, strict=True):
        assert one.tokens.tolist() == two.tokens.tolist()
        assert one.log_probability == two.log_probability


def test_beams_do_not_say_the_unknown_symbol():
    """It is never generated (docs/decisions.md): it stands for whatever the vocabulary lacks."""
    model = text_model()
    model.update({"by": np.where(np.arange(len(VOCABULARY)) == VOCABULARY.unknown, 3.0, 0.0)})
    assert VOCABULARY.unknown not in VOCABULARY.encode(model.generate("ab", length=50))
    for one in model.beam_search("ab", 3, width=10):
        assert VOCABULARY.unknown not in one.tokens.tolist()


# ---------------------------------------------------------------- free running


@pytest.mark.parametrize("readout", ["readout_linear", "readout_sigmoid", "readout"])
@pytest.mark.parametrize("names", [("lstm",), ("gru", "elman")])
def test_a_model_of_features_runs_free(names, readout):
    """Each output is the next input."""
    rng, inputs, layers, p = np.random.default_rng(9), 3, [], {}
    for k, name in enumerate(names):
        shapes = CELLS[name].shapes(inputs if not k else 4, 4)
        own_p = random_parameters(shapes, rng)
        layers.append(elman.RNN(getattr(cells, name), input=inputs if not k else 4, hidden=4, dtype="float64"))
        layers[-1].update(own_p)
        p |= {(f"{k}." if len(names) > 1 else "") + n: array for n, array in own_p.items()}
    model = Model.from_layers(layers[0] if len(layers) == 1 else elman.Stack(layers), 3, readout=getattr(cells, readout))
    read = random_parameters({"wya": (3, 4), "by": (3,)}, rng)
    model.update(read)
    loop = Loop(tuple(CELLS[name] for name in names), p | read)
    activation = {"readout_linear": lambda z: z, "readout_sigmoid": sigmoid, "readout": softmax}[readout]
    x, states = rng.normal(size=(4, 3)), [{n: rng.normal(size=4) for n in CELLS[name].states} for name in names]
    given = states[0] if len(names) == 1 else {str(k): state for k, state in enumerate(states)}
    outputs, states = loop.run(x, states)
    y, wanted = activation(loop.logits(outputs[-1])), []
    for _ in range(6):
        wanted.append(y)
        a, states = loop.step(y, states)
        y = activation(loop.logits(a))
    assert_close(model.generate(x, length=6, state=given), np.array(wanted))
    assert model.generate(x, length=0, state=given).shape == (0, 3)


def test_a_model_of_tokens_continues_from_a_state():
    """The likeliest each time, literally."""
    model, loop, prompt, _, _ = prompted("lstm", 10, V=7)
    rng = np.random.default_rng(10)
    first = [{"h": rng.normal(size=5), "c": rng.normal(size=5)}]
    outputs, states = loop.run(one_hot(prompt, 7), first)
    logits, wanted = loop.logits(outputs[-1]), []
    for _ in range(8):
        wanted.append(int(np.argmax(logits)))
        a, states = loop.step(one_hot(np.array(wanted[-1]), 7), states)
        logits = loop.logits(a)
    assert model.generate(prompt, length=8, temperature=0, state=first[0]).tolist() == wanted


def gru(inputs: int, hidden: int = 4, **settings: Any) -> elman.RNN:
    return elman.RNN(cells.gru, input=inputs, hidden=hidden, dtype="float64", **settings)


def both(inputs: int, hidden: int = 4, **settings: Any) -> elman.Bidirectional:
    return elman.Bidirectional(gru(inputs, hidden), gru(inputs, hidden, seed=1), **settings)


CANNOT: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "beams of features": (lambda: Model.from_layers(gru(3), 3).beam_search(np.ones((2, 3)), 3), SettingError, "features"),
    "an output that is no input": (
        lambda: Model.from_layers(gru(3), 2, readout=cells.readout_linear).generate(np.ones((2, 3)), 3),
        SettingError, "this model gives (output=2) and reads (3): no output can be its next input"),
    "one output a sequence": (
        lambda: Model.from_layers(gru(3), 3, pool="last").generate(np.ones((2, 3)), 3), SettingError, "one output a"),
    "features and a temperature": (
        lambda: Model.from_layers(gru(3), 3).generate(np.ones((2, 3)), 3, temperature=0.5), SettingError, "temperature"),
    "an empty prompt of features": (
        lambda: Model.from_layers(gru(3), 3).generate(np.ones((0, 3)), 3), ShapeError, "the prompt is empty"),
    "an empty prompt": (lambda: Model(5, 4).beam_search([], 3), DataError, "empty"),
    "a prompt from outside": (lambda: Model(5, 4).beam_search([5], 3), TokenError, "token 5 at position 0 is outside"),
    "a batch of prompts": (lambda: Model(5, 4).beam_search([[1, 2], [3, 4]], 3), ShapeError, "one sequence [T] is wanted"),
    "no beam": (lambda: Model(5, 4).beam_search([1], 3, width=0), SettingError, "width=0 must be a number of beams"),
    "half a beam": (lambda: Model(5, 4).beam_search([1], 3, width=2.5), SettingError, "width=2.5"),
    "a length below": (lambda: Model(5, 4).beam_search([1], -1), SettingError, "length=-1"),
    "a penalty that is none": (
        lambda: Model(5, 4).beam_search([1], 3, length_penalty=float("nan")), SettingError, "length_penalty=nan"),
    "an end from outside": (lambda: Model(5, 4).beam_search([1], 3, end=5), SettingError, "end=5"),
    "an end below": (lambda: Model(5, 4).beam_search([1], 3, end=-1), SettingError, "end=-1"),
    "an end that is no token": (lambda: Model(5, 4).beam_search([1], 3, end="a"), SettingError, "end='a'"),
    "features from the end": (
        lambda: Model.from_layers(both(3), 3, readout=cells.readout_linear).generate(np.ones((2, 3)), 3),
        SettingError, "reads from the end"),
    "tokens from the end": (
        lambda: Model.from_layers(both(3), 3, tokens=True).generate([1, 2], 3), SettingError, "reads from the end"),
    "beams from the end": (
        lambda: Model.from_layers(both(3), 3, tokens=True).beam_search([1, 2], 3), SettingError, "reads from the end"),
}  # fmt: skip


@pytest.mark.parametrize("what", CANNOT)
def test_what_cannot_be_continued(what):
    act, error, message = CANNOT[what]
    assert message in said(act, error)


# ---------------------------------------------------------------- encoder-decoders, literally


SOURCE, VOICE, START, END = 3, 6, 2, 4
LENGTHS, TARGET_LENGTHS = (3, 0, 5, 1), (2, 4, 1, 0)


@dataclass(frozen=True)
class Net:
    """An encoder-decoder with the literal one beside it."""

    net: EncoderDecoder
    encoder: Callable[[Arrays, np.ndarray], tuple[list[Arrays], np.ndarray]]
    """Parameters and one source [T, I] to the states after it, and what each direction gave last."""
    decoder: tuple[str, ...]
    bridged: bool
    x: np.ndarray  # [B, T, I]
    targets: np.ndarray
    tokens: bool
    source_tokens: bool = False

    @property
    def parameters(self) -> Arrays:
        return dict(self.net.parameters)

    def loop(self, p: Arrays) -> Loop:
        return Loop(tuple(CELLS[name] for name in self.decoder), p, "decoder.")

    def first(self, p: Arrays, b: int, n: int | None = None) -> list[Arrays]:
        """The decoder's first states for the source of a row."""
        loop, x = self.loop(p), self.x[b, : LENGTHS[b] if n is None else n]
        if len(x):
            states, last = self.encoder(p, one_hot(x, SOURCE) if self.source_tokens else x)
        else:  # where nothing was read, states and outputs are zero
            states, last = loop.zero(), np.zeros(self.net.encoder.output_shape)
        if not self.bridged:
            return states
        return [
            {name: np.tanh(p[f"bridge.{prefix}{name}.w"] @ last + p[f"bridge.{prefix}{name}.b"]) for name in cell.states}
            for cell, prefix in zip(loop.cells, [f"{k}." for k in range(9)] if len(self.decoder) > 1 else [""], strict=False)
        ]

    def told(self, b: int, steps: int) -> np.ndarray:
        """The decoder's inputs: the start (of features zeros), then all targets but the last."""
        if self.tokens:
            return one_hot(np.array([START, *self.targets[b, : steps - 1]], dtype=int), VOICE)[:steps]
        return np.concatenate([np.zeros((1, VOICE)), self.targets[b, : steps - 1]])[:steps]

    def logits(self, p: Arrays, b: int, steps: int, n: int | None = None) -> np.ndarray:
        outputs, _ = self.loop(p).run(self.told(b, steps), self.first(p, b, n))
        return np.array([self.loop(p).logits(a) for a in outputs])

    def losses(self, p: Arrays, b: int, steps: int, n: int | None = None) -> list[float]:
        pairs = zip(self.logits(p, b, steps, n) if steps else [], self.targets[b, :steps], strict=True)
        return [cross_entropy(z, t) if self.tokens else float(np.mean((z - t) ** 2)) for z, t in pairs]

    def loss(self, p: Arrays) -> float:
        return float(np.mean([loss for b, steps in enumerate(TARGET_LENGTHS) for loss in self.losses(p, b, steps)]))


def one_cell(name: str, prefix: str = "encoder.") -> Callable[[Arrays, np.ndarray], tuple[list[Arrays], np.ndarray]]:
    def run(p: Arrays, x: np.ndarray) -> tuple[list[Arrays], np.ndarray]:
        loop = Loop((CELLS[name],), p, prefix)
        outputs, states = loop.run(x, loop.zero())
        return states, outputs[-1]

    return run


def two_cells(p: Arrays, x: np.ndarray) -> tuple[list[Arrays], np.ndarray]:
    loop = Loop((CELLS["gru"], CELLS["lstm"]), p, "encoder.")
    outputs, states = loop.run(x, loop.zero())
    return states, outputs[-1]


def two_ways(p: Arrays, x: np.ndarray) -> tuple[list[Arrays], np.ndarray]:
    """Each direction's own last output, forward first."""
    ahead = one_cell("lstm", "encoder.forward.")(p, x)
    behind = one_cell("gru", "encoder.backward.")(p, x[::-1])
    return [], np.concatenate([ahead[1], behind[1]])


def no_recurrence(p: Arrays, x: np.ndarray) -> tuple[list[Arrays], np.ndarray]:
    return [], np.tanh(p["encoder.w"] @ x[-1] + p["encoder.b"])


def layer_of(name: str, inputs: int, hidden: int) -> elman.RNN:
    return elman.RNN(getattr(cells, name), input=inputs, hidden=hidden, dtype="float64")


ENCODERS: dict[str, tuple[Callable[[], elman.Layer], Any, tuple[str, ...], bool]] = {
    "state": (lambda: layer_of("lstm", SOURCE, 5), one_cell("lstm"), ("lstm",), False),
    "states of two layers": (
        lambda: elman.Stack([layer_of("gru", SOURCE, 5), layer_of("lstm", 5, 4)]), two_cells, ("gru", "lstm"), False),
    "bridge": (lambda: layer_of("gru", SOURCE, 3), one_cell("gru"), ("lstm",), True),
    "bridge to two layers": (lambda: layer_of("elman", SOURCE, 3), one_cell("elman"), ("gru", "lstm"), True),
    "bridge of two directions": (
        lambda: elman.Bidirectional(layer_of("lstm", SOURCE, 2), layer_of("gru", SOURCE, 3)), two_ways, ("gru",), True),
    "vector": (lambda: elman.RNN(cells.dense, input=SOURCE, hidden=4, dtype="float64"), no_recurrence, ("lstm",), True),
}  # fmt: skip
WAYS = {"tokens": {}, "features": {"tokens": False}, "tokens to tokens": {"source_tokens": True}}


def make(kind: str, *, tokens: bool = True, source_tokens: bool = False, cut: int | None = None) -> Net:
    """Random parameters, sources and targets: lengths of both are unsorted and have zeros."""
    encoder, literal, names, bridged = ENCODERS[kind]
    hidden = [5, 4] if len(names) > 1 else [5]
    layers = [layer_of(name, size, h) for name, size, h in zip(names, [VOICE, *hidden], hidden, strict=False)]
    layer = layers[0] if len(layers) == 1 else elman.Stack(layers)
    readout = cells.readout if tokens else cells.readout_linear
    decoder = Model.from_layers(layer, VOICE, readout=readout, tokens=tokens or None, bptt_truncate=cut)
    bridge = cells.dense if bridged else None
    net = EncoderDecoder(
        encoder(), decoder, bridge=bridge, start=START if tokens else None, end=END if tokens else None, seed=1
    )
    rng = np.random.default_rng([list(ENCODERS).index(kind), tokens, source_tokens])
    net.update(random_parameters({name: array.shape for name, array in net.parameters.items()}, rng))
    x = rng.integers(SOURCE, size=(4, 5)) if source_tokens else rng.normal(size=(4, 5, SOURCE))
    targets = rng.integers(VOICE, size=(4, 4)) if tokens else rng.normal(size=(4, 4, VOICE))
    return Net(net, literal, names, bridged, x, targets, tokens, source_tokens)


every_net = pytest.mark.parametrize("kind", ENCODERS)
every_way = pytest.mark.parametrize("way", WAYS)


@every_net
def test_the_first_state_is_the_encoders_or_its_bridge(kind):
    it = make(kind)
    state = it.net.encode(it.x, LENGTHS)
    for b, n in enumerate(LENGTHS):
        if n:
            for k, wanted in enumerate(it.first(it.parameters, b)):
                part = state[b] if len(it.decoder) == 1 else state[b].layers[k]
                alone = it.net.encode(it.x[b, :n])
                for name, array in wanted.items():
                    assert_close(part[name], array)
                    assert_close((alone if len(it.decoder) == 1 else alone.layers[k])[name], array)


@every_net
@every_way
def test_teacher_forcing_is_a_literal_loop(kind, way):
    """The decoder is fed the start and all targets but the last, from the encoder's state."""
    it = make(kind, **WAYS[way])
    found = it.net.forward_propagation(it.x, it.targets, LENGTHS, TARGET_LENGTHS)
    for b, steps in enumerate(TARGET_LENGTHS):
        if steps:
            assert_close(found.logits[b, :steps], it.logits(it.parameters, b, steps))
    assert it.net.loss(it.x, it.targets, LENGTHS, TARGET_LENGTHS) == pytest.approx(it.loss(it.parameters), rel=1e-12)
    whole = np.mean([it.losses(it.parameters, b, 4, 5) for b in range(4)])
    assert it.net.loss(it.x, it.targets) == pytest.approx(whole, rel=1e-12)


@every_net
@every_way
def test_a_batch_is_its_pairs_alone(kind, way):
    it = make(kind, **WAYS[way])
    found = it.net.forward_propagation(it.x, it.targets, LENGTHS, TARGET_LENGTHS)
    loss, gradients = it.net.gradients(it.x, it.targets, LENGTHS, TARGET_LENGTHS)
    total, sums, count = 0.0, {name: np.zeros_like(g) for name, g in gradients.items()}, sum(TARGET_LENGTHS)
    for b, (n, steps) in enumerate(zip(LENGTHS, TARGET_LENGTHS, strict=True)):
        if not steps:
            continue
        x, targets = it.x[b, :n], it.targets[b, :steps]
        if n:
            assert_close(found.output[b, :steps], it.net.forward_propagation(x, targets).output)
            one, alone = it.net.gradients(x, targets)
            assert one == pytest.approx(it.net.loss(x, targets), rel=1e-13)
        else:  # a batch of one, of which nothing is read
            one, alone = it.net.gradients(it.x[b : b + 1], it.targets[b : b + 1], [0], [steps])
        total += one * steps / count
        for name, gradient in alone.items():
            sums[name] += gradient * steps / count
    assert loss == pytest.approx(total, rel=1e-12)
    for name, gradient in gradients.items():
        assert_close(gradient, sums[name])


@every_net
@every_way
def test_gradients_are_slopes(kind, way):
    """Of every parameter by itself, those of the encoder and the bridge among them, then of all together."""
    it = make(kind, **WAYS[way])
    p, rng = it.parameters, np.random.default_rng(11)
    loss, gradients = it.net.gradients(it.x, it.targets, LENGTHS, TARGET_LENGTHS)
    assert loss == pytest.approx(it.loss(p), rel=1e-12)
    assert list(gradients) == list(p)
    groups = ("encoder.", "bridge.", "decoder.") if it.bridged else ("encoder.", "decoder.")
    for names in [*([n for n in p if n.startswith(group)] for group in groups), *([n] for n in list(p)[::3]), list(p)]:
        direction = random_direction({name: p[name] for name in names}, rng)
        expected = slope(it.loss, p, direction)
        got = sum(float(np.sum(gradients[name] * along)) for name, along in direction.items())
        assert abs(got - expected) <= RELATIVE * max(abs(expected), 1e-4), names


def test_a_decoder_that_is_cut_is_not_cut_here():
    """`bptt_truncate` is for one long text: here gradients flow all the way, into the encoder."""
    it = make("state", cut=2)
    rng = np.random.default_rng(12)

    def loss(arrays: Arrays) -> float:
        losses = []
        for b, steps in enumerate(TARGET_LENGTHS):
            if steps:
                loop = it.loop(arrays)
                for a, target in zip(
                    loop.run(it.told(b, steps), it.first(arrays, b))[0], it.targets[b, :steps], strict=True
                ):
                    losses.append(cross_entropy(loop.logits(a), target))
        return float(np.mean(losses))

    gradients = it.net.gradients(it.x, it.targets, LENGTHS, TARGET_LENGTHS)[1]
    for group in ("encoder.", "decoder."):
        direction = random_direction({name: array for name, array in it.parameters.items() if name.startswith(group)}, rng)
        expected = slope(loss, it.parameters, direction)
        got = sum(float(np.sum(gradients[name] * along)) for name, along in direction.items())
        assert abs(got - expected) <= RELATIVE * max(abs(expected), 1e-4), group


@pytest.mark.parametrize("bridged", [False, True])
def test_an_encoder_that_learns_where_to_start(bridged):
    """Its initial state has a gradient; that of the decoder is never used."""
    rng = np.random.default_rng(19)
    encoder, bridge = gru(SOURCE, learn_initial=True), cells.dense if bridged else None
    decoder = Model.from_layers(gru(VOICE, learn_initial=True), VOICE, tokens=True)
    net = EncoderDecoder(encoder, decoder, bridge=bridge, start=START, end=END)
    net.update(random_parameters({name: array.shape for name, array in net.parameters.items()}, rng))
    p, x, targets = dict(net.parameters), rng.normal(size=(3, 5, SOURCE)), rng.integers(VOICE, size=(3, 4))
    loss, gradients = net.gradients(x, targets, [5, 0, 2], [4, 2, 0])

    def literal(arrays: Arrays) -> float:
        losses = []
        for b, (n, steps) in enumerate(((5, 4), (0, 2))):
            h = arrays["encoder.h0"]
            for x_t in x[b, :n]:
                h = CELLS["gru"].step(own(arrays, "encoder."), x_t, h)["h"]
            if bridged:
                last = h if n else np.zeros(4)  # nothing was read, so there is no output
                h = np.tanh(arrays["bridge.h.w"] @ last + arrays["bridge.h.b"])
            for token, target in zip([START, *targets[b, : steps - 1]], targets[b, :steps], strict=True):
                h = CELLS["gru"].step(own(arrays, "decoder."), one_hot(np.array(token), VOICE), h)["h"]
                losses.append(cross_entropy(arrays["decoder.wya"] @ h + arrays["decoder.by"], target))
        return float(np.mean(losses))

    assert loss == pytest.approx(literal(p), rel=1e-12)
    assert list(gradients) == list(p)
    np.testing.assert_array_equal(gradients["decoder.h0"], 0.0)
    for names in (["encoder.h0"], list(p)):
        direction = random_direction({name: p[name] for name in names}, rng)
        expected = slope(literal, p, direction)
        got = sum(float(np.sum(gradients[name] * along)) for name, along in direction.items())
        assert abs(got - expected) <= RELATIVE * max(abs(expected), 1e-4), names


@pytest.mark.parametrize(
    ("way", "padding"), [("tokens", -1), ("tokens to tokens", -1), ("features", 1e6), ("features", np.nan)]
)
def test_the_padding_of_sources_and_targets_does_not_matter(way, padding):
    it = make("bridge", **WAYS[way])
    x, targets = it.x.copy(), it.targets.copy()
    for b, (n, steps) in enumerate(zip(LENGTHS, TARGET_LENGTHS, strict=True)):
        x[b, n:] = 1 if it.source_tokens else 9.0
        targets[b, steps:] = padding
    loss, gradients = it.net.gradients(it.x, it.targets, LENGTHS, TARGET_LENGTHS)
    got, found = it.net.gradients(x, targets, LENGTHS, TARGET_LENGTHS)
    assert got == loss == it.net.loss(x, targets, LENGTHS, TARGET_LENGTHS)
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(found[name], gradient)
    if it.tokens:
        for one, two in zip(it.net.generate(x, 5, lengths=LENGTHS), it.net.generate(it.x, 5, lengths=LENGTHS), strict=True):
            np.testing.assert_array_equal(one, two)


# ---------------------------------------------------------------- what it says


def literal_greedy(it: Net, b: int, length: int, n: int) -> list[int]:
    loop, states, token, said_so_far = it.loop(it.parameters), it.first(it.parameters, b, n), START, []
    while len(said_so_far) < length:
        a, states = loop.step(one_hot(np.array(token), VOICE), states)
        token = int(np.argmax(loop.logits(a)))
        if token == END:
            break
        said_so_far.append(token)
    return said_so_far


@every_net
def test_the_likeliest_target_is_a_literal_loop(kind):
    ends = 0
    for source_tokens in (False, True):
        it = make(kind, source_tokens=source_tokens)
        wanted = [literal_greedy(it, b, 7, n) for b, n in enumerate(LENGTHS)]
        ends += sum(len(tokens) < 7 for tokens in wanted)
        found = it.net.generate(it.x, 7, lengths=LENGTHS)
        assert [tokens.tolist() for tokens in found] == wanted
        for b, n in enumerate(LENGTHS):
            if n:
                assert it.net.generate(it.x[b, :n], 7).tolist() == wanted[b]
        assert [tokens.tolist() for tokens in it.net.generate(it.x, 7)] == [literal_greedy(it, b, 7, 5) for b in range(4)]
        assert it.net.generate(it.x[0], 0).tolist() == []


def test_some_targets_end_and_some_do_not():
    """So that the test above sees both."""
    lengths = [len(literal_greedy(it, b, 7, n)) for kind in ENCODERS for it in (make(kind),) for b, n in enumerate(LENGTHS)]
    assert 7 in lengths
    assert min(lengths) < 7
    assert len(set(lengths)) > 2


@every_net
def test_features_are_said_freely(kind):
    """From zeros, then each output is the next input."""
    it = make(kind, tokens=False)
    loop, states, y, wanted = it.loop(it.parameters), it.first(it.parameters, 2), np.zeros(VOICE), []
    for _ in range(6):
        a, states = loop.step(y, states)
        y = loop.logits(a)
        wanted.append(y)
    assert_close(it.net.generate(it.x[2], 6), np.array(wanted))
    assert it.net.generate(it.x[2], 0).shape == (0, VOICE)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@every_net
def test_enough_beams_find_every_target(kind, penalty):
    it = make(kind)
    loop, n = it.loop(it.parameters), LENGTHS[0]
    a, states = loop.step(one_hot(np.array(START), VOICE), it.first(it.parameters, 0))
    wanted = all_continuations(loop, loop.logits(a), states, 3, END)
    wanted.sort(key=lambda one: -score(*one, penalty))
    found = it.net.beam_search(it.x[0, :n], 3, width=len(wanted), length_penalty=penalty)
    assert [(tuple(one.tokens.tolist()), one.ended) for one in found] == [(tokens, ended) for tokens, _, ended in wanted]
    assert_close(np.array([one.log_probability for one in found]), np.array([log_p for _, log_p, _ in wanted]), 1e-11)
    assert it.net.beam_search(it.x[0, :n], 5, width=1)[0].tokens.tolist() == literal_greedy(it, 0, 5, n)


def test_the_probability_of_a_target_is_its_loss():
    """What a beam says of its tokens and the end is what teacher forcing says of them."""
    it = make("states of two layers")
    for one in it.net.beam_search(it.x[2], 4, width=6):
        targets = [*one.tokens, END] if one.ended else one.tokens
        assert -it.net.loss(it.x[2], targets) * len(targets) == pytest.approx(one.log_probability, rel=1e-11)


def test_a_caption_of_a_vector():
    """One-to-many in a few lines: a vector is a source of one step."""
    decoder = random_model({"V": 6, "H": 5}, "gru", 1, 13)
    vector = elman.RNN(cells.dense, input=3, hidden=4, dtype="float64", seed=2)
    net = EncoderDecoder(vector, decoder, bridge=cells.dense, start=0, end=1)
    x = np.random.default_rng(13).normal(size=(2, 1, 3))
    p = net.parameters
    for b in range(2):
        context = np.tanh(p["encoder.w"] @ x[b, 0] + p["encoder.b"])
        assert_close(net.encode(x[b]).h, np.tanh(p["bridge.h.w"] @ context + p["bridge.h.b"]))
    assert [one.tolist() for one in net.generate(x, 6)] == [net.generate(x[b], 6).tolist() for b in range(2)]


def test_text_is_said_by_a_decoder_of_text():
    newline = int(VOCABULARY.encode("\n")[0])
    net = EncoderDecoder(gru(3, 5), text_model(), start=newline, end=newline)
    x = np.random.default_rng(14).normal(size=(6, 3))
    assert net.loss(x, "abca\n") == net.loss(x, VOCABULARY.encode("abca\n"))
    one, two = net.gradients(x, "ab\n")[1], net.gradients(x, VOCABULARY.encode("ab\n"))[1]
    for name, gradient in one.items():
        np.testing.assert_array_equal(two[name], gradient)


def test_an_encoder_decoder_does_not_say_the_unknown_symbol():
    """It is never generated (docs/decisions.md)."""
    newline = int(VOCABULARY.encode("\n")[0])
    decoder = text_model()
    decoder.update({"by": np.where(np.arange(len(VOCABULARY)) == VOCABULARY.unknown, 5.0, 0.0)})
    net = EncoderDecoder(gru(3, 5), decoder, start=newline, end=newline)
    said_by_it = net.generate(np.random.default_rng(15).normal(size=(6, 3)), 8)
    tokens = VOCABULARY.encode(said_by_it) if isinstance(said_by_it, str) else said_by_it
    assert VOCABULARY.unknown not in np.asarray(tokens).tolist()


# ---------------------------------------------------------------- names, dropout, learning


def test_names_say_where_a_parameter_is():
    it = make("bridge to two layers")
    names = list(it.net.parameters)
    assert names[:3] == ["encoder.wax", "encoder.waa", "encoder.ba"]
    assert {"bridge.0.h.w", "bridge.1.h.b", "bridge.1.c.w", "decoder.0.wr", "decoder.1.ui", "decoder.wya"} <= set(names)
    before = dict(it.net.parameters)
    assert "there is no parameter 'encoder.w'" in said(lambda: it.net.update({"encoder.w": 1.0}), SettingError)
    changed = {"encoder.ba": np.zeros(3), "decoder.by": np.full(VOICE, np.nan)}
    said(lambda: it.net.update(changed), DataError)  # all or none
    said(lambda: it.net.update({"encoder.ba": np.zeros(3), "bridge.1.h.b": np.zeros(9)}), ShapeError)
    for name, array in it.net.parameters.items():
        np.testing.assert_array_equal(array, before[name])
        assert not array.flags.writeable


def test_dropout_only_with_a_seed():
    decoder = Model(VOICE, 5, None, cells.gru, layers=2, dropout=0.4, dtype="float64")
    encoder = elman.Stack([gru(SOURCE, 5), gru(5, 5, seed=1)], dropout=0.4)
    net = EncoderDecoder(encoder, decoder, start=START, end=END)
    rng = np.random.default_rng(16)
    x, targets = rng.normal(size=(3, 5, SOURCE)), rng.integers(VOICE, size=(3, 4))
    assert net.gradients(x, targets)[0] == net.loss(x, targets)
    runs = [net.gradients(x, targets, dropout_seed=seed)[0] for seed in (0, 1, 2)]
    assert len({net.loss(x, targets), *runs}) == 4
    again, found = net.gradients(x, targets, dropout_seed=1)
    assert again == runs[1]
    p = dict(net.parameters)

    def loss(arrays: Arrays) -> float:
        net.update(arrays)
        return net.gradients(x, targets, dropout_seed=1)[0]

    for group in ("encoder.", "decoder."):
        direction = random_direction({name: array for name, array in p.items() if name.startswith(group)}, rng)
        expected = slope(loss, p, direction)
        got = sum(float(np.sum(found[name] * along)) for name, along in direction.items())
        assert abs(got - expected) <= RELATIVE * max(abs(expected), 1e-4), group


@pytest.mark.parametrize("bridge", [None, cells.dense])
def test_a_batch_of_targets_without_a_step_has_no_loss(bridge):
    """As one whose lengths are all 0 has none: there is nothing to tell, and no gradient."""
    net = EncoderDecoder(gru(SOURCE, 5), Model(VOICE, 5, None, cells.gru, dtype="float64"), bridge=bridge, start=0)
    x = np.random.default_rng(18).normal(size=(2, 3, SOURCE))
    for targets, lengths in ((np.zeros((2, 0), int), None), (np.zeros((2, 0), int), [0, 0]), (np.ones((2, 4), int), [0, 0])):
        loss, found = net.gradients(x, targets, None, lengths)
        assert net.loss(x, targets, None, lengths) == loss == 0.0
        assert list(found) == list(net.parameters)
        assert not any(value.any() for value in found.values())
    assert net.forward_propagation(x, np.zeros((2, 0), int)).logits.shape == (2, 0, VOICE)


@elman.cell
def adding(x, h, *, w=elman.weight("hidden", "input"), u=elman.weight("hidden", "hidden")):
    """h<t> = u h<t-1> + w x<t>: what dropout lets through of the state can be read off it"""
    h = u @ h + w @ x
    return h


def test_encoder_and_decoder_drop_independently():
    """Both of one form: the encoder drops what it would alone, the decoder something that has nothing to do with it."""
    encoder, inner = (elman.RNN(adding, input=40, hidden=40, recurrent_dropout=0.5) for _ in range(2))
    for layer in (encoder, inner):
        layer.update({"w": np.eye(40), "u": np.eye(40)})
    net = EncoderDecoder(encoder, Model.from_layers(inner, 40, readout=cells.readout_linear))
    x, targets, alike = np.ones((3, 2, 40)), np.zeros((3, 1, 40)), []
    for seed in range(8):
        shown = net.inspect(x, targets, dropout_seed=seed)
        np.testing.assert_array_equal(shown["encoder.h"], encoder.inspect(x, dropout_seed=seed)["h"])
        first = shown["encoder.h"][:, 1] == 1  # 1, and the 1 before where it was let through, doubled
        second = shown["decoder.h"][:, 0] == 0  # which reads zeros
        assert 0.3 < first.mean() < 0.7
        assert 0.3 < second.mean() < 0.7
        alike.append((first == second).mean())
        assert (net.inspect(x, targets, dropout_seed=seed + 1)["decoder.h"] != shown["decoder.h"]).any()
    assert 0.45 < np.mean(alike) < 0.55
    assert max(alike) < 0.7


def test_it_learns_to_say_a_source_backwards():
    """Every part has its share: the gradients lead from guessing to knowing."""
    rng = np.random.default_rng(17)
    net = EncoderDecoder(gru(5, 12), Model(7, 12, None, cells.gru, dtype="float64"), start=5, end=6)
    x = rng.integers(5, size=(24, 3))
    targets = np.concatenate([x[:, ::-1], np.full((24, 1), 6)], axis=1)
    first, p = net.loss(x, targets), dict(net.parameters)
    mean, square = ({name: np.zeros_like(array) for name, array in p.items()} for _ in range(2))
    for k in range(1, 201):
        for name, gradient in net.gradients(x, targets)[1].items():
            mean[name] = 0.9 * mean[name] + 0.1 * gradient
            square[name] = 0.99 * square[name] + 0.01 * gradient**2
            p[name] = p[name] - 0.02 * mean[name] / (1 - 0.9**k) / (np.sqrt(square[name] / (1 - 0.99**k)) + 1e-8)
        net.update(p)
    assert first > 1.5
    assert net.loss(x, targets) < 0.05
    right = [said_by_it.tolist() == row.tolist() for said_by_it, row in zip(net.generate(x, 5), x[:, ::-1], strict=True)]
    assert all(right)


# ---------------------------------------------------------------- files


@every_net
@every_way
def test_a_file_keeps_every_bit(kind, way, tmp_path):
    it = make(kind, **WAYS[way])
    it.net.save(tmp_path / "net")
    loaded = EncoderDecoder.load(tmp_path / "net")
    assert isinstance(loaded, EncoderDecoder)
    assert repr(loaded) == repr(it.net)
    assert set(loaded.parameters) == set(it.net.parameters)
    for name, array in it.net.parameters.items():
        np.testing.assert_array_equal(loaded.parameters[name], array)
        assert loaded.parameters[name].dtype == array.dtype
    loss, gradients = it.net.gradients(it.x, it.targets, LENGTHS, TARGET_LENGTHS)
    found, theirs = loaded.gradients(it.x, it.targets, LENGTHS, TARGET_LENGTHS)
    assert found == loss
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(theirs[name], gradient)
    np.testing.assert_array_equal(loaded.generate(it.x[2], 6), it.net.generate(it.x[2], 6))
    if it.tokens:
        for one, two in zip(loaded.beam_search(it.x[2], 4), it.net.beam_search(it.x[2], 4), strict=True):
            assert (one.tokens.tolist(), one.log_probability, one.ended) == (
                two.tokens.tolist(),
                two.log_probability,
                two.ended,
            )


@every_net
def test_a_file_keeps_the_order_of_parameters(kind, tmp_path):
    """And what was opened is written as the same bytes."""
    net = make(kind).net
    net.save(tmp_path / "net")
    loaded = EncoderDecoder.load(tmp_path / "net")
    assert list(loaded.parameters) == list(net.parameters)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "net").read_bytes()


def test_a_file_of_cells_of_ones_own(tmp_path):
    """The graphs are in it: neither the cells nor the bridge need their Python; dropout, cut and text come back, too."""

    @elman.cell
    def mine(x, h, *, w=elman.weight("hidden", "input"), u=elman.weight("hidden", "hidden")):
        return elman.tanh(w @ x + elman.sigmoid(u @ h) * h)

    @elman.cell
    def across(x, *, w=elman.weight("hidden", "input")):
        return elman.sigmoid(w @ x)

    encoder = elman.Bidirectional(elman.RNN(mine, input=3, hidden=2), elman.RNN(mine, input=3, hidden=4, seed=1))
    decoder = Model(len(VOCABULARY), 5, 2, mine, layers=2, dropout=0.3, vocabulary=VOCABULARY)
    net = EncoderDecoder(encoder, decoder, bridge=across, start=0, end=1, seed=5)
    net.save(tmp_path / "net")
    loaded = EncoderDecoder.load(tmp_path / "net")
    x = np.random.default_rng(18).normal(size=(6, 3)).astype("float32")
    for seed in (None, 3):
        loss, gradients = net.gradients(x, "abcabc", dropout_seed=seed)
        found, theirs = loaded.gradients(x, "abcabc", dropout_seed=seed)
        assert found == loss
        for name, gradient in gradients.items():
            np.testing.assert_array_equal(theirs[name], gradient)


def test_files_that_are_no_encoder_decoder(tmp_path):
    it = make("bridge")
    Model(5, 4).save(tmp_path / "model")
    it.net.save(tmp_path / "net")
    assert "elman model" in said(lambda: EncoderDecoder.load(tmp_path / "model"), ModelFileError)
    assert "there is no such file" in said(lambda: EncoderDecoder.load(tmp_path / "none"), ModelFileError)
    whole = (tmp_path / "net").read_bytes()
    for cut in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:cut])
        said(lambda: EncoderDecoder.load(tmp_path / "cut"), ModelFileError)
    said(lambda: it.net.save(tmp_path / "no" / "folder"), ModelFileError)


def test_load_says_who_opens_an_encoder_decoder(tmp_path):
    make("bridge").net.save(tmp_path / "net")
    try:
        opened = elman.load(tmp_path / "net")
    except ModelFileError as error:
        opened = str(error)
    assert isinstance(opened, EncoderDecoder) or "EncoderDecoder.load" in opened


# ---------------------------------------------------------------- what does not fit


def dense() -> elman.RNN:
    return elman.RNN(cells.dense, input=3, hidden=4, dtype="float64")


def language(hidden: int = 4, cell: elman.Cell = cells.gru, **settings: Any) -> Model:
    return Model(VOICE, hidden, None, cell, dtype="float64", **settings)


def features(layer: elman.Layer, outputs: int = 3, **settings: Any) -> Model:
    return Model.from_layers(layer, outputs, readout=cells.readout_linear, **settings)


PARTS: dict[str, tuple[Callable[[], Any], str]] = {
    "states of other sizes": (lambda: EncoderDecoder(gru(3, 5), language(), start=0),
                              "the encoder's state (h (5)) is not of the decoder's form (h (4)); give bridge="),
    "states of other cells": (lambda: EncoderDecoder(layer_of("lstm", 3, 4), language(), start=0),
                              "the encoder's state (h (4), c (4)) is not of the decoder's form (h (4)); give bridge="),
    "states of more layers": (lambda: EncoderDecoder(elman.Stack([gru(3), gru(4)]), language(), start=0), "give bridge="),
    "states of two directions": (lambda: EncoderDecoder(both(3), language(), start=0), "give bridge="),
    "no states at all": (lambda: EncoderDecoder(dense(), language(), start=0), "give bridge="),
    "start is missing": (lambda: EncoderDecoder(gru(3), language()), "start is missing, the token that the decoder"),
    "start beyond": (lambda: EncoderDecoder(gru(3), language(), start=6), "start=6 must be a token of the decoder, 0 to 5"),
    "start below": (lambda: EncoderDecoder(gru(3), language(), start=-1), "start=-1 must be a token of the decoder, 0 to 5"),
    "start is no token": (lambda: EncoderDecoder(gru(3), language(), start=1.5), "start=1.5 must be a token of the decoder"),
    "end beyond": (lambda: EncoderDecoder(gru(3), language(), start=0, end=6), "end=6 must be a token of the decoder"),
    "start of features": (lambda: EncoderDecoder(gru(2), features(gru(3)), start=0), "start and end are tokens"),
    "end of features": (lambda: EncoderDecoder(gru(2), features(gru(3)), end=0), "start and end are tokens"),
    "an output that is no input": (lambda: EncoderDecoder(gru(2), features(gru(3), 2)),
                                   "the decoder gives (output=2) and reads (3); it must read what it gives"),
    "a decoder that reads once": (lambda: EncoderDecoder(gru(2), features(gru(3), pool="last")), "once a sequence"),
    "a decoder from the end": (lambda: EncoderDecoder(both(3), features(both(3))), "reads from the end"),
    "a decoder from the end with a bridge": (
        lambda: EncoderDecoder(gru(3), features(elman.Backwards(gru(3))), bridge=cells.dense), "reads from the end"),
    "a decoder of tokens from the end": (
        lambda: EncoderDecoder(both(3), Model.from_layers(both(VOICE), VOICE, tokens=True), start=0), "reads from the end"),
    "a bridge of two directions in one": (
        lambda: EncoderDecoder(both(3, merge="sum"), language(), start=0, bridge=cells.dense),
        "a sum mixes the last steps of two directions"),
    "another type": (lambda: EncoderDecoder(elman.RNN(cells.gru, input=3, hidden=4), language(), start=0),
                     "the encoder is of float32, the decoder of float64"),
    "a bridge with a state": (lambda: EncoderDecoder(gru(3), language(), start=0, bridge=cells.gru), "gru does not map"),
    "a bridge by name": (lambda: EncoderDecoder(gru(3), language(), start=0, bridge="dense"), "is not a cell"),
    "an encoder that is a model": (lambda: EncoderDecoder(language(), language(), start=0), "a layer (RNN, Stack"),
    "a decoder that is a layer": (lambda: EncoderDecoder(gru(3), gru(3), start=0), "a Model is wanted"),
}  # fmt: skip


@pytest.mark.parametrize("what", PARTS)
def test_parts_that_do_not_meet(what):
    act, message = PARTS[what]
    assert message in said(act, SettingError)


USES: dict[str, tuple[Callable[[EncoderDecoder], Any], type[Exception], str]] = {
    "a target outside": (lambda net: net.loss(np.ones((5, 3)), [2, 6]), TokenError, "token 6 at position 1 is outside"),
    "a target below": (lambda net: net.loss(np.ones((5, 3)), [-1, 2]), TokenError, "token -1 at position 0 is outside"),
    "no target": (lambda net: net.loss(np.ones((5, 3)), []), DataError, "empty"),
    "a batch of targets for one source": (lambda net: net.loss(np.ones((5, 3)), [[1, 2]]), ShapeError, "batch"),
    "other rows": (lambda net: net.loss(np.ones((2, 5, 3)), [[1, 2]] * 3), ShapeError, "batch"),
    "another size": (lambda net: net.loss(np.ones((5, 2)), [1, 2]), ShapeError, "input=3"),
    "too long a source": (lambda net: net.loss(np.ones((2, 5, 3)), [[1], [2]], [6, 1]), DataError, "length 6 of sequence 0"),
    "too long a target": (lambda net: net.loss(np.ones((2, 5, 3)), [[1], [2]], None, [1, 2]), DataError, "length 2 of"),
    "NaN": (lambda net: net.encode(np.full((5, 3), np.nan)), DataError, "NaN or infinity"),
    "a length below": (lambda net: net.generate(np.ones((5, 3)), -1), SettingError, "length=-1"),
    "half a length": (lambda net: net.beam_search(np.ones((5, 3)), 2.5), SettingError, "length=2.5"),
    "no beam": (lambda net: net.beam_search(np.ones((5, 3)), 3, width=0), SettingError, "width=0"),
    "beams of a batch": (lambda net: net.beam_search(np.ones((2, 5, 3)), 3), ShapeError, "one source"),
}  # fmt: skip


@pytest.mark.parametrize("what", USES)
def test_what_an_encoder_decoder_does_not_take(what):
    act, error, message = USES[what]
    net = EncoderDecoder(gru(3), language(), start=0, end=1)
    assert message in said(lambda: act(net), error)


def test_beams_of_features_are_refused():
    net = EncoderDecoder(gru(2), features(gru(3)))
    assert "features" in said(lambda: net.beam_search(np.ones((4, 2)), 3), SettingError)
