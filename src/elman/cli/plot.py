"""`elman plot`: the learning curves of runs."""

from pathlib import Path
from typing import Annotated

import typer

from elman.cli import shared
from elman.viz import plain


def plot(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, or their logs.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .png, .svg or .pdf file.")] = Path("curves.png"),
) -> None:
    """Draw the learning curves of runs: training and validation, and the norm of the gradients."""
    from elman.runs import LOG
    from elman.viz import curves

    curves.check(output)
    logs = [path / LOG if path.is_dir() else path for path in runs]
    names = curves.names([log.resolve().parent for log in logs])
    found = [curves.read(log, name) for log, name in zip(logs, names, strict=True)]
    curves.save(output, found)
    last = max(int(run.steps[-1]) for run in found)
    counts = f"{len(found)} run{'s' * (len(found) != 1)}, {last:,} update{'s' * (last != 1)}"
    shared.console().print(f"saved {plain(str(output))}: {counts}")
