"""The gate table: every primitive operation, one row each, with its shape rule, forward rule and gradient rule.

A rule speaks of one example: a vector is `[n]`, a matrix `[rows, columns]`, a number `[]`. Gradient rules are written with
the gates themselves, so they work on arrays and on traced values alike, and their results can be traced again.

`forward(*inputs, **attributes)` computes the value. `gradient(g, y, *inputs, **attributes)` takes the gradient `g` of a
loss for the output `y` and returns the gradient for every input, `None` where there is none.

Longer than the guide for a file: it is one table, and a row that is read beside the others is found faster than a file.
"""

# mypy: disable-error-code="override"
# Each rule takes the inputs of its own gate; the table calls them by position.

import inspect
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from elman.errors import CellError, ShapeError, TokenError
from elman.shapes import Shape, written

Array = NDArray[Any]
Cotangents = tuple[Any, ...]


def apply(name: str, *operands: Any, **attributes: Any) -> Any:
    """Apply a gate: on traced values it is recorded, on arrays it is computed."""
    for operand in operands:
        record = getattr(type(operand), "__gate__", None)
        if record is not None:
            return record(operand, name, operands, attributes)
    return GATES[name].forward(*operands, **attributes)


class Gate:
    """A row of the gate table."""

    name: ClassVar[str]
    notation: ClassVar[str]
    """How the gate is printed, with `{0}`, `{1}` ... for its inputs."""
    binds: ClassVar[int] = 9
    """How tightly the notation binds, for brackets: 1 sums, 2 products, 3 signs, 9 calls."""
    elementwise: ClassVar[bool] = False

    def shape(self, *shapes: Shape, **attributes: Any) -> Shape:
        """Shape of the output; raises `ShapeError` whose text names input n as `{n}`."""
        raise NotImplementedError

    def forward(self, *inputs: Any, **attributes: Any) -> Any:
        """Value of the output."""
        raise NotImplementedError

    def gradient(self, g: Any, y: Any, *inputs: Any, **attributes: Any) -> Cotangents:
        """Gradients for the inputs, given the gradient `g` for the output `y`."""
        raise NotImplementedError


class Elementwise(Gate):
    """A gate that works on each element by itself; all inputs are of one shape."""

    elementwise = True

    def shape(self, *shapes: Shape) -> Shape:
        """All shapes must be equal."""
        for position, shape in enumerate(shapes):
            if shape != shapes[0]:
                one = next((k for k in (0, position) if shapes[k] == (1,)), None)
                fix = "" if one is None else f"; [0] makes a number of {{{one}}}, which meets every shape"
                raise ShapeError(f"{{0}} is {written(shapes[0])}, {{{position}}} is {written(shape)}{fix}")
        return shapes[0]


# --- arithmetic -------------------------------------------------------------------------------------------------------


class AddGate(Elementwise):
    """y = x1 + x2."""

    name, notation, binds = "add", "{0} + {1}", 1

    def forward(self, x1: Any, x2: Any) -> Any:
        return np.add(x1, x2)

    def gradient(self, g: Any, y: Any, x1: Any, x2: Any) -> Cotangents:
        return g, g


class SubtractGate(Elementwise):
    """y = x1 - x2."""

    name, notation, binds = "subtract", "{0} - {1}", 1

    def forward(self, x1: Any, x2: Any) -> Any:
        return np.subtract(x1, x2)

    def gradient(self, g: Any, y: Any, x1: Any, x2: Any) -> Cotangents:
        return g, -g


class ElementwiseMultiplyGate(Elementwise):
    """y = x1 * x2, element by element (Hadamard product)."""

    name, notation, binds = "multiply", "{0} * {1}", 2

    def forward(self, x1: Any, x2: Any) -> Any:
        return np.multiply(x1, x2)

    def gradient(self, g: Any, y: Any, x1: Any, x2: Any) -> Cotangents:
        return g * x2, g * x1


class DivideGate(Elementwise):
    """y = x1 / x2."""

    name, notation, binds = "divide", "{0} / {1}", 2

    def forward(self, x1: Any, x2: Any) -> Any:
        return np.divide(x1, x2)

    def gradient(self, g: Any, y: Any, x1: Any, x2: Any) -> Cotangents:
        return g / x2, -(g * y) / x2


