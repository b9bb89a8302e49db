"""The compiled target meets the world: arrays that lie in memory in any way, many threads, long streams, forks, wrong sizes.

`ELMAN_SOAK=10` in the environment runs eight threads for ten seconds and a stream for a million steps; by default it is two
seconds and two hundred thousand steps.
"""

import ctypes
import gc
import mmap
import os
import platform
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import llvmlite.binding as llvm

import elman
from elman import RNN, Backwards, Bidirectional, ElmanError, Model, Stack, State, bias, cell, cells, state, weight
from elman.targets.llvm import engine
from elman.targets.llvm.machine import machines

if not machines():
    pytest.skip("no fused multiply-add here", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("store")
ROOT = Path(__file__).resolve().parent.parent
SOAK = float(os.environ.get("ELMAN_SOAK", "2"))
"""Seconds that threads run side by side; a stream takes a hundred thousand steps for each."""


def assert_bits(got: Any, wanted: Any, message: str = "") -> None:
    """Arrays or states with the same bits; NaN is NaN."""
    if isinstance(wanted, State):
        assert list(got) == list(wanted)
        for name, value in wanted.items():
            assert_bits(got[name], value, f"{message} {name}")
        return
    assert (np.shape(got), got.dtype) == (wanted.shape, wanted.dtype), message
    np.testing.assert_array_equal(got, wanted, err_msg=message)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(wanted), err_msg=f"{message}: a sign")


def python(script: str, **environment: str) -> str:
    """What a script prints in a process of its own, where it may crash."""
    given = dict(os.environ) | {"PYTHONPATH": str(ROOT / "src"), **environment}
    command = [sys.executable, "-c", dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=given, check=False)
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    elman.threads(count)
    try:
        yield
    finally:
        elman.threads(None)


# ---------------------------------------------------------------- arrays that lie in memory in any way


def between(a: np.ndarray) -> np.ndarray:
    """Of a larger array every other element of every axis."""
    large = np.full([2 * size + 3 for size in a.shape], 99, a.dtype)
    view = large[tuple(slice(1, 1 + 2 * size, 2) for size in a.shape)]
    view[...] = a
    return view


def beside(a: np.ndarray) -> np.ndarray:
    """Some columns of wider rows."""
    large = np.full((*a.shape[:-1], a.shape[-1] + 5), 99, a.dtype)
    large[..., 2 : 2 + a.shape[-1]] = a
    return large[..., 2 : 2 + a.shape[-1]]


def turned(a: np.ndarray) -> np.ndarray:
    """From the end of memory to its start, along every axis."""
    every = tuple(slice(None, None, -1) for _ in a.shape)
    return np.ascontiguousarray(a[every])[every]


def misaligned(a: np.ndarray) -> np.ndarray:
    """From an odd address."""
    memory = np.zeros(a.nbytes + 1, np.uint8)[1:]
    memory[:] = np.frombuffer(a.tobytes(), np.uint8)
    return memory.view(a.dtype).reshape(a.shape)


def read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


def from_a_file(a: np.ndarray) -> np.ndarray:
    """Mapped into memory, to be read only."""
    memory = mmap.mmap(-1, max(a.nbytes, 1))
    memory[: a.nbytes] = a.tobytes()
    return np.frombuffer(memoryview(memory).toreadonly(), a.dtype, a.size).reshape(a.shape)


def of_records(a: np.ndarray) -> np.ndarray:
    """A field of records whose size is no multiple of the numbers' size."""
    records = np.zeros(a.shape[:1], np.dtype([("tag", np.uint8), ("value", a.dtype, a.shape[1:])]))
    records["value"] = a
    return records["value"]


def of_records_each(a: np.ndarray) -> np.ndarray:
    """The same with a record for every step."""
    records = np.zeros(a.shape[:-1], np.dtype([("tag", np.uint8), ("value", a.dtype, a.shape[-1:])]))
    records["value"] = a
    return records["value"]


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Fortran": np.asfortranarray,
    "axes in turn": lambda a: np.ascontiguousarray(a.swapaxes(0, -1)).swapaxes(0, -1),
    "every other": between,
    "some columns": beside,
    "turned": turned,
    "misaligned": misaligned,
    "read only": read_only,
    "from a file": from_a_file,
    "other end first": lambda a: a.astype(a.dtype.newbyteorder()),
}
ODD_STRIDES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"records": of_records, "records of steps": of_records_each}
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


@cell
def near(x, h, m=state("hidden", "input"), *, u=weight("hidden", "hidden"), b=bias("hidden")):
    """Reads its input as an operand, in a matrix, and lane by lane; for hidden = input."""
    y = elman.tanh(x + u @ h + m @ x + b) * elman.softmax(x)
    return y, 0.5 * m + elman.outer(y, x)


