"""Learning curves: what runs told in their logs, as a picture."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elman.errors import DataError, MissingLibraryError, SettingError
from elman.gates import Array
from elman.io.atomic import check_writable, replacing
from elman.journal import entries

SUFFIXES = (".png", ".svg", ".pdf")
COLOURS = ("#c1272d", "#2a6f97", "#e8871e", "#5b8c5a", "#7b4b94", "#444444", "#b08968", "#00a6a6")
REACH = 1 / 40
"""The line through losses is their mean as far as this share of them, before and behind."""


@dataclass(frozen=True)
class Curves:
    """What is drawn of a run: steps, bits and norms of updates, and steps and bits of validation."""

    name: str
    steps: Array
    bits: Array
    norms: Array
    measured: Array
    validation: Array


def read(log: Path, name: str) -> Curves:
    """The curves of a log. Raises `CheckpointError` for a file that is none, `DataError` where no update is told."""
    found = list(entries(log))
    updates = [entry for entry in found if "bits" in entry]
    measured = [entry for entry in found if entry.get("validation") is not None]
    if not updates:
        raise DataError(f"{log} tells of no update yet, so there is nothing to draw")

    def column(told: Sequence[dict[str, Any]], key: str) -> Array:
        return np.array([entry.get(key, np.nan) for entry in told], float)

    return Curves(
        name,
        column(updates, "step"),
        column(updates, "bits"),
        column(updates, "norm"),
        column(measured, "step"),
        column(measured, "validation"),
    )


def names(folders: Sequence[Path]) -> list[str]:
    """What runs are called: the ends of their paths, as long as it takes to tell them apart.

    >>> names([Path("/a/slow/run"), Path("/a/fast/run")]), names([Path("/a/slow"), Path("/a/fast")])
    (['slow/run', 'fast/run'], ['slow', 'fast'])
    """
    depth, different = 1, len(set(folders))
    found = [folder.name for folder in folders]
    while len(set(found)) < different:
        depth += 1
        found = ["/".join(folder.parts[-depth:]) for folder in folders]
    return found


def smoothed(values: Array, reach: int) -> Array:
    """The mean of each value and of as many before it as behind it, at most `reach`: a curve that does not lag behind.

    >>> smoothed(np.array([4.0, 2.0, 0.0, 4.0]), 1)
    array([4., 2., 2., 4.])
    """
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    each = np.minimum(reach, np.minimum(at, at[::-1]))
    means: Array = (sums[at + each + 1] - sums[at - each]) / (2 * each + 1)
    return means


def check(path: Path) -> None:
    """Find out before the work whether there can be a picture at this path.

    Raises `SettingError` for a name that tells no format, `ModelFileError` where nothing can be written.
    """
    if path.suffix not in SUFFIXES:
        raise SettingError(f"--output {path}: {', '.join(SUFFIXES)} are known, by the end of the name")
    check_writable(path)


def save(path: Path, runs: Sequence[Curves]) -> None:
    """Draw the curves of runs, and write the picture in one step: bits above, norms of the gradients below.

    Raises `MissingLibraryError` without matplotlib, `ModelFileError` where the picture cannot be written.
    """
    figure = _figure()(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for place, run in enumerate(runs):
        colour, alone = COLOURS[place % len(COLOURS)], "o" if len(run.steps) == 1 else ""  # one update makes no line
        above.plot(run.steps, run.bits, color=colour, alpha=0.2, linewidth=0.8)
        above.plot(
            run.steps,
            smoothed(run.bits, round(REACH * len(run.bits))),
            color=colour,
            linewidth=1.5,
            marker=alone,
            markersize=4,
            label=f"{run.name}: training",
        )
        if len(run.measured):
            above.plot(run.measured, run.validation, "o--", color=colour, markersize=4, label=f"{run.name}: validation")
        below.plot(run.steps, run.norms, color=colour, linewidth=0.8, marker=alone, markersize=4)
    above.set_ylabel("bits a symbol")
    above.legend(fontsize=8)
    below.set_yscale("log", subs=(2, 5))
    below.yaxis.set_major_formatter("{x:g}")
    below.yaxis.set_minor_formatter("{x:g}")
    below.set_ylabel("norm of gradients")
    below.set_xlabel("update")
    for axes in (above, below):
        axes.grid(alpha=0.3)
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:], dpi=120)


def _figure() -> Any:
    try:
        return importlib.import_module("matplotlib.figure").Figure
    except ImportError:
        raise MissingLibraryError('elman plot needs the library matplotlib: pip install "elman[plot]"') from None
