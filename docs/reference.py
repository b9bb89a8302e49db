"""Keeps the documentation current: runs its code blocks and writes what they print, and all that is generated.

    python docs/reference.py            write docs/command.md, the picture, the facts and outputs in README and docs
    python docs/reference.py --check    write nothing; say what is out of date and exit with 1

In a document a `python` or `bash` block is run, blocks of one document sharing variables and a folder; the `text` block
that follows holds what was printed (after `bash` it may be left out). Decimals may differ by one in the last place, as
machines sum in other orders. Of a `bash` block the `elman` commands run; installing and testing is skipped. A comment
`<!-- shortened: --steps 20 -->` before a block adds options to its `elman train`. What stands between
`<!-- generated: name -->` and `<!-- end -->` is generated.
"""

import argparse
import contextlib
import inspect
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from difflib import unified_diff
from importlib import metadata, resources
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pictures import PICTURE, picture, words_of
from sybil import Document, Example
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser
from typer.main import get_command

import elman
from elman.cli import app
from elman.gates import GATES
from elman.replay import OF_PASSES

ROOT = Path(__file__).resolve().parent.parent
COMMAND = ROOT / "docs" / "command.md"
DOCUMENTS = (ROOT / "README.md", *sorted(path for path in (ROOT / "docs").glob("*.md") if path != COMMAND))

SHELL = """
elman() { if [ "$1" = train ]; then "$PYTHON" -m elman "$@" $SHORTENED; else "$PYTHON" -m elman "$@"; fi; }
pip() { :; }
pytest() { :; }
ruff() { :; }
mypy() { :; }
"""
"""What the commands of a bash block are while it is checked."""

GENERATED = re.compile(r"(?s)(<!-- generated: (\w+) -->\n).*?(<!-- end -->)")
SHORTENED = re.compile(r"<!-- shortened: (.+?) -->\s*\Z")
NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]\d+)?")


# --- code blocks ------------------------------------------------------------------------------------------------------


