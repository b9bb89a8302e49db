"""The words of the NumPy target: for every gate its expression, and the few functions that the expressions call.

A word is written for values with a leading axis of rows and for parameters without one, so it counts axes from the end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.gates import GATES, Array, log_softmax, softmax
from elman.nodes import Node
from elman.shapes import Shape
from elman.targets.few_rows import product

__all__ = [
    "broadcast",
    "column_of",
    "columns_total",
    "cross_entropy",
    "log_softmax",
    "one_hot",
    "pad",
    "product",
    "rows_of",
    "scatter",
    "sigmoid",
    "softmax",
]


@dataclass(frozen=True)
class Word:
    """An expression and how tightly it binds (see `Gate.binds`)."""

    text: str
    binds: int = 9
    number: bool = False
    """A number of Python, which takes the floating type of what it meets."""

    def tight(self, binds: int) -> str:
        """The text, in brackets where it binds less tightly than asked."""
        return self.text if self.binds >= binds else f"({self.text})"


Write = Callable[[Sequence[Word], Node, Sequence[bool], Sequence[Shape], Any], Word]


def _operator(symbol: str, binds: int) -> Write:
    def write(w: Sequence[Word], *_: Any) -> Word:
        return Word(f"{w[0].tight(binds)} {symbol} {w[1].tight(binds + 1)}", binds)

    return write


def _call(function: str) -> Write:
    def write(w: Sequence[Word], *_: Any) -> Word:
        return Word(f"{function}({', '.join(word.text for word in w)})")

    return write


def _negate(w: Sequence[Word], *_: Any) -> Word:
    return Word(f"-{w[0].tight(3)}", 3)


def _same(w: Sequence[Word], *_: Any) -> Word:
    return w[0]


def _greater(w: Sequence[Word], node: Node, shared: Any, shapes: Any, dtype: Any) -> Word:
    return Word(f"np.greater({w[0].text}, {w[1].text}).astype(np.{dtype})")


def _where(w: Sequence[Word], node: Node, shared: Any, shapes: Any, dtype: Any) -> Word:
    first = f"np.{dtype}({w[1].text})" if w[1].number and w[2].number else w[1].text
    return Word(f"np.where({w[0].text}, {first}, {w[2].text})")


def _product(w: Sequence[Word], node: Node, shared: Sequence[bool], shapes: Any, dtype: Any) -> Word:
    if shared[0]:  # [rows, columns] with the weights [n, columns]: the batch comes first, so the weights are turned
        return Word(f"{w[1].tight(2)} @ {w[0].tight(9)}.T", 2)
    return Word(f'np.einsum("...ij,...j->...i", {w[0].text}, {w[1].text})')


def _outer(w: Sequence[Word], *_: Any) -> Word:
    return Word(f"{w[0].tight(9)}[..., :, None] * {w[1].tight(9)}[..., None, :]", 2)


def _transpose(w: Sequence[Word], *_: Any) -> Word:
    return Word(f"{w[0].tight(9)}.swapaxes(-1, -2)")


def _reduction(method: str) -> Write:
    def write(w: Sequence[Word], node: Node, shared: Any, shapes: Sequence[Shape], dtype: Any) -> Word:
        return Word(f"{w[0].tight(9)}.{method}({'-1' if len(shapes[0]) == 1 else '(-2, -1)'})")

    return write


def _axis(shape: Shape) -> int:
    return -len(shape)


def _slice(w: Sequence[Word], node: Node, shared: Any, shapes: Sequence[Shape], dtype: Any) -> Word:
    rest = ", :" * (len(shapes[0]) - 1)
    return Word(f"{w[0].tight(9)}[..., {node.settings['start']}:{node.settings['stop']}{rest}]")


def _pad(w: Sequence[Word], node: Node, shared: Any, shapes: Sequence[Shape], dtype: Any) -> Word:
    return Word(f"pad({w[0].text}, {node.settings['before']}, {node.settings['after']}, {_axis(shapes[0])})")


def _rowed(w: Sequence[Word], shared: Sequence[bool]) -> list[str]:
    """The operands; a parameter beside values with rows needs rows too."""
    texts = [word.text for word in w]
    if not any(shared) or all(shared):
        return texts
    like = texts[list(shared).index(False)]
    return [f"rows_of({text}, {like})" if s else text for text, s in zip(texts, shared, strict=True)]


def _concatenate(w: Sequence[Word], node: Node, shared: Sequence[bool], shapes: Sequence[Shape], dtype: Any) -> Word:
    return Word(f"np.concatenate(({', '.join(_rowed(w, shared))},), {_axis(node.shape)})")


def _lookup(w: Sequence[Word], node: Node, shared: Sequence[bool], *_: Any) -> Word:
    if shared[0]:
        return Word(f"{w[0].tight(9)}.T[{w[1].text}]")
    return Word(f"column_of({w[0].text}, {w[1].text})")


def _scatter(w: Sequence[Word], node: Node, shared: Sequence[bool], *_: Any) -> Word:
    return Word(f"scatter({', '.join(_rowed(w, shared))}, {node.settings['columns']})")


def _cross_entropy(w: Sequence[Word], node: Node, shared: Sequence[bool], *_: Any) -> Word:
    return Word(f"cross_entropy({', '.join(_rowed(w, shared))})")


def _one_hot(w: Sequence[Word], node: Node, shared: Any, shapes: Any, dtype: Any) -> Word:
    return Word(f"one_hot({w[0].text}, {node.settings['size']}, np.{dtype})")


def _expand(w: Sequence[Word], node: Node, shared: Any, shapes: Any, dtype: Any) -> Word:
    return Word(f"broadcast({w[0].text}, {tuple(int(size) for size in node.shape)}, np.{dtype})")


def _total(w: Sequence[Word], *_: Any) -> Word:
    return Word(f"{w[0].tight(9)}.sum(0)")


WORDS: dict[str, Write] = {
    "add": _operator("+", 1),
    "subtract": _operator("-", 1),
    "multiply": _operator("*", 2),
    "divide": _operator("/", 2),
    "negate": _negate,
    "maximum": _call("np.maximum"),
    "minimum": _call("np.minimum"),
    "greater": _greater,
    "where": _where,
    "detach": _same,
    "sigmoid": _call("sigmoid"),
    "tanh": _call("np.tanh"),
    "relu": lambda w, *_: Word(f"np.maximum({w[0].text}, 0)"),
    "exp": _call("np.exp"),
    "log": _call("np.log"),
    "softplus": lambda w, *_: Word(f"np.logaddexp({w[0].text}, 0)"),
    "sqrt": _call("np.sqrt"),
    "absolute": _call("np.absolute"),
    "sin": _call("np.sin"),
    "cos": _call("np.cos"),
    "softmax": _call("softmax"),
    "log_softmax": _call("log_softmax"),
    "product": _product,
    "outer": _outer,
    "transpose": _transpose,
    "sum": _reduction("sum"),
    "mean": _reduction("mean"),
    "expand": _expand,
    "slice": _slice,
    "pad": _pad,
    "concatenate": _concatenate,
    "lookup": _lookup,
    "scatter": _scatter,
    "one_hot": _one_hot,
    "cross_entropy": _cross_entropy,
    "total": _total,
}

TOTALS: dict[str, Callable[[Sequence[Word], Node], Word]] = {
    # sums over all rows that never make the summands: weight gradients are one product
    "outer": lambda w, _: Word(f"{w[0].tight(9)}.T @ {w[1].tight(3)}", 2),
    "scatter": lambda w, node: Word(f"columns_total({w[0].text}, {w[1].text}, {node.settings['columns']})"),
}


def is_elementwise(gate: str) -> bool:
    """Whether a gate takes narrow operands by NumPy's broadcasting."""
    return GATES[gate].elementwise


