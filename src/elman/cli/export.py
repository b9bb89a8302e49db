"""`elman export`: a model as files that run without this library."""

from pathlib import Path
from typing import Annotated

import typer

from elman.cli import shared
from elman.errors import SettingError
from elman.viz import plain


def export(
    model: Annotated[Path | None, typer.Argument(help="Model file; without it, the one that comes along.")] = None,
    to: Annotated[str, typer.Option(help="What to write; c: a header and a source of C99.")] = "c",
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder; or in one, the name of the files.")] = Path(),
    name: Annotated[
        str | None,
        typer.Option(help="What the files are called and the program's names begin with; without it, as in -o, or model."),
    ] = None,
) -> None:
    """Write a model as a program that needs neither this library nor any other.

    It runs step after step, as a stream does, and brings a test with steps that the model has run here; its first lines tell
    its sizes and how to compile it.
    """
    from elman.export import c_name, to_c

    if to != "c":
        raise SettingError(f"--to {to}: nothing of this kind is written; it is c")
    shared.check_output(output, {"the model": model})
    if name is None:
        output, name = (output, "model") if output.is_dir() else (output.parent, c_name(output.stem))
    program = to_c(shared.opened(model), name=name)
    for path in program.paths(output):
        shared.check_output(path, {"the model": model})
    written = program.save(output)
    told = ", ".join(f"{path} ({path.stat().st_size:,} bytes)" for path in written)
    shared.console().print(f"saved {plain(told)}")
