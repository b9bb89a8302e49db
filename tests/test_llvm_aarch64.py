"""Machine code for 64-bit ARM, run by an emulator: the same bits as on this machine.

A program for a machine with NEON is asked to run here; instead of running, its calls are written down: every number of the
kernel's table, and what stands at every address of it. A small C program, linked with the kernel's code for ARM, puts the
memory back elsewhere, runs the kernel on a thread for each call, and gives all of it back. It needs Debian's
`gcc-aarch64-linux-gnu` (with `libc6-dev-arm64-cross`) and `qemu-user`; without them these tests are skipped.
"""

import ctypes
import shutil
import subprocess
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import llvmlite.binding as llvm

import elman
from elman import cells
from elman.passes import Plan, lower, schedule
from elman.targets.llvm import engine
from elman.targets.llvm.crew import crew
from elman.targets.llvm.follow import WORDS
from elman.targets.llvm.machine import Machine, machines
from elman.targets.llvm.program import LlvmProgram
from elman.testing import random_cell

TRIPLE, COMPILER = "aarch64-linux-gnu", "aarch64-linux-gnu-gcc"
EMULATOR = next(filter(None, map(shutil.which, ("qemu-aarch64", "qemu-aarch64-static"))), None)
NEON = Machine("neon", "generic", "+neon,+fp-armv8", 16, 32)
PAGE, MOST, WORKSPACE, NUMBERS = 4096, 1 << 17, 1 << 24, 4
"""Bytes of a page, of what is written down at an address (at most), of a workspace there; numbers that a call is given."""

MAIN = r"""
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 16, NUMBERS = 4 };

/* What a kernel is given: its table, a workspace, and up to NUMBERS whole numbers. */
void run(void *, void *, int64_t, int64_t, int64_t, int64_t);

static int64_t *table, numbers[THREADS][NUMBERS];
static char *workspaces[THREADS];

static int64_t number(void) {
    int64_t value;
    if (fread(&value, 8, 1, stdin) != 1) exit(2);
    return value;
}

static void *part(void *given) {
    int64_t k = (int64_t)given, *n = numbers[k];
    run(table, workspaces[k], n[0], n[1], n[2], n[3]);
    return NULL;
}

/* In: bytes of a workspace, how many threads; for each the number of its workspace, its NUMBERS; how many entries of the
   table; for each what it is, or -1 and an array: its size, its bytes. Out: the bytes of all arrays. */
int main(void) {
    int64_t room = number(), threads = number();
    char *each[THREADS] = {0};
    pthread_t started[THREADS];
    for (int64_t k = 0; k < threads; k++) {
        int64_t which = number();
        if (!each[which]) {
            each[which] = aligned_alloc(64, room);
            memset(each[which], 0xff, room); /* NaN, wherever it is read before it is written */
        }
        workspaces[k] = each[which];
        for (int i = 0; i < NUMBERS; i++) numbers[k][i] = number();
    }
    int64_t count = number(), *sizes = calloc(count, 8);
    table = malloc(8 * count);
    for (int64_t i = 0; i < count; i++) {
        table[i] = number();
        if (table[i] != -1) continue;
        sizes[i] = number();
        char *array = aligned_alloc(64, (sizes[i] + 63) / 64 * 64);
        table[i] = (int64_t)array;
        if (sizes[i] && fread(array, sizes[i], 1, stdin) != 1) return 2;
    }
    for (int64_t k = 0; k < threads; k++)
        if (pthread_create(&started[k], NULL, part, (void *)k)) return 3;
    for (int64_t k = 0; k < threads; k++) pthread_join(started[k], NULL);
    for (int64_t i = 0; i < count; i++)
        if (sizes[i] && fwrite((void *)table[i], sizes[i], 1, stdout) != 1) return 2;
    return fflush(stdout) != 0;
}
"""


def why_not() -> str:
    """What is missing, if something is."""
    if not machines():
        return "no fused multiply-add here"
    if EMULATOR is None or shutil.which(COMPILER) is None:
        return f"needs {COMPILER} and qemu-aarch64 (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)"
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        llvm.Target.from_triple(TRIPLE)
    except RuntimeError as error:
        return f"this build of LLVM has no 64-bit ARM ({error})"
    return ""


missing = why_not()
pytestmark = [pytest.mark.skipif(bool(missing), reason=missing), pytest.mark.usefixtures("store")]


@pytest.fixture(scope="module")
def main(tmp_path_factory) -> Path:
    """The C program, compiled."""
    folder = tmp_path_factory.mktemp("aarch64")
    (folder / "main.c").write_text(MAIN, encoding="utf-8")
    command = [COMPILER, "-O1", "-Wall", "-pthread", "-c", "main.c", "-o", "main.o"]
    subprocess.run(command, cwd=folder, check=True, timeout=60)
    return folder / "main.o"


