"""The machine code of a chain: `follow` calls what rows say, one after another; `meet` and `clear` are called so."""

from functools import cache
from typing import NamedTuple

import llvmlite
import llvmlite.binding as llvm
from llvmlite import ir

from elman.targets.llvm import engine
from elman.targets.llvm.frame import POINTER
from elman.targets.llvm.machine import Machine
from elman.targets.llvm.meeting import THROUGH, meeting
from elman.targets.llvm.store import emitter, key_of
from elman.targets.llvm.vectors import INDEX, Value

WORDS = ("run", "table", "workspace", "first", "last", "part")
"""What a row holds: a function, and its arguments. Where nothing is between `first` and `last` it is not called."""

KINDS = [POINTER, POINTER, INDEX, INDEX, INDEX]
"""The types of the arguments."""

Row = tuple[int, ...]
"""A call: the words above."""

IDLE: Row = (0,) * len(WORDS)
"""The row of who has nothing to do."""


class Functions(NamedTuple):
    """The machine code, `meet` and `clear` by their addresses."""

    follow: engine.Code
    meet: int
    clear: int


@cache
def followed(machine: Machine) -> Functions:
    """The functions, compiled."""
    written = text()
    key = key_of("follow", emitter(), llvmlite.__version__, llvm.llvm_version_info, machine)
    code = engine.loaded(key, lambda: written, machine)
    follow, meet, clear = (code.get_function_address(name) for name in Functions._fields)
    return Functions(engine.Code(engine.KIND(follow), follow, code), meet, clear)


def text() -> str:
    """The IR of all three."""
    module = ir.Module("follow")
    module.triple = llvm.get_process_triple()
    for write in (_follow, _meet, _clear):
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), KINDS), write.__name__[1:])
        b = ir.IRBuilder(function.append_basic_block("begin"))
        write(b, *function.args)
        b.ret_void()
    return str(module)


def _follow(b: ir.IRBuilder, rows: Value, counter: Value, first: Value, last: Value, parts: Value) -> None:
    """`follow(rows, counter, first, last, parts)`: the calls of one part.

    Where there is a counter, all parts meet first: none begins unless all do.
    """
    begin, meet, look, each, call, on, over = (
        b.append_basic_block(name) for name in ("go", "meet", "look", "each", "call", "on", "over")
    )
    b.cbranch(b.icmp_unsigned("!=", counter, POINTER(None)), meet, begin)
    b.position_at_end(meet)
    b.call(meeting(b.module), [counter, parts])
    b.cbranch(b.icmp_signed(">=", b.load_atomic(counter, "acquire", 8, typ=INDEX), INDEX(THROUGH)), over, begin)
    b.position_at_end(begin)
    b.branch(look)
    b.position_at_end(look)
    at = b.phi(INDEX)
    at.add_incoming(first, begin)
    b.cbranch(b.icmp_signed("<", at, last), each, over)
    b.position_at_end(each)
    row = b.gep(rows, [b.mul(at, INDEX(len(WORDS)))], source_etype=INDEX)
    run, *given = (b.load(b.gep(row, [INDEX(k)], source_etype=INDEX), typ=kind) for k, kind in enumerate([INDEX, *KINDS]))
    b.cbranch(b.icmp_signed("<", given[2], given[3]), call, on)
    b.position_at_end(call)
    b.call(b.inttoptr(run, ir.FunctionType(ir.VoidType(), KINDS).as_pointer()), given)
    b.branch(on)
    b.position_at_end(on)
    at.add_incoming(b.add(at, INDEX(1)), on)
    b.branch(look)
    b.position_at_end(over)


def _meet(b: ir.IRBuilder, counter: Value, _nothing: Value, _first: Value, reached: Value, _part: Value) -> None:
    """`meet(counter, -, 0, reached, -)`: wait until all parts have come so far."""
    b.call(meeting(b.module), [counter, reached])


def _clear(b: ir.IRBuilder, memory: Value, _nothing: Value, first: Value, last: Value, _part: Value) -> None:
    """`clear(memory, -, first, last, -)`: zeros from one byte to another."""
    fill = b.module.declare_intrinsic("llvm.memset", [POINTER, INDEX])
    start = b.gep(memory, [first], source_etype=ir.IntType(8))
    b.call(fill, [start, ir.IntType(8)(0), b.sub(last, first), ir.IntType(1)(0)])
