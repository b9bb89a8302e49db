"""How far the words of the LLVM target are from exact, and how fast they are; NumPy beside them.

    python benchmarks/activation_errors.py [--stride 2999] [--points 200000]

Errors are in units in the last place. float32: every `stride`th of all numbers (1 takes all, and half an hour) and a million
where the function is not flat, against float64; the worst are confirmed with mpmath. float64: a quarter of the points of
every size, the rest where the function is not flat and where its approximation changes, against mpmath. Times are for 16
numbers that stay in the first cache, one thread, best of 30. Needs llvmlite and mpmath.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from elman.gates import GATES
from elman.targets.llvm.words import WORDS
from words import ARITY, CPUS, EXACT, Functions, sample, ulps, ulps_by_double

WIDTHS = {"float32": 16, "float64": 8} if llvm.get_host_cpu_features().get("avx512f") else {"float32": 8, "float64": 4}
CHUNK = 1 << 22


def finite(name: str, x: np.ndarray) -> np.ndarray:
    return x[np.isfinite(x) & ((x > 0) if name == "log" else True)]


def chunks(name: str, stride: int) -> Iterator[np.ndarray]:
    yield finite(name, sample(name, "float32", 1_000_000, 1))
    for start in range(0, 1 << 32, CHUNK * stride):
        bits = np.arange(start, min(start + CHUNK * stride, 1 << 32), stride, np.int64)
        yield finite(name, bits.astype(np.uint32).view(np.float32))


def worst_float32(name: str, call, stride: int) -> tuple[float, float, int]:
    """The largest error, where, and of how many numbers."""
    worst, count = [np.zeros(1, np.float32)], 0
    for x in chunks(name, stride):
        if len(x):
            worst.append(x[np.argsort(ulps_by_double(name, x, call(x)))[-5:]])
            count += len(x)
    x = finite(name, np.concatenate(worst))
    error = ulps(name, x, call(x))
    return error.max(), x[error.argmax()], count


def worst_float64(name: str, call, x: np.ndarray) -> tuple[float, float, int]:
    error = ulps(name, x, call(x))
    return error.max(), x[error.argmax()], len(x)


def lstm(v, i, f, g, o, c):
    """What an LSTM does to its gates: five activations, and the products around them."""
    sigmoid, tanh = WORDS["sigmoid"], WORDS["tanh"]
    c = v.fma(sigmoid(v, f), c, v.multiply(sigmoid(v, i), tanh(v, g)))
    return v.multiply(sigmoid(v, o), tanh(v, c))


def numpy_lstm(i, f, g, o, c):
    sigmoid = GATES["sigmoid"].forward
    return sigmoid(o) * np.tanh(sigmoid(f) * c + sigmoid(i) * np.tanh(g))


def nanoseconds(call, *arrays: np.ndarray) -> float:
    times = []
    for _ in range(30):
        started = time.perf_counter()
        for _ in range(10):
            call(*arrays)
        times.append(time.perf_counter() - started)
    return 1e9 * min(times) / 10 / len(arrays[0]) * 16


def told(error: float, x: float) -> str:
    return f"{error:<{6}.{'2f' if error < 100 else '0e'}} at {x:<16.9g}"


def errors(dtype: str, stride: int, points: int) -> None:
    functions = Functions(WORDS, dtype, WIDTHS[dtype])
    print(f"\n{dtype:10}{'elman':28}{'numpy':28}checked")
    for name in EXACT:
        rows = []
        for call in (lambda x, name=name: functions(name, x), GATES[name].forward):
            with np.errstate(all="ignore"):
                if dtype == "float32":
                    rows.append(worst_float32(name, call, stride))
                else:
                    rows.append(worst_float64(name, call, finite(name, sample(name, dtype, points))))
        print(f"{name:10}{'  '.join(told(*row[:2]) for row in rows)}  {rows[0][2]:.1e}", flush=True)


def times(dtype: str) -> None:
    machines = [(CPUS[0], WIDTHS[dtype]), (CPUS[1], 8 if dtype == "float32" else 4)]
    words, arity = {**WORDS, "lstm": lstm}, {**ARITY, "lstm": 5}
    compiled = [Functions(words, dtype, width, cpu, arity) for cpu, width in machines]
    rng = np.random.default_rng(0)
    arrays = (2 * rng.standard_normal((5, 2048))).astype(dtype)
    heads = "".join(f"{f'{cpu}, {width} lanes':>22}" for cpu, width in machines)
    print(f"\n{dtype:10}{heads}{'numpy':>12}   ns for 16")
    for name in (*EXACT, "lstm"):
        given = arrays if name == "lstm" else np.abs(arrays[:1]) if name == "log" else arrays[:1]
        ours = "".join(f"{functions.nanoseconds(name, *given):22.2f}" for functions in compiled)
        print(
            f"{name:10}{ours}{nanoseconds(numpy_lstm if name == 'lstm' else GATES[name].forward, *given):12.2f}", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stride", type=int, default=2999)
    parser.add_argument("--points", type=int, default=200_000)
    given = parser.parse_args()
    print("largest errors, units in the last place")
    for dtype in WIDTHS:
        errors(dtype, given.stride, given.points)
    for dtype in WIDTHS:
        times(dtype)


if __name__ == "__main__":
    main()
