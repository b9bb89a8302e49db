"""The mode of floating-point arithmetic: a kernel sets its own and gives the caller's back.

Denormal numbers, read or computed, are zeros in a kernel: on x86 each of them costs a hundred operations, so that a state
that fades away would make every step twentyfold slower. And the mode of the calling thread changes no bit.
"""

from llvmlite import ir

from elman.targets.llvm.frame import POINTER, Frame
from elman.targets.llvm.vectors import INDEX, Value

MXCSR, MXCSR_ZEROS = 0x1F80, 0x8040
"""x86: no exception is raised, to nearest; denormal results and arguments are zeros."""

FPCR_ZEROS = 1 << 24
"""ARM, where 0 is the rest of it: denormal results and arguments are zeros."""

_WORD = ir.IntType(32)


class Mode:
    """Sets the mode where it is made; `restore` goes before the return. With `denormals` these stay what they are."""

    def __init__(self, frame: Frame, *, denormals: bool = False) -> None:
        self.b, self.module = frame.b, frame.module
        self._is_arm = frame.module.triple.startswith(("aarch64", "arm64"))
        if self._is_arm:
            self._callers = self._call("llvm.aarch64.get.fpcr", [], INDEX)
            self._call("llvm.aarch64.set.fpcr", [INDEX(0 if denormals else FPCR_ZEROS)])
        else:
            self._callers, own = self.b.alloca(_WORD), self.b.alloca(_WORD)
            self._call("llvm.x86.sse.stmxcsr", [self._callers])
            self.b.store(_WORD(MXCSR if denormals else MXCSR | MXCSR_ZEROS), own)
            self._call("llvm.x86.sse.ldmxcsr", [own])

    def restore(self) -> None:
        """Give the caller's mode back."""
        self._call("llvm.aarch64.set.fpcr" if self._is_arm else "llvm.x86.sse.ldmxcsr", [self._callers])

    def _call(self, name: str, arguments: list[Value], kind: Value = None) -> Value:
        kinds = [POINTER if not self._is_arm else INDEX for _ in arguments]
        function = self.module.globals.get(name) or ir.Function(
            self.module, ir.FunctionType(kind or ir.VoidType(), kinds), name
        )
        return self.b.call(function, arguments)
