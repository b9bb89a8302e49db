"""Numbers near zero: what a step takes where inputs and states are denormal, against what it takes where they are not.

    python benchmarks/denormals.py

Silence is like that: without an input a state decays to denormal numbers, on which a processor may take a hundred times as
long. The same weights and sizes on one thread, float32, biases 0; the medians of turns. `share`: how much of the output is
denormal.
"""

import time

import numpy as np

import elman

CELLS, SIZES, STEPS, ROUNDS = ("elman", "gru", "lstm", "indrnn"), (64, 256), 200, 9


def measured(action, *given):
    began = time.perf_counter()
    action(*given)
    return time.perf_counter() - began


def pushed(rnn, x, state):
    stream = rnn.stream(state)
    for step in x:
        stream.push(step)


def ways(cell, size):
    rng = np.random.default_rng(0)
    rnn = elman.RNN(elman.cells.CELLS[cell], input=size, hidden=size)
    rnn.update({name: np.zeros_like(value) for name, value in rnn.parameters.items() if name.startswith("b")})
    x = rng.standard_normal((STEPS, size), dtype=np.float32)
    state = {name: rng.standard_normal(size, dtype=np.float32) for name in rnn.initial_state()}
    small = np.float32(1e-40)
    tiny = {name: small * value for name, value in state.items()}
    return rnn, {
        "normal": (x, state),
        "denormal": (small * x, tiny),
        "silence after denormal": (np.zeros_like(x), tiny),
    }


def main():
    elman.threads(1)
    print(f"target {elman.RNN(elman.cells.elman, input=1, hidden=1).target}, us a step, and the ratio to normal numbers")
    for cell in CELLS:
        for size in SIZES:
            rnn, given = ways(cell, size)
            smallest = np.finfo(np.float32).tiny
            times = {(name, how): [] for name in given for how in ("sequence", "stream")}
            for _ in range(ROUNDS):
                for name, (x, state) in given.items():
                    times[name, "sequence"].append(measured(rnn, x, state))
                    times[name, "stream"].append(measured(pushed, rnn, x, state))
            for name, (x, state) in given.items():
                y, _ = rnn(x, state)
                share = np.mean((y != 0) & (np.abs(y) < smallest))
                told = f"  {cell:7} {size:4}  {name:22}  share {share:4.2f}"
                for how in ("sequence", "stream"):
                    taken, usual = (float(np.median(times[n, how])) for n in (name, "normal"))
                    told += f"   {how} {1e6 * taken / STEPS:8.2f} {taken / usual:6.1f} x"
                print(told)


if __name__ == "__main__":
    main()
