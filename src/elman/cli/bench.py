"""`elman bench`: what this machine can do, what elman takes of it, and what other libraries take."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elman.cli import shared
from elman.errors import SettingError

if TYPE_CHECKING:
    from rich.console import Console

    from elman.bench.grid import Point, Size
    from elman.bench.report import Found

PROCESSES = ("starts", "memory")
"""Parts beside those of the grid: how processes start, and what a long sequence takes."""


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="A few points, in a minute.")] = False,
    cells: Annotated[str | None, typer.Option(help="Cells in place of those of the grid, such as gru,lstm.")] = None,
    parts: Annotated[
        str | None, typer.Option(help="Those of sequences,tokens,written,steps,pushes,starts,memory; without it, all.")
    ] = None,
    points: Annotated[
        str | None, typer.Option(help="Batch and hidden in place of those of the grid, such as 1x64,32x128.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Time for a point; without it 2, or 0.3 with --quick.")] = None,
    threads: Annotated[
        int | None, typer.Option(help="The most threads; elman then uses so many. Without it, all cores, elman as it likes.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object of all figures, at the end.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw a picture, to a .png, .svg or .pdf file.")] = None,
) -> None:
    """Measure this machine's limits, then elman and the other libraries that are installed, in turns.

    Prints microseconds a step, the limit and its share of them, and for PyTorch, ONNX Runtime (ORT) and JAX the best time
    and how many times that of elman it is. Ctrl-C stops and sums up what is measured.
    """
    from elman.targets import target
    from elman.targets.threads import threads as use

    target("llvm")  # or why it cannot be had, before what needs it is imported
    from elman.bench import grid, picture

    chosen = shared.names_of(parts, "--parts") or [*grid.PARTS, *PROCESSES]
    names = shared.names_of(cells, "--cells")
    unknown = next((part for part in chosen if part not in (*grid.PARTS, *PROCESSES)), None)
    if unknown is not None:
        raise SettingError(f"--parts {unknown}: parts are {', '.join((*grid.PARTS, *PROCESSES))}")
    for name in names or ():
        grid.equations(name)
    sizes = None if points is None else [_size(text) for text in points.split(",")]
    if seconds is not None and not 0 < seconds < float("inf"):
        raise SettingError(f"--seconds {seconds} must be more than 0")
    use(threads)
    if plot is not None:
        picture.check(plot)
    wanted = grid.points(names, [part for part in chosen if part in grid.PARTS], sizes, quick=quick)
    which = [part for part in PROCESSES if part in chosen]
    _run(wanted, which, seconds or (0.3 if quick else 2.0), 1 if quick else 3, threads, as_json=as_json, plot=plot)


def _run(
    points: Sequence["Point"],
    processes: Sequence[str],
    seconds: float,
    times: int,
    threads: int | None,
    *,
    as_json: bool,
    plot: Path | None,
) -> None:
    from elman.bench import peers, picture, rates, report, run
    from elman.targets.llvm.machine import current

    machine, console = current(), shared.console()
    assert machine is not None, "there is a machine to compile for"
    counts = rates.counts(threads)
    measures = run.Bench(peers.installed(), rates.Gauge(machine), counts)
    levels = rates.levels(rates.caches(), counts[-1])
    speeds, spread = measures.levels(levels)
    facts = report.Facts(machine, levels, speeds, measures.peers, counts, seconds, report.load(), spread)
    table, found, stopped = None if as_json else report.Table(console, measures.peers), report.Found(), False
    if not as_json:
        report.head(console, facts)
    try:
        with _bar(console, len(points) + len(processes), quiet=as_json) as tell:
            for point in points:
                tell(f"{point.part}: {point.cell} {point.sizes}")
                found.results.append(measures.measured(point, seconds))
                if table is not None:
                    table.add(found.results[-1])
            _measure_processes(processes, times, found, tell)
    except KeyboardInterrupt:
        stopped = True
    if plot is not None and found.results:
        picture.save(plot, found.results)
    if as_json:
        shared.print_json(report.document(facts, found))
    else:
        report.tell_processes(console, found)
        report.tell_checks(console, found)
        report.tell_busy(console, facts, found.results)
    if stopped:
        raise typer.Exit(130)  # what a shell expects of a command that Ctrl-C has stopped


def _measure_processes(processes: Sequence[str], times: int, found: "Found", tell: Callable[[str], None]) -> None:
    """What is measured in processes of its own."""
    from elman.bench.processes import memory, started

    for part in processes:
        tell(part)
        if part == "starts":
            found.start = started(times)
        else:
            found.memory = memory()


@contextlib.contextmanager
def _bar(console: "Console", total: int, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """How far it is: a bar below the table, or on standard error where that goes elsewhere; nothing if neither is seen."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    seen = console if console.is_terminal and not quiet else Console(stderr=True, markup=False, highlight=False)
    columns = BarColumn(bar_width=12), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
    # It is drawn between points only: a thread that draws would take its share of what is measured.
    bar = Progress(*columns, console=seen, transient=True, auto_refresh=False, disable=not seen.is_terminal)
    with bar:
        task, begun = bar.add_task("", total=total), False

        def tell(what: str) -> None:
            nonlocal begun
            bar.update(task, advance=int(begun), description=what, refresh=True)
            begun = True

        yield tell


def _size(text: str) -> "Size":
    batch, _, hidden = text.strip().partition("x")
    if not all(part.isascii() and part.isdecimal() and int(part) for part in (batch, hidden)):
        raise SettingError(f"--points {text}: batch and hidden are wanted, such as 1x64,32x128")
    return int(batch), int(hidden)
