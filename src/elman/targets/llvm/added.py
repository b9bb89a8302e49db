"""Totals of several sections added up by machine code: those of the second to those of the first, and so on.

What NumPy gives to the bit, also where numbers are denormal.
"""

from functools import cache

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from elman.targets.llvm import engine
from elman.targets.llvm.frame import POINTER, Frame, Shaping
from elman.targets.llvm.machine import Machine
from elman.targets.llvm.store import emitter, key_of
from elman.targets.llvm.vectors import INDEX, Vectors


@cache  # for good: calls hold addresses of such functions
def adder(dtype: str, sections: int, machine: Machine) -> engine.Code:
    """The function that adds so many: `add(memory, -, first, last, size)`, of elements, in whole lines of the cache."""
    lanes = machine.bytes // np.dtype(dtype).itemsize
    key = key_of("added", emitter(), llvmlite.__version__, llvm.llvm_version_info, machine, dtype, sections)
    return engine.compiled(key, lambda: str(AddKernel(dtype, lanes, sections).module), machine)


class AddKernel(Frame):
    """Elements from `first` to `last` of so many arrays of the same size, which stand one behind another."""

    def __init__(self, dtype: str, lanes: int, sections: int) -> None:
        super().__init__("elman_added", dtype, Shaping(lanes, 0), [POINTER, POINTER, INDEX, INDEX, INDEX])
        memory, _, first, last, size = self.function.args
        v = Vectors(self.b, self.module, dtype, lanes)
        starts = [self.b.mul(size, self.index(section)) for section in range(sections)]
        with self.loop(first, last, lanes) as over:
            total, *others = (v.load(memory, self.b.add(over.index, start)) for start in starts)
            for other in others:
                total = v.add(total, other)
            v.store(total, memory, over.index)
        self.b.ret_void()
