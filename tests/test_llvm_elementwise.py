"""Compiled optimisers, sums of squares and moves: the bits of NumPy, of a literal loop, and of any number of threads."""

import itertools
import math

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import elman
from elman import data, optim, schedules
from elman.optim import SGD, Adagrad, Adam, AdamW, RMSProp, clip_by_norm, global_norm
from elman.targets import elementwise, llvm, target
from elman.targets.interpreter import InterpreterTarget
from elman.targets.llvm.elementwise import LlvmElementwise, sums_of_squares
from elman.targets.llvm.machine import machines
from elman.targets.llvm.moves import Move, Moves
from elman.updates import SWEEP, _traced

if not machines():
    pytest.skip("no fused multiply-add here", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("store")
MACHINES = list(machines().values())
TYPES = ("float32", "float64")
CASES = (
    SGD(weight_decay=0.3),
    SGD(momentum=0.8, nesterov=True),
    Adagrad(epsilon=0.1),
    RMSProp(decay=0.6, momentum=0.7, weight_decay=0.2),
    Adam(beta1=0.5, beta2=0.7, weight_decay=0.4),
    AdamW(weight_decay=0.7),
)
SIZES = (0, 1, 3, 16, 37, 4100)


def given(rule, dtype, seed):
    """Arrays of every input: numbers of all magnitudes, denormal ones, zeros; and one that is not finite."""
    rng = np.random.default_rng(seed)
    found = {}
    for name in ("p", "g", *rule.kinds):
        arrays = [(rng.normal(size=n) * 10.0 ** rng.integers(-22, 5, n)).astype(dtype) for n in SIZES]
        arrays[3][:4] = 0.0, -0.0, np.finfo(dtype).tiny / 8, -np.finfo(dtype).tiny / 3
        found[name] = [np.abs(array) for array in arrays] if name == "second" else arrays
    found["g"][4][-1] = math.inf
    return found


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("rule", CASES, ids=repr)
def test_a_compiled_rule_has_the_bits_of_numpy_and_of_the_interpreter(rule, dtype):
    for count, machine in itertools.product((3, SWEEP), MACHINES):
        graph = _traced(rule, np.dtype(dtype) if count == SWEEP else None)
        inputs, numbers = given(rule, dtype, count), rule.numbers(0.1, count) | {"scale": 0.7}
        with np.errstate(all="ignore"):
            wanted, _ = elementwise.NumpyElementwise(graph, dtype)(inputs, numbers)
            oracle, _ = InterpreterTarget().elementwise(graph, np.dtype(dtype))(inputs, numbers)
        found, is_finite = LlvmElementwise(graph, dtype, machine)(inputs, numbers)
        assert not is_finite
        outputs = "new_p", *(f"new_{kind}" for kind in rule.kinds)
        for name, ours, slow, value in zip(outputs, found, oracle, wanted, strict=True):
            np.testing.assert_array_equal(ours, value, err_msg=f"{machine.name} {name}", strict=True)
            np.testing.assert_array_equal(slow, value, err_msg=name)
            plain = ~np.isnan(value)  # which NaN it is nobody promises
            assert ours[plain].tobytes() == value[plain].tobytes()
        in_one = {name: np.concatenate(arrays) for name, arrays in inputs.items() if name != "g"} | {"g": inputs["g"]}
        mixed, _ = LlvmElementwise(graph, dtype, machine)(in_one, numbers)
        for ours, value in zip(mixed, found, strict=True):
            np.testing.assert_array_equal(ours, value)


def test_wherever_a_number_is_not_finite_it_is_noticed():
    graph, numbers = _traced(SGD(), None), {"scale": 1.0, "rate": 0.5}
    for machine, at in itertools.product(MACHINES, (0, 15, 16, 40)):
        run, g = LlvmElementwise(graph, "float32", machine), np.ones(41, np.float32)
        assert run({"p": [g], "g": [g]}, numbers)[1]
        g[at] = math.nan
        assert not run({"p": [np.ones_like(g)], "g": [g]}, numbers)[1]


def literal_sums(array):
    """Lane by lane, one number after another."""
    found, flat = [], array.ravel().tolist()
    for start in range(0, len(flat), elementwise.PART):
        lanes = [0.0] * elementwise.LANES
        for j, x in enumerate(flat[start : start + elementwise.PART]):
            lanes[j % elementwise.LANES] += x * x
        while len(lanes) > 1:
            half = len(lanes) // 2
            lanes = [x + y for x, y in zip(lanes[:half], lanes[half:], strict=True)]
        found += lanes
    return found


@pytest.mark.parametrize("dtype", TYPES)
def test_sums_of_squares_are_those_of_a_literal_loop(dtype):
    rng = np.random.default_rng(1)
    arrays = [(rng.normal(size=n) * 10.0 ** rng.integers(-20, 18, n)).astype(dtype) for n in (0, 1, 63, 64, 65, 4095, 8193)]
    arrays += [rng.normal(size=(90, 100)).astype(dtype).T, rng.normal(size=(70, 70)).astype(dtype)[::2]]
    wanted = [total for array in arrays for total in literal_sums(array)]
    assert elementwise.sums_of_squares(arrays) == wanted
    for machine in MACHINES:
        assert sums_of_squares(arrays, machine) == wanted, machine.name


def test_a_norm_is_the_same_on_every_target_and_exact_where_it_is_large(monkeypatch):
    arrays = {"w": np.full((100, 100), 1e30, np.float32), "b": np.array([3e25])}
    told = []
    for name in ("numpy", "llvm"):
        monkeypatch.setenv("ELMAN_TARGET", name)
        told.append(global_norm(arrays))
        assert math.isnan(global_norm({"w": np.array([1.0, math.nan]), "b": np.array([math.inf])}))
        with np.errstate(over="ignore"):
            assert global_norm({"w": np.array([1e200, 1.0])}) == math.inf
    assert told[0] == told[1] == pytest.approx(1e32, rel=1e-7)


@pytest.mark.parametrize("dtype", TYPES)
def test_threads_change_no_bit(dtype, monkeypatch):
    monkeypatch.setenv("ELMAN_TARGET", "llvm")
    rng = np.random.default_rng(2)
    p, g = (
        {n: rng.normal(size=s).astype(dtype) for n, s in {"w": (90, 77), "b": (5,), "u": (64, 64)}.items()} for _ in "pg"
    )
    found = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(llvm.elementwise, "ENOUGH", 1 << 10)
        elman.threads(threads)
        try:
            new, memory = Adam().update(p, g, Adam().memory(p), 0.1)
            found.append((global_norm(g), [new[n].tobytes() for n in p], [memory[n].tobytes() for n in memory]))
            g["u"][-1, -1], before = math.nan, g["u"][-1, -1]
            assert not Adam().update(p, g, Adam().memory(p), 0.1)[0].are_finite
            g["u"][-1, -1] = before
        finally:
            elman.threads(None)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_moves_are_those_of_a_literal_loop(machine, dtype):
    rng, full = np.random.default_rng(3), machine.bytes // np.dtype(dtype).itemsize
    for _ in range(80):
        rows, width, together = (int(n) for n in (*rng.integers(1, 70, 2), rng.integers(1, 4)))
        lanes, fill = int(rng.choice([1, 2, 4, full, full])), bool(rng.integers(2))
        kinds = (
            lambda r, c: rng.normal(size=(r, c)),
            lambda r, c: rng.normal(size=(c, r)).T,
            lambda r, c: rng.normal(size=(2 * r, 3 * c))[::2, ::3],
        )
        matrices = [rng.choice(kinds)(rows, width).astype(dtype, order="K") for _ in range(together)]
        blocks, each = -(-rows // lanes), together * lanes
        moves = [Move(rows, width, lanes, k * lanes, width * each, each, fill) for k in range(together)]
        found = np.full(blocks * width * each, 7, dtype)
        made, other = Moves(moves, np.dtype(dtype), machine), found.copy()
        made.run(matrices, tuple(matrix.strides for matrix in matrices), found)
        made.run_on_numpy(matrices, other)
        wanted = np.full((blocks, width, together, lanes), 0 if fill else 7, dtype)
        for k, r, c in itertools.product(range(together), range(rows), range(width)):
            wanted[r // lanes, c, k, r % lanes] = matrices[k][r, c]
        np.testing.assert_array_equal(found, wanted.ravel())
        np.testing.assert_array_equal(other, wanted.ravel())


# ---------------------------------------------------------------- a training


def trained(name, monkeypatch, threads=1):
    """Losses, norms and parameters of a training, and those of a loop that is written out."""
    monkeypatch.setenv("ELMAN_TARGET", name)
    elman.threads(threads)
    try:
        source = [data.Streams(np.arange(300) % 11 % 7, batch=5, length=9, seed=2) for _ in range(2)]
        models = [elman.Model(7, 19, 4, elman.cells.lstm, seed=3) for _ in range(2)]
        trainer = elman.Trainer(models[0], source[0], optim.AdamW(), schedules.Constant(0.05), steps=9, clip=0.1)
        told = [(now.loss, now.norm) for now in trainer]
        memory, state, written = AdamW().memory(models[1].parameters), None, []
        for _ in range(9):
            batch = source[1].take()
            loss, g, state = models[1].gradients(batch.x, batch.targets, None if batch.anew else state)
            g, norm = clip_by_norm(g, 0.1)
            new, memory = AdamW().update(models[1].parameters, g, memory, 0.05)
            models[1].update(new)
            written.append((loss, norm))
        return told, written, *({n: p.tobytes() for n, p in model.parameters.items()} for model in models)
    finally:
        elman.threads(None)


def test_a_training_is_the_loop_that_one_would_write(monkeypatch):
    for name, threads in (("llvm", 1), ("llvm", 2), ("numpy", 1)):
        told, written, one, other = trained(name, monkeypatch, threads)
        assert told == written
        assert max(norm for _, norm in told) > 0.1  # gradients are clipped
        assert one == other


def test_a_trainer_goes_on_from_parameters_that_are_set_meanwhile():
    def make():
        model = elman.Model(7, 5, None, seed=1)
        source = data.Streams(np.arange(90) % 7, batch=2, length=8, seed=0)
        return elman.Trainer(model, source, optim.Adam(), schedules.Constant(0.01), steps=9)

    one, other = make(), make()
    for trainer in (one, other):
        [next(trainer) for _ in range(3)]
    before = dict(one.model.parameters.items())
    kept = {name: value.copy() for name, value in before.items()}
    one.model.update({"by": np.full(7, 0.25)})
    other.restore(one.checkpoint())  # which copies everything
    assert [now.loss for now in one] == [now.loss for now in other]
    for name, value in before.items():
        np.testing.assert_array_equal(value, kept[name])
        assert not value.flags.writeable


def test_types_without_machine_code_run_on_numpy():
    p = {"w": np.linspace(-1, 1, 7).astype(np.float16)}
    compiled = target("llvm").elementwise(_traced(SGD(), None), np.float16)
    found, is_finite = compiled({"p": [p["w"]], "g": [p["w"]]}, {"scale": 1.0, "rate": 0.5})
    assert is_finite
    np.testing.assert_array_equal(found[0], p["w"] - np.float16(0.5) * p["w"])
