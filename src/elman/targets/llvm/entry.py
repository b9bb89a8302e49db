"""The way from Python into a kernel that is called again and again: one argument, the address of a block in memory.

ctypes takes 0.05 us for each argument that it converts, and as long to let go of Python's lock and to get it back. A block
holds what a call needs, and the numbers that a caller brought, of which none may be NaN or infinite:

    run, table, workspace, first, last, part     the kernel and its arguments
    values, bytes                                where those numbers stand, whole lines of the cache

So the check is machine code as well: NumPy needs 0.2 us for it and an array for its result.
"""

from collections.abc import Callable
from ctypes import CFUNCTYPE, PYFUNCTYPE, c_int, c_void_p
from functools import cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from elman.gates import Array
from elman.rooms import LINE
from elman.targets.llvm import engine
from elman.targets.llvm.crew import Job
from elman.targets.llvm.frame import POINTER
from elman.targets.llvm.machine import Machine
from elman.targets.llvm.memory import address, lines
from elman.targets.llvm.store import emitter, key_of
from elman.targets.llvm.vectors import INDEX, Value

WORDS = ("run", "table", "workspace", "first", "last", "part", "values", "bytes")
"""What a block holds."""

SHORT = 1 << 17
"""Multiplications, some five microseconds, up to which Python's lock is kept: another thread that gets it meanwhile may keep
it for five milliseconds, a thousand times as long."""

EXPONENT = {32: 0x7F800000, 64: 0x7FF0000000000000}
"""Bits that are all set in NaN and infinity, and in no other number."""

Enter = Callable[[int], int]
"""`enter(block)`: 1 when the kernel has run; 0, and nothing was run, where a number is not finite."""


def block_of(code: engine.Code, job: Job, values: Array) -> Array:
    """A block for a kernel and its arguments, and numbers in whole lines of memory, or none."""
    block = lines(len(WORDS), np.dtype(np.int64))
    block[:] = (code.address, *job, address(values), values.nbytes)
    return block


def enter_of(machine: Machine, dtype: np.dtype[Any], work: int) -> Enter:
    """The function `enter` for numbers of a type; `work`, multiplications, says whether it keeps Python's lock."""
    kept, released, _ = _compiled(machine)[dtype.itemsize * 8]
    return kept if work <= SHORT else released


@cache
def _compiled(machine: Machine) -> dict[int, tuple[Enter, Enter, Any]]:
    written = text()
    key = key_of("entry", emitter(), llvmlite.__version__, llvm.llvm_version_info, machine)
    code = engine.loaded(key, lambda: written, machine)
    found: dict[int, tuple[Enter, Enter, Any]] = {}
    for bits in EXPONENT:
        at = code.get_function_address(f"enter{bits}")
        found[bits] = PYFUNCTYPE(c_int, c_void_p)(at), CFUNCTYPE(c_int, c_void_p)(at), code
    return found


# --- machine code -----------------------------------------------------------------------------------------------------


def text() -> str:
    """The IR of `enter`, for both types."""
    module = ir.Module("entry")
    module.triple = llvm.get_process_triple()
    for bits in EXPONENT:
        function = ir.Function(module, ir.FunctionType(ir.IntType(32), [POINTER]), f"enter{bits}")
        _enter(ir.IRBuilder(function.append_basic_block("begin")), function.args[0], bits)
    return str(module)


def _enter(b: ir.IRBuilder, block: Value, bits: int) -> None:
    kinds = [INDEX, POINTER, POINTER, INDEX, INDEX, INDEX, POINTER, INDEX]
    words = [b.load(b.gep(block, [INDEX(k)], source_etype=INDEX), typ=kind) for k, kind in enumerate(kinds)]
    run, *arguments, values, size = words
    wrong = _wrong(b, values, size, bits)
    work, end = b.append_basic_block("work"), b.append_basic_block("end")
    b.cbranch(b.icmp_unsigned("==", wrong, wrong.type(0)), work, end)
    b.position_at_end(work)
    b.call(b.inttoptr(run, ir.FunctionType(ir.VoidType(), kinds[1:6]).as_pointer()), arguments)
    b.ret(ir.IntType(32)(1))
    b.position_at_end(end)
    b.ret(ir.IntType(32)(0))


def _wrong(b: ir.IRBuilder, values: Value, size: Value, bits: int) -> Value:
    """A bit for every lane of a line in which some number is NaN or infinite."""
    lanes, number = LINE * 8 // bits, ir.IntType(bits)
    line, truth = ir.VectorType(number, lanes), ir.VectorType(ir.IntType(1), lanes)
    look, each, over = (b.append_basic_block(name) for name in ("look", "each", "over"))
    before = b.block
    b.branch(look)
    b.position_at_end(look)
    at, wrong = b.phi(INDEX), b.phi(truth)
    at.add_incoming(INDEX(0), before)
    wrong.add_incoming(ir.Constant(truth, [0] * lanes), before)
    b.cbranch(b.icmp_signed("<", at, size), each, over)
    b.position_at_end(each)
    found = b.load(b.gep(values, [at], source_etype=ir.IntType(8)), typ=line)
    found.align = LINE
    exponent = ir.Constant(line, [EXPONENT[bits]] * lanes)
    wrong.add_incoming(b.or_(wrong, b.icmp_unsigned("==", b.and_(found, exponent), exponent)), each)
    at.add_incoming(b.add(at, INDEX(LINE)), each)
    b.branch(look)
    b.position_at_end(over)
    return b.bitcast(wrong, ir.IntType(lanes))
