"""The words of the LLVM target: for every elementwise gate the operations that compute it on a vector.

A word is a fixed sequence of IEEE operations, written for one vector of any width. It is right for every argument: denormal
numbers (where a caller flushes them to zero they are zeros), signed zeros, infinities, NaN. Docstrings tell the largest
errors, in units in the last place: of all float32 numbers, and of some millions of float64. They are measured by
`benchmarks/activation_errors.py`; constants come from `recipes/approximations.py`.

The exponential functions share one idea (Tang 1989, here without tables): x = n u + r with a whole number n; 2^n is made by
shifting the bits of n into the exponent, and a polynomial in r does the rest. Where a result may be denormal, only the last
operation rounds it.
"""

from collections.abc import Callable, Sequence
from math import sqrt

from elman.targets.llvm.constants import COS, EXP, HALF_PI, LN2, LOG, LOG1P, SIN, TANH
from elman.targets.llvm.reduction import far_quarters
from elman.targets.llvm.vectors import Value, Vectors

Word = Callable[..., Value]
"""Takes the vectors, then one value for each input of the gate."""

LN_2, QUARTER_TURN = LN2["float64"][0], HALF_PI["float64"][0]

EXP_RANGE = {"float32": (-104.0, 89.0), "float64": (-746.0, 710.0)}
"""Where exp is neither 0 nor infinite, rounded outwards."""

SIGMOID_RANGE = {"float32": (-104.0, 18.0), "float64": (-746.0, 38.0)}
"""Where sigmoid is neither 0 nor 1, rounded outwards."""

TANH_END = {"float32": 9.2, "float64": 19.5}
"""Where tanh is 1."""

NEAR = {"float32": 1e5, "float64": 1e9}
"""Up to here three parts of pi/2 reduce the argument of sin and cos; above, whole numbers do."""


# --- parts ------------------------------------------------------------------------------------------------------------


def _polynomial(v: Vectors, x: Value, coefficients: Sequence[float]) -> Value:
    """By Horner's rule, lowest power first."""
    y = v.const(coefficients[-1])
    for c in coefficients[-2::-1]:
        y = v.fma(y, x, v.const(c))
    return y


def _halves(v: Vectors, x: Value, square: Value, coefficients: Sequence[float]) -> Value:
    """Even and odd powers apart: as many operations as Horner's rule where x^2 is at hand, half as long a chain."""
    even, odd = _polynomial(v, square, coefficients[::2]), _polynomial(v, square, coefficients[1::2])
    return v.fma(odd, x, even)


def _nearest(v: Vectors, x: Value, unit: float, offset: int = 0) -> tuple[Value, Value]:
    """The whole number n nearest to x / unit: as a floating number, and n + offset as the low bits of an integer.

    A sum with 1.5 2^fraction has no place for a fraction, and ends in the bits of the whole number. To round and to convert
    would be an operation more, and for float64 no vector instruction before AVX-512.
    """
    magic = v.const(1.5 * 2**v.fraction + offset)
    t = v.fma(x, v.const(1 / unit), magic)
    return v.subtract(t, magic), v.as_integers(t)


def _power_of_two(v: Vectors, bits: Value) -> Value:
    """2^(n - bias) of the low bits of n."""
    return v.as_floats(v.left(bits, v.fraction))


def _power_less_one(v: Vectors, r: Value) -> Value:
    """e^r - 1 for |r| <= ln 2 / 2."""
    square = v.multiply(r, r)
    return v.fma(square, _halves(v, r, square, EXP[v.dtype]), r)


def _exp(v: Vectors, x: Value) -> Value:
    """e^x = 2^n e^r with x = n ln 2 + r, for x above the lower end of the range of exp.

    2^n is a product of two powers: the first product is exact and the second rounds, also to denormal numbers.
    """
    n, bits = _nearest(v, x, LN_2, 2 * v.bias)
    high, low = LN2[v.dtype]
    q = _power_less_one(v, v.fma(n, v.const(-low), v.fma(n, v.const(-high), x)))
    exponents = v.whole((1 << (v.bits - 1)) - (1 << v.fraction))
    first = v.both(v.left(bits, v.fraction - 1), exponents)  # of half the exponent
    second = v.subtract_bits(v.left(bits, v.fraction), first)
    return v.multiply(v.multiply(v.add(q, v.one), v.as_floats(first)), v.as_floats(second))


