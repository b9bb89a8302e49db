"""`elman import`: a model from the weights of another framework, or from a file that many write."""

import re
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from elman.cli import shared
from elman.errors import SettingError
from elman.io import npz


def import_(
    file: Annotated[Path, typer.Argument(help=".pt, .pth or .safetensors of PyTorch, .keras or .h5 of Keras, or .onnx.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write.")],
    example: Annotated[Path | None, typer.Option(help="Input of which an output was recorded, a .npy file.")] = None,
    expect: Annotated[Path | None, typer.Option(help="The output recorded for it, a .npy file.")] = None,
    nonlinearity: Annotated[str | None, typer.Option(help="What nn.RNN of PyTorch computes, tanh or relu.")] = None,
    activation: Annotated[
        list[str] | None,
        typer.Option(help="What follows each linear layer of PyTorch, from below, linear for nothing; repeatable."),
    ] = None,
    pool: Annotated[str | None, typer.Option(help="For PyTorch: read once a sequence, at the last, mean or max.")] = None,
) -> None:
    """Make a model of a file of PyTorch, Keras or ONNX, and prove it by a recorded output, or by the framework if there."""
    from elman.importing import imported
    from elman.viz.terminal import say

    shared.check_output(output, {"the file to import": file, "that of --example": example, "that of --expect": expect})
    if (example is None) != (expect is None):
        raise SettingError("--example and --expect belong together: an input, and the output recorded for it")
    pair = None if example is None or expect is None else (_array(example), _array(expect))
    settings: dict[str, Any] = {"nonlinearity": nonlinearity, "activations": activation or None, "pool": pool}
    settings["recorder"] = None if expect is None else expect.name
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        try:
            model, told = imported(file, pair, **{name: value for name, value in settings.items() if value is not None})
        except SettingError as error:
            raise SettingError(_with_options(str(error))) from error
    for warning in dict.fromkeys(str(entry.message) for entry in warned):
        print(f"elman: warning: {warning}", file=sys.stderr)
    model.save(output)
    say(shared.console(), f"{model!r}\n{told}\nsaved to {output}")


def _with_options(message: str) -> str:
    """A message of the library with its settings as the options that they are here."""
    message = message.replace("None for every step", "left out for every step")
    message = re.sub(
        r"activations=\[(.*?)\]", lambda found: " ".join(f"--activation {n}" for n in re.findall(r"\w+", found[1])), message
    )
    return re.sub(r"\b(pool|nonlinearity)='(.*?)'", r"--\1 \2", message)


def _array(path: Path) -> np.ndarray:
    try:
        found: np.ndarray = npz.mapped(path)
    except npz.DAMAGED as error:
        raise SettingError(f"{path} is no .npy file that can be read ({error})") from error
    return found
