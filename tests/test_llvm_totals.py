"""Totals over steps and examples on the compiled target: against the interpreter, and the same bits however asked."""

from itertools import product
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import elman
from elman.graph import Builder, Graph
from elman.nodes import Result
from elman.passes import schedule
from elman.targets.interpreter import Interpreter
from elman.targets.llvm.machine import machines
from elman.targets.llvm.program import LlvmProgram
from elman.targets.llvm.target import compiles
from elman.targets.llvm.totals import tile_of
from elman.targets.numpy import NumpyProgram

if not machines():
    pytest.skip("no fused multiply-add here", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("store", "small_sections")
LIMITS = {"float32": 2e-6, "float64": 1e-14}
STEPS, BATCH = 7, 5
LENGTHS = np.array([3, 7, 0, 1, 6])
VOCABULARY = 6


def summing(left: tuple[int, ...], right: tuple[int, ...], where: str) -> Graph:
    """Totals of what stands in one place: a value, an outer product, scattered columns, and a part; with a state beside."""
    b = Builder("summing")
    x, z = b.leaf("input", "x", left), b.leaf("input", "z", right)
    token = b.leaf("token", "token", (), (("size", VOCABULARY),))
    h = b.leaf("state", "h", left)
    following = b.add("tanh", (b.add("add", (h, x)),))
    value = {"input": x, "state": h, "before": b.add("exp", (x,)), "loop": following, "after": b.add("multiply", (h, x))}[
        where
    ]
    results = [
        Result("h", "state", following),
        Result("y", "output", value),
        Result("plain", "sum", b.add("total", (value,))),
    ]
    if len(left) == 1:
        part = b.add("slice", (value,), (("start", 0), ("stop", max(1, left[0] // 2))))
        outer, scattered = b.add("outer", (value, z)), b.add("scatter", (value, token), (("columns", VOCABULARY),))
        turned, parted = b.add("outer", (z, value)), b.add("outer", (part, z))
        for name, node in (("outer", outer), ("scatter", scattered), ("turned", turned), ("part", parted)):
            results.append(Result(name, "sum", b.add("total", (node,))))
        results.append(Result("finished", "sum", b.add("negate", (results[-4].node,))))
    return b.finish(results)


def arguments(graph: Graph, dtype: str, steps: int = STEPS, batch: int = BATCH) -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    shapes = {name: graph.nodes[index].shape for name, index in graph.leaves("input").items()}
    inputs = {name: rng.normal(size=(steps, batch, *shape)).astype(dtype) for name, shape in shapes.items()}
    inputs["token"] = rng.integers(0, VOCABULARY, (steps, batch))
    return inputs, {"h": rng.normal(size=(batch, *shapes["x"])).astype(dtype)}


SHAPES = [
    (((), ()), "float32"),
    (((1,), (1,)), "float64"),
    (((2,), (17,)), "float32"),
    (((19,), (7,)), "float64"),
    (((40,), (70,)), "float32"),
    (((13,), (130,)), "float32"),
    (((3, 5), (2,)), "float64"),
    (((2, 19), (1,)), "float32"),
]


@pytest.mark.parametrize(("shapes", "dtype"), SHAPES)
@pytest.mark.parametrize("where", ["input", "state", "before", "loop", "after"])
def test_totals_against_the_interpreter(where, shapes, dtype):
    graph = summing(*shapes, where)
    assert compiles(graph)
    inputs, states = arguments(graph, dtype)
    plan = schedule(graph, registers=True)
    for lengths, backwards in product((None, LENGTHS), (False, True)):
        ways = LlvmProgram(plan, dtype), Interpreter(plan, dtype), NumpyProgram(schedule(graph), dtype)
        how: dict[str, Any] = {"lengths": lengths, "backwards": backwards}
        found, wanted, also = (way.run(way.prepare({}), inputs, states, **how) for way in ways)
        assert found.sums.keys() == wanted.sums.keys()
        for name, value in wanted.sums.items():
            assert found.sums[name].shape == value.shape
            for got in (found.sums[name], also.sums[name]):
                limit = LIMITS[dtype] * STEPS * max(1.0, np.abs(value).max())
                np.testing.assert_allclose(got, value, rtol=0, atol=limit, err_msg=name)


@pytest.mark.parametrize("registers", [32, 16])
@pytest.mark.parametrize("blocks", range(1, 12))
def test_registers_hold_the_sums_of_a_tile(blocks, registers):
    tall, wide = tile_of(blocks, registers)
    assert tall >= 1
    assert 1 <= wide <= blocks
    assert tall * wide + wide + 1 <= registers


@pytest.mark.parametrize(("left", "right"), [((40,), (70,)), ((13,), (130,)), ((64,), (64,))])
def test_bits_do_not_depend_on_threads_widths_and_stretches(left, right, monkeypatch):
    graph = summing(left, right, "loop")
    inputs, states = arguments(graph, "float32", 60, 9)
    lengths = np.random.default_rng(5).integers(0, 61, 9)

    def sums(name: str | None = None, cut: int = 60, threads: int = 1, rows: int = 99) -> dict[str, Any]:
        elman.threads(threads)
        monkeypatch.setattr("elman.targets.llvm.sharing.ROWS", rows)  # lanes are shared, or examples
        monkeypatch.setattr("elman.targets.llvm.chain.ENOUGH", 1.0)
        monkeypatch.setattr("elman.targets.llvm.sharing.MEET", 1.0)
        program = LlvmProgram(schedule(graph, registers=True), "float32", machines()[name] if name else None)
        prepared, last, totals = program.prepare({}), states, None
        for part in (slice(0, cut), slice(cut, 60)):
            here = {key: value[part] for key, value in inputs.items()}
            if len(here["x"]):
                found = program.run(prepared, here, last, lengths=lengths - part.start, totals=totals)
                last, totals = found.states, found.totals
        return found.sums

    try:
        wanted = sums()
        others = [sums(name) for name in machines()] + [sums(cut=17), sums(threads=2), sums(threads=3, cut=31)]
        others += [sums(threads=2, rows=1), sums(threads=3, cut=31, rows=1), sums(threads=5, rows=1)]
    finally:
        elman.threads(None)
    for other in others:
        for name, value in wanted.items():
            assert value.any()
            np.testing.assert_array_equal(other[name], value, err_msg=name)


def test_what_is_not_summed_by_rows_runs_on_numpy():
    b = Builder("odd")
    w = b.leaf("parameter", "w", (3,))
    x = b.leaf("input", "x", ())
    shared, expanded = b.add("total", (b.add("exp", (w,)),)), b.add("expand", (x,), (("shape", (3,)),))
    assert not compiles(b.finish([Result("w", "sum", shared)]))
    assert not compiles(b.finish([Result("w", "sum", b.add("total", (expanded,)))]))
