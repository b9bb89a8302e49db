"""The tests of the tests of weights and files from elsewhere: each mistake that is made with them must show in the values.

As in `test_mutations`, the mistake is made on the oracle's side, or in the file that was written; the library stands where a
mistaken one would meet the right oracle.
"""

from itertools import combinations

import numpy as np
import pytest

import elman
import test_foreign_weights as torch_tests
import test_keras_files as keras_tests
from elman.io import jax, keras, pytorch
from elman.io.onnx import run
from elman.io.onnx.export import proto
from onnx_cases import GATES, arrays, feed, literal, model
from test_jax_weights import equinox_cells, equinox_loops, flax_loops, flax_net

onnx = pytest.importorskip("onnx")

NOTICED = 1e-3
I, H, T, B = 3, 4, 6, 3


def blocks(array, count, axis=0):
    return np.split(array, count, axis)


def swapped(array, a, b, count, axis=0):
    """An array with two of its gates exchanged."""
    parts = blocks(array, count, axis)
    parts[a], parts[b] = parts[b], parts[a]
    return np.concatenate(parts, axis)


def turned(array, count, axis=0):
    """Each gate's square matrix transposed."""
    return np.concatenate([part.T for part in blocks(array, count, axis)], axis)


def changed(held, **changes):
    """Arrays by name with some of them changed, each by a function of it."""
    return {name: changes[name](value) if name in changes else value for name, value in held.items()}


def all_of(held, change):
    return {name: change(value) for name, value in held.items()}


def notice(mistakes, right, wrong):
    """Every mistake must be further from what the library gives than any rounding."""
    for name, mistake in mistakes.items():
        found = wrong(mistake)
        assert not np.allclose(found, right, rtol=0, atol=NOTICED), f"no value sees: {name}"


# ---------------------------------------------------------------- weights


def of_gates(held, count, axis=0, recurrent="weight_hh"):
    """Mistakes with arrays that have their gates along an axis."""
    pairs = combinations(range(count), 2)
    found = {f"gates {a} {b}": all_of(held, lambda v, a=a, b=b: swapped(v, a, b, count, min(axis, v.ndim - 1)))
             for a, b in pairs}  # fmt: skip
    found |= {"transposed": changed(held, **{recurrent: lambda v: turned(v, count, axis)})}
    found |= {f"{name} zeroed": changed(held, **{name: np.zeros_like}) for name in held}
    return found


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_weights_of_pytorch(kind):
    rows, out, _ = torch_tests.KINDS[kind]
    held, rng = torch_tests.torch_arrays(rows), np.random.default_rng(1)
    x, h, c = rng.normal(size=(T, I)), rng.normal(size=out), rng.normal(size=H)
    loaded = pytorch.load(held)
    state = dict(zip(loaded.rnn.cell.states, (h, c), strict=False))
    right = loaded.forward_propagation(x, state).output

    def wrong(given):
        return torch_tests.torch_loop({**held, **given}, x, given.get("h", h), given.get("c", c))

    np.testing.assert_allclose(right, wrong({}), atol=1e-12)
    mistakes = of_gates({name.removesuffix("_l0"): value for name, value in held.items()}, rows)
    mistakes = {name: {f"{key}_l0": value for key, value in given.items()} for name, given in mistakes.items()}
    mistakes |= {"h ignored": {"h": 0 * h}} | ({"c ignored": {"c": 0 * c}} if kind == "lstm" else {})
    if kind == "gru":
        mistakes["biases exchanged"] = {"bias_ih_l0": held["bias_hh_l0"], "bias_hh_l0": held["bias_ih_l0"]}
    notice(mistakes, right, wrong)


