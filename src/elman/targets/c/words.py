"""The words of the C target: for every gate the expression of one element of its value, and how a whole one is stored.

A word is asked for the element at a place, such as `(row, column)`, the variables of loops. So a line of the equations
becomes one loop, whatever stands in it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from elman.nodes import Node
from elman.shapes import Shape
from elman.targets.c.lines import Place, times
from elman.targets.c.numbers import Real

TERNARY, COMPARISON, SUM, PRODUCT, SIGN, CALL = range(6)
"""How tightly expressions bind."""


@dataclass(frozen=True)
class Word:
    """An expression, how tightly it binds, and its truth where it is made of one."""

    text: str
    binds: int = CALL
    truth: str = ""

    def tight(self, binds: int) -> str:
        """The text, in brackets where it binds less tightly than asked."""
        return self.text if self.binds >= binds else f"({self.text})"


class Writer(Protocol):
    """What a word needs of the function that it stands in."""

    real: Real

    def element(self, index: int, at: Place) -> Word:
        """One element of a value."""
        ...

    def address(self, index: int) -> str:
        """Where the elements of a value stand, one after another."""
        ...

    def shape(self, index: int) -> Shape:
        """The shape of a value."""
        ...

    def helper(self, name: str) -> str:
        """The name of a function of this file, which is then written into it."""
        ...


Write = Callable[[Writer, Node, Place], Word]


def _operator(symbol: str, binds: int) -> Write:
    def write(w: Writer, node: Node, at: Place) -> Word:
        left, right = (w.element(i, at) for i in node.inputs)
        return Word(f"{left.tight(binds)} {symbol} {right.tight(binds + 1)}", binds)

    return write


def _function(name: str) -> Write:
    """A function of math.h."""

    def write(w: Writer, node: Node, at: Place) -> Word:
        return Word(f"{name}{w.real.ending}({w.element(node.inputs[0], at).text})")

    return write


def _helper(name: str) -> Write:
    def write(w: Writer, node: Node, at: Place) -> Word:
        return Word(f"{w.helper(name)}({', '.join(w.element(i, at).text for i in node.inputs)})")

    return write


def _negate(w: Writer, node: Node, at: Place) -> Word:
    return Word(f"-{w.element(node.inputs[0], at).tight(CALL)}", SIGN)


def _same(w: Writer, node: Node, at: Place) -> Word:
    return w.element(node.inputs[0], at)


def _number(w: Writer, node: Node, at: Place) -> Word:
    return w.element(node.inputs[0], ())


def _one_where(w: Writer, truth: str) -> Word:
    return Word(f"{truth} ? {w.real.literal(1)} : {w.real.literal(0)}", TERNARY, truth)


def _greater(w: Writer, node: Node, at: Place) -> Word:
    left, right = (w.element(i, at) for i in node.inputs)
    return _one_where(w, f"{left.tight(SUM)} > {right.tight(SUM)}")


def _where(w: Writer, node: Node, at: Place) -> Word:
    condition, first, second = (w.element(i, at) for i in node.inputs)
    truth = condition.truth or f"{condition.tight(SUM)} != 0"
    return Word(f"{truth} ? {first.tight(COMPARISON)} : {second.tight(COMPARISON)}", TERNARY)


def _product(w: Writer, node: Node, at: Place) -> Word:
    matrix, vector = node.inputs
    columns = int(w.shape(vector)[0])
    row = " + ".join(filter(None, (w.address(matrix), times(columns, at[0]))))
    return Word(f"{w.helper('dot')}({row}, {w.address(vector)}, {columns})")


def _outer(w: Writer, node: Node, at: Place) -> Word:
    left, right = (w.element(i, (place,)) for i, place in zip(node.inputs, at, strict=True))
    return Word(f"{left.tight(PRODUCT)} * {right.tight(SIGN)}", PRODUCT)


def _transpose(w: Writer, node: Node, at: Place) -> Word:
    return w.element(node.inputs[0], (at[1], at[0]))


def _token(w: Writer, index: int) -> str:
    return w.element(index, ()).text


def _lookup(w: Writer, node: Node, at: Place) -> Word:
    return w.element(node.inputs[0], (at[0], _token(w, node.inputs[1])))


def _one_hot(w: Writer, node: Node, at: Place) -> Word:
    return _one_where(w, f"{at[0]} == {_token(w, node.inputs[0])}")


def _scatter(w: Writer, node: Node, at: Place) -> Word:
    value = w.element(node.inputs[0], (at[0],)).tight(COMPARISON)
    return Word(f"{at[1]} == {_token(w, node.inputs[1])} ? {value} : {w.real.literal(0)}", TERNARY)


def _cross_entropy(w: Writer, node: Node, at: Place) -> Word:
    logits, token = node.inputs
    size = int(w.shape(logits)[0])
    return Word(f"{w.helper('cross_entropy')}({w.address(logits)}, {size}, {_token(w, token)})")


ELEMENTS: dict[str, Write] = {
    "add": _operator("+", SUM),
    "subtract": _operator("-", SUM),
    "multiply": _operator("*", PRODUCT),
    "divide": _operator("/", PRODUCT),
    "negate": _negate,
    "maximum": _helper("maximum"),
    "minimum": _helper("minimum"),
    "greater": _greater,
    "where": _where,
    "detach": _same,
    "sigmoid": _helper("sigmoid"),
    "tanh": _function("tanh"),
    "relu": _helper("relu"),
    "exp": _function("exp"),
    "log": _function("log"),
    "softplus": _helper("softplus"),
    "sqrt": _function("sqrt"),
    "absolute": _function("fabs"),
    "sin": _function("sin"),
    "cos": _function("cos"),
    "product": _product,
    "outer": _outer,
    "transpose": _transpose,
    "expand": _number,
    "lookup": _lookup,
    "scatter": _scatter,
    "one_hot": _one_hot,
    "cross_entropy": _cross_entropy,
    "total": _same,
}
"""Gates whose value is written element by element, which may stand inside the line of another."""

IN_PLACE = ("softmax", "log_softmax")
"""Gates that a helper makes of a vector, in its place."""

SUMMED = ("sum", "mean")
"""Gates that add up the elements of a loop."""

JOINED = ("concatenate", "pad")
"""Gates that are stored piece by piece."""

VIEWS = ("slice",)
"""Gates that are part of what is stored already."""

ARRAYS = {"product": (0, 1), "slice": (0,), "cross_entropy": (0,)}
"""Operands whose elements must stand one after another."""

REPEATED = {"outer": (0, 1), "expand": (0,), "scatter": (0,)}
"""Operands of which one element is read many times, so that it must not be computed where it is read."""
