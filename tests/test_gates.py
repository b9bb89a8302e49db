"""Every row of the gate table: its value against a literal formula, its gradient against differences, its shape rule."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import elman
from elman.errors import CellError, ShapeError
from elman.gates import GATES, apply
from elman.graph import Builder
from elman.shapes import Size
from elman.targets.interpreter import interpret
from elman.targets.numpy_words import TOTALS, WORDS
from elman.testing import check_gradient
from elman.values import Value

ELEMENTWISE: dict[str, Callable[..., float]] = {
    "add": lambda x1, x2: x1 + x2,
    "subtract": lambda x1, x2: x1 - x2,
    "multiply": lambda x1, x2: x1 * x2,
    "divide": lambda x1, x2: x1 / x2,
    "negate": lambda x: -x,
    "maximum": lambda x1, x2: x1 if x1 > x2 else x2,
    "minimum": lambda x1, x2: x1 if x1 < x2 else x2,
    "greater": lambda x1, x2: 1.0 if x1 > x2 else 0.0,
    "where": lambda condition, x1, x2: x1 if condition != 0 else x2,
    "detach": lambda x, condition: x,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": lambda x: (math.exp(x) - math.exp(-x)) / (math.exp(x) + math.exp(-x)),
    "relu": lambda x: x if x > 0 else 0.0,
    "exp": lambda x: math.e**x,
    "log": math.log,
    "softplus": lambda x: math.log(1 + math.exp(x)),
    "sqrt": lambda x: x**0.5,
    "absolute": lambda x: x if x > 0 else -x,
    "sin": math.sin,
    "cos": math.cos,
}
"""Of one element."""
POSITIVE = {"log", "sqrt"}


@dataclass(frozen=True)
class Case:
    """A gate on random inputs of these shapes (an integer is a token below it), and its formula in loops."""

    shapes: tuple[Any, ...]
    formula: Callable[..., Any]
    attributes: dict[str, Any] = field(default_factory=dict)


def softmax(x):
    powers = [math.exp(v) for v in x]
    return [power / math.fsum(powers) for power in powers]


OTHERS: dict[str, list[Case]] = {
    "softmax": [Case(((5,),), softmax), Case(((1,),), softmax)],
    "log_softmax": [Case(((5,),), lambda x: [math.log(p) for p in softmax(x)])],
    "product": [
        Case(((4, 3), (3,)), lambda w, x: [math.fsum(w[i, j] * x[j] for j in range(3)) for i in range(4)]),
        Case(((1, 1), (1,)), lambda w, x: [w[0, 0] * x[0]]),
    ],
    "outer": [Case(((4,), (3,)), lambda a, b: [[a[i] * b[j] for j in range(3)] for i in range(4)])],
    "transpose": [Case(((4, 3),), lambda x: [[x[i, j] for i in range(4)] for j in range(3)])],
    "sum": [Case(((5,),), math.fsum), Case(((2, 3),), lambda x: math.fsum(x.ravel()))],
    "mean": [Case(((5,),), lambda x: math.fsum(x) / 5), Case(((2, 3),), lambda x: math.fsum(x.ravel()) / 6)],
    "expand": [
        Case(((),), lambda x: [x, x, x], {"shape": (3,)}),
        Case(((),), lambda x: [[x, x, x], [x, x, x]], {"shape": (2, 3)}),
    ],
    "slice": [
        Case(((6,),), lambda x: [x[2], x[3]], {"start": 2, "stop": 4}),
        Case(((6,),), lambda x: [x[4], x[5]], {"start": 4, "stop": 6}),
        Case(((4, 3),), lambda x: [list(x[1]), list(x[2])], {"start": 1, "stop": 3}),
    ],
    "pad": [
        Case(((2,),), lambda x: [0, x[0], x[1], 0, 0], {"before": 1, "after": 2}),
        Case(((1, 3),), lambda x: [[0, 0, 0], list(x[0]), [0, 0, 0], [0, 0, 0]], {"before": 1, "after": 2}),
    ],
    "concatenate": [
        Case(((2,), (1,), (3,)), lambda a, b, c: [a[0], a[1], b[0], c[0], c[1], c[2]]),
        Case(((1, 2), (2, 2)), lambda a, b: [list(a[0]), list(b[0]), list(b[1])]),
        Case(((4,),), list),
    ],
    "lookup": [Case(((4, 3), 3), lambda w, token: [w[i, token] for i in range(4)])],
    "scatter": [
        Case(((4,), 3), lambda x, token: [[x[i] * (j == token) for j in range(3)] for i in range(4)], {"columns": 3})
    ],
    "one_hot": [Case((5,), lambda token: [float(j == token) for j in range(5)], {"size": 5})],
    "cross_entropy": [Case(((5,), 5), lambda x, token: -math.log(softmax(x)[token]))],
    "total": [Case(((2, 3),), lambda x: x)],
}

CASES = [
    *((name, Case((shape,) * count, np.vectorize(formula, otypes=[float])))
      for name, formula in ELEMENTWISE.items()
      for count in [formula.__code__.co_argcount if hasattr(formula, "__code__") else 1]
      for shape in [(5,), (2, 3), ()]),
    *((name, case) for name, cases in OTHERS.items() for case in cases),
]  # fmt: skip
every_case = pytest.mark.parametrize(
    ("name", "case"), CASES, ids=[f"{name}{case.shapes}".replace(" ", "") for name, case in CASES]
)


def random_inputs(name: str, case: Case, seed: int) -> list[Any]:
    """Away from kinks and poles by 0.2 or more; conditions are 0 or not."""
    rng = np.random.default_rng(seed)
    inputs: list[Any] = []
    for shape in case.shapes:
        if isinstance(shape, int):
            inputs.append(int(rng.integers(shape)))
            continue
        value = rng.uniform(0.2, 1.5, shape) * (1.0 if name in POSITIVE else rng.choice([-1.0, 1.0], shape))
        inputs.append(np.asarray(value))
    if name in ("maximum", "minimum", "greater"):
        inputs[1] = inputs[0] + inputs[1]
    if name in ("where", "detach"):
        inputs[-1 if name == "detach" else 0] = rng.integers(2, size=case.shapes[0]).astype(float)
    return inputs


def upstream(y: Any) -> np.ndarray:
    return np.random.default_rng(9).standard_normal(np.shape(y))


def gradients(name: str, case: Case, seed: int) -> tuple[list[Any], tuple[Any, ...]]:
    """Random inputs, and what the gate's gradient rule gives for each."""
    row, inputs = GATES[name], random_inputs(name, case, seed)
    y = row.forward(*inputs, **case.attributes)
    return inputs, row.gradient(upstream(y), y, *inputs, **case.attributes)


