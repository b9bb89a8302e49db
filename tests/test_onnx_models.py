"""Ordinary models from ONNX files: what is recognised gives what the file gives, and what is not is told by its node."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

import elman
from elman import cells
from elman.cells import ported
from elman.errors import ModelFileError, ShapeError
from elman.io.onnx import as_model, run, save
from elman.io.onnx.made import opened
from elman.stack import Backwards
from onnx_cases import arrays, literal
from test_onnx_load import expected, two_layers

RNG = np.random.default_rng(0)
B, T, I, H = 3, 6, 4, 5
info, node = helper.make_tensor_value_info, helper.make_node


def rnn(cell, inputs=I, hidden=H):
    return elman.RNN(cell, input=inputs, hidden=hidden)


def random(model):
    rng = np.random.default_rng(5)
    model.update({name: rng.normal(size=value.shape) * 0.5 for name, value in model.parameters.items()})
    return model


def both(cell, inputs=I, **settings):
    return elman.Bidirectional(rnn(cell, inputs), rnn(cell, inputs), **settings)


MODELS = {
    **{name: rnn(getattr(cells, name)) for name in ("elman", "gru", "gru_reset_before", "lstm", "lstm_peephole", "mgu")},
    "layers": elman.Stack([rnn(cells.lstm), rnn(cells.mgu, H, 3), rnn(cells.gru, 3, 4)]),
    "a map between": elman.Stack([rnn(cells.lstm), rnn(cells.dense, H, 3), rnn(cells.gru, 3, 4)]),
    "backwards": Backwards(rnn(cells.gru)),
    "two kinds": elman.Bidirectional(rnn(cells.gru), rnn(cells.mgu)),
    **{merge: elman.Stack([both(cells.lstm, merge=merge), rnn(cells.gru, H)]) for merge in ("sum", "mean", "product")},
    "directions on directions": elman.Stack([both(cells.gru), both(cells.lstm, 2 * H)]),
}


@pytest.mark.parametrize("pool", [None, "last", "mean", "max"])
@pytest.mark.parametrize("layers", MODELS)
def test_what_is_written_comes_back(tmp_path, layers, pool):
    """To the bit: the same cells with the same parameters under the same names."""
    model = random(elman.Model.from_layers(MODELS[layers], outputs=2, pool=pool))
    save(tmp_path / "m.onnx", model)
    again = as_model(tmp_path / "m.onnx")
    assert (again.rnn.name, again.readout.name) == (model.rnn.name, model.readout.name)
    held = [value.tobytes() for value in again.parameters.values()]
    assert sorted(held) == sorted(value.tobytes() for value in model.parameters.values())
    x = RNG.normal(size=(B, T, I)).astype(np.float32)
    np.testing.assert_array_equal(again.forward_propagation(x).output, model.forward_propagation(x).output)


@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize("readout", [cells.readout, cells.readout_sigmoid, cells.readout_linear, ported.unread])
def test_tokens_and_read_outs(tmp_path, readout, state):
    sizes = {} if readout is ported.unread else {"output": 1 if readout is cells.readout_sigmoid else 7}
    model = elman.Model.from_layers(rnn(cells.gru, 7), readout=readout, tokens=True, **sizes)
    save(tmp_path / "m.onnx", random(model), state=state)
    again = as_model(tmp_path / "m.onnx")
    assert (again.reads_tokens, again.readout.name) == (True, readout.name)
    x = RNG.integers(0, 7, (B, T))
    np.testing.assert_array_equal(again.forward_propagation(x).output, model.forward_propagation(x).output)


def test_a_model_from_a_file_is_one_like_every_other(tmp_path):
    """It is saved and opened, streams, and learns."""
    save(tmp_path / "m.onnx", random(elman.Model.from_layers(rnn(cells.lstm), outputs=3)))
    model = as_model(tmp_path / "m.onnx")
    model.save(tmp_path / "m")
    opened_again, x = elman.load(tmp_path / "m"), RNG.normal(size=(T, I)).astype(np.float32)
    whole = model.forward_propagation(x).output
    np.testing.assert_array_equal(opened_again.forward_propagation(x).output, whole)
    stream = model.stream()
    np.testing.assert_allclose(np.stack([stream.push(step) for step in x]), whole, atol=1e-6)
    assert model.gradients(x, np.zeros(T, int))[1].keys() == model.parameters.keys()
    assert opened_again.training["imported"]["parts"] == ["LSTM LSTM.lstm.y"]


def test_time_first_with_states_that_pass_through():
    """Against loops: two layers whose states go in and out, cut and joined, are two layers that keep them themselves."""
    made, x = two_layers(), RNG.normal(size=(T, B, I)).astype(np.float32)
    zeros = np.zeros((2, B, H), np.float32)
    wanted = expected(made, x, zeros, zeros)[0]
    model = as_model(made)
    assert (model.rnn.name, model.readout.name) == ("Stack(lstm, lstm)", "readout")
    np.testing.assert_allclose(model.forward_propagation(x.swapaxes(0, 1)).output, wanted.swapaxes(0, 1), atol=1e-5)
    lies = opened(made)
    np.testing.assert_array_equal(lies.input(x), x.swapaxes(0, 1))
    np.testing.assert_array_equal(lies.output(wanted), wanted.swapaxes(0, 1))
    with pytest.raises(ShapeError, match=r"onnx: \(6, 4\) has 2 axes; the file has 3"):
        lies.input(x[:, 0])


# ---------------------------------------------------------------- nodes around one recurrent node


GIVEN = {d: arrays(np.random.default_rng(3), "GRU", inputs=I, hidden=H, directions=d) for d in (1, 2)}
CONSTANTS = {
    "gain": RNG.uniform(0.5, 1.5, I), "shift": RNG.normal(size=I), "average": RNG.normal(size=I),
    "variance": RNG.uniform(0.5, 1.5, I), "gain5": RNG.normal(size=H), "shift5": RNG.normal(size=H),
    "map": RNG.normal(size=(H, 2)), "turned": RNG.normal(size=(2, H)), "map10": RNG.normal(size=(2 * H, 2)),
    "by": RNG.normal(size=2), "half": 0.5, "two": 2.0, "one": 1.0, "tiny": 1e-3,
}  # fmt: skip
CONSTANTS = {name: np.asarray(value, np.float32) for name, value in CONSTANTS.items()}
INTEGERS = {
    "i0": [0],
    "i1": [1],
    "i2": [2],
    "i3": [3],
    "last": [-1],
    "flat": [-1, H],
    "back": [-1, B, 2],
    "wide": [0, 0, -1],
}
INTEGERS |= {"wide": [0, 0, -1], "scalar last": -1, "scalar 0": 0, "all": [2**31]}


def net(*nodes, directions=1, shape=("T", B, I), opset=17, output="y"):
    """A file of these nodes; what they read and nothing gives is a constant. `gru` stands for the recurrent node."""
    given = GIVEN[directions]
    turned = {"direction": "bidirectional"} if directions == 2 else {}
    made = [
        node("GRU", [n.input[0], "w", "r", "b"], list(n.output), name="gru", hidden_size=H, **turned)
        if n.op_type == "gru"
        else n
        for n in nodes
    ]
    constants = CONSTANTS | {name: np.array(value, np.int64) for name, value in INTEGERS.items()}
    constants |= {name: given[name] for name in "wrb"}
    read = {name for n in made for name in n.input}
    kept = [numpy_helper.from_array(value, name) for name, value in constants.items() if name in read]
    graph = helper.make_graph(made, "around", [info("x", 1, shape)], [info(output, 1, None)], kept)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


LAYER = [node("gru", ["x"], ["g"]), node("Squeeze", ["g", "i1"], ["h"])]
READ = [node("MatMul", ["h", "map"], ["m"]), node("Add", ["by", "m"], ["y"])]
BOTH = [
    node("gru", ["x"], ["g"]), node("Transpose", ["g"], ["t"], perm=[0, 2, 1, 3]), node("Reshape", ["t", "wide"], ["h"]),
]  # fmt: skip
NORM = [  # written out, as tf2onnx does
    node("ReduceMean", ["h"], ["mean"], axes=[-1]), node("Sub", ["h", "mean"], ["d"]), node("Mul", ["d", "d"], ["dd"]),
    node("ReduceMean", ["dd"], ["v"], axes=[2]), node("Add", ["v", "tiny"], ["ve"]), node("Sqrt", ["ve"], ["s"]),
    node("Reciprocal", ["s"], ["r1"]), node("Mul", ["r1", "gain5"], ["rg"]), node("Mul", ["d", "rg"], ["n"]),
    node("Add", ["n", "shift5"], ["y"]),
]  # fmt: skip

AROUND = {
    "linear": ([*LAYER, *READ], "readout_linear", None),
    "softmax": ([*LAYER, *READ[:1], node("Add", ["m", "by"], ["a"]), node("Softmax", ["a"], ["y"])], "readout", None),
    "flattened": ([
        *LAYER, node("Reshape", ["h", "flat"], ["f"]), node("Gemm", ["f", "turned", "by"], ["m"], transB=1),
        node("Reshape", ["m", "back"], ["y"]),
    ], "readout_linear", None),
    "alpha and beta": ([
        *LAYER, node("Reshape", ["h", "flat"], ["f"]), node("Gemm", ["f", "map", "by"], ["m"], alpha=0.5, beta=2.0),
        node("Reshape", ["m", "back"], ["y"]),
    ], "readout_linear", None),
    "activations": ([
        *LAYER, *READ[:1], node("LeakyRelu", ["m"], ["a"], alpha=0.3), node("HardSigmoid", ["a"], ["y"], beta=0.1),
    ], "readout_onnx", None),
    "numbers": ([*LAYER, node("Div", ["two", "h"], ["a"]), node("Sub", ["a", "half"], ["y"])], "readout_onnx", None),
    "powers": ([*LAYER, node("Pow", ["h", "two"], ["a"]), node("Clip", ["a", "tiny", "half"], ["y"])], "readout_onnx", None),
    "two heads": ([
        *LAYER, *READ[:1], node("Tanh", ["m"], ["a"]), node("Sigmoid", ["m"], ["b1"]), node("Mul", ["a", "b1"], ["y"]),
    ], "readout_onnx", None),
    "parts": ([
        *LAYER, node("Split", ["h", "parts"], ["p", "q"], axis=2), node("Concat", ["q", "p"], ["c"], axis=-1),
        node("MatMul", ["c", "map"], ["y"]),
    ], "readout_onnx", None),
    "a slice": ([*LAYER, node("Slice", ["h", "i1", "i3", "i2"], ["y"])], "readout_onnx", None),
    "norm": ([*LAYER, node("LayerNormalization", ["h", "gain5", "shift5"], ["y"], epsilon=1e-3)], "readout_onnx", None),
    "norm written out": ([*LAYER, *NORM], "readout_onnx", None),
    "norm before": ([
        node("Transpose", ["x"], ["x1"], perm=[1, 2, 0]),
        node("BatchNormalization", ["x1", "gain", "shift", "average", "variance"], ["x2"]),
        node("Transpose", ["x2"], ["x3"], perm=[2, 0, 1]), node("gru", ["x3"], ["g"]), node("Squeeze", ["g", "i1"], ["y"]),
    ], "unread", None),
    "last step": ([*LAYER, node("Gather", ["h", "scalar last"], ["e"], axis=0), node("MatMul", ["e", "map"], ["y"])],
                  "readout_onnx", "last"),
    "last state": ([
        node("gru", ["x"], ["", "g"]), node("Squeeze", ["g", "i0"], ["h"]), node("Gemm", ["h", "map", "by"], ["y"]),
    ], "readout_linear", "last"),
    "last slice": ([*LAYER, node("Slice", ["h", "last", "all", "i0"], ["e"]), node("Squeeze", ["e", "i0"], ["y"])],
                   "unread", "last"),
    "mean": ([*LAYER, node("Tanh", ["h"], ["a"]), node("ReduceMean", ["a"], ["y"], axes=[0], keepdims=0)], "unread", "mean"),
    "largest": ([*LAYER, node("ReduceMax", ["h"], ["e"], axes=[0]), node("Squeeze", ["e", "i0"], ["y"])], "unread", "max"),
}  # fmt: skip
INTEGERS["parts"] = [2, 3]

AROUND_BOTH = {
    "directions": ([*BOTH, node("MatMul", ["h", "map10"], ["y"])], "readout_onnx", None),
    "last states": ([
        node("gru", ["x"], ["", "g"]), node("Transpose", ["g"], ["t"], perm=[1, 0, 2]),
        node("Reshape", ["t", "flat10"], ["y"]),
    ], "unread", "last"),
    "last steps": ([
        node("gru", ["x"], ["g"]), node("Split", ["g"], ["f", "b1"], axis=1), node("Squeeze", ["f", "i1"], ["f1"]),
        node("Squeeze", ["b1", "i1"], ["b2"]), node("Gather", ["f1", "scalar last"], ["f2"], axis=0),
        node("Gather", ["b2", "scalar 0"], ["b3"], axis=0), node("Concat", ["f2", "b3"], ["y"], axis=1),
    ], "unread", "last"),
}  # fmt: skip
INTEGERS["flat10"] = [-1, 2 * H]


@pytest.mark.parametrize(("directions", "case"), [*((1, name) for name in AROUND), *((2, name) for name in AROUND_BOTH)])
def test_what_stands_around_a_recurrent_node(directions, case):
    """Against the operators of the file, one after another, and for other sizes than those that it is recognised by."""
    nodes, readout, pool = (AROUND if directions == 1 else AROUND_BOTH)[case]
    made = net(*nodes, directions=directions)
    model = as_model(made)
    assert (model.readout.name, model.rnn.name.endswith(f"{pool})") or model.head.once) == (readout, pool is not None)
    x = RNG.normal(size=(T + 4, B, I)).astype(np.float32)
    wanted = run(made, {"x": x})["y"]
    found = model.forward_propagation(x.swapaxes(0, 1)).output
    np.testing.assert_allclose(found, wanted if pool else wanted.swapaxes(0, 1), rtol=1e-5, atol=1e-5)
    assert np.ptp(found) > 0.1


def test_the_recurrent_node_itself_is_that_of_the_loops():
    x = RNG.normal(size=(T, B, I)).astype(np.float32)
    y, _ = literal("GRU", {}, x, **{name: GIVEN[1][name] for name in "wrb"})
    model = as_model(net(node("gru", ["x"], ["g"]), node("Squeeze", ["g", "i1"], ["y"])))
    np.testing.assert_allclose(model.forward_propagation(x.swapaxes(0, 1)).output, y[:, 0].swapaxes(0, 1), atol=1e-5)


def test_one_sequence_without_an_axis_of_examples():
    made = net(
        node("Unsqueeze", ["x", "i1"], ["x1"]), node("gru", ["x1"], ["g"]), node("Squeeze", ["g", "i1"], ["h"]),
        node("Squeeze", ["h", "i1"], ["y"]), shape=("T", I),
    )  # fmt: skip
    x = RNG.normal(size=(T, I)).astype(np.float32)
    np.testing.assert_allclose(as_model(made).forward_propagation(x).output, run(made, {"x": x})["y"], atol=1e-6)


# ---------------------------------------------------------------- what has no counterpart

RUNS = "; elman.io.onnx.load runs the file as it is"
LONE = {
    "over time": ([*LAYER, node("CumSum", ["h", "scalar 0"], ["y"], name="odd")],
                  "CumSum node 'odd' has no counterpart in a model: this operator is not one of an equation of one step"),
    "the first step": ([*LAYER, node("Gather", ["h", "scalar 0"], ["y"], name="odd")],
                       "its output is not [batch, steps, values] or [batch, values]"),
    "a middle step": ([*LAYER, node("Gather", ["h", "i1"], ["y"], name="odd")],
                      "Gather node 'odd' has no counterpart in a model: it takes a part that is neither one step at an end, "
                      "nor one direction, nor of the values"),
    "skipped": ([*LAYER, node("MatMul", ["h", "four"], ["m"]), node("Add", ["m", "x"], ["y"], name="odd")],
                "Add node 'odd' has no counterpart in a model: it joins what stands on different layers, which are not two "
                "directions over one input"),
    "by steps": ([*LAYER, node("Mul", ["h", "each"], ["y"], name="odd")],
                 "Mul node 'odd' has no counterpart in a model: it has numbers for each step or example, not for the values "
                 "of a step alone"),
    "over all": ([*LAYER, node("ReduceMean", ["h"], ["y"], name="odd")],
                 "ReduceMean node 'odd' has no counterpart in a model: it is neither over the steps nor over the values "
                 "of a step"),
    "a power": ([*LAYER, node("Pow", ["h", "three"], ["y"], name="odd")],
                "Pow node 'odd' has no counterpart in a model: of powers 2, 1, 0.5, -0.5 and -1 have a counterpart"),
    "a vote": ([*LAYER, node("ArgMax", ["h"], ["y"], name="odd")],
               "ArgMax node 'odd' has no counterpart in a model: this operator is not one of an equation of one step"),
    "on its mean": ([
        *LAYER, node("ReduceMean", ["h"], ["m"], axes=[0]), node("MatMul", ["m", "four"], ["f"]),
        node("GRU", ["f", "w", "r", "b"], ["y"], name="odd", hidden_size=H),
    ], "GRU node 'odd' has no counterpart in a model: its axes of steps and examples are not those of the input"),
    "a state": ([
        node("GRU", ["x", "w", "r", "b", "", "start"], ["g"], name="odd", hidden_size=H),
        node("Squeeze", ["g", "i1"], ["y"]),
    ], "GRU node 'odd' has no counterpart in a model: it starts from a state that is not zero"),
    "nothing": ([node("Tanh", ["x"], ["y"])], "its output is not what a recurrent layer gives"),
}  # fmt: skip
CONSTANTS |= {"three": np.float32(3), "four": np.ones((H, I), np.float32), "each": np.ones((3, 1, 1), np.float32)}
CONSTANTS |= {"start": np.ones((1, B, H), np.float32)}


@pytest.mark.parametrize("case", LONE)
def test_what_has_no_counterpart_is_told_by_its_node(case):
    nodes, message = LONE[case]
    with pytest.raises(ModelFileError) as caught:
        as_model(net(*nodes))
    assert str(caught.value) == f"onnx: {message}{RUNS}"


def test_what_the_output_does_not_need_may_be_anything():
    made = net(*LAYER, *READ, node("CumSum", ["h", "scalar 0"], ["unused"]))
    assert as_model(made).readout.name == "readout_linear"


def test_inputs_that_leave_too_much_open():
    with pytest.raises(ModelFileError, match=r"input float32 \(T, B, V\) leaves the number of values of a step open;"):
        as_model(net(*LAYER, *READ, shape=("T", "B", "V")))
    with pytest.raises(ModelFileError, match="onnx: its input is of no declared sizes or type; elman"):
        as_model(net(*LAYER, *READ, shape=None))


def test_a_number_is_no_sequence():
    with pytest.raises(ModelFileError, match="onnx: its input is a number, no sequence; elman"):
        as_model(net(node("Tanh", ["x"], ["y"]), shape=()))


def test_files_of_several_inputs():
    made = net(*LAYER, node("Add", ["h", "z"], ["y"]))
    made.graph.input.append(info("z", 1, [H]))
    with pytest.raises(ModelFileError, match="one input and one output, this file the inputs x, z and outputs y;"):
        as_model(made)


def test_what_holds_for_one_length_alone_is_seen():
    """A sum over time divided by the number of steps of the example would be a mean, but the file divides by it always."""
    made = net(*LAYER, node("Shape", ["h"], ["s"], start=0, end=1), node("Cast", ["s"], ["f"], to=1),
               node("Div", ["h", "f"], ["y"]))  # fmt: skip
    with pytest.raises(ModelFileError, match=r"onnx: a model of its layers gives other numbers, off by [\d.e-]+; elman"):
        as_model(made)


def test_a_warning_is_for_whoever_asks():
    made = net(*LAYER, *READ)
    made.producer_name = "pytorch"
    with pytest.warns(UserWarning, match="comes from PyTorch and has linear_before_reset=0") as caught:
        as_model(made)
    assert caught[0].filename == __file__
