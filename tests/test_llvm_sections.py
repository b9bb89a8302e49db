"""Sections of a batch, each with totals of its own: their examples, the order in which sums are made, who meets whom."""

import sys
import threading
import time
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import elman
from elman.graph import Builder, Graph
from elman.nodes import Result
from elman.passes import schedule
from elman.rooms import SIZES, SMALL, rooms
from elman.targets.llvm.added import adder
from elman.targets.llvm.calls import Call, Calls
from elman.targets.llvm.chain import KEPT, Chain, Chains
from elman.targets.llvm.machine import machines
from elman.targets.llvm.memory import address
from elman.targets.llvm.order import Rows, blocks_of, by_length, dense
from elman.targets.llvm.program import LlvmProgram
from elman.targets.llvm.sections import EACH, sections_of

if not machines():
    pytest.skip("no fused multiply-add here", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("store")
STEPS, BATCH, WIDTH = 11, 37, 19


@pytest.fixture(autouse=True)
def as_many_threads_as_before():
    yield
    elman.threads(None)


# ---------------------------------------------------------------- which examples


@pytest.mark.parametrize(("batch", "totals", "count"), [
    (1, 0, 1), (15, 0, 1), (16, 0, 2), (37, 0, 4), (64, 0, 8), (500, 0, 8),
    (64, 8 * EACH, 8), (64, 16 * EACH, 4), (64, 33 * EACH, 1), (2000, 33 * EACH, 8), (64, 10**9, 1),
])  # fmt: skip
def test_how_many_there_are_follows_from_batch_and_totals(batch, totals, count):
    assert sections_of(batch, totals) == count


@pytest.mark.parametrize(("batch", "count"), [(37, 4), (16, 2), (9, 3), (8, 8), (5, 1)])
def test_every_example_is_in_one_section_with_its_steps(batch, count):
    lengths = np.random.default_rng(batch).integers(-2, STEPS + 3, batch)
    rows = by_length(STEPS, lengths)
    parts = rows.sections(count)
    assert len(parts) == count
    assert sorted(np.concatenate([part.order for part in parts]).tolist()) == list(range(batch))
    for part in parts:
        assert all(lengths[a] >= lengths[b] for a, b in pairwise(part.order))
        assert part.running.tolist() == [sum(lengths[part.order] > step) for step in range(STEPS)]
    assert all(part is kept for part, kept in zip(parts, rows.sections(count), strict=True))


def test_sections_are_balanced_where_lengths_are_evenly_spread():
    counts = [part.count for part in by_length(64, np.arange(64)).sections(4)]
    assert max(counts) - min(counts) <= 0.02 * sum(counts)


def test_a_stretch_has_the_sections_of_the_whole():
    """Lengths that end before it, or go on beyond it, keep the order of examples."""
    lengths = np.random.default_rng(1).integers(0, 30, BATCH)
    wanted = [part.order.tolist() for part in by_length(30, lengths).sections(4)]
    for start in (7, 14, 28):
        assert [part.order.tolist() for part in by_length(7, lengths - start).sections(4)] == wanted
    assert [part.order.tolist() for part in by_length(30, np.full(BATCH, 30)).sections(4)] == [
        part.order.tolist() for part in dense(30, BATCH).sections(4)
    ]


# ---------------------------------------------------------------- what they sum up to


def summing() -> Graph:
    """Totals of a state that goes on, of an outer product, of scattered columns, and of what is made of a total."""
    b = Builder("summing")
    x, token = b.leaf("input", "x", (WIDTH,)), b.leaf("token", "token", (), (("size", 5),))
    h = b.leaf("state", "h", (WIDTH,))
    following = b.add("tanh", (b.add("add", (h, x)),))
    plain = b.add("total", (following,))
    return b.finish([
        Result("h", "state", following),
        Result("y", "output", following),
        Result("plain", "sum", plain),
        Result("outer", "sum", b.add("total", (b.add("outer", (following, x)),))),
        Result("scatter", "sum", b.add("total", (b.add("scatter", (following, token), (("columns", 5),)),))),
        Result("made", "sum", b.add("negate", (plain,))),
    ])  # fmt: skip


def given(dtype: str, steps: int = STEPS) -> tuple[dict[str, Any], dict[str, Any]]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(steps, BATCH, WIDTH)).astype(dtype)
    return {"x": x, "token": rng.integers(0, 5, (steps, BATCH))}, {"h": rng.normal(size=(BATCH, WIDTH)).astype(dtype)}


