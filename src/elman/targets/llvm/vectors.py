"""Vectors of one width and floating type, as the LLVM target writes them: a typed layer over llvmlite's IR builder.

Every operation is one IEEE operation (or one on the bits), rounded once, for each lane by itself. There are no fast-math
flags, so LLVM may neither reorder nor contract: what is computed depends neither on the width nor on the instruction set, as
long as the machine has a fused multiply-add.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir

Value = Any
"""A value of the IR (llvmlite has no types)."""

FLOATS = {"float32": (ir.FloatType(), 32, 23), "float64": (ir.DoubleType(), 64, 52)}
"""Of a type: that of the IR, its bits, and those of them behind the leading one of the significand."""

INDEX = ir.IntType(64)


class Vectors:
    """Operations on vectors of `width` lanes of a floating type; a vector of width 1 is a scalar."""

    def __init__(self, builder: ir.IRBuilder, module: ir.Module, dtype: str, width: int) -> None:
        self.builder, self.module, self.dtype, self.width = builder, module, dtype, width
        self.scalar, self.bits, self.fraction = FLOATS[dtype]
        self.bias = (1 << (self.bits - self.fraction - 2)) - 1  # of the exponent
        self.type = self._lanes(self.scalar)
        self.integer = ir.IntType(self.bits)
        self.integers = self._lanes(self.integer)
        self.infinity, self.nan = self.const(np.inf), self.const(np.nan)
        self.zero, self.one = self.const(0.0), self.const(1.0)

    def _lanes(self, scalar: Any) -> Any:
        return scalar if self.width == 1 else ir.VectorType(scalar, self.width)

    def _intrinsic(self, name: str, *operands: Value) -> Value:
        """A call of an intrinsic all of whose types are one."""
        kind = f"f{self.bits}" if self.width == 1 else f"v{self.width}f{self.bits}"
        name = f"llvm.{name}.{kind}"
        function = self.module.globals.get(name)
        if function is None:
            function = ir.Function(self.module, ir.FunctionType(self.type, [self.type] * len(operands)), name)
        return self.builder.call(function, operands)

    # --- constants, lanes, memory -------------------------------------------------------------------------------------

    def const(self, number: float) -> Value:
        """The nearest number of the type, in every lane."""
        return self._everywhere(self.type, ir.Constant(self.scalar, float(np.dtype(self.dtype).type(number))))

    def whole(self, number: int) -> Value:
        """An integer, as wide as the type, in every lane."""
        return self._everywhere(self.integers, ir.Constant(self.integer, number))

    def _everywhere(self, kind: Any, scalar: ir.Constant) -> Value:
        """A constant in every lane: written once, for most of the time of building a program went into its text."""
        if self.width == 1:
            return scalar
        vector = ir.FormattedConstant(kind, "")
        vector.constant = f"splat ({scalar})"
        return vector

    def splat(self, scalar: Value) -> Value:
        """A scalar in every lane."""
        if self.width == 1:
            return scalar
        undefined = ir.Constant(self.type, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
        nowhere = ir.Constant(ir.VectorType(ir.IntType(32), self.width), [0] * self.width)
        return self.builder.shuffle_vector(first, undefined, nowhere)

    def lanes(self, x: Value) -> list[Value]:
        """The scalars of a vector."""
        if self.width == 1:
            return [x]
        return [self.builder.extract_element(x, ir.Constant(ir.IntType(32), lane)) for lane in range(self.width)]

    def halves(self, x: Value) -> "tuple[Vectors, Value, Value]":
        """The first and the second half of a vector, and vectors of half the width."""
        half, undefined = self.width // 2, ir.Constant(self.type, ir.Undefined)
        kind = ir.VectorType(ir.IntType(32), half)
        parts = [self.builder.shuffle_vector(x, undefined, ir.Constant(kind, [*range(k, k + half)])) for k in (0, half)]
        narrow = Vectors(self.builder, self.module, self.dtype, half)
        first, second = parts if half > 1 else [self.builder.extract_element(p, ir.IntType(32)(0)) for p in parts]
        return narrow, first, second

    def join(self, scalars: Sequence[Value]) -> Value:
        """The vector of these scalars, floating or integer."""
        if self.width == 1:
            return scalars[0]
        vector = ir.Constant(ir.VectorType(scalars[0].type, self.width), ir.Undefined)
        for lane, scalar in enumerate(scalars):
            vector = self.builder.insert_element(vector, scalar, ir.Constant(ir.IntType(32), lane))
        return vector

    def at_lane(self, lane: Value) -> Value:
        """1 at a lane, a number that may lie outside, and 0 in the others."""
        b, outside = self.builder, ir.Constant(INDEX, self.width)
        is_inside = b.icmp_unsigned("<", lane, outside)
        number = b.trunc(b.select(is_inside, lane, outside), ir.IntType(32))
        if self.width == 1:
            return b.select(is_inside, self.one, self.zero)
        kind = ir.VectorType(ir.IntType(32), self.width)
        nowhere = ir.Constant(kind, [0] * self.width)
        first = b.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
        everywhere = b.shuffle_vector(first, ir.Constant(kind, ir.Undefined), nowhere)
        hits = b.icmp_signed("==", everywhere, ir.Constant(kind, list(range(self.width))))
        return b.select(hits, self.one, self.zero)

    def address(self, pointer: Value, offset: Value) -> Value:
        """The address of element `offset` of an array."""
        return self.builder.gep(pointer, [offset], source_etype=self.scalar)

    def load(self, pointer: Value, offset: Value) -> Value:
        """The elements from `offset` on, aligned as elements are."""
        return self.builder.load(self.address(pointer, offset), align=self.bits // 8, typ=self.type)

    def store(self, x: Value, pointer: Value, offset: Value) -> None:
        """Put a vector at the elements from `offset` on, aligned as elements are."""
        self.builder.store(x, self.address(pointer, offset), align=self.bits // 8)

    def load_scalar(self, pointer: Value, offset: Value) -> Value:
        """One element, as a scalar."""
        return self.builder.load(self.address(pointer, offset), align=self.bits // 8, typ=self.scalar)

    def broadcast(self, pointer: Value, offset: Value) -> Value:
        """One element, in every lane."""
        return self.splat(self.load_scalar(pointer, offset))

    def gather(self, pointer: Value, offset: Value, stride: Value) -> Value:
        """The elements at `offset`, `offset + stride`, `offset + 2 stride` ..."""
        scalars = []
        for _ in range(self.width):
            scalars.append(self.load_scalar(pointer, offset))
            offset = self.builder.add(offset, stride)
        return self.join(scalars)

    # --- arithmetic, each rounded once --------------------------------------------------------------------------------

    def add(self, x1: Value, x2: Value) -> Value:
        """x1 + x2."""
        return self.builder.fadd(x1, x2)

    def subtract(self, x1: Value, x2: Value) -> Value:
        """x1 - x2."""
        return self.builder.fsub(x1, x2)

    def multiply(self, x1: Value, x2: Value) -> Value:
        """x1 x2."""
        return self.builder.fmul(x1, x2)

    def divide(self, x1: Value, x2: Value) -> Value:
        """x1 / x2."""
        return self.builder.fdiv(x1, x2)

    def fma(self, x1: Value, x2: Value, x3: Value) -> Value:
        """x1 x2 + x3, rounded once."""
        return self._intrinsic("fma", x1, x2, x3)

    def negate(self, x: Value) -> Value:
        """-x: the sign bit turned, of NaN too."""
        return self.builder.fneg(x)

    def absolute(self, x: Value) -> Value:
        """|x|: the sign bit cleared, of NaN too."""
        return self._intrinsic("fabs", x)

    def sqrt(self, x: Value) -> Value:
        """The square root, rounded once."""
        return self._intrinsic("sqrt", x)

    def floor(self, x: Value) -> Value:
        """The largest whole number that is not above x."""
        return self._intrinsic("floor", x)

    def rint(self, x: Value) -> Value:
        """The nearest whole number, the even one of two."""
        return self._intrinsic("rint", x)

    # --- order --------------------------------------------------------------------------------------------------------

    def less(self, x1: Value, x2: Value) -> Value:
        """A mask: x1 < x2 and neither is NaN."""
        return self.builder.fcmp_ordered("<", x1, x2)

    def greater(self, x1: Value, x2: Value) -> Value:
        """A mask: x1 > x2 and neither is NaN."""
        return self.builder.fcmp_ordered(">", x1, x2)

    def equal(self, x1: Value, x2: Value) -> Value:
        """A mask: x1 = x2 and neither is NaN."""
        return self.builder.fcmp_ordered("==", x1, x2)

    def unequal(self, x1: Value, x2: Value) -> Value:
        """A mask: x1 is not x2, or one of them is NaN."""
        return self.builder.fcmp_unordered("!=", x1, x2)

    def is_nan(self, x: Value) -> Value:
        """A mask: x is NaN."""
        return self.builder.fcmp_unordered("uno", x, x)

    def select(self, mask: Value, x1: Value, x2: Value) -> Value:
        """x1 where the mask is set, else x2."""
        return self.builder.select(mask, x1, x2)

    def any(self, mask: Value) -> Value:
        """Whether the mask is set in any lane, as one bit."""
        if self.width == 1:
            return mask
        together = ir.IntType(self.width)
        return self.builder.icmp_unsigned("!=", self.builder.bitcast(mask, together), together(0))

    def at_least(self, x: Value, bound: Value) -> Value:
        """max(x, bound) for a bound that is not NaN: NaN stays, and one x86 instruction does it (vmaxps bound, x)."""
        return self.select(self.greater(bound, x), bound, x)

    def at_most(self, x: Value, bound: Value) -> Value:
        """min(x, bound) for a bound that is not NaN: NaN stays, and one x86 instruction does it (vminps bound, x)."""
        return self.select(self.less(bound, x), bound, x)

    def maximum(self, x1: Value, x2: Value) -> Value:
        """max(x1, x2), NaN where either is; of zeros x2. llvm.maximum, which orders zeros, takes twice the instructions."""
        return self.select(self.is_nan(x1), self.nan, self.at_least(x2, x1))

    def minimum(self, x1: Value, x2: Value) -> Value:
        """min(x1, x2), NaN where either is; of zeros x2."""
        return self.select(self.is_nan(x1), self.nan, self.at_most(x2, x1))

    # --- bits ---------------------------------------------------------------------------------------------------------

    def as_integers(self, x: Value) -> Value:
        """The bits of floating numbers."""
        return self.builder.bitcast(x, self.integers)

    def as_floats(self, x: Value) -> Value:
        """The floating numbers that have these bits."""
        return self.builder.bitcast(x, self.type)

    def to_floats(self, x: Value) -> Value:
        """The floating numbers nearest to signed integers."""
        return self.builder.sitofp(x, self.type)

    def add_bits(self, x1: Value, x2: Value) -> Value:
        """x1 + x2 of integers, which wrap around."""
        return self.builder.add(x1, x2)

    def subtract_bits(self, x1: Value, x2: Value) -> Value:
        """x1 - x2 of integers, which wrap around."""
        return self.builder.sub(x1, x2)

    def left(self, x: Value, places: int) -> Value:
        """Bits shifted to the left."""
        return self.builder.shl(x, self.whole(places))

    def right(self, x: Value, places: int) -> Value:
        """Bits shifted to the right, the sign following."""
        return self.builder.ashr(x, self.whole(places))

    def unsigned_right(self, x: Value, places: int) -> Value:
        """Bits shifted to the right, zeros following."""
        return self.builder.lshr(x, self.whole(places))

    def both(self, x1: Value, x2: Value) -> Value:
        """Bits set in both."""
        return self.builder.and_(x1, x2)

    def either(self, x1: Value, x2: Value) -> Value:
        """Bits set in either."""
        return self.builder.or_(x1, x2)

    def differ(self, x1: Value, x2: Value) -> Value:
        """Bits set in one of the two."""
        return self.builder.xor(x1, x2)

    def has_bits(self, x: Value, bits: int) -> Value:
        """A mask: some of these bits are set in the integers."""
        return self.builder.icmp_unsigned("!=", self.both(x, self.whole(bits)), self.whole(0))

    def sign_bits(self, x: Value) -> Value:
        """Of the bits of floating numbers the sign."""
        return self.both(self.as_integers(x), self.whole(1 << (self.bits - 1)))