def check_row(name: str, case: Case, seed: int) -> None:
    """The gradient rule of a gate against central differences, for every input that may move; `None` must mean 0.

    A condition may not: where it is 0 the value jumps.
    """
    inputs, found = gradients(name, case, seed)
    assert len(found) == len(inputs)
    moving = {str(k): x for k, x in enumerate(inputs) if not isinstance(x, int) and (name, k) != ("where", 0)}

    def loss(at):
        y = GATES[name].forward(*(at.get(str(k), x) for k, x in enumerate(inputs)), **case.attributes)
        return float(np.sum(upstream(y) * y))

    given = {key: np.zeros_like(x) if found[int(key)] is None else np.asarray(found[int(key)]) for key, x in moving.items()}
    for key, x in moving.items():
        assert given[key].shape == x.shape
    check_gradient(loss, given, moving, seed=seed)


DIFFERENTIABLE = [(name, case) for name, case in CASES if name not in ("detach", "total", "one_hot")]
every_differentiable = pytest.mark.parametrize(
    ("name", "case"), DIFFERENTIABLE, ids=[f"{name}{case.shapes}".replace(" ", "") for name, case in DIFFERENTIABLE]
)


# ---------------------------------------------------------------- the table


def test_every_gate_is_tested():
    assert {name for name, _ in CASES} == set(GATES)


def test_rows_are_called_by_their_names():
    assert all(name == row.name for name, row in GATES.items())
    assert {name for name, row in GATES.items() if row.elementwise} == set(ELEMENTWISE)