LENGTHS = np.random.default_rng(4).integers(0, STEPS + 1, BATCH)


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["dense", "lengths"])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_section_adds_in_the_order_of_its_rows_and_then_they_are_added(threads, lengths, backwards, dtype):
    elman.threads(threads)
    program = LlvmProgram(schedule(summing(), registers=True), dtype)
    inputs, states = given(dtype)
    found = program.run(program.prepare({}), inputs, states, lengths=lengths, backwards=backwards)
    assert program.sections(BATCH) == 4
    rows = dense(STEPS, BATCH) if lengths is None else by_length(STEPS, lengths)
    wanted: Any = None
    for part in rows.sections(4):
        total, scattered = np.zeros(WIDTH, dtype), np.zeros((WIDTH, 5), dtype)
        for step in range(STEPS)[:: -1 if backwards else 1]:
            for example in part.order[: part.running[step]]:
                total += found.outputs["y"][step, example]
                scattered[:, inputs["token"][step, example]] += found.outputs["y"][step, example]
        wanted = (total, scattered) if wanted is None else (wanted[0] + total, wanted[1] + scattered)
    np.testing.assert_array_equal(found.sums["plain"], wanted[0])
    np.testing.assert_array_equal(found.sums["made"], -wanted[0])
    np.testing.assert_array_equal(found.sums["scatter"], wanted[1])
    outer = np.einsum("tbi,tbj->ij", *(array.astype(float) for array in (found.outputs["y"], inputs["x"])))
    if lengths is None:
        np.testing.assert_allclose(found.sums["outer"], outer, rtol=0, atol=2e-4 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["dense", "lengths"])
def test_neither_threads_nor_stretches_change_a_bit(lengths):
    inputs, states = given("float32")
    program = LlvmProgram(schedule(summing(), registers=True), "float32")
    prepared = program.prepare({})
    wanted = program.run(prepared, inputs, states, lengths=lengths)
    for threads, cut in ((2, 4), (3, 9), (6, 1), (1, 10)):
        elman.threads(threads)
        last, totals = states, None
        for part in (slice(0, cut), slice(cut, STEPS)):
            left = None if lengths is None else lengths - part.start
            here = {name: value[part] for name, value in inputs.items()}
            found = program.run(prepared, here, last, lengths=left, totals=totals)
            last, totals = found.states, found.totals
        for name, value in wanted.sums.items():
            np.testing.assert_array_equal(found.sums[name], value, f"{name}, {threads} threads")
        np.testing.assert_array_equal(last["h"], wanted.states["h"])


