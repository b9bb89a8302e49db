"""Where threads that share the lanes of one sequence meet: none goes on before all have come.

A counter of arrivals that only grows: the n-th meeting of `parts` threads is over when it has reached n times `parts`.
"""

from llvmlite import ir

from elman.targets.llvm.frame import POINTER, Frame
from elman.targets.llvm.vectors import INDEX, Value
from elman.targets.llvm.waiting import until

THROUGH = 1 << 62
"""A counter that holds this stops nobody any more: where one part cannot begin, the others go through."""


class Meeting:
    """The counter of a call in memory, and the code of a meeting."""

    def __init__(self, frame: Frame, parts: int, counter: Value) -> None:
        self.b, self.parts, self.counter = frame.b, parts, counter
        self.reached = self.b.alloca(INDEX)
        self.b.store(INDEX(0), self.reached)
        self.function = meeting(frame.module)

    def meet(self) -> None:
        """Wait for the others."""
        reached = self.b.add(self.b.load(self.reached, typ=INDEX), INDEX(self.parts))
        self.b.store(reached, self.reached)
        self.b.call(self.function, [self.counter, reached])


def meeting(module: ir.Module) -> ir.Function:
    """`meeting(counter, reached)`: arrive, and wait until the counter has reached a number."""
    function = module.globals.get("meeting")
    if function is not None:
        return function
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER, INDEX]), "meeting")
    function.linkage = "internal"
    function.attributes.add("noinline")
    counter, reached = function.args
    b = ir.IRBuilder(function.append_basic_block("arrive"))
    b.atomic_rmw("add", counter, INDEX(1), "acq_rel")
    until(b, lambda: b.icmp_signed(">=", b.load_atomic(counter, "acquire", 8, typ=INDEX), reached))
    b.ret_void()
    return function