class NegateGate(Elementwise):
    """y = -x."""

    name, notation, binds = "negate", "-{0}", 3

    def forward(self, x: Any) -> Any:
        return np.negative(x)

    def gradient(self, g: Any, y: Any, x: Any) -> Cotangents:
        return (-g,)


class MaximumGate(Elementwise):
    """y = max(x1, x2); where they are equal the gradient goes to x2."""

    name, notation = "maximum", "maximum({0}, {1})"

    def forward(self, x1: Any, x2: Any) -> Any:
        return np.maximum(x1, x2)

    def gradient(self, g: Any, y: Any, x1: Any, x2: Any) -> Cotangents:
        first = greater(x1, x2)
        return where(first, g, 0.0), where(first, 0.0, g)


class MinimumGate(Elementwise):
    """y = min(x1, x2); where they are equal the gradient goes to x2."""

    name, notation = "minimum", "minimum({0}, {1})"

    def forward(self, x1: Any, x2: Any) -> Any:
        return np.minimum(x1, x2)

    def gradient(self, g: Any, y: Any, x1: Any, x2: Any) -> Cotangents:
        first = greater(x2, x1)
        return where(first, g, 0.0), where(first, 0.0, g)


class GreaterGate(Elementwise):
    """y = 1 where x1 > x2, else 0; a step, so no gradient flows through it."""

    name, notation = "greater", "greater({0}, {1})"

    def forward(self, x1: Any, x2: Any) -> Any:
        return np.greater(x1, x2).astype(np.result_type(x1, x2))

    def gradient(self, g: Any, y: Any, x1: Any, x2: Any) -> Cotangents:
        return None, None


class WhereGate(Elementwise):
    """y = x1 where the condition is not zero, else x2."""

    name, notation = "where", "where({0}, {1}, {2})"

    def forward(self, condition: Any, x1: Any, x2: Any) -> Any:
        return np.where(condition, x1, x2)

    def gradient(self, g: Any, y: Any, condition: Any, x1: Any, x2: Any) -> Cotangents:
        return None, where(condition, g, 0.0), where(condition, 0.0, g)


class DetachGate(Elementwise):
    """y = x; where the condition is not zero no gradient flows back to x (truncated back-propagation)."""

    name, notation = "detach", "detach({0}, {1})"

    def forward(self, x: Any, condition: Any) -> Any:
        return x

    def gradient(self, g: Any, y: Any, x: Any, condition: Any) -> Cotangents:
        return where(condition, 0.0, g), None


# --- activations ------------------------------------------------------------------------------------------------------


class Sigmoid(Elementwise):
    """y = 1 / (1 + exp(-x)), safe for any x; gradient y (1 - y).

    >>> Sigmoid().forward(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """

    name, notation = "sigmoid", "sigmoid({0})"

    def forward(self, x: Any) -> Any:
        with np.errstate(over="ignore"):  # exp(-x) = inf gives the right limit, 0
            return np.reciprocal(1.0 + np.exp(-np.asarray(x)))

    def gradient(self, g: Any, y: Any, x: Any) -> Cotangents:
        return (g * (y * (1.0 - y)),)


class Tanh(Elementwise):
    """y = tanh(x) = (exp(x) - exp(-x)) / (exp(x) + exp(-x)); gradient 1 - y^2.

    >>> Tanh().forward(np.array([-1000.0, 0.0, 1000.0]))
    array([-1.,  0.,  1.])
    """

    name, notation = "tanh", "tanh({0})"

    def forward(self, x: Any) -> Any:
        return np.tanh(x)

    def gradient(self, g: Any, y: Any, x: Any) -> Cotangents:
        return (g * (1.0 - y * y),)


class Relu(Elementwise):
    """y = max(x, 0); gradient 1 where x > 0."""

    name, notation = "relu", "relu({0})"

    def forward(self, x: Any) -> Any:
        return np.maximum(x, 0)

    def gradient(self, g: Any, y: Any, x: Any) -> Cotangents:
        return (where(greater(x, 0.0), g, 0.0),)


