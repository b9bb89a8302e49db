"""PyTorch as the oracle of stacks and directions: `num_layers=2` and `bidirectional=True`, also on packed sequences."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import elman
from torch_nets import KINDS, STATES, given, gradients_of, parameters_of, run, taken

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

TOLERANCE = {"float64": 1e-12, "float32": 2e-5}
B, T, INPUTS, H = 5, 8, 3, 4
LENGTHS = (3, 8, 1, 5, 8)
every_kind = pytest.mark.parametrize("kind", KINDS)
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE)
both_ways = pytest.mark.parametrize("both", [False, True], ids=["one way", "both ways"])
with_lengths = pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "packed"])


def parts(both: bool, layers: int = 2) -> list[tuple[str, str]]:
    """Where each of PyTorch's arrays lies: the end of its name, and the part of the stack; in the order of its states."""
    ways = [("", "forward."), ("_reverse", "backward.")] if both else [("", "")]
    return [(f"l{layer}{end}", f"{layer}.{way}") for layer in range(layers) for end, way in ways]


def by_part(of: Callable, kind: str, module: Any, both: bool, layers: int = 2) -> dict[str, np.ndarray]:
    """`parameters_of` or `gradients_of`, part by part."""
    found = {}
    for end, part in parts(both, layers):
        held = (getattr(module, f"{name}_{end}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        found |= {part + name: value for name, value in of(kind, held).items()}
    return found


def problem(kind: str, dtype: str, both: bool) -> tuple[Any, elman.Stack, np.ndarray, list[np.ndarray], np.ndarray]:
    """Their module, our stack with its parameters, an input, states as theirs `[layers, B, H]`, weights of the outputs."""
    torch.manual_seed(5)
    settings = {"num_layers": 2, "bidirectional": both, "batch_first": True, "dtype": getattr(torch, dtype)}
    module = getattr(torch.nn, KINDS[kind])(INPUTS, H, **settings)
    cell, wide = getattr(elman.cells, kind), H * (2 if both else 1)

    def layer(inputs: int) -> elman.Layer:
        one, two = (elman.RNN(cell, input=inputs, hidden=H, dtype=dtype, seed=seed) for seed in (0, 1))
        return elman.Bidirectional(one, two) if both else one

    stack = elman.Stack([layer(INPUTS), layer(wide)])
    stack.update(by_part(parameters_of, kind, module, both))
    rng = np.random.default_rng(6)
    x, dy = (rng.normal(size=(B, T, size)).astype(dtype) for size in (INPUTS, wide))
    states = [rng.normal(size=(len(parts(both)), B, H)).astype(dtype) for _ in STATES[kind]]
    return module, stack, x, states, dy


def tree(kind: str, both: bool, states: list[np.ndarray]) -> dict[str, Any]:
    """PyTorch's states as parts of ours."""
    found: dict[str, Any] = {"0": {}, "1": {}}
    for k, (_, part) in enumerate(parts(both)):
        layer, _, way = part.rstrip(".").partition(".")
        fields = {name: array[k] for name, array in zip(STATES[kind], states, strict=True)}
        found[layer] |= {way: fields} if way else fields
    return found


def assert_close(got: np.ndarray, expected: np.ndarray, dtype: str) -> None:
    assert got.shape == expected.shape
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[dtype] * max(1.0, float(np.abs(expected).max())))


def pairs(state: elman.State, wanted: dict[str, Any]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    assert list(state) == list(wanted)
    for name, value in wanted.items():
        if isinstance(value, dict):
            yield from pairs(state[name], value)
        else:
            yield state[name], value


@with_lengths
@both_ways
@every_dtype
@every_kind
def test_values(kind, dtype, both, lengths):
    module, stack, x, states, _ = problem(kind, dtype, both)
    y, last = stack(x, tree(kind, both, states), lengths=lengths)
    expected, end = run(module, torch.tensor(x), given(map(torch.tensor, states)), lengths)
    assert_close(y, expected.detach().numpy(), dtype)
    for got, wanted in pairs(last, tree(kind, both, [each.detach().numpy() for each in taken(end)])):
        assert_close(got, wanted, dtype)


@with_lengths
@both_ways
@every_dtype
@every_kind
def test_gradients(kind, dtype, both, lengths):
    """Of outputs and last states together."""
    module, stack, x, states, dy = problem(kind, dtype, both)
    rng = np.random.default_rng(7)
    d_last = [rng.normal(size=state.shape).astype(dtype) for state in states]
    record = stack.record(x, tree(kind, both, states), lengths=lengths)
    p, d_x, d_first = record.gradients(dy, tree(kind, both, d_last))
    leaves = [torch.tensor(state, requires_grad=True) for state in states]
    x = torch.tensor(x, requires_grad=True)
    y, end = run(module, x, given(leaves), lengths)
    loss = (y * torch.tensor(dy)).sum()
    for each, weights in zip(taken(end), d_last, strict=True):
        loss = loss + (each * torch.tensor(weights)).sum()
    loss.backward()
    expected = by_part(gradients_of, kind, module, both)
    assert set(p) == set(expected)
    for name, array in expected.items():
        assert_close(p[name], array, dtype)
    assert_close(d_x, x.grad.numpy(), dtype)
    for got, wanted in pairs(d_first, tree(kind, both, [leaf.grad.numpy() for leaf in leaves])):
        assert_close(got, wanted, dtype)


@every_kind
def test_one_bidirectional_layer_of_one_sequence(kind):
    """Without a batch, from the zero state."""
    torch.manual_seed(8)
    module = getattr(torch.nn, KINDS[kind])(INPUTS, H, bidirectional=True, dtype=torch.float64)
    cell = getattr(elman.cells, kind)
    both = elman.Bidirectional(*(elman.RNN(cell, input=INPUTS, hidden=H, dtype="float64", seed=seed) for seed in (0, 1)))
    found = by_part(parameters_of, kind, module, True, layers=1)
    both.update({name.removeprefix("0."): array for name, array in found.items()})
    x = np.random.default_rng(9).normal(size=(T, INPUTS))
    y, last = both(x)
    expected, end = module(torch.tensor(x))
    assert_close(y, expected.detach().numpy(), "float64")
    first = taken(end)[0].detach().numpy()
    for k, way in enumerate(("forward", "backward")):
        assert_close(last[way][STATES[kind][0]], first[k], "float64")
