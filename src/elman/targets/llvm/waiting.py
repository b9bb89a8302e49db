"""How a thread waits for another in machine code: it looks again and again, and soon offers its core between looks.

So who waits goes on at once when the time has come, and a machine with more threads than cores slows down but never hangs.
"""

from collections.abc import Callable

from llvmlite import ir

from elman.targets.llvm.vectors import INDEX, Value

SPIN = 512
"""Looks, some ten microseconds, before the core is offered to others after each: longer than threads that share a step are
apart."""


def until(b: ir.IRBuilder, is_over: Callable[[], Value], most: int | None = None) -> ir.Block | None:
    """Wait until a condition, which `is_over` writes at every look, holds; go on there.

    With `most` looks at the most; returns the block that is entered after the last of them in vain.
    """
    names = ("look", "wait", "offer", *(["leave"] if most else []), "over")
    look, wait, offer, *leave, over = (b.append_basic_block(name) for name in names)
    before = b.block
    b.branch(look)
    b.position_at_end(look)
    looks = b.phi(INDEX)
    looks.add_incoming(INDEX(0), before)
    b.cbranch(is_over(), over, wait)
    b.position_at_end(wait)
    _pause(b)
    following = b.add(looks, INDEX(1))
    looks.add_incoming(following, wait)
    b.cbranch(b.icmp_signed("<", following, INDEX(SPIN)), look, offer)
    b.position_at_end(offer)
    _offer(b)
    looks.add_incoming(following, offer)
    if most:
        b.cbranch(b.icmp_signed("<", following, INDEX(most)), look, leave[0])
    else:
        b.branch(look)
    b.position_at_end(over)
    return leave[0] if most else None


def _pause(b: ir.IRBuilder) -> None:
    """The instruction that says to the processor that somebody waits in a loop."""
    if b.module.triple.startswith(("aarch64", "arm64")):
        _call(b, "llvm.aarch64.hint", ir.VoidType(), [ir.IntType(32)(1)])
    else:
        _call(b, "llvm.x86.sse2.pause", ir.VoidType(), [])


def _offer(b: ir.IRBuilder) -> None:
    """Let the system run another thread on this core."""
    _call(b, "SwitchToThread" if "windows" in b.module.triple else "sched_yield", ir.IntType(32), [])


def _call(b: ir.IRBuilder, name: str, kind: ir.Type, arguments: list[Value]) -> None:
    function = b.module.globals.get(name)
    if function is None:
        function = ir.Function(b.module, ir.FunctionType(kind, [value.type for value in arguments]), name)
    b.call(function, arguments)
