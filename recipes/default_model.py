"""Makes the model that ships in the package: a character model of Python, trained on the machine's standard library.

    python recipes/default_model.py RUN src/elman/models/default.safetensors

The corpus is every .py file of the standard library that is written by hand: no tests, no tables of encodings, nothing
installed beside it. Files are shuffled by a fixed seed; the last twentieth of the text is for validation. RUN is the folder
of the training: stopped, it goes on from there to the same bits.
"""

import argparse
import platform
import random
import sysconfig
from pathlib import Path

import elman
from elman import cells, data, optim, schedules
from elman.corpus import read_corpus
from elman.runs import Run
from elman.text import Vocabulary
from elman.train import bigram_bits, evaluate, split

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
    parser.add_argument("run", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--cell", choices=["lstm", "gru"], default="lstm")
    parser.add_argument("--hidden", type=int, default=432)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=18000)
    parser.add_argument("--rate", type=float, default=0.003)
    parser.add_argument("--decay", type=float, default=0.01)
    parser.add_argument("--recurrent-dropout", type=float, default=0.15)
    given = parser.parse_args()

    vocabulary = Vocabulary.characters(SYMBOLS)
    corpus = read_corpus(standard_library())
    training, validation = split(vocabulary.encode(corpus.text), 0.05)
    counts = f"{len(training):,} symbols to learn from, {len(validation):,} for validation"
    print(f"{len(corpus.files)} files, {counts}", flush=True)
    sizes = {"input": len(vocabulary), "hidden": given.hidden}
    layer = elman.RNN(cells.CELLS[given.cell], recurrent_dropout=given.recurrent_dropout, **sizes)
    model = elman.Model.from_layers(layer, len(vocabulary), vocabulary=vocabulary)
    rates = schedules.WarmUp(schedules.Cosine(given.rate, given.steps, given.rate / 100), 300)
    trainer = elman.Trainer(
        model,
        data.Streams(training, batch=given.batch, length=given.length),
        optim.AdamW(weight_decay=given.decay),
        rates,
        steps=given.steps,
        clip=1.0,
        averaging=schedules.Averaging(0.999),
    )

    def measured() -> float:
        with trainer.averaged():
            bits = evaluate(model, validation[:100_000])
        print(f"{trainer.step:6} {trainer.seconds:7.0f} s  validation {bits:.4f} bits", flush=True)
        return bits

    with Run(given.run, trainer, save_every=1000, measure=measured) as run:
        for _ in run:
            pass
    with trainer.averaged():
        model.save(given.output, stored="float16")
    shipped = elman.load(given.output)  # measured is what is in the file
    bits, bigram = evaluate(shipped, validation), bigram_bits(training, validation, len(vocabulary))
    shipped.training = {name: value for name, value in vars(given).items() if name not in ("run", "output", "steps")} | {
        "updates": trainer.step,
        "corpus": f"the hand-written .py files of the standard library of Python {platform.python_version()}",
        "symbols": len(training),
        "seconds": round(trainer.seconds),
        "validation_bits_per_character": round(bits, 4),
        "bigram_bits_per_character": round(bigram, 4),
        "recipe": "recipes/default_model.py",
    }
    shipped.save(given.output, stored="float16")
    print(f"validation {bits:.4f} bits, bigram model {bigram:.4f} bits", flush=True)


if __name__ == "__main__":
    main()
