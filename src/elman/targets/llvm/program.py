"""The LLVM target's program: packs parameters, fills the table of a call, and runs the kernel."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from math import prod
from struct import Struct
from threading import Lock
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from elman.gates import Array
from elman.passes import Plan
from elman.rooms import LINE, rooms
from elman.targets.interface import Outcome, Prepared
from elman.targets.interpreter import computed, finished
from elman.targets.llvm import engine, stretches
from elman.targets.llvm.bound import Bound, binds
from elman.targets.llvm.chain import Chains
from elman.targets.llvm.frame import Shaping
from elman.targets.llvm.groups import Grouping
from elman.targets.llvm.kernel import Kernel
from elman.targets.llvm.lane import WIDE, Lane, RowsLane, WideLane
from elman.targets.llvm.machine import Machine, current
from elman.targets.llvm.memory import address
from elman.targets.llvm.order import by_length, dense
from elman.targets.llvm.pace import Pace
from elman.targets.llvm.packing import Packed, Packing, Unpacking
from elman.targets.llvm.places import PAD, Places
from elman.targets.llvm.repeat import Repeat, is_small
from elman.targets.llvm.sections import sections_of
from elman.targets.llvm.store import emitter, key_of
from elman.targets.llvm.table import Table
from elman.targets.threads import shared

BUDGET = 1 << 19
"""Bytes of the rows of a chunk of time: what is hoisted should still be in the second cache when the loop reads it."""


def _clear_padding(output: Array, lengths: Array) -> None:
    """Zeros past every length of an output `[T, B, ...]`."""
    for example, length in enumerate(np.clip(lengths, 0, len(output)).tolist()):
        output[length:, example] = 0


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
        self._lock, self._code = Lock(), dict[tuple[bool, int, bool], engine.Code]()
        self._inputs = dict.fromkeys(self.graph.leaves("input"), self.dtype)
        self._inputs |= {name: np.dtype(np.int64) for name in self.graph.leaves("token")}
        self.given = {
            name: tuple(int(size) for size in self.graph.nodes[index].shape)
            for name, index in self.graph.named("output").items()
        }
        self._paces, self.chains = dict[int, Pace](), Chains(self)
        self._rooms = {name: (shape, prod(shape)) for name, shape in self.given.items()}
        self.state_shapes = {
            name: tuple(int(size) for size in self.graph.nodes[index].shape)
            for name, index in self.graph.leaves("state").items()
        }
        self.state_names = tuple(self.state_shapes)
        sizes = [(size * self.dtype.itemsize, by_step) for _, size, by_step in self.places.segments()]
        self._by_step = sum(size for size, by_step in sizes if by_step)
        self._by_example = sum(size for size, by_step in sizes if not by_step)
        self._spare = (len(sizes) + 3) * LINE + PAD * self.dtype.itemsize
        self.multiplications = sum(plan.multiplications(phase) for phase in ("before", "loop", "after"))
        statics = len(self.table.shared) + len(self.table.walks) + len(self.table.turned)
        self._words = Struct(f"{len(self.table.names) - statics}q")

    @cached_property
    def _packing(self) -> Packing:
        return Packing(self.plan, self.table, self.dtype, self.machine)

    @cached_property
    def _unpacking(self) -> Unpacking:
        return Unpacking(self.plan, self.table, self.dtype, self.machine)

    # --- code ---------------------------------------------------------------------------------------------------------

    def _shaping(self, single: bool = False, parts: int = 1, apart: bool = False) -> Shaping:
        return Shaping(self.lanes, self.machine.registers, single, parts, apart)

    def _text(self, shaping: Shaping) -> str:
        return str(Kernel(self.plan, self.dtype.name, shaping).module)

    def code_for(self, batch: int, parts: int = 1, *, apart: bool = False) -> engine.Code:
        """The code for one example, or for many, shared by so many threads; made when first asked for."""
        which = batch == 1, parts, apart and parts > 1
        code = self._code.get(which)
        if code is None:
            with self._lock:
                code = self._code.get(which)
                if code is None:
                    code = self._code[which] = self._compiled(self._shaping(*which))
        return code

    def _compiled(self, shaping: Shaping) -> engine.Code:
        equations = json.dumps(self.graph.to_json(), sort_keys=True), self.plan.phases
        facts = *equations, self.dtype, shaping, self.machine
        key = key_of(emitter(), llvmlite.__version__, llvm.llvm_version_info, *facts)
        return engine.compiled(key, lambda: self._text(shaping), self.machine)

    @property
    def source(self) -> str:
        """The IR, as it is before LLVM optimises it."""
        return self._text(self._shaping())

    @property
    def assembly(self) -> str:
        """The machine code, as assembly."""
        return engine.assembly(self._text(self._shaping()), self.machine)

    # --- parameters ---------------------------------------------------------------------------------------------------

    def prepare(self, parameters: Mapping[str, Array], *, lasting: bool = False) -> Packed:
        """Compute what needs only the parameters, and pack matrices as the kernel walks along them."""
        shared = computed(self.plan, parameters, self.dtype)
        memory, static = self._packing.packed(shared)
        return Packed(shared, static=static, held=memory)

    # --- running ------------------------------------------------------------------------------------------------------

    def run(
        self,
        prepared: Prepared,
        inputs: Mapping[str, Array],
        states: Mapping[str, Array],
        *,
        lengths: Array | None = None,
        backwards: bool = False,
        inward: bool = False,
        totals: Mapping[int, Array] | None = None,
        into: Mapping[str, Array] | None = None,
    ) -> Outcome:
        """Run over inputs `[T, B, ...]` from states `[B, ...]`; outputs go `into` arrays, if there are any."""
        assert isinstance(prepared, Packed), "prepared by this target"
        steps, batch = next(iter(inputs.values())).shape[:2]
        if steps > (most := stretches.steps_of(self, batch)):
            way: dict[str, Any] = {"lengths": lengths, "backwards": backwards, "inward": inward, "totals": totals}
            return stretches.run(self, most, prepared, inputs, states, **way)
        rows = dense(steps, batch) if lengths is None else by_length(steps, lengths)
        padded = lengths is not None
        call = [steps, self.room(batch, steps), int(backwards), 0, rows.order_address, rows.running_address, 0, 0]
        held = [self._given(inputs[name], wanted) for name, wanted in self._inputs.items()]
        for array in held:
            by_step, by_example, *_ = array.strides
            call += address(array), by_step // array.itemsize, by_example // array.itemsize
        outputs = {}
        for name, (shape, count) in self._rooms.items():
            if into is not None:
                outputs[name], (by_step, by_example, *_) = into[name], into[name].strides
                call += int(into[name].ctypes.data), by_step // self.dtype.itemsize, by_example // self.dtype.itemsize
                continue
            axes = (steps, batch, *shape) if inward else (batch, steps, *shape)
            is_sparse = padded and 2 * rows.count < steps * batch  # then all is cleared as soon as the padding alone
            room = np.zeros(axes, self.dtype) if is_sparse else rooms.take(axes, self.dtype)
            outputs[name] = room if inward else room.swapaxes(0, 1)
            if lengths is not None and not is_sparse:
                _clear_padding(outputs[name], lengths)
            call += address(room), *((batch * count, count) if inward else (count, steps * count))
        last = {}
        for name in self.state_names:
            first = np.ascontiguousarray(states[name], self.dtype)
            last[name] = np.array(first) if padded or not steps else np.empty_like(first)
            held.append(first)
            call += address(first), address(last[name])
        zeros = self._unpacking.zeros(self.sections(batch)) if totals is None and self.has_totals else {}
        summed_up = zeros if totals is None else dict(totals)
        call += (address(total) for total in summed_up.values())
        if steps and batch:
            self.chains.compute(self.table_of(call, prepared), steps, rows)
        sums = finished(self.plan, prepared.shared, self._unpacking.unpacked(summed_up), self.dtype) if summed_up else {}
        return Outcome(outputs, last, sums, summed_up)

    @property
    def has_totals(self) -> bool:
        """Whether it sums over rows, in their order: no thread may have some rows of a section for itself."""
        return bool(self.table.totals)

    @cached_property
    def size_of_totals(self) -> int:
        """Bytes from the totals of one section to those of the next."""
        return self._unpacking.bytes if self.has_totals else 0

    def sections(self, batch: int) -> int:
        """How many sections of so many examples have totals of their own."""
        return sections_of(batch, self.size_of_totals) if self.has_totals else 1

    def table_of(self, call: Sequence[int], prepared: Packed) -> bytes:
        """The table of a call: what belongs to the call, then what belongs to the parameters."""
        return self._words.pack(*call) + prepared.static

    def lane(
        self, prepared: Prepared, states: Mapping[str, Array], inputs: Mapping[str, Array], count: int | None = None
    ) -> Lane | RowsLane:
        """One example step after step, from states `[...]`, or `count` from `[B, ...]`; others write the `inputs`."""
        assert isinstance(prepared, Packed), "prepared by this target"
        if count is not None:
            return RowsLane(self, prepared, states, inputs, count)
        is_wide = self.weights > WIDE and self.blocks > 1 and shared.count > 1
        return (WideLane if is_wide else Lane)(self, prepared, states, inputs)

    def repeat(self, prepared: Prepared, steps: int, batch: int) -> Repeat | None:
        """Buffers for calls of so many steps and examples; None where calls are too long, or too large."""
        assert isinstance(prepared, Packed), "prepared by this target"
        return Repeat(self, prepared, steps, batch) if is_small(self, steps, batch) else None

    def bound(
        self,
        parameters: Mapping[str, Array],
        names: Mapping[str, str],
        inputs: Mapping[str, Array],
        first: Mapping[str, Array],
        *,
        backwards: bool,
    ) -> Bound | None:
        """A call over arrays that stay where they are; None where that would be several calls."""
        if not binds(self, *next(iter(inputs.values())).shape[:2]):
            return None
        return Bound(self, parameters, names, inputs, first, backwards=backwards)

    @cached_property
    def brought(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape and type of the inputs of one step."""
        leaves = self.graph.leaves("input") | self.graph.leaves("token")
        shapes = {name: tuple(int(size) for size in self.graph.nodes[index].shape) for name, index in leaves.items()}
        return {name: (shapes[name], wanted) for name, wanted in self._inputs.items()}

    def pace(self, batch: int) -> Pace:
        """How long it takes for about so many examples; 0: for a step of a stream."""
        return self._paces.setdefault(batch.bit_length(), Pace())

    @cached_property
    def meetings(self) -> int:
        """How often in a step threads meet that share its lanes."""
        return len(self.places.strands["loop"])

    @cached_property
    def blocks(self) -> int:
        """Vectors of lanes of the widest group that runs at every step."""
        groups = [group for group in self.grouping.groups("loop" if self.plan.recurrent else "before") if not group.whole]
        widths = [int(group.shape[-1]) for group in groups if group.shape]
        return max((-(-width // self.lanes) for width in widths), default=1)

    @cached_property
    def weights(self) -> int:
        """Bytes of the matrices."""
        return int(self.multiplications * self.dtype.itemsize)

    def _given(self, x: Array, wanted: np.dtype[Any]) -> Array:
        """An input as the kernel reads it: values of one step of one example stand together."""
        if x.dtype != wanted:
            x = x.astype(wanted)
        if any(stride % x.itemsize for stride in x.strides):  # fields of records
            return np.ascontiguousarray(x)
        return x if x.ndim == 2 or x[:1, :1].flags.c_contiguous else np.ascontiguousarray(x)

    def room(self, batch: int, steps: int) -> int:
        """Rows that a chunk of time has room for; one step of all examples at least."""
        rows = min(max(BUDGET // max(self._by_step, 1), 32), 512)
        return int(max(batch, min(batch * steps, rows)))

    def workspace_of(self, room: int, batch: int) -> int:
        """Bytes that the arrays of the workspace take, with some to spare for each to begin with a line of the cache."""
        return int(room * (16 + self._by_step) + batch * self._by_example + self._spare)
