"""The embedded Reber grammar: what may follow in strings whose second symbol comes back just before the end?

Between the two stand 5 symbols or dozens, drawn as if nothing had been: who forgets the second symbol can tell all but the
last but one. A string is known where, at every step, the symbols of a probability above 1/4 are exactly those that the
grammar allows, one or two, of probability 1 or 1/2 each. Hochreiter and Schmidhuber (Long short-term memory, 1997) asked
that those be the likeliest, which follows from it.

After the default 600 steps (2 s) an LSTM knows all of 1000 new strings. One of them is shown, with what it said may follow.
"""

import argparse

import numpy as np

import elman
from elman.optim import Adam, clip_by_norm

SYMBOLS = "BTPSXVE"
GRAMMAR = ("T1 P2", "S1 X3", "T2 V4", "X2 S5", "P3 V5", "E6")  # at each node: the symbols that may follow, and where to
BATCH, HIDDEN, RATE = 32, 32, 0.01


def string(rng: np.random.Generator) -> tuple[str, list[str]]:
    """A string, and for each of its places the symbols that may stand there."""
    second, node = "TP"[rng.integers(2)], 0
    text, places = f"B{second}B", ["B", "TP", "B"]
    while node < len(GRAMMAR):
        ways = GRAMMAR[node].split()
        places.append("".join(symbol for symbol, _ in ways))
        symbol, to = ways[rng.integers(len(ways))]
        text, node = text + symbol, int(to)
    return f"{text}{second}E", [*places, second, "E"]


def strings(count: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Strings but for their last symbol and but for their first `[B, T]`, lengths `[B]`, what may follow `[B, T, V]`."""
    texts, places = zip(*(string(rng) for _ in range(count)), strict=True)
    tokens, lengths = elman.pad_sequences([[SYMBOLS.index(symbol) for symbol in text] for text in texts])
    may, _ = elman.pad_sequences([[[symbol in place for symbol in SYMBOLS] for place in row] for row in places])
    return tokens[:, :-1], tokens[:, 1:], lengths - 1, may[:, 1:]


def show(x: np.ndarray, said: np.ndarray) -> None:
    """A string, and below each of its symbols what was said to follow."""
    follow = ["".join(symbol for symbol, there in zip(SYMBOLS, row, strict=True) if there) for row in said]
    lines = ["".join(SYMBOLS[token] for token in x), *("".join(row[n : n + 1] or " " for row in follow) for n in (0, 1))]
    for name, line in zip(("read", "next", "  or"), lines, strict=True):
        print(f"  {name} {' '.join(line).rstrip()}")


def main(steps: int = 600, seed: int = 0) -> tuple[list[float], float]:
    """Learn, show, and return the losses and the share of new strings that are known."""
    model = elman.Model(len(SYMBOLS), HIDDEN, bptt_truncate=None, cell=elman.cells.lstm, seed=seed)
    rng, adam, losses = np.random.default_rng(seed), Adam(), []
    memory = adam.memory(model.parameters)
    for step in range(steps):
        x, y, lengths, _ = strings(BATCH, rng)
        loss, gradients, _ = model.gradients(x, y, lengths=lengths)
        clipped, _ = clip_by_norm(gradients, 1.0)
        parameters, memory = adam.update(model.parameters, clipped, memory, RATE * (1 - step / steps))
        model.update(parameters)
        losses.append(loss)

    x, _, lengths, may = strings(1000, np.random.default_rng(1000))
    said = model.forward_propagation(x, lengths=lengths).probabilities > 1 / 4
    known = np.all(said == may, (1, 2))  # behind a string's end nothing is said, and nothing may follow
    print(f"{len(x)} new strings: {known.mean():.1%} known at every step")
    middle = np.argsort(lengths)[len(lengths) // 2]
    show(x[middle, : lengths[middle]], said[middle])
    return losses, float(known.mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(given.steps, given.seed)
