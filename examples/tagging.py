"""Many to many: which characters of Python source stand in a string, which in a comment, which are code?

One label for each character, learnt from files of the standard library, for which `tokenize` makes the labels. The layer is
a bidirectional GRU, since the quotes of a string stand before and behind what is in it. It learns from pieces of 100
characters and is asked about files that it has not seen, each read as a whole.

After the default 600 steps (7 s) 98% of their characters are labelled right, where "all is code" is right for 48% (files of
Python 3.11; 97% and 62% with 3.12, 98% and 55% with 3.13). A line of our own is shown with its labels.
"""

import argparse
import io
import itertools
import tokenize
from pathlib import Path

import numpy as np

import elman
from elman.optim import Adam, clip_by_norm

MARKS = ".s#"  # code, string, comment
LENGTH, BATCH, HIDDEN, RATE = 100, 16, 32, 0.01


def labels_of(source: str) -> np.ndarray:
    """The label of each character of a source, 0 to 2."""
    lines = itertools.accumulate(map(len, io.StringIO(source)), initial=0)
    starts, labels = list(lines), np.zeros(len(source), int)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind, (row, column), (last_row, last_column) = tokenize.tok_name[token.type], token.start, token.end
        if "STRING" in kind or kind == "COMMENT":
            labels[starts[row - 1] + column : starts[last_row - 1] + last_column] = 1 + (kind == "COMMENT")
    return labels


def share_right(model: elman.Model, sources: list[str]) -> tuple[float, float]:
    """Which share of the characters the model labels right, and which share is code."""
    wanted = [labels_of(source) for source in sources]
    right = np.concatenate([model.predict(source) == labels for source, labels in zip(sources, wanted, strict=True)])
    return float(right.mean()), float((np.concatenate(wanted) == 0).mean())


def main(steps: int = 600) -> tuple[list[float], float, float]:
    """Learn, show, and return the losses, the share that is right in unseen files, and that of saying "code"."""
    paths = sorted(Path(argparse.__file__).parent.glob("[a-c]*.py"))
    sources = [path.read_text(encoding="utf-8") for path in paths]
    unseen, text = sources[::10], "".join(source for place, source in enumerate(sources) if place % 10)
    labels, vocabulary = labels_of(text), elman.Vocabulary.characters(text, 100)
    tokens = vocabulary.encode(text)

    forward, backward = (elman.RNN(elman.cells.gru, input=len(vocabulary), hidden=HIDDEN, seed=seed) for seed in (0, 1))
    model = elman.Model.from_layers(elman.Bidirectional(forward, backward), outputs=len(MARKS), vocabulary=vocabulary)
    rng, adam, losses = np.random.default_rng(0), Adam(), []
    memory = adam.memory(model.parameters)
    for step in range(steps):
        places = rng.integers(0, len(tokens) - LENGTH, (BATCH, 1)) + np.arange(LENGTH)  # [B, T]
        loss, gradients, _ = model.gradients(tokens[places], labels[places])
        clipped, _ = clip_by_norm(gradients, 1.0)
        parameters, memory = adam.update(model.parameters, clipped, memory, RATE * (1 - step / steps))
        model.update(parameters)
        losses.append(loss)

    right, code = share_right(model, unseen)
    print(f"{len(unseen)} unseen files: {right:.1%} of the characters right, {code:.1%} are code")
    line = """raise ValueError(f"no {name!r} here")  # it isn't 3\n"""
    print(line + "".join(MARKS[label] for label in model.predict(line)))
    return losses, right, code


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=600)
    main(parser.parse_args().steps)
