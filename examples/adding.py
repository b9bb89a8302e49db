"""The adding problem: of 100 numbers two are marked, and the answer, asked for at the end, is their sum.

Numbers are drawn evenly from 0 to 1; one mark stands in the first half of the sequence, one in the second, so on average the
first of the two is kept for 75 steps. Who says 1 every time is off by 1/6 in mean square. From Hochreiter and Schmidhuber
(Long short-term memory, 1997), in the form of Arjovsky et al. (Unitary evolution recurrent neural networks, 2016).

A GRU starts here with z near 1, by bz = 2, so that at first it forgets little. After the default 600 steps (2 s) its mean
squared error over 1000 new sequences is below 0.001. Three of them are shown.
"""

import argparse

import numpy as np

import elman
from elman.optim import Adam, clip_by_norm

LENGTH, BATCH, HIDDEN, RATE = 100, 32, 16, 0.02


def sums(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Numbers beside their marks `[B, T, 2]`, and the sums of the two that are marked `[B, 1]`."""
    numbers, marks, rows = rng.uniform(0, 1, (count, LENGTH)), np.zeros((count, LENGTH)), np.arange(count)
    for half in (0, LENGTH // 2):
        marks[rows, half + rng.integers(0, LENGTH // 2, count)] = 1
    return np.stack([numbers, marks], -1), (numbers * marks).sum(1, keepdims=True)


def main(steps: int = 600, seed: int = 0) -> tuple[list[float], float, float]:
    """Learn, show, and return the losses, the mean squared error of new sums, and that of saying 1."""
    layer = elman.RNN(elman.cells.gru, input=2, hidden=HIDDEN, seed=seed)
    layer.update({"bz": np.full(HIDDEN, 2.0)})
    model = elman.Model.from_layers(layer, outputs=1, readout=elman.cells.readout_linear, pool="last", seed=seed)
    rng, adam, losses = np.random.default_rng(seed), Adam(), []
    memory = adam.memory(model.parameters)
    for step in range(steps):
        loss, gradients, _ = model.gradients(*sums(BATCH, rng))
        clipped, _ = clip_by_norm(gradients, 1.0)
        parameters, memory = adam.update(model.parameters, clipped, memory, RATE * (1 - step / steps))
        model.update(parameters)
        losses.append(loss)

    x, y = sums(1000, np.random.default_rng(1000))
    said = model.predict(x)
    error, one = float(np.mean((said - y) ** 2)), float(np.mean((1 - y) ** 2))
    print(f"{len(y)} new sequences of {LENGTH}: mean squared error {error:.4f}, of saying 1 {one:.4f}")
    for row in range(3):
        first, second = x[row, x[row, :, 1] == 1, 0]
        print(f"  {first:.2f} + {second:.2f} = {y[row, 0]:.2f}, said {said[row, 0]:.2f}")
    return losses, error, one


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(given.steps, given.seed)
