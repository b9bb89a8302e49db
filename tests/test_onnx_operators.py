"""The operators around recurrent nodes, each against the reference evaluation of the library onnx, or a loop."""

import numpy as np
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from elman.errors import ModelFileError
from elman.io.onnx import run
from elman.io.onnx.operators import BEFORE_13, OPERATORS
from elman.io.onnx.sequences import SEQUENCES

RNG = np.random.default_rng(0)
X, Y = (RNG.normal(size=(2, 3, 4)).astype(np.float32) for _ in "xy")
P = np.abs(X) + np.float32(0.5)
INTEGERS = np.array([[-7, 7, 9], [-9, 2, 5]], np.int64)
TRUE = X > 0
SIGNAL, PICTURE, FILTERS = (RNG.normal(size=size).astype(np.float32) for size in ((2, 4, 11), (2, 4, 7, 6), (6, 4, 3, 2)))


def at(*values):
    return np.array(values, np.int64)


ONE = [
    "Neg", "Abs", "Sign", "Floor", "Ceil", "Round", "Exp", "Sin", "Cos", "Erf", "Relu", "Tanh", "Sigmoid",
    "Softsign", "Softplus", "Identity", "Elu", "LeakyRelu", "HardSigmoid", "ThresholdedRelu", "Gelu", "Softmax",
    "LogSoftmax", "Shape", "Size", "Flatten", "Transpose",
]  # fmt: skip
TWO = [
    "Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Greater", "GreaterOrEqual", "Less", "LessOrEqual",
    "Equal", "PRelu",
]  # fmt: skip

