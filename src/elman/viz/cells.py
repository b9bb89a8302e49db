"""Cells for a person and for a script: formula and source, sizes, states, parameters, and the equations as written."""

import ast
import inspect
import math
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from elman.shapes import resolve
from elman.trace import Cell
from elman.viz.terminal import say

Facts = dict[str, Any]


def facts(cell: Cell, sizes: Mapping[str, int]) -> Facts:
    """A cell as plain data; sizes that are not given are those of the state.

    Raises `SettingError` or `CellError` for sizes at which there is no such cell.
    """
    used = {name: sizes.get(name, sizes["hidden"]) for name in cell.sizes}
    graph, (formula, notes, source) = cell.graph(**used), _told(cell)
    year = re.search(r"\b(?:19|20)\d\d\b", source)
    return {
        "name": cell.name,
        "formula": formula,
        "notes": notes,
        "source": source,
        "year": int(year[0]) if year else None,
        "sizes": used,
        "input": {name: list(cell.input.shape) for name in graph.leaves("input")},
        "states": {name: list(declared.shape) for name, declared in cell.states.items()},
        "parameters": {name: list(declared.shape) for name, declared in cell.parameters.items()},
        "count": sum(math.prod(resolve(declared.shape, used)) for declared in cell.parameters.values()),
        "values": list(graph.values),
        "equations": equations(cell),
    }


def equations(cell: Cell) -> str | None:
    """The Python of a cell's equations as it is written, without signature and docstring; None where there is no source."""
    try:
        source = textwrap.dedent(inspect.getsource(cell.function))
        [definition] = ast.parse(source).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    if not isinstance(definition, ast.FunctionDef):
        return None
    first, *others = definition.body
    body = others if ast.get_docstring(definition) is not None else [first, *others]
    return textwrap.dedent("\n".join(source.splitlines()[body[0].lineno - 1 : body[-1].end_lineno]))


def _told(cell: Cell) -> tuple[str, str, str]:
    """What a docstring tells: formula, notes, source. The source stands behind four blanks."""
    text = inspect.cleandoc(cell.__doc__ or "")
    source = re.search(r" {4,}(\S.*)", text)
    formula, _, notes = (text.replace(source[0], "") if source else text).partition("\n")
    return formula.strip(), " ".join(notes.split()), source[1] if source else ""


# --- as text ----------------------------------------------------------------------------------------------------------


def listed(console: Console, cells: Iterable[Facts]) -> None:
    """Print cells one after another: name, formula and notes, source, states, sizes and number of parameters."""
    sizes: dict[str, int] = {}
    for found in cells:
        _head(console, found)
        say(console, f"  {_states(found)}; sizes {', '.join(found['sizes'])}; {found['count']:,} parameters\n")
        sizes |= found["sizes"]
    say(console, f"parameters at {_written(sizes)}; elman cells NAME tells the equations of one")


def told(console: Console, cell: Cell, found: Facts) -> None:
    """Print all of one cell: what it is, its equations with what they use, its states and parameters, and how to take it."""
    _head(console, found)
    written = found["equations"]
    if written is None:  # installed without its source
        written = str(cell.graph(**found["sizes"]))
    say(console, f"\nequations of one step, from the input {_grouped(found['input'])}")
    _code(console, written)
    if found["equations"] is not None:
        _words(console, cell)
    say(console, f"\n{_states(found)}\nparameters")
    for shape, names in _by_shape(found["parameters"]).items():
        say(console, f"  {', '.join(names)} ({shape})")
    say(console, f"  {found['count']:,} at {_written(found['sizes'])}\nvalues\n  {', '.join(found['values'])}")
    further = "".join(f" --cell-size {name}=64" for name in found["sizes"] if name not in ("input", "hidden"))
    say(console, f"\nelman train FILES -o MODEL --cell {cell.name}{further}")


def _head(console: Console, found: Facts) -> None:
    console.print(Text(found["name"], style="bold"))
    for text in (found["formula"], found["notes"], found["source"]):
        if text:
            say(console, f"  {text}")


def _code(console: Console, code: str) -> None:
    say(console, textwrap.indent(code, "  "))


def _states(found: Facts) -> str:
    return f"state{'s' * (len(found['states']) > 1)} {_grouped(found['states'])}"


def _grouped(shapes: Mapping[str, Iterable[str | int]]) -> str:
    return ", ".join(f"{', '.join(names)} ({shape})" for shape, names in _by_shape(shapes).items())


def _written(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes.items())


def _by_shape(shapes: Mapping[str, Iterable[str | int]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, shape in shapes.items():
        groups.setdefault(", ".join(map(str, shape)), []).append(name)
    return groups


def _words(console: Console, cell: Cell) -> None:
    """Print what the equations use and the library does not export: numbers, a chosen activation, helpers of their file."""
    used = inspect.getclosurevars(inspect.unwrap(cell.function))
    settings, helpers = [], []
    for name, value in {**used.nonlocals, **used.globals}.items():
        if not callable(value):
            settings += [f"{name} = {value!r}"] * (not inspect.ismodule(value))
        elif getattr(value, "__module__", "") == cell.function.__module__:
            helpers.append(value)
            settings += [f"{name} = {value.__name__}"] * (name != value.__name__)
        elif name in used.nonlocals:
            settings.append(f"{name} = {value.__name__}")
    if settings:
        say(console, f"\nwith {', '.join(settings)}")
    for helper in helpers:
        console.print()
        _code(console, inspect.getsource(helper).rstrip())
