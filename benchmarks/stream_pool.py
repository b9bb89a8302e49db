"""A pool of streams against as many single streams: steps a second of LSTM 64, each stream with a step at a time.

    python benchmarks/stream_pool.py

Both push the same numbers, turn by turn in one process; a turn is five times the same, and medians count.

The aim is 10. Measured on two shared cores of an Intel Xeon with AVX-512: 24 on the NumPy target, where a single push takes
100 us. Compiled, a single push takes 3.2 us where one stream is pushed again and again and 4.0 to 4.4 in turn with 255
others. A push of all takes 141 us on one thread, 7.2 to 7.6 times (186 us and 5.4 times before pools had a lane), of half
85 (208). On two threads it takes 95 where the other core happens to be idle, 10.5 times, which it seldom was; else 168 to
190. Of 123 us in the kernel products take 70 at their peak, activations 20, states that are brought in and out 5; the rest
is what products lose at their ends.
"""

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import time  # noqa: E402

import numpy as np  # noqa: E402

import elman  # noqa: E402

STREAMS, SIZE, ROUNDS, TURN = 256, 64, 15, 5


def measured(action):
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def main():
    rng = np.random.default_rng(0)
    rnn = elman.RNN(elman.cells.lstm, input=SIZE, hidden=SIZE)
    x = rng.standard_normal((STREAMS, SIZE), dtype=np.float32)
    pool, singles = rnn.streams(STREAMS), [rnn.stream() for _ in range(STREAMS)]
    some = list(range(0, STREAMS, 2))
    ways = {
        f"{STREAMS} single pushes": (STREAMS, lambda: [stream.push(row) for stream, row in zip(singles, x, strict=True)]),
        "one push of all": (STREAMS, lambda: pool.push(x)),
        "one push of every other": (len(some), lambda: pool.push(x[::2], streams=some)),
    }
    times = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (_, action) in ways.items():
            times[name] += [measured(action) for _ in range(TURN)]
    rates = {name: ways[name][0] / float(np.median(taken)) for name, taken in times.items()}
    slowest = rates[f"{STREAMS} single pushes"]
    print(f"LSTM {SIZE}, target {rnn.target}, {os.cpu_count()} cores")
    for name, rate in rates.items():
        print(f"  {name:24} {rate:12,.0f} steps/s  {1e6 / rate:8.2f} us a step  {rate / slowest:6.1f} x")


if __name__ == "__main__":
    main()
