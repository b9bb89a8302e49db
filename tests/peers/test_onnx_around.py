"""The operators around recurrent nodes, on random shapes and attributes, against ONNX Runtime, in all of their versions."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.peers

from onnx import helper  # noqa: E402

from elman.io.onnx import run  # noqa: E402
from onnx_sessions import session_of  # noqa: E402

SEEDS = 8


def drawn(rng, *shape, kind=np.float32):
    return (rng.normal(size=shape) * 2).astype(kind)


def shape(rng, low=2, high=4):
    return tuple(int(n) for n in rng.integers(1, 5, rng.integers(low, high + 1)))


def some_axes(rng, rank):
    """Some axes, counted from either end."""
    found = rng.choice(rank, rng.integers(1, rank + 1), replace=False)
    return [int(axis) - rank * int(rng.integers(2)) for axis in found]


def ints(*values):
    return np.array(values, np.int64)


def broadcast(rng):
    whole = shape(rng)
    part = tuple(n if rng.integers(2) else 1 for n in whole)[int(rng.integers(len(whole))) :]
    return whole, part


def two(op, opset):
    def case(rng):
        a, b = (drawn(rng, *s) for s in broadcast(rng))
        return op, ([a, b] if rng.integers(2) else [b, a]), {}, opset

    return case


def one(op, opset, positive=False, **attributes):
    def case(rng):
        x = drawn(rng, *shape(rng))
        given = {name: round(float(rng.uniform(0.1, 0.9)), 3) for name in attributes}
        return op, [np.abs(x) + 0.1 if positive else x], given, opset

    return case


def integer_division(rng):
    return "Div", [rng.integers(-9, 9, (3, 4)), rng.choice([-4, -2, 3, 5], (4,))], {}, 14


def product(rng):
    lead = shape(rng, 0, 2)
    n, k, m = (int(v) for v in rng.integers(1, 6, 3))
    return "MatMul", [drawn(rng, *lead, n, k), drawn(rng, *lead[int(rng.integers(len(lead) + 1)) :], k, m)], {}, 13


def gemm(rng):
    n, k, m = (int(v) for v in rng.integers(1, 6, 3))
    a, b = int(rng.integers(2)), int(rng.integers(2))
    c = [drawn(rng, *s) for s in [(n, m), (m,), (n, 1), (1,), ()]][int(rng.integers(5))]
    opset = int(rng.choice([7, 11, 13]))
    inputs = [drawn(rng, *((k, n) if a else (n, k))), drawn(rng, *((m, k) if b else (k, m))), c]
    attributes = {"transA": a, "transB": b, "alpha": 0.5, "beta": float(rng.choice([1.0, 0.25]))}
    return "Gemm", inputs[: 2 + int(opset < 11 or rng.integers(2))], attributes, opset


def softmax(op):
    def case(rng):
        x, opset = drawn(rng, *shape(rng)), int(rng.choice([7, 11, 13, 17]))
        axis = int(rng.integers(0 if opset < 11 else -x.ndim, x.ndim))
        return op, [x], {} if rng.integers(3) == 0 else {"axis": axis}, opset

    return case


def transpose(rng):
    x = drawn(rng, *shape(rng))
    return "Transpose", [x], {"perm": rng.permutation(x.ndim).tolist()} if rng.integers(3) else {}, 13


def squeeze(rng):
    axes = sorted(set(rng.choice(5, 2).tolist()))
    sizes = [1 if at in axes else int(rng.integers(2, 4)) for at in range(5)]
    opset = int(rng.choice([7, 11, 13]))
    if opset > 7:
        axes = [axis - 5 * int(rng.integers(2)) for axis in axes]
    x = drawn(rng, *sizes)
    if rng.integers(3) == 0:
        return "Squeeze", [x], {}, opset
    return ("Squeeze", [x, ints(*axes)], {}, 13) if opset == 13 else ("Squeeze", [x], {"axes": axes}, opset)


def unsqueeze(rng):
    x, opset = drawn(rng, *shape(rng, 1, 3)), int(rng.choice([7, 11, 13]))
    axes = rng.choice(x.ndim + 2, 2, replace=False).tolist()
    if opset > 7:
        axes = [axis - (x.ndim + 2) * int(rng.integers(2)) for axis in axes]
    return ("Unsqueeze", [x, ints(*axes)], {}, 13) if opset == 13 else ("Unsqueeze", [x], {"axes": sorted(axes)}, opset)


def reshape(rng):
    x, wanted = drawn(rng, 2, 3, 4), [[6, 4], [0, -1], [-1, 2], [0, 0, 2, 2], [2, 0, -1], [-1], [1, 0, 8]]
    return "Reshape", [x, ints(*wanted[int(rng.integers(len(wanted)))])], {}, int(rng.choice([7, 13, 14]))


def reshape_zero(rng):
    return "Reshape", [drawn(rng, 0, 3), ints(3, 0)], {"allowzero": 1}, 14


def flatten(rng):
    x, opset = drawn(rng, *shape(rng)), int(rng.choice([7, 11, 13]))
    return "Flatten", [x], {"axis": int(rng.integers(0 if opset < 11 else -x.ndim, x.ndim + 1))}, opset


def gather(rng):
    x = drawn(rng, *shape(rng))
    axis = int(rng.integers(-x.ndim, x.ndim))
    size = x.shape[axis]
    indices = rng.integers(-size, size, shape(rng, 0, 2), dtype=rng.choice([np.int32, np.int64]))
    return "Gather", [x, np.asarray(indices)], {"axis": axis}, 13


def slices(rng):
    x = drawn(rng, *(n + 2 for n in shape(rng)))
    axes = some_axes(rng, x.ndim)
    starts, ends = (rng.integers(-8, 9, len(axes)).tolist() for _ in "se")
    opset = int(rng.choice([7, 10, 13]))
    if opset == 7:
        axes = [axis % x.ndim for axis in axes]
        return "Slice", [x], {"starts": starts, "ends": ends, "axes": axes}, opset
    steps = rng.choice([-3, -2, -1, 1, 2], len(axes))
    beyond = [int(np.sign(step)) * (2**31 - 1) for step in steps]  # as exporters write "to the end", either way
    ends = [far if rng.integers(4) == 0 else end for far, end in zip(beyond, ends, strict=True)]
    inputs = [x, *(np.array(v, rng.choice([np.int32, np.int64])) for v in (starts,))]
    inputs += [np.array(v, inputs[1].dtype) for v in (ends, axes, steps)]
    return "Slice", inputs, {}, opset


def concat(rng):
    sizes = list(shape(rng))
    axis = int(rng.integers(-len(sizes), len(sizes)))
    parts = []
    for _ in range(int(rng.integers(1, 4))):
        sizes[axis] = int(rng.integers(1, 4))
        parts.append(drawn(rng, *sizes))
    return "Concat", parts, {"axis": axis}, 13


def split(rng):
    sizes, opset = list(shape(rng)), int(rng.choice([7, 11, 13, 18]))
    axis = int(rng.integers(0 if opset < 11 else -len(sizes), len(sizes)))
    sizes[axis] = 6
    x, parts = drawn(rng, *sizes), [[1, 3, 2], [2, 2, 2]][int(rng.integers(2))]
    if opset == 18 and rng.integers(2):
        sizes[axis] = 7  # the last part is smaller
        return "Split", [drawn(rng, *sizes)], {"axis": axis, "num_outputs": 3}, opset, 3
    if opset < 18 and rng.integers(3) == 0:
        return "Split", [x], {"axis": axis}, opset, 3
    return ("Split", [x, ints(*parts)], {"axis": axis}, opset, 3) if opset > 11 else (
        "Split", [x], {"axis": axis, "split": parts}, opset, 3)  # fmt: skip


def cast(rng):
    kinds = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 11: np.float64, 10: np.float16}
    x = (drawn(rng, 3, 4) * 3).astype(kinds[int(rng.choice(list(kinds)))])
    return "Cast", [x], {"to": int(rng.choice(list(kinds)))}, 13


def shape_of(rng):
    x = drawn(rng, *shape(rng))
    start, end = rng.integers(-5, 6, 2).tolist()
    return "Shape", [x], {} if rng.integers(3) == 0 else {"start": start, "end": end}, 15


def constant_of_shape(rng):
    value = helper.make_tensor("v", int(rng.choice([1, 7])), [1], [int(rng.integers(9))])
    return "ConstantOfShape", [ints(*shape(rng, 0, 3))], {"value": value} if rng.integers(2) else {}, 9


def expand(rng):
    whole, part = broadcast(rng)
    wanted = [n if rng.integers(2) or len(part) < len(whole) else 1 for n in whole]
    return "Expand", [drawn(rng, *part), ints(*wanted)], {}, 13


def batch_norm(rng):
    x = drawn(rng, *shape(rng, 2, 4))
    rows = [drawn(rng, x.shape[1]) for _ in range(3)] + [rng.uniform(0.2, 2, x.shape[1]).astype(np.float32)]
    return "BatchNormalization", [x, *rows], {"epsilon": 1e-3, "momentum": 0.5}, int(rng.choice([9, 14, 15]))


def layer_norm(rng):
    x = drawn(rng, *(n + 1 for n in shape(rng)))
    axis = int(rng.integers(-x.ndim, x.ndim))
    rows = [drawn(rng, *x.shape[axis % x.ndim :]) for _ in range(1 + int(rng.integers(2)))]
    return "LayerNormalization", [x, *rows], {"axis": axis, "epsilon": 1e-3}, 17


def reduced(op):
    def case(rng):
        x, keepdims = drawn(rng, *shape(rng)), int(rng.integers(2))
        x = np.abs(x) + 0.1 if op in ("ReduceProd", "ReduceLogSum") else x
        axes, opset = some_axes(rng, x.ndim), int(rng.choice([11, 13, 18]))
        if rng.integers(4) == 0:
            return op, [x], {"keepdims": keepdims}, opset
        if opset == 18 or (op == "ReduceSum" and opset == 13):
            return op, [x, ints(*axes)], {"keepdims": keepdims}, opset
        return op, [x], {"keepdims": keepdims, "axes": axes}, opset

    return case


def best(op):
    def case(rng):
        x = np.round(drawn(rng, *shape(rng)))
        attributes = {"axis": int(rng.integers(-x.ndim, x.ndim)), "keepdims": int(rng.integers(2))}
        return op, [x], attributes | {"select_last_index": int(rng.integers(2))}, 13

    return case


def top(rng):
    x = drawn(rng, *(n + 2 for n in shape(rng)))
    attributes = {"axis": int(rng.integers(-x.ndim, x.ndim)), "largest": int(rng.integers(2))}
    return "TopK", [x, ints(2)], attributes, 11, 2


def gather_nd(rng):
    return "GatherND", [drawn(rng, 3, 4, 2), rng.integers(-3, 3, (5, int(rng.integers(1, 3))))], {}, 13


def scatter(rng):
    indices = np.stack([rng.permutation(4)[:2] for _ in range(3)])
    return "ScatterElements", [drawn(rng, 3, 4), indices, drawn(rng, 3, 2)], {"axis": 1}, 13


def scatter_nd(rng):
    return "ScatterND", [drawn(rng, 5, 3), rng.permutation(5)[:2, None], drawn(rng, 2, 3)], {}, 13


def einsum(rng):
    return "Einsum", [drawn(rng, 2, 3, 4), drawn(rng, 4, 5)], {"equation": "bij,jk->bik"}, 12


def trilu(rng):
    return "Trilu", [drawn(rng, 4, 5), np.array(int(rng.integers(-2, 3)))], {"upper": int(rng.integers(2))}, 14


def instance_norm(rng):
    return "InstanceNormalization", [drawn(rng, 2, 3, 5), drawn(rng, 3), drawn(rng, 3)], {"epsilon": 1e-3}, 6


def pooled(name):
    return lambda rng: (f"Global{name}Pool", [drawn(rng, *shape(rng, 3, 4))], {}, 1)


def padded(rng):
    mode = str(rng.choice(["constant", "edge", "reflect"]))
    return "Pad", [drawn(rng, 4, 5), ints(1, 0, 2, 3), np.float32(3)][: 3 if mode == "constant" else 2], {"mode": mode}, 13


CASES = [
    *(two(op, opset) for op in ("Add", "Sub", "Mul", "Div") for opset in (7, 14)), integer_division,
    *(two(op, 13) for op in ("Max", "Min", "Sum", "Mean", "Less", "Greater")),
    *(one(op, 13) for op in ("Relu", "Sigmoid", "Tanh", "Neg", "Exp", "Abs", "Identity", "Softplus", "Softsign", "Tan")),
    *(one(op, 13) for op in ("Sinh", "Atan", "Asinh", "Sign", "Erf", "IsNaN")),
    one("HardSwish", 14), one("Mish", 18), one("Sqrt", 13, positive=True), one("Reciprocal", 13, positive=True),
    one("Log", 13, positive=True), one("Elu", 6, alpha=1), one("LeakyRelu", 6, alpha=1),
    one("HardSigmoid", 6, alpha=1, beta=1),
    one("Celu", 12, alpha=1), one("ThresholdedRelu", 10, alpha=1), one("Selu", 6, alpha=1, gamma=1), one("Gelu", 20),
    product, gemm, softmax("Softmax"), softmax("LogSoftmax"), softmax("Hardmax"), transpose, squeeze, unsqueeze, reshape,
    reshape_zero, flatten, gather, slices, concat, split, cast, shape_of, constant_of_shape, expand, batch_norm, layer_norm,
    *(reduced(op) for op in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
                             "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")),
    best("ArgMax"), best("ArgMin"), top, gather_nd, scatter, scatter_nd,
    pooled("Average"), pooled("Max"), einsum, trilu, instance_norm, padded,
]  # fmt: skip


def built(op, inputs, attributes, opset, outputs=1, domain=""):
    given = {f"x{k}": np.asarray(value) for k, value in enumerate(inputs)}
    declared = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in given.items()
    ]
    names = [f"y{k}" for k in range(outputs)]
    made = helper.make_node(op, list(given), names, domain=domain, **attributes)
    graph = helper.make_graph([made], "one", declared, [helper.make_empty_tensor_value_info(n) for n in names])
    versions = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8), given


def runtime(made, given):
    return session_of(made.SerializeToString()).run(None, given)


def compare(case):
    made, given = built(*case)
    for got, wanted in zip(run(made, given).values(), runtime(made, given), strict=True):
        assert (got.dtype, got.shape) == (np.asarray(wanted).dtype, np.shape(wanted)), case
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5, err_msg=str(case))


NAMES = [f"{k}-{case(np.random.default_rng(0))[0]}" for k, case in enumerate(CASES)]


@pytest.mark.parametrize("at", range(len(CASES)), ids=NAMES)
def test_operators_on_random_shapes(at):
    for seed in range(SEEDS):
        compare(CASES[at](np.random.default_rng([at, seed])))


X = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)

PREPARING = [
    ("Scaler", [X], {"offset": [0.5, 1.0, -1.0, 0.0], "scale": [2.0, 1.0, 0.5, -1.0]}),
    ("Scaler", [X], {"offset": [0.5], "scale": [2.0]}),
    *(("Normalizer", [np.concatenate([X, 0 * X[:1]])], {"norm": norm}) for norm in ("L1", "L2")),
    ("Binarizer", [X], {"threshold": 0.25}),
    (
        "Imputer",
        [np.where(X > 1, np.nan, X)],
        {"imputed_value_floats": [1.0, 2.0, 3.0, 4.0], "replaced_value_float": np.nan},
    ),
    ("Imputer", [np.array([[1, 7], [7, 2]])], {"imputed_value_int64s": [5], "replaced_value_int64": 7}),
    ("ArrayFeatureExtractor", [X, ints(2, 0)], {}),
    ("LabelEncoder", [ints(1, 2, 9)], {"keys_int64s": [1, 2], "values_floats": [0.5, 0.25], "default_float": 3.0}),
    ("LabelEncoder", [ints(1, 2, 9)], {"keys_int64s": [1, 2], "values_int64s": [7, 8]}),
    ("LinearRegressor", [X], {"coefficients": X[:2].ravel().tolist(), "intercepts": [0.5, -1.0], "targets": 2}),
]


@pytest.mark.parametrize("case", PREPARING, ids=[f"{k}-{case[0]}" for k, case in enumerate(PREPARING)])
def test_what_prepares_features(case):
    compare((*case, 13, 1, "ai.onnx.ml"))


def test_classes_by_name():
    made, given = built("ZipMap", [X], {"classlabels_strings": ["a", "b", "c", "d"]}, 13, 1, "ai.onnx.ml")
    assert run(made, given)["y0"] == [dict(zip("abcd", row, strict=True)) for row in X.tolist()]
