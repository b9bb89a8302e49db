"""What only a process of its own shows: how it starts, with code to compile or not, and how much memory it takes."""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

STEPS = 1_000_000
"""Of the long sequence."""


@dataclass(frozen=True)
class Start:
    """Milliseconds of a new process: `import elman`; the first program, LLVM with it; then lstm, of another size.

    From an RNN to its output. `compiled`: nothing is in the store of programs. `stored`: the program is, and the first too.
    """

    imported: float
    first: float
    compiled: float
    stored: float


HIDDEN, SMALL = 128, 4

START = f"""
import time
begun = time.perf_counter()
import elman, numpy
imported = time.perf_counter() - begun

def first(size):
    x, begun = numpy.ones((8, size), numpy.float32), time.perf_counter()
    elman.RNN(elman.cells.lstm, input=size, hidden=size, target="llvm")(x)
    return time.perf_counter() - begun

print(imported, first({SMALL}), first({HIDDEN}))
"""

MEMORY = f"""
import sys
from pathlib import Path
import numpy, elman

def most():
    told = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in told if line.startswith("VmHWM")) << 10

steps = int(sys.argv[1])
rnn = elman.RNN(elman.cells.lstm, input=96, hidden={HIDDEN}, target="llvm")
tokens = numpy.random.default_rng(0).integers(0, 96, steps)
rnn.stream().push(tokens[:2])
before, stream = most(), rnn.stream()
for start in range(0, steps, 10_000):
    stream.push(tokens[start : start + 10_000])
print(stream.steps, most() - before)
"""


def started(times: int) -> Start:
    """Start processes, each first with an empty store and then again; medians."""
    runs = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as store:
            runs.append([_run(START, store) for _ in range(2)])
    imported = median(found[0] for run in runs for found in run)
    first, stored = (median(run[1][k] for run in runs) for k in (1, 2))
    return Start(1e3 * imported, 1e3 * first, 1e3 * median(run[0][2] for run in runs), 1e3 * stored)


def memory(steps: int = STEPS) -> float | None:
    """Bytes by which a process grows while lstm 128 reads so many tokens, chunk by chunk; None where nothing tells it."""
    if not Path("/proc/self/status").exists():
        return None
    with tempfile.TemporaryDirectory() as store:
        _run(MEMORY, store, "1")  # compiles, which takes memory of its own
        read, grown = _run(MEMORY, store, str(steps))
    assert read == steps, "all were read"
    return grown


def _run(code: str, store: str, *arguments: str) -> list[float]:
    """Run code in a process that imports this package; the numbers that it prints."""
    source = str(Path(__file__).parent.parent.parent)
    path = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
    here = os.environ | {"PYTHONPATH": path, "ELMAN_CACHE": store}
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=here, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]
