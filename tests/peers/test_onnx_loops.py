"""The loops by which the recurrent operators are tested, against ONNX Runtime where it follows the specification."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.peers

import elman  # noqa: E402
from onnx_cases import FUNCTIONS, arrays, feed, literal, model, random_attributes  # noqa: E402

KINDS = ["RNN", "GRU", "LSTM"]


def runtime(made, inputs):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(
        None, inputs
    )


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
