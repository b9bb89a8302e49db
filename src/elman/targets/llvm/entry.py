"""The way from Python into a kernel that is called again and again: one argument, the address of a block in memory.

ctypes takes 0.1 us for each argument that it converts, and half as long to let go of Python's lock and to get it back. A
block holds what a call needs, and tells which numbers a caller brought, of which none may be NaN or infinite:

    run, table, workspace, first, last, part     the kernel and its arguments
    values, bytes                                where those numbers stand, whole lines of the cache

So the check is machine code as well: NumPy needs 0.2 us for it and an array for its result.
"""

from collections.abc import Callable
from ctypes import CFUNCTYPE, PYFUNCTYPE, c_int, c_void_p
from functools import cache
from typing import Any, NamedTuple

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
"""Multiplications, some five microseconds, up to which Python's lock is kept: no thread wakes in less to make use of it."""

EXPONENT = {32: 0x7F800000, 64: 0x7FF0000000000000}
"""Bits that are all set in NaN and infinity, and in no other number."""

Enter = Callable[[int], int]
"""`enter(block)`: 1 when the kernel has run; 0 where a number is not finite, and nothing was run. `check(block)` looks."""


def block_of(code: engine.Code, job: Job, values: Array) -> Array:
    """A block for a kernel and its arguments, and numbers in whole lines of memory, or none."""
    block = lines(len(WORDS), np.dtype(np.int64))
    block[:] = (code.address, *job, address(values), values.nbytes)
    return block


def enter_of(machine: Machine, dtype: np.dtype[Any], work: int) -> Enter:
    """The function `enter` for numbers of a type; `work`, multiplications, says whether it keeps Python's lock."""
    functions = _compiled(machine)[dtype.itemsize * 8]
    return functions.kept if work <= SHORT else functions.released


def check_of(machine: Machine, dtype: np.dtype[Any]) -> Enter:
    """The function `check` for numbers of a type."""
    return _compiled(machine)[dtype.itemsize * 8].check


class _Functions(NamedTuple):
    """For numbers of one type: `enter`, with Python's lock kept and released, `check`, and what keeps them in memory."""

    kept: Enter
    released: Enter
    check: Enter
    engine: Any


@cache
def _compiled(machine: Machine) -> dict[int, _Functions]:
    written = text()
    key = key_of("entry", emitter(), llvmlite.__version__, llvm.llvm_version_info, machine)
    code = engine.loaded(key, lambda: written, machine)
    keeping, releasing = PYFUNCTYPE(c_int, c_void_p), CFUNCTYPE(c_int, c_void_p)
    found = {}
    for bits in EXPONENT:
        enter, check = (code.get_function_address(f"{name}{bits}") for name in ("enter", "check"))
        found[bits] = _Functions(keeping(enter), releasing(enter), keeping(check), code)
    return found


# --- machine code -----------------------------------------------------------------------------------------------------


def text() -> str:
    """The IR of `enter` and `check`, for both types."""
    module = ir.Module("entry")
    module.triple = llvm.get_process_triple()
    for bits in EXPONENT:
        for write in (_check, _enter):
            kind = ir.FunctionType(ir.IntType(32), [POINTER])
            function = ir.Function(module, kind, f"{write.__name__[1:]}{bits}")
            write(ir.IRBuilder(function.append_basic_block("begin")), function.args[0], bits)
    return str(module)


def _word(b: ir.IRBuilder, block: Value, name: str) -> Value:
    kind = INDEX if name in ("run", "first", "last", "part", "bytes") else POINTER
    return b.load(b.gep(block, [INDEX(WORDS.index(name))], source_etype=INDEX), typ=kind)


def _check(b: ir.IRBuilder, block: Value, bits: int) -> None:
    wrong = _wrong(b, _word(b, block, "values"), _word(b, block, "bytes"), bits)
    b.ret(b.zext(b.icmp_unsigned("==", wrong, wrong.type(0)), ir.IntType(32)))


def _enter(b: ir.IRBuilder, block: Value, bits: int) -> None:
    checked = b.call(b.module.globals[f"check{bits}"], [block])
    with b.if_then(b.trunc(checked, ir.IntType(1))):
        arguments = [_word(b, block, name) for name in WORDS[1:6]]
        kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
        b.call(b.inttoptr(_word(b, block, "run"), kind.as_pointer()), arguments)
    b.ret(checked)


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
