"""The compiled target against the interpreter, by value: every gate wherever its inputs stand, every cell of the library."""

from itertools import product
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from elman import RNN, cells
from elman.gates import GATES as ALL_GATES
from elman.graph import Builder
from elman.nodes import LEAVES, Result
from elman.passes import schedule
from elman.targets.interpreter import Interpreter
from elman.targets.llvm.machine import machines
from elman.targets.llvm.program import LlvmProgram
from elman.targets.llvm.target import GATES, LlvmTarget, compiles
from elman.targets.numpy import NumpyProgram
from test_gates import Case, random_inputs

if not machines():
    pytest.skip("no fused multiply-add here", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("store")
LIMITS = {"float32": 2e-6, "float64": 1e-14}
"""How far values may lie from the interpreter's, relative to the largest of an array."""


def assert_near(found: Any, wanted: Any, dtype: str) -> None:
    for kind in ("outputs", "states"):
        for name, value in getattr(wanted, kind).items():
            got = getattr(found, kind)[name]
            assert (got.shape, got.dtype) == (value.shape, np.dtype(dtype)), name
            assert np.isfinite(value).all(), name
            scale = np.abs(value).max(initial=0.0)
            np.testing.assert_allclose(got, value, rtol=0, atol=LIMITS[dtype] * scale, err_msg=f"{kind} {name}")


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("name", cells.CELLS)
def test_cells_of_the_library_against_the_interpreter(name, dtype):
    """Eight steps of one example, by the code for one; `test_llvm_target.py` has batches, which have the same bits."""
    made, rng = cells.CELLS[name], np.random.default_rng([11, *name.encode()])
    drawn = {"input": 13, "hidden": 19}
    sizes = {size: drawn.get(size, 11) for size in made.sizes} if name != "clockwork" else {"input": 7, "hidden": 20}
    first = RNN(made, dtype=dtype, target="llvm", seed=1, **sizes)
    graph, plan = first.graph, first.plan
    parameters = {n: (v + 0.1 * rng.normal(size=v.shape)).astype(dtype) for n, v in first.parameters.items()}
    x = {n: rng.normal(size=(8, 1, *graph.nodes[i].shape)).astype(dtype) for n, i in graph.leaves("input").items()}
    states = {n: 0.5 * rng.normal(size=(1, *graph.nodes[i].shape)) for n, i in graph.leaves("state").items()}
    states = {n: value.astype(dtype) for n, value in states.items()}
    found, wanted = (
        way.run(way.prepare(parameters), x, states) for way in (LlvmProgram(plan, dtype), Interpreter(plan, dtype))
    )
    assert_near(found, wanted, dtype)


WIDE = {
    "softmax": [((37,),), ((1,),)],
    "log_softmax": [((37,),), ((3,),)],
    "product": [((19, 23), (23,)), ((1, 1), (1,))],
    "outer": [((19,), (7,)), ((1,), (33,))],
    "transpose": [((19, 7),)],
    "sum": [((37,),), ((3, 19),), ((2,),)],
    "mean": [((37,),), ((3, 19),)],
    "concatenate": [((2,), (17,), (1,)), ((1, 19), (2, 19)), ((4,),)],
    "lookup": [((19, 5), 5)],
    "cross_entropy": [((37,), 37)],
}
SETTINGS: dict[str, list[tuple[Any, dict[str, Any]]]] = {
    "expand": [(((),), {"shape": (37,)}), (((),), {"shape": (3, 19)})],
    "slice": [
        (((37,),), {"start": 2, "stop": 35}),
        (((9, 19),), {"start": 1, "stop": 8}),
        (((6,),), {"start": 4, "stop": 6}),
    ],
    "one_hot": [((37,), {"size": 37})],
    "pad": [(((19,),), {"before": 1, "after": 2}), (((2, 19),), {"before": 1, "after": 2})],
}
COUNTS = {"where": 3} | dict.fromkeys(
    ("add", "subtract", "multiply", "divide", "maximum", "minimum", "greater", "detach"), 2
)


def gate_cases(name: str) -> list[Case]:
    """Shapes larger than a vector, smaller, and of one number."""
    if name in SETTINGS:
        return [Case(shapes, list, settings) for shapes, settings in SETTINGS[name]]
    if name in WIDE:
        return [Case(shapes, list) for shapes in WIDE[name]]
    return [Case((shape,) * COUNTS.get(name, 1), list) for shape in ((37,), (3, 19), ())]


TAKEN = sorted(GATES - {*LEAVES, "total"})  # a total has tests of its own


def test_the_target_takes_every_gate_but_those_of_sums_over_steps():
    assert set(ALL_GATES) - set(TAKEN) == {"scatter", "total"}


def placed(name: str) -> list[tuple[Case, tuple[str, ...]]]:
    """Cases of a gate and the places of their inputs: all, or (of several inputs) all pairs of places over the cases.

    Of the elementwise gates only one reads from all pairs of places, for no word is told where its values stood.
    """
    found: list[tuple[Case, tuple[str, ...]]] = []
    for k, case in enumerate(gate_cases(name)):
        every = ("input", "state", "parameter", "constant")
        options = [("token",) if isinstance(shape, int) else every for shape in case.shapes]
        kinds = [kinds for kinds in product(*options) if set(kinds) != {"constant"}]
        if name == "detach":  # of a state, where an input says so
            kinds = [("state", "input")]
        elif ALL_GATES[name].elementwise and name != "subtract":
            kinds = kinds[k :: max(3, len(kinds) // 2)]
        elif len(options) > 1:
            kinds = kinds[k :: {"subtract": 3, "concatenate": 7}.get(name, len(gate_cases(name)))]
        found += [(case, each) for each in kinds]
    return found


@pytest.mark.parametrize(("dtype", "rows"), [("float32", 5), ("float64", 1)])
@pytest.mark.parametrize("name", TAKEN)
def test_every_gate_against_the_interpreter(name, dtype, rows):
    """Its inputs brought by a step, carried, computed once, or written in the equations; in the loop and outside of it.

    Every other result becomes a state, so that a gate that reads states stands in the loop.
    """
    steps, builder, drawn = 3, Builder(name), {"parameter": {}, "input": {}, "state": {}, "token": {}}
    results = []
    for k, (case, kinds) in enumerate(placed(name)):
        values = [[random_inputs(name, case, 100 * k + 10 * t + b) for b in range(rows)] for t in range(steps)]
        operands = []
        for i, (kind, shape) in enumerate(zip(kinds, case.shapes, strict=True)):
            value, leaf = np.array([[row[i] for row in step] for step in values]), f"x{k}_{i}"
            if kind == "constant":
                operands.append(builder.constant(value[0, 0]))
                continue
            attributes = (("size", shape),) if kind == "token" else ()
            operands.append(builder.leaf(kind, leaf, () if kind == "token" else shape, attributes))
            chosen = {"parameter": value[0, 0], "state": value[0]}.get(kind, value)
            drawn[kind][leaf] = chosen if kind == "token" else chosen.astype(dtype)
            if kind == "state":
                results.append(Result(leaf, "state", operands[-1]))
        y = builder.add(name, operands, tuple(case.attributes.items()))
        results.append(Result(f"y{k}", "output", y))
        if k % 2:
            shape = builder.nodes[y].shape
            builder.leaf("state", f"last{k}", shape)
            drawn["state"][f"last{k}"] = np.zeros((rows, *shape), dtype)
            results.append(Result(f"last{k}", "state", y))
    if not drawn["input"] | drawn["token"]:
        drawn["input"]["clock"] = np.zeros((steps, rows, 1), dtype)
        builder.leaf("input", "clock", (1,))
    plan = schedule(builder.finish(results))
    assert compiles(plan.graph)
    made, oracle = LlvmTarget()(plan, dtype), Interpreter(plan, dtype)
    assert isinstance(made, LlvmProgram)
    with np.errstate(all="ignore"):
        wanted = oracle.run(oracle.prepare(drawn["parameter"]), drawn["input"] | drawn["token"], drawn["state"])
    found = made.run(made.prepare(drawn["parameter"]), drawn["input"] | drawn["token"], drawn["state"])
    assert_near(found, wanted, dtype)


def test_what_cannot_be_compiled_runs_on_numpy():
    """Sums over steps, and what only gradients need."""
    builder = Builder("scatter")
    x, token = builder.leaf("input", "x", (4,)), builder.leaf("token", "v", (), (("size", 3),))
    y = builder.add("scatter", [x, token], (("columns", 3),))
    plan = schedule(builder.finish([Result("y", "output", y)]))
    made = LlvmTarget()(plan, "float32")
    assert isinstance(made, NumpyProgram)
    rng = np.random.default_rng(12)
    given = {"x": rng.normal(size=(2, 3, 4)).astype(np.float32), "v": rng.integers(0, 3, (2, 3))}
    found = made.run(made.prepare({}), given, {}).outputs["y"]
    np.testing.assert_array_equal(found, np.einsum("tbi,tbj->tbij", given["x"], np.eye(3, dtype=np.float32)[given["v"]]))
