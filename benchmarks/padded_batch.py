"""A padded batch of sequences of very different lengths against its share of the full batch, in one run.

    python benchmarks/padded_batch.py [--shortest 5] [--steps 200] [--batch 64] [--repeats 9]

Lengths are drawn log-uniformly from `--shortest` to `--steps`; the share is what the sequences are of batch times steps. If
padding costs nothing, the padded batch takes its share of the time that the full batch takes: a ratio of 1. The last columns
run every sequence by itself. Repeats are interleaved; medians are compared. The linear algebra has one thread.

The aim is 1.15. Measured on two shared cores of an Intel Xeon with AVX-512, forward, in time of the thread: lstm 256 1.11,
lstm 128 1.20, lstm 512 1.21, gru 128 1.25 to 1.30, elman 64 1.75 (before padding was passed by where numbers are checked
1.15, 1.32, 1.27, 1.37 and 1.95). The kernel by itself takes 1.0 to 1.06 of its share. The rest: zeros where the padding
stands are three quarters of the output and written at the speed of memory (0.2 ms of elman 64, 0.5 of gru 128), the input is
looked through for NaN (0.1 and 0.3), 0.1 is Python. With lstm 512 it is the kernel: of 200 steps half have 12 sequences or
fewer, and a step of few rows takes as long as reading its matrices, one row 110 us, each of 64 rows 30. On the NumPy target
forward 1.3 (lstm 256 and 512), 1.4 (gru 128, lstm 128), 2.0 (elman 64).
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is there

import numpy as np

import elman

SIZES = (("elman", 64), ("gru", 128), ("lstm", 128), ("lstm", 256), ("lstm", 512))


def lengths_of(batch: int, steps: int, shortest: int) -> np.ndarray:
    """Log-uniform, unsorted; the longest is as long as the batch."""
    drawn = np.exp(np.random.default_rng(0).uniform(np.log(shortest), np.log(steps + 1), batch)).astype(int)
    drawn[np.argmax(drawn)] = steps
    return drawn


def milliseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - started)


def runs(rnn: elman.RNN, x: np.ndarray, lengths: np.ndarray, gradient: bool) -> dict[str, Callable[[], object]]:
    """The full batch, the padded batch, and every sequence by itself; forward, or there and back."""
    sequences = [x[b, :n] for b, n in enumerate(lengths)]
    if not gradient:
        return {
            "full": lambda: rnn(x),
            "padded": lambda: rnn(x, lengths=lengths),
            "alone": lambda: [rnn(one) for one in sequences],
        }
    dy = np.random.default_rng(2).standard_normal((*x.shape[:2], *rnn.output_shape)).astype(rnn.dtype)
    return {
        "full": lambda: rnn.gradients(x, dy),
        "padded": lambda: rnn.gradients(x, dy, lengths=lengths),
        "alone": lambda: [rnn.gradients(one, dy[b, : len(one)]) for b, one in enumerate(sequences)],
    }


def medians(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            times[name].append(milliseconds(call))
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("shortest", 5), ("steps", 200), ("batch", 64), ("repeats", 9)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--target", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    elman.threads(given.threads)
    lengths = lengths_of(given.batch, given.steps, given.shortest)
    share = lengths.sum() / (given.batch * given.steps)
    drawn = f"{given.batch} sequences of {given.shortest} to {given.steps} steps, {share:.1%} of the batch"
    print(f"{drawn}; float32, ms, medians of {given.repeats}")
    print(f"{'':22}{'full':>9}{'share':>9}{'padded':>9}{'ratio':>9}{'alone':>9}{'ratio':>9}")
    for cell, size in SIZES:
        rnn = elman.RNN(getattr(elman.cells, cell), input=size, hidden=size, target=given.target)
        x = np.random.default_rng(1).standard_normal((given.batch, given.steps, size)).astype(np.float32)
        for gradient in (False, True):
            found = medians(runs(rnn, x, lengths, gradient), given.repeats)
            wanted = share * found["full"]
            line = f"{cell} {size} {'gradient' if gradient else 'forward'}"
            ratios = {name: f"{found[name] / wanted:9.2f}" for name in ("padded", "alone")}
            print(f"{line:22}{found['full']:9.1f}{wanted:9.1f}", end="")
            print(f"{found['padded']:9.1f}{ratios['padded']}{found['alone']:9.1f}{ratios['alone']}")


if __name__ == "__main__":
    main()
