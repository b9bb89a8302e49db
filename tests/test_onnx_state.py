"""State that ONNX files carry through inputs and outputs of their own, inputs that are constants, and branches."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import elman
from elman.errors import DataError, ModelFileError, SettingError, ShapeError
from elman.io.onnx import load, run
from messages import said
from onnx_cases import arrays, feed, literal, model

INFO = helper.make_tensor_value_info
RNG = np.random.default_rng(3)


def drawn(*shape):
    return (RNG.normal(size=shape) * 0.5).astype(np.float32)


WEIGHTS = {"w": drawn(20, 4), "r": drawn(20, 5), "b": drawn(20), "v": drawn(3, 5)}


def made_of(nodes, inputs, outputs, constants):
    kept = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph([helper.make_node(*node[:3], **node[3]) for node in nodes], "net", inputs, outputs, kept)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def written_out(*, batch="B", one=1):
    """An LSTM node by node, one step a call; h and c are one input and one output `[2, B, 5]`."""
    nodes = [
        ("Gather", ["state", "at0"], ["h"], {"axis": 0}),
        ("Gather", ["state", "at1"], ["c"], {"axis": 0}),
        ("Gemm", ["x", "w", "b"], ["wx"], {"transB": 1}),
        ("Gemm", ["h", "r"], ["rh"], {"transB": 1}),
        ("Add", ["wx", "rh"], ["sums"], {}),
        ("Split", ["sums"], list("ifgo"), {"axis": 1, "num_outputs": 4}),
        *((("Tanh" if gate == "g" else "Sigmoid"), [gate], [f"{gate}a"], {}) for gate in "ifgo"),
        ("Mul", ["fa", "c"], ["kept"], {}),
        ("Mul", ["ia", "ga"], ["new"], {}),
        ("Add", ["kept", "new"], ["cn"], {}),
        ("Tanh", ["cn"], ["ca"], {}),
        ("Mul", ["oa", "ca"], ["hn"], {}),
        ("Unsqueeze", ["hn", "axis"], ["h1"], {}),
        ("Unsqueeze", ["cn", "axis"], ["c1"], {}),
        ("Concat", ["h1", "c1"], ["next"], {"axis": 0}),
        ("Gemm", ["hn", "v"], ["y"], {"transB": 1}),
    ]
    outputs = [INFO("y", one, [batch, 3]), INFO("next", one, [2, batch, 5])]
    constants = {**WEIGHTS, "at0": np.int64(0), "at1": np.int64(1), "axis": np.array([0])}
    return made_of(nodes, [INFO("x", one, [batch, 4]), INFO("state", one, [2, batch, 5])], outputs, constants)


def looped(x, h, c):
    """The same as a loop over time; x `[T, B, 4]`."""
    ys = []
    for x_t in x:
        i, f, g, o = np.split(x_t @ WEIGHTS["w"].T + h @ WEIGHTS["r"].T + WEIGHTS["b"], 4, 1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        ys.append(h @ WEIGHTS["v"].T)
    return np.array(ys), h, c


def test_a_state_that_no_node_tells():
    """It goes in and out as one value, batch first, from zeros or from what is given, and its rows can be selected."""
    loaded, x = load(written_out(), state={"state": "next"}), drawn(6, 3, 4)
    assert (list(loaded.inputs), list(loaded.outputs)) == (["x"], ["y"])
    zeros = np.zeros((3, 5), np.float32)
    wanted, h, c = looped(x, zeros, zeros)
    state = None
    for x_t, y in zip(x[:4], wanted, strict=False):
        found, state = loaded(x_t, state)
        np.testing.assert_allclose(found, y, atol=1e-6)
    assert (state.batch, state["state"].shape) == (3, (3, 2, 5))
    one = state[[1]]
    for x_t, y in zip(x[4:], wanted[4:], strict=True):
        found, one = loaded(x_t[[1]], one)
        np.testing.assert_allclose(found, y[[1]], atol=1e-6)
    np.testing.assert_allclose(one["state"][0], [h[1], c[1]], atol=1e-6)
    given = drawn(3, 2, 5)
    found, _ = loaded(x[0], {"state": given})
    np.testing.assert_allclose(found, looped(x[:1], given[:, 0], given[:, 1])[0][0], atol=1e-6)


def test_the_first_state_is_zeros():
    loaded = load(written_out(), state={"state": "next"})
    first = loaded.initial_state(3)
    assert (first.batch, first["state"].shape, first["state"].any()) == (3, (3, 2, 5), False)
    x = drawn(3, 4)
    np.testing.assert_array_equal(loaded(x)[0], loaded(x, first)[0])


def test_a_state_without_a_batch():
    """Where no size is open, the file is for one example, and its state has the shape that the file has."""
    loaded, x = load(written_out(batch=1), state={"state": "next"}), drawn(5, 1, 4)
    wanted, h, c = looped(x, np.zeros((1, 5)), np.zeros((1, 5)))
    state = None
    for x_t, y in zip(x, wanted, strict=True):
        found, state = loaded(x_t, state)
        np.testing.assert_allclose(found, y, atol=1e-6)
    np.testing.assert_allclose(state["state"], [h, c], atol=1e-6)
    assert state.batch is None


def test_the_batch_is_the_size_of_that_name():
    """A state of B whose input has its batch as the second axis."""
    nodes = [("ReduceSum", ["x", "axis"], ["s"], {"keepdims": 0}), ("Add", ["s", "a"], ["an"], {})]
    nodes += [("Neg", ["an"], ["y"], {})]
    inputs, outputs = [INFO("x", 1, ["T", "B", 2]), INFO("a", 1, ["B", 2])], [INFO("y", 1, None), INFO("an", 1, None)]
    loaded, x = load(made_of(nodes, inputs, outputs, {"axis": np.array([0])}), state={"a": "an"}), drawn(7, 3, 2)
    _, state = loaded(x)
    y, state = loaded(x, state)
    np.testing.assert_allclose(-y, 2 * x.sum(0), atol=1e-5)
    assert state["a"].shape == (3, 2)


def test_a_counter_keeps_its_type():
    nodes = [("Add", ["n", "one"], ["m"], {}), ("Cast", ["n"], ["f"], {"to": 1}), ("Mul", ["x", "f"], ["y"], {})]
    inputs, outputs = [INFO("x", 1, [2]), INFO("n", TensorProto.INT64, [])], [INFO("y", 1, [2]), INFO("m", 7, [])]
    loaded, state = load(made_of(nodes, inputs, outputs, {"one": np.int64(1)}), state={"n": "m"}), None
    for step in range(3):
        y, state = loaded([1.5, -2.0], state)
        assert y.tolist() == [1.5 * step, -2.0 * step]
    assert (state["n"].dtype, state["n"].tolist()) == (np.int64, 3)


# ---------------------------------------------------------------- constants and branches


def gru_in_a_branch(given):
    """y = GRU(x) from h0, with one of two sets of weights, as the input `sr` says; they are joined within the branch."""
    branches = []
    for at in (0, 1):
        w, r, b = (given[at][name] for name in "wrb")
        nodes, halves = [], {"first": w[:, :7], "last": w[:, 7:], "r": r, "b": b}
        for name, value in halves.items():
            held = numpy_helper.from_array(value)
            nodes.append(helper.make_node("Constant", [], [f"{name}{at}"], value=held))
        nodes.append(helper.make_node("Concat", [f"first{at}", f"last{at}"], [f"w{at}"], axis=1))
        names = ["x", f"w{at}", f"r{at}", f"b{at}", "", "h0"]
        nodes.append(helper.make_node("GRU", names, [f"y{at}", f"last_h{at}"], hidden_size=5, linear_before_reset=1))
        branches.append(helper.make_graph(nodes, f"b{at}", [], [INFO(f"{name}{at}", 1, None) for name in ("y", "last_h")]))
    nodes = [
        ("Equal", ["sr", "wide"], ["is_wide"], {}),
        ("If", ["is_wide"], ["y", "h"], {"then_branch": branches[0], "else_branch": branches[1]}),
    ]
    inputs = [INFO("x", 1, ["T", "B", 4]), INFO("h0", 1, [1, "B", 5]), INFO("sr", TensorProto.INT64, [])]
    return made_of(nodes, inputs, [INFO("y", 1, None), INFO("h", 1, [1, "B", 5])], {"wide": np.int64(16000)})


def two_grus():
    found = []
    for seed in (1, 2):
        given = arrays(np.random.default_rng(seed), "GRU")
        found.append({name: given[name] for name in "wrb"})
    return found


@pytest.mark.parametrize(("rate", "which"), [(16000, 0), (8000, 1)])
def test_a_constant_takes_a_branch(rate, which):
    """What remains is one layer, whose state is found as everywhere."""
    given, x, h0 = two_grus(), drawn(6, 3, 4), drawn(1, 3, 5)
    made = gru_in_a_branch(given)
    loaded = load(made, constants={"sr": rate})
    assert (list(loaded.inputs), list(loaded.outputs), len(loaded.layers)) == (["x"], ["y"], 1)
    assert [layer.cell for layer in loaded.layers] == [elman.cells.gru]
    wanted, h = literal("GRU", {"linear_before_reset": 1}, x, **given[which], h0=h0)
    first, state = loaded(x[:4], [{"h": h0[0]}])
    rest, state = loaded(x[4:], state)
    np.testing.assert_allclose(np.concatenate([first, rest]), wanted, atol=1e-5)
    np.testing.assert_allclose(state.layers[0].h, h[0], atol=1e-5)
    np.testing.assert_allclose(run(made, {"x": x, "h0": h0, "sr": rate})["y"], wanted, atol=1e-5)


@pytest.mark.parametrize(("rate", "which"), [(16000, 0), (8000, 1)])
def test_layers_in_branches_are_made_once(rate, which, monkeypatch):
    """Where the branch is known only when it runs, its state can be named, and the layers are there all the same."""
    given, x = two_grus(), drawn(6, 3, 4)
    loaded = load(gru_in_a_branch(given), state={"h0": "h"})
    assert len(loaded.layers) == 2
    monkeypatch.setattr("elman.io.onnx.evaluate.recurrent", None)
    wanted, h = literal("GRU", {"linear_before_reset": 1}, x, **given[which])
    first, state = loaded({"x": x[:4], "sr": rate})
    rest, state = loaded({"x": x[4:], "sr": rate}, state)
    np.testing.assert_allclose(np.concatenate([first, rest]), wanted, atol=1e-5)
    np.testing.assert_allclose(state["h0"][:, 0], h[0], atol=1e-5)


def test_named_states_are_all_of_the_state():
    """Recurrent nodes then start as the file has it."""
    given = arrays(np.random.default_rng(4), "RNN")
    given["lengths"] = None
    made = model("RNN", {}, given)
    loaded, inputs = load(made, state={"h0": made.graph.output[1].name}), feed(given)
    wanted, last = literal("RNN", {}, **given)
    y, state = loaded(inputs["x"], {"h0": inputs["h0"]})
    np.testing.assert_allclose(y, wanted, atol=1e-5)
    np.testing.assert_allclose(state["h0"], last, atol=1e-5)
    y, state = loaded(inputs["x"], state)
    np.testing.assert_allclose(y, literal("RNN", {}, **given | {"h0": last})[0], atol=1e-5)


def chosen(condition, output, then, other):
    """An If of two lists of nodes, each of which gives `inner`."""
    parts = [
        helper.make_graph([helper.make_node(*n[:3], **n[3]) for n in nodes], name, [], [INFO("inner", 1, None)])
        for name, nodes in (("then", then), ("else", other))
    ]
    return ("If", [condition], [output], {"then_branch": parts[0], "else_branch": parts[1]})


def test_branches_side_by_side_may_share_names():
    """One holds a constant under the name that the other has for what comes from the input."""
    seven = helper.make_tensor("v", 1, [1], [7.0])
    fixed = [("Constant", [], ["n"], {"value": seven}), ("Mul", ["x", "n"], ["inner"], {})]
    moving = [("Neg", ["x"], ["n"], {}), ("Exp", ["n"], ["inner"], {})]
    nested = [chosen("yes", "n", fixed, moving), ("Neg", ["n"], ["inner"], {})]
    nodes = [
        chosen("yes", "a", fixed, moving),
        chosen("no", "b", fixed, moving),
        chosen("yes", "c", nested, moving),
        ("Sum", ["a", "b", "c"], ["y"], {}),
    ]
    inputs = [INFO(name, TensorProto.BOOL, []) for name in ("yes", "no")]
    made = made_of(nodes, [INFO("x", 1, [3]), *inputs], [INFO("y", 1, [3])], {})
    x = drawn(3)
    for yes in (True, False):
        for no in (True, False):
            one, two = (7 * x if taken else np.exp(-x) for taken in (yes, no))
            third = -7 * x if yes else np.exp(-x)
            found, _ = load(made, constants={"yes": yes, "no": no})(x)
            np.testing.assert_allclose(found, one + two + third, rtol=1e-5)
            np.testing.assert_allclose(run(made, {"x": x, "yes": yes, "no": no})["y"], found, rtol=1e-6)


def test_a_loop_of_constants_that_reads_an_input_is_no_constant():
    """A Scan over constants whose body adds what the graph around it is given."""
    body = helper.make_graph(
        [helper.make_node("Add", ["row", "x"], ["sum"])], "body", [INFO("row", 1, [2])], [INFO("sum", 1, [2])]
    )
    rows, nodes = drawn(4, 2), [("Scan", ["rows"], ["y"], {"body": body, "num_scan_inputs": 1})]
    loaded = load(made_of(nodes, [INFO("x", 1, [2])], [INFO("y", 1, [4, 2])], {"rows": rows}))
    for x in drawn(2, 2):
        np.testing.assert_allclose(loaded(x)[0], rows + x, rtol=1e-6)


# ---------------------------------------------------------------- what does not fit


def test_names_of_states_that_do_not_fit():
    made = written_out()
    one_each = "each input has an output of its own, and one input and one output are no state"
    for pairs, message in (
        ({"h": "next"}, "onnx: state={'h': 'next'}: there is no input 'h'; there are x, state"),
        ({"state": "h"}, "onnx: state={'state': 'h'}: there is no output 'h'; there are y, next"),
        ({"x": "next", "state": "y"}, f"onnx: state={{'x': 'next', 'state': 'y'}}: {one_each}"),
        ({"x": "y", "state": "y"}, f"onnx: state={{'x': 'y', 'state': 'y'}}: {one_each}"),
    ):
        assert said(lambda pairs=pairs: load(made, state=pairs), SettingError) == message
    nodes = [("Add", ["x", "a"], ["y"], {}), ("Add", ["b", "b"], ["c"], {}), ("Neg", ["a"], ["d"], {})]
    outputs = [INFO(name, 1, None) for name in "ydc"]
    for a, b, message in (
        (["P", "Q"], ["P"], "the state a is float32 (P, Q); one open size, that of its batch, is wanted"),
        (None, ["P"], "the state a is float32; one open size, that of its batch, is wanted"),
        ([2], ["P"], "of the state a, b some have a batch and some have none"),
    ):
        net = made_of(nodes, [INFO("x", 1, [2]), INFO("a", 1, a), INFO("b", 1, b)], outputs, {})
        assert said(lambda net=net: load(net, state={"a": "d", "b": "c"}), ModelFileError) == f"onnx: {message}"


def test_states_that_do_not_fit():
    loaded, x = load(written_out(), state={"state": "next"}), drawn(3, 4)
    assert said(lambda: loaded(x, drawn(3, 2, 6)), ShapeError).startswith(
        "onnx: state state is (3, 2, 6), (3, 2, 5) is wanted"
    )
    assert said(lambda: loaded(x, {"h": drawn(3, 2, 5)}), ShapeError) == "onnx: the state has h; onnx has state"
    assert said(lambda: loaded(x, np.full((3, 2, 5), np.nan)), DataError).startswith("onnx: state state holds NaN")
    with pytest.raises(ModelFileError, match="inputs are"):
        loaded(x, loaded.initial_state(2))


def test_constants_that_do_not_fit():
    made = gru_in_a_branch(two_grus())
    wanted = "inputs are x float32 (T, B, 4), h0 float32 (1, B, 5), sr int64 ()"
    assert said(lambda: load(made, constants={"rate": 1}), SettingError) == f"onnx: there is no input 'rate'; {wanted}"
    message = "onnx: input sr is int64 (1); int64 () is wanted"
    assert said(lambda: load(made, constants={"sr": [16000]}), ShapeError) == message
    assert said(lambda: load(made, constants={"sr": 0.5}), DataError).startswith("onnx: input sr is float64 ()")
