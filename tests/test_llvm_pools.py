"""Pools on the compiled target: a lane with a row for every stream gives what each stream gives alone, to the bit.

Rows are chosen in any order, threads share them, streams join, leave and are reset between steps, chunks come between, and
whatever goes wrong in a step leaves all streams as they were. Every pool stands beside single streams of the same layer.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import elman
from elman import RNN, DataError, Model, Stack, TokenError, cells
from elman.arrays import is_finite
from elman.lanes import PoolLane
from elman.targets.llvm.chain import Chains
from elman.targets.llvm.machine import machines
from elman.targets.llvm.order import by_length

if not machines():
    pytest.skip("no fused multiply-add here", allow_module_level=True)

SIZE, COUNT = 7, 11


def drawn(layer: Any) -> Any:
    """With parameters away from their first values."""
    rng = np.random.default_rng(5)
    layer.update({name: value + 0.3 * rng.normal(size=value.shape) for name, value in layer.parameters.items()})
    return layer


def rnn(cell: elman.Cell = cells.lstm, hidden: int = 19, inputs: int = SIZE, **settings: Any) -> RNN:
    return drawn(RNN(cell, input=inputs, hidden=hidden, target="llvm", **settings))


MAKERS: dict[str, Callable[[], Any]] = {
    "lstm": rnn,
    "lstm of whole vectors": lambda: rnn(hidden=32),
    "gru, reset before": lambda: rnn(cells.gru_reset_before, dtype="float64"),
    "learnt start": lambda: rnn(cells.gru, learn_initial=True),
    "stack": lambda: Stack([rnn(), rnn(cells.gru, 5, 19), rnn(cells.elman, 16, 5)]),
    "tokens": lambda: drawn(Model(SIZE, 9, None, cells.gru, layers=2, target="llvm")),
    "features": lambda: Model.from_layers(rnn(), 3, readout=cells.readout_linear),
}
MADE = {name: make() for name, make in MAKERS.items()}
every_one = pytest.mark.parametrize("name", MAKERS)


@pytest.fixture(autouse=True)
def _threads():
    yield
    elman.threads(None)


def random_input(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if name == "tokens":
        return rng.integers(0, SIZE, shape)
    return rng.normal(size=(*shape, SIZE)).astype("float64" if "before" in name else "float32")


def assert_bits(got: Any, wanted: Any) -> None:
    """Equal shapes, types and bits; of states in every field."""
    if isinstance(wanted, elman.State):
        assert list(got) == list(wanted)
        for field in wanted:
            assert_bits(got[field], wanted[field])
        return
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
    assert got.tobytes() == wanted.tobytes()


def in_lane(pool: elman.Streams) -> bool:
    return isinstance(pool._lane, PoolLane)


@pytest.mark.parametrize("threads", [1, 2, 3])
@every_one
def test_a_pool_is_its_streams_alone(name, threads):
    """All and some by turns, with whatever else may happen to a pool between."""
    elman.threads(threads)
    made, rng = MADE[name], np.random.default_rng([threads, len(name)])
    pool, alone = made.streams(COUNT), {number: made.stream() for number in range(COUNT)}
    for turn in range(40):
        numbers = list(alone) if turn % 3 == 0 else rng.permutation(list(alone))[: rng.integers(1, len(alone))].tolist()
        x = random_input(name, (len(numbers),), rng)
        y = pool.push(x) if turn % 3 == 0 else pool.push(x, numbers)
        assert in_lane(pool)
        for number, y_t, x_t in zip(numbers, y, x, strict=True):
            assert_bits(y_t, alone[number].push(x_t))
        if turn % 7 == 3:
            assert_bits(pool.leave(numbers[0]), alone.pop(numbers[0]).state)
        elif turn % 7 == 4:
            state = alone[numbers[0]].state
            alone[pool.join(state)] = made.stream(state)
        elif turn % 7 == 5:
            pool.reset(numbers[:2])
            for number in numbers[:2]:
                alone[number].reset()
        elif turn % 7 == 6:
            x = random_input(name, (len(numbers), 3), rng)
            for row, y_t in enumerate(pool.push(x, numbers)):
                assert_bits(y_t, alone[numbers[row]].push(x[row]))
        assert not in_lane(pool) or turn % 7 not in (3, 4, 5, 6)
        for row, stream in enumerate(alone.values()):
            assert_bits(pool.state[row], stream.state)


def test_threads_share_a_large_step():
    """So many rows that examples are shared unasked, and so large matrices that lanes are."""
    for hidden, count in ((64, 300), (600, 3)):
        layer, rng = rnn(hidden=hidden), np.random.default_rng(0)
        xs = rng.normal(size=(6, count, SIZE)).astype("float32")
        outputs = []
        for threads in (1, 2):
            elman.threads(threads)
            pool = layer.streams(count)
            outputs.append([pool.push(x) for x in xs] + [pool.push(xs[0][:2], [count - 1, 0])])
        for one, two in zip(*outputs, strict=True):
            assert_bits(two, one)


def test_names_that_change_between_pushes():
    """Rows are remembered for a list of names, not for the object, nor beyond the pool that it named."""
    layer, rng = MADE["lstm"], np.random.default_rng(3)
    pool, alone = layer.streams(4), [layer.stream() for _ in range(4)]
    some = [3, 1]
    for act in range(4):
        x = random_input("lstm", (2,), rng)
        for number, y, x_t in zip(tuple(some), pool.push(x, some), x, strict=True):
            assert_bits(y, alone[number].push(x_t))
        if act == 1:
            some[0] = 2
        if act == 2:
            pool.leave(0)  # those behind it move up


def test_names_that_are_none_are_told_behind_those_that_are():
    layer, x = MADE["lstm"], random_input("lstm", (2,), np.random.default_rng(3))
    pool, alone = layer.streams(4), [layer.stream(), layer.stream()]
    for wrong in ([0, 4], [1, 1], [np.arange(2), 1], 3, [[0], 1]):
        pool.push(x, [0, 1])
        with pytest.raises(elman.StreamError):
            pool.push(x, wrong)
        for stream, x_t in zip(alone, x, strict=True):
            stream.push(x_t)
    for y, stream, x_t in zip(pool.push(x, (name for name in (1, 0))), reversed(alone), x, strict=True):
        assert_bits(y, stream.push(x_t))


@every_one
def test_what_cannot_be_read_changes_nothing(name):
    made, rng = MADE[name], np.random.default_rng(4)
    pool, alone = made.streams(3), made.stream()
    x = random_input(name, (4, 3), rng)
    for x_t in x[:2]:
        pool.push(x_t)
        alone.push(x_t[2])
    assert in_lane(pool)
    for value in (SIZE, -1) if name == "tokens" else (np.nan, -np.inf):
        bad = x[2].copy()
        bad[(1,) * bad.ndim] = value
        for streams in (None, [2, 1, 0]):
            with pytest.raises((DataError, TokenError)):
                pool.push(bad, streams)
            assert_bits(pool.state[2], alone.state)
    assert_bits(pool.push(x[3])[2], alone.push(x[3, 2]))


def test_large_numbers_are_numbers():
    """Whose squares are infinite."""
    layer, x = MADE["lstm"], np.full((3, SIZE), 1e30, "float32")
    pool, alone = layer.streams(3), layer.stream()
    for _ in range(3):
        assert_bits(pool.push(x)[1], alone.push(x[1]))


@pytest.mark.parametrize("change", ["wider", "narrower", "turned", "cut", "list"])
def test_inputs_of_another_make(change):
    """Other types, memory in another order, and lists are what they hold."""
    layer, x = MADE["lstm"], np.random.default_rng(6).normal(size=(3, SIZE)).astype("float32")
    made = {
        "wider": x.astype("float64") + 1e-12, "narrower": x.astype("float16"), "turned": np.asfortranarray(x),
        "cut": np.repeat(x, 2, 0)[::2], "list": x.tolist(),
    }[change]  # fmt: skip
    pool, alone = layer.streams(3), [layer.stream() for _ in range(3)]
    for _ in range(3):
        for y, stream, row in zip(pool.push(made), alone, made, strict=True):
            assert_bits(y, stream.push(row))
    assert in_lane(pool)


def test_new_parameters_hold_from_the_next_step_on():
    layer, x = rnn(), np.random.default_rng(7).normal(size=(2, SIZE)).astype("float32")
    pool, alone = layer.streams(2), layer.stream()
    for turn in range(6):
        if turn == 3:
            layer.update({name: -value for name, value in layer.parameters.items()})
        assert_bits(pool.push(x)[0], alone.push(x[0]))


def test_what_a_pool_gave_is_the_callers():
    """Outputs and states change neither with the next step nor with what the caller writes."""
    pool, x = MADE["lstm"].streams(3), np.random.default_rng(8).normal(size=(5, 3, SIZE)).astype("float32")
    pool.push(x[0])
    y, some, state = pool.push(x[1]), pool.push(x[2], [0, 1, 2]), pool.state
    before = y.copy(), some.copy(), state.h.copy()
    pool.push(x[3])
    for found, wanted in zip((y, some, state.h), before, strict=True):
        assert_bits(found, wanted)
    beside = MADE["lstm"].streams(3)
    for x_t in x[:4]:
        y = beside.push(x_t)
        y[...] = np.nan
    assert_bits(beside.state, pool.state)


@pytest.mark.parametrize("streams", [None, [2, 0]])
def test_a_step_that_is_broken_off_has_not_been(monkeypatch, streams):
    pool, rng = MADE["stack"].streams(3), np.random.default_rng(9)
    x = random_input("stack", (3 if streams is None else 2,), rng)
    for _ in range(2):
        pool.push(x, streams)
    before, compute, calls = pool.state, Chains.compute, []

    def broken(*call):
        compute(*call)
        calls.append(call)
        if len(calls) == 2:  # the second layer has run
            raise KeyboardInterrupt

    monkeypatch.setattr(Chains, "compute", broken)
    with pytest.raises(KeyboardInterrupt):
        pool.push(x, streams)
    assert_bits(pool.state, before)
    monkeypatch.undo()
    again = MADE["stack"].streams(3)
    for _ in range(3):
        wanted = again.push(x, streams)
    assert_bits(pool.push(x, streams), wanted)
    assert_bits(pool.state, again.state)


# ---------------------------------------------------------------- padded batches


@pytest.mark.parametrize("share", [0.2, 0.9])
@pytest.mark.parametrize("steps", [60, 150])
def test_padding_is_zero_in_memory_that_is_used_again(share, steps):
    """Whether more than half is padding, which is cleared in another way, or less."""
    layer, rng = rnn(cells.gru, 33), np.random.default_rng(10)
    x = rng.normal(size=(17, steps, SIZE)).astype("float32")
    lengths = np.minimum(rng.poisson(share * steps, 17), steps)
    lengths[:2] = 0, steps
    for _ in range(3):
        full = layer(x)[0]
        wanted = np.where(np.arange(steps)[:, None] < lengths[:, None, None], full, 0)
        full[...] = 7.0
        del full
        assert_bits(layer(x, lengths=lengths)[0], wanted)


@pytest.mark.parametrize("lengths", [[400, 3, 2, 5], np.array([3, 400, 0, 1], np.int32)], ids=["list", "narrow"])
def test_only_padding_may_hold_what_is_no_number(lengths):
    """Also where so much is padding that it is passed by."""
    layer = rnn(cells.elman, 4, 16)
    x = np.random.default_rng(11).normal(size=(4, 400, 16)).astype("float32")
    wanted = layer(x, lengths=lengths)[0]
    holed = x.copy()
    for row, end in zip(holed, lengths, strict=True):
        row[end:] = np.nan
    assert_bits(layer(holed, lengths=lengths)[0], wanted)
    holed[0, int(lengths[0]) - 1, 7] = np.inf
    with pytest.raises(DataError, match=rf"first at \(0, {int(lengths[0]) - 1}, 7\)"):
        layer(holed, lengths=lengths)


def test_lengths_that_are_none_are_told_before_padding_is_passed_by():
    layer, x = rnn(cells.elman, 4, 16), np.zeros((4, 400, 16), "float32")
    for wrong in ([-1, 1, 1, 1], [401, 1, 1, 1], [1, 1, 1], [1.5, 1, 1, 1]):
        with pytest.raises(elman.ElmanError, match="length"):
            layer(x, lengths=wrong)


def test_a_sum_of_squares_tells_finite_numbers():
    rng = np.random.default_rng(12)
    for dtype in ("float32", "float64"):
        for place in range(40):
            x = rng.normal(size=(5, 8)).astype(dtype)
            assert is_finite(x)
            x.flat[place] = np.finfo(dtype).max
            assert is_finite(x)
            for value in (np.nan, np.inf, -np.inf):
                x.flat[place] = value
                assert not is_finite(x)
                assert not is_finite(x.T[:, ::2], x)
                assert not is_finite(np.zeros(3, dtype), x)
    assert is_finite()


def test_examples_by_length_against_a_loop():
    """Asked again, and for other steps."""
    rng = np.random.default_rng(13)
    for _ in range(30):
        steps, lengths = int(rng.integers(1, 9)), rng.integers(0, 12, int(rng.integers(1, 8)))
        for wanted_steps in (steps, steps, steps + 1):
            rows = by_length(wanted_steps, lengths)
            assert rows.order.tolist() == sorted(range(len(lengths)), key=lambda b: (-lengths[b], b))
            assert rows.running.tolist() == [sum(n > t for n in lengths) for t in range(wanted_steps)]
            assert rows.count == sum(min(n, wanted_steps) for n in lengths)
            assert rows.order.dtype == rows.running.dtype == np.int64