CASES = [
    *((op, [X], {}) for op in ONE),
    *((op, [P], {}) for op in ("Sqrt", "Reciprocal", "Log")),
    *((op, [X, Y], {}) for op in TWO),
    *((op, [TRUE, Y > 0], {}) for op in ("And", "Or", "Xor")),
    ("Not", [TRUE], {}),
    ("Add", [X, Y[0, 0]], {}),
    ("Max", [X, Y, P[0]], {}),
    ("Sum", [X, Y, P], {}),
    ("Div", [INTEGERS, at(2, -2, 4)], {}),
    ("Pow", [P, np.float32(1.5)], {}),
    ("Mod", [INTEGERS, at(4, -4, 3)], {}),
    ("Mod", [X, Y], {"fmod": 1}),
    ("Gelu", [X], {"approximate": "tanh"}),
    ("Elu", [X], {"alpha": 0.5}),
    ("LeakyRelu", [X], {"alpha": 0.25}),
    ("HardSigmoid", [X], {"alpha": 0.5, "beta": 0.25}),
    ("ThresholdedRelu", [X], {"alpha": 0.25}),
    ("Clip", [X, np.float32(-0.5), np.float32(0.25)], {}),
    ("Clip", [X, None, np.float32(0.25)], {}),
    ("MatMul", [X, RNG.normal(size=(4, 5)).astype(np.float32)], {}),
    ("Gemm", [X[0], Y[0], P[0, :, :3]], {"alpha": 0.5, "beta": 2.0, "transB": 1}),
    ("Gemm", [X[0], Y[0]], {"transA": 1}),
    ("Conv", [SIGNAL, FILTERS[..., 0]], {}),
    ("Conv", [SIGNAL, FILTERS[..., 0], PICTURE[0, 0, :6, 0]], {"pads": [2, 1], "strides": [3], "dilations": [2]}),
    ("Conv", [SIGNAL, FILTERS[:, :2, :, 0]], {"group": 2, "kernel_shape": [3], "strides": [2]}),
    ("Conv", [PICTURE, FILTERS], {"pads": [1, 0, 2, 1], "strides": [2, 1], "dilations": [1, 2]}),
    ("Conv", [PICTURE, FILTERS[:4, :1]], {"group": 4, "auto_pad": "VALID"}),
    *(("Conv", [PICTURE, FILTERS], {"auto_pad": f"SAME_{end}", "strides": [2, 3]}) for end in ("UPPER", "LOWER")),
    ("Softmax", [X], {"axis": 1}),
    ("LogSoftmax", [X], {"axis": 0}),
    ("Where", [TRUE, X, Y], {}),
    ("Cast", [X], {"to": 7}),
    ("Cast", [TRUE], {"to": 1}),
    ("CastLike", [INTEGERS, X], {}),
    ("Shape", [X], {"start": 1, "end": -1}),
    ("Reshape", [X, at(0, -1)], {}),
    ("Flatten", [X], {"axis": 2}),
    ("Transpose", [X], {"perm": [1, 2, 0]}),
    ("Squeeze", [X[:1], at(0)], {}),
    ("Squeeze", [X[:1, :, :1]], {}),
    ("Unsqueeze", [X, at(0, -1)], {}),
    ("Expand", [X[:, :1], at(3, 1)], {}),
    ("Tile", [X, at(1, 2, 3)], {}),
    ("Concat", [X, Y, P], {"axis": 1}),
    ("Split", [X, at(1, 3)], {"axis": -1}),
    ("Split", [X], {"axis": 2, "num_outputs": 2}),
    ("Slice", [X, at(1, 0), at(3, 2), at(1, 2)], {}),
    ("Slice", [X, at(-1), at(-(2**62)), at(2), at(-1)], {}),
    ("Slice", [X, at(0, 0), at(2**62, 1)], {}),
    ("Pad", [X, at(0, 1, 0, 0, 2, 1), np.float32(7)], {}),
    ("Pad", [X, at(1, 2), None, at(2)], {}),
    *(("Pad", [X, at(0, 1, 2, 0, 0, 3)], {"mode": mode}) for mode in ("reflect", "edge")),
    ("Gather", [X, at(2, 0, -1)], {"axis": 1}),
    ("Gather", [X, np.array(1)], {"axis": 2}),
    ("GatherElements", [X, INTEGERS[:, :2, None].repeat(4, 2) % 3], {"axis": 1}),
    ("OneHot", [at(0, 2, -1), np.array(4), np.array([0.25, 2.0], np.float32)], {"axis": 0}),
    ("Range", [np.array(1), np.array(9), np.array(3)], {}),
    ("ReverseSequence", [X, at(2, 3)], {"batch_axis": 0, "time_axis": 1}),
    ("CumSum", [X, np.array(1)], {}),
    ("CumSum", [X, np.array(2)], {"exclusive": 1, "reverse": 1}),
    ("ConstantOfShape", [at(2, 3)], {}),
    ("ConstantOfShape", [at(2)], {"value": helper.make_tensor("v", 7, [1], [5])}),
    ("ReduceSum", [X, at(0, 2)], {}),
    ("ReduceSum", [X], {"noop_with_empty_axes": 1}),
    *((op, [P, at(1)], {"keepdims": 0}) for op in OPERATORS if op.startswith("Reduce") and op != "ReduceProd"),
    ("ReduceProd", [P], {}),
    ("ArgMax", [np.round(X)], {"axis": 1}),
    ("ArgMin", [np.round(X)], {"axis": 2, "keepdims": 0, "select_last_index": 1}),
    ("BatchNormalization", [X, *P[0, :, :].T[:4, :3]], {"epsilon": 1e-3}),
    ("LayerNormalization", [X, P[0, 0], Y[0, 0]], {"epsilon": 1e-3}),
    ("LayerNormalization", [X, P[0], Y[0]], {"axis": 1}),
    *((op, [np.tanh(X)], {}) for op in ("Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Atanh")),
    *((op, [X], {}) for op in ("Selu", "Celu", "HardSwish", "Mish", "GlobalAveragePool")),
    ("Acosh", [P + 1], {}),
    ("IsNaN", [np.where(X > 0, np.nan, X)], {}),
    ("Hardmax", [X], {"axis": 1}),
    ("TopK", [X, at(2)], {"axis": 1}),
    ("TopK", [X, at(2)], {"axis": -1, "largest": 0}),
    ("GatherND", [X, np.array([[0, 2], [-1, 1]])], {}),
    ("GatherND", [X, np.array([[2], [1]])], {"batch_dims": 1}),
    ("ScatterND", [X, np.array([[1], [0]]), Y], {}),
    ("ScatterND", [X, np.array([[1], [1]]), Y], {"reduction": "add"}),
    ("ScatterElements", [X, at(2, 0)[:, None, None], Y[:, :1, :1]], {"axis": 1}),
    ("Einsum", [X, Y], {"equation": "bti, bsi -> bts"}),
    ("Trilu", [X, np.array(1)], {}),
    ("Trilu", [X], {"upper": 0}),
    ("InstanceNormalization", [X, P[0, :, 0], Y[0, :, 0]], {}),
]


def model(op, inputs, attributes, opset, outputs=1):
    names = [f"x{k}" if value is not None else "" for k, value in enumerate(inputs)]
    given = {name: np.asarray(value) for name, value in zip(names, inputs, strict=True) if name}
    info = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in given.items()]
    results = [f"y{k}" for k in range(outputs)]
    node = helper.make_node(op, names, results, **attributes)
    graph = helper.make_graph([node], "one", info, [helper.make_tensor_value_info(n, 0, None) for n in results])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), given


