"""Numbers of C: literals of a floating type, and arrays of them that come back to the bit."""

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.gates import Array

WIDE = 100
"""Columns of an array."""


@dataclass(frozen=True)
class Real:
    """A floating type: what C calls it, and what stands behind its literals and the names of its functions."""

    dtype: np.dtype[Any]

    @property
    def name(self) -> str:
        """The type."""
        return "float" if self.dtype.itemsize == 4 else "double"

    @property
    def ending(self) -> str:
        """What functions and literals of the type end in."""
        return "f" if self.dtype.itemsize == 4 else ""

    def literal(self, value: Any) -> str:
        """A number in as few digits as bring it back.

        >>> Real(np.dtype("float32")).literal(0.1), Real(np.dtype("float64")).literal(-np.inf)
        ('0.1f', '-INFINITY')
        """
        number = self.dtype.type(value)
        return _special(number) or f"{float(str(number))!r}{self.ending}"

    def exact(self, value: Any) -> str:
        """A number in hexadecimal, which every compiler of C99 reads to the bit; of decimals it may take the next.

        >>> Real(np.dtype("float32")).exact(0.1)
        '0x1.99999ap-4f'
        """
        number = self.dtype.type(value)
        mantissa, _, exponent = float(number).hex().partition("p")
        short = mantissa.rstrip("0").removesuffix(".") if "." in mantissa else mantissa
        return _special(number) or f"{short}p{exponent}{self.ending}"

    def array(self, name: str, values: Array) -> str:
        """The definition of a constant array; a matrix begins a line with every row, one below the other."""
        size = " * ".join(str(int(n)) for n in values.shape) or "1"
        lines = []
        for row in values.reshape(-1, values.shape[-1] if values.ndim > 1 else max(1, values.size)):
            text = ", ".join(map(self.exact, row)) + ","
            lines += textwrap.wrap(text, WIDE, initial_indent="    ", subsequent_indent="    ")
        return "\n".join([f"static const {self.name} {name}[{size}] = {{", *lines, "};"])


def _special(number: Any) -> str:
    if np.isnan(number):
        return "NAN"
    return "" if np.isfinite(number) else "INFINITY" if number > 0 else "-INFINITY"
