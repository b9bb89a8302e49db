"""`elman train`: a model learnt from text. Here: what can be asked for, and what is refused."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import typer

from elman import runs
from elman.cells import named
from elman.checks import checked_share
from elman.cli import learning, shared
from elman.data.pieces import Pieces
from elman.errors import CheckpointError, SettingError
from elman.io.atomic import check_writable
from elman.optim import OPTIMISERS
from elman.schedules import SCHEDULES
from elman.text import KINDS
from elman.trace import Cell, checked_size

PATHS = ("files", "output", "tensorboard")
"""Options that are paths."""

FREE = ("files", "output", "keep", "sample_every", "tensorboard")
"""Options that may be given again where a run goes on: they change no bit of it."""

IN_A_RUN = ("patience", "tensorboard")
"""Options that have no meaning without a run, and no default."""


def _panel(name: str) -> Callable[..., Any]:
    """What makes the options that stand under a heading of the help."""
    return partial(typer.Option, rich_help_panel=name)


of_text, of_model, of_updates, of_runs = map(_panel, ("Text", "Model", "Updates", "Runs"))
of_weights = _panel("Against learning by heart")


def train(
    context: typer.Context,
    files: Annotated[list[Path] | None, typer.Argument(help="Text files or folders to learn from.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Model file to write; in a run it may be left out.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, windows and dropout.")] = 0,
    sample_every: Annotated[int, typer.Option(help="Show a sample after so many updates; 0: never.")] = 500,
    suffix: Annotated[list[str] | None, of_text(help="From folders take only files that end so; repeatable.")] = None,
    vocabulary: Annotated[str, of_text(help=f"What a symbol is: {', '.join(KINDS)}.")] = "characters",
    size: Annotated[int | None, of_text(help="Largest number of symbols.")] = None,
    validation: Annotated[float, of_text(help="Share of the text kept for validation.")] = 0.1,
    cell: Annotated[str, of_model(help="The recurrent cell; elman cells lists them.")] = "gru",
    hidden: Annotated[int, of_model(help="Size of the state.")] = 128,
    cell_size: shared.CellSizeOption = None,
    layers: Annotated[int, of_model(help="Recurrent layers, one upon another.")] = 1,
    steps: Annotated[int, of_updates(help="Updates.")] = 2000,
    length: Annotated[int, of_updates(help="Steps in a window.")] = 64,
    batch: Annotated[int, of_updates(help="Windows at a time.")] = 32,
    optimiser: Annotated[str, of_updates(help=f"One of {', '.join(OPTIMISERS)}.")] = "adam",
    momentum: Annotated[float | None, of_updates(help="That of sgd and rmsprop, such as 0.9.")] = None,
    nesterov: Annotated[bool | None, of_updates("--nesterov", help="Let sgd look ahead along its momentum.")] = None,
    beta1: Annotated[float | None, of_updates(help="Decay of adam's mean of gradients; without it, 0.9.")] = None,
    beta2: Annotated[float | None, of_updates(help="Decay of adam's mean of their squares; without it, 0.999.")] = None,
    rate: Annotated[float, of_updates(help="Learning rate at its height.")] = 0.01,
    warm_up: Annotated[int, of_updates(help="Updates over which the rate rises.")] = 50,
    schedule: Annotated[
        str, of_updates(help=f"How the rate falls: {', '.join(SCHEDULES)}; with numbers, such as steps,every=500.")
    ] = "cosine",
    clip: Annotated[float, of_updates(help="Largest norm of the gradients.")] = 1.0,
    clip_value: Annotated[float | None, of_updates(help="Largest number in the gradients, bound before the norm.")] = None,
    truncate: Annotated[
        str | None,
        of_updates(help="Cut gradients after so many steps, not at the window; 8,32: of every 8 steps' losses after 32."),
    ] = None,
    recompute: Annotated[bool, of_updates("--recompute", help="Hold less of long windows, and make it again.")] = False,
    weight_decay: Annotated[
        float | None, of_weights(help="How strongly weights are drawn to zero; without it, 0.01 with adamw and else 0.")
    ] = None,
    average: Annotated[
        float | None, of_weights(help="Decay of an average of the weights, which is measured and saved; such as 0.999.")
    ] = None,
    dropout: Annotated[float, of_weights(help="Share that is dropped between layers while training.")] = 0.0,
    recurrent_dropout: Annotated[float, of_weights(help="Share of the state that is dropped while training.")] = 0.0,
    label_smoothing: Annotated[float, of_weights(help="Share of each target that is told of all symbols.")] = 0.0,
    run: Annotated[Path | None, of_runs(help="A new folder for checkpoints and a log.")] = None,
    resume: Annotated[Path | None, of_runs(help="Go on with the run in this folder, to the same bits.")] = None,
    save_every: Annotated[int, of_runs(help="Validate and write a checkpoint after so many updates.")] = 500,
    keep: Annotated[int, of_runs(help="How many checkpoints are kept beside the best.")] = 3,
    patience: Annotated[
        int | None, of_runs(help="Stop after so many validations that are no better; the best is saved.")
    ] = None,
    tensorboard: Annotated[Path | None, of_runs(help="Write event files of TensorBoard to a folder.")] = None,
) -> None:
    """Learn a model from text.

    Ctrl-C stops and saves what is learnt; in a run (--run) it writes a checkpoint, from which --resume goes on.
    """
    given = SimpleNamespace(**{name: value for name, value in locals().items() if name not in ("context", "run", "resume")})
    if resume is not None:
        given = _as_begun(resume, given, context)
    temporary = tempfile.TemporaryDirectory(prefix="elman-", ignore_cleanup_errors=True)
    with _told_as_options(given), temporary as place:
        _check(given, run, resume)
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


@contextmanager
def _told_as_options(given: SimpleNamespace) -> Iterator[None]:
    """What the library refuses under the name of its setting is told under that of the option."""
    try:
        yield
    except SettingError as error:
        said = str(error)
        for name, value in vars(given).items():
            before, found, rest = said.partition(f"{name}={value!r}")
            if found and re.fullmatch(r"(\w+: )?", before):  # such as Adam: weight_decay=-1.0
                option = f"--{name.replace('_', '-')}"
                raise SettingError(f"{option}{rest}" if value is True else f"{option} {value}{rest}") from error
        raise


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
    if run is not None:
        _check_apart(run, given.files, tuple(given.suffix or ()))
    for name in IN_A_RUN:
        if getattr(given, name) is not None and run is None and resume is None:
            raise SettingError(f"--{name} {getattr(given, name)} wants --run FOLDER, for checkpoints and a log")
    _check_model(given)
    if given.sample_every < 0:
        raise SettingError(f"--sample-every {given.sample_every} must be 0 or more")
    if given.size is not None and given.vocabulary == "bytes":
        raise SettingError(f"--size {given.size}: bytes are 256 symbols; leave it out, or take another vocabulary")
    _ = learning.settings(given), learning.stopping(given)
    given.output = given.output or Path(run or resume or "") / runs.MODEL
    if run is not None:
        runs.check(run, given.save_every, given.keep)
    check_writable(given.output)


def _check_apart(run: Path, files: list[Path], endings: tuple[str, ...]) -> None:
    """Raises `SettingError` for a run in a folder of the text: what it writes would be text when it goes on."""
    place = run.resolve()
    for folder in (path for path in files if path.is_dir() and place.is_relative_to(path.resolve())):
        is_hidden = any(part.startswith(".") for part in place.relative_to(folder.resolve()).parts)
        is_read = not endings or any(name.endswith(endings) for name in (runs.FACTS, runs.LOG))
        if is_read and not is_hidden:
            why = "which is read as text, as what it writes would be when it goes on"
            raise SettingError(f"--run {run} is in {folder}, {why}; name a folder elsewhere")


def _check_model(given: SimpleNamespace) -> None:
    """Raises `SettingError` for a model that there cannot be, or none that is trained so."""
    _check_sizes(named(given.cell), shared.cell_sizes(given.cell_size))
    checked_size("hidden", given.hidden)
    if given.layers < 1:
        raise SettingError(f"--layers {given.layers} must be 1 or more")
    if not 0 <= given.dropout < 1:
        raise SettingError(f"--dropout {given.dropout} must be a share, at least 0 and below 1")
    if given.dropout and given.layers == 1:
        only = "with one layer there is nothing between layers; take --layers 2 or more, or --recurrent-dropout"
        raise SettingError(f"--dropout {given.dropout}: {only}")
    checked_share("recurrent_dropout", given.recurrent_dropout)
    cut, dropped = learning.truncation(given), next((name for name in learning.DROPOUT if getattr(given, name)), None)
    if dropped and isinstance(cut, tuple):
        option = f"--{dropped.replace('_', '-')} {getattr(given, dropped)}"
        raise SettingError(f"--truncate {given.truncate} and {option} do not go together; cut every so many steps")


def _check_sizes(cell: Cell, sizes: Mapping[str, int]) -> None:
    """Raises `SettingError` for a size that the cell does not have, and for one that it wants and nobody gave."""
    shared.check_cell_sizes(cell, sizes)
    missing = [name for name in shared.further_sizes(cell) if name not in sizes]
    if missing:
        options, settings = (sep.join(f"{name}=64" for name in missing) for sep in (" --cell-size ", ", "))
        wants = f"--cell {cell.name} wants the size {', '.join(missing)} too"
        raise SettingError(f"{wants}: --cell-size {options}; in Python Model(..., {settings})")