class Exp(Elementwise):
    """y = e^x; gradient y."""

    name, notation = "exp", "exp({0})"

    def forward(self, x: Any) -> Any:
        return np.exp(x)

    def gradient(self, g: Any, y: Any, x: Any) -> Cotangents:
        return (g * y,)


class Log(Elementwise):
    """y = ln(x); gradient 1 / x."""

    name, notation = "log", "log({0})"

    def forward(self, x: Any) -> Any:
        return np.log(x)

    def gradient(self, g: Any, y: Any, x: Any) -> Cotangents:
        return (g / x,)


class Softplus(Elementwise):
    """y = ln(1 + e^x), safe for any x; gradient sigmoid(x)."""

    name, notation = "softplus", "softplus({0})"

    def forward(self, x: Any) -> Any:
        return np.logaddexp(np.zeros((), np.asarray(x).dtype), x)

    def gradient(self, g: Any, y: Any, x: Any) -> Cotangents:
        return (g * sigmoid(x),)


class SquareRoot(Elementwise):
    """y = sqrt(x); gradient 1 / (2 y)."""

    name, notation = "sqrt", "sqrt({0})"

    def forward(self, x: Any) -> Any:
        return np.sqrt(x)

    def gradient(self, g: Any, y: Any, x: Any) -> Cotangents:
        return (0.5 * g / y,)


class Absolute(Elementwise):
    """y = |x|; gradient the sign of x, 0 at 0."""

    name, notation = "absolute", "absolute({0})"

    def forward(self, x: Any) -> Any:
        return np.absolute(x)

    def gradient(self, g: Any, y: Any, x: Any) -> Cotangents:
        return (g * (greater(x, 0.0) - greater(-x, 0.0)),)


class Sine(Elementwise):
    """y = sin(x); gradient cos(x)."""

    name, notation = "sin", "sin({0})"

    def forward(self, x: Any) -> Any:
        return np.sin(x)

    def gradient(self, g: Any, y: Any, x: Any) -> Cotangents:
        return (g * cos(x),)


class Cosine(Elementwise):
    """y = cos(x); gradient -sin(x)."""

    name, notation = "cos", "cos({0})"

    def forward(self, x: Any) -> Any:
        return np.cos(x)

    def gradient(self, g: Any, y: Any, x: Any) -> Cotangents:
        return (-(g * sin(x)),)


class _Whole(Gate):
    """A gate over all elements of a vector that gives a vector of the same size."""

    def shape(self, x: Shape) -> Shape:
        """A vector in, a vector out."""
        if len(x) != 1:
            raise ShapeError(f"{{0}} is {written(x)}, a vector is wanted")
        return x


class Softmax(_Whole):
    """y = exp(x) / sum(exp(x)), over the last axis, safe for logits of any size.

    The largest logit is subtracted first, which changes nothing but keeps `exp` from overflowing.

    >>> Softmax().predict(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """

    name, notation = "softmax", "softmax({0})"

    def forward(self, x: Any) -> Any:
        x = np.asarray(x)
        with np.errstate(over="ignore"):  # a difference of -inf gives the right limit, 0
            powers = np.exp(x - x.max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True)

    def gradient(self, g: Any, y: Any, x: Any) -> Cotangents:
        return (y * (g - sum(g * y)),)

    def predict(self, x: Any) -> Any:
        """Probabilities of the logits `x` `[..., V]`; floats of the same shape, summing to 1 over the last axis."""
        return self.forward(_logits(x))

    def loss(self, x: Any, y: Any) -> Any:
        """Cross entropy in nats: minus the log probability of index `y` under the logits `x`.

        `x` is `[V]` with an integer `y`, or `[..., V]` with integers `[...]`; the loss has the shape of `y`.
        Raises `TokenError` for an index outside 0 ... V-1.

        >>> round(float(Softmax().loss(np.array([0.0, 1000.0]), 0)), 1)
        1000.0
        """
        x, y = _logits(x), _indices(x, y)
        return -np.take_along_axis(GATES["log_softmax"].forward(x), y[..., None], -1)[..., 0]

    def diff(self, x: Any, y: Any) -> Any:
        """Gradient of `loss(x, y)` for the logits: probabilities minus one-hot, of the shape of `x`.

        >>> Softmax().diff(np.array([0.0, 0.0]), 1)
        array([ 0.5, -0.5])
        """
        x, y = _logits(x), _indices(x, y)
        probabilities = self.forward(x)
        flat = probabilities.reshape(-1, x.shape[-1])
        flat[np.arange(len(flat)), y.reshape(-1)] -= 1.0
        return probabilities


