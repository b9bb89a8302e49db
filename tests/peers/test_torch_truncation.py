"""PyTorch as the oracle of truncation: states detached every k steps, or overlapping windows from detached starts.

A window of overlapping truncation holds the losses of k1 steps, and goes back through the k2 steps that end with them.
"""

from typing import Any

import numpy as np
import pytest

import elman
from torch_nets import KINDS, STATES, detached, given, gradients_of, parameters_of

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("store")]

TOLERANCE = {"float64": 1e-12, "float32": 2e-5}
B, T, INPUTS, H = 4, 11, 5, 18
LENGTHS = (4, 11, 1, 8)
every_kind = pytest.mark.parametrize("kind", KINDS)
every_target = pytest.mark.parametrize("target", ["llvm", "numpy"])
with_lengths = pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "lengths"])


class Problem:
    """PyTorch's module and ours with the same parameters, and what both are run on."""

    def __init__(self, kind: str, dtype: str, target: str, lengths: tuple[int, ...] | None) -> None:
        torch.manual_seed(3)
        self.kind, self.dtype, self.rng = kind, dtype, np.random.default_rng(4)
        self.module = getattr(torch.nn, KINDS[kind])(INPUTS, H, batch_first=True, dtype=getattr(torch, dtype))
        if target == "llvm":
            pytest.importorskip("llvmlite")
        self.rnn = elman.RNN(getattr(elman.cells, kind), input=INPUTS, hidden=H, dtype=dtype, target=target)
        self.rnn.update(parameters_of(kind, self.module.parameters()))
        self.x, self.dy = self.drawn(B, T, INPUTS), self.drawn(B, T, H)
        self.state = {name: self.drawn(B, H) for name in STATES[kind]}
        self.lengths = lengths

    def drawn(self, *shape: int) -> np.ndarray:
        return self.rng.normal(size=shape).astype(self.dtype)

    def theirs(self, windows: list[tuple[int, int, int]]) -> dict[str, np.ndarray]:
        """Gradients of the losses of steps `begin` to `end`, for all windows (start, begin, end), row by row.

        Each starts from the state that the steps before it give, detached; one that starts at 0, from the state given.
        """
        x = torch.tensor(self.x, requires_grad=True)
        first = {name: torch.tensor(value, requires_grad=True) for name, value in self.state.items()}
        loss = torch.zeros((), dtype=x.dtype)
        for b in range(B):
            n = T if self.lengths is None else self.lengths[b]
            for start, begin, end in windows:
                stop = min(end, n)
                if begin < stop:
                    state = self.packed({name: value[b : b + 1] for name, value in first.items()})
                    if start:
                        with torch.no_grad():
                            state = self.module(x[b : b + 1, :start], state)[1]
                    y = self.module(x[b : b + 1, start:stop], state)[0]
                    loss = loss + (y[0, begin - start :] * torch.tensor(self.dy[b, begin:stop])).sum()
        loss.backward()
        found = gradients_of(self.kind, self.module.parameters())
        return found | {"d_x": x.grad.numpy()} | {name: value.grad.numpy() for name, value in first.items()}

    def packed(self, state: dict[str, Any]) -> Any:
        """As a module takes it, layer first."""
        return given(value[None] for value in state.values())

    def ours(self, truncate: Any, **asked: Any) -> dict[str, np.ndarray]:
        found = self.rnn.gradients(self.x, self.dy, self.state, self.lengths, truncate=truncate, **asked)
        return found.parameters | {"d_x": found.x} | dict(found.state)

    def assert_close(self, got: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
        assert set(got) == set(wanted)
        for name, value in wanted.items():
            assert (got[name].shape, got[name].dtype) == (value.shape, np.dtype(self.dtype)), name
            limit = TOLERANCE[self.dtype] * max(1.0, float(np.abs(value).max()))
            np.testing.assert_allclose(got[name], value, rtol=0, atol=limit, err_msg=name)


def windows_of(k1: int, k2: int) -> list[tuple[int, int, int]]:
    return [(max(0, begin + k1 - k2), begin, begin + k1) for begin in range(0, T, k1)]


@with_lengths
@pytest.mark.parametrize("k", [1, 4, T + 5])
@every_target
@every_kind
def test_detached_every_k_steps(kind, target, k, lengths):
    p = Problem(kind, "float64", target, lengths)
    p.assert_close(p.ours(k), p.theirs(windows_of(k, k)))


@pytest.mark.parametrize("dtype", TOLERANCE)
@every_kind
def test_detached_in_one_loop(kind, dtype):
    """As people write it: the whole batch, chunk after chunk, and the state goes on detached; in both types."""
    p = Problem(kind, dtype, "llvm", None)
    x = torch.tensor(p.x, requires_grad=True)
    first = {name: torch.tensor(value, requires_grad=True) for name, value in p.state.items()}
    state, loss = p.packed(first), torch.zeros((), dtype=x.dtype)
    for start in range(0, T, 4):
        y, state = p.module(x[:, start : start + 4], state)
        loss = loss + (y * torch.tensor(p.dy[:, start : start + 4])).sum()
        state = detached(state)
    loss.backward()
    wanted = gradients_of(kind, p.module.parameters())
    wanted |= {"d_x": x.grad.numpy()} | {name: value.grad.numpy() for name, value in first.items()}
    for recompute in (False, True):
        p.assert_close(p.ours(4, recompute=recompute), wanted)


@with_lengths
@pytest.mark.parametrize(("k1", "k2"), [(1, 4), (2, 3), (3, 3), (4, 8), (2, T + 2), (T + 1, T + 3)])
@every_target
@every_kind
def test_overlapping_windows(kind, target, k1, k2, lengths):
    p = Problem(kind, "float64", target, lengths)
    wanted = p.theirs(windows_of(k1, k2))
    p.assert_close(p.ours((k1, k2)), wanted)
    if target == "llvm":
        p.assert_close(p.ours((k1, k2), recompute=True), wanted)


@pytest.mark.parametrize(("k1", "k2"), [(2, 5), (4, 4)])
@every_kind
def test_overlapping_windows_in_float32(kind, k1, k2):
    p = Problem(kind, "float32", "llvm", LENGTHS)
    p.assert_close(p.ours((k1, k2)), p.theirs(windows_of(k1, k2)))


@every_kind
def test_truncation_matters(kind):
    """Each way of cutting gives other gradients, so that one cannot stand for another."""
    p = Problem(kind, "float64", "llvm", LENGTHS)
    found = [p.ours(truncate) for truncate in (None, 1, 3, 5, (1, 3), (2, 5), (3, 5))]
    u = {"elman": "waa", "gru": "un", "lstm": "ug"}[kind]
    for k, one in enumerate(found):
        for other in found[:k]:
            assert np.abs(one[u] - other[u]).max() > 1e-3