def check_layout(change: Callable[[np.ndarray], np.ndarray], made: RNN, x: np.ndarray) -> None:
    """Input, states, lengths and resets that lie in some way, in one call and each by itself; and one sequence."""
    rng = np.random.default_rng(1)
    rows, steps = x.shape[:2]
    first = {n: rng.normal(size=a.shape).astype(a.dtype) for n, a in made.initial_state(rows).items()}
    lengths, reset = rng.permutation(rows) + steps - rows + 1, rng.random((rows, steps)) < 0.3
    plain = {"x": x, "state": first, "lengths": lengths, "reset": reset}
    changed = {"x": change(x), "state": {n: change(a) for n, a in first.items()}} | {
        name: change(plain[name]) if plain[name].dtype.kind != "b" else change(plain[name].view(np.uint8)).view(bool)
        for name in ("lengths", "reset")
        if change not in (of_records, of_records_each)
    }
    copies = {name: np.array(value) for name, value in changed.items() if isinstance(value, np.ndarray)}
    wanted = made(**plain)
    for asked in (changed, *({name: value} for name, value in changed.items())):
        for got, value in zip(made(**plain | asked), wanted, strict=True):
            assert_bits(got, value, ", ".join(asked))
    for name, value in copies.items():
        np.testing.assert_array_equal(changed[name], value, err_msg=f"{name} was written to")
    alone = made(change(x[1:2])[0], {n: change(a[1:2])[0] for n, a in first.items()})
    for got, value in zip(alone, made(x[1], {n: a[1] for n, a in first.items()}), strict=True):
        assert_bits(got, value, "one sequence")


@pytest.mark.parametrize("layout", [*LAYOUTS, *ODD_STRIDES])
@pytest.mark.parametrize(("dtype", "size"), [("float32", 5), ("float64", 1)])
def test_inputs_and_states_may_lie_anywhere(layout, dtype, size):
    x = np.random.default_rng(0).normal(size=(4, 6, size)).astype(dtype)
    made = RNN(near, input=size, hidden=size, dtype=dtype, target="llvm", seed=1)
    check_layout((LAYOUTS | ODD_STRIDES)[layout], made, x)


@every_layout
def test_tokens_may_lie_anywhere(layout):
    made, x = RNN(cells.gru, input=7, hidden=5, target="llvm"), np.random.default_rng(0).integers(0, 7, (4, 6))
    check_layout(LAYOUTS[layout], made, x)


@pytest.mark.parametrize("kind", "bBhHiIlLqQ")
def test_tokens_of_any_integer_type(kind):
    made, x = RNN(cells.gru, input=7, hidden=5, target="llvm"), np.random.default_rng(0).integers(0, 7, (4, 6))
    assert_bits(made(x.astype(kind))[0], made(x)[0])
    stream = made.stream()
    assert_bits(np.stack([stream.push(token) for token in x[0].astype(kind)]), made(x[0])[0])


def test_tokens_in_records():
    """In a process of its own, since numbers that are no tokens are looked up anywhere."""
    script = """
        import numpy as np
        from elman import RNN, cells
        rnn, x = RNN(cells.gru, input=7, hidden=5, target="llvm"), np.random.default_rng(0).integers(0, 7, (4, 6))
        records = np.full(x.shape, 255, np.dtype([("tag", np.uint8), ("value", np.int64)]))
        records["value"] = x
        np.testing.assert_array_equal(rnn(records["value"])[0], rnn(x)[0])
    """
    python(script)


@every_layout
def test_parameters_may_lie_anywhere(layout):
    change, rng = LAYOUTS[layout], np.random.default_rng(2)
    given = {n: rng.normal(size=a.shape).astype(a.dtype) for n, a in RNN(near, input=5, hidden=5).parameters.items()}
    found = []
    for values in (given, {name: change(value) for name, value in given.items()}):
        made = RNN(near, input=5, hidden=5, target="llvm")
        made.update(values)
        x = np.random.default_rng(3).normal(size=(3, 6, 5)).astype(np.float32)
        stream = made.stream()
        found.append((made(x)[0], np.stack([stream.push(step) for step in x[0]])))
    for got, wanted in zip(found[1], found[0], strict=True):
        assert_bits(got, wanted)
    assert_bits(found[1][1], found[0][0][0])


