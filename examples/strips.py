"""Labels without their times: which digits were written, one after another? Images side by side, read column by column.

The digits of scikit-learn, 1 to 5 of them in a strip, with gaps of 0 to 2 empty columns; nobody tells where one ends. Two
GRUs read the columns, one from either end, and at each a softmax says a digit or a blank. The loss is CTC: all ways that
come to the digits of the strip count. The digits of 1200 images stand in the strips that it learns from, those of the other
597 in the strips that it is asked about.

After the default 800 steps (6 s) it says 93% of 300 unseen strips without a mistake, by the likeliest label of each column
as by four beams; of their digits 3% are wrong, missing or too many. A strip is shown with what was said at each column.

It needs scikit-learn: pip install "elman[sklearn]".
"""

import argparse

import numpy as np
from sklearn.datasets import load_digits

import elman
from elman import data, schedules
from elman.optim import Adam

SEEN, STRIPS, MOST, BATCH, HIDDEN, RATE = 1200, 4000, 5, 32, 48, 0.01


def strips(images: np.ndarray, digits: np.ndarray, count: int, rng: np.random.Generator) -> tuple[list, list]:
    """Strips of columns `[T, 8]`, and their labels: a digit and 1, since 0 is the blank."""
    x, y = [], []
    for length in rng.integers(1, MOST + 1, count):
        chosen = rng.choice(len(images), length)
        gaps = rng.integers(0, 3, length)
        columns = [np.pad(images[k].T, ((0, gap), (0, 0))) for k, gap in zip(chosen, gaps, strict=True)]
        x.append(np.concatenate(columns))
        y.append(digits[chosen] + 1)
    return x, y


def mistakes(said: np.ndarray, wanted: np.ndarray) -> int:
    """How many labels must be changed, put in or taken out (Levenshtein, 1966)."""
    row = list(range(len(wanted) + 1))
    for at, one in enumerate(said):
        before, row = row, [at + 1]
        for k, other in enumerate(wanted):
            row.append(min(row[k] + 1, before[k + 1] + 1, before[k] + (one != other)))
    return row[-1]


def main(steps: int = 800) -> tuple[list[float], float, float]:
    """Learn, show, and return the losses, the share of wrong digits, and the share of strips that are right by beams."""
    images, digits = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8) / 16.0
    order, rng = np.random.default_rng(0).permutation(len(images)), np.random.default_rng(1)
    parts = (order[:SEEN], STRIPS), (order[SEEN:], 300)
    seen, unseen = (strips(images[rows], digits[rows], count, rng) for rows, count in parts)
    ahead, behind = (elman.RNN(elman.cells.gru, input=8, hidden=HIDDEN, seed=seed) for seed in (0, 1))
    model = elman.Model.from_layers(elman.Bidirectional(ahead, behind), outputs=11)
    source, rates = data.Pairs(*seen, batch=BATCH), schedules.WarmUp(schedules.Cosine(RATE, steps), 20)
    trainer = elman.Trainer(model, source, Adam(), rates, steps=steps, clip=5.0, loss="ctc")
    losses = [now.loss for now in trainer]

    (x, lengths), wanted = elman.pad_sequences(unseen[0]), unseen[1]
    greedy, beams = (model.ctc_decode(x, lengths=lengths, width=width) for width in (None, 4))
    wrong = sum(map(mistakes, greedy, wanted)) / sum(map(len, wanted))
    shares = [np.mean([np.array_equal(*both) for both in zip(said, wanted, strict=True)]) for said in (greedy, beams)]
    print(f"{len(x)} unseen strips: {shares[0]:.1%} right, {shares[1]:.1%} by beams; {wrong:.1%} of their digits are wrong")
    longest = int(np.argmax(lengths))
    for row in unseen[0][longest].T:
        print("  " + "".join(" .:#"[int(3.99 * grey)] for grey in row))
    print("  " + "".join("-0123456789"[label] for label in model.predict(unseen[0][longest])))
    return losses, wrong, float(shares[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=800)
    main(parser.parse_args().steps)
