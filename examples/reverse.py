"""Encoder and decoder: say a word backwards, once all of it is read.

A GRU reads 3 to 6 letters; its last state is the first of another, which says the letters from the last to the first, and
then the end token. It learns with teacher forcing and is asked about words that were never among those it learnt from: it
takes the likeliest letter each time (greedy), or searches with four beams.

After the default 1200 steps (6 s) 98% of 300 unseen words are said backwards without a mistake, 99% by beams, where
guessing finds fewer than one in ten thousand. For one word all that the beams found is shown, with ln of its probability.
"""

import argparse

import numpy as np

import elman
from elman import data, schedules
from elman.optim import Adam

LETTERS, START, END = 26, 26, 27
WORDS, SHORTEST, LONGEST, BATCH, HIDDEN, RATE = 40_000, 3, 6, 32, 96, 0.007


def words(count: int, rng: np.random.Generator, *, unseen: bool) -> tuple[list, list]:
    """Words, and the same backwards with the end token; one word in ten is kept unseen."""
    drawn = rng.integers(0, LETTERS, (20 * count, LONGEST))
    drawn = drawn[(drawn[:, :SHORTEST].sum(1) % 10 == 0) == unseen][:count]
    x = [word[:length] for word, length in zip(drawn, rng.integers(SHORTEST, LONGEST + 1, count), strict=True)]
    return x, [np.append(word[::-1], END) for word in x]


def text(tokens: np.ndarray) -> str:
    """Tokens as letters."""
    return "".join(chr(ord("a") + token) for token in tokens)


def main(steps: int = 1200) -> tuple[list[float], float, float]:
    """Learn, show, and return the losses and the shares of unseen words that are right, greedy and by beams."""
    encoder = elman.RNN(elman.cells.gru, input=LETTERS, hidden=HIDDEN)
    decoder = elman.Model(LETTERS + 2, HIDDEN, bptt_truncate=None, cell=elman.cells.gru, seed=1)
    model = elman.EncoderDecoder(encoder, decoder, start=START, end=END)
    source = data.Pairs(*words(WORDS, np.random.default_rng(0), unseen=False), batch=BATCH)
    trainer = elman.Trainer(model, source, Adam(), schedules.Cosine(RATE, steps), steps=steps)
    losses = [now.loss for now in trainer]

    unseen, backwards = words(300, np.random.default_rng(1), unseen=True)
    x, lengths = elman.pad_sequences(unseen)
    wanted = [text(word[:-1]) for word in backwards]
    greedy = [text(tokens) for tokens in model.generate(x, LONGEST + 1, lengths=lengths)]
    beams = [model.beam_search(word, LONGEST + 1) for word in unseen]
    best = [text(found[0].tokens) for found in beams]
    shares = [sum(map(str.__eq__, wanted, said)) / len(wanted) for said in (greedy, best)]
    print(f"{len(x)} unseen words: {shares[0]:.1%} right by the likeliest letter, {shares[1]:.1%} by beams")
    print("what the beams found for", text(unseen[0]))
    for found in beams[0]:
        print(f"  {found.log_probability:8.3f}  {text(found.tokens)}{'' if found.ended else ' ...'}")
    return losses, shares[0], shares[1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1200)
    main(parser.parse_args().steps)
