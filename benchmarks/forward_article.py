"""Forward propagation against the source article's way of doing it, in one run.

    python benchmarks/forward_article.py [--words 8000] [--hidden 100] [--steps 200] [--repeats 15]

The article makes a one-hot vector a step, multiplies it by the whole input matrix, and keeps every step in an object of its
own (float64, no biases). It is written out here so that it runs. elman looks columns up and does the read-out of all steps
as one product. Repeats are interleaved; medians are compared. Threads of the linear algebra are as the machine has them.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

import elman


class StepByStep:
    """One step the article's way: five named intermediates on an object."""

    def forward(self, x, previous, waa, wax, wya):
        self.mulax = np.dot(wax, x)
        self.mulaa = np.dot(waa, previous)
        self.add = self.mulax + self.mulaa
        self.a = np.tanh(self.add)
        self.mulya = np.dot(wya, self.a)


def article(tokens: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    """Probabilities `[T, V]` of every step."""
    previous, layers = np.zeros(weights["waa"].shape[0]), []
    for token in tokens:
        x = np.zeros(weights["wax"].shape[1])
        x[token] = 1
        layer = StepByStep()
        layer.forward(x, previous, weights["waa"], weights["wax"], weights["wya"])
        previous = layer.a
        layers.append(layer)
    powers = [np.exp(layer.mulya) for layer in layers]
    return np.stack([p / np.sum(p) for p in powers])


def milliseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("words", 8000), ("hidden", 100), ("steps", 200), ("repeats", 15)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    tokens = np.random.default_rng(0).integers(0, given.words, given.steps)
    models = {dtype: elman.Model(given.words, given.hidden, dtype=dtype, target="numpy") for dtype in ("float32", "float64")}
    weights = dict(models["float64"].parameters)
    difference = np.abs(models["float64"].forward_propagation(tokens).probabilities - article(tokens, weights)).max()
    runs: dict[str, Callable[[], object]] = {"the article's code": lambda: article(tokens, weights)}
    for dtype, model in models.items():
        runs[f"elman {dtype}"] = lambda model=model: model.forward_propagation(tokens)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(given.repeats):
        for name, call in runs.items():
            times[name].append(milliseconds(call))
    medians = {name: statistics.median(values) for name, values in times.items()}
    first = medians["the article's code"]
    sizes = f"vocabulary {given.words}, hidden {given.hidden}, one sequence of {given.steps} tokens"
    print(f"{sizes}; medians of {given.repeats}")
    for name, median in medians.items():
        print(f"  {name:20} {median:9.2f} ms   {first / median:6.1f} x")
    print(f"  largest difference of a probability (float64): {difference:.1e}")


if __name__ == "__main__":
    main()