def test_the_numpy_target_has_a_word_for_every_gate():
    assert set(WORDS) == set(GATES)
    assert set(TOTALS) <= set(GATES)


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("seed", range(3))
@every_case
def test_value(name, case, seed):
    inputs = random_inputs(name, case, seed)
    y = GATES[name].forward(*inputs, **case.attributes)
    np.testing.assert_allclose(y, case.formula(*inputs), rtol=1e-14, atol=1e-15)
    shapes = [() if isinstance(shape, int) else shape for shape in case.shapes]
    assert GATES[name].shape(*shapes, **case.attributes) == np.shape(y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_case
def test_value_keeps_the_type(name, case, dtype):
    inputs = [x if isinstance(x, int) else x.astype(dtype) for x in random_inputs(name, case, 0)]
    if name != "one_hot":
        assert np.asarray(GATES[name].forward(*inputs, **case.attributes)).dtype == dtype


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("sigmoid", [-1000.0, -40.0, 0.0, 40.0, 1000.0], [0.0, 4.248354255291589e-18, 0.5, 1.0, 1.0]),
        ("tanh", [-1000.0, 0.0, 1000.0], [-1.0, 0.0, 1.0]),
        ("softplus", [-1000.0, 0.0, 1000.0], [0.0, math.log(2.0), 1000.0]),
        ("softmax", [1000.0, 1000.0, -1000.0], [0.5, 0.5, 0.0]),
        ("softmax", [-1000.0, -1000.0], [0.5, 0.5]),
        ("log_softmax", [1000.0, 1000.0, -1000.0], [-math.log(2.0), -math.log(2.0), -2000.0 - math.log(2.0)]),
        ("maximum", [1.0, -1.0], None),
    ],
)
def test_values_at_the_edges(name, x, y):
    if y is None:  # two equal inputs
        np.testing.assert_array_equal(GATES[name].forward(np.array(x), np.array(x)), x)
    else:
        np.testing.assert_allclose(GATES[name].forward(np.array(x)), y, rtol=1e-15)


def test_functions_are_the_gates():
    x = np.array([0.5, 1.5, 2.5, 3.5])
    for name in ELEMENTWISE | OTHERS:
        function = getattr(elman, name, None)
        if function is not None and name not in ("where", "concatenate", "outer", "greater", "maximum", "minimum"):
            argument = x.reshape(2, 2) if name == "transpose" else x
            np.testing.assert_array_equal(function(argument), apply(name, argument))
    np.testing.assert_array_equal(elman.where(x - 1.5, x, -x), [0.5, -1.5, 2.5, 3.5])
    np.testing.assert_array_equal(elman.greater(x, 2.0), [0.0, 0.0, 1.0, 1.0])
    np.testing.assert_array_equal(elman.maximum(x, 2.0), [2.0, 2.0, 2.5, 3.5])
    np.testing.assert_array_equal(elman.minimum(x, 2.0), [0.5, 1.5, 2.0, 2.0])
    np.testing.assert_array_equal(elman.outer(x[:2], x[2:]), [[1.25, 1.75], [3.75, 5.25]])
    np.testing.assert_array_equal(elman.concatenate(x[2:], x[:1]), [2.5, 3.5, 0.5])
    np.testing.assert_array_equal(elman.concatenate([x[2:], x[:1]]), [2.5, 3.5, 0.5])
    np.testing.assert_array_equal(np.stack(elman.split(x, 2)), [[0.5, 1.5], [2.5, 3.5]])


@pytest.mark.parametrize("parts", [0, -1, 3])
def test_split_into_unequal_parts(parts):
    with pytest.raises(ShapeError, match=f"split: a vector of size 4 cannot be cut into {parts} equal parts"):
        elman.split(np.zeros(4), parts)


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("seed", range(3))
@every_differentiable
def test_gradient(name, case, seed):
    check_row(name, case, seed)


def mutations() -> list[tuple[str, Case, int, str]]:
    """Every cotangent of every gate's rule, zeroed or negated (at points where it is not 0 anyway)."""
    return [
        (name, case, position, how)
        for name, case in DIFFERENTIABLE
        for position, found in enumerate(gradients(name, case, 0)[1])
        if found is not None and np.any(found)
        for how in ("zeroed", "negated")
    ]


@pytest.mark.parametrize(("name", "case", "position", "how"), mutations())
def test_a_wrong_gradient_is_noticed(monkeypatch, name, case, position, how):
    right = type(GATES[name]).gradient

    def wrong(self, *arguments, **attributes):
        found = list(right(self, *arguments, **attributes))
        found[position] = found[position] * (0.0 if how == "zeroed" else -1.0)
        return tuple(found)

    monkeypatch.setattr(type(GATES[name]), "gradient", wrong)
    with pytest.raises(CellError, match="the gradient for"):
        check_row(name, case, 0)


