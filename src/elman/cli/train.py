"""`elman train`: a model learnt from text."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elman.cells import named
from elman.cli import shared
from elman.corpus import read_corpus
from elman.errors import DataError, SettingError
from elman.gates import Array
from elman.io.atomic import check_writable
from elman.model import Model
from elman.text import KINDS, Vocabulary
from elman.trace import Cell
from elman.viz import plain

if TYPE_CHECKING:
    from rich.console import Console

SKIPPED = 10
"""How many of the files that were passed over are named."""


def train(
    files: Annotated[list[Path], typer.Argument(help="Text files or folders to learn from.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write.")],
    cell: Annotated[str, typer.Option(help="The recurrent cell; elman cells lists them.")] = "gru",
    hidden: Annotated[int, typer.Option(help="Size of the state.")] = 128,
    cell_size: shared.CellSizeOption = None,
    layers: Annotated[int, typer.Option(help="Recurrent layers, one upon another.")] = 1,
    dropout: Annotated[float, typer.Option(help="Share that is dropped between layers while training.")] = 0.0,
    length: Annotated[int, typer.Option(help="Steps in a window.")] = 64,
    batch: Annotated[int, typer.Option(help="Windows at a time.")] = 32,
    rate: Annotated[float, typer.Option(help="Learning rate of Adam at its height.")] = 0.01,
    clip: Annotated[float, typer.Option(help="Largest norm of the gradients.")] = 1.0,
    truncate: Annotated[int | None, typer.Option(help="Cut gradients after so many steps, not at the window.")] = None,
    steps: Annotated[int, typer.Option(help="Updates.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of weights and windows.")] = 0,
    validation: Annotated[float, typer.Option(help="Share of the text kept for validation.")] = 0.1,
    vocabulary: Annotated[str, typer.Option(help=f"What a symbol is: {', '.join(KINDS)}.")] = "characters",
    size: Annotated[int | None, typer.Option(help="Largest number of symbols.")] = None,
    suffix: Annotated[list[str] | None, typer.Option(help="From folders take only files that end so; repeatable.")] = None,
    sample_every: Annotated[int, typer.Option(help="Show a sample after so many updates; 0: never.")] = 500,
) -> None:
    """Learn a model from text. Ctrl-C stops and saves what is learnt."""
    from elman import train as training
    from elman.viz import progress

    settings = training.Settings(length=length, batch=batch, steps=steps, rate=rate, clip=clip, seed=seed)
    equations, sizes = named(cell), shared.cell_sizes(cell_size)
    _check_sizes(equations, sizes)
    if layers < 1:
        raise SettingError(f"--layers {layers} must be 1 or more")
    if not 0 <= dropout < 1:
        raise SettingError(f"--dropout {dropout} must be a share, at least 0 and below 1")
    if dropout and layers == 1:
        raise SettingError(f"--dropout {dropout}: with one layer there is nothing between layers; take --layers 2 or more")
    if sample_every < 0:
        raise SettingError(f"--sample-every {sample_every} must be 0 or more")
    if size is not None and vocabulary == "bytes":
        raise SettingError(f"--size {size}: bytes are 256 symbols; leave it out, or take another vocabulary")
    check_writable(output)
    corpus = read_corpus(files, as_bytes=vocabulary == "bytes", suffixes=tuple(suffix or ()))
    if os.path.realpath(output) in map(os.path.realpath, corpus.files):
        raise SettingError(f"{output} is one of the files to learn from; write the model to another")
    symbols = Vocabulary.of_kind(vocabulary, corpus.text, size)
    tokens, held = training.split(symbols.encode(corpus.text), validation)
    cut = length if truncate is None else truncate
    net = Model(len(symbols), hidden, cut, equations, seed, layers=layers, dropout=dropout, vocabulary=symbols, **sizes)
    console = shared.console()
    _tell_skipped(console, corpus.skipped, "text" if vocabulary == "bytes" else "UTF-8 text")
    per_symbol = len(corpus.text) / (len(tokens) + len(held))
    unit = "byte" if vocabulary == "bytes" else "character"
    console.print(f"{net!r} on the text of {len(corpus.files):,} file{'s' * (len(corpus.files) != 1)}")
    console.print(f"{len(tokens):,} symbols to learn from, {len(held):,} for validation")
    updates = training.train(net, tokens, settings)
    try:
        done = progress.follow(console, net, updates, steps, f"bits/{unit}", per_symbol, sample_every)
    except DataError as error:
        raise DataError(f"{error}; nothing is saved") from error
    net.training = training.facts(settings, cell=cell, files=len(corpus.files), symbols=len(tokens), updates=done)
    net.save(output)  # before it is measured: what comes now, a second Ctrl-C or a closed pipe, loses nothing
    if done < steps:
        console.print(f"stopped after {done:,} of {steps:,} updates")
    console.print(_validation(net, tokens, held, per_symbol, unit))
    net.save(output)
    console.print(f"saved {plain(str(output))} ({output.stat().st_size:,} bytes)")
    if done < steps:
        raise typer.Exit(130)  # what a shell expects of a command that Ctrl-C has stopped


def _check_sizes(cell: Cell, sizes: Mapping[str, int]) -> None:
    """Raises `SettingError` for a size that the cell does not have, and for one that it wants and nobody gave."""
    shared.check_cell_sizes(cell, sizes)
    missing = [name for name in shared.further_sizes(cell) if name not in sizes]
    if missing:
        options, settings = (sep.join(f"{name}=64" for name in missing) for sep in (" --cell-size ", ", "))
        wants = f"--cell {cell.name} wants the size {', '.join(missing)} too"
        raise SettingError(f"{wants}: --cell-size {options}; in Python Model(..., {settings})")


def _validation(net: Model, tokens: Array, held: Array, per_symbol: float, unit: str) -> str:
    """Measure a model on the symbols that were kept, put it among its training facts, and tell it."""
    from elman.train import bigram_bits, evaluate

    if len(held) < 2:
        return f"validation: none, with {len(held)} symbol{'s' * (not len(held))} kept for it; at least 2 are wanted"
    bits, bigram = evaluate(net, held) / per_symbol, bigram_bits(tokens, held, net.word_dim) / per_symbol
    net.training |= {f"validation_bits_per_{unit}": round(bits, 4), f"bigram_bits_per_{unit}": round(bigram, 4)}
    return f"validation: {bits:.3f} bits per {unit}; a bigram model has {bigram:.3f}"


def _tell_skipped(console: "Console", skipped: tuple[Path, ...], wanted: str) -> None:
    for path in skipped[:SKIPPED]:
        console.print(f"skipped {plain(str(path))}: no {wanted}")
    if len(skipped) > SKIPPED:
        console.print(f"skipped {len(skipped) - SKIPPED:,} more")
