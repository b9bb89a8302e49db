"""Mappings of arrays of flax and equinox: they compute what their equations say, and go out to the bit."""

import numpy as np
import pytest

from elman.errors import SettingError
from elman.io import jax

I, H, T, V = 3, 4, 6, 7


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def equinox_cells(seed=0):
    rng = np.random.default_rng(seed)
    gru = {"weight_ih": rng.normal(size=(3 * H, I)), "weight_hh": rng.normal(size=(3 * H, H))}
    gru |= {"bias": rng.normal(size=3 * H), "bias_n": rng.normal(size=H)}
    lstm = {
        "weight_ih": rng.normal(size=(4 * H, H)),
        "weight_hh": rng.normal(size=(4 * H, H)),
        "bias": rng.normal(size=4 * H),
    }
    return gru, lstm


def equinox_loops(gru, lstm, x, h, k, c):
    """The cells of equinox as its documentation has them."""
    ys = []
    for x_t in x:
        (ar, az, an), (sr, sz, sn) = np.split(gru["weight_ih"] @ x_t + gru["bias"], 3), np.split(gru["weight_hh"] @ h, 3)
        n = np.tanh(an + sigmoid(ar + sr) * (sn + gru["bias_n"]))
        h = n + sigmoid(az + sz) * (h - n)
        i, f, g, o = np.split(lstm["weight_ih"] @ h + lstm["weight_hh"] @ k + lstm["bias"], 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        k = sigmoid(o) * np.tanh(c)
        ys.append(k)
    return np.array(ys)


def flax_net(seed=0):
    rng = np.random.default_rng(seed)
    lstm = {f"i{g}": {"kernel": rng.normal(size=(H, H))} for g in "ifgo"}
    lstm |= {f"h{g}": {"kernel": rng.normal(size=(H, H)), "bias": rng.normal(size=H)} for g in "ifgo"}
    gru = {f"i{g}": {"kernel": rng.normal(size=(I, H)), "bias": rng.normal(size=H)} for g in "rzn"}
    gru |= {f"h{g}": {"kernel": rng.normal(size=(H, H))} for g in "rz"}
    gru |= {"hn": {"kernel": rng.normal(size=(H, H)), "bias": rng.normal(size=H)}}
    dense = {"kernel": rng.normal(size=(H, 2)), "bias": rng.normal(size=2)}
    return {
        "params": {
            "RNN_1": {"cell": lstm},
            "RNN_0": {"cell": gru},
            "Embed_0": {"embedding": rng.normal(size=(V, I))},
            "Dense_0": dense,
        }
    }


def flax_loops(params, tokens, h, k, c):
    """LSTMCell on GRUCell of flax, gate by gate; its kernels are (in, out)."""
    gru, lstm, ys = params["RNN_0"]["cell"], params["RNN_1"]["cell"], []

    def dense(layer, x):
        return x @ layer["kernel"] + layer.get("bias", 0)

    for token in tokens:
        x = params["Embed_0"]["embedding"][token]
        r, z = (sigmoid(dense(gru[f"i{g}"], x) + dense(gru[f"h{g}"], h)) for g in "rz")
        n = np.tanh(dense(gru["in"], x) + r * dense(gru["hn"], h))
        h = (1 - z) * n + z * h
        i, f, g, o = (dense(lstm[f"i{gate}"], h) + dense(lstm[f"h{gate}"], k) for gate in "ifgo")
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        k = sigmoid(o) * np.tanh(c)
        ys.append(dense(params["Dense_0"], k))
    return np.array(ys)


def same(found, given):
    flat = dict(jax._flat(given))
    assert set(found) == set(flat)
    assert all(found[name].tobytes() == array.tobytes() and found[name].shape == array.shape for name, array in flat.items())


def test_equinox():
    gru, lstm = equinox_cells()
    model, rng = jax.load({"a": lstm, "b": gru}, "equinox"), np.random.default_rng(1)
    x, h, k, c = rng.normal(size=(T, I)), *rng.normal(size=(3, H))
    got = model.forward_propagation(x, {"0": {"h": h}, "1": {"h": k, "c": c}}).output
    np.testing.assert_allclose(got, equinox_loops(gru, lstm, x, h, k, c), rtol=0, atol=1e-12)
    same(jax.arrays(model, "equinox"), {"a": lstm, "b": gru})


def test_flax():
    given = flax_net()
    model, rng = jax.load(given, "flax"), np.random.default_rng(1)
    tokens, (h, k, c) = rng.integers(V, size=T), rng.normal(size=(3, H))
    got = model.forward_propagation(tokens, {"0": {}, "1": {"h": h}, "2": {"h": k, "c": c}}).output
    np.testing.assert_allclose(got, flax_loops(given["params"], tokens, h, k, c), rtol=0, atol=1e-12)
    same(jax.arrays(model, "flax"), given)


def test_the_simple_cell_of_flax():
    rng = np.random.default_rng(0)
    given = {"i": {"kernel": rng.normal(size=(I, H)), "bias": rng.normal(size=H)}, "h": {"kernel": rng.normal(size=(H, H))}}
    x, a, ys = rng.normal(size=(T, I)), np.zeros(H), []
    for x_t in x:
        ys.append(a := np.tanh(x_t @ given["i"]["kernel"] + given["i"]["bias"] + a @ given["h"]["kernel"]))
    np.testing.assert_allclose(jax.load(given, "flax").forward_propagation(x).output, ys, rtol=0, atol=1e-12)


@pytest.mark.parametrize("biased", [True, False], ids=["bias", "no bias"])
def test_a_dense_layer_below(biased):
    """It comes out again with what follows it, and without a bias where it has none."""
    rng, (gru, lstm) = np.random.default_rng(2), equinox_cells()
    dense = {"weight": rng.normal(size=(I, 5))} | ({"bias": rng.normal(size=I)} if biased else {})
    model, x = jax.load({"a": dense, "b": gru, "c": lstm}, "equinox", activations=["relu"]), rng.normal(size=(T, 5))
    below = np.maximum(x @ dense["weight"].T + dense.get("bias", 0), 0)
    expected = equinox_loops(gru, lstm, below, *np.zeros((3, H)))
    np.testing.assert_allclose(model.forward_propagation(x).output, expected, rtol=0, atol=1e-12)
    same(jax.arrays(model, "equinox"), {"a": dense, "b": gru, "c": lstm})


def test_a_bias_that_is_none_is_not_there():
    gru, _ = equinox_cells()
    model = jax.load(gru | {"bias": None, "bias_n": None}, "equinox")
    assert set(model.parameters) == {"wr", "ur", "wz", "uz", "wn", "un"}
    assert set(jax.arrays(model, "equinox")) == {"weight_ih", "weight_hh"}


def test_what_does_not_fit_is_told():
    gru, lstm = equinox_cells()
    with pytest.raises(SettingError, match="no weight map of 'haiku' here; it is one of flax, equinox"):
        jax.load({"a": gru}, "haiku")
    with pytest.raises(SettingError, match=r"equinox: a\.scale belongs to no layer that there is a weight map of"):
        jax.load({"a": {"scale": np.ones(3)}, "b": gru}, "equinox")
    with pytest.raises(SettingError, match="the layers a, b meet in several orders"):
        jax.load({"a": lstm, "b": lstm}, "equinox")
    dense = {"weight": np.ones((5, H)), "bias": np.ones(5)}
    with pytest.raises(SettingError, match="equinox: the dense layers are b, c; give activations, 2 of them"):
        jax.load({"a": gru, "c": {"weight": np.ones((2, 5))}, "b": dense}, "equinox")
