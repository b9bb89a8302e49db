"""Traced values: what stands for an array in the equations and records every gate that is applied to it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from elman import gates
from elman.errors import CellError, ShapeError
from elman.gates import GATES
from elman.graph import Builder
from elman.nodes import Node
from elman.notation import as_asked
from elman.shapes import Shape, written


class Value:
    """A traced value: stands for an array in the equations and records every gate applied to it."""

    __slots__ = ("builder", "index")

    def __init__(self, builder: Builder, index: int) -> None:
        self.builder, self.index = builder, index

    def __repr__(self) -> str:
        return f"traced {self.builder.nodes[self.index].name or 'value'} {written(self.shape)}"

    @property
    def shape(self) -> Shape:
        """Shape of one example."""
        return self.builder.nodes[self.index].shape

    @property
    def ndim(self) -> int:
        """Number of axes of one example."""
        return len(self.shape)

    @property
    def T(self) -> "Value":  # noqa: N802
        """A matrix with its axes swapped."""
        return self._gate("transpose", self)

    def __gate__(self, gate: str, operands: tuple[Any, ...], attributes: Mapping[str, Any]) -> "Value":
        inputs = [self._index(operand) for operand in operands]
        return Value(self.builder, self.builder.add(gate, inputs, tuple(attributes.items())))

    def _gate(self, gate: str, *operands: Any, **attributes: Any) -> "Value":
        return self.__gate__(gate, operands, attributes)

    def _index(self, operand: Any) -> int:
        if isinstance(operand, Value):
            if operand.builder is not self.builder:
                raise CellError("a value of another cell's equations is used here")
            return operand.index
        array = np.asarray(operand)
        if array.dtype.kind not in "fiub":
            raise CellError(f"{operand!r} is neither a traced value nor numbers")
        return self.builder.constant(array)

    def __add__(self, other: Any) -> "Value":
        return self._gate("add", self, other)

    def __radd__(self, other: Any) -> "Value":
        return self._gate("add", other, self)

    def __sub__(self, other: Any) -> "Value":
        return self._gate("subtract", self, other)

    def __rsub__(self, other: Any) -> "Value":
        return self._gate("subtract", other, self)

    def __mul__(self, other: Any) -> "Value":
        return self._gate("multiply", self, other)

    def __rmul__(self, other: Any) -> "Value":
        return self._gate("multiply", other, self)

    def __truediv__(self, other: Any) -> "Value":
        return self._gate("divide", self, other)

    def __rtruediv__(self, other: Any) -> "Value":
        return self._gate("divide", other, self)

    def __neg__(self) -> "Value":
        return self._gate("negate", self)

    def __abs__(self) -> "Value":
        return self._gate("absolute", self)

    def __floordiv__(self, other: Any) -> Any:
        raise CellError(f"// has no gate; use the functions of elman: {FUNCTIONS}")

    def __mod__(self, other: Any) -> Any:
        raise CellError(f"% has no gate; use the functions of elman: {FUNCTIONS}")

    def __round__(self, digits: Any = None) -> Any:
        raise CellError(f"round has no gate; use the functions of elman: {FUNCTIONS}")

    def __setitem__(self, key: Any, value: Any) -> None:
        raise CellError("a traced value is not changed in place; make another, with where(...) or concatenate(...)")

    def __pow__(self, power: Any) -> "Value":
        if isinstance(power, int | float) and power == 2:
            return self._gate("multiply", self, self)
        raise CellError(f"** {power!r} has no gate; write a product, or exp({power!r} * log(...))")

    def __rpow__(self, base: Any) -> "Value":
        raise CellError(f"{base!r} ** ... has no gate; write exp(log({base!r}) * ...)")

    def __matmul__(self, other: Any) -> "Value":
        return self._product(self, other)

    def __rmatmul__(self, other: Any) -> "Value":
        return self._product(other, self)

    def _product(self, left: Any, right: Any) -> "Value":
        left, right = (v if isinstance(v, Value) else Value(self.builder, self._index(v)) for v in (left, right))
        if left.ndim == 1 and right.ndim in (1, 2):
            return self._by_vector(left, right)
        return self._gate("product", left, right)

    def _by_vector(self, left: "Value", right: "Value") -> "Value":
        """The inner product of two vectors; or x @ W, which is W^T x."""
        try:
            if right.ndim == 1:
                return self._gate("sum", self._gate("multiply", left, right))
            return self._gate("product", right.T, left)
        except ShapeError as error:  # told as it was written
            asked, (x, y) = as_asked(self.builder.nodes, Node("product", (left.index, right.index), ()))
            wanted = "two vectors of one size" if right.ndim == 1 else f"as many rows of {y}"
            told = f"`{asked}`: {x} is {written(left.shape)}, {y} is {written(right.shape)}; {wanted} are wanted"
            raise type(error)(told) from None

    def __getitem__(self, key: Any) -> "Value":
        size = int(self.shape[0]) if self.shape else 0
        if isinstance(key, slice) and key.step in (None, 1):
            start, stop, _ = key.indices(size)
            return self._gate("slice", self, start=start, stop=stop)
        if isinstance(key, int | np.integer) and self.ndim == 1 and -size <= key < size:
            start = int(key) % size
            return self._gate("sum", self._gate("slice", self, start=start, stop=start + 1))
        if isinstance(key, int | np.integer) and self.ndim == 1:
            raise CellError(f"[{key}] of a value {written(self.shape)}, which has {size} numbers, [0] to [{size - 1}]")
        raise CellError(f"[{key!r}] of a value {written(self.shape)} has no gate; v[k] and v[start:stop] of a vector have")

    def __len__(self) -> int:
        if not self.shape:
            raise CellError("len() of a number")
        return int(self.shape[0])

    def __iter__(self) -> Any:
        raise CellError("a traced value cannot be taken apart element by element; use split(v, parts)")

    def _compared(self, other: Any) -> Any:
        raise CellError("a comparison of traced values has no gate; use greater(a, b), which gives 1 and 0, and where(...)")

    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = _compared
    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise CellError(
            "an `if`, `while`, `and` or `or` asks for the truth of a traced value, which differs from step to step; "
            "use where(condition, a, b), maximum or minimum"
        )

    def _number(self) -> Any:
        raise CellError(
            "a traced value is not a number yet (math.tanh, float, int?); use the functions of elman, such as tanh"
        )

    __float__ = __int__ = __index__ = _number

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise CellError("a traced value is not an array yet; use the functions of elman, such as tanh or concatenate")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what Python itself asks for may be missing
            raise AttributeError(name)
        raise CellError(f".{name} has no gate; use the functions of elman: {FUNCTIONS}")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *operands: Any, **options: Any) -> "Value":
        if ufunc is np.matmul and method == "__call__" and not options:
            return self._product(*operands)
        gate = UFUNCS.get(ufunc.__name__)
        if gate is None or method != "__call__" or options:
            called = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
            raise CellError(f"np.{called} has no gate; use the functions of elman: {FUNCTIONS}")
        return self._gate(gate, *operands)

    def __array_function__(self, function: Callable[..., Any], *_: Any) -> Any:
        raise CellError(f"np.{function.__name__} has no gate; use the functions of elman: {FUNCTIONS}")


FUNCTIONS = ", ".join(name for name in GATES if hasattr(gates, name))
"""What equations may call, for messages."""

UFUNCS = {name: name for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum", "tanh", "exp", "log",
                                  "sqrt", "absolute", "sin", "cos")} | {"negative": "negate"}  # fmt: skip
