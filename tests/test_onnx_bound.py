"""A net that is bound once and run often: other sizes, several threads, and names that mean two things."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from elman.errors import DataError, ModelFileError
from elman.io.onnx import load, run
from elman.io.onnx.convolving import KEPT

RNG = np.random.default_rng(7)
IN, OUT, WIDTH, STRIDE = 3, 4, 5, 2
W, B = RNG.normal(size=(OUT, IN, WIDTH)).astype(np.float32), RNG.normal(size=OUT).astype(np.float32)

info, node = helper.make_tensor_value_info, helper.make_node
FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def of(nodes, inputs, outputs, constants=()):
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in dict(constants).items()]
    graph = helper.make_graph(nodes, "bound", inputs, outputs, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def windows():
    """Reflected, convolved, cut at the relu of what is left, and turned: `[B, T', OUT]`."""
    nodes = [
        node("Pad", ["x", "pads"], ["wide"], mode="reflect"),
        node("Conv", ["wide", "w", "b"], ["sums"], strides=[STRIDE], pads=[1, 2]),
        node("Relu", ["sums"], ["cut"]),
        node("Slice", ["cut", "one", "far", "two"], ["rest"]),
        node("Transpose", ["rest"], ["y"], perm=[0, 2, 1]),
    ]
    constants = {"pads": np.array([0, 0, 2, 0, 0, 1]), "w": W, "b": B}
    constants |= {"one": np.array([1]), "far": np.array([2**62]), "two": np.array([2])}
    return of(nodes, [info("x", FLOAT, ["B", IN, "T"])], [info("y", FLOAT, None)], constants)


def literal(x):
    wide = np.concatenate((x[..., 2:0:-1], x, x[..., -2:-3:-1]), -1)
    wide = np.concatenate((np.zeros((len(x), IN, 1)), wide, np.zeros((len(x), IN, 2))), -1)
    places = range(0, wide.shape[-1] - WIDTH + 1, STRIDE)
    sums = np.array([[(W * row[:, at : at + WIDTH]).sum((1, 2)) + B for at in places] for row in wide])
    return np.maximum(sums, 0).reshape(len(x), len(places), OUT)[:, 1:]


def inputs(count):
    """A size that never came before with each input."""
    return [RNG.normal(size=(1 + n % 3, IN, 6 + n)).astype(np.float32) for n in range(count)]


def test_sizes_come_and_go():
    model, xs = load(windows()), inputs(KEPT + 8)
    for x in (*xs, *xs[:3], xs[0][:0]):
        y, _ = model(x)
        np.testing.assert_allclose(y, literal(x) if len(x) else np.zeros((0, *literal(xs[0]).shape[1:])), atol=2e-5)


def test_strided_inputs_are_read_as_they_lie():
    x = RNG.normal(size=(20, IN, 2)).astype(np.float32).T[::-1]
    np.testing.assert_allclose(load(windows())(x)[0], literal(x), atol=2e-5)


def test_threads_run_one_model():
    model, xs = load(windows()), inputs(24)
    with ThreadPoolExecutor(4) as pool:
        for x, (y, _) in zip(xs * 4, pool.map(model, xs * 4), strict=True):
            np.testing.assert_allclose(y, literal(x), atol=2e-5)


def test_values_that_change_places_in_a_loop():
    """a, b = b, a + b, where the body only names them anew."""
    body = helper.make_graph(
        [node("Add", ["a", "b"], ["sum"]), node("Identity", ["b"], ["first"]), node("Identity", ["sum"], ["second"])],
        "body",
        [info("t", INT, []), info("going", BOOL, []), info("a", FLOAT, [2]), info("b", FLOAT, [2])],
        [info("going", BOOL, []), info("first", FLOAT, [2]), info("second", FLOAT, [2])],
    )
    nodes = [node("Loop", ["steps", "true", "p", "q"], ["a", "b"], body=body)]
    given = {"p": np.array([1, -2], np.float32), "q": np.array([3, 5], np.float32)}
    made = of(nodes, [info(n, FLOAT, [2]) for n in given], [info(n, FLOAT, [2]) for n in "ab"], {"steps": 6, "true": True})
    a, b = given.values()
    for _ in range(6):
        a, b = b, a + b
    for found in (run(made, given), load(made)(given)[0]):
        np.testing.assert_array_equal(found["a"], a)
        np.testing.assert_array_equal(found["b"], b)


def test_a_name_of_a_branch_is_its_own():
    """Both branches and the graph around them call something `h`; what stands behind reads its own."""

    def branch(op):
        return helper.make_graph([node(op, ["x"], ["h"]), node("Neg", ["h"], ["z"])], op, [], [info("z", FLOAT, None)])

    nodes = [
        node("Add", ["x", "x"], ["h"]),
        node("ReduceSum", ["x"], ["sum"], keepdims=0),
        node("Greater", ["sum", "zero"], ["above"]),
        node("If", ["above"], ["taken"], then_branch=branch("Exp"), else_branch=branch("Tanh")),
        node("Mul", ["taken", "h"], ["y"]),
    ]
    made = of(nodes, [info("x", FLOAT, [2])], [info("y", FLOAT, [2])], {"zero": np.float32(0)})
    for x in (np.array([1, 0.5], np.float32), np.array([1, -3], np.float32)):
        wanted = -(np.exp(x) if x.sum() > 0 else np.tanh(x)) * 2 * x
        for found in (run(made, {"x": x})["y"], load(made)(x)[0]):
            np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
def test_means_are_summed_in_a_type_that_holds_them(dtype):
    x = RNG.integers(50, 90, size=(3, 2000)).astype(dtype)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    made = of([node("ReduceMean", ["x"], ["y"], axes=[1])], [info("x", kind, [3, 2000])], [info("y", kind, [3, 1])])
    y = run(made, {"x": x})["y"]
    assert y.dtype == dtype
    np.testing.assert_allclose(y, x.astype(np.float64).mean(1, keepdims=True).astype(dtype), rtol=2e-6)


def carried(shape):
    """y = x + s, and s + y is the next s."""
    nodes = [node("Add", ["x", "s"], ["y"]), node("Add", ["s", "y"], ["next"])]
    return of(nodes, [info(n, FLOAT, shape) for n in "xs"], [info(n, FLOAT, shape) for n in ("y", "next")])


@pytest.mark.parametrize("shape", [["B", 3], [3]])
def test_a_state_goes_back_in(shape):
    model, state, s = load(carried(shape), state={"s": "next"}), None, 0.0
    for _ in range(4):
        x = RNG.normal(size=[2 if size == "B" else size for size in shape]).astype(np.float32)
        y, state = model(x, state)
        np.testing.assert_allclose(y, x + s, atol=1e-5)
        s = s + (x + s)
        np.testing.assert_allclose(state.s, s, atol=1e-5)
    with pytest.raises(ValueError, match="read-only"):
        state.s[...] = 0
    with pytest.raises(DataError, match="state s holds NaN or infinity"):
        model(x, state.copy(s=np.full_like(state.s, np.nan)))


def test_what_does_not_meet_is_told_by_its_node():
    made = of([node("Mul", ["x", "w"], ["y"], name="scale")], [info("x", FLOAT, None)], [info("y", FLOAT, None)], {"w": B})
    with pytest.raises(ModelFileError, match=r"Mul node 'scale': inputs are \(2, 3\), \(4\): .*could not be broadcast"):
        run(made, {"x": np.ones((2, 3), np.float32)})


@pytest.mark.parametrize("made", [
    of([node("Conv", ["x", "w"], ["y"], name="n", colour=3)], [info("x", FLOAT, None)], [info("y", FLOAT, None)], {"w": W}),
    of([node("Squeeze", ["x", "at"], ["y"], name="n")], [info("x", FLOAT, None)], [info("y", FLOAT, None)],
       {"at": np.array([np.nan])}),
])  # fmt: skip
def test_settings_that_are_no_such_are_told_by_their_node(made):
    for ask in (load, lambda source: run(source, {"x": np.ones((2, 3, 9), np.float32)})):
        with pytest.raises(ModelFileError, match=r"(Conv|Squeeze) node 'n': .*(colour|NaN)"):
            ask(made)