@pytest.mark.parametrize(("op", "inputs", "attributes"), CASES, ids=[f"{k}-{case[0]}" for k, case in enumerate(CASES)])
def test_operator(op, inputs, attributes):
    made, given = model(op, inputs, attributes, 20, outputs=2 if op in ("Split", "TopK") else 1)
    wanted = ReferenceEvaluator(made).run(None, given)
    for got, expected in zip(run(made, given).values(), wanted, strict=True):
        assert (got.dtype, got.shape) == (np.asarray(expected).dtype, np.shape(expected))
        np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-6)


def test_every_operator_is_tried():
    elsewhere = {"Constant", "Dropout", *SEQUENCES, *(op for op, *_ in OLD)}
    assert {case[0] for case in CASES} | elsewhere == set(OPERATORS) | set(BEFORE_13)


@pytest.mark.parametrize(
    ("weights", "attributes", "message"),
    [
        (FILTERS[:, :3], {}, "weights (6, 3, 3, 2) do not fit an input (2, 4, 7, 6) with group=1"),
        (FILTERS[:, :1], {"group": 4}, "weights (6, 1, 3, 2) do not fit an input (2, 4, 7, 6) with group=4"),
        (FILTERS, {"kernel_shape": [2, 2]}, "with group=1, kernel_shape=(2, 2)"),
        (FILTERS, {"auto_pad": "SAME"}, "auto_pad 'SAME' is unknown; it is one of NOTSET, VALID, SAME_UPPER, SAME_LOWER"),
    ],
)
def test_convolutions_that_do_not_fit(weights, attributes, message):
    made, given = model("Conv", [PICTURE, weights], attributes, 20)
    with pytest.raises(ModelFileError) as caught:
        run(made, given)
    assert str(caught.value).startswith("onnx: Conv node 'y0': ")
    assert str(caught.value).endswith(message)


OLD = [
    ("Squeeze", [X[:1]], {"axes": [0]}, 11, X[0]),
    ("Unsqueeze", [X], {"axes": [1, -1]}, 11, X[:, None, :, :, None]),
    ("Slice", [X], {"starts": [1], "ends": [9], "axes": [1]}, 9, X[:, 1:]),
    ("Split", [X], {"axis": 2, "split": [1, 3]}, 11, X[:, :, :1]),
    ("ReduceSum", [X], {"axes": [1], "keepdims": 0}, 11, X.sum(1)),
    ("ReduceMean", [X], {"axes": [0, 2]}, 13, X.mean((0, 2), keepdims=True)),
    ("Clip", [X], {"min": -0.5, "max": 0.25}, 6, X.clip(-0.5, 0.25)),
    ("Pad", [X], {"pads": [0, 1, 0, 0, 2, 1], "value": 7.0}, 2, np.pad(X, [(0, 0), (1, 2), (0, 1)], constant_values=7)),
    ("Dropout", [X], {"ratio": 0.5}, 10, X),
    ("Softmax", [X], {}, 11, np.exp(X) / np.exp(X).sum((1, 2), keepdims=True)),  # all axes from one on
    ("Slice", [X, at(-9), at(-9), at(2), at(-2)], {}, 13, X[:, :, :1]),  # backwards it begins at an element
    ("GlobalMaxPool", [X], {}, 13, X.max(2, keepdims=True)),
    ("Hardmax", [X], {}, 11, np.eye(12)[X.reshape(2, -1).argmax(1)].reshape(X.shape)),
    ("LogSoftmax", [X], {"axis": 2}, 11, X - np.log(np.exp(X).sum(2, keepdims=True))),
]


@pytest.mark.parametrize(("op", "inputs", "attributes", "opset", "wanted"), OLD, ids=[case[0] for case in OLD])
def test_operators_of_older_files(op, inputs, attributes, opset, wanted):
    made, given = model(op, inputs, attributes, opset, outputs=2 if op == "Split" else 1)
    np.testing.assert_allclose(run(made, given)["y0"], wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("attributes", "wanted"),
    [
        ({"value_float": 1.5}, np.float32(1.5)), ({"value_ints": [1, 2]}, at(1, 2)), ({"value_int": 3}, np.int64(3)),
        ({"value_floats": [0.5]}, np.array([0.5], np.float32)), ({"value": helper.make_tensor("v", 7, [1], [2])}, at(2)),
    ],
)  # fmt: skip
def test_constants(attributes, wanted):
    made, _ = model("Constant", [], attributes, 13)
    np.testing.assert_array_equal(run(made, {})["y0"], wanted)
