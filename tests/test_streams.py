"""Streams and pools of streams: what goes on is what a whole sequence gives, and nobody sees another's state.

A pool is compared with single streams that the test keeps beside it, through random schedules of joining, leaving, pushing;
a single stream with the whole sequence, and with literal loops. Threads find the same, or each of their pushes whole.
"""

import gc
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import elman
from elman import DataError, ElmanError, Model, SettingError, ShapeError, State, StreamError, TokenError, cells
from oracles import CELLS, one_hot, random_parameters, readout, unroll

CLOSE = {np.dtype("float64"): 1e-13, np.dtype("float32"): 1e-6}
SIZE = 5
"""Features of a step, or symbols of the vocabulary."""


def assert_close(got, wanted, close: float | None = None) -> None:
    assert np.shape(got) == np.shape(wanted)
    assert got.dtype == wanted.dtype
    close = (CLOSE[got.dtype] if close is None else close) * max(1.0, float(np.abs(wanted).max(initial=0.0)))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=close)


def assert_state(got: State, wanted: State) -> None:
    assert (got.cell, list(got), got.batch) == (wanted.cell, list(wanted), wanted.batch)
    for name, value in wanted.items():
        (assert_state if isinstance(value, State) else assert_close)(got[name], value)


# ---------------------------------------------------------------- what streams are made of


def layer(cell: elman.Cell, inputs: int, *, seed: int = 0, dtype: str = "float64", **settings: Any) -> elman.RNN:
    rng = np.random.default_rng([inputs, seed])
    rnn = elman.RNN(cell, input=inputs, hidden=4, dtype=dtype, **settings)
    shapes = {name: array.shape for name, array in rnn.parameters.items()}
    rnn.update({name: array.astype(dtype) for name, array in random_parameters(shapes, rng).items()})
    return rnn


def stack() -> elman.Stack:
    return elman.Stack([layer(cells.lstm, SIZE), layer(cells.gru, 4), layer(cells.elman, 4)], dropout=0.5, residual=True)


def tokens_model() -> Model:
    model = Model(SIZE, 4, None, cells.gru, layers=2, dropout=0.3, dtype="float64")
    rng = np.random.default_rng(2)
    model.update(random_parameters({name: array.shape for name, array in model.parameters.items()}, rng))
    return model


MAKERS: dict[str, Callable[[], Any]] = {
    "rnn": lambda: layer(cells.lstm, SIZE),
    "rnn of single precision": lambda: layer(cells.gru, SIZE, dtype="float32"),
    "learnt start": lambda: layer(cells.gru, SIZE, learn_initial=True),
    "running mean": lambda: elman.RNN(cells.running_mean, input=SIZE, dtype="float64"),
    "stack": stack,
    "model of tokens": tokens_model,
    "model of features": lambda: Model.from_layers(layer(cells.gru, SIZE), 3, readout=cells.readout_linear),
    "model of a stack": lambda: Model.from_layers(stack(), 3, readout=cells.readout_sigmoid),
}
POOLING = {
    pool: (lambda pool=pool: Model.from_layers(layer(cells.lstm, SIZE), 3, pool=pool)) for pool in ("last", "mean", "max")
}
MADE = {name: make() for name, make in (MAKERS | POOLING).items()}
every_one = pytest.mark.parametrize("name", MAKERS)
every_one_and_pooling = pytest.mark.parametrize("name", MADE)


def reads_tokens(name: str) -> bool:
    return name == "model of tokens"


def random_input(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if reads_tokens(name):
        return rng.integers(SIZE, size=shape)
    return rng.normal(size=(*shape, SIZE)).astype("float32" if "single" in name else "float64")


def whole(made: Any, x: np.ndarray, state: State | None = None) -> tuple[np.ndarray, State]:
    """What one call gives for a sequence; of a model that reads once, what it gives for each beginning of it."""
    if isinstance(made, elman.Layer):
        return made(x, state)
    found = made.forward_propagation(x, state)
    if found.output.ndim == 2:
        return found.output, found.state
    return np.array([made.forward_propagation(x[: t + 1], state).output for t in range(len(x))]), found.state


def started(made: Any, name: str, seed: int) -> State:
    """A state that is not the initial one."""
    return whole(made, random_input(name, (3,), np.random.default_rng(seed)))[1]


def outputs(made: Any) -> int:
    return int(made.output_shape[0]) if isinstance(made, elman.Layer) else int(made.parameters["by"].shape[0])


# ---------------------------------------------------------------- one stream


@every_one_and_pooling
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), steps=st.integers(1, 9), cuts=st.lists(st.integers(0, 9), max_size=6))
def test_pushes_of_any_lengths_are_the_sequence(name, seed, steps, cuts):
    """Single steps among them, and chunks of nothing."""
    made, rng = MADE[name], np.random.default_rng(seed)
    x, state = random_input(name, (steps,), rng), started(made, name, seed)
    wanted, last = whole(made, x, state)
    stream, found = made.stream(state), []
    for a, b in pairwise(sorted([0, steps, *np.minimum(cuts, steps)])):
        if b == a + 1 and rng.random() < 0.7:
            y = stream.push(x[a])
            assert y.shape == wanted[a].shape
            found.append(y[None])
        elif b > a or not reads_tokens(name):
            found.append(stream.push(x[a:b]))
            assert found[-1].shape == (b - a, *wanted.shape[1:])
        assert stream.steps == b
    assert_close(np.concatenate(found), wanted)
    assert_state(stream.state, last)


