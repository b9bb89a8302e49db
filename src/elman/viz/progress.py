"""Training on the terminal: a live bar with the loss, the speed and the time left; plain lines in a pipe."""

import contextlib
import json
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from elman.model import Model
from elman.train import Progress


def follow(
    console: Console, net: Model, updates: Iterator[Progress], steps: int, per_symbol: float, sample_every: int
) -> int:
    """Follow the updates with a live bar (lines where it is no terminal); returns how many were done."""
    done, smooth = 0, float("nan")
    columns = BarColumn(bar_width=16), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn()
    bar = Bar(*columns, console=console)
    with _interruptible(), bar if console.is_terminal else contextlib.nullcontext():
        task = bar.add_task("", total=steps)
        try:
            for now in updates:
                done = now.step
                smooth = now.bits if np.isnan(smooth) else 0.98 * smooth + 0.02 * now.bits
                rate = now.symbols / max(now.seconds, 1e-9)
                text = f"{smooth / per_symbol:.3f} bits  {rate:,.0f} symbols/s"
                bar.update(task, completed=done, description=text)
                if not console.is_terminal and (done % 100 == 0 or done in (1, steps)):
                    left = (steps - done) * now.seconds / done
                    console.print(f"{done:>6}/{steps} {text}  {left:,.0f} s left", highlight=False, soft_wrap=True)
                if sample_every and done % sample_every == 0 and done < steps:
                    console.print(_sample(net), markup=False, highlight=False, style="dim", soft_wrap=True)
        except KeyboardInterrupt:
            console.print(f"stopped after {done} of {steps} updates", highlight=False)
    return done


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let a polite end (SIGTERM) stop the training as Ctrl-C does."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _sample(net: Model) -> str:
    """One line of what the model writes by now."""
    vocabulary = net.vocabulary
    assert vocabulary is not None, "text was encoded, so there is one"
    start = vocabulary.encode(" ")
    drawn = list(net.sample(start, 70, temperature=0.7, seed=1))
    text: str = json.dumps(vocabulary.decode(np.array(drawn)), ensure_ascii=False)
    return f"  {text}"
