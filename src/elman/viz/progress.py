"""Training on the terminal: a live bar with the loss, the speed and the time left; plain lines in a pipe."""

import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from elman.model import Model
from elman.trainer import Progress
from elman.viz import plain

RECENT = 50
"""Updates over which the loss that is shown is about the mean."""

EVERY = 0.1
"""Seconds between two looks of the bar: told after every update, it would take as long as a small model's."""

LONGEST = "1.234 bits/char  norm 1.23e-05  123,456 symbols/s  0:00:00 left"


def follow(
    console: Console,
    updates: Iterable[Progress],
    steps: int,
    unit: str,
    per_symbol: float,
    sample_every: int,
    sample: Callable[[], str],
) -> tuple[int, int]:
    """Follow updates with a live bar (lines where it is no terminal) to their end, or until a stop is asked for.

    `unit` is what a loss is told in, of which a symbol has `per_symbol`. Every so many updates a `sample` is shown. Returns
    the step of the last update, and the signal that asked for a stop, or 0.
    """
    mean, seen, shown, done = 0.0, 0, -EVERY, 0
    began: Progress | None = None
    bar = Bar(
        BarColumn(bar_width=_room(console, steps)), MofNCompleteColumn(), TextColumn("{task.description}"), console=console
    )
    with _stopping() as stopped, bar if console.is_terminal else contextlib.nullcontext():
        task = bar.add_task("", total=steps)
        for now in updates:
            seen, done = seen + 1, now.step
            mean += (now.bits / per_symbol - mean) * max(1 / seen, 1 / RECENT)
            last = now.step == steps or bool(stopped())
            if console.is_terminal and (last or now.seconds - shown >= EVERY):
                bar.update(task, completed=now.step, description=_told(now, began, mean, unit, steps))
                shown = now.seconds
            elif not console.is_terminal and (last or now.step % 100 == 0 or seen == 1):
                console.print(f"{now.step:>6}/{steps} {_told(now, began, mean, unit, steps)}")
            began = began or now
            if sample_every and now.step % sample_every == 0 and now.step < steps:
                line = Text(f"{now.step:>6}: {sample()}", style="dim")
                console.print(line, overflow="ellipsis", no_wrap=True, soft_wrap=False)
            if stopped():
                break
    return done, stopped()


def _told(now: Progress, began: Progress | None, mean: float, unit: str, steps: int) -> str:
    """The loss, the norm of the gradients, the speed since `began`, and the time that is left at that speed."""
    first = began or replace(now, step=0, symbols=0, seconds=0.0)
    seconds = max(now.seconds - first.seconds, 1e-9)
    left = timedelta(seconds=round((steps - now.step) * seconds / max(now.step - first.step, 1)))
    norm = f"{now.norm:#.3g}".rstrip(".")
    speed = f"{(now.symbols - first.symbols) / seconds:,.0f} symbols/s"
    return f"{mean:.3f} {unit}  norm {norm}  {speed}  {left} left"


def _room(console: Console, steps: int) -> int:
    """Columns for the bar itself: what the longest text beside it leaves."""
    return min(12, max(3, console.width - 2 * len(str(steps)) - len(LONGEST) - 3))


@contextlib.contextmanager
def _stopping() -> Iterator[Callable[[], int]]:
    """Which of Ctrl-C, a polite end (SIGTERM) and a closed terminal asks to stop; asked again, it stops where it is."""
    asked = 0

    def stop(number: int, *_: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = number

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


def sample_of(model: Model) -> str:
    """One line of what a model writes."""
    vocabulary = model.vocabulary
    assert vocabulary is not None, "text was encoded, so there is one"
    drawn = list(model.sample(vocabulary.encode(" "), 70, temperature=0.7, seed=1))
    return plain(vocabulary.decode(np.array(drawn))).replace("\n", "\\n")
