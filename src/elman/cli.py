"""The command `elman`: predict, train, generate, show. It reads, calls the library and prints; nothing is decided here."""

import json
import os
import signal
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from elman import __version__
from elman.cells import CELLS, named
from elman.corpus import read_bytes, read_corpus, read_text
from elman.errors import ElmanError, ModelFileError, SettingError, TextError
from elman.files import load
from elman.model import Model
from elman.text import KINDS, Vocabulary

if TYPE_CHECKING:
    from rich.console import Console


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
    probabilities = net.forward_propagation(tokens).probabilities
    rows = list(terminal.positions(vocabulary, tokens, probabilities, top))
    if as_json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
        return
    console = _console()
    terminal.table(console, vocabulary, iter(rows))
    console.print(_summary(rows, content, vocabulary), soft_wrap=True, highlight=False)


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
    if layers != 1:
        raise SettingError(f"--layers {layers}: models have one layer so far")
    _check_output(output)
    corpus = read_corpus(files, as_bytes=vocabulary == "bytes", suffixes=tuple(suffix or ()))
    console = _console()
    for path in corpus.skipped:
        console.print(f"skipped {path}: no UTF-8 text", highlight=False, soft_wrap=True)
    symbols = Vocabulary.of_kind(vocabulary, corpus.text, size)
    tokens, held = training.split(symbols.encode(corpus.text), validation)
    net = Model(len(symbols), hidden, length if truncate is None else truncate, named(cell), seed, vocabulary=symbols)
    per_symbol = len(corpus.text) / (len(tokens) + len(held))
    unit = "byte" if vocabulary == "bytes" else "character"
    console.print(
        f"{len(corpus.files)} files, {len(tokens):,} symbols to learn from, {len(held):,} for validation; {net!r}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    done = progress.follow(console, net, training.train(net, tokens, settings), steps, per_symbol, sample_every)
    net.training = training.facts(settings, cell=cell, files=len(corpus.files), symbols=len(tokens), updates=done)
    if len(held) > 1:
        bits = training.evaluate(net, held) / per_symbol
        bigram = training.bigram_bits(tokens, held, len(symbols)) / per_symbol
        net.training |= {f"validation_bits_per_{unit}": round(bits, 4), f"bigram_bits_per_{unit}": round(bigram, 4)}
        console.print(f"validation: {bits:.3f} bits per {unit}; a bigram model has {bigram:.3f}", highlight=False)
    net.save(output)
    console.print(f"saved {output} ({output.stat().st_size:,} bytes)", highlight=False, soft_wrap=True)
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
    tokens = vocabulary.encode(_checked(prompt, "--prompt"))
    drawn = net.sample(tokens, length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    decoder = vocabulary.decoder()
    _write(prompt)
    for token in drawn:
        _write(decoder.push(token))
    _write(decoder.finish() + "\n")


@app.command()
def show(
    model: Annotated[Path | None, typer.Argument(help="Model file; without it, the one that comes along.")] = None,
    source: Annotated[bool, typer.Option("--source", help="Print the program made of the equations.")] = False,
) -> None:
    """Tell what is in a model file: sizes, parameters, equations, vocabulary, how it was trained."""
    net = _model(model)
    console = _console()

    def say(text: str = "") -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    if source:
        say(net.rnn.source + "\n")
        say(net.readout.source)
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
        say(f"  {net.vocabulary!r}\n  {_symbols(net.vocabulary, console.width - 4)}")
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
    try:
        code = app(standalone_mode=False)
    except ElmanError as error:
        _fail(str(error))
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
    print("elman: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(2)


def _console() -> "Console":
    from rich.console import Console

    return Console()


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


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
    if file is not None:
        content: str | bytes = read_bytes(file) if as_bytes else read_text(file)
    elif text == "-":
        data = sys.stdin.buffer.read()
        content = data if as_bytes else _decoded(data)
    else:
        content = _checked(text or "", "TEXT")
    if not content:
        raise TextError("the text is empty; at least one symbol is wanted")
    return content


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise TextError(
            f"standard input: byte {error.start} (0x{data[error.start]:02x}) is not UTF-8; "
            f"convert it, or use a model with a vocabulary of bytes"
        ) from None


def _checked(text: str, name: str) -> str:
    if not text:
        raise TextError(f"{name} is empty; at least one symbol is wanted")
    return text


def _summary(rows: list[dict[str, Any]], content: str | bytes, vocabulary: Vocabulary) -> str:
    bits = [row["bits"] for row in rows if row["bits"] is not None]
    if not bits:
        return "one symbol is followed by nothing, so there is no surprise to average"
    first = vocabulary.decode_bytes([rows[0]["token"]])
    first_length = len(first) if isinstance(content, bytes) else max(1, len(first.decode(errors="replace")))
    unit = "byte" if isinstance(content, bytes) else "character"
    mean = sum(bits) / max(1, len(content) - first_length)
    return f"{mean:.3f} bits per {unit}, perplexity {2 ** (sum(bits) / len(bits)):.2f} per symbol, over {len(bits)} symbols"


def _check_output(output: Path) -> None:
    """Before hours of training rather than after."""
    if output.is_dir():
        raise ModelFileError(f"{output} is a folder; name a file to write")
    if not output.absolute().parent.is_dir():
        raise ModelFileError(f"{output}: the folder {output.parent} does not exist")
    if not os.access(output.absolute().parent, os.W_OK):
        raise ModelFileError(f"{output}: the folder {output.parent} cannot be written")


def _symbols(vocabulary: Vocabulary, width: int) -> str:
    from elman.viz.terminal import shown

    text = ""
    for token in range(len(vocabulary)):
        more = shown(vocabulary, token) + " "
        if len(text) + len(more) > width - 4:
            return text + "..."
        text += more
    return text.rstrip()


if __name__ == "__main__":
    main()