# --- what emitted source calls ----------------------------------------------------------------------------------------


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) with one temporary; the caller ignores the overflow of exp, whose limit is right."""
    y = np.exp(-x)
    y += 1
    return np.reciprocal(y, out=y) if isinstance(y, np.ndarray) else np.reciprocal(y)


def broadcast(number: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """Numbers `[rows]` (or one number) in every element of a shape: `[rows, ...]`."""
    number = np.asarray(number, dtype)
    return np.broadcast_to(number.reshape(number.shape + (1,) * len(shape)), number.shape + shape)


def rows_of(parameter: Array, like: Array) -> Array:
    """A parameter as often as another value has rows."""
    return np.broadcast_to(parameter, (len(like), *parameter.shape))


def pad(x: Array, before: int, after: int, axis: int) -> Array:
    """Zeros before and after along one axis."""
    widths = [(0, 0)] * x.ndim
    widths[axis] = (before, after)
    return np.pad(x, widths)


def column_of(w: Array, token: Array) -> Array:
    """Of each matrix `[rows, n, columns]` its column `token`: `[rows, n]`."""
    column: Array = w[np.arange(len(token)), :, token]
    return column


def one_hot(token: Array, size: int, dtype: Any) -> Array:
    """One-hot vectors `[rows, size]`."""
    y = np.zeros((len(token), size), dtype)
    y[np.arange(len(token)), token] = 1
    return y


def scatter(x: Array, token: Array, columns: int) -> Array:
    """Matrices `[rows, n, columns]` of zeros but for column `token`, which is x."""
    y = np.zeros((*x.shape, columns), x.dtype)
    y[np.arange(len(x)), :, token] = x
    return y


def columns_total(x: Array, token: Array, columns: int) -> Array:
    """The sum of `scatter` over rows, `[n, columns]`: rows of one token are brought together, then added."""
    order = np.argsort(token, kind="stable")
    present, starts = np.unique(token[order], return_index=True)
    y = np.zeros((columns, x.shape[1]), x.dtype)
    if len(present):
        y[present] = np.add.reduceat(x[order], starts)
    return y.T


def cross_entropy(x: Array, token: Array) -> Array:
    """-ln softmax(x)[token], `[rows]`."""
    picked: Array = -log_softmax(x)[np.arange(len(x)), token]
    return picked
