"""What `elman train` does once its options are known: read symbols, make a model, train it, measure it, save it."""

import os
import shlex
import shutil
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import typer

from elman import runs
from elman import train as training
from elman.cells import named
from elman.cli import shared
from elman.corpus import reading
from elman.data import TokenFile, learn_vocabulary, tokenise
from elman.data.pieces import Pieces
from elman.data.streams import fitting
from elman.errors import CheckpointError, DataError, ModelFileError, SettingError
from elman.gates import Array
from elman.io.tensorboard import Events
from elman.model import Model
from elman.runs import Run
from elman.schedules import EarlyStopping
from elman.text import Vocabulary
from elman.trainer import Trainer
from elman.viz import plain

if TYPE_CHECKING:
    from rich.console import Console

MEASURED = 100_000
"""So many symbols of validation are read each time; at the end, all."""

SHORT = {"character": "bits/char", "byte": "bits/byte"}
"""The unit as the bar has room for it."""

DROPOUT = ("dropout", "recurrent_dropout")
"""Options that drop something while training."""

SKIPPED = 10
"""How many of the files that were passed over are named."""


@dataclass(frozen=True)
class Symbols:
    """What is learnt from and what is kept for validation, and what a loss is told in: so many units a symbol.

    Tokens are mapped from a file: of a large text no more is in memory than is looked at.
    """

    training: Array
    held: Array
    unit: str
    per_symbol: float


def settings(given: SimpleNamespace) -> training.Settings:
    """The options that are the library's. Raises `SettingError` for one out of range."""
    known = [field.name for field in fields(training.Settings)]
    return training.Settings(**{name: getattr(given, name) for name in known})


def truncation(given: SimpleNamespace) -> int | tuple[int, int]:
    """After how many steps gradients are cut: --truncate K, or K1,K2; else those of a window. Raises `SettingError`."""
    if given.truncate is None:
        return int(given.length)
    asked = given.truncate
    steps = [int(part) if part.isascii() and part.isdecimal() else 0 for part in str(asked).split(",")]
    if len(steps) > 2 or min(steps) < 1:
        either = "a number of steps, 1 or more, or two such as 8,32"
        raise SettingError(f"--truncate {asked}: {either} is wanted: the losses of every 8 steps flow back through 32")
    if steps[0] > steps[-1]:
        k1, k2 = steps
        raise SettingError(f"--truncate {asked}: the losses of {k1} steps cannot flow back through {k2}; take {k1},{k1}")
    return (steps[0], steps[1]) if len(steps) == 2 else steps[0]


def stopping(given: SimpleNamespace) -> EarlyStopping | None:
    """What ends a run that gets no better, where that is asked for. Raises `SettingError`."""
    return None if given.patience is None else EarlyStopping(given.patience)


def learn(given: SimpleNamespace, text: Pieces, folder: Path | None, place: Path) -> None:
    """Make a model, train it, measure it and save it, or leave a run from where it can go on.

    The tokens of the text are written to a file in a place, where a run that goes on finds them.
    """
    from elman.viz import progress

    asked, console = settings(given), shared.console()
    vocabulary = _vocabulary(given, text, folder)
    file = tokenise(text.files, vocabulary, place / runs.TOKENS, anew=folder is None)
    _check_text(given, file, folder)
    symbols = _symbols(given, file)
    _check_windows(asked, len(symbols.training))
    net = _model(given, vocabulary)
    _tell(console, net, text, symbols)
    _tell_cut(console, asked, len(symbols.training))
    trainer = training.train(net, symbols.training, asked)
    try:
        with _opened(folder, given, trainer, net, symbols, console) as run:
            updates = trainer if run is None else run
            unit, per_symbol = SHORT[symbols.unit], symbols.per_symbol
            shown = given.sample_every, partial(_sampled, trainer, net)
            done, stop = progress.follow(console, updates, asked.steps, unit, per_symbol, *shown)
            best = None if run is None else _leave(run, stop, console, given.patience)
            done = done if run is None else run.trainer.step
            if asked.averaging is not None and best is None:  # what measured best is an average already
                net.update(asked.averaging.parameters(trainer.average))
    except (DataError, ModelFileError) as error:
        raise type(error)(f"{error}; {_what_stays(folder)}") from error
    counts = {"files": len(text.files), "symbols": len(symbols.training), "updates": done}
    dropped = {name: getattr(given, name) for name in DROPOUT if getattr(given, name)}
    net.training = training.facts(asked, cell=given.cell, **dropped, **counts)
    net.save(given.output)  # before it is measured: what comes now, a second Ctrl-C or a closed pipe, loses nothing
    if stop:
        console.print(f"stopped after {done:,} of {asked.steps:,} updates")
    console.print(_validation(net, symbols))
    net.save(given.output)
    console.print(f"saved {plain(str(given.output))} ({given.output.stat().st_size:,} bytes)")
    if stop:
        raise typer.Exit(128 + stop)  # what a shell expects of a command that a signal has stopped