@every_layout
def test_pushed_steps_may_lie_anywhere(layout):
    """Before a stream has its buffers, and then; a pool, and chunks."""
    change, x = LAYOUTS[layout], np.random.default_rng(4).normal(size=(3, 8, 5)).astype(np.float32)
    made = RNN(near, input=5, hidden=5, target="llvm", seed=2)
    y, last = made(x)
    stream, pool = made.stream(), made.streams(3)
    steps = [stream.push(change(x[0, t])) for t in range(5)]
    assert_bits(np.stack([*steps, *stream.push(change(x[0, 5:]))]), y[0])
    assert_bits(stream.state, last[0])
    assert_bits(np.stack([*(pool.push(change(x[:, t])) for t in range(5))], 1), y[:, :5])
    assert_bits(pool.push(change(x[:, 5:])), y[:, 5:])


def test_one_step_for_all_is_read_again_and_again():
    """An input that takes no memory for its steps or rows."""
    made, rng = RNN(cells.lstm, input=3, hidden=5, target="llvm"), np.random.default_rng(5)
    for shape in ((1, 1, 3), (4, 1, 3), (1, 6, 3), (4, 6, 1)):
        x = np.broadcast_to(rng.normal(size=shape).astype(np.float32), (4, 6, 3))
        assert_bits(made(x)[0], made(np.array(x))[0], str(shape))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs memory that can be locked (POSIX)")
def test_nothing_is_read_beside_an_array():
    """Inputs and tokens that end, or begin, where memory cannot be read. In a process of its own, which would crash."""
    script = """
        import ctypes, mmap
        import numpy as np
        from elman import RNN, cells
        from test_llvm_robust import near

        PAGE = mmap.PAGESIZE
        lock = ctypes.CDLL(None).mprotect
        lock.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int

        def fenced(a, at_end):
            memory = mmap.mmap(-1, 3 * PAGE)
            address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
            assert a.nbytes <= PAGE
            start = 2 * PAGE - a.nbytes if at_end else PAGE
            view = np.frombuffer(memory, a.dtype, a.size, start).reshape(a.shape)
            view[...] = a
            for page in (0, 2):
                assert lock(address + page * PAGE, PAGE, 0) == 0
            kept.append(memory)
            return view

        kept, rng = [], np.random.default_rng(0)
        for size, dtype in ((1, "float32"), (3, "float64"), (17, "float32")):
            rnn = RNN(near, input=size, hidden=size, dtype=dtype, target="llvm")
            x = rng.normal(size=(5, 7, size)).astype(dtype)
            y, _ = rnn(x)
            for at_end in (True, False):
                np.testing.assert_array_equal(rnn(fenced(x, at_end))[0], y)
                np.testing.assert_array_equal(rnn(fenced(x, at_end), lengths=[3, 0, 7, 1, 5])[0][2], y[2])
                for row in range(5):
                    np.testing.assert_array_equal(rnn(fenced(x[row], at_end))[0], y[row])
        rnn, x = RNN(cells.gru, input=6, hidden=4, target="llvm"), rng.integers(0, 6, (5, 7))
        for at_end in (True, False):
            np.testing.assert_array_equal(rnn(fenced(x, at_end))[0], rnn(x)[0])
            np.testing.assert_array_equal(rnn(fenced(x[0], at_end))[0], rnn(x[0])[0])
        print("read")
    """
    assert python(script, PYTHONPATH=os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])) == "read\n"


# ---------------------------------------------------------------- wrong sizes at every door


@pytest.fixture
def entered(monkeypatch):
    """How often a kernel was entered; of layers that are made, and first run, in the test."""
    count, compiled = [], engine.compiled

    def watched(*given: Any) -> engine.Code:
        code = compiled(*given)
        return engine.Code(lambda *arguments: count.append(1) or code.call(*arguments), code.address, code.engine)

    monkeypatch.setattr(engine, "compiled", watched)
    return count


@dataclass
class Doors:
    """Everything that is public, of sizes that no other test has, so that its programs are made anew."""

    def __post_init__(self) -> None:
        llvm_rnn = {"target": "llvm", "seed": 3}
        self.lstm = RNN(cells.lstm, input=4, hidden=6, **llvm_rnn)
        self.stack = Stack([RNN(cells.mgu, input=4, hidden=6, **llvm_rnn), RNN(cells.elman, input=6, hidden=2, **llvm_rnn)])
        self.both = Bidirectional(*(RNN(cells.elman, input=4, hidden=3, **llvm_rnn) for _ in range(2)))
        self.model = Model(9, 6, target="llvm")
        self.tagger = Model.from_layers(RNN(cells.mgu, input=4, hidden=5, **llvm_rnn), 2)
        self.x = np.random.default_rng(6).normal(size=(3, 5, 4)).astype(np.float32)
        self.tokens = np.random.default_rng(6).integers(0, 9, (3, 5))
        self.stream, self.pool = self.lstm.stream(), self.lstm.streams(3)
        self.words, self.readers = self.model.stream(), self.model.streams(3)

    def use(self) -> None:
        """Every door as it is meant; streams have their buffers then."""
        for layer in (self.lstm, self.stack, self.both):
            layer(self.x)
            layer(self.x[0])
            layer.inspect(self.x)
            layer.gradients(self.x, np.ones((3, 5, *layer.output_shape)))
        for x in self.x[0, :3]:
            self.lstm.step(x)
            self.stream.push(x)
            self.pool.push(self.x[:, 0])
        for token in self.tokens[0, :3]:
            self.words.push(int(token))
            self.readers.push(self.tokens[:, 0])
        self.model.forward_propagation(self.tokens)
        self.model.loss(self.tokens[0], self.tokens[0])
        self.tagger.forward_propagation(self.x)