# --- activations ------------------------------------------------------------------------------------------------------


def exp(v: Vectors, x: Value) -> Value:
    """e^x, from denormal numbers to infinity. Errors 1.04 and 1.06."""
    low, high = EXP_RANGE[v.dtype]
    return _exp(v, v.at_most(v.at_least(x, v.const(low)), v.const(high)))


def sigmoid(v: Vectors, x: Value) -> Value:
    """1 / (1 + e^-x) = c / (c + c 2^n e^r) with -x = n ln 2 + r.

    The constant c = 2^-48 (float32) or 2^-512 keeps the divisor in range where the result is denormal. The divisor is
    (q s + c) + s with s = c 2^n and q = e^r - 1: e^r s + c would lose 2.5 units. Errors 2.00 and 2.00.
    """
    small = 48 if v.dtype == "float32" else 512
    low, high = SIGMOID_RANGE[v.dtype]
    x = v.at_most(v.at_least(x, v.const(low)), v.const(high))
    n, bits = _nearest(v, x, -LN_2, v.bias - small)
    high, low = LN2[v.dtype]
    q = _power_less_one(v, v.fma(n, v.const(-low), v.fma(n, v.const(-high), v.negate(x))))
    c, s = v.const(2.0**-small), _power_of_two(v, bits)
    return v.divide(c, v.add(v.fma(q, s, c), s))


def tanh(v: Vectors, x: Value) -> Value:
    """t / (t + 1) with t = (e^2|x| - 1) / 2, and the sign of x; odd, and never above 1.

    t = q 2^n + (2^n - 1) / 2 with |x| = n ln 2 / 2 + r and q = (e^2r - 1) / 2. The quotient alone would lose 2.3 units, so
    it only corrects: with m = min(t, 1), m - m (m / (t + 1)) is t / (t + 1) below 1 and 1 - 1 / (t + 1) above.
    Errors 1.96 and 2.15.
    """
    size = v.at_most(v.absolute(x), v.const(TANH_END[v.dtype]))
    n, bits = _nearest(v, size, LN_2 / 2, v.bias)
    r = v.fma(n, v.const(-LN_2 / 2), size)
    square = v.multiply(r, r)
    q = v.fma(square, _halves(v, r, square, TANH[v.dtype]), r)
    s = _power_of_two(v, bits)
    t = v.fma(q, s, v.fma(s, v.const(0.5), v.const(-0.5)))
    m = v.at_most(t, v.one)
    y = v.fma(v.negate(m), v.divide(m, v.add(t, v.one)), m)
    return v.as_floats(v.either(v.as_integers(y), v.sign_bits(x)))


def ln(v: Vectors, x: Value) -> Value:
    """ln x = e ln 2 + ln(1 + f) with x = 2^e (1 + f) and 1 + f between sqrt(1/2) and sqrt(2). Errors 1.00 and 1.18."""
    places, bias = v.fraction, v.bias
    denormal = v.less(x, v.const(2.0 ** (1 - bias)))
    bits = v.as_integers(v.select(denormal, v.multiply(x, v.const(2.0**places)), x))
    # counted from sqrt(1/2): below it a number belongs to the next lower power of two
    start = v.as_integers(v.const(sqrt(0.5)))
    bits = v.add_bits(bits, v.subtract_bits(v.whole(bias << places), start))
    f = v.subtract(v.as_floats(v.add_bits(v.both(bits, v.whole((1 << places) - 1)), start)), v.one)
    # an exponent in the low bits of 2^fraction is the number 2^fraction + exponent
    exponent = v.as_floats(v.either(v.unsigned_right(bits, places), v.as_integers(v.const(2.0**places))))
    base = 2.0**places + bias
    e = v.subtract(exponent, v.select(denormal, v.const(base + places), v.const(base)))
    square = v.multiply(f, f)
    high, low = LN2[v.dtype]
    rest = v.fma(square, _halves(v, f, square, LOG[v.dtype]), v.multiply(e, v.const(low)))
    y = v.fma(e, v.const(high), v.add(f, rest))
    y = v.select(v.less(x, v.infinity), y, x)
    y = v.select(v.less(x, v.zero), v.nan, y)
    return v.select(v.equal(x, v.zero), v.negate(v.infinity), y)


