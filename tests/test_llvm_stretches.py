"""Long calls of the compiled target run stretch by stretch of time: the same bits, and Ctrl-C is heard between."""

import signal
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from elman import RNN, Bidirectional, Model, Stack, cells
from elman.targets.llvm import stretches
from elman.targets.llvm.machine import machines
from elman.targets.llvm.program import LlvmProgram

if not machines():
    pytest.skip("no fused multiply-add here", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("store")
STEPS, BATCH = 23, 6
LENGTHS = np.array([7, 23, 0, 1, 16, 22])
SHORT = np.array([3, 5, 0, 1, 2, 2])
"""Nothing is left to run in most stretches."""

RESET = np.random.default_rng(0).random((BATCH, STEPS)) < 0.2


@pytest.fixture
def runs(monkeypatch):
    """How many steps each run of a program has, those of a whole call among them."""
    seen, run = [], LlvmProgram.run

    def watched(self, prepared, inputs, states, **way):
        seen.append(len(next(iter(inputs.values()))))
        return run(self, prepared, inputs, states, **way)

    monkeypatch.setattr(LlvmProgram, "run", watched)
    return seen


@contextmanager
def stretches_of(steps):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stretches, "steps_of", lambda program, batch: steps)
        yield


def rnn(cell=cells.lstm, input=5, hidden=7, seed=0, **settings):
    layer, rng = RNN(cell, input=input, hidden=hidden, target="llvm", **settings), np.random.default_rng(seed)
    layer.update({name: value + 0.3 * rng.normal(size=value.shape) for name, value in layer.parameters.items()})
    return layer


LAYERS = {
    "gru, float64": lambda: rnn(cells.gru_reset_before, dtype="float64"),
    "a map": lambda: rnn(cells.dense),
    "both directions": lambda: Bidirectional(rnn(cells.gru, seed=1), rnn(cells.elman, seed=2)),
    "a stack": lambda: Stack([rnn(cells.elman, seed=1), rnn(cells.lstm, input=7, seed=2)]),
}


def flat(found):
    """Arrays in the order in which they stand in tuples, mappings and states."""
    if isinstance(found, np.ndarray):
        return [found]
    parts = found.values() if hasattr(found, "values") else found
    return [array for part in parts if part is not None for array in flat(part)]


def assert_bits(found, wanted):
    for one, other in zip(flat(found), flat(wanted), strict=True):
        assert (one.dtype, one.shape, one.strides) == (other.dtype, other.shape, other.strides)
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(np.signbit(one), np.signbit(other))


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("name", LAYERS)
def test_a_long_call_has_the_bits_of_one_run(name, size, runs):
    layer, rng = LAYERS[name](), np.random.default_rng(1)
    x, dy = (rng.normal(size=(BATCH, STEPS, *shape)) for shape in (layer.input_shape, layer.output_shape))
    _, state = layer(x[:, :3])
    for way in ({}, {"lengths": LENGTHS}, {"lengths": SHORT}, {"reset": RESET, "lengths": LENGTHS}):
        asked = (
            lambda way=way: layer(x, state, **way),
            lambda way=way: layer.inspect(x, state, **way),
            lambda way=way: layer.gradients(x, dy, state, **way),
            lambda way=way: layer.gradients(x, dy, state, truncate=5, recompute=True, **way),
        )
        for ask in asked:
            wanted = ask()
            assert not flat(wanted) or any(np.abs(array).max(initial=0) > 0.1 for array in flat(wanted))
            runs.clear()
            with stretches_of(size):
                found = ask()
            assert min(runs) <= size
            assert_bits(found, wanted)


def test_one_sequence_and_tokens():
    layer, rng = rnn(cells.gru), np.random.default_rng(2)
    for x in (rng.normal(size=(STEPS, 5)), rng.integers(5, size=STEPS), rng.integers(5, size=(BATCH, STEPS))):
        wanted = layer(x), layer(x[..., :0, :] if x.dtype.kind == "f" else x[..., :0])
        with stretches_of(3):
            found = layer(x), layer(x[..., :0, :] if x.dtype.kind == "f" else x[..., :0])
        assert_bits(found, wanted)


def test_a_model_learns_the_same():
    model, rng = Model(11, 9, cell=cells.lstm, target="llvm", seed=3), np.random.default_rng(4)
    tokens, targets = rng.integers(11, size=(2, BATCH, STEPS))
    wanted = model.loss(tokens, targets, lengths=LENGTHS), model.gradients(tokens, targets, lengths=LENGTHS)
    with stretches_of(4):
        assert model.loss(tokens, targets, lengths=LENGTHS) == wanted[0]
        assert_bits(model.gradients(tokens, targets, lengths=LENGTHS)[1:], wanted[1][1:])


def test_a_stretch_is_some_work():
    for layer, batch in ((rnn(hidden=512), 1), (rnn(hidden=512), 64), (rnn(cells.running_mean, input=40, hidden=None), 8)):
        [plan] = layer._plans()
        program = LlvmProgram(plan, "float32")
        steps = stretches.steps_of(program, batch)
        assert steps * plan.multiplications("loop") * max(1, batch / 8) <= stretches.STRETCH
        assert 20 <= steps <= 1e6


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer that sends signals")
def test_a_long_call_is_interrupted(runs):
    layer, x = RNN(cells.lstm, input=256, hidden=512, target="llvm"), np.ones((6000, 256), np.float32)
    layer(x[:1])

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    stream = layer.stream()
    runs.clear()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(KeyboardInterrupt):
            stream.push(x)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    whole, *parts = runs
    assert whole == 6000
    assert sum(parts) < 3000
    assert stream.steps == 0
