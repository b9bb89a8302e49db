"""The recurrent operators of ONNX as layers, against loops that are written from their specification."""

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from elman.io.onnx import run
from onnx_cases import ACTIVATIONS, FUNCTIONS, arrays, feed, literal, model, random_attributes

KINDS = ["RNN", "GRU", "LSTM"]


def compare(kind, attributes, given, *, atol=2e-5, **settings):
    found = run(model(kind, attributes, given, **settings), feed(given))
    expected = literal(kind, attributes, **given)
    for got, wanted in zip(found.values(), expected, strict=True):
        assert got.dtype == given["x"].dtype
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=atol)
    return found


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", KINDS)
def test_random_nodes(kind, seed):
    """All attributes at once, inputs left out at random."""
    rng = np.random.default_rng([seed, FUNCTIONS[kind]])
    attributes, directions = random_attributes(rng, kind)
    given = arrays(rng, kind, directions=directions, batch_first=attributes["layout"])
    for name in ("b", "lengths", "h0", "c0", "p"):
        if name in given and rng.integers(3) == 0:
            given[name] = None
    compare(kind, attributes, given)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", KINDS)
def test_defaults(kind, direction):
    """The cells that come along, and no attribute that is not needed."""
    given = arrays(np.random.default_rng(1), kind, directions=1 + (direction == "bidirectional"))
    given["p"] = None
    compare(kind, {} if direction == "forward" else {"direction": direction}, given, opset=7)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_at_its_default(name):
    given = arrays(np.random.default_rng(2), "RNN")
    given["x"] *= 5  # both sides of each threshold
    compare("RNN", {"activations": [name]}, given)


def test_alphas_go_to_those_that_have_one():
    given = arrays(np.random.default_rng(3), "LSTM", directions=2)
    names = ["HardSigmoid", "Tanh", "ScaledTanh", "Sigmoid", "LeakyRelu", "Affine"]
    attributes = {"direction": "bidirectional", "activations": names}
    attributes |= {"activation_alpha": [0.3, 0.8, 0.25, 0.75], "activation_beta": [0.4, 0.6, 0.125]}
    compare("LSTM", attributes, given)


@pytest.mark.parametrize(
    ("kind", "attributes", "directions"),
    [
        ("RNN", {"direction": "bidirectional"}, 2), ("GRU", {"linear_before_reset": 1, "direction": "reverse"}, 1),
        ("GRU", {"layout": 1}, 1), ("LSTM", {"layout": 1}, 1), ("LSTM", {"direction": "bidirectional"}, 2),
    ],
)  # fmt: skip
def test_against_the_reference_evaluation(kind, attributes, directions):
    """Where it does what the specification says: without lengths, clip and other activations."""
    given = arrays(np.random.default_rng(10), kind, directions=directions, batch_first=attributes.get("layout", 0))
    given["lengths"] = None
    made = model(kind, attributes, given)
    for got, wanted in zip(run(made, feed(given)).values(), ReferenceEvaluator(made).run(None, feed(given)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_without_a_step(kind):
    """Its last state is its initial one."""
    given = arrays(np.random.default_rng(11), kind)
    given["lengths"] = np.array([0, 6, 2], np.int32)
    found = compare(kind, {}, given)
    np.testing.assert_array_equal(found["y_h"][:, 0], given["h0"][:, 0])


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_no_step_at_all(kind, layout):
    """The last states are the initial ones, of both directions."""
    given = arrays(np.random.default_rng(13), kind, directions=2, batch_first=layout)
    given |= {"lengths": None, "x": given["x"][:, :0] if layout else given["x"][:0]}
    found = compare(kind, {"direction": "bidirectional", "layout": layout}, given)
    assert found["y"].shape == ((3, 0, 2, 5) if layout else (0, 2, 3, 5))
    np.testing.assert_array_equal(found["y_h"], given["h0"])


@pytest.mark.parametrize("kind", KINDS)
def test_float64(kind):
    given = arrays(np.random.default_rng(4), kind, dtype=np.float64)
    compare(kind, {"clip": 0.75}, given, atol=1e-12)


def test_float16_is_computed_in_float32():
    given = arrays(np.random.default_rng(12), "GRU", dtype=np.float16)
    given["lengths"] = None
    compare("GRU", {"linear_before_reset": 1}, given, atol=1e-3)