def softplus(v: Vectors, x: Value) -> Value:
    """ln(1 + e^x) = max(x, 0) + ln(1 + y) with y = e^-|x|. Errors 2.00 and 1.93."""
    low, _ = EXP_RANGE[v.dtype]
    y = _exp(v, v.at_least(v.negate(v.absolute(x)), v.const(low)))
    square = v.multiply(y, y)
    return v.add(v.at_least(x, v.zero), v.fma(square, _polynomial(v, y, LOG1P[v.dtype]), y))


def relu(v: Vectors, x: Value) -> Value:
    """max(x, 0)."""
    return v.at_least(x, v.zero)


# --- waves ------------------------------------------------------------------------------------------------------------


def _quarters(v: Vectors, x: Value) -> tuple[Value, Value]:
    """r and the low bits of n of x = n pi/2 + r, for x not below 0; after Cody and Waite (1980), with fused products.

    Far arguments are rare in a network, and go lane by lane: a branch that is taken where any lane needs it.
    """
    n, bits = _nearest(v, x, QUARTER_TURN)
    r = x
    for part in HALF_PI[v.dtype]:
        r = v.fma(n, v.const(-part), r)
    far = v.builder.and_(v.greater(x, v.const(NEAR[v.dtype])), v.less(x, v.infinity))
    return far_quarters(v, x, far, r, bits)


def _wave(v: Vectors, x: Value, start: int) -> Value:
    """sin(x + start pi/2) for x not below 0: sin r or cos r, as n + start is even or odd, and negative in a second half."""
    r, n = _quarters(v, x)
    n = v.add_bits(n, v.whole(start))
    z = v.multiply(r, r)
    sine = v.fma(v.multiply(r, z), _polynomial(v, z, SIN[v.dtype]), r)
    cosine = _polynomial(v, z, (1.0, -0.5, *COS[v.dtype]))
    y = v.select(v.has_bits(n, 1), cosine, sine)
    return v.as_floats(v.differ(v.as_integers(y), v.left(v.both(n, v.whole(2)), v.bits - 2)))


def sin(v: Vectors, x: Value) -> Value:
    """sin x, odd, of any x. Errors 1.55 and 1.46."""
    y = _wave(v, v.absolute(x), 0)
    return v.as_floats(v.differ(v.as_integers(y), v.sign_bits(x)))


def cos(v: Vectors, x: Value) -> Value:
    """cos x, even, of any x. Errors 1.56 and 1.46."""
    return _wave(v, v.absolute(x), 1)


# --- the table --------------------------------------------------------------------------------------------------------


def greater(v: Vectors, x1: Value, x2: Value) -> Value:
    """1 where x1 > x2, else 0."""
    return v.select(v.greater(x1, x2), v.one, v.zero)


def where(v: Vectors, condition: Value, x1: Value, x2: Value) -> Value:
    """x1 where the condition is not zero (NaN is not), else x2."""
    return v.select(v.unequal(condition, v.zero), x1, x2)


WORDS: dict[str, Word] = {
    "add": Vectors.add,
    "subtract": Vectors.subtract,
    "multiply": Vectors.multiply,
    "divide": Vectors.divide,
    "negate": Vectors.negate,
    "maximum": Vectors.maximum,
    "minimum": Vectors.minimum,
    "greater": greater,
    "where": where,
    "detach": lambda v, x, condition: x,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "relu": relu,
    "exp": exp,
    "log": ln,
    "softplus": softplus,
    "sqrt": Vectors.sqrt,
    "absolute": Vectors.absolute,
    "sin": sin,
    "cos": cos,
}