@pytest.mark.parametrize("kind", keras_tests.KINDS)
def test_weights_of_keras(kind, tmp_path):
    gates, bias, settings = keras_tests.KINDS[kind]
    held, x = keras_tests.arrays(gates, bias=bias), np.random.default_rng(1).normal(size=(T, I))
    path = keras_tests.zipped(tmp_path / "m.keras", [keras_tests.layer(kind.split()[0], "a", held, **settings)])
    right, names = keras.load(path).forward_propagation(x).output, ("kernel", "recurrent", "bias")
    mistakes = of_gates(dict(zip(names, held, strict=True)), gates, 1, "recurrent")
    if kind == "GRU":
        mistakes["biases exchanged"] = dict(zip(names, [*held[:2], held[2][::-1]], strict=True))
        mistakes |= {f"bias {k} zeroed": dict(zip(names, [*held[:2], held[2] * (np.arange(2) != k)[:, None]], strict=True))
                     for k in (0, 1)}  # fmt: skip
    np.testing.assert_allclose(right, keras_tests.loop(kind, held, x), atol=1e-12)
    notice(mistakes, right, lambda given: keras_tests.loop(kind, list(given.values()), x))
    if kind == "GRU before":
        assert not np.allclose(keras_tests.loop("GRU", held, x), right, rtol=0, atol=NOTICED), "the reset form"


def test_weights_of_equinox():
    gru, lstm = equinox_cells()
    loaded, rng = jax.load({"a": lstm, "b": gru}, "equinox"), np.random.default_rng(1)
    x, *states = rng.normal(size=(T, I)), *rng.normal(size=(3, H))
    right = loaded.forward_propagation(x, {"0": {"h": states[0]}, "1": {"h": states[1], "c": states[2]}}).output
    np.testing.assert_allclose(right, equinox_loops(gru, lstm, x, *states), atol=1e-12)
    several = {name: value for name, value in gru.items() if name != "bias_n"}
    mistakes = {f"gru {name}": (gru | given, lstm, states) for name, given in of_gates(several, 3).items()}
    mistakes |= {f"lstm {name}": (gru, given, states) for name, given in of_gates(lstm, 4).items()}
    mistakes["bias_n"] = changed(gru, bias_n=np.zeros_like), lstm, states
    for k in range(3):
        mistakes[f"state {k}"] = gru, lstm, [0 * s if at == k else s for at, s in enumerate(states)]
    notice(mistakes, right, lambda given: equinox_loops(given[0], given[1], x, *given[2]))


def test_weights_of_flax():
    given = flax_net()
    params, loaded, rng = given["params"], jax.load(given, "flax"), np.random.default_rng(1)
    tokens, states = rng.integers(7, size=T), list(rng.normal(size=(3, H)))
    fields = {"0": {}, "1": {"h": states[0]}, "2": {"h": states[1], "c": states[2]}}
    right = loaded.forward_propagation(tokens, fields).output

    def wrong(cells):
        return flax_loops({**params, **{name: {"cell": cell} for name, cell in cells.items()}}, tokens, *states)

    np.testing.assert_allclose(right, wrong({}), atol=1e-12)
    mistakes = {}
    for name, gates in (("RNN_0", "rzn"), ("RNN_1", "ifgo")):
        cell = params[name]["cell"]
        for a, b in combinations(gates, 2):
            mistakes[f"{name} {a} {b}"] = {name: {k: cell[k[0] + {a: b, b: a}.get(k[1], k[1])] for k in cell}}
        for gate in gates:
            inner = cell[f"h{gate}"]
            mistakes[f"{name} {gate} turned"] = {name: cell | {f"h{gate}": inner | {"kernel": inner["kernel"].T}}}
            mistakes[f"{name} {gate} zeroed"] = {name: cell | {f"h{gate}": inner | {"kernel": 0 * inner["kernel"]}}}
        for key, part in cell.items():
            if "bias" in part:
                mistakes[f"{name} {key} bias"] = {name: cell | {key: part | {"bias": 0 * part["bias"]}}}
    notice(mistakes, right, wrong)


# ---------------------------------------------------------------- nodes of ONNX, read


ACTIVATIONS = {"RNN": ["ScaledTanh"], "GRU": ["HardSigmoid", "LeakyRelu"], "LSTM": ["HardSigmoid", "Softsign", "ScaledTanh"]}
ALPHAS = {"RNN": [0.8], "GRU": [0.3, 0.1], "LSTM": [0.3, 0.8]}
BETAS = {"RNN": [0.6], "GRU": [0.4], "LSTM": [0.4, 0.6]}
OTHERS = {"RNN": ["Sigmoid"], "GRU": ["Sigmoid", "Softsign"], "LSTM": ["Sigmoid", "Tanh", "Softsign"]}


