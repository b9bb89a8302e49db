"""Models from ONNX files: whose state comes out as a value, and what is said of files that do not fit."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import elman
from elman.errors import DataError, ModelFileError, SettingError, ShapeError
from elman.io.onnx import load, run
from elman.io.onnx.evaluate import SUPPORTED
from messages import said
from onnx_cases import arrays, feed, literal, model

KINDS = ["RNN", "GRU", "LSTM"]
RNG = np.random.default_rng(0)


def drawn(*shape):
    return (RNG.normal(size=shape) * 0.5).astype(np.float32)


def two_layers(*, through=True):
    """Two LSTM layers as exporters write them: states of both in one input and one output, cut and joined; a read-out."""
    nodes, weights = [], {"at0": np.array([0]), "at1": np.array([1]), "at2": np.array([2]), "one": np.array([1])}
    weights = {name: value.astype(np.int64) for name, value in weights.items()}
    weights |= {"v": drawn(5, 3), "vb": drawn(3)}
    below = "x"
    for k in (0, 1):
        given = arrays(RNG, "LSTM", inputs=4 if k == 0 else 5)
        weights |= {f"{name}{k}": given[name] for name in "wrb"}
        for s in "hc" if through else "":
            nodes.append(helper.make_node("Slice", [s, f"at{k}", f"at{k + 1}", "at0"], [f"{s}{k}"]))
        initial = ["", f"h{k}", f"c{k}"] if through else []
        names = [below, f"w{k}", f"r{k}", f"b{k}", *initial]
        nodes.append(helper.make_node("LSTM", names, [f"y{k}", f"hn{k}", f"cn{k}"], name=f"layer{k}", hidden_size=5))
        nodes.append(helper.make_node("Squeeze", [f"y{k}", "one"], [f"flat{k}"]))
        below = f"flat{k}"
    nodes += [helper.make_node("MatMul", [below, "v"], ["m"]), helper.make_node("Add", ["m", "vb"], ["a"])]
    nodes += [helper.make_node("Softmax", ["a"], ["p"], axis=-1)]
    nodes += [helper.make_node("Concat", [f"{s}n0", f"{s}n1"], [f"{s}n"], axis=0) for s in "hc"]
    info = helper.make_tensor_value_info
    state = [2, "B", 5]
    inputs = [info("x", 1, ["T", "B", 4]), *(info(s, 1, state) for s in "hc" if through)]
    outputs = [info("p", 1, ["T", "B", 3]), *(info(f"{s}n", 1, state) for s in "hc")]
    graph = helper.make_graph(nodes, "two", inputs, outputs, [numpy_helper.from_array(v, n) for n, v in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def expected(made, x, h, c):
    weights = {entry.name: numpy_helper.to_array(entry) for entry in made.graph.initializer}
    last = []
    for k in (0, 1):
        y, hn, cn = literal("LSTM", {}, x, *(weights[f"{n}{k}"] for n in "wrb"), h0=h[k : k + 1], c0=c[k : k + 1])
        x, last = y[:, 0], [*last, (hn[0], cn[0])]
    logits = x @ weights["v"] + weights["vb"]
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True), *(np.stack(s) for s in zip(*last, strict=True))


@pytest.mark.parametrize("through", [True, False])
def test_state_goes_in_and_out(through):
    """Whether the file passes its state through or keeps none, two halves give what the whole gives."""
    made, x = two_layers(through=through), drawn(7, 2, 4)
    zeros = np.zeros((2, 2, 5), np.float32)
    loaded = load(made)
    assert (list(loaded.inputs), list(loaded.outputs)) == (["x"], ["p"])
    whole, end = loaded(x)
    p, hn, cn = expected(made, x, zeros, zeros)
    np.testing.assert_allclose(whole, p, atol=1e-5)
    first, middle = loaded(x[:3])
    rest, last = loaded(x[3:], middle)
    np.testing.assert_allclose(np.concatenate([first, rest]), p, atol=1e-5)
    for state in (end, last):
        for k in (0, 1):
            np.testing.assert_allclose(state.layers[k].h, hn[k], atol=1e-5)
            np.testing.assert_allclose(state.layers[k].c, cn[k], atol=1e-5)


def test_run_takes_the_state_as_the_file_has_it():
    made, x, h, c = two_layers(), drawn(7, 2, 4), drawn(2, 2, 5), drawn(2, 2, 5)
    found = run(made, {"x": x, "h": h, "c": c})
    for got, wanted in zip(found.values(), expected(made, x, h, c), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5)
    given, state = load(made)({"x": x, "h": h, "c": c})  # an input may be given all the same
    np.testing.assert_allclose(given, found["p"], atol=1e-6)
    np.testing.assert_allclose(state.layers[1].c, found["cn"][1], atol=1e-6)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_given_state_comes_before_that_of_the_file(kind, layout, direction):
    directions = 1 + (direction == "bidirectional")
    given = arrays(np.random.default_rng(5), kind, directions=directions, batch_first=layout)
    given["lengths"] = None
    if kind == "LSTM":
        given["p"] = None
    attributes = {"direction": direction, "layout": layout}
    constant = ("w", "r", "b", "h0", "c0")
    loaded = load(model(kind, attributes, given, constant=constant))
    _, state = loaded(given["x"])
    found, _ = loaded(given["x"], state)
    start = literal(kind, attributes, **given)[1:]
    wanted = literal(kind, attributes, **given | dict(zip(("h0", "c0"), start, strict=False)))[0]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert not np.allclose(found, literal(kind, attributes, **given)[0], atol=1e-3)


def test_layers_are_layers_of_this_library():
    loaded = load(two_layers())
    assert [type(layer) for layer in loaded.layers] == [elman.RNN, elman.RNN]
    assert [layer.cell for layer in loaded.layers] == [elman.cells.lstm] * 2
    state = loaded.initial_state(3)
    assert (state.batch, state.layers[1].c.shape) == (3, (3, 5))


def one_node(op, **attributes):
    info = [helper.make_tensor_value_info(name, 1, None) for name in "xy"]
    node = helper.make_node(op, ["x"], ["y"], name="odd", **attributes)
    return helper.make_model(helper.make_graph([node], "one", info[:1], info[1:]))


def test_an_operator_that_is_not_supported():
    for call in (lambda: load(one_node("Det")), lambda: run(one_node("Det"), {"x": drawn(2, 2)})):
        message = said(call, ModelFileError)
        assert message == "onnx: Det node 'odd': this operator is not supported; docs/onnx.md lists those that are"
    message = said(lambda: load(one_node("Constnt")), ModelFileError)
    near = "the nearest in name are Constant, ConstantOfShape, Concat"
    assert message == f"onnx: Constnt node 'odd': this operator is not supported; {near}; docs/onnx.md lists those that are"
    message = said(lambda: load(one_node("Fused", domain="com.microsoft")), ModelFileError)
    assert message.startswith("onnx: com.microsoft.Fused node 'odd': this operator is not supported")


def test_the_docs_list_all_operators():
    text = (Path(__file__).parent.parent / "docs" / "onnx.md").read_text(encoding="utf-8")
    listed = text.partition("## Operators\n")[2].rpartition("\n\n")[2]
    assert listed.replace("\n", " ").strip().split(", ") == list(SUPPORTED)


@pytest.mark.parametrize(
    ("kind", "attributes", "change", "message"),
    [
        ("RNN", {"activations": ["Swish"]}, {}, "activation 'Swish' is unknown; activations are Relu, Tanh, Sigmoid, "),
        ("GRU", {"activations": ["Tanh"]}, {}, "1 activations are named; 2 are wanted, 2 a direction"),
        ("LSTM", {"direction": "up"}, {}, "direction 'up' is unknown; it is forward, reverse, bidirectional"),
        ("LSTM", {"clip": -1.0}, {}, "clip=-1; 0 or more is wanted"),
        ("LSTM", {"colour": 1}, {}, "attribute 'colour' is unknown; attributes are activation_alpha, "),
        (
            "GRU", {}, {"w": drawn(1, 14, 4)},
            "W is (1, 14, 4); (1, 15, 4) is wanted, with 1 direction, 3 gates, hidden_size=5",
        ),
        (
            "LSTM", {"direction": "bidirectional"}, {},
            "W is (1, 20, 4); (2, 20, 4) is wanted, with 2 directions, 4 gates, hidden_size=5",
        ),
        ("RNN", {}, {"b": drawn(1, 5)}, "B is (1, 5); (1, 10) is wanted, with 1 direction, 1 gate, hidden_size=5"),
    ],
)  # fmt: skip
def test_recurrent_nodes_that_do_not_fit(kind, attributes, change, message):
    given = arrays(np.random.default_rng(6), kind) | change
    made = model(kind, attributes, given)
    for call in (lambda: load(made), lambda: run(made, feed(given))):
        assert said(call, ModelFileError).startswith(f"onnx: {kind} node 'cell': {message}")


def test_inputs_that_do_not_fit():
    given = arrays(np.random.default_rng(7), "RNN")
    made, inputs = model("RNN", {}, given), feed(given)
    wanted = "inputs are x float32 (6, 3, 4), lengths int32 (3), h0 float32 (1, 3, 5)"
    assert said(lambda: run(made, {**inputs, "z": 1}), SettingError) == f"onnx: there is no input 'z'; {wanted}"
    assert said(lambda: run(made, {"x": inputs["x"]}), SettingError) == f"onnx: the input 'lengths' is missing; {wanted}"
    assert said(lambda: run(made, {**inputs, "x": drawn(6, 3, 5)}), ShapeError) == (
        "onnx: input x is float32 (6, 3, 5); float32 (6, 3, 4) is wanted"
    )
    assert said(lambda: run(made, {**inputs, "x": np.full((6, 3, 4), "a")}), DataError).startswith("onnx: input x is <U1 ")
    assert said(lambda: run(made, [1]), SettingError) == "onnx: inputs are a mapping from name to array, not list"
    assert said(lambda: run(made, {**inputs, "lengths": [7, 1, 1]}), DataError) == (
        "onnx: RNN node 'cell': elman: length 7 of sequence 0 is outside 0 to 6, the number of steps"
    )
    loaded = load(made)
    assert said(lambda: loaded(given["x"]), SettingError).startswith(
        "onnx: give a mapping, since this model has the inputs x, "
    )
    assert said(lambda: loaded(feed(given), [1, 2]), ShapeError) == "onnx: the state has 2 parts; 1 are wanted, one a layer"
    message = said(lambda: loaded(feed(given), loaded.initial_state(2)), ShapeError)
    assert message.startswith("onnx: RNN node 'cell': elman: ")


def test_weights_that_are_inputs():
    given = arrays(np.random.default_rng(8), "GRU")
    made = model("GRU", {}, given, constant=())
    found = run(made, feed(given, constant=()))
    np.testing.assert_allclose(found["y"], literal("GRU", {}, **given)[0], atol=1e-5)
    assert said(lambda: load(made), ModelFileError) == (
        "onnx: GRU node 'cell': its weights 'w' are computed from inputs; run can do that"
    )


def test_files_that_are_none(tmp_path):
    assert said(lambda: load(tmp_path / "none.onnx"), ModelFileError).endswith("cannot be read: No such file or directory")
    path = tmp_path / "odd.onnx"
    path.write_bytes(b"\x00no model")
    assert said(lambda: load(path), ModelFileError).startswith(f"{path}: this is no ONNX model: ")
    path.write_bytes(b"")
    assert said(lambda: load(path), ModelFileError) == "odd.onnx: this is no ONNX model, or one without outputs"
    assert said(lambda: load(b"\x00"), ModelFileError).startswith("onnx: this is no ONNX model: ")
    assert said(lambda: load(3), ModelFileError) == "onnx: int is no file; a path, bytes or a ModelProto is wanted"


def test_a_gru_that_pytorch_cannot_have_meant():
    given = arrays(np.random.default_rng(9), "GRU")
    with pytest.warns(UserWarning, match="'cell' comes from PyTorch and has linear_before_reset=0") as caught:
        load(model("GRU", {}, given, producer="pytorch"))
    assert caught[0].filename == __file__
    load(model("GRU", {"linear_before_reset": 1}, given, producer="pytorch"))  # a warning would be an error
    load(model("GRU", {}, given, producer="keras"))


def test_a_branch_and_what_it_sees():
    """`If` reads values of the graph around it."""
    info = helper.make_tensor_value_info
    then = helper.make_graph([helper.make_node("Neg", ["x"], ["n"])], "then", [], [info("n", 1, None)])
    other = helper.make_graph([helper.make_node("Abs", ["x"], ["m"])], "else", [], [info("m", 1, None)])
    node = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    graph = helper.make_graph([node], "g", [info("x", 1, [2]), info("c", TensorProto.BOOL, [])], [info("y", 1, None)])
    made = helper.make_model(graph)
    assert run(made, {"x": [1.5, -2], "c": True})["y"].tolist() == [-1.5, 2]
    assert run(made, {"x": [1.5, -2], "c": False})["y"].tolist() == [1.5, 2]


def test_a_recurrent_node_in_a_branch():
    """It runs, and its state stays where it is."""
    given = arrays(np.random.default_rng(13), "GRU")
    given["lengths"] = None
    inner = model("GRU", {}, given).graph
    both = [
        helper.make_graph(inner.node, "then", [], list(inner.output)[:1], inner.initializer),
        helper.make_graph(
            [helper.make_node("Neg", ["x"], ["n"])], "else", [], [helper.make_tensor_value_info("n", 1, None)]
        ),
    ]
    node = helper.make_node("If", ["which"], ["y"], then_branch=both[0], else_branch=both[1])
    which = helper.make_tensor_value_info("which", TensorProto.BOOL, [])
    outputs = [helper.make_tensor_value_info("y", 1, None)]
    made = helper.make_model(helper.make_graph([node], "g", [*inner.input, which], outputs))
    inputs = {**feed(given), "which": True}
    expected = literal("GRU", {}, **given)[0]
    np.testing.assert_allclose(run(made, inputs)["y"], expected, atol=1e-5)
    y, state = load(made)(inputs)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    assert len(state) == 0


def test_peepholes_are_a_cell_that_comes_along():
    given = arrays(np.random.default_rng(14), "LSTM")
    assert [layer.cell for layer in load(model("LSTM", {}, given)).layers] == [elman.cells.lstm_peephole]
