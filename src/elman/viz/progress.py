"""Training on the terminal: a live bar with the loss, the speed and the time left; plain lines in a pipe."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from elman.model import Model
from elman.train import Progress
from elman.viz import plain

RECENT = 50
"""Updates over which the loss that is shown is about the mean."""


def follow(
    console: Console,
    model: Model,
    updates: Iterator[Progress],
    steps: int,
    unit: str,
    per_symbol: float,
    sample_every: int,
) -> int:
    """Follow updates with a live bar (lines where it is no terminal) to their end, or until a stop is asked for.

    `unit` is what a loss is told in, of which a symbol has `per_symbol`. Returns how many updates were done.
    """
    done, mean = 0, 0.0
    bar = Bar(BarColumn(bar_width=12), MofNCompleteColumn(), TextColumn("{task.description}"), console=console)
    with _stopping() as stopped, bar if console.is_terminal else contextlib.nullcontext():
        task = bar.add_task("", total=steps)
        for now in updates:
            done = now.step
            mean += (now.bits / per_symbol - mean) * max(1 / done, 1 / RECENT)
            left = timedelta(seconds=round((steps - done) * now.seconds / done))
            text = f"{mean:.3f} {unit}  {now.symbols / max(now.seconds, 1e-9):,.0f} symbols/s  {left} left"
            bar.update(task, completed=done, description=text)
            if not console.is_terminal and (done % 100 == 0 or done in (1, steps)):
                console.print(f"{done:>6}/{steps} {text}")
            if sample_every and done % sample_every == 0 and done < steps:
                console.print(Text(_sample(model, done), style="dim"), overflow="ellipsis", no_wrap=True, soft_wrap=False)
            if stopped():
                break
    return done


@contextlib.contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C, a polite end (SIGTERM) or a closed terminal asks to stop; asked again, it stops where it is."""
    asked = False

    def stop(*_: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, stop)
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _sample(model: Model, done: int) -> str:
    """One line of what the model writes by now."""
    vocabulary = model.vocabulary
    assert vocabulary is not None, "text was encoded, so there is one"
    drawn = list(model.sample(vocabulary.encode(" "), 70, temperature=0.7, seed=1))
    text = plain(vocabulary.decode(np.array(drawn))).replace("\n", "\\n")
    return f"{done:>6}: {text}"
