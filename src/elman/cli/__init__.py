"""The command `elman`, one command a file. They read, call the library and print; nothing is decided here."""

import io
import signal
import sys
from typing import Annotated, NoReturn

import typer

from elman import __version__
from elman.cli import bench, cache, cells, export, generate, importing, inspect, maps, plot, predict, show, train, verify
from elman.cli.panels import Panels
from elman.errors import ElmanError
from elman.interrupts import hear_again
from elman.viz import plain

app = typer.Typer(
    help="Recurrent networks from their equations.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command(short_help="What a model expects at each position of a text.")(predict.predict)
app.command(short_help="Every named value at each position of a text.")(inspect.inspect)
app.command(cls=Panels)(train.train)
app.command(short_help="Draw the learning curves of runs.")(plot.plot)
app.command()(generate.generate)
app.command(short_help="What is in a model file.")(show.show)
app.command(short_help="The cells that come along, or all of one.")(cells.cells)
app.command("import", short_help="Make a model of a file of PyTorch, Keras or ONNX.")(importing.import_)
app.command(short_help="Write a model as a program of its own.")(export.export)
app.command(short_help="What the arrays of other frameworks hold.")(maps.maps)
app.command(short_help="Whether a model gives what was recorded.")(verify.verify)
app.command(short_help="Measure elman and other libraries here.")(bench.bench)
app.command(short_help="Where compiled programs are kept; remove them.")(cache.cache)


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
        hear_again()
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


def _fail(message: str) -> NoReturn:
    print("elman: " + plain(" ".join(message.split())), file=sys.stderr)
    sys.exit(2)
