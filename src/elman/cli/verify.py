"""`elman verify`: whether a model gives what was recorded of it."""

from pathlib import Path
from typing import Annotated

import typer

from elman.errors import ElmanError, ModelFileError
from elman.files import load


def verify(model: Annotated[Path, typer.Argument(help="Model file, with a recorded output in it.")]) -> None:
    """Run a model on the input that its file keeps, and compare with the output that was recorded."""
    from elman.suspects import check

    net = load(model, verify=False)
    if net.proof is None:
        raise ModelFileError(f"{model}: no recorded output is kept in it; `elman import --expect` keeps one")
    try:
        found = check(net, net.proof)
    except ElmanError as error:
        raise ModelFileError(f"{model}: {error}") from None
    print(f"{model}: differs by {found:.2g} at most from {net.proof.told}")
