"""PyTorch as the oracle: the same weights give the same numbers, forward and backward."""

import numpy as np
import pytest

import elman
from torch_nets import KINDS, STATES, detached, given, gradients_of, parameters_of, run, taken

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
B, T, INPUTS, H = 4, 7, 5, 6
LENGTHS = (3, 7, 1, 5)
every_kind = pytest.mark.parametrize("kind", KINDS)
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE)


def module_of(kind: str, dtype: str, inputs: int = INPUTS, hidden: int = H):
    torch.manual_seed(3)
    return getattr(torch.nn, KINDS[kind])(inputs, hidden, batch_first=True, dtype=getattr(torch, dtype))


def ours(kind: str, module, dtype: str) -> elman.RNN:
    rnn = elman.RNN(getattr(elman.cells, kind), input=module.input_size, hidden=module.hidden_size, dtype=dtype)
    rnn.update(parameters_of(kind, module.parameters()))
    return rnn


def random_arrays(kind: str, dtype: str, rows: tuple[int, ...]) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Input, state and the weights of the outputs in the loss."""
    rng = np.random.default_rng(4)
    x, dy = (rng.normal(size=(*rows, T, size)).astype(dtype) for size in (INPUTS, H))
    return x, {name: rng.normal(size=(*rows, H)).astype(dtype) for name in STATES[kind]}, dy


def leaf(array: np.ndarray):
    return torch.tensor(array, requires_grad=True)


def theirs(states: dict) -> object:
    """The state as a module takes it, layer first."""
    return given(tensor[None] for tensor in states.values())


def state_of(kind: str, state) -> dict[str, np.ndarray]:
    return {name: tensor[0].detach().numpy() for name, tensor in zip(STATES[kind], taken(state), strict=True)}


def assert_close(got, expected, dtype: str) -> None:
    assert np.shape(got) == np.shape(expected)
    size = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[dtype] * size)


def assert_fields(state, expected: dict[str, np.ndarray], dtype: str) -> None:
    for name, array in expected.items():
        assert_close(getattr(state, name), array, dtype)


# ---------------------------------------------------------------- forward


@every_dtype
@pytest.mark.parametrize("rows", [(), (B,)])
@every_kind
def test_forward(kind, rows, dtype):
    module = module_of(kind, dtype)
    x, states, _ = random_arrays(kind, dtype, rows)
    y, state = ours(kind, module, dtype)(x, states)
    expected_y, expected = module(torch.tensor(x), theirs({name: torch.tensor(array) for name, array in states.items()}))
    assert_close(y, expected_y.detach().numpy(), dtype)
    assert_fields(state, state_of(kind, expected), dtype)


@every_dtype
@every_kind
def test_packed_lengths(kind, dtype):
    module = module_of(kind, dtype)
    x, states, _ = random_arrays(kind, dtype, (B,))
    y, state = ours(kind, module, dtype)(x, states, lengths=np.array(LENGTHS))
    tensors = {name: torch.tensor(array) for name, array in states.items()}
    expected_y, expected = run(module, torch.tensor(x), theirs(tensors), LENGTHS)
    assert_close(y, expected_y.detach().numpy(), dtype)
    assert_fields(state, state_of(kind, expected), dtype)


# ---------------------------------------------------------------- backward


@every_dtype
@pytest.mark.parametrize("lengths", [None, LENGTHS])
@every_kind
def test_gradients(kind, lengths, dtype):
    module = module_of(kind, dtype)
    x, states, dy = random_arrays(kind, dtype, (B,))
    rnn = ours(kind, module, dtype)
    p, dx, d_state = rnn.gradients(x, dy, states, lengths=None if lengths is None else np.array(lengths))
    x, states = leaf(x), {name: leaf(array) for name, array in states.items()}
    y, _ = run(module, x, theirs(states), lengths)
    (y * torch.tensor(dy)).sum().backward()
    expected = gradients_of(kind, module.parameters())
    assert set(p) == set(expected)
    for name, array in expected.items():
        assert_close(p[name], array, dtype)
    assert_close(dx, x.grad.numpy(), dtype)
    assert_fields(d_state, {name: tensor.grad.numpy() for name, tensor in states.items()}, dtype)


@pytest.mark.parametrize("truncate", [1, 3, 7])
@every_kind
def test_truncated_gradients(kind, truncate):
    module = module_of(kind, "float64")
    x, states, dy = random_arrays(kind, "float64", (B,))
    p, dx, d_state = ours(kind, module, "float64").gradients(x, dy, states, truncate=truncate)
    x, states, loss = leaf(x), {name: leaf(array) for name, array in states.items()}, 0.0
    state = theirs(states)
    for t in range(0, T, truncate):
        part = slice(t, t + truncate)
        y, state = module(x[:, part], state)
        state = detached(state)
        loss = loss + (y * torch.tensor(dy[:, part])).sum()
    loss.backward()
    for name, array in gradients_of(kind, module.parameters()).items():
        assert_close(p[name], array, "float64")
    assert_close(dx, x.grad.numpy(), "float64")
    assert_fields(d_state, {name: tensor.grad.numpy() for name, tensor in states.items()}, "float64")


# ---------------------------------------------------------------- a model


@pytest.mark.parametrize("truncate", [None, 3])
@every_kind
def test_model(kind, truncate):
    symbols, rng = 8, np.random.default_rng(5)
    tokens, targets = rng.integers(symbols, size=(2, T))
    module, linear = module_of(kind, "float64", inputs=symbols), torch.nn.Linear(H, symbols, dtype=torch.float64)
    model = elman.Model(
        symbols, hidden_dim=H, bptt_truncate=truncate, cell=getattr(elman.cells, kind), seed=0, dtype="float64"
    )
    read = {"wya": linear.weight.detach().numpy(), "by": linear.bias.detach().numpy()}
    model.update(parameters_of(kind, module.parameters()) | read)
    loss, gradients, _ = model.gradients(tokens, targets)

    x, state, ys = torch.nn.functional.one_hot(torch.tensor(tokens), symbols).double(), None, []
    for t in range(0, T, truncate or T):
        y, state = module(x[None, t : t + (truncate or T)], state)
        state = detached(state)
        ys.append(y[0])
    logits = linear(torch.cat(ys))
    expected_loss = torch.nn.functional.cross_entropy(logits, torch.tensor(targets))
    expected_loss.backward()
    assert_close(model.forward_propagation(tokens).logits, logits.detach().numpy(), "float64")
    assert_close(loss, expected_loss.item(), "float64")
    expected = gradients_of(kind, module.parameters()) | {"wya": linear.weight.grad.numpy(), "by": linear.bias.grad.numpy()}
    assert set(gradients) == set(expected)
    for name, array in expected.items():
        assert_close(gradients[name], array, "float64")


def test_a_tensor_that_records_gradients_is_refused():
    tensor = torch.ones(4, 3, requires_grad=True)
    model = elman.Model.from_layers(elman.RNN(elman.cells.gru, input=3, hidden=5), 2)
    for act in (model.predict, model.forward_propagation, model.rnn):
        with pytest.raises(
            elman.DataError, match=r"is a Tensor that NumPy cannot read; give x\.detach\(\)\.cpu\(\)\.numpy\(\)"
        ):
            act(tensor)
    np.testing.assert_array_equal(model.predict(tensor.detach()), model.predict(np.ones((4, 3), np.float32)))