@every_one_and_pooling
def test_a_stream_without_a_state_begins_where_a_sequence_does(name):
    made = MADE[name]
    x = random_input(name, (6,), np.random.default_rng(1))
    stream = made.stream()
    assert_state(stream.state, made.initial_state())
    wanted, last = whole(made, x)
    assert_close(np.array([stream.push(x_t) for x_t in x]), wanted)
    assert_state(stream.state, last)


@pytest.mark.parametrize("cell", CELLS)
def test_a_stream_against_literal_loops(cell):
    rng, oracle = np.random.default_rng(3), CELLS[cell]
    p = random_parameters(oracle.shapes(3, 4), rng)
    read = random_parameters({"wya": (5, 4), "by": (5,)}, rng)
    rnn = elman.RNN(getattr(cells, cell), input=3, hidden=4, dtype="float64")
    rnn.update(p)
    model = Model.from_layers(rnn, 5)
    model.update(read)
    x, state = rng.normal(size=(7, 3)), {name: rng.normal(size=4) for name in oracle.states}
    values, last = unroll(oracle, p, x, state)
    for stream, wanted in (
        (rnn.stream(state), [value[oracle.states[0]] for value in values]),
        (model.stream(state), [readout(read, value[oracle.states[0]])["probabilities"] for value in values]),
    ):
        got = [*stream.push(x[:3]), stream.push(x[3]), *stream.push(x[4:])]
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)
        for name, array in last.items():
            np.testing.assert_allclose(stream.state[name], array, rtol=0, atol=1e-12)


def test_tokens_are_pushed_as_numbers_of_any_kind():
    model = MADE["model of tokens"]
    wanted = model.forward_propagation([3, 1, 4]).output
    for tokens in ([3, 1, 4], [np.int64(3), np.int8(1), np.uint16(4)]):
        stream = model.stream()
        assert_close(np.array([stream.push(token) for token in tokens]), wanted)
    assert_close(model.stream().push(np.array([3, 1, 4], dtype="uint8")), wanted)
    assert_close(model.stream().push((3, 1, 4)), wanted)


def test_a_layer_streams_tokens():
    rnn = MADE["rnn"]
    wanted = rnn(one_hot(np.array([3, 1, 4]), SIZE))[0]
    stream = rnn.stream()
    assert_close(np.array([stream.push(token) for token in (3, 1, 4)]), wanted)
    assert_close(rnn.stream().push([3, 1, 4]), wanted)


def test_text_is_pushed_piece_by_piece():
    vocabulary = elman.Vocabulary.characters("abcdé ")
    model = Model(len(vocabulary), 4, None, cells.gru, vocabulary=vocabulary, dtype="float64")
    wanted = model.forward_propagation("bad é café").output
    stream = model.stream()
    found = [stream.push(piece) for piece in ("ba", "d", " é c", "afé")]
    assert [len(y) for y in found] == [2, 1, 4, 3]
    assert_close(np.concatenate(found), wanted)
    assert stream.steps == 10
    with pytest.raises(ElmanError):
        MADE["model of tokens"].stream().push("abc")  # without a vocabulary there is no text
    pool = model.streams(2)
    y = pool.push({0: "ba", 1: "caf"})
    assert_close(y[0], model.forward_propagation("ba").output)
    assert_close(y[1], model.forward_propagation("caf").output)


@every_one_and_pooling
def test_streams_of_one_model_do_not_see_each_other(name):
    made, rng = MADE[name], np.random.default_rng(4)
    x = [random_input(name, (6,), rng) for _ in range(3)]
    streams = [made.stream(started(made, name, seed)) for seed in range(3)]
    found = [[stream.push(x[k][t]) for k, stream in enumerate(streams)] for t in range(6)]
    for k in range(3):
        assert_close(np.array([row[k] for row in found]), whole(made, x[k], started(made, name, k))[0])


@every_one_and_pooling
def test_what_a_stream_gave_stays_as_it_was(name):
    """Outputs and states are values: what comes later does not write into them, nor the caller into the stream."""
    made, rng = MADE[name], np.random.default_rng(5)
    x = random_input(name, (7,), rng)
    stream = made.stream(started(made, name, 5))
    wanted, last = whole(made, x, started(made, name, 5))
    steps, given = [], x.copy()
    for t in range(5):
        y, state = stream.push(given[t]), stream.state
        steps.append((y, np.array(y), state, [np.array(a) for a in leaves(state)]))
        given[t] = 0
    chunk = stream.push(given[5:])
    given[5:] = 0
    kept = np.array(chunk)
    if chunk.flags.writeable:
        chunk[:] = 0
    for y, copy, state, arrays in steps:
        np.testing.assert_array_equal(y, copy)
        for array, value in zip(leaves(state), arrays, strict=True):
            np.testing.assert_array_equal(array, value)
    assert_close(np.array([*(copy for _, copy, _, _ in steps), *kept]), wanted)
    assert_state(stream.state, last)


def leaves(state: State) -> Iterator[np.ndarray]:
    for value in state.values():
        yield from leaves(value) if isinstance(value, State) else (value,)


