"""PyTorch as the oracle of CTC: values and gradients, repeated labels, unequal lengths, empty targets."""

import numpy as np
import pytest

from elman.ctc import ctc

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

B, T, V, U = 8, 14, 5, 5


def of_pytorch(logits, targets, lengths, counts, blank, zero_infinity):
    z = torch.tensor(logits, requires_grad=True)
    p = torch.log_softmax(z, -1).transpose(0, 1)
    given = (torch.tensor(targets), torch.tensor(lengths), torch.tensor(counts))
    losses = torch.nn.functional.ctc_loss(p, *given, blank=blank, reduction="none", zero_infinity=zero_infinity)
    losses[torch.isfinite(losses)].sum().backward()
    return losses.detach().numpy(), z.grad.numpy()


@pytest.mark.parametrize("blank", [0, 2, V - 1])
@pytest.mark.parametrize("labels", [2, V])
def test_losses_and_gradients_are_those_of_pytorch(blank, labels):
    """With two labels nearly all targets repeat one, and some do not fit into their steps."""
    rng = np.random.default_rng(blank)
    impossible = 0
    for _ in range(5):
        logits = 3 * rng.normal(size=(B, T, V))
        targets = rng.integers(0, labels - 1, size=(B, U))
        targets += targets >= blank
        lengths, counts = rng.integers(1, T + 1, size=B), rng.integers(0, U + 1, size=B)
        lengths[0], counts[:2] = T, (U, 0)
        expected, d_expected = of_pytorch(logits, targets, lengths, counts, blank, False)
        losses, d_logits = ctc(logits, targets, lengths, counts, blank)
        np.testing.assert_allclose(losses, expected, rtol=1e-11)
        possible = np.isfinite(expected)
        np.testing.assert_allclose(d_logits[possible], d_expected[possible], rtol=1e-8, atol=1e-12)
        impossible += np.count_nonzero(~possible)
        expected, d_expected = of_pytorch(logits, targets, lengths, counts, blank, True)
        losses, d_logits = ctc(logits, targets, lengths, counts, blank, zero_infinity=True)
        np.testing.assert_allclose(losses, expected, rtol=1e-11)
        np.testing.assert_allclose(d_logits, d_expected, rtol=1e-8, atol=1e-12)
    assert impossible or labels > 2
