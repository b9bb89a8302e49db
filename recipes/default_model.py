"""Makes the model that ships in the package: a character model of Python, trained on the machine's standard library.

    python recipes/default_model.py src/elman/models/default.safetensors

The corpus is every .py file of the standard library that is written by hand: no tests, no tables of encodings, nothing
installed beside it. Files are shuffled by a fixed seed; the last twentieth of the text is for validation.
"""

import argparse
import platform
import random
import sysconfig
from pathlib import Path

import elman
from elman.corpus import read_corpus
from elman.text import Vocabulary
from elman.train import Settings, bigram_bits, evaluate, facts, split, train

SKIPPED = {"test", "tests", "site-packages", "encodings", "idlelib", "pydoc_data", "lib2to3", "turtledemo", "__pycache__"}
SYMBOLS = "\n\t" + "".join(map(chr, range(32, 127)))


def standard_library() -> list[Path]:
    """The files of the corpus, in their shuffled order."""
    root = Path(sysconfig.get_path("stdlib"))
    files = sorted(p for p in root.rglob("*.py") if not SKIPPED & set(p.relative_to(root).parts))
    random.Random(0).shuffle(files)
    return files


def main() -> None:
    """Train, measure, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--length", type=int, default=96)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=14000)
    parser.add_argument("--rate", type=float, default=0.004)
    given = parser.parse_args()

    vocabulary = Vocabulary.characters(SYMBOLS)
    corpus = read_corpus(standard_library())
    training, validation = split(vocabulary.encode(corpus.text), 0.05)
    counts = f"{len(training):,} symbols to learn from, {len(validation):,} for validation"
    print(f"{len(corpus.files)} files, {counts}", flush=True)
    model = elman.Model(len(vocabulary), given.hidden, given.length, elman.cells.lstm, vocabulary=vocabulary)
    settings = Settings(length=given.length, batch=given.batch, steps=given.steps, rate=given.rate, warm_up=200)
    bigram = bigram_bits(training, validation, len(vocabulary))
    for now in train(model, training, settings):
        if now.step % 500 == 0 or now.step == settings.steps:
            bits = evaluate(model, validation if now.step == settings.steps else validation[:100_000])
            print(f"{now.step:6} {now.seconds:7.0f} s  training {now.bits:.3f}  validation {bits:.4f} bits", flush=True)
            model.training = facts(
                settings,
                corpus=f"the hand-written .py files of the standard library of Python {platform.python_version()}",
                symbols=len(training),
                updates=now.step,
                seconds=round(now.seconds),
                validation_bits_per_character=round(bits, 4),
                bigram_bits_per_character=round(bigram, 4),
                recipe="recipes/default_model.py",
            )
            model.save(given.output)
    print(f"bigram model {bigram:.4f} bits", flush=True)


if __name__ == "__main__":
    main()
