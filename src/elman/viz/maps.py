"""Weight maps for a person and for a script: each array of a layer, how it lies, and our parameters in it."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console

from elman.io.maps import SECOND, Block, Map
from elman.viz.terminal import say


def facts(weights: Map) -> dict[str, Any]:
    """A weight map as plain data."""
    arrays = [
        {"name": name, "holds": list(held), "transposed": block.transposed, "row": block.row}
        for block in weights.blocks
        for name, held in weights.arrays(block)
    ]
    told = {"framework": weights.framework, "layer": weights.layer, "form": weights.form, "cell": weights.cell}
    return {**told, "gates": weights.gates, "biases": biases(weights), "arrays": arrays}


def biases(weights: Map) -> str:
    """How many biases a gate has there, and what of ours they are."""
    held = set(weights.parameters)
    second = [two for (two,) in SECOND.get(weights.cell, {}).values() if two in held]
    if second:
        return f"two; the second is {', '.join(second)}"
    return "none" if not any(name[0] in "bd" for name in held) else "one"


def listed(console: Console, maps: Iterable[Map]) -> None:
    """Print maps one after another: the layer and our cell, then an array a line."""
    for position, weights in enumerate(maps):
        order = f", gates {' '.join(weights.gates)}" if weights.gates else ""
        say(console, f"{chr(10) * bool(position)}{weights}: {weights.cell}{order}, biases: {biases(weights)}")
        for block in weights.blocks:
            say(
                console,
                f"  {_named(block):24} {' '.join(_held(weights, block)):24} {'transposed' * block.transposed}".rstrip(),
            )


def _named(block: Block) -> str:
    return block.name if block.row is None else f"{block.name}[{block.row}]"


def _held(weights: Map, block: Block) -> list[str]:
    return [name for _, held in weights.arrays(block) for name in held]
