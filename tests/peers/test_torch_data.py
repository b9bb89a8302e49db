"""PyTorch as the oracle of padded batches: what `pad_sequence` makes of the same sequences."""

import numpy as np
import pytest

from elman.data import Padded

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers


@pytest.mark.parametrize("features", [True, False], ids=["features", "tokens"])
def test_batches_are_padded_as_pytorch_pads(features):
    rng = np.random.default_rng(3)
    lengths = rng.permutation(np.arange(1, 24))  # all different, so that a length names its sequence
    x = [rng.normal(size=(n, 3)) if features else rng.integers(1, 99, n) for n in lengths]
    y = [rng.integers(1, 9, n) for n in lengths]
    place, source = {int(n): at for at, n in enumerate(lengths)}, Padded(x, y, batch=5, seed=2, buckets=2)
    for _ in range(2 * source.steps_per_epoch):
        batch = source.take()
        rows = [place[int(n)] for n in batch.lengths]
        for found, parts in ((batch.x, x), (batch.targets, y)):
            padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(parts[row]) for row in rows], batch_first=True)
            assert np.array_equal(found, padded.numpy())