ROW = np.ones((3, 5), np.float32)
WRONG: dict[str, Callable[[Doors], Any]] = {
    # a whole sequence
    "features too few": lambda d: d.lstm(d.x[..., :3]),
    "features too many": lambda d: d.lstm(np.ones((3, 5, 5), np.float32)),
    "no feature": lambda d: d.lstm(d.x[..., :0]),
    "an axis too few": lambda d: d.lstm(d.x[0, 0]),
    "an axis too many": lambda d: d.lstm(d.x[None]),
    "no example": lambda d: d.lstm(d.x[:0]),
    "a number": lambda d: d.lstm(1.5),
    "tokens above": lambda d: d.lstm(np.array([0, 4])),
    "tokens far above": lambda d: d.lstm(np.array([0, 2**62])),
    "tokens that wrap": lambda d: d.lstm(np.array([0, 2**64 - 1], np.uint64)),
    "tokens below": lambda d: d.lstm(np.array([[0, -1]])),
    "tokens with an axis too many": lambda d: d.lstm(np.zeros((3, 5, 4), int)),
    "rows of different lengths": lambda d: d.lstm([[[0.0] * 4], [[0.0] * 4] * 2]),
    "truth values": lambda d: d.lstm(d.x > 0),
    "a layer of a stack": lambda d: d.stack(np.ones((3, 5, 6), np.float32)),
    "two directions": lambda d: d.both(d.x[..., :3]),
    "inspected": lambda d: d.lstm.inspect(d.x[..., :3]),
    "recorded": lambda d: d.lstm.record(np.ones((5, 5), np.float32)),
    # states
    "a state too short": lambda d: d.lstm(d.x[0], {"h": np.ones(5), "c": np.ones(6)}),
    "a state too long": lambda d: d.lstm(d.x[0], {"h": np.ones(7), "c": np.ones(7)}),
    "states of other rows": lambda d: d.lstm(d.x, d.lstm.initial_state(2)),
    "states of more rows": lambda d: d.lstm(d.x, {"h": np.ones((4, 6)), "c": np.ones((4, 6))}),
    "a state of one for many": lambda d: d.lstm(d.x, d.lstm.initial_state()),
    "states of many for one": lambda d: d.lstm(d.x[0], d.lstm.initial_state(3)),
    "a state of another cell": lambda d: d.lstm(d.x[0], RNN(cells.gru, input=4, hidden=6).initial_state()),
    "a state of another size": lambda d: d.lstm(d.x[0], RNN(cells.lstm, input=4, hidden=7).initial_state()),
    "a state of one array": lambda d: d.lstm(d.x[0], {"h": np.ones(6)}),
    "states with an axis too many": lambda d: d.lstm(d.x[0], {"h": np.ones((6, 6)), "c": np.ones(6)}),
    "a number as a state": lambda d: d.lstm(d.x[0], {"h": 1.0, "c": 1.0}),
    "a state of a stack": lambda d: d.stack(d.x[0], d.lstm.initial_state()),
    "a state of one direction": lambda d: d.both(d.x[0], d.lstm.initial_state()),
    # lengths and resets
    "lengths beyond": lambda d: d.lstm(d.x, lengths=[5, 6, 5]),
    "lengths far beyond": lambda d: d.lstm(d.x, lengths=[5, 2**62, 5]),
    "lengths that wrap": lambda d: d.lstm(d.x, lengths=np.array([5, 2**64 - 1, 5], np.uint64)),
    "lengths below": lambda d: d.lstm(d.x, lengths=[5, -1, 5]),
    "lengths too few": lambda d: d.lstm(d.x, lengths=[5, 5]),
    "lengths too many": lambda d: d.lstm(d.x, lengths=[5, 5, 5, 5]),
    "one length for all": lambda d: d.lstm(d.x, lengths=5),
    "lengths for one": lambda d: d.lstm(d.x[0], lengths=[5, 5]),
    "lengths that are not whole": lambda d: d.lstm(d.x, lengths=[5.0, 5.0, 5.0]),
    "resets of fewer steps": lambda d: d.lstm(d.x, reset=np.zeros((3, 4), bool)),
    "resets of more steps": lambda d: d.lstm(d.x, reset=np.zeros(6, bool)),
    "resets of other rows": lambda d: d.lstm(d.x, reset=np.zeros((4, 5), bool)),
    "resets that are numbers": lambda d: d.lstm(d.x, reset=np.zeros((3, 5))),
    # steps
    "a step too short": lambda d: d.lstm.step(d.x[0, 0, :3]),
    "a step with an axis too many": lambda d: d.lstm.step(d.x),
    "a step from a wrong state": lambda d: d.lstm.step(d.x[0, 0], {"h": np.ones(5), "c": np.ones(5)}),
    "steps from states of other rows": lambda d: d.lstm.step(d.x[:, 0], d.lstm.initial_state(4)),
    "a step of a token above": lambda d: d.lstm.step(4),
    # streams, whose buffers are there
    "a pushed step too short": lambda d: d.stream.push(d.x[0, 0, :3]),
    "a pushed step too long": lambda d: d.stream.push(np.ones(5, np.float32)),
    "a pushed step of nothing": lambda d: d.stream.push(np.ones(0, np.float32)),
    "a pushed number": lambda d: d.stream.push(np.float32(1)),
    "a pushed chunk too narrow": lambda d: d.stream.push(d.x[0, :, :3]),
    "a pushed batch": lambda d: d.stream.push(d.x),
    "a pushed token above": lambda d: d.words.push(9),
    "a pushed token of NumPy above": lambda d: d.words.push(np.int64(9)),
    "a pushed token far above": lambda d: d.words.push(2**62),
    "a pushed token no integer holds": lambda d: d.words.push(2**80),
    "a pushed token below": lambda d: d.words.push(-1),
    "a pushed truth value": lambda d: d.words.push(True),
    "a pushed chunk with a token above": lambda d: d.words.push(np.array([1, 9])),
    "pushed features for tokens": lambda d: d.words.push(np.ones(9, np.float32)),
    "a stream from a wrong state": lambda d: d.lstm.stream({"h": np.ones(5), "c": np.ones(6)}),
    "a stream that starts anew from a wrong state": lambda d: d.stream.reset(d.lstm.initial_state(2)),
    "pushed rows too few": lambda d: d.pool.push(d.x[:2, 0]),
    "pushed rows too many": lambda d: d.pool.push(np.ones((4, 4), np.float32)),
    "pushed rows too narrow": lambda d: d.pool.push(d.x[:, 0, :3]),
    "pushed chunks too narrow": lambda d: d.pool.push(d.x[..., :3]),
    "pushed to another": lambda d: d.pool.push(d.x[:1, 0], streams=[3]),
    "pushed to one twice": lambda d: d.pool.push(d.x[:2, 0], streams=[1, 1]),
    "pushed chunks of wrong lengths": lambda d: d.pool.push(d.x, lengths=[1, 2, 6]),
    "a mapping of steps too short": lambda d: d.pool.push({0: d.x[0, 0], 1: d.x[0, 0, :3]}),
    "pushed tokens above": lambda d: d.readers.push(np.array([0, 1, 9])),
    "one that joins with a wrong state": lambda d: d.pool.join(RNN(cells.lstm, input=4, hidden=7).initial_state()),
    # gradients
    "a gradient too short": lambda d: d.lstm.record(d.x).gradients(np.ones((3, 5, 5))),
    "a gradient of other steps": lambda d: d.lstm.gradients(d.x[..., :3], np.ones((3, 5, 6))),
    "a gradient of a wrong state": lambda d: d.lstm.record(d.x).gradients(
        np.ones((3, 5, 6)), {"h": np.ones((3, 5)), "c": np.ones((3, 6))}
    ),
    # parameters
    "a weight too narrow": lambda d: d.lstm.update({"wi": np.ones((6, 3))}),
    "a weight too short": lambda d: d.lstm.update({"ui": np.ones((5, 6))}),
    "a weight turned": lambda d: d.lstm.update({"wi": np.ones((4, 6))}),
    "a bias too long": lambda d: d.lstm.update({"bi": np.ones(7)}),
    "a bias of one for all": lambda d: d.lstm.update({"bi": 1.0}),
    "a weight of no cell": lambda d: d.lstm.update({"w": np.ones((6, 4))}),
    "a weight in a stack": lambda d: d.stack.update({"0.wf": np.ones((6, 6))}),
    # models
    "a sentence with a token above": lambda d: d.model.forward_propagation([1, 9]),
    "a batch with a token above": lambda d: d.model.predict(np.full((2, 3), 9)),
    "targets above": lambda d: d.model.loss(d.tokens[0], d.tokens[0] + 9),
    "targets too few": lambda d: d.model.loss(d.tokens[0], d.tokens[0, :4]),
    "a prompt with a token above": lambda d: d.model.generate([1, 9], length=3),
    "features of a model too few": lambda d: d.tagger.forward_propagation(d.x[..., :3]),
    "a state of a model too short": lambda d: d.model.forward_propagation(
        d.tokens[0], RNN(cells.elman, input=9, hidden=5).initial_state()
    ),
    "a read-out too narrow": lambda d: d.model.update({"wya": np.ones((9, 5))}),
    # sizes themselves
    "no unit": lambda d: RNN(cells.lstm, input=4, hidden=0, target="llvm"),
    "fewer than no unit": lambda d: RNN(cells.lstm, input=-1, hidden=4, target="llvm"),
    "half a unit": lambda d: RNN(cells.lstm, input=4, hidden=2.5, target="llvm"),
    "layers that do not meet": lambda d: Stack([d.lstm, RNN(cells.gru, input=5, hidden=3, target="llvm")]),
    "directions that do not meet": lambda d: Bidirectional(d.lstm, RNN(cells.gru, input=5, hidden=6, target="llvm")),
    "a residual of another size": lambda d: Stack([d.lstm, RNN(cells.gru, input=6, hidden=3, target="llvm")], residual=True),
    "a pool of fewer than none": lambda d: d.lstm.streams(-1),
    "a step backwards": lambda d: Backwards(d.lstm).step(d.x[0, 0]),
}
AFTER_A_RUN = ("a gradient too short", "a gradient of a wrong state", "targets above", "targets too few")
"""These are met when a run is behind them, whose sizes were right."""