def _logits(x: Any) -> Array:
    x = np.asarray(x)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ShapeError(f"softmax: logits are {written(x.shape)}; [V] or [..., V] with V >= 1 is wanted")
    floats: Array = x if x.dtype.kind == "f" else x.astype(np.float64)
    return floats


def _indices(x: Any, y: Any) -> Array:
    indices: Array = np.asarray(y)
    shape = np.shape(x)
    if indices.dtype.kind not in "iu" or indices.shape != shape[:-1]:
        found = f"{indices.dtype} {written(indices.shape)}"
        raise ShapeError(f"softmax: indices are {found}; integers {written(shape[:-1])} are wanted")
    if indices.size and not (int(indices.min()) >= 0 and int(indices.max()) < shape[-1]):
        bad = int(indices.min()) if int(indices.min()) < 0 else int(indices.max())
        raise TokenError(f"softmax: index {bad} is outside 0 to {shape[-1] - 1}")
    return indices


class LogSoftmax(_Whole):
    """y = x - ln(sum(exp(x))), safe for logits of any size; gradient g - softmax(x) sum(g)."""

    name, notation = "log_softmax", "log_softmax({0})"

    def forward(self, x: Any) -> Any:
        x = np.asarray(x)
        with np.errstate(over="ignore"):
            shifted = x - x.max(-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))

    def gradient(self, g: Any, y: Any, x: Any) -> Cotangents:
        return (g - exp(y) * sum(g),)


# --- products and matrices --------------------------------------------------------------------------------------------


class MultiplyGate(Gate):
    """y = W x: a matrix `[rows, columns]` times a vector `[columns]`."""

    name, notation, binds = "product", "{0} @ {1}", 2

    def shape(self, w: Shape, x: Shape) -> Shape:
        """`[rows]`."""
        if len(w) != 2 or len(x) != 1:
            raise ShapeError(f"{{0}} is {written(w)}, {{1}} is {written(x)}; a matrix times a vector is wanted")
        if w[1] != x[0]:
            raise ShapeError(f"{{1}} has {int(x[0])} rows, {{0}} is {written(w)}")
        return (w[0],)

    def forward(self, w: Any, x: Any) -> Any:
        return np.matmul(w, x)

    def gradient(self, g: Any, y: Any, w: Any, x: Any) -> Cotangents:
        return outer(g, x), apply("product", transpose(w), g)


class OuterGate(Gate):
    """y[i, j] = x1[i] x2[j]: the outer product of two vectors, a matrix."""

    name, notation = "outer", "outer({0}, {1})"

    def shape(self, x1: Shape, x2: Shape) -> Shape:
        """`[rows, columns]`."""
        if len(x1) != 1 or len(x2) != 1:
            raise ShapeError(f"{{0}} is {written(x1)}, {{1}} is {written(x2)}; two vectors are wanted")
        return (x1[0], x2[0])

    def forward(self, x1: Any, x2: Any) -> Any:
        return np.multiply.outer(x1, x2)

    def gradient(self, g: Any, y: Any, x1: Any, x2: Any) -> Cotangents:
        return apply("product", g, x2), apply("product", transpose(g), x1)


class TransposeGate(Gate):
    """y[i, j] = x[j, i]."""

    name, notation = "transpose", "transpose({0})"

    def shape(self, x: Shape) -> Shape:
        """Axes swapped."""
        if len(x) != 2:
            raise ShapeError(f"{{0}} is {written(x)}, a matrix is wanted")
        return (x[1], x[0])

    def forward(self, x: Any) -> Any:
        return np.swapaxes(x, -1, -2)

    def gradient(self, g: Any, y: Any, x: Any) -> Cotangents:
        return (transpose(g),)


# --- reductions and pieces --------------------------------------------------------------------------------------------


