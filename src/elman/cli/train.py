"""`elman train`: a model learnt from text. Here: what can be asked for, and what is refused."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import typer

from elman import runs
from elman.cells import named
from elman.cli import learning, shared
from elman.data.pieces import Pieces
from elman.errors import CheckpointError, SettingError
from elman.io.atomic import check_writable
from elman.optim import OPTIMISERS
from elman.schedules import SCHEDULES
from elman.text import KINDS
from elman.trace import Cell

PATHS = ("files", "output", "tensorboard")
"""Options that are paths."""

FREE = ("files", "output", "keep", "sample_every", "tensorboard")
"""Options that may be given again where a run goes on: they change no bit of it."""

IN_A_RUN = ("patience", "tensorboard")
"""Options that have no meaning without a run, and no default."""


def train(
    context: typer.Context,
    files: Annotated[list[Path] | None, typer.Argument(help="Text files or folders to learn from.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Model file to write; in a run it may be left out.")
    ] = None,
    cell: Annotated[str, typer.Option(help="The recurrent cell; elman cells lists them.")] = "gru",
    hidden: Annotated[int, typer.Option(help="Size of the state.")] = 128,
    cell_size: shared.CellSizeOption = None,
    layers: Annotated[int, typer.Option(help="Recurrent layers, one upon another.")] = 1,
    dropout: Annotated[float, typer.Option(help="Share that is dropped between layers while training.")] = 0.0,
    length: Annotated[int, typer.Option(help="Steps in a window.")] = 64,
    batch: Annotated[int, typer.Option(help="Windows at a time.")] = 32,
    optimiser: Annotated[str, typer.Option(help=f"One of {', '.join(OPTIMISERS)}.")] = "adam",
    rate: Annotated[float, typer.Option(help="Learning rate at its height.")] = 0.01,
    schedule: Annotated[
        str, typer.Option(help=f"How the rate falls: {', '.join(SCHEDULES)}; with numbers, such as steps,every=500.")
    ] = "cosine",
    clip: Annotated[float, typer.Option(help="Largest norm of the gradients.")] = 1.0,
    truncate: Annotated[int | None, typer.Option(help="Cut gradients after so many steps, not at the window.")] = None,
    steps: Annotated[int, typer.Option(help="Updates.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of weights, windows and dropout.")] = 0,
    validation: Annotated[float, typer.Option(help="Share of the text kept for validation.")] = 0.1,
    vocabulary: Annotated[str, typer.Option(help=f"What a symbol is: {', '.join(KINDS)}.")] = "characters",
    size: Annotated[int | None, typer.Option(help="Largest number of symbols.")] = None,
    suffix: Annotated[list[str] | None, typer.Option(help="From folders take only files that end so; repeatable.")] = None,
    sample_every: Annotated[int, typer.Option(help="Show a sample after so many updates; 0: never.")] = 500,
    run: Annotated[Path | None, typer.Option(help="A new folder for checkpoints and a log.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run in this folder, to the same bits.")] = None,
    save_every: Annotated[int, typer.Option(help="In a run, validate and write a checkpoint after so many updates.")] = 500,
    keep: Annotated[int, typer.Option(help="In a run, how many checkpoints are kept beside the best.")] = 3,
    patience: Annotated[
        int | None, typer.Option(help="In a run, stop after so many validations that are no better; the best is saved.")
    ] = None,
    tensorboard: Annotated[Path | None, typer.Option(help="In a run, write event files of TensorBoard to a folder.")] = None,
) -> None:
    """Learn a model from text.

    Ctrl-C stops and saves what is learnt; in a run (--run) it writes a checkpoint, from which --resume goes on.
    """
    given = SimpleNamespace(**{name: value for name, value in locals().items() if name not in ("context", "run", "resume")})
    if resume is not None:
        given = _as_begun(resume, given, context)
    _check(given, run, resume)
    with tempfile.TemporaryDirectory(prefix="elman-", ignore_cleanup_errors=True) as place:
        files = learning.read_again(given.files, Path(place))
        text = Pieces(files, given.vocabulary, tuple(given.suffix or ()))
        text.check()
        if os.path.realpath(given.output) in map(os.path.realpath, text.files):
            raise SettingError(f"{given.output} is one of the files to learn from; write the model to another")
        learning.learn(given, text, run or resume, run or resume or Path(place))


def _as_begun(folder: Path, given: SimpleNamespace, context: typer.Context) -> SimpleNamespace:
    """The options that a run was begun with, and those given now that change no bit of it."""
    told = [name for name in vars(given) if str(context.get_parameter_source(name)).endswith("COMMANDLINE")]
    fixed = [name for name in told if name not in FREE]
    if fixed:
        option = fixed[0].replace("_", "-")
        raise SettingError(f"--resume {folder}: --{option} is as the run was begun with; leave it out, or begin another run")
    before = SimpleNamespace(**vars(given) | runs.facts_of(folder))
    for name in PATHS:
        value = getattr(before, name)
        try:
            setattr(before, name, [Path(path) for path in value] if isinstance(value, list) else value and Path(value))
        except TypeError:
            raise CheckpointError(f"{folder}/{runs.FACTS} is damaged: {name} is {value!r}, a path is wanted") from None
    for name in told:
        setattr(before, name, getattr(given, name))
    return before


def _check(given: SimpleNamespace, run: Path | None, resume: Path | None) -> None:
    """What can be found out before the text is read."""
    if run is not None and resume is not None:
        raise SettingError("give either --run for a new run, or --resume for one that goes on")
    if not given.files:
        raise SettingError("give FILES to learn from, or --resume a run")
    if given.output is None and run is None and resume is None:
        raise SettingError("give --output MODEL, a file to write, or --run FOLDER, which will hold it")
    if run is not None and runs.is_in(run):
        raise SettingError(f"--run {run}: there is a run in it; --resume {run} goes on with it, another folder begins anew")
    for name in IN_A_RUN:
        if getattr(given, name) is not None and run is None and resume is None:
            raise SettingError(f"--{name} {getattr(given, name)} wants --run FOLDER, for checkpoints and a log")
    _check_sizes(named(given.cell), shared.cell_sizes(given.cell_size))
    if given.layers < 1:
        raise SettingError(f"--layers {given.layers} must be 1 or more")
    if not 0 <= given.dropout < 1:
        raise SettingError(f"--dropout {given.dropout} must be a share, at least 0 and below 1")
    if given.dropout and given.layers == 1:
        only = "with one layer there is nothing between layers; take --layers 2 or more"
        raise SettingError(f"--dropout {given.dropout}: {only}")
    if given.sample_every < 0:
        raise SettingError(f"--sample-every {given.sample_every} must be 0 or more")
    if given.size is not None and given.vocabulary == "bytes":
        raise SettingError(f"--size {given.size}: bytes are 256 symbols; leave it out, or take another vocabulary")
    learning.settings(given)
    given.output = given.output or Path(run or resume or "") / runs.MODEL
    if run is not None:
        runs.check(run, given.save_every, given.keep)
    check_writable(given.output)


def _check_sizes(cell: Cell, sizes: Mapping[str, int]) -> None:
    """Raises `SettingError` for a size that the cell does not have, and for one that it wants and nobody gave."""
    shared.check_cell_sizes(cell, sizes)
    missing = [name for name in shared.further_sizes(cell) if name not in sizes]
    if missing:
        options, settings = (sep.join(f"{name}=64" for name in missing) for sep in (" --cell-size ", ", "))
        wants = f"--cell {cell.name} wants the size {', '.join(missing)} too"
        raise SettingError(f"{wants}: --cell-size {options}; in Python Model(..., {settings})")
