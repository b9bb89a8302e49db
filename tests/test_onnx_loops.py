"""Graphs within graphs: If, Loop and Scan, and the sequences that loops fill, against loops written out here."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from elman.errors import ModelFileError
from elman.io.onnx import load, run
from test_onnx_operators import model

RNG = np.random.default_rng(0)
T, B, H = 5, 2, 3
X, W, U = (RNG.normal(size=shape).astype(np.float32) for shape in ((T, B, H), (H, H), (H, H)))

info, node = helper.make_tensor_value_info, helper.make_node
FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def of(graph):
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def recurrent(steps=T, limit=100.0):
    """h = tanh(x[t] w + h u) as a Loop that reads x of the graph around it, until the sum of all h is above a limit."""
    body = helper.make_graph(
        [
            node("Gather", ["x", "t"], ["x_t"]),
            node("MatMul", ["x_t", "w"], ["a"]),
            node("MatMul", ["h", "u"], ["b"]),
            node("Add", ["a", "b"], ["c"]),
            node("Tanh", ["c"], ["next"]),
            node("ReduceSum", ["next"], ["sum"], keepdims=0),
            node("Less", ["sum", "limit"], ["again"]),
            node("Identity", ["next"], ["y_t"]),
        ],
        "body",
        [info("t", INT, []), info("going", BOOL, []), info("h", FLOAT, [B, H])],
        [info("again", BOOL, []), info("next", FLOAT, [B, H]), info("y_t", FLOAT, [B, H])],
    )
    constants = {"w": W, "u": U, "limit": np.float32(limit), "steps": np.array(steps), "true": np.array(True)}
    graph = helper.make_graph(
        [node("Loop", ["steps", "true", "h0"], ["last", "y"], body=body, name="around")],
        "looping",
        [info("x", FLOAT, [T, B, H]), info("h0", FLOAT, [B, H])],
        [info("y", FLOAT, None), info("last", FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return of(graph)


def literal(h, steps, limit):
    found = []
    for t in range(steps):
        h = np.tanh(X[t] @ W + h @ U)
        found.append(h)
        if h.sum() >= limit:
            break
    return np.array(found).reshape(-1, B, H), h


@pytest.mark.parametrize(("steps", "limit"), [(T, 100.0), (3, 100.0), (T, 2.0), (0, 1.0)])
def test_a_loop_runs_until_it_has_enough(steps, limit):
    h = np.random.default_rng(0).normal(size=(B, H)).astype(np.float32)
    y, last = literal(h, steps, limit)
    made = recurrent(steps, limit)
    for found in (run(made, {"x": X, "h0": h}), load(made)({"x": X, "h0": h})[0]):
        assert found["y"].shape == y.shape
        np.testing.assert_allclose(found["y"], y, atol=1e-6)
        np.testing.assert_allclose(found["last"], last, atol=1e-6)
    assert len(literal(h, T, 2.0)[0]) == 3  # so that the limit is seen to count


def test_a_loop_without_an_end_of_its_own_is_ended_by_its_condition():
    body = helper.make_graph(
        [node("Mul", ["v", "two"], ["w"]), node("Less", ["w", "most"], ["again"])],
        "body",
        [info("t", INT, []), info("going", BOOL, []), info("v", FLOAT, [])],
        [info("again", BOOL, []), info("w", FLOAT, [])],
        [numpy_helper.from_array(np.float32(value), name) for name, value in (("two", 2), ("most", 50))],
    )
    given = [info("v0", FLOAT, []), info("go", BOOL, [])]
    graph = helper.make_graph(
        [node("Loop", ["", "go", "v0"], ["y"], body=body)], "doubling", given, [info("y", FLOAT, None)]
    )
    assert run(of(graph), {"v0": 3.0, "go": True})["y"] == 96.0
    assert run(of(graph), {"v0": 3.0, "go": False})["y"] == 3.0


def test_a_loop_of_constants_that_reads_an_input_is_not_run_beforehand():
    made = recurrent()
    made.graph.initializer.append(numpy_helper.from_array(np.zeros((B, H), np.float32), "h0"))
    found, _ = load(made)(X)
    np.testing.assert_allclose(found["y"], literal(np.zeros((B, H)), T, 100.0)[0], atol=1e-6)


def test_a_scan_over_no_steps_gives_no_steps():
    body = helper.make_graph(
        [node("Add", ["s", "x_t"], ["next"]), node("Neg", ["next"], ["y_t"])],
        "body",
        [info("s", FLOAT, [H]), info("x_t", FLOAT, [H])],
        [info("next", FLOAT, [H]), info("y_t", FLOAT, [H])],
    )
    graph = helper.make_graph(
        [node("Scan", ["s0", "x"], ["last", "y"], body=body, num_scan_inputs=1)],
        "summing",
        [info("s0", FLOAT, [H]), info("x", FLOAT, ["T", H])],
        [info("y", FLOAT, None), info("last", FLOAT, None)],
    )
    found = run(of(graph), {"s0": W[0], "x": np.zeros((0, H))})
    assert found["y"].shape == (0, H)
    np.testing.assert_array_equal(found["last"], W[0])
    np.testing.assert_allclose(run(of(graph), {"s0": W[0], "x": X[:, 0]})["y"], -(W[0] + X[:, 0].cumsum(0)), atol=1e-6)


def test_an_operator_within_a_loop_that_is_not_supported():
    made = recurrent()
    made.graph.node[0].attribute[0].g.node[4].op_type = "Det"
    with pytest.raises(ModelFileError, match="Det node 'next': this operator is not supported"):
        load(made)


# ---------------------------------------------------------------- sequences


def sequences(nodes, outputs=1):
    names = [f"y{k}" for k in range(outputs)]
    given = [info(name, FLOAT, None) for name in "abc"] + [info("i", INT, [])]
    return of(helper.make_graph(nodes, "filling", given, [info(name, 0, None) for name in names]))


CASES = {
    "at": [node("SequenceAt", ["s", "i"], ["y0"])],
    "joined": [node("ConcatFromSequence", ["s"], ["y0"], axis=1)],
    "stacked": [node("ConcatFromSequence", ["s"], ["y0"], axis=-1, new_axis=1)],
    "length": [node("SequenceLength", ["s"], ["y0"])],
    "inserted": [node("SequenceInsert", ["s", "a", "i"], ["t"]), node("ConcatFromSequence", ["t"], ["y0"], axis=0)],
    "appended": [node("SequenceInsert", ["s", "a"], ["t"]), node("ConcatFromSequence", ["t"], ["y0"], axis=0)],
    "erased": [node("SequenceErase", ["s", "i"], ["t"]), node("ConcatFromSequence", ["t"], ["y0"], axis=0)],
    "erased last": [node("SequenceErase", ["s"], ["t"]), node("ConcatFromSequence", ["t"], ["y0"], axis=0)],
}


@pytest.mark.parametrize("at", [1, -1, 0])
@pytest.mark.parametrize("case", CASES)
def test_sequences(case, at):
    made = sequences([node("SequenceConstruct", ["a", "b", "c"], ["s"]), *CASES[case]])
    given = {**dict(zip("abc", X, strict=False)), "i": np.array(at)}
    [wanted] = ReferenceEvaluator(made).run(None, given)
    np.testing.assert_array_equal(run(made, given)["y0"], wanted)


@pytest.mark.parametrize(("split", "keepdims"), [(None, 0), (None, 1), (np.array(2), 1), (np.array([1, 3, 1]), 1)])
def test_an_array_in_parts(split, keepdims):
    inputs = ["x0"] if split is None else ["x0", "x1"]
    made, given = model("SplitToSequence", [X] if split is None else [X, split], {"axis": 0, "keepdims": keepdims}, 17)
    made.graph.node.append(node("SequenceAt", ["y0", "place"], ["y1"]))
    made.graph.initializer.append(numpy_helper.from_array(np.array(1), "place"))
    made.graph.output[0].name = "y1"
    wanted = {1: X[1:2], 2: X[2:4]}.get(0 if split is None else int(np.ravel(split)[0]), X[1:2])
    wanted = X[1:4] if split is not None and split.ndim else wanted if keepdims else X[1]
    assert list(made.graph.node[0].input) == inputs
    np.testing.assert_array_equal(run(made, given)["y1"], wanted)


def test_a_sequence_that_a_loop_fills():
    """As exporters write a loop of Python that appends to a list."""
    body = helper.make_graph(
        [node("Gather", ["x", "t"], ["x_t"]), node("Exp", ["x_t"], ["e"]), node("SequenceInsert", ["s", "e"], ["more"])],
        "body",
        [info("t", INT, []), info("going", BOOL, []), helper.make_tensor_sequence_value_info("s", FLOAT, None)],
        [info("going", BOOL, []), helper.make_tensor_sequence_value_info("more", FLOAT, None)],
    )
    graph = helper.make_graph(
        [
            node("SequenceEmpty", [], ["none"]),
            node("Loop", ["steps", "true", "none"], ["all"], body=body),
            node("ConcatFromSequence", ["all"], ["y"], axis=1, new_axis=1),
        ],
        "appending",
        [info("x", FLOAT, ["T", B, H])],
        [info("y", FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (("steps", T), ("true", True))],
    )
    np.testing.assert_allclose(run(of(graph), {"x": X})["y"], np.exp(X).swapaxes(0, 1), rtol=1e-6)