class SumGate(Gate):
    """y = the sum of all elements of x, a number."""

    name, notation = "sum", "sum({0})"

    def shape(self, x: Shape) -> Shape:
        """A number."""
        if not x:
            raise ShapeError("{0} is a number, a vector or matrix is wanted")
        return ()

    def forward(self, x: Any) -> Any:
        return np.sum(x)

    def gradient(self, g: Any, y: Any, x: Any) -> Cotangents:
        return (apply("expand", g, shape=tuple(x.shape)),)


class MeanGate(SumGate):
    """y = the mean of all elements of x, a number."""

    name, notation = "mean", "mean({0})"

    def forward(self, x: Any) -> Any:
        return np.mean(x)

    def gradient(self, g: Any, y: Any, x: Any) -> Cotangents:
        return (apply("expand", g / float(np.prod(x.shape)), shape=tuple(x.shape)),)


class ExpandGate(Gate):
    """y = the number x in every element of a shape; put in wherever a number meets a vector."""

    name, notation = "expand", "{0}"

    def shape(self, x: Shape, *, shape: Shape) -> Shape:
        """The shape asked for."""
        if x:
            raise ShapeError(f"{{0}} is {written(x)}, a number is wanted")
        return tuple(shape)

    def forward(self, x: Any, *, shape: Shape) -> Any:
        return np.broadcast_to(x, shape)

    def gradient(self, g: Any, y: Any, x: Any, *, shape: Shape) -> Cotangents:
        return (sum(g),)


class SliceGate(Gate):
    """y = x[start:stop]: elements of a vector, rows of a matrix."""

    name, notation = "slice", "{0}[{start}:{stop}]"

    def shape(self, x: Shape, *, start: int, stop: int) -> Shape:
        """`[stop - start, ...]`."""
        if not x or not 0 <= start < stop <= x[0]:
            raise ShapeError(f"{{0}} is {written(x)}, which has no part [{start}:{stop}]")
        return (x[0] if (start, stop) == (0, int(x[0])) else stop - start, *x[1:])

    def forward(self, x: Any, *, start: int, stop: int) -> Any:
        return x[start:stop]

    def gradient(self, g: Any, y: Any, x: Any, *, start: int, stop: int) -> Cotangents:
        return (apply("pad", g, before=start, after=int(x.shape[0]) - stop),)


class PadGate(Gate):
    """y = x between `before` and `after` zeros (rows of zeros for a matrix)."""

    name, notation = "pad", "pad({0}, {before}, {after})"

    def shape(self, x: Shape, *, before: int, after: int) -> Shape:
        """`[before + rows + after, ...]`."""
        if not x or before < 0 or after < 0:
            raise ShapeError(f"{{0}} is {written(x)}, which cannot be padded by {before} and {after}")
        return (before + int(x[0]) + after, *x[1:])

    def forward(self, x: Any, *, before: int, after: int) -> Any:
        return np.pad(x, ((before, after), *[(0, 0)] * (np.ndim(x) - 1)))

    def gradient(self, g: Any, y: Any, x: Any, *, before: int, after: int) -> Cotangents:
        return (apply("slice", g, start=before, stop=before + int(x.shape[0])),)


class ConcatenateGate(Gate):
    """y = the inputs one after another (vectors), or one below another (matrices)."""

    name, notation = "concatenate", "concatenate({all})"

    def shape(self, *shapes: Shape) -> Shape:
        """`[sum of rows, ...]`."""
        for position, shape in enumerate(shapes):
            if not shape or shape[1:] != shapes[0][1:]:
                raise ShapeError(f"{{0}} is {written(shapes[0])}, {{{position}}} is {written(shape)}")
        rows = [int(shape[0]) for shape in shapes]
        return (np.add.reduce(rows).item(), *shapes[0][1:])

    def forward(self, *inputs: Any) -> Any:
        return np.concatenate(inputs)

    def gradient(self, g: Any, y: Any, *inputs: Any) -> Cotangents:
        ends = np.cumsum([int(x.shape[0]) for x in inputs]).tolist()
        return tuple(apply("slice", g, start=end - int(x.shape[0]), stop=end) for x, end in zip(inputs, ends, strict=True))


