"""A chain: calls of machine code one after another, without Python between them.

A kernel that reads more than the second cache holds throws the interpreter out of it, and Python takes three times as long
until it is back: in a step of lstm 128 after every one of ten calls. A chain is entered once. Its rows are a function and
the five arguments that all kernels have.
"""

from collections.abc import Sequence
from ctypes import CFUNCTYPE, c_int64, c_void_p
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import llvmlite
import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from elman.gates import Array
from elman.packs import Standing
from elman.targets.llvm import engine
from elman.targets.llvm.frame import POINTER
from elman.targets.llvm.machine import Machine
from elman.targets.llvm.memory import address, workspaces
from elman.targets.llvm.store import emitter, key_of
from elman.targets.llvm.vectors import INDEX

if TYPE_CHECKING:
    from elman.targets.llvm.bound import Bound

WORDS = ("run", "table", "workspace", "first", "last", "part")
"""What a row holds."""

WORKSPACE = WORDS.index("workspace")

Row = tuple[int, ...]
"""A call: the words above."""


class Chain:
    """Bound calls of which each reads what those before it write."""

    def __init__(self, bounds: Sequence["Bound"]) -> None:
        self._bounds, rows = tuple(bounds), [row for bound in bounds for row in bound.rows()]
        self._rows, self._run = np.array(rows, np.int64), _compiled(bounds[0].machine).follow
        self._start, self._size = address(self._rows), max(bound.workspace for bound in bounds)
        self._kernels = np.flatnonzero(self._rows[:, WORKSPACE] == 0)

    def run(self, given: Standing, lengths: Array | None = None) -> bool:
        """Run all; not if threads are worth it, and nothing was run."""
        if not all(bound.is_alone for bound in self._bounds):
            return False
        held = [bound.begin(given, lengths) for bound in self._bounds]
        memory = workspaces.take(self._size)
        try:
            self._rows[self._kernels, WORKSPACE] = address(memory)
            self._run(self._start, len(self._rows))
        finally:
            workspaces.give(memory)
            del held  # the order of the examples
        return True


def chain_of(bounds: Sequence["Bound"]) -> Chain | None:
    """A chain, unless something is left to do for Python between the calls, or to hear: a signal waits until the end."""
    fits = all(bound.is_plain for bound in bounds) and sum(bound.share for bound in bounds) <= 1
    return Chain(bounds) if fits else None


def clear_row(memory: Array, machine: Machine) -> Row:
    """The call that fills an array with zeros."""
    return _compiled(machine).clear, address(memory), -1, 0, memory.nbytes, 0


# --- machine code -----------------------------------------------------------------------------------------------------


class _Functions(NamedTuple):
    """`follow(rows, count)`, the address of `clear`, and what keeps them in memory."""

    follow: Any
    clear: int
    engine: Any


@cache
def _compiled(machine: Machine) -> _Functions:
    written = text()
    key = key_of("chain", emitter(), llvmlite.__version__, llvm.llvm_version_info, machine)
    code = engine.loaded(key, lambda: written, machine)
    follow = CFUNCTYPE(None, c_void_p, c_int64)(code.get_function_address("follow"))
    return _Functions(follow, code.get_function_address("clear"), code)


def text() -> str:
    """The IR of `follow` and `clear`."""
    module = ir.Module("chain")
    module.triple = llvm.get_process_triple()
    follow = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER, INDEX]), "follow")
    _follow(ir.IRBuilder(follow.append_basic_block("begin")), *follow.args)
    clear = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER, POINTER, INDEX, INDEX, INDEX]), "clear")
    _clear(ir.IRBuilder(clear.append_basic_block("begin")), clear.args[0], clear.args[3])
    return str(module)


def _follow(b: ir.IRBuilder, rows: Any, count: Any) -> None:
    begin, look, each, over = b.block, *(b.append_basic_block(name) for name in ("look", "each", "over"))
    b.branch(look)
    b.position_at_end(look)
    at = b.phi(INDEX)
    at.add_incoming(INDEX(0), begin)
    b.cbranch(b.icmp_signed("<", at, count), each, over)
    b.position_at_end(each)
    row = b.gep(rows, [b.mul(at, INDEX(len(WORDS)))], source_etype=INDEX)
    kinds = [INDEX, POINTER, POINTER, INDEX, INDEX, INDEX]
    run, *given = (b.load(b.gep(row, [INDEX(k)], source_etype=INDEX), typ=kind) for k, kind in enumerate(kinds))
    kind = ir.FunctionType(ir.VoidType(), kinds[1:])
    b.call(b.inttoptr(run, kind.as_pointer()), given)
    at.add_incoming(b.add(at, INDEX(1)), b.block)
    b.branch(look)
    b.position_at_end(over)
    b.ret_void()


def _clear(b: ir.IRBuilder, memory: Any, size: Any) -> None:
    fill = b.module.declare_intrinsic("llvm.memset", [POINTER, INDEX])
    b.call(fill, [memory, ir.IntType(8)(0), size, ir.IntType(1)(0)])
    b.ret_void()
