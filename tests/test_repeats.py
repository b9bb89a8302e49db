"""Calls that come again: what they give has the bits of the long way, and what they cannot take goes there.

A twin of every layer takes the long way always; both are asked the same, and must give the same, errors and all.
"""

import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import elman
from elman import RNN, Bidirectional, DataError, ElmanError, Stack, State, bias, cell, cells, weight
from elman.repeats import KEPT
from elman.targets.llvm.entry import block_of, check_of
from elman.targets.llvm.machine import current, machines
from elman.targets.llvm.memory import side_by_side
from elman.targets.llvm.repeat import Repeat

if not machines():
    pytest.skip("no fused multiply-add here", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("store")
I, H = 5, 7
"""No multiple of any vector's lanes."""


@cell
def diverging(x, h, *, w=weight("hidden", "input"), b=bias("hidden")):
    """h<t> = 1e30 h<t-1> + w x<t> + b"""
    return 1e30 * h + w @ x + b


def made(of: elman.Cell = cells.lstm, width: int = I, seed: int = 0, hidden: int = H, **settings: Any) -> RNN:
    rnn = RNN(of, input=width, hidden=hidden, **{"target": "llvm", **settings})
    rng = np.random.default_rng(seed)
    rnn.update({name: 0.5 * rng.normal(size=value.shape) for name, value in rnn.parameters.items()})
    return rnn


LAYERS: dict[str, Callable[[], elman.Layer]] = {
    "lstm": made,
    "gru in double precision": lambda: made(cells.gru, dtype="float64"),
    "learnt start": lambda: made(cells.elman, learn_initial=True),
    "another output": lambda: made(cells.lstm_projected, projection=3),
    "stack": lambda: Stack([made(), made(cells.gru, H)], dropout=0.5),
    "stack of a stack": lambda: Stack([Stack([made(), made(cells.gru, H)]), made(cells.elman, H)]),
    "without a short way": lambda: made(target="numpy"),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


def twins(name: str) -> tuple[elman.Layer, elman.Layer]:
    layer, twin = LAYERS[name](), LAYERS[name]()
    twin._may_repeat = False
    return layer, twin


def random(layer: elman.Layer, *axes: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(*axes, I)).astype(layer.dtype)


def assert_same(got: Any, wanted: Any) -> None:
    """Arrays and states with the same bits, or the same error."""
    assert type(got) is type(wanted)
    if isinstance(wanted, tuple):
        for a, b in zip(got, wanted, strict=True):
            assert_same(a, b)
    elif isinstance(wanted, State):
        assert (got.cell, got.batch, got.equations, list(got)) == (wanted.cell, wanted.batch, wanted.equations, list(wanted))
        for name in wanted:
            assert_same(got[name], wanted[name])
    elif isinstance(wanted, np.ndarray):
        assert (got.shape, got.dtype, got.flags.writeable) == (wanted.shape, wanted.dtype, wanted.flags.writeable)
        assert got.tobytes() == wanted.tobytes()
    else:
        assert str(got) == str(wanted)


def tried(call: Callable[..., Any], *given: Any) -> Any:
    try:
        return call(*given)
    except ElmanError as error:
        return error


def is_short(layer: elman.Layer, call: Callable[..., Any], *given: Any) -> bool:
    """Whether a call takes the short way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(layer), "_inward", lambda *_, **__: pytest.fail("the long way"))
        try:
            call(*given)
        except pytest.fail.Exception:
            return False
    return True


# ---------------------------------------------------------------- the same bits


@every_layer
@pytest.mark.parametrize("axes", [(), (3,)], ids=["one", "batch"])
def test_steps(name, axes):
    layer, twin = twins(name)
    x, state, wanted = random(layer, 6, *axes), None, None
    for t, x_t in enumerate(x):
        if t >= 2:
            assert is_short(layer, layer.step, x_t, state) == ("without" not in name)
        (y, state), (y_wanted, wanted) = layer.step(x_t, state), twin.step(x_t, wanted)
        assert_same((y, state), (y_wanted, wanted))


@every_layer
@pytest.mark.parametrize("axes", [(1,), (6,), (3, 6), (1, 1)], ids=str)
def test_sequences(name, axes):
    layer, twin = twins(name)
    x, begun = random(layer, *axes), twin(random(layer, *axes, seed=2))[1]
    for state in (None, begun, None, begun):
        assert_same(layer(x, state), twin(x, state))
    assert is_short(layer, layer, x, begun) == ("without" not in name)


def test_a_step_of_a_batch_is_no_sequence():
    """`[3, I]` is either."""
    layer, twin = twins("lstm")
    x = random(layer, 3)
    for _ in range(3):
        assert_same(layer.step(x), twin.step(x))
        assert_same(layer(x), twin(x))


def test_more_work_than_one_thread_does_alone():
    layer, twin = made(hidden=128, width=128), made(hidden=128, width=128)
    twin._may_repeat = False
    x = np.random.default_rng(0).normal(size=(70, 128)).astype("float32")
    for count in (None, 2, 1, None):
        elman.threads(count)
        try:
            for _ in range(3):
                assert_same(layer(x), twin(x))
        finally:
            elman.threads(None)
    assert is_short(layer, layer, x)
    x[-1, -1] = np.nan
    assert_same(tried(layer, x), tried(twin, x))


def test_what_a_pool_gives():
    layer, twin = twins("lstm")
    pools, rng = (layer.streams(4), twin.streams(4)), np.random.default_rng(0)
    for _ in range(6):
        x = rng.normal(size=(4, I)).astype("float32")
        assert_same(pools[0].push(x), pools[1].push(x))
        assert_same(pools[0].push(x[:2], streams=[3, 1]), pools[1].push(x[:2], streams=[3, 1]))
        assert_same(pools[0].state, pools[1].state)


# ---------------------------------------------------------------- what is given


class Marked(np.ndarray):
    """An array of another class."""


def between(x: np.ndarray) -> np.ndarray:
    large = np.full([2 * size + 1 for size in x.shape], 99, x.dtype)
    large[tuple(slice(1, None, 2) for _ in x.shape)] = x
    return large[tuple(slice(1, None, 2) for _ in x.shape)]


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


def with_one(value: float, place: int) -> Callable[[np.ndarray], np.ndarray]:
    def changed(x: np.ndarray) -> np.ndarray:
        x = x.copy()
        x.flat[place] = value
        return x

    return changed


GIVEN: dict[str, Callable[[np.ndarray], Any]] = {
    "between": between,
    "from the end": lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1],
    "read-only": read_only,
    "another precision": lambda x: x.astype("float64"),
    "half": lambda x: x.astype("float16"),
    "other bytes": lambda x: x.astype(x.dtype.newbyteorder()),
    "another class": lambda x: x.view(Marked),
    "masked": lambda x: np.ma.masked_array(x, np.zeros(x.shape, bool)),
    "masked in part": lambda x: np.ma.masked_array(x, x > 0),
    "a list": lambda x: x.tolist(),
    "numbers": lambda x: np.ones(x.shape, int),
    "truth": lambda x: x > 0,
    "text": lambda x: x.astype(str),
    "too wide": lambda x: np.concatenate([x, x], -1),
    "one axis more": lambda x: x[None],
    "two axes more": lambda x: x[None, None],
    "no axis": lambda x: x[(0,) * x.ndim],
    "a number": lambda x: 0.5,
    "nothing": lambda x: x[:0],
    "NaN": with_one(np.nan, 0),
    "infinity": with_one(np.inf, -1),
    "minus infinity": with_one(-np.inf, 2),
    "the largest": with_one(np.finfo("float32").max, 2),
    "denormal": with_one(1e-44, 2),
    "minus zero": with_one(-0.0, 2),
}


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("given", GIVEN)
def test_inputs(given):
    layer, twin = twins("lstm")
    ways = (layer.step, twin.step, ()), (layer, twin, (4,)), (layer, twin, (2, 4))
    for asked, by, axes in ways:
        x = random(layer, *axes)
        state = by(x)[1]
        for _ in range(3):
            asked(x, state)
        for _ in range(3):
            assert_same(tried(asked, GIVEN[given](x), state), tried(by, GIVEN[given](x), state))
        assert_same(asked(x, state), by(x, state))  # and what was refused has left nothing behind


STATES: dict[str, Callable[[State], Any]] = {
    "a dictionary": dict,
    "a tuple": lambda state: tuple(state.values()),
    "a list": lambda state: [value.tolist() for value in state.values()],
    "one array": lambda state: state.h,
    "another name": lambda state: {"h": state.h, "d": state.c},
    "of nobody": lambda state: State(dict(state), batch=state.batch),
    "of another layer": lambda state: made(seed=3)(np.ones((4, I)))[1],
    "of another size": lambda state: made(hidden=6)(np.ones((4, I)))[1],
    "of another precision": lambda state: made(dtype="float64")(np.ones((4, I)))[1],
    "of another cell": lambda state: made(cells.gru)(np.ones((4, I)))[1],
    "of another cell of that name": lambda state: State(dict(state), cell="lstm", batch=None, equations="0"),
    "of those equations by another name": lambda state: State(dict(state), cell="other", equations=state.equations),
    "of a batch": lambda state: State.stack([state]),
    "of integers": lambda state: State({n: np.ones(H, int) for n in state}, cell="lstm", equations=state.equations),
    "with a part": lambda state: State({**state, "h": State({})}, cell="lstm", equations=state.equations),
    "with one field more": lambda state: State({**state, "d": state.h}, cell="lstm", equations=state.equations),
    "with one field less": lambda state: State({"h": state.h}, cell="lstm", equations=state.equations),
    "in another order": lambda state: State({"c": state.c, "h": state.h}, cell="lstm", equations=state.equations),
    "NaN": lambda state: state.copy(c=np.full(H, np.nan)),
    "infinity at the end": lambda state: state.copy(c=np.array([0.0] * (H - 1) + [np.inf])),
    "not a state": lambda state: "state",
}


@pytest.mark.parametrize("given", STATES)
def test_states(given):
    layer, twin = twins("lstm")
    x = random(layer)
    begun = twin(random(layer, 3))[1]
    for _ in range(3):
        layer.step(x, begun)
    for _ in range(3):
        assert_same(tried(layer.step, x, STATES[given](begun)), tried(twin.step, x, STATES[given](begun)))
    assert_same(layer.step(x, begun), twin.step(x, begun))


STATES_OF_STACKS: dict[str, Callable[[State], Any]] = {
    "a dictionary": dict,
    "a tuple": lambda state: tuple(state.values()),
    "of one layer": lambda state: state.layers[0],
    "of nobody": lambda state: State(dict(state)),
    "parts of one cell": lambda state: State({"0": state.layers[0], "1": state.layers[0]}, cell=state.cell),
    "one part": lambda state: State({"0": state.layers[0]}, cell=state.cell),
    "in another order": lambda state: State({"1": state.layers[1], "0": state.layers[0]}, cell=state.cell),
    "a part as a dictionary": lambda state: {"0": dict(state.layers[0]), "1": state.layers[1]},
    "of a batch": lambda state: State.stack([state]),
}


@pytest.mark.parametrize("given", STATES_OF_STACKS)
def test_states_of_a_stack(given):
    layer, twin = twins("stack")
    x = random(layer)
    begun = twin(random(layer, 3))[1]
    for _ in range(3):
        assert_same(layer.step(x, begun), twin.step(x, begun))
    assert is_short(layer, layer.step, x, begun)
    for _ in range(3):
        state = STATES_OF_STACKS[given](begun)
        assert_same(tried(layer.step, x, state), tried(twin.step, x, state))


def test_a_state_that_diverged():
    """A stream goes on from what the equations made; a state that a caller gives must be finite."""
    layer, twin = made(diverging), made(diverging)
    twin._may_repeat = False
    x, state, wanted = random(layer), None, None
    pools = layer.streams(2), twin.streams(2)
    for _ in range(5):
        assert_same(pools[0].push(np.stack([x, x])), pools[1].push(np.stack([x, x])))
        found, due = tried(layer.step, x, state), tried(twin.step, x, wanted)
        assert_same(found, due)
        if isinstance(due, tuple):
            state, wanted = found[1], due[1]
    assert isinstance(due, DataError)
    assert not np.isfinite(pools[0].state.h).any()


def test_a_direction_that_reads_from_the_end():
    layer = Stack([made(), Bidirectional(made(width=H), made(width=H))])
    x = random(layer, 4)
    first = layer(x)
    assert_same((layer(x), layer(x)), (first, first))
    with pytest.raises(ElmanError, match="reads from the end"):
        layer.step(x[0])


# ---------------------------------------------------------------- what is given back


def test_results_belong_to_the_caller():
    layer, _ = twins("lstm")
    x, results = random(layer, 8), []
    state = None
    for x_t in x:
        y, state = layer.step(x_t, state)
        results.append((y, state, y.copy(), {name: value.copy() for name, value in state.items()}))
        x_t[:] = np.nan  # the input is the caller's, too
    for y, state, y_then, then in results:
        np.testing.assert_array_equal(y, y_then)
        for name, value in state.items():
            np.testing.assert_array_equal(value, then[name])
            assert not value.flags.writeable
        y[:] = 0
        np.testing.assert_array_equal(state.h, then["h"])


@pytest.mark.parametrize("name", ["lstm", "learnt start", "stack"])
def test_parameters_that_change_between(name):
    layer, twin = twins(name)
    rng, x, state = np.random.default_rng(5), random(layer), None
    for _ in range(4):
        values = {n: 0.5 * rng.normal(size=value.shape) for n, value in layer.parameters.items()}
        layer.update(values)
        twin.update(values)
        for _ in range(4):
            assert_same(layer.step(x), twin.step(x))
            assert_same(layer.step(x, state), twin.step(x, state))
            state = twin.step(x, state)[1]
        some = next(iter(values))
        layer.update({some: 2 * values[some]})
        twin.update({some: 2 * values[some]})
        assert_same(layer.step(x, state), twin.step(x, state))


def test_another_target_between(monkeypatch):
    """On NumPy sums have another order, so that a call that kept to the old program shows."""
    wanted, x = {}, random(made(), 40)
    for target in ("llvm", "numpy"):
        wanted[target] = made(target=target)(x)
    assert (wanted["llvm"][0] != wanted["numpy"][0]).any()
    layer = made(target="auto")
    for target in ("llvm", "numpy", "llvm", "numpy"):
        monkeypatch.setenv("ELMAN_TARGET", target)
        for _ in range(3):
            assert_same(layer(x), wanted[target])


@pytest.mark.skipif(len(machines()) < 2, reason="there is no lesser machine")
def test_another_machine_between():
    """Bits are equal, so what tells is that each compiles a program of its own."""
    layer, x = made(), random(made(), 3)
    wanted = layer(x)
    for count, name in enumerate(machines(), 2):
        with elman.machine(name):
            for _ in range(3):
                assert_same(layer(x), wanted)
        assert len(layer._programs) == count


def test_few_shapes_are_kept():
    layer, twin = twins("lstm")
    for steps in range(1, 3 * KEPT):
        x = random(layer, steps)
        for _ in range(3):
            assert_same(layer(x), twin(x))
    assert len(layer._repeats._free) == KEPT


def test_threads_that_ask_one_layer():
    """Each goes on from its own state."""
    layer, twin = twins("lstm")
    interval = sys.getswitchinterval()
    found: dict[int, Any] = {}
    inputs = {k: random(layer, 300, seed=k) for k in range(4)}

    def run(k: int) -> None:
        state, outputs = None, []
        for x_t in inputs[k]:
            y, state = layer.step(x_t, state)
            outputs.append(y)
        found[k] = np.array(outputs), state

    threads = [threading.Thread(target=run, args=(k,)) for k in inputs]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    for k, x in inputs.items():
        assert_same(found[k], twin(x))


def test_a_call_that_comes_while_another_runs(monkeypatch):
    """Between what one copies in and its run: buffers are its own."""
    layer, twin = twins("lstm")
    x, other = random(layer), random(layer, seed=2)
    for _ in range(3):
        layer.step(x)
    run, found = Repeat.run, []

    def meanwhile(repeat: Repeat) -> bool:
        monkeypatch.setattr(Repeat, "run", run)
        found.append(layer.step(other))
        return run(repeat)

    monkeypatch.setattr(Repeat, "run", meanwhile)
    assert_same(layer.step(x), twin.step(x))
    assert_same(found[0], twin.step(other))
    assert is_short(layer, layer.step, x)


def test_parameters_that_another_thread_changes():
    """Every step is that of one set of parameters or of the other."""
    layer, x = made(), random(made())
    sets = [{n: value * factor for n, value in layer.parameters.items()} for factor in (1, 2)]
    wanted = []
    for values in sets:
        twin = made()
        twin.update(values)
        wanted.append(twin.step(x)[0].tobytes())
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            for values in sets:
                layer.update(values)

    thread, interval = threading.Thread(target=change), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        assert {layer.step(x)[0].tobytes() for _ in range(2000)} <= set(wanted)
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)
    layer.update(sets[1])
    for _ in range(3):
        assert layer.step(x)[0].tobytes() == wanted[1]


# ---------------------------------------------------------------- the check in machine code


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_check_finds_what_is_not_finite(dtype):
    """At every place of lines of memory, and nothing else."""
    kind, machine = np.dtype(dtype), current()
    memory, _ = side_by_side({"a": (3, 5), "b": (40,)}, kind)
    assert memory.nbytes % 64 == 0
    check = check_of(machine, kind)
    code = type("Code", (), {"address": 0})()
    block = block_of(code, (0, 0, 0, 0, 0), memory)
    finite = np.finfo(kind)
    for place in range(memory.size):
        for value in (
            np.nan,
            -np.nan,
            np.inf,
            -np.inf,
            finite.max,
            finite.min,
            finite.tiny,
            finite.smallest_subnormal,
            -0.0,
        ):
            memory[place] = value
            assert check(block.ctypes.data) == np.isfinite(value)
        memory[place] = 1
    for bits in (1, 1 << (22 if kind.itemsize == 4 else 51)):  # NaN of both kinds
        memory.view(f"i{kind.itemsize}")[7] = np.array(np.inf, kind).view(f"i{kind.itemsize}") + bits
        assert not check(block.ctypes.data)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_push_that_is_not_finite_leaves_the_stream_as_it_was(dtype):
    layer = made(width=19, dtype=dtype)
    rng = np.random.default_rng(0)
    stream, beside = layer.stream(), layer.stream()
    for place in range(19):
        x = rng.normal(size=19).astype(dtype)
        assert_same(stream.push(x), beside.push(x))
        wrong = with_one((np.nan, np.inf, -np.inf)[place % 3], place)(x)
        with pytest.raises(DataError, match="NaN or infinity"):
            stream.push(wrong)
        assert stream.steps == place + 1
        assert_same(stream.state, beside.state)