# --- tokens: a one-hot vector that is never made ----------------------------------------------------------------------


class LookupGate(Gate):
    """y = W one_hot(token): column `token` of the matrix W `[rows, columns]`."""

    name, notation = "lookup", "{0}[:, {1}]"

    def shape(self, w: Shape, token: Shape) -> Shape:
        """`[rows]`."""
        if len(w) != 2 or token:
            raise ShapeError(f"{{0}} is {written(w)}, {{1}} is {written(token)}; a matrix and a token are wanted")
        return (w[0],)

    def forward(self, w: Any, token: Any) -> Any:
        return w[:, token]

    def gradient(self, g: Any, y: Any, w: Any, token: Any) -> Cotangents:
        return apply("scatter", g, token, columns=w.shape[1]), None


class ScatterGate(Gate):
    """y = x one_hot(token)^T: a matrix `[rows, columns]` of zeros whose column `token` is x."""

    name, notation = "scatter", "scatter({0}, {1}, {columns})"

    def shape(self, x: Shape, token: Shape, *, columns: int) -> Shape:
        """`[rows, columns]`."""
        if len(x) != 1 or token:
            raise ShapeError(f"{{0}} is {written(x)}, {{1}} is {written(token)}; a vector and a token are wanted")
        return (x[0], columns)

    def forward(self, x: Any, token: Any, *, columns: int) -> Any:
        y = np.zeros((len(x), columns), x.dtype)
        y[:, token] = x
        return y

    def gradient(self, g: Any, y: Any, x: Any, token: Any, *, columns: int) -> Cotangents:
        return apply("lookup", g, token), None


class OneHotGate(Gate):
    """y = a vector of zeros with a 1 at `token`; only where an equation uses a token other than in a product."""

    name, notation = "one_hot", "one_hot({0}, {size})"

    def shape(self, token: Shape, *, size: int) -> Shape:
        """`[size]`."""
        if token:
            raise ShapeError(f"{{0}} is {written(token)}, a token is wanted")
        return (size,)

    def forward(self, token: Any, *, size: int) -> Any:
        y = np.zeros(size)
        y[token] = 1.0
        return y

    def gradient(self, g: Any, y: Any, token: Any, *, size: int) -> Cotangents:
        return (None,)


class CrossEntropyGate(Gate):
    """y = -ln softmax(x)[token], in nats; gradient `Softmax.diff`: softmax(x) - one_hot(token)."""

    name, notation = "cross_entropy", "cross_entropy({0}, {1})"

    def shape(self, x: Shape, token: Shape) -> Shape:
        """A number."""
        if len(x) != 1 or token:
            raise ShapeError(f"{{0}} is {written(x)}, {{1}} is {written(token)}; a vector and a token are wanted")
        return ()

    def forward(self, x: Any, token: Any) -> Any:
        return -GATES["log_softmax"].forward(x)[token]

    def gradient(self, g: Any, y: Any, x: Any, token: Any) -> Cotangents:
        return g * (softmax(x) - apply("one_hot", token, size=x.shape[0])), None


class TotalGate(Gate):
    """y = x, to be summed over all steps and examples: what a parameter's gradient is made of.

    For one step of one example it changes nothing, so the interpreter passes it by; a target sums.
    """

    name, notation = "total", "total({0})"

    def shape(self, x: Shape) -> Shape:
        """The same shape."""
        return x

    def forward(self, x: Any) -> Any:
        return x

    def gradient(self, g: Any, y: Any, x: Any) -> Cotangents:
        raise CellError("total: a gradient is not differentiated again")


GATES: dict[str, Gate] = {
    gate.name: gate
    for gate in (
        AddGate(), SubtractGate(), ElementwiseMultiplyGate(), DivideGate(), NegateGate(), MaximumGate(), MinimumGate(),
        GreaterGate(), WhereGate(), DetachGate(), Sigmoid(), Tanh(), Relu(), Exp(), Log(), Softplus(), SquareRoot(),
        Absolute(), Sine(), Cosine(), Softmax(), LogSoftmax(), MultiplyGate(), OuterGate(), TransposeGate(), SumGate(),
        MeanGate(), ExpandGate(), SliceGate(), PadGate(), ConcatenateGate(), LookupGate(), ScatterGate(), OneHotGate(),
        CrossEntropyGate(), TotalGate(),
    )
}  # fmt: skip