class Blocks:
    """The code blocks of one document, run in order in a folder of their own."""

    def __init__(self, path: Path) -> None:
        parsers = [CodeBlockParser(name, getattr(self, name)) for name in ("python", "bash", "text")]
        self.document = Document.parse(str(path), *parsers)
        self.document.namespace["__name__"] = "__main__"
        self.waiting = ""  # printed, and not shown yet
        self.shown: list[tuple[int, int, str]] = []  # start and end of a text block's content, and what belongs there
        self.run_python = PythonEvaluator()

    def run(self) -> str:
        """The document's text with every output as it should be."""
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            for name in ("docs", "src", "recipes"):
                Path(name).symlink_to(ROOT / name)
            for example in self.document.examples():
                example.evaluate()
        self._all_shown(f"the end of {self.document.path}")
        text = self.document.text
        for start, end, printed in reversed(self.shown):
            text = text[:start] + printed + text[end:]
        return text

    def python(self, example: Example) -> None:
        """Run a block of Python."""
        self._all_shown(example)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            self.run_python(example)
        self.waiting = printed.getvalue()

    def bash(self, example: Example) -> None:
        """Run the commands of a block in a shell of 80 columns."""
        self._all_shown(example)
        shortened = SHORTENED.search(example.document.text[: example.region.start])
        here = os.environ | {
            "PYTHON": sys.executable,
            "PYTHONPATH": str(Path(elman.__file__).parent.parent),
            "PYTHONUTF8": "1",
            "COLUMNS": "80",
            "SHORTENED": shortened[1] if shortened else "",
        }
        command = ["bash", "-euo", "pipefail", "-c", SHELL + example.parsed]
        done = subprocess.run(command, env=here, capture_output=True, encoding="utf-8", check=False)
        if done.returncode:
            raise AssertionError(f"{_place(example)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        followed = example.document.text[example.region.end :].lstrip().startswith("```text")
        self.waiting = done.stdout if followed else ""

    def text(self, example: Example) -> None:
        """Put what was printed in the place of what a block shows."""
        start = example.region.start + example.parsed.offset
        self.shown.append((start, start + len(example.parsed), self.waiting))
        if not self.waiting:
            raise AssertionError(f"{_place(example)}: nothing was printed before this text block")
        self.waiting = ""

    def _all_shown(self, where: Any) -> None:
        if self.waiting:
            place = where if isinstance(where, str) else _place(where)
            raise AssertionError(f"before {place}: a block printed what no text block shows:\n{self.waiting}")


def _place(example: Example) -> str:
    return f"{Path(example.path).name}, line {example.line}"


# --- what is generated ------------------------------------------------------------------------------------------------


def shipped_model() -> str:
    """README's facts of the model that ships, from its file."""
    with resources.as_file(resources.files("elman") / "models" / "default.safetensors") as path:
        model, size = elman.load(path), path.stat().st_size
        stored = elman.io.safetensors.read(path)[1].get("stored", model.rnn.dtype)
    facts = model.training
    count = sum(value.size for value in model.parameters.values())
    rows = {
        "validation": f"{facts['validation_bits_per_character']:.3f} bits per character",
        "a bigram model on the same text": f"{facts['bigram_bits_per_character']:.3f} bits per character",
        "cell": f"{model.cell.name}, hidden {model.rnn.sizes['hidden']}, {model.rnn.dtype}",
        "parameters": f"{count:,}",
        "file": f"{size:,} bytes, weights as {stored}",
        "vocabulary": f"{len(model.vocabulary or '')} {model.vocabulary.kind if model.vocabulary else ''}",
        "learnt from": f"{facts['symbols']:,} characters: {facts['corpus']}",
        "learnt in": f"{facts['updates']:,} updates, {facts['seconds'] / 60:.0f} minutes",
        "recipe": f"`python {facts['recipe']} RUN src/elman/models/default.safetensors`",
    }
    return "| | |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in rows.items())


UNWRITTEN = (*OF_PASSES, "expand", "pad")
"""Gates that passes and gradients put in; no equation writes them."""


def operations() -> str:
    """What a cell's equations may use: a row for every gate that can be written."""
    rows = ""
    for name, gate in GATES.items():
        if name not in UNWRITTEN:
            gives = (gate.__doc__ or "").splitlines()[0].partition("; gradient")[0].rstrip(".").replace("|", "\\|")
            rows += f"| `{written_as(name)}` | {gives} |\n"
    return "| | |\n|---|---|\n" + rows


def written_as(name: str) -> str:
    """A gate as equations write it, with the letters of its formula."""
    gate = GATES[name]
    letters = [letter for letter in inspect.signature(gate.forward).parameters if letter not in ("start", "stop")]
    if "all" in gate.notation:
        return f"{name}(x1, x2, ...)"
    return gate.notation.format(*letters, start="start", stop="stop")


COMMAND_HEAD = """# The command `elman`

The help of every command, as it prints at 80 columns. Bad input gets one line on standard error and exit code 2. Ctrl-C
gives exit code 130; `elman train` then saves what it has learnt, or in a run a checkpoint. Without `--model` the model that
ships is used.

| in the environment | |
|---|---|
| `ELMAN_TARGET` | what runs equations: `llvm` (the default where it can be had), `numpy` or `interpreter` |
| `ELMAN_MACHINE` | a lesser machine to compile for: `avx512`, `avx2`, `avx2-128`, `neon`; bits are equal on all |
| `ELMAN_CACHE` | the folder of compiled programs, instead of the user's cache; empty: none is kept |

They hold in Python, too; there `target="numpy"` says the first for one layer, `with elman.machine("avx2"):` the second for a
block.
"""

SECTIONS: dict[str, Callable[[], str]] = {"model": shipped_model, "operations": operations}


def command_reference() -> str:
    """The whole of docs/command.md."""
    parts = [
        COMMAND_HEAD,
        f"<!-- written by docs/reference.py with Typer {metadata.version('typer')}; change src/elman/cli/ instead -->\n",
    ]
    for name, text in helps():
        parts.append(f"## `{name}`\n\n```\n{text}\n```\n")
    return "\n".join(parts)


def helps() -> Iterator[tuple[str, str]]:
    """Name and help of the command, then of each of its commands, as a terminal of 80 columns shows it.

    Not by the `CliRunner` of Typer, which lets lines be two columns longer than a terminal does.
    """
    command = get_command(app)
    for name in ("", *command.commands):
        printed = io.StringIO()
        with patch.dict(os.environ, {"COLUMNS": "80"}), contextlib.redirect_stdout(printed):
            command.main([name, "--help"] if name else ["--help"], prog_name="elman", standalone_mode=False)
        yield f"elman {name}".strip(), printed.getvalue().strip()


def words_of_commands() -> Iterator[str]:
    """Every option and every sentence of help that the reference must hold, however it is laid out."""
    for command in get_command(app).commands.values():
        yield " ".join((command.help or "").split())
        for parameter in command.params:
            yield from (option for option in parameter.opts if option.startswith("-"))
            yield " ".join((getattr(parameter, "help", None) or "").split())


# --- current or not ---------------------------------------------------------------------------------------------------


def current(path: Path) -> str:
    """What a document should hold."""
    text = Blocks(path).run()
    return GENERATED.sub(lambda found: found[1] + SECTIONS[found[2]]() + found[3], text)


def alike(old: str, new: str) -> bool:
    """Whether two texts say the same: runs of blanks aside, and decimals within one in the last place."""
    old_parts, new_parts = (" ".join(NUMBER.sub("#", text).split()) for text in (old, new))
    numbers = list(zip(NUMBER.findall(old), NUMBER.findall(new), strict=False))
    return old_parts == new_parts and all(_near(a, b) for a, b in numbers)


def _near(a: str, b: str) -> bool:
    """Equal, or one apart in the last place of the one with more places; a single decimal must be the same."""
    one, other = Decimal(a), Decimal(b)
    places = min(int(one.as_tuple().exponent), int(other.as_tuple().exponent))
    return one == other or (places < -1 and abs(one - other) <= Decimal(1).scaleb(places))


def difference(old: str, new: str, name: str) -> str:
    """What is out of date, as lines taken away and added."""
    lines = unified_diff(old.splitlines(), new.splitlines(), f"{name}, as it is", f"{name}, as it should be", lineterm="")
    return "\n".join(lines)


def stale() -> Iterator[tuple[Path, str, str]]:
    """Every file that is out of date: its path, what it holds, what it should hold."""
    for path in DOCUMENTS:
        old, new = path.read_text(encoding="utf-8"), current(path)
        if not alike(old, new):
            yield path, old, new
    old = COMMAND.read_text(encoding="utf-8") if COMMAND.exists() else ""
    if not command_is_current(old):
        yield COMMAND, old, command_reference()
    old, new = PICTURE.read_text(encoding="utf-8") if PICTURE.exists() else "", picture()
    if not alike(words_of(old), words_of(new)):
        yield PICTURE, old, new


def command_is_current(old: str) -> bool:
    """Compared exactly under the Typer that wrote it, and by its words under another, whose layout may differ."""
    if f"with Typer {metadata.version('typer')};" in old:
        return old == command_reference()
    words = " ".join(old.split())
    return all(word in words for word in words_of_commands())


def main() -> None:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if something is out of date")
    given, found = parser.parse_args(), 0
    for path, old, new in stale():
        found += 1
        name = path.relative_to(ROOT)
        if given.check:
            print(name if path == PICTURE else difference(old, new, str(name)))
        else:
            path.write_text(new, encoding="utf-8")
            print(f"wrote {name}")
    sys.exit(f"{found} out of date; run python docs/reference.py" if given.check and found else 0)


if __name__ == "__main__":
    main()
