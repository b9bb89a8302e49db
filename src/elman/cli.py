"""The command `elman`: predict, train, generate, show. It reads, calls the library and prints; nothing is decided here.

Longer than the guide for a file: a third of it is the options of the four commands, one a line.
"""

import io
import json
import os
import signal
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from elman import __version__
from elman.cells import CELLS, named
from elman.corpus import decoded, read_bytes, read_corpus, read_text
from elman.errors import DataError, ElmanError, ModelFileError, SettingError, TextError
from elman.files import load
from elman.io import safetensors
from elman.model import Model
from elman.text import KINDS, Vocabulary
from elman.viz import plain

if TYPE_CHECKING:
    from rich.console import Console

SKIPPED = 10
"""How many of the files that were passed over are named."""

app = typer.Typer(
    help="Recurrent networks from their equations.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


ModelOption = Annotated[Path | None, typer.Option("--model", "-m", help="Model file; without it, the one that comes along.")]


@app.command()
def predict(
    text: Annotated[str | None, typer.Argument(help="Text to read, or - for standard input.")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read the text from a file.")] = None,
    model: ModelOption = None,
    top: Annotated[int, typer.Option(help="How many likeliest symbols to tell.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a position.")] = False,
) -> None:
    """Run a model forward over text: at each position what it expects next, and how surprised it was (in bits)."""
    from elman.viz import terminal

    if top < 1:
        raise SettingError(f"--top {top} must be 1 or more")
    net = _model(model)
    vocabulary = _vocabulary(net)
    content = _content(text, file, as_bytes=vocabulary.kind == "bytes")
    tokens = vocabulary.encode(content)
    rows = terminal.positions(net, vocabulary, tokens, top)
    if as_json:
        escaped = "utf" not in (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
        for row in rows:
            print(json.dumps(row, ensure_ascii=escaped))
        return
    console = _console()
    bits = terminal.table(console, vocabulary, tokens, rows)
    console.print(_summary(bits, int(tokens[0]), content, vocabulary))


@app.command()
def train(
    files: Annotated[list[Path], typer.Argument(help="Text files or folders to learn from.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write.")],
    cell: Annotated[str, typer.Option(help=f"The recurrent cell: {', '.join(CELLS)}.")] = "gru",
    hidden: Annotated[int, typer.Option(help="Size of the state.")] = 128,
    layers: Annotated[int, typer.Option(help="Recurrent layers; one so far.")] = 1,
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
    equations = named(cell)
    if layers != 1:
        raise SettingError(f"--layers {layers}: models have one layer so far")
    if sample_every < 0:
        raise SettingError(f"--sample-every {sample_every} must be 0 or more")
    if size is not None and vocabulary == "bytes":
        raise SettingError(f"--size {size}: bytes are 256 symbols; leave it out, or take another vocabulary")
    safetensors.check_writable(output)
    corpus = read_corpus(files, as_bytes=vocabulary == "bytes", suffixes=tuple(suffix or ()))
    if os.path.realpath(output) in map(os.path.realpath, corpus.files):
        raise SettingError(f"{output} is one of the files to learn from; write the model to another")
    symbols = Vocabulary.of_kind(vocabulary, corpus.text, size)
    tokens, held = training.split(symbols.encode(corpus.text), validation)
    net = Model(len(symbols), hidden, length if truncate is None else truncate, equations, seed, vocabulary=symbols)
    console = _console()
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
    if len(held) > 1:
        bits = training.evaluate(net, held) / per_symbol
        bigram = training.bigram_bits(tokens, held, len(symbols)) / per_symbol
        console.print(f"validation: {bits:.3f} bits per {unit}; a bigram model has {bigram:.3f}")
        net.training |= {f"validation_bits_per_{unit}": round(bits, 4), f"bigram_bits_per_{unit}": round(bigram, 4)}
        net.save(output)
    console.print(f"saved {plain(str(output))} ({output.stat().st_size:,} bytes)")
    if done < steps:
        raise typer.Exit(130)  # what a shell expects of a command that Ctrl-C has stopped


@app.command()
def generate(
    prompt: Annotated[str, typer.Option(help="Text to continue.")] = "def ",
    length: Annotated[int, typer.Option(help="Symbols to add.")] = 300,
    temperature: Annotated[float, typer.Option(help="Below 1 safer, above 1 wilder; 0: always the likeliest.")] = 0.7,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest only.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the fewest whose probabilities sum to p.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same text; without it, another each time.")] = None,
    model: ModelOption = None,
) -> None:
    """Continue a text, symbol by symbol."""
    net = _model(model)
    vocabulary = _vocabulary(net)
    seed = int.from_bytes(os.urandom(4)) if seed is None else seed
    tokens = vocabulary.encode(_typed(prompt, "--prompt", as_bytes=vocabulary.kind == "bytes"))
    drawn = net.sample(tokens, length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    decoder = vocabulary.decoder()
    print(prompt, end="", flush=True)
    for token in drawn:
        print(decoder.push(token), end="", flush=True)
    print(decoder.finish())


@app.command()
def show(
    model: Annotated[Path | None, typer.Argument(help="Model file; without it, the one that comes along.")] = None,
    source: Annotated[bool, typer.Option("--source", help="Print the program made of the equations.")] = False,
) -> None:
    """Tell what is in a model file: sizes, parameters, equations, vocabulary, how it was trained."""
    from elman.viz.terminal import symbols

    net = _model(model)
    console = _console()

    def say(text: str) -> None:
        console.print(plain(text))  # a file from elsewhere may hold what moves the cursor

    if source:
        print(plain(f"{net.rnn.source}\n\n{net.readout.source}"))  # as it is: a line that was wrapped would not run
        return
    say(repr(net))
    say(f"\n{net.rnn.graph}\n\n{net.readout.graph}\n")
    say("parameters")
    for name, value in net.parameters.items():
        shape, span = "x".join(map(str, value.shape)), f"between {value.min():.3f} and {value.max():.3f}"
        say(f"  {name:6} {shape:>12} {value.size:>10,}  {span}")
    say(f"\n{net.rnn.plan}\n\nvocabulary")
    if net.vocabulary is None:
        say("  none: tokens are integers")
    else:
        say(f"  {net.vocabulary!r}\n  {symbols(net.vocabulary, console.width - 4)}")
    say(f"\ntraining (gradients are cut after {net.bptt_truncate or 'no'} steps)")
    for name, fact in net.training.items():
        say(f"  {name.replace('_', ' ')}: {fact}")
    if not net.training:
        say("  not trained")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    """Recurrent networks from their equations."""
    if version:
        print(f"elman {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


def main() -> NoReturn:
    """Run the command: an error of the user's is one line and exit code 2, Ctrl-C is 130, a closed pipe is quiet."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without Unicode
    try:
        code = app(prog_name="elman", standalone_mode=False)
    except ElmanError as error:
        _fail(str(error))
    except MemoryError as error:
        _fail(f"not enough memory: {error}")
    except OSError as error:
        sys.stdout = None  # full or gone: what waits in it would fail again at the end
        _fail(f"{error.strerror or error}")
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except Exception as error:
        # Usage errors of the command-line library are told by what they can do: it ships its own copy of their class.
        if not hasattr(error, "format_message"):
            raise
        _fail(error.format_message())
    sys.exit(code if isinstance(code, int) else 0)


# --- inside -----------------------------------------------------------------------------------------------------------


def _fail(message: str) -> NoReturn:
    print("elman: " + plain(" ".join(message.split())), file=sys.stderr)
    sys.exit(2)


def _console() -> "Console":
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False)
    console.soft_wrap = not console.is_terminal  # words wrap where a person reads; in a pipe a line is a line
    return console


def _model(path: Path | None) -> Model:
    if path is not None:
        return load(path)
    with resources.as_file(resources.files("elman") / "models" / "default.safetensors") as default:
        return load(default)


def _vocabulary(net: Model) -> Vocabulary:
    if net.vocabulary is None:
        raise ModelFileError("this model has no vocabulary, so it cannot read text; use it from Python")
    return net.vocabulary


def _content(text: str | None, file: Path | None, *, as_bytes: bool) -> str | bytes:
    """The text to read, from the one place that is named."""
    if (text is None) == (file is None):
        raise SettingError("give either TEXT, or -f FILE, or - for standard input")
    content: str | bytes
    if file is not None:
        content = read_bytes(file) if as_bytes else read_text(file)
    elif text == "-":
        data = sys.stdin.buffer.read() if sys.stdin is not None else b""
        content = data if as_bytes else decoded(data, "standard input: ", "convert it").removeprefix("\ufeff")
    else:
        return _typed(text or "", "TEXT", as_bytes=as_bytes)
    if not content:
        raise TextError("the text is empty; at least one symbol is wanted")
    return content


def _tell_skipped(console: "Console", skipped: tuple[Path, ...], wanted: str) -> None:
    for path in skipped[:SKIPPED]:
        console.print(f"skipped {plain(str(path))}: no {wanted}")
    if len(skipped) > SKIPPED:
        console.print(f"skipped {len(skipped) - SKIPPED:,} more")


def _typed(text: str, name: str, *, as_bytes: bool) -> str | bytes:
    """Text from the command line, where Python hides bytes that are no UTF-8 in lone surrogates."""
    if not text:
        raise TextError(f"{name} is empty; at least one symbol is wanted")
    data = text.encode("utf-8", "surrogateescape")
    return data if as_bytes else decoded(data, f"{name}: ", "convert it")


def _summary(bits: list[float], first: int, content: str | bytes, vocabulary: Vocabulary) -> str:
    """Mean bits and perplexity; the first symbol was not predicted, so its length does not count."""
    if not bits:
        return "one symbol is followed by nothing, so there is no surprise to average"
    unit, symbol = ("byte", vocabulary.decode_bytes([first])) if isinstance(content, bytes) else ("character", "")
    length = len(content) - len(symbol or vocabulary.decode([first]))
    mean = f"{sum(bits) / max(1, length):.3f} bits per {unit}"
    return f"{mean}, perplexity {2 ** (sum(bits) / len(bits)):.2f} per symbol, over {len(bits):,} symbols"


if __name__ == "__main__":
    main()