@every_one_and_pooling
def test_a_reset_starts_anew(name):
    made, rng = MADE[name], np.random.default_rng(6)
    x, other = random_input(name, (5,), rng), started(made, name, 7)
    stream = made.stream(started(made, name, 8))
    stream.push(x[:3])
    assert stream.reset() is None
    assert stream.steps == 0
    assert_state(stream.state, made.initial_state())
    assert_close(stream.push(x), whole(made, x)[0])
    stream.reset(other)
    assert stream.steps == 0
    assert_state(stream.state, other)
    assert_close(stream.push(x), whole(made, x, other)[0])
    assert stream.steps == 5


@every_one_and_pooling
def test_a_state_goes_from_stream_to_stream(name, tmp_path):
    made, rng = MADE[name], np.random.default_rng(7)
    x = random_input(name, (8,), rng)
    one = made.stream()
    first = one.push(x[:5])
    one.close()
    one.state.save(tmp_path / "state")
    two = made.stream(State.load(tmp_path / "state"))
    assert_close(np.concatenate([first, two.push(x[5:])]), whole(made, x)[0])


BAD: dict[str, tuple[Any, type[Exception]]] = {
    "another size": (np.ones(SIZE + 1), ShapeError),
    "a chunk of another size": (np.ones((4, SIZE + 1)), ShapeError),
    "a batch": (np.ones((2, 3, SIZE)), ShapeError),
    "text": ("abc", ElmanError),
    "NaN in the last step of a chunk": (np.array([[0.5] * SIZE, [0.5] * (SIZE - 1) + [np.nan]]), DataError),
    "infinity": (np.full(SIZE, np.inf), DataError),
    "nothing": (None, ElmanError),
}
BAD_TOKENS: dict[str, tuple[Any, type[Exception]]] = {
    "a token outside": (SIZE, TokenError),
    "a token below": (-1, TokenError),
    "the last of a chunk is outside": ([1, 2, SIZE], TokenError),
    "features": (np.ones((2, SIZE)), ElmanError),
    "a batch": ([[1, 2], [2, 3]], ShapeError),
    "numbers that are not whole": ([1.5], ElmanError),
    "truth values": ([True], ElmanError),
    "nothing": (None, ElmanError),
    "no token": ([], DataError),
}


@every_one_and_pooling
def test_a_push_that_fails_leaves_the_stream(name):
    made, rng = MADE[name], np.random.default_rng(8)
    x = random_input(name, (5,), rng)
    stream = made.stream()
    found = [*stream.push(x[:3])]
    for x_bad, error in (BAD_TOKENS if reads_tokens(name) else BAD).values():
        before = stream.state
        with pytest.raises(error) as raised:
            stream.push(x_bad)
        assert isinstance(raised.value, ElmanError)
        assert "\n" not in str(raised.value)
        assert stream.state == before
        assert stream.steps == 3
    assert_close(np.array([*found, stream.push(x[3]), *stream.push(x[4:])]), whole(made, x)[0])


@every_one_and_pooling
def test_steps_of_different_lengths_are_told(name):
    """By an error of the library, as a whole sequence is."""
    made, ragged = MADE[name], [[1, 2], [1]] if reads_tokens(name) else [[0.0] * SIZE, [0.0]]
    stream, pool = made.stream(), made.streams(2)
    whole_sequence = made if isinstance(made, elman.Layer) else made.forward_propagation
    for act in (whole_sequence, stream.push, pool.push, lambda x: pool.push({0: x})):
        with pytest.raises(ElmanError) as raised:
            act(ragged)
        assert "\n" not in str(raised.value)
    assert stream.steps == 0
    assert_state(pool.state, made.initial_state(2))


@every_one_and_pooling
def test_a_reset_that_fails_leaves_the_stream(name):
    made = MADE[name]
    stream = made.stream()
    stream.push(random_input(name, (2,), np.random.default_rng(9)))
    before, batch = stream.state, made.initial_state(2)
    wrong = elman.RNN(cells.jordan, input=SIZE, hidden=3, output=2).initial_state()
    for bad in (batch, wrong, "a"):
        for act in (stream.reset, made.stream):
            with pytest.raises(ElmanError) as raised:
                act(bad)
            assert "\n" not in str(raised.value)
        assert (stream.state, stream.steps) == (before, 2)


@every_one_and_pooling
def test_a_stream_that_is_closed(name):
    made, rng = MADE[name], np.random.default_rng(10)
    x = random_input(name, (4,), rng)
    with made.stream() as stream:
        assert isinstance(stream, elman.Stream)
        stream.push(x)
    for act in (lambda: stream.push(x), lambda: stream.push(x[0]), stream.reset, lambda: stream.reset(stream.state)):
        with pytest.raises(StreamError) as raised:
            act()
        assert "this stream is closed" in str(raised.value)
        assert "stream() opens another" in str(raised.value)
    stream.close()  # again
    assert_state(stream.state, whole(made, x)[1])
    assert stream.steps == 4
    assert "closed" in repr(stream)


def test_a_with_block_that_raises_closes_too():
    stream = MADE["rnn"].stream()
    with pytest.raises(KeyError), stream:
        raise KeyError
    with pytest.raises(StreamError, match="closed"):
        stream.push(np.ones(SIZE))


def test_what_a_stream_says_of_itself():
    stream = MADE["rnn"].stream()
    assert "0 steps" in repr(stream)
    stream.push(np.ones(SIZE))
    assert "1 step)" in repr(stream)
    stream.push(np.ones((2, SIZE)))
    assert "3 steps" in repr(stream)


