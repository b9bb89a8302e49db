"""The picture of a run: for every point how many times as long as the machine's limit elman and the peers take."""

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elman.bench.problems import OURS
from elman.bench.run import TWIN, Result
from elman.errors import MissingLibraryError, SettingError
from elman.io.atomic import check_writable, replacing

SUFFIXES = (".png", ".svg", ".pdf")
LOOKS = {
    OURS: ("o", "#c1272d"),
    TWIN: ("x", "#7a5195"),
    "PyTorch": ("D", "#e8871e"),
    "ORT": ("s", "#2a6f97"),
    "JAX": ("^", "#5b8c5a"),
}
"""Markers and colours; a new peer gets what is left."""

COLUMNS = (("sequences",), ("tokens",), ("written", "steps", "pushes"))
"""Which parts stand below one another."""

ROW, EDGE = 0.19, 6
"""Inches of a row, and the rows that the title and the axis of a panel take."""


@dataclass(frozen=True)
class Panel:
    """What is drawn of a part: a label for every row, and by name the times of each row as multiples of its limit."""

    part: str
    rows: Sequence[str]
    times: Mapping[str, Sequence[float]]


def check(path: Path) -> None:
    """Find out before the work whether there can be a picture at this path.

    Raises `SettingError` for a name that tells no format, `MissingLibraryError` without matplotlib, `ModelFileError` where
    nothing can be written.
    """
    if path.suffix not in SUFFIXES:
        raise SettingError(f"--plot {path}: {', '.join(SUFFIXES)} are known, by the end of the name")
    _figure()
    check_writable(path)


def panel(part: str, results: Sequence[Result]) -> Panel:
    """What is drawn of the results of a part; NaN for a time that was not measured, and where there is no limit."""
    found = [{OURS: r.us, **{name: us for name, (_, us) in r.best.items()}} for r in results]
    found = [us if r.twin is None else us | {TWIN: r.twin[1]} for us, r in zip(found, results, strict=True)]
    names = dict.fromkeys(name for us in found for name in us)
    times = {n: [us.get(n, math.nan) / (r.limit or math.nan) for us, r in zip(found, results, strict=True)] for n in names}
    return Panel(part, [f"{r.point.cell} {r.point.sizes}: {r.us:.3g} us" for r in results], times)


def save(path: Path, results: Sequence[Result]) -> None:
    """Draw the results, and write the picture in one step."""
    parts: dict[str, list[Result]] = {}
    for result in results:
        parts.setdefault(result.point.part, []).append(result)
    columns = [[panel(part, parts[part]) for part in column if part in parts] for column in COLUMNS]
    columns = [column for column in columns if column]
    heights = [[len(each.rows) + EDGE for each in column] for column in columns]
    tallest = max(map(sum, heights))
    figure = _figure()(figsize=(5.5 * len(columns), ROW * tallest), layout="constrained")
    whole = figure.add_gridspec(1, len(columns))
    for k, (column, each) in enumerate(zip(columns, heights, strict=True)):
        below = tallest - sum(each)
        places = whole[k].subgridspec(len(each) + (below > 0), 1, height_ratios=[*each, *([below] if below else [])])
        for place, drawn in enumerate(column):
            _draw(figure.add_subplot(places[place]), drawn)
    shown = {name: line for axes in figure.axes for line, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(shown.values(), shown.keys(), loc="outside upper left", ncols=len(shown), fontsize=8)
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:], dpi=120)


def _draw(axes: Any, drawn: Panel) -> None:
    """Points from top to bottom, times from left to right."""
    places = range(len(drawn.rows))
    for name, times in drawn.times.items():
        marker, colour = LOOKS.get(name, ("v", None))
        axes.plot(times, places, marker, color=colour, markersize=5, label=name)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(list(places), drawn.rows, fontsize=7)
    axes.set_ylim(len(drawn.rows) - 0.5, -0.5)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_xlabel("time of a step / its limit", fontsize=7)
    axes.set_title(f"{drawn.part}: time / limit of this machine", fontsize=9)
    axes.grid(alpha=0.3)


def _figure() -> Any:
    try:
        return importlib.import_module("matplotlib.figure").Figure
    except ImportError:
        raise MissingLibraryError('--plot needs the library matplotlib: pip install "elman[bench]"') from None
