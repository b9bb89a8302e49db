"""Products of a few rows with a large matrix, which a loop takes where few examples run.

Before a product of more than 100^3 multiplications OpenBLAS copies the matrix into its own order. For many rows that pays;
for a few it costs several times the product. So the loop brings, beside the matrix, panels of it: 64 outputs each, laid out
one behind another, so small that nothing is copied. With other libraries the panels are merely another way to sum.
"""

import numpy as np

from elman.gates import Array
from elman.shapes import Shape

FEW, UNCOPIED, WIDTH = 16, 100**3, 64
"""Rows for which panels are faster, also where many rows would be shared between threads; multiplications of a product that
is taken without a copy; outputs of a panel."""


def is_large(shape: Shape) -> bool:
    """Whether products of few rows with a matrix would copy it."""
    return FEW * int(np.prod(shape)) > UNCOPIED


def by_columns(w: Array) -> Array:
    """The same matrix with its columns in one piece each, which `h @ w.T` reads fastest, most of all for few rows.

    It is copied 32 rows at a time, so that both sides stay in cache.
    """
    if w.flags.f_contiguous:
        return w
    turned = np.empty(w.shape[::-1], w.dtype)
    for start in range(0, len(w), 32):
        turned[:, start : start + 32] = w[start : start + 32].T
    return turned.T


def panels_of(w: Array) -> Array:
    """A matrix `[outputs, columns]` as panels `[panels, columns, 64]`; the last is filled up with zeros."""
    panels = np.zeros((-(-len(w) // WIDTH), w.shape[1], WIDTH), w.dtype)
    for k, panel in enumerate(panels):
        part = w[k * WIDTH : (k + 1) * WIDTH]
        panel[:, : len(part)] = part.T
    return panels


def product(x: Array, w: Array, panels: Array | None) -> Array:
    """`x @ w.T`, panel by panel where there are panels and a few rows."""
    rows, columns = x.shape
    if panels is None or not 1 < rows <= min(FEW, UNCOPIED // (columns * WIDTH)):
        return x @ w.T
    y = np.empty((rows, len(panels), WIDTH), x.dtype)
    np.matmul(x, panels, out=y.swapaxes(0, 1))
    return y.reshape(rows, len(panels) * WIDTH)[:, : len(w)]
