"""The LLVM target's program: packs parameters, fills the table of a call, and runs the kernel."""

import ctypes
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from itertools import pairwise
from threading import Lock
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from elman.gates import Array
from elman.passes import Plan
from elman.targets.interface import Outcome, Prepared
from elman.targets.interpreter import computed
from elman.targets.llvm import engine
from elman.targets.llvm.frame import Shaping
from elman.targets.llvm.groups import Grouping
from elman.targets.llvm.kernel import Kernel
from elman.targets.llvm.lane import Lane
from elman.targets.llvm.machine import Machine, current
from elman.targets.llvm.places import LINE, PAD, Places, columns
from elman.targets.llvm.recipe import Walk
from elman.targets.llvm.store import emitter, key_of
from elman.targets.llvm.table import Table
from elman.targets.threads import shared

BUDGET = 1 << 19
"""Bytes of the rows of a chunk of time: what is hoisted should still be in the second cache when the loop reads it."""


LARGEST = 1 << 26
"""Bytes of the largest memory that is kept for the next call."""


@dataclass
class Packed(Prepared):
    """Parameters as the kernel reads them: the end of the table, and the arrays that it points into."""

    static: tuple[int, ...] = ()
    held: list[Array] = field(default_factory=list)


class LlvmProgram:
    """A plan as machine code. Immutable: all scratch is made for a call."""

    def __init__(self, plan: Plan, dtype: Any, machine: Machine | None = None) -> None:
        found = machine or current()
        assert found is not None, "there is a machine to compile for"
        self.plan, self.graph, self.dtype, self.machine = plan, plan.graph, np.dtype(dtype), found
        self.lanes = self.machine.bytes // self.dtype.itemsize
        self.grouping = Grouping(plan)
        self.places = Places(self.grouping)
        self.table = Table(self.grouping, self.places)
        self._lock, self._code = Lock(), dict[bool, engine.Code]()
        self._inputs = dict.fromkeys(self.graph.leaves("input"), self.dtype)
        self._inputs |= {name: np.dtype(np.int64) for name in self.graph.leaves("token")}
        self.given = {
            name: tuple(int(size) for size in self.graph.nodes[index].shape)
            for name, index in self.graph.named("output").items()
        }
        self.state_names = tuple(self.graph.leaves("state"))
        self._statics = len(self.table.shared) + len(self.table.walks) + len(self.table.turned)
        sizes = [(size * self.dtype.itemsize, by_step) for _, size, by_step in self.places.segments()]
        self._by_step = sum(size for size, by_step in sizes if by_step)
        self._by_example = sum(size for size, by_step in sizes if not by_step)
        self._spare = (len(sizes) + 3) * LINE + PAD * self.dtype.itemsize
        self._multiplications = sum(plan.multiplications(phase) for phase in ("before", "loop", "after"))
        self._table = ctypes.c_int64 * len(self.table.names)

    # --- code ---------------------------------------------------------------------------------------------------------

    def _shaping(self, single: bool) -> Shaping:
        many = self.machine.registers == 32
        rows = (6, 4, 2, 1) if many else (3, 1)
        return Shaping(self.lanes, self.machine.registers, rows, (1,) if single else rows)

    def _text(self, single: bool = False) -> str:
        return str(Kernel(self.plan, self.dtype.name, self._shaping(single)).module)

    def code_for(self, batch: int) -> engine.Code:
        """The code for one example, or for many; made when first asked for."""
        single = batch == 1
        code = self._code.get(single)
        if code is None:
            with self._lock:
                code = self._code.get(single)
                if code is None:
                    equations = json.dumps(self.graph.to_json(), sort_keys=True), self.plan.phases
                    facts = *equations, self.dtype, self._shaping(single), self.machine
                    key = key_of(emitter(), llvmlite.__version__, llvm.llvm_version_info, *facts)
                    code = self._code[single] = engine.compiled(key, lambda: self._text(single), self.machine)
        return code

    @property
    def source(self) -> str:
        """The IR, as it is before LLVM optimises it."""
        return self._text()

    @property
    def assembly(self) -> str:
        """The machine code, as assembly."""
        return engine.assembly(self._text(), self.machine)

    # --- parameters ---------------------------------------------------------------------------------------------------

    def prepare(self, parameters: Mapping[str, Array], *, lasting: bool = False) -> Packed:
        """Compute what needs only the parameters, and pack matrices as the kernel walks along them."""
        shared = computed(self.plan, parameters, self.dtype)
        held = []
        for name, which in self.table.names[-self._statics :] if self._statics else ():
            if name == "pack":
                held.append(self._panels(which, shared))
            else:
                held.append(self._columns(shared[which]) if name == "turned" else self._whole(shared[which.which]))
        return Packed(shared, static=tuple(int(array.ctypes.data) for array in held), held=held)

    def _whole(self, value: Array) -> Array:
        """A value that is read as it is, with a vector's width to spare behind it."""
        memory = _aligned((value.size + PAD,), self.dtype)
        memory[: value.size] = value.ravel()
        return memory

    def _panels(self, walk: Walk, shared: Mapping[int, Array]) -> Array:
        """Matrices side by side: for every vector of lanes all columns, for every column the lanes of each matrix."""
        matrices = [shared[index] for index in walk.matrices(self.graph)]
        rows, width = matrices[0].shape
        lanes = self.lanes
        while lanes // 2 >= rows:
            lanes //= 2
        blocks = -(-rows // lanes)
        panels = _aligned((blocks, width, len(matrices), lanes), self.dtype)
        for k, matrix in enumerate(matrices):
            whole = rows // lanes
            panels[:whole, :, k] = matrix[: whole * lanes].reshape(whole, lanes, width).transpose(0, 2, 1)
            if blocks > whole:
                panels[whole, :, k] = 0
                panels[whole, :, k, : rows - whole * lanes] = matrix[whole * lanes :].T
        return panels

    def _columns(self, matrix: Array) -> Array:
        turned = np.zeros((matrix.shape[1], columns((matrix.shape[0],), True)), self.dtype)
        turned[:, : matrix.shape[0]] = matrix.T
        return turned

    # --- running ------------------------------------------------------------------------------------------------------

    def run(
        self,
        prepared: Prepared,
        inputs: Mapping[str, Array],
        states: Mapping[str, Array],
        *,
        lengths: Array | None = None,
        backwards: bool = False,
    ) -> Outcome:
        """Run over inputs `[T, B, ...]` from states `[B, ...]`."""
        assert isinstance(prepared, Packed), "prepared by this target"
        steps, batch = next(iter(inputs.values())).shape[:2]
        rows = _dense(steps, batch) if lengths is None else _sorted(steps, lengths)
        first = [np.ascontiguousarray(states[name], self.dtype) for name in self.state_names]
        last = [np.array(state) if lengths is not None or not steps else np.empty_like(state) for state in first]
        outputs = {name: self._room(shape, steps, batch, lengths is not None) for name, shape in self.given.items()}
        chunk = self._chunk(batch, steps)
        call = [steps, chunk, int(backwards), rows.order_address, rows.running_address]
        held = [self._given(inputs[name], wanted) for name, wanted in self._inputs.items()]
        for array in (*held, *outputs.values()):
            by_step, by_example, *_ = array.strides
            call += array.ctypes.data, by_step // array.itemsize, by_example // array.itemsize
        for before, after in zip(first, last, strict=True):
            call += before.ctypes.data, after.ctypes.data
        if steps and batch:
            self._split(self.table_of(call, prepared), rows, steps, chunk)
        return Outcome(outputs, dict(zip(self.state_names, last, strict=True)), {})

    def table_of(self, call: Sequence[int], prepared: Packed) -> Any:
        """The table of a call: what belongs to the call, then what belongs to the parameters."""
        return self._table(*call, *prepared.static)

    def lane(self, prepared: Prepared, states: Mapping[str, Array], inputs: Mapping[str, Array]) -> Lane:
        """One example step after step, from states `[...]`; `inputs` are buffers that others write."""
        assert isinstance(prepared, Packed), "prepared by this target"
        return Lane(self, prepared, states, inputs)

    @cached_property
    def brought(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape and type of the inputs of one step."""
        leaves = self.graph.leaves("input") | self.graph.leaves("token")
        shapes = {name: tuple(int(size) for size in self.graph.nodes[index].shape) for name, index in leaves.items()}
        return {name: (shapes[name], wanted) for name, wanted in self._inputs.items()}

    def _split(self, table: Any, rows: "Rows", steps: int, chunk: int) -> None:
        """Run the examples on as many threads as their work is worth."""
        batch = len(rows.order)
        code = self.code_for(batch)

        def part(first: int, last: int) -> None:
            with workspaces.lent(self.workspace_of(chunk, last - first)) as workspace:
                code.call(table, workspace, first, last)

        count = min(shared.useful(self._multiplications * steps * batch), batch)
        if count == 1:
            part(0, batch)
        else:
            ends = rows.shares(count)
            shared.run([partial(part, first, last) for first, last in pairwise(ends) if first < last])

    def _given(self, x: Array, wanted: np.dtype[Any]) -> Array:
        """An input as the kernel reads it: values of one step of one example stand together."""
        if x.dtype != wanted:
            x = x.astype(wanted)
        return x if x.ndim == 2 or x[:1, :1].flags.c_contiguous else np.ascontiguousarray(x)

    def _room(self, shape: tuple[int, ...], steps: int, batch: int, padded: bool) -> Array:
        """Room for an output `[T, B, ...]`, example by example as the caller will see it."""
        return (np.zeros if padded else np.empty)((batch, steps, *shape), self.dtype).swapaxes(0, 1)

    def _chunk(self, batch: int, steps: int) -> int:
        """Steps of a chunk of time."""
        rows = min(max(BUDGET // max(self._by_step, 1), 32), 512)
        return int(max(1, min(steps, -(-rows // max(batch, 1)))))

    def workspace_of(self, chunk: int, batch: int) -> int:
        """Bytes that the arrays of the workspace take, with some to spare for each to begin with a line of the cache."""
        return int(chunk * batch * (16 + self._by_step) + batch * self._by_example + self._spare)


@dataclass(frozen=True)
class Rows:
    """The examples, the longest first, and how many run at each step."""

    order: Array
    running: Array

    def shares(self, count: int) -> list[int]:
        """Where to cut the examples into shares of about the same number of steps."""
        batch = len(self.order)
        steps = np.searchsorted(-self.running, -np.arange(batch), side="left")  # of each example
        done = np.concatenate(([0], np.cumsum(steps)))
        cuts = np.searchsorted(done, done[-1] * np.arange(1, count) / count).tolist()
        return [0, *cuts, batch]

    @cached_property
    def order_address(self) -> int:
        """Where the order stands in memory."""
        return int(self.order.ctypes.data)

    @cached_property
    def running_address(self) -> int:
        """Where the numbers stand in memory."""
        return int(self.running.ctypes.data)


@lru_cache(maxsize=256)
def _dense(steps: int, batch: int) -> Rows:
    return Rows(np.arange(batch), np.full(steps, batch, np.int64))


def _sorted(steps: int, lengths: Array) -> Rows:
    order = np.argsort(-lengths, kind="stable").astype(np.int64)
    ended = np.searchsorted(np.sort(lengths), np.arange(steps), side="right")
    return Rows(order, (len(lengths) - ended).astype(np.int64))


class Workspaces:
    """Memory that calls borrow and give back: each call has its own, and the next need not ask the system for it."""

    def __init__(self) -> None:
        self._free: list[Array] = []

    @contextmanager
    def lent(self, size: int) -> Iterator[int]:
        """The address of at least so many bytes, at a line of the cache."""
        try:
            memory = self._free.pop()  # atomic, so that no two calls get the same
        except IndexError:
            memory = np.empty(0, np.uint8)
        if len(memory) < size + LINE:
            memory = np.empty(2 * size + LINE, np.uint8)
        address = int(memory.ctypes.data)
        try:
            yield address + -address % LINE
        finally:
            if len(memory) <= LARGEST:
                self._free.append(memory)


workspaces = Workspaces()


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array that begins with a line of the cache."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size].view(dtype).reshape(shape)
