"""Encoder and decoder: say a word backwards, once all of it is read.

A GRU reads 3 to 6 letters; its last state is the first of another, which says the letters from the last to the first, and
then the end token. It learns with teacher forcing and is asked about words that were never among those it learnt from: it
takes the likeliest letter each time (greedy), or searches with four beams.

After the default 1200 steps (6 s) 99% of 300 unseen words are said backwards without a mistake, greedy or by beams, where
guessing finds fewer than one in ten thousand. For one word all that the beams found is shown, with ln of its probability.
"""

import argparse

import numpy as np

import elman
from elman.optim import Adam, clip_by_norm

LETTERS, START, END = 26, 26, 27
SHORTEST, LONGEST, BATCH, HIDDEN, RATE = 3, 6, 32, 96, 0.005


def words(count: int, rng: np.random.Generator, *, unseen: bool) -> tuple[np.ndarray, ...]:
    """Words and their lengths, words backwards (with the end token) and their lengths; one word in ten is kept unseen."""
    drawn = rng.integers(0, LETTERS, (20 * count, LONGEST))
    x = drawn[(drawn[:, :SHORTEST].sum(1) % 10 == 0) == unseen][:count]
    lengths = rng.integers(SHORTEST, LONGEST + 1, count)
    y = np.full((count, LONGEST + 1), END)
    for row, word, length in zip(y, x, lengths, strict=True):
        row[:length] = word[:length][::-1]
    return x, lengths, y, lengths + 1


def text(tokens: np.ndarray) -> str:
    """Tokens as letters."""
    return "".join(chr(ord("a") + token) for token in tokens)


def main(steps: int = 1200) -> tuple[list[float], float, float]:
    """Learn, show, and return the losses and the shares of unseen words that are right, greedy and by beams."""
    encoder = elman.RNN(elman.cells.gru, input=LETTERS, hidden=HIDDEN)
    decoder = elman.Model(LETTERS + 2, HIDDEN, bptt_truncate=None, cell=elman.cells.gru, seed=1)
    model = elman.EncoderDecoder(encoder, decoder, start=START, end=END)
    rng, adam, losses = np.random.default_rng(0), Adam(), []
    memory = adam.memory(model.parameters)
    for step in range(steps):
        x, lengths, y, y_lengths = words(BATCH, rng, unseen=False)
        loss, gradients = model.gradients(x, y, lengths, y_lengths)
        clipped, _ = clip_by_norm(gradients, 1.0)
        parameters, memory = adam.update(model.parameters, clipped, memory, RATE * (1 - step / steps))
        model.update(parameters)
        losses.append(loss)

    x, lengths, y, _ = words(300, np.random.default_rng(1), unseen=True)
    wanted = [text(row[:length]) for row, length in zip(y, lengths, strict=True)]
    greedy = [text(tokens) for tokens in model.generate(x, LONGEST + 1, lengths=lengths)]
    beams = [model.beam_search(row[:length], LONGEST + 1) for row, length in zip(x, lengths, strict=True)]
    best = [text(found[0].tokens) for found in beams]
    shares = [sum(map(str.__eq__, wanted, said)) / len(wanted) for said in (greedy, best)]
    print(f"{len(x)} unseen words: {shares[0]:.1%} right by the likeliest letter, {shares[1]:.1%} by beams")
    print("what the beams found for", text(x[0, : lengths[0]]))
    for found in beams[0]:
        print(f"  {found.log_probability:8.3f}  {text(found.tokens)}{'' if found.ended else ' ...'}")
    return losses, shares[0], shares[1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1200)
    main(parser.parse_args().steps)
