"""The cells against ONNX Runtime's recurrent operators: an oracle that also knows the GRU with its reset before the product.

ONNX orders gates i o f c (LSTM) and z r h (GRU), with one row of biases for the input and one for the recurrence.
"""

import numpy as np
import pytest

import elman
from onnx_sessions import session_of

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.peers

T, B, I, H = 7, 3, 5, 6


def stacked(parameters, prefix, gates):
    return np.concatenate([parameters[prefix + gate] for gate in gates])


def operator(name, parameters):
    """Operator, its attributes, W, R, the biases of both sides, for each cell."""
    zeros = np.zeros(H, np.float32)
    if name == "elman":
        return "RNN", {}, parameters["wax"], parameters["waa"], np.concatenate([parameters["ba"], zeros])
    if name == "lstm":
        gates = "iofg"
        bias = np.concatenate([stacked(parameters, "b", gates), *[zeros] * 4])
        return "LSTM", {}, stacked(parameters, "w", gates), stacked(parameters, "u", gates), bias
    gates, after = "zrn", name == "gru"
    bias = np.concatenate([stacked(parameters, "b", gates), zeros, zeros, parameters["dn"] if after else zeros])
    attributes = {"linear_before_reset": int(after)}
    return "GRU", attributes, stacked(parameters, "w", gates), stacked(parameters, "u", gates), bias


def session(name, parameters):
    kind, attributes, w, r, bias = operator(name, parameters)
    initial = ["h0", "c0"] if kind == "LSTM" else ["h0"]
    final = ["hn", "cn"] if kind == "LSTM" else ["hn"]
    node = onnx.helper.make_node(kind, ["x", "w", "r", "b", "lengths", *initial], ["y", *final], hidden_size=H, **attributes)
    floats, integers = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        name,
        [info("x", floats, [T, B, I]), info("lengths", integers, [B]), *(info(n, floats, [1, B, H]) for n in initial)],
        [info("y", floats, [T, 1, B, H]), *(info(n, floats, [1, B, H]) for n in final)],
        [onnx.numpy_helper.from_array(a[None], n) for n, a in (("w", w), ("r", r), ("b", bias))],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return session_of(model.SerializeToString())


@pytest.mark.parametrize("lengths", [(T, T, T), (4, 7, 2)])
@pytest.mark.parametrize("name", ["elman", "gru", "gru_reset_before", "lstm"])
def test_cell(name, lengths):
    rng = np.random.default_rng(5)
    rnn = elman.RNN(getattr(elman.cells, name), input=I, hidden=H)
    rnn.update({n: rng.normal(size=p.shape) * 0.6 for n, p in rnn.parameters.items()})
    x = rng.normal(size=(B, T, I)).astype(np.float32)
    state = [rng.normal(size=(B, H)).astype(np.float32) for _ in rnn.initial_state()]
    feed = {"x": x.swapaxes(0, 1), "lengths": np.array(lengths, np.int32)}
    feed |= {n: s[None] for n, s in zip(("h0", "c0"), state, strict=False)}
    expected, *final = session(name, dict(rnn.parameters)).run(None, feed)
    y, last = rnn(x, tuple(state), lengths=np.array(lengths))
    np.testing.assert_allclose(y, expected[:, 0].swapaxes(0, 1), atol=1e-5, rtol=0)
    for got, wanted in zip(last.values(), final, strict=True):
        np.testing.assert_allclose(got, wanted[0], atol=1e-5, rtol=0)