def test_what_is_summed_does_not_change_with_a_section_more():
    """Against one section, up to rounding: no example is lost, or counted twice."""
    inputs, states = given("float64")
    program = LlvmProgram(schedule(summing(), registers=True), "float64")
    prepared = program.prepare({})
    wanted = sum(
        program.run(prepared, {n: v[:, k : k + 1] for n, v in inputs.items()}, {"h": states["h"][k : k + 1]}).sums["outer"]
        for k in range(BATCH)
    )
    np.testing.assert_allclose(program.run(prepared, inputs, states).sums["outer"], wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sections", [2, 3, 8])
def test_totals_are_added_as_numpy_does(dtype, sections):
    each = np.array([1, -1, 1e-3, 3e37, 1.2e-45, 0.7e-38, 0, -0.0] * 24, dtype)
    memory = np.stack([np.roll(each, 3 * k) * np.dtype(dtype).type(0.7 + k) for k in range(sections)])
    wanted = memory[0]
    for row in memory[1:]:
        wanted = wanted + row
    rest = memory[1:].copy()
    adder(dtype, sections, next(iter(machines().values()))).call(address(memory), 0, 0, 128, memory.shape[1])
    np.testing.assert_array_equal(memory[0, :128], wanted[:128])
    assert (memory[0, 128:] == each[128:] * np.dtype(dtype).type(0.7)).all()
    np.testing.assert_array_equal(memory[1:], rest)


def test_the_code_that_adds_stays():
    """Chains know it by its address alone."""
    machine = next(iter(machines().values()))
    first = adder("float32", 2, machine)
    for sections in range(3, 20):
        adder("float32", sections, machine)
    assert adder("float32", 2, machine) is first


def test_what_overflows_is_infinite_without_a_warning():
    """As where one section is summed up by machine code alone."""
    inputs, states = given("float32")
    program = LlvmProgram(schedule(summing(), registers=True), "float32")
    inputs["x"][:] = 2e36  # finite in each section
    found = program.run(program.prepare({}), inputs, states)
    assert np.isinf(found.sums["outer"]).all()


# ---------------------------------------------------------------- chains that are kept


def test_a_chain_that_is_kept_is_of_as_many_sections(monkeypatch):
    """Also where somebody changes how many there are, as tests do: totals have room for no more."""
    inputs, states = given("float32")
    program, fresh = (LlvmProgram(schedule(summing(), registers=True), "float32") for _ in range(2))
    elman.threads(2)
    for least, count in ((2, 8), (40, 1), (8, 4)):
        monkeypatch.setattr("elman.targets.llvm.sections.LEAST", least)
        assert program.sections(BATCH) == count
        found = program.run(program.prepare({}), inputs, states)
    wanted = fresh.run(fresh.prepare({}), inputs, states)
    for name, value in wanted.sums.items():
        np.testing.assert_array_equal(found.sums[name], value)


def test_threads_keep_chains_side_by_side(monkeypatch):
    """Of ever other sizes of batches, so that each forgets what others have just kept."""
    chains = Chains(LlvmProgram(schedule(plain(), registers=True), "float32"))
    monkeypatch.setattr(Chain, "run", lambda chain, order: None)
    elman.threads(2)

    def calls() -> None:
        for size in range(1, 4 * KEPT):
            chains.compute(b"", 1, SimpleNamespace(order=range(size)))

    hurried(calls)
    assert 0 < len(chains._kept) <= KEPT + 4


def test_threads_take_rooms_side_by_side():
    """Of ever other sizes, as outputs of batches that never come again do."""

    def calls() -> None:
        for size in range(4 * SIZES):
            rooms.take((SMALL + size,), np.dtype(np.uint8))

    hurried(calls)


def hurried(calls: Any) -> None:
    """Four threads, which Python changes as often as it can, call for a second, and nothing is raised."""
    errors, end, before = list[BaseException](), time.monotonic() + 1, sys.getswitchinterval()

    def work() -> None:
        try:
            while time.monotonic() < end:
                calls()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not errors


# ---------------------------------------------------------------- who meets whom


def plain() -> Graph:
    """No totals: examples fall into sections only for company."""
    b = Builder("plain")
    x, h = b.leaf("input", "x", (WIDTH,)), b.leaf("state", "h", (WIDTH,))
    return b.finish([Result("h", "state", b.add("tanh", (b.add("add", (h, x)),)))])


def meetings(threads: int, batch: int = BATCH) -> int:
    """How often threads meet in a chain of a program without totals, and one with such."""
    calls = []
    for graph in (plain(), summing()):
        program = LlvmProgram(schedule(graph, registers=True), "float32")
        names = program.table.names
        calls.append(Call(program, np.zeros(len(names), np.int64).tobytes(), STEPS, batch))
    made = Calls(calls, None, threads)
    return int((made._rows[0, :, 0] == made._functions.meet).sum())


def test_threads_that_keep_their_examples_do_not_meet_between_programs():
    assert meetings(1) == 0
    assert meetings(2) == meetings(4) == 0
    assert meetings(3) == 1  # four sections, but thirds of the examples forward
    assert meetings(2, batch=9) == 1  # one section


def test_rows_of_no_steps_are_cut_as_well():
    rows = Rows(np.arange(6), np.zeros(0, np.int64))
    assert [part.order.tolist() for part in rows.sections(2)] == [[0, 4, 5], [1, 2, 3]]
    assert [len(part.running) for part in rows.sections(2)] == [0, 0]
    assert blocks_of(6, 2)[0] == (slice(0, 1), slice(4, 6))