def test_no_kernel_is_entered_with_sizes_that_were_not_checked(entered):
    doors = Doors()
    doors.use()
    assert len(entered) > 30, "the kernels are watched"
    states = doors.stream.state, doors.pool.state, doors.words.state
    before = {
        "lstm": doors.lstm(doors.x),
        "stack": doors.stack(doors.x),
        "model": doors.model.forward_propagation(doors.tokens).a,
    }
    for name, wrong in WRONG.items():
        del entered[:]
        with pytest.raises(ElmanError) as raised:
            wrong(doors)
        assert len(entered) == (1 if name in AFTER_A_RUN else 0), name
        assert "\n" not in str(raised.value), name
        assert (doors.stream.state, doors.pool.state, doors.words.state) == states, name
    assert doors.pool.numbers == (0, 1, 2)
    for got, wanted in zip((*doors.lstm(doors.x), *doors.stack(doors.x)), (*before["lstm"], *before["stack"]), strict=True):
        assert_bits(got, wanted)
    assert_bits(doors.model.forward_propagation(doors.tokens).a, before["model"])


def test_no_step_is_no_work(entered):
    """A sequence without a step is no mistake: the states come back, and nothing is computed."""
    made = RNN(cells.lstm_coupled, input=4, hidden=6, target="llvm")
    first = State({"h": np.ones((3, 6), np.float32), "c": -np.ones((3, 6), np.float32)}, cell="lstm_coupled", batch=3)
    y, last = made(np.ones((3, 0, 4), np.float32), first)
    assert y.shape == (3, 0, 6)
    assert_bits(last, first)
    y, last = made(np.ones((0, 4), np.float32), first[1])
    assert y.shape == (0, 6)
    assert_bits(last, first[1])
    y, last = made(np.ones((3, 4, 4), np.float32), first, lengths=[0, 0, 0])
    assert not y.any()
    assert_bits(last, first)
    stream = made.stream(first[0])
    assert stream.push(np.ones((0, 4), np.float32)).shape == (0, 6)
    assert_bits(stream.state, first[0])


