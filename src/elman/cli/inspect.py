"""`elman inspect`: every named value of a model at each position of a text."""

import os
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from elman.cli import shared
from elman.errors import SettingError
from elman.io import csv, npz
from elman.io.atomic import check_writable
from elman.viz import plain

WRITERS = {".npz": npz.write, ".csv": csv.write}


def inspect(
    text: shared.TextArgument = None,
    file: shared.FileOption = None,
    model: shared.ModelOption = None,
    values: Annotated[str | None, typer.Option(help="Values to show, such as h,f; without it, their names.")] = None,
    units: Annotated[str | None, typer.Option(help="Show these units as numbers, such as 0,3,7.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write all units to a .npz or .csv file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a position, with all units.")] = False,
) -> None:
    """Show every named value at each position of a text: gates, states, logits, under their names in the equations."""
    from elman.viz import terminal
    from elman.viz import values as viz

    names, chosen = shared.names_of(values, "--values", "; without it, they are listed"), _numbers(units)
    _check_options(names, chosen, output, as_json)
    net = shared.opened(model)
    vocabulary = shared.vocabulary_of(net, speaks=False)
    if names is None and text is None and file is None:
        viz.listed(shared.console(), net)
        return
    tokens = vocabulary.encode(shared.content_of(text, file, as_bytes=vocabulary.kind == "bytes"))
    if names is None:
        viz.listed(shared.console(), net)
        return
    once = [name for name in names if net.head.once and name not in net.rnn.values]
    if once:
        raise SettingError(f"--values {once[0]}: this model reads a text once, so {once[0]} has no positions; use Python")
    if output is not None:
        _check_output(output, file, model)
    with np.errstate(all="ignore"):  # what is not finite is shown as it is
        found = net.inspect(tokens, keep=names)
    if output is not None:
        WRITERS[output.suffix](output, tokens, [terminal.exact(vocabulary, int(token)) for token in tokens], found)
        told = f"{', '.join(names)} at {len(tokens):,} position{'s' * (len(tokens) != 1)}, {output.stat().st_size:,} bytes"
        shared.console().print(f"saved {plain(str(output))} ({told})")
    elif as_json:
        for row in viz.positions(vocabulary, tokens, found):
            shared.print_json(row)
    else:
        viz.table(shared.console(), vocabulary, tokens, found, chosen)


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    numbers = [number.strip() for number in text.split(",")]
    if not all(number.isascii() and number.isdecimal() for number in numbers):
        raise SettingError(f"--units {text!r}: numbers of units are wanted, with commas between them, such as 0,3,7")
    return [int(number) for number in numbers]


def _check_options(names: list[str] | None, units: list[int] | None, output: Path | None, as_json: bool) -> None:
    given = {"--units": units is not None, "--output": output is not None, "--json": as_json}
    options = [option for option, asked in given.items() if asked]
    if options and names is None:
        raise SettingError(f"{options[0]} wants --values; without both, the names of the values are listed")
    if len(options) > 1:
        raise SettingError(f"give either {' or '.join(options)}; --units is for the table, the others hold every unit")


def _check_output(output: Path, *read: Path | None) -> None:
    """Before the work: whether it can be written, and is none of the files to read."""
    if output.suffix not in WRITERS:
        raise SettingError(f"--output {output}: {' and '.join(WRITERS)} are known, by the end of the name")
    check_writable(output)
    if os.path.realpath(output) in [os.path.realpath(path) for path in read if path is not None]:
        raise SettingError(f"{output} is a file to read; write to another")