def test_mutations_cover_every_gate_with_a_gradient():
    wanted = {(name, k) for name, case in DIFFERENTIABLE for k, g in enumerate(gradients(name, case, 0)[1]) if g is not None}
    assert {(name, position) for name, _, position, _ in mutations()} == wanted
    assert set(GATES) - {name for name, _ in wanted} == {"greater", "detach", "one_hot", "total"}


def test_a_detached_value_lets_no_gradient_through_where_it_is_cut():
    x, condition, g = np.array([0.3, -0.7, 1.1]), np.array([0.0, 1.0, 0.0]), np.array([2.0, 3.0, 5.0])
    found = GATES["detach"].gradient(g, x, x, condition)
    np.testing.assert_array_equal(found[0], [2.0, 0.0, 5.0])
    assert found[1] is None


def test_gates_without_a_gradient():
    assert GATES["one_hot"].gradient(np.ones(3), None, 1, size=3) == (None,)
    assert GATES["greater"].gradient(np.ones(3), None, np.ones(3), np.zeros(3)) == (None, None)
    with pytest.raises(CellError, match="total: a gradient is not differentiated again"):
        GATES["total"].gradient(np.ones(3), np.ones(3), np.ones(3))


@pytest.mark.parametrize(("name", "at", "expected"), [("relu", 0.0, 0.0), ("absolute", 0.0, 0.0), ("relu", -0.0, 0.0)])
def test_gradient_at_a_kink(name, at, expected):
    x = np.array([at])
    np.testing.assert_array_equal(GATES[name].gradient(np.ones(1), GATES[name].forward(x), x)[0], [expected])


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_equal_inputs_give_the_gradient_to_the_second(name):
    x = np.array([0.5])
    first, second = GATES[name].gradient(np.array([3.0]), x, x, x)
    assert (first.item(), second.item()) == (0.0, 3.0)


@every_case
def test_a_traced_gradient_is_the_gradient(name, case):
    """Gradient rules are written with gates, so traced and interpreted they give what they give on arrays."""
    if name == "total":
        return
    inputs, found = gradients(name, case, 1)
    builder, leaves, operands = Builder("traced"), {}, []
    for k, (x, shape) in enumerate(zip(inputs, case.shapes, strict=True)):
        token = isinstance(shape, int)
        leaf = builder.leaf("token" if token else "input", f"x{k}", () if token else shape)
        operands.append(Value(builder, leaf))
        leaves[f"x{k}"] = x
    y = operands[0].__gate__(name, operands, case.attributes)
    leaves["g"] = upstream(GATES[name].forward(*inputs, **case.attributes))
    g = Value(builder, builder.leaf("input", "g", y.shape))
    traced = GATES[name].gradient(g, y, *operands, **case.attributes)
    values = interpret(builder.finish(()), leaves)
    for array, value in zip(found, traced, strict=True):
        assert (array is None) == (value is None)
        if value is not None:
            np.testing.assert_allclose(values[value.index], array, rtol=1e-14, atol=1e-15)


# ---------------------------------------------------------------- shapes

I, H, M = Size(3, "input"), Size(5, "hidden"), Size(6, "memory")
LEAVES = {"x": (I,), "h": (H,), "m": (M,), "w": (H, I), "u": (H, H), "s": (), "k": ()}


@pytest.mark.parametrize(
    ("gate", "operands", "attributes", "shape"),
    [
        ("add", "hh", {}, (5,)),
        ("add", "hs", {}, (5,)),
        ("multiply", "sw", {}, (5, 3)),
        ("where", "shs", {}, (5,)),
        ("tanh", "s", {}, ()),
        ("softmax", "m", {}, (6,)),
        ("product", "wx", {}, (5,)),
        ("outer", "hx", {}, (5, 3)),
        ("transpose", "w", {}, (3, 5)),
        ("sum", "w", {}, ()),
        ("mean", "x", {}, ()),
        ("expand", "s", {"shape": (2, 3)}, (2, 3)),
        ("slice", "m", {"start": 1, "stop": 3}, (2,)),
        ("slice", "w", {"start": 0, "stop": 2}, (2, 3)),
        ("pad", "x", {"before": 1, "after": 2}, (6,)),
        ("concatenate", "hxm", {}, (14,)),
        ("concatenate", "hh", {}, (10,)),
        ("lookup", "wk", {}, (5,)),
        ("scatter", "hk", {"columns": 7}, (5, 7)),
        ("one_hot", "k", {"size": 7}, (7,)),
        ("cross_entropy", "hk", {}, ()),
        ("total", "w", {}, (5, 3)),
    ],
)
def test_shape(gate, operands, attributes, shape):
    builder = Builder("shapes")
    leaves = {name: builder.leaf("input", name, LEAVES[name]) for name in dict.fromkeys(operands)}
    index = builder.add(gate, [leaves[name] for name in operands], tuple(attributes.items()))
    assert builder.nodes[index].shape == shape


