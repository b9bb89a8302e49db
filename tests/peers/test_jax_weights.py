"""flax and equinox as the oracles of their own cells."""

import numpy as np
import pytest

from elman.io import jax as ours

jax = pytest.importorskip("jax", exc_type=ImportError)
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

I, H, T = 3, 4, 6


@pytest.mark.parametrize("kind", ["GRUCell", "LSTMCell", "OptimizedLSTMCell", "SimpleCell"])
def test_flax(kind):
    linen = pytest.importorskip("flax.linen", exc_type=ImportError)
    cell, rng = getattr(linen, kind)(features=H), np.random.default_rng(0)
    x, carry = rng.normal(size=(T, I)).astype("f4"), cell.initialize_carry(jax.random.key(0), (I,))
    shapes = cell.init(jax.random.key(1), carry, x[0])
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype("f4"), shapes)
    model, ys = ours.load(params, "flax"), []
    for x_t in x:
        carry, y = cell.apply(params, carry, x_t)
        ys.append(y)
    np.testing.assert_allclose(model.forward_propagation(x).output, ys, rtol=0, atol=2e-6)


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("kind", ["GRUCell", "LSTMCell"])
def test_equinox(kind, biases):
    nn = pytest.importorskip("equinox.nn", exc_type=ImportError)
    cell, rng = getattr(nn, kind)(I, H, use_bias=biases, key=jax.random.key(0)), np.random.default_rng(0)
    names = ("weight_ih", "weight_hh", "bias", "bias_n")
    model = ours.load({name: getattr(cell, name) for name in names if hasattr(cell, name)}, "equinox")
    x, state, ys = rng.normal(size=(T, I)).astype("f4"), np.zeros(H, "f4"), []
    state = state if kind == "GRUCell" else (state, state)
    for x_t in x:
        state = cell(x_t, state)
        ys.append(state if kind == "GRUCell" else state[0])
    np.testing.assert_allclose(model.forward_propagation(x).output, ys, rtol=0, atol=2e-6)