def mistakes_of_nodes(kind, given, attributes):
    """Arrays and attributes with one mistake each."""
    gates = GATES[kind]
    both = {"b": lambda v, f: np.concatenate([f(half) for half in np.split(v, 2, 1)], 1)}

    def each(name, value, change):
        return both[name](value, change) if name in both else change(value)

    found = {}
    for a, b in combinations(range(gates), 2):
        change = {n: each(n, given[n], lambda v, a=a, b=b: swapped(v, a, b, gates, 1)) for n in "wrb"}
        found[f"gates {a} {b}"] = (change, {})
    found["transposed"] = ({"r": np.stack([turned(way, gates) for way in given["r"]])}, {})
    found |= {f"{name} zeroed": ({name: 0 * given[name]}, {}) for name in ("w", "r")}
    halves = np.arange(given["b"].shape[1]) < given["b"].shape[1] // 2
    found |= {f"bias {k}": ({"b": given["b"] * (halves == k)}, {}) for k in (0, 1)}
    found |= {f"{name} ignored": ({name: None}, {}) for name in ("lengths", "h0", "c0", "p") if name in given}
    found["directions"] = ({n: given[n][::-1] for n in "wrb"}, {})
    if "p" in given:
        found |= {f"peepholes {a} {b}": ({"p": swapped(given["p"], a, b, 3, 1)}, {}) for a, b in combinations(range(3), 2)}
    found["clip"] = ({}, {"clip": 1e9})
    for k, other in enumerate(OTHERS[kind]):
        names = list(attributes["activations"])
        names[k] = other
        found[f"activation {k}"] = ({}, {"activations": names})
    flags = {"GRU": "linear_before_reset", "LSTM": "input_forget"}
    if kind in flags:
        found["form"] = ({}, {flags[kind]: 1 - attributes[flags[kind]]})
    return found


@pytest.mark.parametrize("form", [0, 1])
@pytest.mark.parametrize("kind", GATES)
def test_nodes_that_are_read(kind, form):
    rng = np.random.default_rng(5)
    given = arrays(rng, kind, directions=2, dtype=np.float64)
    given |= {name: 2 * value for name, value in given.items() if name != "lengths"}
    given["lengths"] = np.array([6, 2, 4], np.int32)
    attributes = {"direction": "bidirectional", "clip": 0.75, "activations": ACTIVATIONS[kind] * 2}
    attributes |= {"activation_alpha": ALPHAS[kind] * 2, "activation_beta": BETAS[kind] * 2}
    attributes |= {"GRU": {"linear_before_reset": form}, "LSTM": {"input_forget": form}}.get(kind, {})
    right = run(model(kind, attributes, given), feed(given))["y"]
    np.testing.assert_allclose(right, literal(kind, attributes, **given)[0], atol=1e-6)
    mistakes = mistakes_of_nodes(kind, given, attributes)
    notice(mistakes, right, lambda mistake: literal(kind, attributes | mistake[1], **{**given, **mistake[0]})[0])


# ---------------------------------------------------------------- nodes of ONNX, written


def without(node, name):
    """A node that does not read an input."""
    for at, read in enumerate(node.input):
        if read == name:
            node.input[at] = ""


