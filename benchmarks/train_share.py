"""How much of a training step is machine code: milliseconds of a step, of the compiled calls in it, and of all else.

    python benchmarks/train_share.py [--only lstm:128] [--steps 200] [--threads 1 2] [--cpu]

A step is one of `elman.Trainer`, as `elman train` makes it: a batch is taken, forward, loss, backward, the norm of the
gradients, Adam, new parameters. Compiled calls are clocked where they leave Python; when several threads run, until the last
is done. Medians of steps; what is outside is the median of the differences. "Outside" is Python, NumPy, and copies.
"""

import argparse
import os
from functools import cache
from time import perf_counter, thread_time
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is there

import numpy as np
from training import SETTINGS, Setting, trainer

import elman
from elman.targets.llvm import calls, engine, follow
from elman.targets.llvm.crew import crew

SETTINGS = (Setting("elman", 16, 1, 64), *SETTINGS)
WARM = 12
"""Steps before the clock runs: programs compile, and threads prove themselves."""


class Clock:
    """Seconds spent in compiled calls."""

    def __init__(self) -> None:
        self.seconds, self.now = 0.0, perf_counter
        self._compiled = engine.compiled

    def install(self) -> None:
        """Clock every function that is compiled from now on, and the wait for other threads."""
        engine.compiled = self._clocked_code
        compile_crew = type(crew)._compile

        def compiled(its: Any, machine: Any) -> Any:
            functions = compile_crew(its, machine)
            its._functions = functions._replace(finish=self._clocked(functions.finish))
            return its._functions

        type(crew)._compile = compiled
        calls.followed = cache(self._clocked_chain)

    def _clocked_chain(self, machine: Any) -> Any:
        found = follow.followed(machine)
        found.follow.call = self._clocked(found.follow.call)
        return found

    def _clocked_code(self, *given: Any) -> Any:
        code = self._compiled(*given)
        code.call = self._clocked(code.call)
        return code

    def _clocked(self, call: Any) -> Any:
        def clocked(*given: Any) -> Any:
            begun = self.now()
            found = call(*given)
            self.seconds += self.now() - begun
            return found

        return clocked


def measured(clock: Clock, setting: Setting, steps: int) -> tuple[float, float, float]:
    """Milliseconds of a step, of its compiled calls, and outside of these."""
    training, taken, inside = trainer(setting), [], []
    for _ in range(WARM + steps):
        clock.seconds, begun = 0.0, clock.now()
        next(training)
        taken.append(clock.now() - begun)
        inside.append(clock.seconds)
    whole, compiled = np.array(taken[WARM:]) * 1e3, np.array(inside[WARM:]) * 1e3
    return float(np.median(whole)), float(np.median(compiled)), float(np.median(whole - compiled))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="settings whose name begins so")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cpu", action="store_true", help="time of the caller's thread on its core: for a busy machine")
    given = parser.parse_args()
    clock = Clock()
    clock.now = thread_time if given.cpu else perf_counter
    clock.install()
    for setting in (s for s in SETTINGS if str(s).startswith(given.only)):
        for threads in given.threads:
            elman.threads(threads)
            whole, compiled, outside = measured(clock, setting, given.steps)
            share = 100 * outside / (outside + compiled)
            told = f"step {whole:.2f}  compiled {compiled:.2f}  outside {outside:.2f} ms: {share:.1f}% outside"
            print(f"{setting!s:26} {threads} threads  {told}")


if __name__ == "__main__":
    main()
