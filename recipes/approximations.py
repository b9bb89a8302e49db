"""Derives the constants of `src/elman/targets/llvm/words.py`: minimax polynomials, by Remez's exchange (1934).

    python recipes/approximations.py > src/elman/targets/llvm/constants.py

Each polynomial c is what remains of a function once its first terms are taken off: those stay exact, so small arguments give
what they should. The weight turns the error of c into the relative error of the function. Computed with 60 digits, and
rounded to the type in the end. Needs mpmath.
"""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from mpmath import cos, exp, expm1, fabs, floor, log, log1p, lu_solve, matrix, mp, mpf, nstr, pi, polyval, sign, sin, sqrt

Function = Callable[[mpf], mpf]
TYPES = ("float32", "float64")
MORE = mpf("1.01")
"""A multiple is found in floating point, so what remains of an argument may be a little more than half of its unit."""

mp.dps = 60
LN2 = log(2)


@dataclass(frozen=True)
class Fit:
    """A function of c, c itself, the weight of its error, the interval, and the degrees for both types."""

    formula: str
    remains: Function
    weight: Function
    low: mpf
    high: mpf
    degrees: tuple[int, int]


def _sine(z: mpf) -> mpf:
    return sin(sqrt(z)) / sqrt(z)


END = (pi / 4 * MORE) ** 2
FITS = {
    "EXP": Fit(
        "exp(r) = 1 + r + r^2 c(r) for |r| <= ln 2 / 2",
        lambda r: (expm1(r) - r) / r**2, lambda r: r**2 / exp(r), -LN2 / 2 * MORE, LN2 / 2 * MORE, (4, 9),
    ),
    "TANH": Fit(
        "(exp(2 r) - 1) / 2 = r + r^2 c(r) for |r| <= ln 2 / 4",
        lambda r: (expm1(2 * r) / 2 - r) / r**2, lambda r: 2 * r**2 / expm1(2 * r), -LN2 / 4 * MORE, LN2 / 4 * MORE, (4, 9),
    ),
    "LOG": Fit(
        "ln(1 + f) = f + f^2 c(f) for 1 + f between sqrt(1/2) and sqrt(2)",
        lambda f: (log1p(f) - f) / f**2, lambda f: f**2 / log1p(f), 1 / sqrt(2) - 1, sqrt(2) - 1, (8, 18),
    ),
    "LOG1P": Fit(
        "ln(1 + f) = f + f^2 c(f) for f between 0 and 1",
        lambda f: (log1p(f) - f) / f**2, lambda f: f**2 / log1p(f), mpf(0), mpf(1), (9, 18),
    ),
    "SIN": Fit(
        "sin r = r + r z c(z) with z = r^2 for |r| <= pi / 4",
        lambda z: (_sine(z) - 1) / z, lambda z: z / _sine(z), mpf(0), END, (2, 5),
    ),
    "COS": Fit(
        "cos r = 1 - z / 2 + z^2 c(z) with z = r^2 for |r| <= pi / 4",
        lambda z: (cos(sqrt(z)) - 1 + z / 2) / z**2, lambda z: z**2 / cos(sqrt(z)), mpf(0), END, (2, 5),
    ),
}  # fmt: skip


def spread(low: mpf, high: mpf, count: int) -> list[mpf]:
    """Points of an interval, denser towards its ends as extrema are, none at an end or at 0."""
    return [(low + high) / 2 - (high - low) / 2 * cos(pi * (k + mpf("0.37")) / count) for k in range(count)]


def extrema(points: Sequence[mpf], errors: Sequence[mpf]) -> list[mpf]:
    """Of every run of one sign the point where the error is largest."""
    found: list[tuple[mpf, mpf]] = []
    for point, error in zip(points, errors, strict=True):
        if not found or sign(found[-1][1]) != sign(error):
            found.append((point, error))
        elif fabs(error) > fabs(found[-1][1]):
            found[-1] = point, error
    return [point for point, _ in found]


def minimax(fit: Fit, degree: int) -> tuple[list[mpf], mpf]:
    """Coefficients from the lowest power up, and the largest weighted error."""
    points = spread(fit.low, fit.high, 40 * (degree + 2))
    values = [(fit.remains(x), fabs(fit.weight(x))) for x in points]
    nodes = spread(fit.low, fit.high, degree + 2)
    for _ in range(6):
        rows = [[x**k for k in range(degree + 1)] + [(-1) ** n / fabs(fit.weight(x))] for n, x in enumerate(nodes)]
        *c, _ = lu_solve(matrix(rows), matrix([fit.remains(x) for x in nodes]))
        errors = [weight * (value - polyval(c[::-1], x)) for x, (value, weight) in zip(points, values, strict=True)]
        nodes = extrema(points, errors)
        assert len(nodes) == degree + 2, f"{len(nodes)} extrema for degree {degree}"
    return c, max(map(fabs, errors))


def parts(number: mpf, dtype: str, count: int) -> list[str]:
    """Numbers of a type whose sum is a number: each holds the next digits, the last is rounded."""
    found = []
    for _ in range(count):
        found.append(np.dtype(dtype).type(float(number)))
        number -= mpf(float(found[-1]))
    return [str(part) for part in found]


def show(name: str, formula: str, rows: dict[str, Sequence[str]]) -> None:
    """Print one constant with what it is."""
    print(f"\n{name} = {{")
    for dtype, numbers in rows.items():
        print(textwrap.fill(f'"{dtype}": ({", ".join(numbers)}),', 125, initial_indent="    ", subsequent_indent="        "))
    print(f'}}\n"""{formula}"""')


def main() -> None:
    """Print the module."""
    print('"""Made by recipes/approximations.py: what the functions of `words` are made of, lowest powers first."""')
    print("\n# fmt: off")
    for name, fit in FITS.items():
        rows, errors = {}, []
        for dtype, degree in zip(TYPES, fit.degrees, strict=True):
            c, error = minimax(fit, degree)
            rows[dtype] = [str(np.dtype(dtype).type(float(number))) for number in c]
            errors.append(nstr(error, 2))
        show(name, f"{fit.formula}: relative error {errors[0]} and {errors[1]}.", rows)
    show("LN2", "ln 2, as a sum.", {dtype: parts(LN2, dtype, 2) for dtype in TYPES})
    show("HALF_PI", "pi / 2, as a sum.", {dtype: parts(pi / 2, dtype, 3) for dtype in TYPES})
    mp.dps = 420
    print("\nTWO_OVER_PI = int(")
    print(
        textwrap.indent(
            "\n".join(f'"{line}"' for line in textwrap.wrap(f"{int(floor(mpf(2) ** 1216 * 2 / pi)):x}", 110)), "    "
        )
    )
    print('    , 16)\n"""The first 1216 binary places of 2 / pi."""')


if __name__ == "__main__":
    main()
