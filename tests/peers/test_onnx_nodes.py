"""The loops by which the recurrent operators are tested, against ONNX Runtime where it follows the specification."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.peers

import elman  # noqa: E402
from onnx_cases import ACTIVATIONS, FUNCTIONS, WITH_ALPHA, WITH_BETA, arrays, feed, literal, model, random_attributes  # noqa: E402
from onnx_sessions import session_of  # noqa: E402

KINDS = ["RNN", "GRU", "LSTM"]


def runtime(made, inputs):
    return session_of(made.SerializeToString()).run(None, inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_random_nodes(kind):
    """All attributes but layout, which ONNX Runtime refuses; alphas are given, since some of its defaults are 0.

    Its LSTM clips what gates read and not what the last activation reads, the new c.
    """
    for seed in range(12):
        rng = np.random.default_rng([seed, 7, FUNCTIONS[kind]])
        attributes, directions = random_attributes(rng, kind, defaults=False)
        attributes["layout"] = 0
        given = arrays(rng, kind, directions=directions)
        for name in ("b", "lengths", "h0", "c0", "p"):
            if name in given and rng.integers(3) == 0:
                given[name] = None
        found = runtime(model(kind, attributes, given), feed(given))
        expected = literal(kind, attributes, **given, clip_last=kind != "LSTM")
        for got, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=2e-4, atol=5e-5)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", KINDS)
def test_defaults(kind, direction):
    given = arrays(np.random.default_rng(1), kind, directions=1 + (direction == "bidirectional"))
    made = model(kind, {"direction": direction}, given)
    found = elman.io.onnx.run(made, feed(given))
    for got, wanted in zip(found.values(), runtime(made, feed(given)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


NO_DEFAULT = {"Affine", "ScaledTanh", "ThresholdedRelu"}
"""What ONNX Runtime does not have the specification's alpha and beta for, where a node gives none."""


@st.composite
def nodes(draw):
    """A node of any attributes and sizes, with any of its inputs and outputs left out: kind, attributes, arrays, outputs."""
    kind = draw(st.sampled_from(KINDS))
    direction = draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    directions = 2 if direction == "bidirectional" else 1
    names = draw(st.lists(st.sampled_from(list(ACTIVATIONS)), min_size=FUNCTIONS[kind] * directions,
                          max_size=FUNCTIONS[kind] * directions))  # fmt: skip
    attributes = {"direction": direction, "activations": names, "layout": draw(st.integers(0, 1))}
    if draw(st.booleans()) and FUNCTIONS[kind] > 1:
        del attributes["activations"]
        names = []
    numbers = st.sampled_from([0.125, 0.25, 0.5, 0.75])
    if names and (set(names) & NO_DEFAULT or draw(st.booleans())):
        for name, having in (("activation_alpha", WITH_ALPHA), ("activation_beta", WITH_BETA)):
            found = [draw(numbers) for activation in names if activation in having]
            attributes |= {name: found} if found else {}
    attributes |= {"clip": draw(st.sampled_from([0.3, 0.6, 2.0]))} if draw(st.booleans()) else {}
    attributes |= {"GRU": {"linear_before_reset": draw(st.integers(0, 1))},
                   "LSTM": {"input_forget": draw(st.integers(0, 1))}}.get(kind, {})  # fmt: skip
    sizes = {name: draw(st.integers(1, most)) for name, most in (("steps", 6), ("batch", 3), ("inputs", 4), ("hidden", 5))}
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    given = arrays(rng, kind, directions=directions, **sizes)
    for name in ("b", "lengths", "h0", "c0", "p"):
        if name in given and draw(st.booleans()):
            given[name] = None
    outputs = draw(st.lists(st.booleans(), min_size=3, max_size=3).filter(lambda asked: any(asked[: 2 + (kind == "LSTM")])))
    return kind, attributes, given, outputs


def with_outputs(made, asked):
    """The model with only the outputs that are asked for; a node gives the others no name."""
    node = made.graph.node[0]
    kept = [output for output, wanted in zip(made.graph.output, asked, strict=False) if wanted]
    for at, wanted in enumerate(asked[: len(node.output)]):
        node.output[at] = node.output[at] if wanted else ""
    del made.graph.output[:]
    made.graph.output.extend(kept)
    return made


def batch_first(given):
    """The same arrays as a node of layout 1 has them."""
    turned = {"x", "h0", "c0"}
    return {name: v.swapaxes(0, 1) if name in turned and v is not None else v for name, v in given.items()}


@hypothesis.settings(max_examples=150, deadline=None, derandomize=True)
@hypothesis.given(nodes())
def test_any_node(drawn):
    """Read as it is by `run` and by `load`, of layout 1 by turning what goes in and comes out."""
    kind, attributes, given, outputs = drawn
    if kind == "LSTM" and "clip" in attributes:  # unless the new c is within the clip, ONNX Runtime does not clip it
        free, clipped = (literal(kind, {**attributes, "layout": 0}, **given, clip_last=last)[0] for last in (False, True))
        hypothesis.assume(np.allclose(free, clipped, atol=1e-7))
    wanted = runtime(with_outputs(model(kind, {**attributes, "layout": 0}, given), outputs), feed(given))
    ours = batch_first(given) if attributes["layout"] else given
    made = with_outputs(model(kind, attributes, ours), outputs)
    found = elman.io.onnx.run(made, feed(ours))
    loaded = elman.io.onnx.load(made)
    y, _ = loaded(feed(ours))
    given_back = y if isinstance(y, dict) else dict(zip(loaded.outputs, [y], strict=True))
    assert list(found) == [output.name for output in made.graph.output]
    assert set(given_back) == ({"y"} if "y" in found else set(found))  # the others are the state
    for (name, got), expected in zip(found.items(), wanted, strict=True):
        turns = (2, 0, 1, 3) if name == "y" else (1, 0, 2)
        expected_here = expected.transpose(turns) if attributes["layout"] else expected
        tolerance = {"rtol": 0, "atol": 1e-5 * max(1.0, np.abs(expected).max()), "err_msg": name}
        np.testing.assert_allclose(got, expected_here, **tolerance)
        np.testing.assert_allclose(given_back.get(name, got), expected_here, **tolerance)
