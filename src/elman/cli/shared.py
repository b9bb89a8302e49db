"""What several commands share: the console, the model, the text to read, sizes of a cell, JSON."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.corpus import decoded, read_bytes
from elman.errors import ModelFileError, SettingError, TextError
from elman.files import load
from elman.model import Model
from elman.text import Vocabulary
from elman.trace import Cell

if TYPE_CHECKING:
    from rich.console import Console

TextArgument = Annotated[str | None, typer.Argument(help="Text to read, or - for standard input.")]
FileOption = Annotated[Path | None, typer.Option("--file", "-f", help="Read the text from a file.")]
ModelOption = Annotated[Path | None, typer.Option("--model", "-m", help="Model file; without it, the one that comes along.")]
CellSizeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--cell-size", help="A further size of the cell, such as projection=64; repeatable.", rich_help_panel="Model"
    ),
]

OTHERWISE = "take a model trained with --vocabulary bytes"
"""What else helps where text is no UTF-8."""


def console() -> "Console":
    """Where to print: words wrap where a person reads; in a pipe a line is a line."""
    from rich.console import Console

    made = Console(markup=False, highlight=False, emoji=False)
    made.soft_wrap = not made.is_terminal
    return made


def print_json(entry: Any) -> None:
    """One line of JSON, in letters that the output has."""
    escaped = "utf" not in (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    print(json.dumps(entry, ensure_ascii=escaped))


def opened(path: Path | None) -> Model:
    """The model at a path, or the one that comes along."""
    if path is not None:
        return load(path)
    with resources.as_file(resources.files("elman") / "models" / "default.safetensors") as default:
        return load(default)


def check_output(output: Path, others: Mapping[str, Path | None]) -> None:
    """Raises `SettingError` where an output would take the place of another file, of these by what they are."""
    for told, path in others.items():
        if path is not None and os.path.realpath(output) == os.path.realpath(path):
            raise SettingError(f"{output} is {told}; write to another file")


def vocabulary_of(net: Model, *, speaks: bool = True) -> Vocabulary:
    """What a model reads text with, where it `speaks` also what it says. Raises `ModelFileError` where there is none."""
    if net.vocabulary is None:
        raise ModelFileError("this model has no vocabulary, so it cannot read text; use it from Python")
    if speaks and net._next_shape != (net.word_dim,):
        raise ModelFileError("this model gives something else than the next symbol; use it from Python, or elman inspect")
    return net.vocabulary


def content_of(text: str | None, file: Path | None, *, as_bytes: bool) -> str | bytes:
    """The text to read, from the one place that is named."""
    if (text is None) == (file is None):
        raise SettingError("give either TEXT, or -f FILE, or - for standard input")
    if text is not None and text != "-":
        return typed(text, "TEXT", as_bytes=as_bytes)
    if file is not None:
        data, name, fix = read_bytes(file), f"{file}: ", "convert the file"
    else:
        data, name, fix = sys.stdin.buffer.read() if sys.stdin is not None else b"", "standard input: ", "convert it"
    content = data if as_bytes else decoded(data, name, fix, OTHERWISE).removeprefix("\ufeff")
    if not content:
        raise TextError("the text is empty; at least one symbol is wanted")
    return content


def typed(text: str, name: str, *, as_bytes: bool) -> str | bytes:
    """Text from the command line, where Python hides bytes that are no UTF-8 in lone surrogates."""
    if not text:
        raise TextError(f"{name} is empty; at least one symbol is wanted")
    data = text.encode("utf-8", "surrogateescape")
    return data if as_bytes else decoded(data, f"{name}: ", "convert it", OTHERWISE)


def names_of(text: str | None, option: str, otherwise: str = "") -> list[str] | None:
    """Names with commas between them, each once; None where the option is not given. Raises `SettingError`."""
    if text is None:
        return None
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    if "" in names:
        raise SettingError(f"{option} {text!r}: names are wanted, with commas between them{otherwise}")
    return names


def further_sizes(cell: Cell) -> list[str]:
    """Names of the sizes of a cell that no option of their own gives."""
    return [name for name in cell.sizes if name not in ("input", "hidden")]


def cell_sizes(given: Sequence[str] | None) -> dict[str, Any]:
    """Sizes by name, from `name=number`. Raises `SettingError` for what is not of that form."""
    sizes: dict[str, Any] = {}
    for text in given or ():
        name, _, number = text.partition("=")
        if not (name.isidentifier() and number.isascii() and number.isdecimal()):
            raise SettingError(f"--cell-size {text}: a name and a number are wanted, such as projection=64")
        sizes[name] = int(number)
    return sizes


def check_cell_sizes(cell: Cell, sizes: Mapping[str, int]) -> None:
    """Raises `SettingError` for a further size that the cell does not have."""
    further = further_sizes(cell)
    unknown = next((name for name in sizes if name not in further), None)
    if unknown is not None:
        known = f"its further sizes are {', '.join(further)}" if further else "it has no further sizes"
        raise SettingError(f"--cell-size {unknown}={sizes[unknown]}: {cell.name} does not ask for it; {known}")