# ---------------------------------------------------------------- many threads, many steps, a fork


def test_eight_threads_through_one_program():
    """Each with its own sequences, streams and a pool; rows, batches and lengths; calls that use threads themselves."""
    rnn, rng = RNN(cells.lstm, input=5, hidden=23, target="llvm"), np.random.default_rng(7)
    reader = RNN(cells.gru_reset_before, input=9, hidden=11, target="llvm")
    x = rng.normal(size=(8, 6, 30, 5)).astype(np.float32)
    tokens = rng.integers(0, 9, (8, 30))
    lengths = rng.integers(0, 31, (8, 6))
    failures: list[str] = []
    ended = threading.Event()
    wanted = [(rnn(x[k]), rnn(x[k], lengths=lengths[k]), rnn(x[k, 0]), reader(tokens[k])) for k in range(8)]
    rounds = [0] * 8

    def same(got: Any, expected: Any, what: str) -> None:
        if not np.array_equal(got, expected):
            failures.append(what)
            ended.set()

    def work(k: int) -> None:
        whole, padded, alone, read = wanted[k]
        while not ended.is_set():
            for name, got, expected in (
                ("batch", rnn(x[k]), whole),
                ("lengths", rnn(x[k], lengths=lengths[k]), padded),
                ("one", rnn(x[k, 0]), alone),
                ("tokens", reader(tokens[k]), read),
            ):
                same(got[0], expected[0], name)
                for field, value in expected[1].items():
                    same(got[1][field], value, f"{name} {field}")
            stream, pool, words = rnn.stream(), rnn.streams(6), reader.stream()
            for t in range(6):
                same(stream.push(x[k, 0, t]), alone[0][t], "stream")
                same(pool.push(x[k, :, t]), whole[0][:, t], "pool")
                same(words.push(int(tokens[k, t])), read[0][t], "stream of tokens")
            rounds[k] += 1

    def guarded(k: int) -> None:
        try:
            work(k)
        except BaseException as error:
            failures.append(repr(error))
            ended.set()

    with on_threads(2):
        threads = [threading.Thread(target=guarded, args=(k,)) for k in range(8)]
        for thread in threads:
            thread.start()
        ended.wait(SOAK)
        ended.set()
        for thread in threads:
            thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not failures, failures[:3]
    assert min(rounds) > 0


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux, which tells how much memory is held")
@pytest.mark.parametrize("tokens", [False, True])
def test_a_long_stream_needs_no_more_memory(tokens):
    """Neither of Python's nor of the system's, and the values are still those of a sequence that began there."""
    rnn, rng = RNN(cells.lstm, input=8, hidden=16, target="llvm"), np.random.default_rng(8)
    rows = rng.integers(0, 8, 64) if tokens else rng.normal(size=(64, 8)).astype(np.float32)
    given = [int(row) for row in rows] if tokens else list(rows)
    stream = rnn.stream()

    def push(count: int) -> None:
        for _ in range(count // 64):
            for row in given:
                stream.push(row)

    steps = int(SOAK * 100_000) // 64 * 64
    push(20_000)
    gc.collect()
    before = resident()
    push(steps)
    grown = resident() - before
    assert grown < 600_000, f"{grown} bytes in {steps} steps"
    tracemalloc.start()
    try:
        push(64)
        first = tracemalloc.get_traced_memory()[0]
        push(6400)
        assert tracemalloc.get_traced_memory()[0] < first + 2000
    finally:
        tracemalloc.stop()
    last = stream.state
    assert_bits(np.stack([stream.push(row) for row in given]), rnn(rows, last)[0])


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux, which tells how much memory is held")
def test_many_calls_need_no_more_memory():
    """Of ever other lengths and batches, on one thread and two."""
    rnn, x = RNN(cells.gru, input=8, hidden=16, target="llvm"), np.ones((9, 40, 8), np.float32)
    rng, pool = np.random.default_rng(9), rnn.streams(9)

    def call(count: int) -> None:
        for k in range(count):
            rows, steps = int(rng.integers(1, 10)), int(rng.integers(1, 41))
            with on_threads(1 + k % 2):
                rnn(x[:rows, :steps], lengths=rng.integers(0, steps + 1, rows))
                rnn(x[0, :steps])
                pool.push(x[:rows, 0], streams=range(rows))

    call(1500)
    gc.collect()
    before = resident()
    call(1500)
    grown = resident() - before
    assert grown < 1_500_000, f"{grown} bytes in 1500 rounds"


def test_long_calls_leave_nothing_behind():
    """Sequences of ever other lengths: nothing that is kept for the next call may be as long as they are."""
    rnn, x = RNN(cells.elman, input=3, hidden=1, target="llvm"), np.zeros(200_020, int)
    rnn(x)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for k in range(10):
            rnn(x[: 200_000 + k])
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < before + 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_after_use():
    """Threads, streams and programs were used before; the child uses them, makes others, and the parent goes on."""
    script = """
        import os, sys, warnings
        import numpy as np
        import elman
        from elman import RNN, cells

        warnings.simplefilter("ignore", DeprecationWarning)  # of forks where there are threads
        rng = np.random.default_rng(0)
        rnn, x = RNN(cells.lstm, input=6, hidden=19, target="llvm"), rng.normal(size=(12, 40, 6)).astype(np.float32)
        elman.threads(3)
        y, _ = rnn(x)
        stream = rnn.stream()
        for step in x[0, :7]:
            stream.push(step)

        def check():
            for count in (3, 1, 2, 4):
                elman.threads(count)
                np.testing.assert_array_equal(rnn(x)[0], y)
                np.testing.assert_array_equal(rnn(x[3])[0], y[3])
            np.testing.assert_array_equal(np.stack([stream.push(step) for step in x[0, 7:]]), y[0, 7:])
            other = RNN(cells.gru, input=6, hidden=5, target="llvm")  # compiled here
            np.testing.assert_array_equal(other(x)[0][2], other(x[2])[0])

        def child():
            status = 1
            try:
                check()
                status = 0
            finally:
                os._exit(status)

        children = []
        for _ in range(3):
            number = os.fork()
            if not number:
                child()
            children.append(number)
        for number in children:
            _, status = os.waitpid(number, 0)
            assert status == 0, f"a child ended with {status}"
        check()
        grandchild = os.fork()
        if not grandchild:
            number = os.fork()
            if not number:
                np.testing.assert_array_equal(rnn(x)[0], y)
                os._exit(0)
            os._exit(os.waitpid(number, 0)[1] != 0)
        assert os.waitpid(grandchild, 0)[1] == 0
        print("forked")
    """
    assert python(script, ELMAN_CACHE="") == "forked\n"


# ---------------------------------------------------------------- denormal numbers


@cell
def straight(x, h, *, w=weight("hidden", "input"), u=weight("hidden", "hidden")):
    return w @ x + u @ h


@contextmanager
def floating_point(mode: int) -> Iterator[None]:
    """Another mode of this thread: 0x8040 flushes denormal numbers to 0, as some libraries do for a whole process."""
    text = """
        declare void @llvm.x86.sse.ldmxcsr(ptr)
        declare void @llvm.x86.sse.stmxcsr(ptr)
        define i32 @change(i32 %new) {
            %at = alloca i32
            call void @llvm.x86.sse.stmxcsr(ptr %at)
            %old = load i32, ptr %at
            store i32 %new, ptr %at
            call void @llvm.x86.sse.ldmxcsr(ptr %at)
            ret i32 %old
        }
    """
    target = llvm.Target.from_default_triple().create_target_machine()
    compiler = llvm.create_mcjit_compiler(llvm.parse_assembly(text), target)
    compiler.finalize_object()
    change = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_uint32)(compiler.get_function_address("change"))
    before = change(0x1F80 | mode)
    try:
        yield
    finally:
        change(before)