def _inputs(gate: Gate) -> int | None:
    """How many inputs a gate takes; None for any number."""
    parameters = [p for p in inspect.signature(gate.forward).parameters.values() if p.kind is not p.KEYWORD_ONLY]
    return None if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(parameters)


INPUTS = {name: _inputs(gate) for name, gate in GATES.items()}
"""How many inputs each gate takes; None for any number from 1 on."""


# --- the gates as functions, for equations and arrays -----------------------------------------------------------------


def tanh(x: Any) -> Any:
    """y = tanh(x), element by element."""
    return apply("tanh", x)


def sigmoid(x: Any) -> Any:
    """y = 1 / (1 + exp(-x)), element by element, safe for any x."""
    return apply("sigmoid", x)


def relu(x: Any) -> Any:
    """y = max(x, 0), element by element."""
    return apply("relu", x)


def exp(x: Any) -> Any:
    """y = e^x, element by element."""
    return apply("exp", x)


def log(x: Any) -> Any:
    """y = ln(x), element by element."""
    return apply("log", x)


def sqrt(x: Any) -> Any:
    """y = sqrt(x), element by element."""
    return apply("sqrt", x)


def softplus(x: Any) -> Any:
    """y = ln(1 + e^x), element by element, safe for any x."""
    return apply("softplus", x)


def absolute(x: Any) -> Any:
    """y = |x|, element by element."""
    return apply("absolute", x)


def sin(x: Any) -> Any:
    """y = sin(x), element by element."""
    return apply("sin", x)


def cos(x: Any) -> Any:
    """y = cos(x), element by element."""
    return apply("cos", x)


def softmax(x: Any) -> Any:
    """y = exp(x) / sum(exp(x)) over the last axis, safe for logits of any size."""
    return apply("softmax", x)


def log_softmax(x: Any) -> Any:
    """y = x - ln(sum(exp(x))) over the last axis, safe for logits of any size."""
    return apply("log_softmax", x)


def maximum(x1: Any, x2: Any) -> Any:
    """y = max(x1, x2), element by element."""
    return apply("maximum", x1, x2)


def minimum(x1: Any, x2: Any) -> Any:
    """y = min(x1, x2), element by element."""
    return apply("minimum", x1, x2)


def greater(x1: Any, x2: Any) -> Any:
    """y = 1 where x1 > x2, else 0, element by element."""
    return apply("greater", x1, x2)


def where(condition: Any, x1: Any, x2: Any) -> Any:
    """y = x1 where the condition is not zero, else x2, element by element: the `if` of an equation."""
    return apply("where", condition, x1, x2)


def sum(x: Any) -> Any:
    """y = the sum of all elements of x, a number."""
    return apply("sum", x)


def mean(x: Any) -> Any:
    """y = the mean of all elements of x, a number."""
    return apply("mean", x)


def outer(x1: Any, x2: Any) -> Any:
    """y[i, j] = x1[i] x2[j], a matrix."""
    return apply("outer", x1, x2)


def transpose(x: Any) -> Any:
    """y[i, j] = x[j, i]."""
    return apply("transpose", x)


def concatenate(*parts: Any) -> Any:
    """y = the vectors one after another: `concatenate(x, h)`, or `concatenate([x, h])`."""
    vectors = parts[0] if len(parts) == 1 and isinstance(parts[0], list | tuple) else parts
    if not vectors:
        raise ShapeError("concatenate: no vector is given; one at least is wanted")
    return apply("concatenate", *vectors)


def split(x: Any, parts: int) -> list[Any]:
    """Cut a vector `[n]` into `parts` equal vectors `[n / parts]`.

    Raises `ShapeError` where the size is no multiple of `parts`.
    """
    size = int(x.shape[0])
    if parts < 1 or size % parts:
        raise ShapeError(f"split: a vector of size {size} cannot be cut into {parts} equal parts")
    part = size // parts
    return [apply("slice", x, start=k * part, stop=(k + 1) * part) for k in range(parts)]