def read_again(paths: Iterable[Path], place: Path) -> list[Path]:
    """Paths that can be read more than once: a pipe is copied to a place. Raises `TextError`."""
    found = list(paths)
    for number, path in enumerate(found):
        if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
            found[number] = place / f"{number}-{path.name}"
            with reading(path) as source, found[number].open("wb") as copy:
                shutil.copyfileobj(source, copy)
    return found


def _vocabulary(given: SimpleNamespace, text: Pieces, folder: Path | None) -> Vocabulary:
    """The vocabulary that a run was begun with, or one that is learnt from the text, which a run then keeps."""
    if getattr(given, "symbols", None) is None:
        found = learn_vocabulary(text.files, given.vocabulary, given.size)
        given.symbols = found.to_json()
        return found
    try:
        return Vocabulary.from_json(given.symbols)
    except ModelFileError as error:
        raise CheckpointError(f"{folder}/{runs.FACTS}: {error}") from None


def _check_text(given: SimpleNamespace, file: TokenFile, folder: Path | None) -> None:
    """A run keeps the hash of its text. Raises `CheckpointError` where it was begun with another one."""
    before, now = getattr(given, "text", None) or file.facts["text"], file.facts["text"]
    if before != now:
        was, is_ = (f"{text['bytes']:,} bytes (sha256 {text['sha256'][:8]})" for text in (before, now))
        fix = "give the files as they were, or begin another run"
        raise CheckpointError(f"--resume {folder}: the run was begun with another text of {was}, this has {is_}; {fix}")
    given.text = dict(now)


def _symbols(given: SimpleNamespace, file: TokenFile) -> Symbols:
    tokens, held = training.split(file.tokens, given.validation)
    unit = "byte" if given.vocabulary == "bytes" else "character"
    return Symbols(tokens, held, unit, file.facts["text"]["length"] / len(file))


