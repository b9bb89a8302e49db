"""The copying problem: keep ten symbols in mind while 50 steps pass in which nothing happens, then say them again.

Ten symbols of eight kinds, 49 blanks, a bell, ten blanks more; over these last ten steps the symbols are to be said in their
order, before that only blanks. Who knows all but the symbols has a loss of 10 ln 8 / 70 = 0.297 nats a step. From Hochreiter
and Schmidhuber (Long short-term memory, 1997), in the form of Arjovsky et al. (Unitary evolution recurrent neural networks,
2016).

The state of a linear recurrent unit whose moduli start near 1 turns and hardly shrinks. After the default 500 steps (2 s)
all of 1000 new sequences are said without a mistake; of other seeds 998 or more. A GRU of that size (`--cell gru`): none,
at a loss of 0.29.
"""

import argparse

import numpy as np

import elman
from elman.optim import Adam, clip_by_norm

KINDS, COUNT, PAUSE = 8, 10, 50
BLANK, BELL = KINDS, KINDS + 1
BATCH, HIDDEN, RATE = 16, 64, 0.01
LINEAR = elman.cells.lru_with(0.98, 0.9999)


def copies(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What is read and what is to be said, `[B, T]`."""
    symbols = rng.integers(0, KINDS, (count, COUNT))
    x, y = np.full((2, count, PAUSE + 2 * COUNT), BLANK)
    x[:, :COUNT], x[:, COUNT + PAUSE - 1], y[:, -COUNT:] = symbols, BELL, symbols
    return x, y


def main(steps: int = 500, seed: int = 0, cell: elman.Cell = LINEAR) -> tuple[list[float], float, float]:
    """Learn, show, and return the losses, that of new sequences, and the share of them that are said without a mistake."""
    layer = elman.RNN(cell, input=KINDS + 2, hidden=HIDDEN, seed=seed)
    model = elman.Model.from_layers(layer, outputs=KINDS + 1, tokens=True, seed=seed)
    rng, adam, losses = np.random.default_rng(seed), Adam(), []
    memory = adam.memory(model.parameters)
    for step in range(steps):
        loss, gradients, _ = model.gradients(*copies(BATCH, rng))
        clipped, _ = clip_by_norm(gradients, 1.0)
        parameters, memory = adam.update(model.parameters, clipped, memory, RATE * (1 - step / steps))
        model.update(parameters)
        losses.append(loss)

    x, y = copies(1000, np.random.default_rng(1000))
    loss, said = model.loss(x, y), model.predict(x)
    right = float((said == y).all(1).mean())
    print(f"{len(y)} new sequences: {right:.1%} said without a mistake, {loss:.4f} nats a step")
    for name, tokens in (("read", x[0]), ("said", said[0])):
        print(f"  {name} {''.join('abcdefgh.!'[token] for token in tokens)}")
    return losses, loss, right


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cell", type=elman.cells.named, default=LINEAR)
    given = parser.parse_args()
    main(given.steps, given.seed, given.cell)