@pytest.mark.parametrize(
    ("gate", "operands", "attributes", "message"),
    [
        ("add", "hx", {}, "`h + x`: h is (hidden=5), x is (input=3)"),
        ("subtract", "hw", {}, "`h - w`: h is (hidden=5), w is (hidden=5, input=3)"),
        ("where", "hhx", {}, "`where(h, h, x)`: h is (hidden=5), x is (input=3)"),
        ("softmax", "w", {}, "`softmax(w)`: w is (hidden=5, input=3), a vector is wanted"),
        ("log_softmax", "s", {}, "`log_softmax(s)`: s is (), a vector is wanted"),
        ("product", "um", {}, "`u @ m`: m has 6 rows, u is (hidden=5, hidden=5)"),
        (
            "product",
            "wu",
            {},
            "`w @ u`: w is (hidden=5, input=3), u is (hidden=5, hidden=5); a matrix times a vector is wanted",
        ),
        ("product", "hx", {}, "`h @ x`: h is (hidden=5), x is (input=3); a matrix times a vector is wanted"),
        ("outer", "wx", {}, "`outer(w, x)`: w is (hidden=5, input=3), x is (input=3); two vectors are wanted"),
        ("transpose", "h", {}, "`transpose(h)`: h is (hidden=5), a matrix is wanted"),
        ("sum", "s", {}, "`sum(s)`: s is a number, a vector or matrix is wanted"),
        ("mean", "s", {}, "`mean(s)`: s is a number, a vector or matrix is wanted"),
        ("expand", "h", {"shape": (3,)}, "`h`: h is (hidden=5), a number is wanted"),
        ("slice", "h", {"start": 2, "stop": 9}, "`h[2:9]`: h is (hidden=5), which has no part [2:9]"),
        ("slice", "h", {"start": 2, "stop": 2}, "`h[2:2]`: h is (hidden=5), which has no part [2:2]"),
        ("pad", "s", {"before": 1, "after": 1}, "`pad(s, 1, 1)`: s is (), which cannot be padded by 1 and 1"),
        ("concatenate", "hw", {}, "`concatenate(h, w)`: h is (hidden=5), w is (hidden=5, input=3)"),
        ("concatenate", "hs", {}, "`concatenate(h, s)`: h is (hidden=5), s is ()"),
        ("lookup", "hk", {}, "`h[:, k]`: h is (hidden=5), k is (); a matrix and a token are wanted"),
        (
            "scatter",
            "wk",
            {"columns": 2},
            "`scatter(w, k, 2)`: w is (hidden=5, input=3), k is (); a vector and a token are wanted",
        ),
        ("one_hot", "h", {"size": 2}, "`one_hot(h, 2)`: h is (hidden=5), a token is wanted"),
        ("cross_entropy", "sk", {}, "`cross_entropy(s, k)`: s is (), k is (); a vector and a token are wanted"),
    ],
)
def test_shapes_that_do_not_fit(gate, operands, attributes, message):
    builder = Builder("shapes")
    leaves = {name: builder.leaf("input", name, LEAVES[name]) for name in dict.fromkeys(operands)}
    with pytest.raises(ShapeError) as caught:
        builder.add(gate, [leaves[name] for name in operands], tuple(attributes.items()))
    assert str(caught.value) == message


def test_every_shape_rule_is_tried():
    marks = {f.__name__: f.pytestmark[0].args[1] for f in (test_shape, test_shapes_that_do_not_fit)}
    accepted, refused = ({row[0] for row in rows} for rows in marks.values())
    rules = {type(row).shape: name for name, row in GATES.items() if not row.elementwise}
    assert {type(GATES[name]).shape for name in accepted} >= set(rules)
    assert {type(GATES[name]).shape for name in refused} >= set(rules) - {type(GATES["total"]).shape}