# ---------------------------------------------------------------- what a call was given


def readable(address: int) -> int:
    """Bytes that can be read from an address on, MOST at most; 0 if it is none."""
    with open("/proc/self/maps", encoding="utf-8") as file:
        spans = [line.split()[:2] for line in file]
    end = address
    for span, rights in spans:
        start, stop = (int(part, 16) for part in span.split("-"))
        if start <= end < stop and "r" in rights:
            end = stop
    return min(end - address, MOST)


class Calls:
    """The calls of a kernel, one for each thread, written down; entries of the table that can be read from are addresses."""

    def __init__(self) -> None:
        self.lock, self.entries, self.memory = Lock(), list[int](), dict[int, bytes]()
        self.workspaces, self.numbers = list[int](), list[tuple[int, ...]]()

    def add(self, table: Any, workspace: int, *numbers: int) -> None:
        """Write a call down; it takes part in the same work as those before it."""
        entries = np.frombuffer(table, np.int64).tolist()
        with self.lock:
            assert self.entries in ([], entries)
            self.workspaces.append(workspace)
            self.numbers.append((*numbers, *[0] * (NUMBERS - len(numbers))))
            if not self.entries:
                self.entries = entries
                sizes = {k: readable(entry) for k, entry in enumerate(self.entries) if entry >= PAGE}
                self.memory = {k: ctypes.string_at(self.entries[k], size) for k, size in sizes.items() if size}

    def text(self) -> bytes:
        """As the C program reads it."""
        which = list(dict.fromkeys(self.workspaces))
        numbers = [WORKSPACE, len(self.numbers)]
        for workspace, given in zip(self.workspaces, self.numbers, strict=True):
            numbers += [which.index(workspace), *given]
        parts = [np.array([*numbers, len(self.entries)], np.int64).tobytes()]
        for k, entry in enumerate(self.entries):
            held = self.memory.get(k)
            parts.append(np.array([entry] if held is None else [-1, len(held)], np.int64).tobytes() + (held or b""))
        return b"".join(parts)

    def found(self, given: bytes) -> dict[int, bytes]:
        """The memory afterwards, by address."""
        assert len(given) == sum(map(len, self.memory.values()))
        after, at = {}, 0
        for k, held in self.memory.items():
            after[self.entries[k]] = given[at : at + len(held)]
            at += len(held)
        return after


def object_for_arm(text: str) -> bytes:
    """Compiled as it is for this machine, but for the processor."""
    settings = {"cpu": NEON.cpu, "features": NEON.features, "opt": 3, "reloc": "static", "codemodel": "small"}
    target = llvm.Target.from_triple(TRIPLE).create_target_machine(**settings)
    data: bytes = target.emit_object(engine._optimised(text, target))
    return data


class Problem:
    """A cell at odd sizes, asked in some way; as in `test_llvm_target.py`."""

    def __init__(self, cell: elman.Cell, dtype: str, batch: int, *, tokens: bool, carry: bool, **sizes: int) -> None:
        rng, self.dtype = np.random.default_rng([*cell.name.encode()]), dtype
        carries = {"reset"} if carry else set()
        self.plan: Plan = schedule(lower(cell.graph(**sizes), carry=carries, tokens=tokens, merging=False))
        graph, nodes, axes = self.plan.graph, self.plan.graph.nodes, (6, batch)
        self.parameters = {n: self.draw(rng, nodes[i].shape, 0.4) for n, i in graph.leaves("parameter").items()}
        self.inputs = {n: self.draw(rng, (*axes, *nodes[i].shape)) for n, i in graph.leaves("input").items()}
        for leaf, index in graph.leaves("token").items():
            self.inputs[leaf] = rng.integers(0, int(nodes[index].settings["size"]), axes)
        for flag in (leaf for leaf in self.inputs if leaf.startswith("step_is")):
            self.inputs[flag] = (rng.random(axes) < 0.3).astype(dtype)
        self.states = {n: self.draw(rng, (batch, *nodes[i].shape)) for n, i in graph.leaves("state").items()}
        self.lengths = rng.permutation(batch) % 7 if batch > 1 else None

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], scale: float = 1.0) -> np.ndarray:
        return (scale * rng.normal(size=shape)).astype(self.dtype)

    def run(self, machine: Machine | None = None) -> dict[str, np.ndarray]:
        made = LlvmProgram(self.plan, self.dtype, machine)
        outcome = made.run(made.prepare(self.parameters), self.inputs, self.states, lengths=self.lengths)
        return {**outcome.outputs, **{f"state {name}": value for name, value in outcome.states.items()}}

    def written_down(self) -> tuple[str, Calls, dict[str, np.ndarray]]:
        """The IR for ARM, the calls, and the arrays that a run gives, which nothing was written to."""
        texts, calls = list[str](), Calls()

        def compiled(key: str, source: Any, machine: Machine) -> engine.Code:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(llvm, "get_process_triple", lambda: TRIPLE)
                texts.append(source())
            return engine.Code(calls.add, 0, None)

        def run(code: engine.Code, jobs: Any, *rest: Any) -> bool:
            size = 8 * len(LlvmProgram(self.plan, self.dtype, NEON).table.names)
            for rows, _, first, last, _ in jobs:
                words = np.frombuffer(ctypes.string_at(rows, 8 * len(WORDS) * last), np.int64).reshape(last, len(WORDS))
                for _, table, *others in words[first:].tolist():
                    calls.add(ctypes.string_at(table, size), *others)
            return True

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "compiled", compiled)
            patch.setattr(crew, "run", run)
            given = self.run(NEON)
        [text] = texts
        assert f'target triple = "{TRIPLE}"' in text
        return text, calls, given

    def run_on_arm(self, main: Path, folder: Path) -> dict[str, np.ndarray]:
        """The arrays that a run gives, with what the emulated kernel wrote to them."""
        text, calls, given = self.written_down()
        self.threads = len(calls.numbers)
        (folder / "kernel.o").write_bytes(object_for_arm(text))
        command = [COMPILER, "-static", "-pthread", str(main), "kernel.o", "-o", "run"]
        subprocess.run(command, cwd=folder, check=True, timeout=60)
        emulated = [str(EMULATOR), "./run"]
        done = subprocess.run(emulated, cwd=folder, input=calls.text(), capture_output=True, timeout=120, check=True)
        memory = calls.found(done.stdout)
        return {name: self.put(array, memory) for name, array in given.items()}

    def put(self, array: np.ndarray, memory: dict[int, bytes]) -> np.ndarray:
        """An array of the same layout from what was written at its address."""
        found = memory[array.ctypes.data]
        reach = sum((size - 1) * stride for size, stride in zip(array.shape, array.strides, strict=True)) + array.itemsize
        assert reach <= len(found)
        return np.ndarray(array.shape, array.dtype, found, strides=array.strides)


