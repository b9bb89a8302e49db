"""`elman cells`: the cells that come along, and the equations of one."""

from typing import Annotated

import typer

from elman.cells import CELLS, named
from elman.cli import shared


def cells(
    name: Annotated[str | None, typer.Argument(help="A cell, to be told all of; without it, the list.")] = None,
    input: Annotated[int, typer.Option(help="Size of the input, to count parameters.")] = 128,
    hidden: Annotated[int, typer.Option(help="Size of the state, to count parameters.")] = 128,
    cell_size: shared.CellSizeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a cell.")] = False,
) -> None:
    """List the cells that come along, or tell all of one: its equations, where they are from, its states and parameters."""
    from elman.viz import cells as viz

    chosen, given = ([named(name)] if name is not None else list(CELLS.values())), shared.cell_sizes(cell_size)
    if name is not None:
        shared.check_cell_sizes(chosen[0], given)
    sizes = {"input": input, "hidden": hidden} | given
    found = [viz.facts(cell, sizes) for cell in chosen]
    if as_json:
        for entry in found:
            shared.print_json(entry)
    elif name is not None:
        viz.told(shared.console(), chosen[0], found[0])
    else:
        viz.listed(shared.console(), found)