def test_a_direction_that_reads_from_the_end_cannot_stream():
    both = elman.Bidirectional(layer(cells.gru, SIZE), layer(cells.gru, SIZE))
    for one in (
        both,
        elman.Backwards(layer(cells.gru, SIZE)),
        elman.Stack([layer(cells.lstm, SIZE), elman.Backwards(layer(cells.gru, 4))]),
    ):
        for made in (one, Model.from_layers(one, 3), Model.from_layers(one, 3, pool="mean")):
            for act in (made.stream, lambda made=made: made.streams(2)):
                with pytest.raises(SettingError, match="reads from the end"):
                    act()


def test_a_long_stream_needs_no_more_memory():
    stream, x = MADE["model of a stack"].stream(), np.random.default_rng(23).normal(size=(20, SIZE))

    def held(pushes: int) -> int:
        tracemalloc.start()
        try:
            for k in range(pushes):
                stream.push(x[k % 20])
            gc.collect()
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    assert held(1000) < held(100) + 50_000


# ---------------------------------------------------------------- pools


class Beside:
    """A pool, and one single stream for each of its numbers; every act is done to both, and both are compared."""

    def __init__(self, name: str, count: int, seed: int) -> None:
        self.name, self.made, self.rng = name, MADE[name], np.random.default_rng(seed)
        self.pool = self.made.streams(count)
        self.single = {number: self.made.stream() for number in range(count)}
        self.given = count  # numbers so far

    def pick(self, *, some: bool = True) -> list[int]:
        """Numbers in any order, at least one."""
        numbers = self.rng.permutation(list(self.single)).tolist()
        return numbers[: int(self.rng.integers(1, len(numbers) + 1))] if some else numbers

    def x(self, *shape: int) -> np.ndarray:
        return random_input(self.name, shape, self.rng)

    def join(self) -> None:
        state = None if self.rng.random() < 0.5 else started(self.made, self.name, int(self.rng.integers(100)))
        number = self.pool.join() if state is None else self.pool.join(state)
        assert number == self.given  # from 0 on, and none again
        self.single[number], self.given = self.made.stream(state), self.given + 1

    def leave(self) -> None:
        (number,) = self.pick()[:1]
        assert_state(self.pool.leave(number), self.single.pop(number).state)

    def reset(self) -> None:
        numbers = self.pick()
        if self.rng.random() < 0.3:
            assert self.pool.reset() is None
            numbers = list(self.single)
        else:
            self.pool.reset(numbers)
        for number in numbers:
            self.single[number].reset()

    def step(self) -> None:
        x = self.x(len(self.single))
        for number, y, x_t in zip(self.pool.numbers, self.pool.push(x), x, strict=True):
            assert_close(y, self.single[number].push(x_t))

    def some(self) -> None:
        numbers = self.pick()
        x = self.x(len(numbers))
        y = self.pool.push(x, streams=numbers)
        assert len(y) == len(numbers)
        for number, y_t, x_t in zip(numbers, y, x, strict=True):
            assert_close(y_t, self.single[number].push(x_t))

    def chunk(self) -> None:
        numbers, steps = self.pick(), int(self.rng.integers(1, 5))
        x = self.x(len(numbers), steps)
        y = self.pool.push(x, np.array(numbers))
        for row, number in enumerate(numbers):
            assert_close(y[row], self.single[number].push(x[row]))

    def padded(self) -> None:
        numbers, steps = self.pick(), int(self.rng.integers(1, 5))
        x, lengths = self.x(len(numbers), steps), self.rng.integers(0, steps + 1, len(numbers))
        y = self.pool.push(x, numbers, lengths=lengths)
        assert y.shape[:2] == (len(numbers), steps)
        for row, number in enumerate(numbers):
            n = lengths[row]
            if n:
                assert_close(y[row, :n], self.single[number].push(x[row, :n]))

    def mapping(self) -> None:
        """Chunks of any lengths, or steps."""
        numbers = self.pick()
        if self.rng.random() < 0.3:
            x = {number: self.x() for number in numbers}
        else:
            low = 1 if reads_tokens(self.name) else 0
            x = {number: self.x(int(self.rng.integers(low, 6))) for number in numbers}
        y = self.pool.push(x)
        assert list(y) == numbers
        for number in numbers:
            assert_close(y[number], self.single[number].push(x[number]))

    def fail(self) -> None:
        numbers, before = list(self.single), self.pool.state
        bad = self.x(len(numbers))
        if reads_tokens(self.name):
            bad[-1] = SIZE
        else:
            bad[-1, 0] = np.nan
        with pytest.raises(ElmanError):
            self.pool.push(bad)
        with pytest.raises(ElmanError):
            self.pool.push({number: bad[k : k + 1] for k, number in enumerate(numbers)})
        with pytest.raises(StreamError):
            self.pool.push(self.x(2), streams=[numbers[0], self.given])
        assert self.pool.state == before

    def check(self) -> None:
        assert self.pool.numbers == tuple(self.single)
        assert len(self.pool) == len(self.single)
        state = self.pool.state
        assert state.batch == len(self.single)
        for row, stream in enumerate(self.single.values()):
            assert_state(state[row], stream.state)

    def act(self) -> None:
        acts = ACTS if self.single else [Beside.join]
        acts[int(self.rng.integers(len(acts)))](self)