def _check_windows(asked: training.Settings, symbols: int) -> None:
    """Raises `DataError` for a length or a number of windows, other than the default, that the text alone cannot hold."""
    steps, usual = symbols - 1, training.Settings()  # each step tells the next symbol
    most = {"length": steps, "batch": max(1, steps // 2)}
    for name, held in most.items():
        value = getattr(asked, name)
        if value > held and value != getattr(usual, name):
            text = f"the text has {symbols:,} symbols to learn from"
            text += ", and each of the windows takes 2 or more" * (name == "batch")
            raise DataError(f"--{name} {value}: {text}; take --{name} {held} at most, or more text")


def _model(given: SimpleNamespace, vocabulary: Vocabulary) -> Model:
    sizes: dict[str, Any] = {"hidden_dim": given.hidden, "bptt_truncate": truncation(given)}
    parts = {name: getattr(given, name) for name in ("seed", "layers", "dropout", "recurrent_dropout")}
    sizes |= shared.cell_sizes(given.cell_size)
    return Model(len(vocabulary), cell=named(given.cell), vocabulary=vocabulary, **sizes, **parts)


# --- in a run ---------------------------------------------------------------------------------------------------------


def _opened(
    folder: Path | None, given: SimpleNamespace, trainer: Trainer, net: Model, symbols: Symbols, console: "Console"
) -> AbstractContextManager[Run | None]:
    """The run in a folder, if there is to be one, which goes on where it was; what was found there is told."""
    if folder is None:
        return nullcontext()
    held = symbols.held

    def measure() -> float:
        bits = training.evaluate(net, held[:MEASURED])
        console.print(f"{trainer.step:>6}: validation {bits / symbols.per_symbol:.3f} bits per {symbols.unit}")
        return bits

    if given.patience is not None and len(held) < 2:
        raise SettingError(f"--patience {given.patience} wants symbols for validation; there are {len(held)}")
    run = Run(
        folder,
        trainer,
        save_every=given.save_every,
        keep=given.keep,
        measure=measure if len(held) > 1 else None,
        stopping=stopping(given),
        facts=runs.facts_of(folder) if runs.is_in(folder) else _facts(given, folder),
        writer=given.tensorboard and partial(Events, given.tensorboard),
    )
    for error in run.damaged:
        console.print(f"passed over: {plain(str(error))}")
    if run.resumed:
        console.print(f"going on after update {run.resumed:,}")
    if run.target_before:
        other = f"it was on the target {run.target_before}, and goes on on {trainer.target}"
        console.print(f"{other}: its bits are not those of a run that never stopped")
    return run


def _leave(run: Run, stop: int, console: "Console", patience: int | None) -> int | None:
    """Where a run was stopped, write a checkpoint and exit; else the model is what it has learnt, or what measured best.

    Returns the update of the best.
    """
    done, steps = run.trainer.step, run.trainer.steps
    if stop:
        run.save()
        again = f"elman train --resume {shlex.quote(str(run.folder))}"
        console.print(f"stopped after {done:,} of {steps:,} updates; to go on: {plain(again)}")
        raise typer.Exit(128 + stop)
    best = None if patience is None else run.take_best()
    if best is not None:
        console.print(f"{done:,} updates; the weights that validated best are of update {best:,}")
    return best


def _sampled(trainer: Trainer, net: Model) -> str:
    """What a model writes by now; where parameters are averaged, with the averages, as it is measured and saved."""
    from elman.viz import progress

    with trainer.averaged():
        return progress.sample_of(net)


def _what_stays(folder: Path | None) -> str:
    """What an error leaves."""
    last = 0 if folder is None else runs.last_step(folder)
    return f"the checkpoint of update {last:,} in {folder} stays" if last else "nothing is saved"


def _facts(given: SimpleNamespace, folder: Path) -> dict[str, Any]:
    """What a run is begun with; a model that is written into its folder goes along where that is moved, or copied."""
    facts = {name: _as_text(value) for name, value in vars(given).items()}
    return facts | ({"output": None} if given.output == folder / runs.MODEL else {})


def _as_text(value: Any) -> Any:
    """An option as plain data; paths in full, so that the run goes on from another folder."""
    if isinstance(value, list):
        return [_as_text(each) for each in value]
    return os.path.abspath(value) if isinstance(value, Path) else value


# --- what is told -----------------------------------------------------------------------------------------------------


def _tell(console: "Console", net: Model, text: Pieces, symbols: Symbols) -> None:
    """What is learnt from, and what was passed over."""
    for path in text.skipped[:SKIPPED]:
        console.print(f"skipped {plain(str(path))}: no {'text' if symbols.unit == 'byte' else 'UTF-8 text'}")
    if len(text.skipped) > SKIPPED:
        console.print(f"skipped {len(text.skipped) - SKIPPED:,} more")
    console.print(f"{net!r} on the text of {len(text.files):,} file{'s' * (len(text.files) != 1)}")
    console.print(f"{len(symbols.training):,} symbols to learn from, {len(symbols.held):,} for validation")


def _tell_cut(console: "Console", asked: training.Settings, symbols: int) -> None:
    """What a short text holds in place of what was asked."""
    shapes = (asked.batch, asked.length), fitting(asked.batch, asked.length, symbols - 1)
    wanted, held = (f"{batch} window{'s' * (batch != 1)} of {steps} step{'s' * (steps != 1)}" for batch, steps in shapes)
    if wanted != held:
        console.print(f"{wanted} are more than the text holds: {held} at a time")


def _validation(net: Model, symbols: Symbols) -> str:
    """Measure a model on the symbols that were kept, put it among its training facts, and tell it."""
    held, unit = symbols.held, symbols.unit
    if len(held) < 2:
        return f"validation: none, with {len(held)} symbol{'s' * (len(held) != 1)} kept for it; at least 2 are wanted"
    bits = training.evaluate(net, held) / symbols.per_symbol
    bigram = training.bigram_bits(symbols.training, held, net.word_dim) / symbols.per_symbol
    net.training |= {f"validation_bits_per_{unit}": round(bits, 4), f"bigram_bits_per_{unit}": round(bigram, 4)}
    return f"validation: {bits:.3f} bits per {unit}; a bigram model has {bigram:.3f}"