ON_X86 = pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="sets x86's mode")


def denormal(dtype: str) -> tuple[RNN, np.ndarray, np.ndarray]:
    rnn, rng = RNN(straight, input=5, hidden=21, dtype=dtype, target="llvm", seed=5), np.random.default_rng(10)
    tiny = np.finfo(dtype).tiny / 64
    return rnn, (tiny * rng.normal(size=(6, 9, 5))).astype(dtype), (tiny * rng.normal(size=(6, 21))).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_denormal_numbers_have_the_same_bits_however_asked(dtype):
    rnn, x, h = denormal(dtype)
    y, last = rnn(x, h)
    for name, count in product(machines(), (1, 2, 3)):
        with elman.machine(name), on_threads(count):
            again, end = rnn(x, h)
        assert_bits(again, y, name)
        assert_bits(end, last, name)
    for row in range(6):
        stream, alone = rnn.stream({"h": h[row]}), rnn(x[row], h[row])[0]
        assert_bits(alone, y[row])
        assert_bits(np.stack([stream.push(step) for step in x[row]]), y[row])
    slow = RNN(straight, input=5, hidden=21, dtype=dtype, target="interpreter", seed=5)
    tiny = np.finfo(dtype).tiny
    assert np.abs(y - slow(x, h)[0]).max() <= tiny  # the value itself, or 0
    assert np.abs(slow(x, h)[0]).max() > tiny / 64


@ON_X86
@pytest.mark.parametrize("rows", [1, 6])
def test_a_kernel_leaves_the_mode_of_its_thread(rows):
    rnn, x, h = denormal("float32")
    small = np.full(3, 1e-40, np.float32)

    def flushed() -> bool:
        """By the bits: a comparison would flush, too."""
        return not (small * np.float32(1)).view(np.uint32).any()

    with on_threads(2):
        rnn(x[:rows], h[:rows])
        stream = rnn.stream()
        for step in x[0, :3]:
            stream.push(step)
        assert not flushed()
        with floating_point(0x8040):
            rnn(x[:rows], h[:rows])
            stream.push(x[0, 3])
            assert flushed()
    assert not flushed()


@ON_X86
def test_the_mode_of_the_caller_changes_no_bit():
    rnn, x, h = denormal("float32")
    with on_threads(2):
        y, last = rnn(x, h)
        with floating_point(0x8040):
            found = [rnn(x, h)]
            elman.threads(1)
            found.append(rnn(x, h))
    for again, end in found:
        assert_bits(again, y)
        assert_bits(end, last)
