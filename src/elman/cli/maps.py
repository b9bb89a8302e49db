"""`elman maps`: what the arrays of other frameworks hold."""

from typing import Annotated

import typer

from elman.cli import shared
from elman.errors import SettingError


def maps(
    framework: Annotated[str | None, typer.Argument(help="A framework; without it, all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a layer.")] = False,
) -> None:
    """List the weight maps: for each layer of a framework its arrays, their gates and layout, and our parameters in them."""
    from elman.io.maps import MAPS, frameworks
    from elman.viz import maps as viz

    if framework is not None and framework not in frameworks():
        raise SettingError(f"there is no weight map of {framework!r}; there are maps of {', '.join(frameworks())}")
    chosen = [m for m in MAPS if framework in (None, m.framework)]
    if as_json:
        for entry in chosen:
            shared.print_json(viz.facts(entry))
    else:
        viz.listed(shared.console(), chosen)