CELLS = {
    "lstm": lambda: cells.lstm,
    "gru": lambda: cells.gru,
    "lstm_layer_norm": lambda: cells.lstm_layer_norm,
    "random_26": lambda: random_cell(26),
    "random_53": lambda: random_cell(53),
}


@cache
def sizes_of(name: str) -> dict[str, int]:
    drawn = iter((7, 13, 5, 9))
    return {size: next(drawn) for size in CELLS[name]().sizes}


@pytest.mark.parametrize(
    ("name", "dtype", "batch", "asked", "threads"),
    [
        ("lstm", "float32", 1, {}, 1),
        ("lstm", "float32", 9, {"carry": True}, 1),
        ("lstm", "float32", 1, {}, 2),
        ("gru", "float64", 1, {}, 1),
        ("gru", "float32", 7, {"tokens": True}, 3),
        ("lstm_layer_norm", "float32", 1, {}, 1),
        ("random_26", "float32", 8, {"carry": True}, 2),
        ("random_53", "float64", 1, {}, 1),
    ],
)
def test_arm_gives_the_same_bits(name, dtype, batch, asked, threads, main, tmp_path):
    """Six steps from random states; in a batch of different lengths, 0 among them; on threads that share the work, too."""
    p = Problem(CELLS[name](), dtype, batch, **{"tokens": False, "carry": False} | asked, **sizes_of(name))
    wanted = p.run()
    elman.threads(threads)
    try:
        got = p.run_on_arm(main, tmp_path)
    finally:
        elman.threads(None)
    assert p.threads == threads
    assert list(got) == list(wanted)
    bits = {"float32": np.uint32, "float64": np.uint64}[dtype]
    for value, array in wanted.items():
        assert np.isfinite(array).all()
        assert array.any()
        np.testing.assert_array_equal(got[value], array, err_msg=value)
        np.testing.assert_array_equal(
            np.array(got[value]).view(bits), np.array(array).view(bits), err_msg=f"sign of {value}"
        )


def test_the_code_is_for_arm(tmp_path):
    """What was compared is code of another processor, with its fused products, and nothing of it is computed elsewhere."""
    text, _, _ = Problem(cells.lstm, "float32", 1, tokens=False, carry=False, input=7, hidden=13).written_down()
    data = object_for_arm(text)
    assert data[:4] == b"\x7fELF"
    assert int.from_bytes(data[18:20], "little") == 183  # EM_AARCH64
    (tmp_path / "kernel.o").write_bytes(data)
    tool = COMPILER.removesuffix("gcc")
    listing, wanted = (
        subprocess.run([tool + name, flag, "kernel.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for name, flag in (("objdump", "-d"), ("nm", "-u"))
    )
    assert "fmla" in listing
    assert set(wanted.split()) - {"U"} <= {"memcpy", "memset"}