ACTS = [
    Beside.join, Beside.join, Beside.leave, Beside.leave, Beside.reset, Beside.step, Beside.some, Beside.some, Beside.chunk,
    Beside.padded, Beside.mapping, Beside.mapping, Beside.fail,
]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@every_one_and_pooling
def test_a_pool_is_single_streams(name, seed):
    beside = Beside(name, seed, 1000 * seed + len(name))
    for _ in range(60):
        beside.act()
        beside.check()


@settings(max_examples=60, deadline=None)
@given(schedule=st.lists(st.sampled_from(ACTS), max_size=25), seed=st.integers(0, 10**6), count=st.integers(0, 4))
def test_a_pool_is_single_streams_on_any_schedule(schedule, seed, count):
    beside = Beside("model of a stack", count, seed)
    for act in schedule:
        if beside.single or act is Beside.join:
            act(beside)
            beside.check()


def test_a_pool_against_whole_sequences():
    """Without a single stream beside it."""
    made, rng = MADE["stack"], np.random.default_rng(11)
    x, pool = rng.normal(size=(3, 9, SIZE)), made.streams(2)
    first = pool.push(x[:2, 0])
    assert pool.join() == 2
    then = pool.push({1: x[1, 1:4], 2: x[2, :2], 0: x[0, 1]})
    rest = pool.push(x[[2, 0], 2:5], streams=[2, 0])
    wanted = [made(x[k])[0] for k in range(3)]
    assert_close(np.array([first[0], then[0], *rest[1]]), wanted[0][[0, 1, 2, 3, 4]])
    assert_close(np.array([first[1], *then[1]]), wanted[1][:4])
    assert_close(np.array([*then[2], *rest[0]]), wanted[2][:5])


def test_past_its_length_a_row_gives_nothing():
    pool, rng = MADE["stack"].streams(3), np.random.default_rng(12)
    x = rng.normal(size=(3, 4, SIZE))
    y = pool.push(x, lengths=[2, 0, 4])
    np.testing.assert_array_equal(y[0, 2:], 0.0)
    np.testing.assert_array_equal(y[1], 0.0)
    assert_state(pool.state[1], MADE["stack"].initial_state())


def test_a_row_may_wait_a_step():
    """Lengths 0 and 1 of single steps."""
    made, rng = MADE["rnn"], np.random.default_rng(13)
    pool, x = made.streams(3), rng.normal(size=(3, SIZE))
    y = pool.push(x, lengths=[1, 0, 1])
    assert_close(y[[0, 2]], made(x[:, None])[0][[0, 2], 0])
    assert_state(pool.state[1], made.initial_state())


def test_numbers_are_never_given_again():
    pool = MADE["rnn"].streams(2)
    seen = [*pool.numbers]
    for _ in range(5):
        pool.leave(pool.numbers[0])
        seen.append(pool.join())
    assert seen == list(range(7))
    for number in tuple(pool.numbers):
        pool.leave(number)
    assert (len(pool), pool.numbers, pool.join()) == (0, (), 7)
    for number in (0, 6):
        with pytest.raises(StreamError, match=f"there is no stream {number} in this pool"):
            pool.push(np.ones((1, SIZE)), [number])


@every_one
def test_one_joins_where_another_left(name):
    """Also in another pool, and in a stream."""
    made, rng = MADE[name], np.random.default_rng(14)
    x = random_input(name, (6,), rng)
    wanted = whole(made, x)[0]
    pool, other = made.streams(1), made.streams(3)
    first = pool.push(x[None, :2])[0]
    state = pool.leave(0)
    number = other.join(state)
    second = other.push({number: x[2:4]})[number]
    third = made.stream(other.leave(number)).push(x[4:])
    assert_close(np.concatenate([first, second, third]), wanted)


def test_what_a_pool_gave_stays_as_it_was():
    made, rng = MADE["stack"], np.random.default_rng(15)
    pool, x, kept = made.streams(3), rng.normal(size=(3, 6, SIZE)), []
    for t in range(6):
        given = x[:, t].copy()
        y, state = pool.push(given), pool.state
        given[:] = 0.0
        kept.append((y, y.copy(), state, [np.array(a) for a in leaves(state)]))
    for y, copy, state, arrays in kept:
        np.testing.assert_array_equal(y, copy)
        for array, value in zip(leaves(state), arrays, strict=True):
            np.testing.assert_array_equal(array, value)
    assert_close(np.array([copy for _, copy, _, _ in kept]).transpose(1, 0, 2), made(x)[0])


def pool_of_three() -> elman.Streams:
    pool = MADE["rnn"].streams(4)
    pool.leave(1)
    return pool  # 0, 2, 3