def mistakes_of_files(kind, made):
    """Copies of a file with one mistake each, by name."""
    (node,) = (node for node in made.graph.node if node.op_type == kind)
    found = {}

    def copied(name, change):
        copy = onnx.ModelProto()
        copy.CopyFrom(made)
        (ours,) = (node for node in copy.graph.node if node.op_type == kind)
        change(copy, ours)
        found[name] = copy

    def array(name, change):
        def within(copy, _):
            (entry,) = (entry for entry in copy.graph.initializer if entry.name == name)
            entry.CopyFrom(onnx.numpy_helper.from_array(change(onnx.numpy_helper.to_array(entry)), name))

        return within

    w, r, b, lengths, *initial = node.input[1:]
    gates = GATES[kind]

    def pair(a, c):
        def within(copy, ours):
            for name in (w, r):
                array(name, lambda v: swapped(v, a, c, gates, 1))(copy, ours)
            array(b, lambda v: np.concatenate([swapped(half, a, c, gates, 1) for half in np.split(v, 2, 1)], 1))(copy, ours)

        return within

    for a, c in combinations(range(gates), 2):
        copied(f"gates {a} {c}", pair(a, c))
    copied("transposed", array(r, lambda v: np.stack([turned(way, gates) for way in v])))
    copied("recurrent zeroed", array(r, np.zeros_like))
    copied("biases zeroed", array(b, np.zeros_like))
    copied("directions", lambda copy, ours: [array(name, lambda v: v[::-1].copy())(copy, ours) for name in (w, r, b)])
    for name in (lengths, *initial[: 1 + (kind == "LSTM")]):
        copied(f"{name} ignored", lambda copy, ours, name=name: without(ours, name))
    if len(initial) > 2:
        copied("peepholes ignored", lambda copy, ours: without(ours, initial[2]))
    if kind == "GRU":
        flag = [entry.name for entry in node.attribute].count("linear_before_reset")
        flipped = onnx.helper.make_attribute("linear_before_reset", 1 - flag)
        copied("form", lambda copy, ours: (
            [ours.attribute.remove(entry) for entry in list(ours.attribute) if entry.name == flipped.name],
            ours.attribute.append(flipped),
        ))  # fmt: skip
    return found


WRITTEN = {"elman": "RNN", "gru": "GRU", "gru_reset_before": "GRU", "lstm": "LSTM", "lstm_peephole": "LSTM"}


@pytest.mark.parametrize("name", WRITTEN)
def test_nodes_that_are_written(name):
    rng = np.random.default_rng(6)
    ways = [elman.RNN(elman.cells.CELLS[name], input=H, hidden=H, dtype="float64") for _ in "ab"]
    for way in ways:
        way.update({key: rng.normal(size=value.shape) for key, value in way.parameters.items()})
    both, x = elman.Bidirectional(*ways), rng.normal(size=(B, T, H))
    state = {way: {field: rng.normal(size=(B, H)) for field in ways[0].cell.states} for way in ("forward", "backward")}
    made, lengths = proto(both, state=True, lengths=True), np.array([6, 2, 4], np.int32)
    inputs = {"x": x, "lengths": lengths}
    inputs |= {f"state.{way}.{field}": value for way, fields in state.items() for field, value in fields.items()}
    right = both(x, state, lengths=lengths)[0]
    np.testing.assert_allclose(run(made, inputs)["y"], right, atol=1e-9)
    notice(mistakes_of_files(WRITTEN[name], made), right, lambda copy: run(copy, inputs)["y"])


def test_a_scan_that_is_written():
    rng = np.random.default_rng(7)
    rnn = elman.RNN(elman.cells.mgu, input=H, hidden=H, dtype="float64")
    rnn.update({key: rng.normal(size=value.shape) for key, value in rnn.parameters.items()})
    x, h, lengths = rng.normal(size=(B, T, H)), rng.normal(size=(B, H)), np.array([6, 2, 4], np.int32)
    inputs, right = {"x": x, "state.h": h, "lengths": lengths}, rnn(x, h, lengths=lengths)
    made = proto(rnn, state=True, lengths=True)
    np.testing.assert_allclose(run(made, inputs)["next.h"], right[1].h, atol=1e-9)
    for change in ({"lengths": np.full(B, T, np.int32)}, {"state.h": 0 * h}, {"x": x[:, ::-1]}):
        found = run(made, inputs | change)
        assert not np.allclose(found["y"], right[0], atol=NOTICED)
        assert not np.allclose(found["next.h"], right[1].h, atol=NOTICED)
    for entry in made.graph.initializer:
        value = onnx.numpy_helper.to_array(entry)
        if value.dtype.kind == "f" and value.size > 1:
            copy = onnx.ModelProto()
            copy.CopyFrom(made)
            (ours,) = (other for other in copy.graph.initializer if other.name == entry.name)
            ours.CopyFrom(onnx.numpy_helper.from_array(value.T * (value.ndim > 1), entry.name))
            assert not np.allclose(run(copy, inputs)["y"], right[0], atol=NOTICED), f"no value sees: {entry.name}"
