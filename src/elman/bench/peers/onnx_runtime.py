"""ONNX Runtime: the operators RNN, GRU (`linear_before_reset=1`) and LSTM, in a session for each number of threads.

Single steps also run with inputs and outputs bound to memory that stays, two sets of it in turn.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from elman.bench.peers.interface import Peer, inner_bias, stacked, threads, time_first
from elman.bench.problems import Net, Step, stepping
from elman.bench.timing import Way
from elman.gates import Array

ORDER = {"elman": ("a",), "gru": ("z", "r", "n"), "lstm": ("i", "o", "f", "g")}
OPERATORS = {"elman": "RNN", "gru": "GRU", "lstm": "LSTM"}


class OnnxRuntime(Peer):
    """Weights in the order of its rows: i o f c, and z r h."""

    name = "ORT"
    packages = ("onnxruntime", "onnx")

    def __init__(self) -> None:
        self.onnx: Any = importlib.import_module("onnx")
        self.runtime: Any = importlib.import_module("onnxruntime")

    def ways(self, net: Net, counts: Sequence[int]) -> Iterator[Way]:
        """A session at each number of threads."""
        if net.cell not in OPERATORS:
            return
        model, x = self._model(net), time_first(net.x)
        for count in counts:
            session, label = self._session(model, count), threads(count)
            if net.stepwise:
                yield stepping(self.name, label, x, partial(_plain, session, net))
                yield stepping(self.name, f"{label}, bound", x, partial(self._bound, session, net))
            else:
                run = partial(session.run, ["y"], {"x": x})
                yield Way(self.name, label, run, partial(_output, run))

    def _session(self, model: bytes, count: int) -> Any:
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = count, 1
        return self.runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    # --- the model: one operator, and for tokens a look-up before it --------------------------------------------------

    def _model(self, net: Net) -> bytes:
        """The model as bytes; where a call is a step, states go in and come out."""
        helper, kinds = self.onnx.helper, self.onnx.TensorProto
        states, (batch, steps) = _states(net) if net.stepwise else [], net.x.shape[:2]
        nodes, entering, shape = [], "x", [1 if net.stepwise else steps, batch]
        if net.embedding is not None:
            nodes, entering = [helper.make_node("Gather", ["table", "x"], ["entering"])], "entering"
        inputs, outputs = [entering, "w", "u", "b", "", *states], ["y", *(state + "_next" for state in states)]
        settings = {"hidden_size": net.hidden} | ({"linear_before_reset": 1} if net.cell == "gru" else {})
        nodes.append(helper.make_node(OPERATORS[net.cell], inputs, outputs, **settings))

        def value(name: str, shape: Sequence[int], kind: Any = kinds.FLOAT) -> Any:
            return helper.make_tensor_value_info(name, kind, shape)

        x = value("x", [*shape, net.input]) if net.embedding is None else value("x", shape, kinds.INT64)
        carried = [1, batch, net.hidden]
        graph = helper.make_graph(
            nodes,
            net.cell,
            [x, *(value(state, carried) for state in states)],
            [value("y", [shape[0], *carried]), *(value(state + "_next", carried) for state in states)],
            [self.onnx.numpy_helper.from_array(array, name) for name, array in _arrays(net).items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        serialized: bytes = model.SerializeToString()
        return serialized

    # --- single steps -------------------------------------------------------------------------------------------------

    def _bound(self, session: Any, net: Net) -> Step:
        """Memory that stays: what one call writes as its state, the next reads."""
        carried, held = (1, len(net.x), net.hidden), self.runtime.OrtValue.ortvalue_from_numpy
        x, y = np.zeros((1, len(net.x), net.input), np.float32), np.zeros((1, *carried), np.float32)
        sets = [{state: held(np.zeros(carried, np.float32)) for state in _states(net)} for _ in range(2)]
        x_held, y_held, bindings = held(x), held(y), []
        for before, after in (sets, sets[::-1]):
            binding = session.io_binding()
            binding.bind_ortvalue_input("x", x_held)
            binding.bind_ortvalue_output("y", y_held)
            for state in _states(net):
                binding.bind_ortvalue_input(state, before[state])
                binding.bind_ortvalue_output(state + "_next", after[state])
            bindings.append(binding)
        now = 0

        def step(row: Array) -> Array:
            nonlocal now
            x[0] = row
            session.run_with_iobinding(bindings[now])
            now = 1 - now
            return y

        return step


def _output(run: Callable[[], Any]) -> Array:
    y: Array = run()[0][:, 0]
    return time_first(y)


def _plain(session: Any, net: Net) -> Step:
    names = _states(net)
    state = dict.fromkeys(names, np.zeros((1, len(net.x), net.hidden), np.float32))

    def step(x: Array) -> Array:
        nonlocal state
        y, *last = session.run(None, {"x": x[None], **state})
        state = dict(zip(names, last, strict=True))
        found: Array = y
        return found

    return step


def _arrays(net: Net) -> dict[str, Array]:
    gates = ORDER[net.cell]
    bias = np.concatenate([stacked(net.narrow, "b", gates), inner_bias(net, gates)])
    arrays = {"w": stacked(net.narrow, "w", gates)[None], "u": stacked(net.narrow, "u", gates)[None], "b": bias[None]}
    return arrays if net.embedding is None else arrays | {"table": net.embedding}


def _states(net: Net) -> list[str]:
    return ["h", "c"] if net.cell == "lstm" else ["h"]
