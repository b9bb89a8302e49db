"""Quarter turns in arguments of sin and cos that are too large for floating point, in whole numbers (Payne and Hanek 1983).

x = M 2^k with a whole number M. Of x 2/pi only what is below 4 matters, so only a window of the digits of 2/pi does: those
whose product with M 2^k is neither a multiple of 4 nor too small to be seen. Integers wrap around, which drops the rest.
"""

from llvmlite import ir

from elman.targets.llvm.constants import HALF_PI, TWO_OVER_PI
from elman.targets.llvm.vectors import Value, Vectors

PLACES = 1216
"""Binary places of 2/pi in the table: the largest exponent and the window behind it."""

WINDOW = 192
"""Two places before the point; behind it enough for 53 places of what remains, which is 2^-62 quarters or more."""

WIDE = ir.IntType(256)
I64, F64 = ir.IntType(64), ir.DoubleType()


def far_quarters(v: Vectors, x: Value, far: Value, r: Value, n: Value) -> tuple[Value, Value]:
    """r and n of x = n pi/2 + r: anew where the mask `far` is set, as given elsewhere. Opens blocks."""
    b, before = v.builder, v.builder.block
    with b.if_then(v.any(far), likely=False):
        function = _function(v)
        # 2^100 stands in for arguments that are not far: the table does not begin where theirs would be
        pairs = [b.call(function, [lane]) for lane in v.lanes(v.select(far, x, v.const(2.0**100)))]
        rests, counts = (v.join([b.extract_value(pair, place) for pair in pairs]) for place in (0, 1))
        rest, count = v.select(far, rests, r), v.select(far, counts, n)
        after = b.block
    merged = []
    for old, new in ((r, rest), (n, count)):
        phi = b.phi(old.type)
        phi.add_incoming(old, before)
        phi.add_incoming(new, after)
        merged.append(phi)
    return merged[0], merged[1]


def _table(module: ir.Module) -> Value:
    """The places of 2/pi as bytes, lowest first, zeros on top."""
    name = "two_over_pi"
    if name not in module.globals:
        content = bytearray(TWO_OVER_PI.to_bytes(PLACES // 8 + WIDE.width // 8, "little"))
        kind = ir.ArrayType(ir.IntType(8), len(content))
        table = ir.GlobalVariable(module, kind, name)
        table.linkage, table.global_constant, table.initializer = "internal", True, ir.Constant(kind, content)
    return module.globals[name]


def _function(v: Vectors) -> Value:
    """The function of one number of the type that gives r and n."""
    name = f"quarters.{v.dtype}"
    if name not in v.module.globals:
        pair = ir.LiteralStructType([v.scalar, v.integer])
        function = ir.Function(v.module, ir.FunctionType(pair, [v.scalar]), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        _write(Vectors(ir.IRBuilder(function.append_basic_block()), v.module, v.dtype, 1), function.args[0], pair)
    return v.module.globals[name]


def _write(v: Vectors, x: Value, pair: ir.Type) -> None:
    """The body of the function: the whole number of quarters next to x, and what remains, of either sign."""
    b = v.builder
    quarters = _turn(v, x)
    n = b.lshr(b.add(quarters, WIDE(1 << (WIDE.width - 3))), WIDE(WIDE.width - 2))
    rest = b.sub(quarters, b.shl(n, WIDE(WIDE.width - 2)))
    negative = b.icmp_signed("<", rest, WIDE(0))
    r = _angle(b, b.select(negative, b.neg(rest), rest))
    r = b.select(negative, b.fneg(r), r)
    answer = ir.Constant(pair, ir.Undefined)
    answer = b.insert_value(answer, r if v.scalar == F64 else b.fptrunc(r, v.scalar), 0)
    b.ret(b.insert_value(answer, b.trunc(n, v.integer), 1))


def _turn(v: Vectors, x: Value) -> Value:
    """How many quarter turns x is, modulo 4, as WINDOW bits at the top of an integer."""
    b, bits = v.builder, v.as_integers(x)
    m = v.either(v.both(bits, v.whole((1 << v.fraction) - 1)), v.whole(1 << v.fraction))
    k = v.subtract_bits(v.unsigned_right(bits, v.fraction), v.whole(v.bias + v.fraction))
    # of 2/pi 2^(k + WINDOW - 2) the lowest WINDOW places before the point: the table shifted to the right
    shift = v.subtract_bits(v.whole(PLACES - (WINDOW - 2)), k)
    byte = b.gep(_table(v.module), [v.unsigned_right(shift, 3)], source_etype=ir.IntType(8))
    loaded = b.load(byte, align=1, typ=WIDE)
    window = b.lshr(loaded, b.zext(v.both(shift, v.whole(7)), WIDE))
    return b.shl(b.mul(b.zext(m, WIDE), window), WIDE(WIDE.width - WINDOW))


def _angle(b: ir.IRBuilder, quarters: Value) -> Value:
    """Quarter turns, 2^(2 - WIDE) each, in radians: float64, from the 64 leading bits, in two parts."""
    zeros = b.ctlz(quarters, ir.IntType(1)(0))
    leading = b.trunc(b.lshr(b.shl(quarters, zeros), WIDE(WIDE.width - 64)), I64)
    top = b.uitofp(b.lshr(leading, I64(11)), F64)
    bottom = b.fmul(b.uitofp(b.and_(leading, I64(2047)), F64), F64(2.0**-11))
    high, low, _ = HALF_PI["float64"]
    y = b.fma(top, F64(high), b.fma(top, F64(low), b.fmul(bottom, F64(high))))
    # top counts units of 2^(11 - 62 - zeros) quarters
    exponent = b.sub(I64(1023 + 11 - 62), b.trunc(zeros, I64))
    return b.fmul(y, b.bitcast(b.shl(exponent, I64(52)), F64))