ROW = np.ones(SIZE)
THERE = "in this pool; there are 0, 2, 3"
MISTAKES: dict[str, tuple[Callable[[elman.Streams], Any], type[Exception], str]] = {
    "one that is unknown": (lambda p: p.push(np.ones((2, SIZE)), [0, 7]), StreamError, f"no stream 7 {THERE}"),
    "one that has left": (lambda p: p.push({0: ROW, 1: ROW}), StreamError, f"no stream 1 {THERE}"),
    "one below": (lambda p: p.push(np.ones((1, SIZE)), [-1]), StreamError, "there is no stream -1 in this pool"),
    "a word": (lambda p: p.push(np.ones((1, SIZE)), ["a"]), StreamError, "there is no stream 'a' in this pool"),
    "twice": (lambda p: p.push(np.ones((3, SIZE)), [2, 0, 2]), StreamError, "stream 2 is named twice"),
    "a number and no list": (lambda p: p.push(np.ones((1, SIZE)), 0), StreamError, "stream"),
    "none": (lambda p: p.push(np.ones((0, SIZE)), []), StreamError, "there is no stream to push to"),
    "too few rows": (lambda p: p.push(np.ones((2, SIZE))), ShapeError, "(2, 5) for 3 streams; one row a stream"),
    "too many rows": (lambda p: p.push(np.ones((3, SIZE)), [0, 2]), ShapeError, "(3, 5) for 2 streams; one row a stream"),
    "a row alone": (lambda p: p.push(ROW), ShapeError, "for 3 streams"),
    "another size": (lambda p: p.push(np.ones((3, SIZE + 1))), ShapeError, "input=5"),
    "another size of one chunk": (lambda p: p.push({0: ROW, 2: np.ones((2, SIZE + 1))}), ShapeError, "stream 2"),
    "a number that is not finite": (lambda p: p.push(np.full((3, SIZE), np.nan)), DataError, "NaN or infinity"),
    "too long": (lambda p: p.push(np.ones((3, 2, SIZE)), lengths=[0, 1, 3]), DataError, "length 3 of sequence 2 is outside"),
    "lengths of other rows": (lambda p: p.push(np.ones((3, 2, SIZE)), lengths=[0, 1]), ShapeError, "integers (3)"),
    "leaving twice": (lambda p: p.leave(1), StreamError, f"no stream 1 {THERE}"),
    "leaving by a word": (lambda p: p.leave("a"), StreamError, "there is no stream 'a' in this pool"),
    "joining with a batch": (lambda p: p.join(MADE["rnn"].initial_state(2)), ShapeError, "batch 2"),
    "joining with another's state": (lambda p: p.join(MADE["stack"].initial_state()), ShapeError, "this is a state of"),
    "starting one anew that left": (lambda p: p.reset([1]), StreamError, f"no stream 1 {THERE}"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_and_change_nothing(mistake):
    act, error, message = MISTAKES[mistake]
    pool = pool_of_three()
    pool.push(np.random.default_rng(16).normal(size=(3, SIZE)))
    before = pool.state
    with pytest.raises(error) as raised:
        act(pool)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert (pool.state, pool.numbers) == (before, (0, 2, 3))
    assert pool.join() == 4  # nor was a number given


def test_a_pool_that_is_closed():
    with MADE["rnn"].streams(2) as pool:
        pool.push(np.ones((2, SIZE)))
        before = pool.state
    for act in (lambda: pool.push(np.ones((2, SIZE))), lambda: pool.push({0: ROW}), pool.join, lambda: pool.push({})):
        with pytest.raises(StreamError, match=r"this pool of streams is closed; streams\(n\) opens another$"):
            act()
    pool.close()
    assert (pool.state, pool.numbers, len(pool)) == (before, (0, 1), 2)
    assert "closed" in repr(pool)


@pytest.mark.parametrize("count", [-1, 2.5, "a", None])
def test_a_number_of_streams_that_is_none(count):
    for made in (MADE["rnn"], MADE["model of tokens"]):
        with pytest.raises(ElmanError, match="number of streams") as raised:
            made.streams(count)
        assert "\n" not in str(raised.value)


def test_a_pool_of_nobody():
    made = MADE["rnn"]
    pool = made.streams()
    assert (len(pool), pool.numbers, pool.state.batch) == (0, (), 0)
    assert pool.push({}) == {}
    assert pool.reset() is None
    x = np.random.default_rng(17).normal(size=(1, SIZE))
    assert pool.join() == 0
    assert_close(pool.push(x)[0], made(x)[0][0])


# ---------------------------------------------------------------- threads


@elman.cell
def counting(x, steps=elman.state("input"), sums=elman.state("input")):
    """The number of steps, exactly, and the sum of what they brought."""
    count = steps + 1.0
    return count, count, sums + x


@pytest.fixture(autouse=True)
def _threads_take_turns():
    """Every few instructions."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Each act in a thread of its own, all begun together; what they gave, or the first that was raised."""
    found: list[Any] = [None] * len(acts)
    raised: list[BaseException] = []
    gate = threading.Barrier(len(acts))

    def go(k: int) -> None:
        gate.wait()
        try:
            found[k] = acts[k]()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=go, args=(k,), daemon=True) for k in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "threads wait for one another"
    if raised:
        raise raised[0]
    return found


def test_many_threads_on_one_stream():
    """Each push is whole: its steps are consecutive, no step is lost, none is counted twice."""
    stream = elman.RNN(counting, input=1, dtype="float64").stream()

    def push(seed: int) -> list[np.ndarray]:
        rng, pushed = np.random.default_rng(seed), []
        for _ in range(60):
            n = int(rng.integers(1, 5))
            y = stream.push(np.full((n, 1), float(n))) if n > 1 else stream.push(np.ones(1))[None]
            pushed.append(y[:, 0])
        return pushed

    pushes = [y for found in at_once(*(lambda seed=seed: push(seed) for seed in range(8))) for y in found]
    for y in pushes:
        np.testing.assert_array_equal(np.diff(y), 1.0)
    total = sum(len(y) for y in pushes)
    np.testing.assert_array_equal(np.sort(np.concatenate(pushes)), np.arange(1.0, total + 1.0))
    assert stream.steps == total
    assert stream.state.steps[0] == total
    assert stream.state.sums[0] == sum(len(y) ** 2 for y in pushes)


def test_a_running_mean_over_all_threads():
    """Whole numbers, so that sums are exact in any order: the state is that of a serial run."""
    rng = np.random.default_rng(18)
    x = rng.integers(-9, 10, size=(6, 50, 3)).astype(float)
    rnn = elman.RNN(cells.running_mean, input=3, dtype="float64")
    stream = rnn.stream()
    at_once(*(lambda part=part: [stream.push(x_t) for x_t in part] for part in x))
    serial = rnn(x.reshape(-1, 3))
    np.testing.assert_array_equal(stream.state.total, serial[1].total)
    np.testing.assert_array_equal(stream.state.count, 300.0)
    assert stream.steps == 300


def test_a_state_that_is_read_meanwhile_is_of_one_moment():
    """Both fields of it are those after the same push; and so is the number of steps that a reset leaves."""
    stream = elman.RNN(counting, input=1, dtype="float64").stream()
    done = threading.Event()

    def push() -> None:
        for _ in range(200):
            stream.push(np.ones((2, 1)))
        done.set()

    def read() -> int:
        seen = 0
        while not done.is_set():
            state = stream.state
            assert state.steps[0] == state.sums[0]
            assert state.steps[0] % 2 == 0
            seen += 1
        return seen

    found = at_once(push, read, read)
    assert min(found[1:]) > 0


def test_a_reset_by_another_thread_falls_between_pushes():
    stream = elman.RNN(counting, input=1, dtype="float64").stream()

    def push() -> list[np.ndarray]:
        return [stream.push(np.ones((3, 1)))[:, 0] for _ in range(100)]

    def reset() -> None:
        for _ in range(100):
            stream.reset()
            assert stream.steps % 3 == 0

    for y in (y for found in at_once(push, push, reset)[:2] for y in found):
        np.testing.assert_array_equal(np.diff(y), 1.0)
        assert y[0] % 3 == 1
    assert stream.steps == stream.state.steps[0]


def test_a_reset_in_the_middle_of_a_push_waits():
    """So that it is not undone by what the push writes back."""
    rnn = elman.RNN(counting, input=1, dtype="float64")
    stream, pool, long = rnn.stream(), rnn.streams(3), np.ones((1000, 1))
    stream.push(long)
    begun = time.perf_counter()
    stream.push(long)
    takes = time.perf_counter() - begun

    def late(reset: Callable[[], None], k: int) -> None:
        time.sleep(takes * k / 15)
        reset()

    stream.reset()
    for k in range(15):
        stream.push(np.ones((7, 1)))
        at_once(lambda: stream.push(long), lambda k=k: late(stream.reset, k))
        assert stream.steps == stream.state.steps[0]
        assert stream.steps in (0, 1000)
        stream.reset()
        pool.push(np.ones((3, 7, 1)))
        at_once(lambda: pool.push({0: long, 1: long}), lambda k=k: late(lambda: pool.reset([1, 2]), k))
        first, second, third = pool.state.steps[:, 0]
        assert (first, third) == (1007.0, 0.0)
        assert second in (0.0, 1000.0)
        pool.reset()


def test_a_stream_is_closed_between_pushes():
    stream = elman.RNN(counting, input=1, dtype="float64").stream()

    def push() -> int:
        pushed = 0
        with suppress(StreamError):
            while True:
                stream.push(np.ones((3, 1)))
                pushed += 1
        return pushed

    def close() -> None:
        while stream.steps < 60:
            pass
        stream.close()

    *counts, _ = at_once(push, push, push, close)
    assert stream.steps == stream.state.steps[0] == 3 * sum(counts)


@every_one_and_pooling
def test_streams_of_one_model_in_threads_give_what_they_give_one_by_one(name):
    made = MADE[name]

    def run(seed: int) -> tuple[list[np.ndarray], State]:
        rng = np.random.default_rng(seed)
        with made.stream() as stream:
            x = [random_input(name, (int(rng.integers(1, 4)),), rng) for _ in range(12)]
            return [stream.push(part if len(part) > 1 else part[0]) for part in x], stream.state

    serial = [run(seed) for seed in range(5)]
    for (found, state), (wanted, last) in zip(
        at_once(*(lambda seed=seed: run(seed) for seed in range(5))), serial, strict=True
    ):
        for got, y in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(got, y)
        assert state == last


@pytest.mark.parametrize("name", ["rnn", "stack", "model of tokens", "model of features", "mean"])
def test_many_threads_on_one_pool(name):
    """Each thread has streams of its own: they join, advance, and leave, and each is what a single stream would be."""
    made = MADE[name]
    pool = made.streams(2)

    def run(seed: int) -> None:
        rng, own = np.random.default_rng(seed), {}
        for _ in range(25):
            if len(own) < 3 or rng.random() < 0.2:
                own[pool.join()] = made.stream()
            if rng.random() < 0.2:
                number = int(rng.choice(list(own)))
                assert_state(pool.leave(number), own.pop(number).state)
            if not own:
                continue
            numbers = rng.permutation(list(own))[: int(rng.integers(1, len(own) + 1))].tolist()
            if rng.random() < 0.5:
                x = {number: random_input(name, (int(rng.integers(1, 4)),), rng) for number in numbers}
                y = pool.push(x)
            else:
                rows = random_input(name, (len(numbers),), rng)
                x, y = (dict(zip(numbers, rows_of, strict=True)) for rows_of in (rows, pool.push(rows, numbers)))
            for number in numbers:
                assert_close(y[number], own[number].push(x[number]))
        for number, stream in own.items():
            assert_state(pool.leave(number), stream.state)

    at_once(*(lambda seed=seed: run(seed) for seed in range(6)))
    assert pool.numbers == (0, 1)
    assert_state(pool.state, made.initial_state(2))


def test_threads_that_push_to_all_of_a_pool():
    """No push is lost, and numbers are given once."""
    pool = elman.RNN(counting, input=1, dtype="float64").streams(3)

    def push() -> list[np.ndarray]:
        return [pool.push(np.ones((3, 2, 1)), streams=(2, 0, 1))[:, :, 0] for _ in range(40)]

    def join() -> list[int]:
        return [pool.join() for _ in range(40)]

    found = at_once(push, push, join, push, join)
    for y in (y for k in (0, 1, 3) for y in found[k]):
        np.testing.assert_array_equal(np.diff(y, axis=1), 1.0)
        np.testing.assert_array_equal(y, y[:1].repeat(3, axis=0))
    np.testing.assert_array_equal(pool.state.steps[:, 0], [240.0] * 3 + [0.0] * 80)
    assert sorted(found[2] + found[4]) == list(range(3, 83))


def test_pushes_that_fail_do_not_disturb_those_of_other_threads():
    rnn = elman.RNN(counting, input=1, dtype="float64")
    stream, pool = rnn.stream(), rnn.streams(3)

    def push() -> None:
        for _ in range(60):
            stream.push(np.ones((2, 1)))
            pool.push(np.ones((3, 1)))

    def fail() -> None:
        for _ in range(60):
            for act in (
                lambda: stream.push(np.full((2, 1), np.nan)),
                lambda: pool.push(np.full((3, 1), np.nan)),
                lambda: pool.push({0: np.ones(1), 5: np.ones(1)}),
                lambda: pool.push({0: np.ones((2, 1)), 1: np.full((1, 1), np.nan)}),
            ):
                with pytest.raises(ElmanError):
                    act()

    at_once(push, fail, push, fail, push)
    assert stream.steps == stream.state.steps[0] == 360.0
    np.testing.assert_array_equal(pool.state.steps[:, 0], 180.0)


def test_a_model_used_by_many_threads_at_once():
    """Sequences, losses, gradients, values and text of one model, each as when it is alone."""
    model, rng = MADE["model of tokens"], np.random.default_rng(19)
    tokens, targets = rng.integers(SIZE, size=(6, 4, 9)), rng.integers(SIZE, size=(6, 4, 9))

    def run(k: int) -> list[Any]:
        found: list[Any] = []
        for _ in range(5):
            p = model.forward_propagation(tokens[k], lengths=[9, 0, 3, 5])
            loss, gradients, _ = model.gradients(tokens[k], targets[k])
            values = model.inspect(tokens[k, 0], keep=["1.z", "logits"])
            found += [p.output, np.array(loss), *gradients.values(), *values.values(), model.predict(tokens[k])]
            found.append(model.generate(tokens[k, 0], length=4, seed=k))
        return found

    serial = [run(k) for k in range(6)]
    for found, wanted in zip(at_once(*(lambda k=k: run(k) for k in range(6))), serial, strict=True):
        for got, array in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize("seed", range(3))
def test_programs_are_compiled_for_the_first_time_by_many_threads(seed):
    """Sizes and cells that nobody has run yet: all threads want the same programs at the same moment."""

    def make() -> tuple[elman.RNN, Model]:
        @elman.cell(name=f"fresh_{seed}")
        def fresh(x, h, c, *, w=elman.weight("hidden", "input"), u=elman.weight("hidden", "hidden"), b=elman.bias("hidden")):
            gate = elman.sigmoid(w @ x + u @ h + b)
            new = gate * c + (1.0 - gate) * elman.tanh(u @ h)
            return elman.tanh(new), new

        rnn = elman.RNN(fresh, input=3 + seed, hidden=7 + seed, dtype="float64", seed=seed)
        return rnn, Model.from_layers(elman.RNN(fresh, input=3 + seed, hidden=7 + seed, dtype="float64", seed=seed), 4)

    x = np.random.default_rng(seed).normal(size=(5, 6, 3 + seed))
    tokens, dy = np.arange(6) % 3, np.random.default_rng(20).normal(size=(5, 6, 7 + seed))

    def acts(rnn: elman.RNN, model: Model) -> list[Callable[[], list[np.ndarray]]]:
        return [
            lambda: [rnn(x)[0]],
            lambda: [rnn(x[0])[0], rnn(tokens)[0]],
            lambda: [*rnn.gradients(x, dy).parameters.values()],
            lambda: [rnn.stream().push(x[0, 0]), rnn.stream().push(x[0])],
            lambda: [rnn.streams(5).push(x)],
            lambda: [*rnn.inspect(x).values()],
            lambda: [model.forward_propagation(x).output, *model.gradients(x, np.ones((5, 6), int))[1].values()],
            lambda: [model.stream().push(x[0]), model.streams(5).push(x[:, 0])],
        ]

    wanted = [act() for act in acts(*make())]
    rnn, model = make()
    found = at_once(*acts(rnn, model), *acts(rnn, model))
    for arrays, expected in zip(found, wanted + wanted, strict=True):
        for array, value in zip(arrays, expected, strict=True):
            np.testing.assert_array_equal(array, value)
