"""The command, as a person and as a script use it: what it prints, what it writes, and what it says when it cannot."""

import csv
import fcntl
import inspect
import io
import json
import math
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len

import elman
from elman import cli, train
from elman.cli import learning
from elman.data import Streams
from elman.optim import SGD, AdamW
from elman.schedules import Averaging, Cosine, WarmUp
from elman.text import Vocabulary
from elman.trainer import Progress
from elman.viz import plain, progress, terminal

RHYME = "the cat sat on the mat; the rat ate the oat.\nthe bat, the hat and the gnat: that is that!\n"
WIDE = "日本 wörd 🙂\tx\ny e\u0301 \u200d~\x1b[2J"
KINDS = ("characters", "bytes", "words", "subwords")
COMMANDS = ("predict", "inspect", "train", "plot", "generate", "show", "cells", "export")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
SOURCE = str(Path(elman.__file__).parent.parent)

every_kind = pytest.mark.parametrize("kind", KINDS)


# ---------------------------------------------------------------- running it


HANDLERS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
    signal.SIGPIPE: signal.SIG_IGN,
}
"""What Python has at its start, also where this run was started in the background or under nohup."""


class Done:
    """What a run of the command left: exit code, standard output, standard error."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def lines(self):
        return self.out.splitlines()


@pytest.fixture
def command(monkeypatch, capsys):
    """The command in this process, which is a tenth of a second cheaper than in one of its own."""
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    before = {number: signal.signal(number, handler) for number, handler in HANDLERS.items()}

    def run(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "argv", ["elman", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return Done(stop.value.code, *capsys.readouterr())

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR", "NO_COLOR")}
    return kept | {"PYTHONPATH": SOURCE, "PYTHONUTF8": "1", "OPENBLAS_NUM_THREADS": "1"} | more


def as_from_a_shell():
    for number in HANDLERS:
        signal.signal(number, signal.SIG_DFL)


def start(*arguments, **settings):
    settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
    settings.setdefault("preexec_fn", as_from_a_shell)
    settings["env"] = environment(**settings.get("env", {}))
    return subprocess.Popen([sys.executable, "-m", "elman", *arguments], **settings)


def finish(process, **settings):
    try:
        out, err = process.communicate(timeout=60, **settings)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Done(process.returncode, *(None if stream is None else stream.decode() for stream in (out, err)))


def on_terminal(*arguments, columns=80, until=None):
    """What the command writes on a terminal of so many columns; `until` ends it with Ctrl-C once that is there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = start(*arguments, stdin=theirs, stdout=theirs, stderr=theirs, env={"TERM": "xterm-256color"})
    os.close(theirs)
    seen = b""
    try:
        while piece := os.read(ours, 65536):
            seen += piece
            if until is not None and until in seen:
                process.send_signal(signal.SIGINT)
                until = None
    except OSError:  # Linux says so when the other side is closed
        pass
    os.close(ours)
    return Done(process.wait(timeout=60), seen.decode(), "")


@pytest.fixture
def terminal_command(command, monkeypatch):
    """The command in this process, which takes its output for a terminal."""

    def run(*arguments, columns=80):
        with monkeypatch.context() as patch:
            patch.setenv("FORCE_COLOR", "1")
            patch.setenv("TERM", "xterm-256color")
            patch.setenv("COLUMNS", str(columns))
            return command(*arguments)

    return run


def as_seen(out):
    """The lines of a terminal, without colours."""
    return re.split(r"[\r\n]+", ESCAPE.sub("", out))


# ---------------------------------------------------------------- models to run


def vocabulary_of(kind):
    return Vocabulary.of_kind(kind, RHYME * 3, 300 if kind == "subwords" else None)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """One small model of each kind, with weights large enough that its predictions differ."""
    folder, paths = tmp_path_factory.mktemp("models"), {}
    for kind in KINDS:
        vocabulary = vocabulary_of(kind)
        model = elman.Model(len(vocabulary), 12, cell=elman.cells.gru, seed=3, vocabulary=vocabulary)
        rng = np.random.default_rng(4)
        model.update({name: rng.normal(size=p.shape) for name, p in model.parameters.items()})
        paths[kind] = folder / f"{kind}.safetensors"
        model.save(paths[kind])
    return paths


@pytest.fixture(scope="module")
def steady(tmp_path_factory):
    """A model whose prediction is the same whatever it reads: a 60%, b 25%, c 10%, unknown 5%."""
    path = tmp_path_factory.mktemp("steady") / "steady.safetensors"
    model = elman.Model(4, 2, vocabulary=Vocabulary.characters("abc"))
    zeros = {name: np.zeros(p.shape) for name, p in model.parameters.items()}
    model.update(zeros | {"by": np.log([0.6, 0.25, 0.1, 0.05])})
    model.save(path)
    return path


@pytest.fixture
def corpus(tmp_path):
    """A folder of text, with folders, a binary file, a hidden one and one that is not UTF-8."""
    folder = tmp_path / "corpus"
    (folder / "sub").mkdir(parents=True)
    (folder / "b.txt").write_text(RHYME * 2)
    (folder / "a.txt").write_text("first: " + RHYME)
    (folder / "sub" / "c.md").write_text(RHYME.upper())
    (folder / "sub" / "image.png").write_bytes(b"\x89PNG\x00\x00\xff")
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    (folder / ".hidden").write_text("unseen")
    return folder


CORPUS = "first: " + RHYME + RHYME * 2 + RHYME.upper()
QUICK = ("--steps", 3, "--hidden", 6, "--length", 8, "--batch", 2)


def surprise(model, tokens):
    """Surprise in bits of each token after the first, from the probabilities of the library, one by one."""
    probabilities = model.forward_propagation(tokens).probabilities
    return [-math.log2(float(probabilities[t, token])) for t, token in enumerate(tokens[1:])]


# ---------------------------------------------------------------- predict


def test_predict_to_the_letter(command, steady):
    done = command("predict", "abcxa", "--model", steady)
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        "    # read    expected next                                     came      bits\n"
        "    0 a       a 60%  b 25%  c 10%  � 5%                         b         2.00\n"
        "    1 b       a 60%  b 25%  c 10%  � 5%                         c         3.32\n"
        "    2 c       a 60%  b 25%  c 10%  � 5%                         �         4.32\n"
        "    3 �       a 60%  b 25%  c 10%  � 5%                         a         0.74\n"
        "    4 a       a 60%  b 25%  c 10%  � 5%\n"
        "1 of 5 symbols is unknown to the vocabulary of this model\n"
        "2.595 bits per character, perplexity 6.04 per symbol, over 4 symbols\n"
    )
    mean = -sum(math.log2(p) for p in (0.25, 0.1, 0.05, 0.6)) / 4
    assert (round(mean, 3), round(2**mean, 2)) == (2.595, 6.04)


def test_top_is_how_many_are_told(command, steady):
    lines = command("predict", "ab", "-m", steady, "--top", 2).lines
    assert lines[1] == "    0 a       a 60%  b 25%                                      b         2.00"
    assert json.loads(command("predict", "a", "-m", steady, "--top", 99, "--json").out)["next"][3]["token"] == 3


def test_what_has_no_room_is_told(command, models, steady, monkeypatch):
    """How many of the likeliest stand in the lines, the fewest and the most."""
    *table, note, summary = command("predict", RHYME, "--top", 12, "-m", models["words"]).lines
    shares = [len(re.findall(r"\d%", line)) for line in table[1:]]
    assert 0 < min(shares) < max(shares) < 12
    assert note == f"of 12 likeliest, {min(shares)} to {max(shares)} fit in 80 columns; --json tells all"
    assert summary.split()[1:3] == ["bits", "per"]
    monkeypatch.setenv("COLUMNS", "50")
    lines = command("predict", "ab", "-m", steady).lines
    assert lines[1] == "    0 a       a 60%  b 25%        b         2.00"
    assert lines[-2] == "of 4 likeliest, 2 fit in 50 columns; --json tells all"  # four, since it has no more symbols
    monkeypatch.setenv("COLUMNS", "80")
    assert not [line for line in command("predict", "ab", "-m", steady, "--top", 4).lines if "likeliest" in line]


def test_what_is_unlikely_is_not_called_impossible(command, steady, tmp_path):
    model = elman.load(steady)
    model.update({"by": np.log([0.9, 0.096, 0.003, 0.001])})
    model.save(tmp_path / "sure.safetensors")
    assert "a 90%  b 10%  c <1%  � <1%" in command("predict", "a", "-m", tmp_path / "sure.safetensors").out


def test_a_probability_of_zero_still_has_its_surprise(command, steady, tmp_path):
    """In float32 e^-200 is 0, and -log2(0) infinite; the logits know better. And a certain symbol surprises by 0, not -0."""
    model = elman.load(steady)
    model.update({"by": [0.0, -200.0, -200.0, -200.0]})
    model.save(tmp_path / "sure.safetensors")
    rows = [json.loads(line) for line in command("predict", "aab", "--json", "-m", tmp_path / "sure.safetensors").lines]
    assert rows[1]["bits"] == pytest.approx(200 / math.log(2), rel=1e-6)
    assert (rows[0]["bits"], math.copysign(1, rows[0]["bits"])) == (0.0, 1.0)
    shown = command("predict", "aab", "-m", tmp_path / "sure.safetensors").lines
    assert shown[1].endswith(" 0.00")
    assert "-0.00" not in shown[1]


@every_kind
@pytest.mark.parametrize("text", [RHYME, "the cat", WIDE, "\n\t \r\n\n", "日本語🙂"])
def test_json_is_what_the_library_says(command, models, kind, text):
    model = elman.load(models[kind])
    vocabulary = model.vocabulary
    tokens = vocabulary.encode(text)
    probabilities = model.forward_propagation(tokens).probabilities
    done = command("predict", text, "--json", "--top", 3, "-m", models[kind])
    assert (done.code, done.err) == (0, "")
    rows = [json.loads(line) for line in done.out.split("\n")[:-1]]
    assert [row["position"] for row in rows] == list(range(len(tokens)))
    assert [row["token"] for row in rows] == tokens.tolist()
    assert [row["followed_by_token"] for row in rows] == [*tokens[1:].tolist(), None]
    for row, p in zip(rows, probabilities, strict=True):
        best = sorted(range(len(p)), key=lambda token: (-p[token], token))[:3]
        assert [entry["token"] for entry in row["next"]] == best
        assert [entry["probability"] for entry in row["next"]] == [float(p[token]) for token in best]
    assert [row["bits"] for row in rows[:-1]] == pytest.approx(surprise(model, tokens), rel=1e-12)
    assert rows[-1]["bits"] is rows[-1]["followed_by"] is None
    if kind == "characters":
        assert "".join(row["symbol"] for row in rows) == vocabulary.decode(tokens)
        assert [row["symbol"] for row in rows[1:]] == [row["followed_by"] for row in rows[:-1]]


def test_json_of_bytes_names_what_is_no_text(command, models):
    rows = [json.loads(line) for line in command("predict", "aé", "--json", "-m", models["bytes"]).lines]
    assert [row["symbol"] for row in rows] == ["a", "\\xc3", "\\xa9"]


@every_kind
@pytest.mark.parametrize("text", [RHYME, "the cat", "that is\tthat", "the wörd 🙂 that"])
def test_mean_bits_and_perplexity(command, models, kind, text):
    """The first symbol is given, so neither its surprise nor its length counts."""
    model = elman.load(models[kind])
    tokens = model.vocabulary.encode(text)
    bits = surprise(model, tokens)
    if kind == "bytes":
        length, unit = len(text.encode()) - 1, "byte"
    else:
        length, unit = len(text) - len(model.vocabulary.decode(tokens[:1])), "character"
    expected = f"{sum(bits) / length:.3f} bits per {unit}, perplexity {2 ** (sum(bits) / len(bits)):.2f} per symbol, "
    assert command("predict", text, "-m", models[kind]).lines[-1] == expected + f"over {len(bits)} symbols"


def test_one_symbol_has_no_mean(command, steady):
    assert command("predict", "a", "-m", steady).lines[1:] == [
        "    0 a       a 60%  b 25%  c 10%  � 5%",
        "one symbol is followed by nothing, so there is no surprise to average",
    ]


@pytest.mark.parametrize(
    ("text", "told"), [("xyz", "3 of 3 symbols are"), ("x", "1 of 1 symbol is"), ("abxc", "1 of 4 symbols is"), ("abc", "")]
)
def test_symbols_that_are_unknown_are_counted(command, steady, text, told):
    lines = command("predict", text, "-m", steady).lines
    found = [line for line in lines if "unknown" in line]
    assert found == [f"{told} unknown to the vocabulary of this model"] * bool(told)
    assert len(lines) == len(text) + 2 + bool(told)


def test_text_comes_from_an_argument_a_file_or_standard_input(command, models, tmp_path):
    text = RHYME + WIDE
    (tmp_path / "text").write_bytes(text.encode())
    for kind in ("characters", "bytes"):
        for form in ((), ("--json",)):
            expected = command("predict", text, "-m", models[kind], *form).out
            assert len(expected) > 1000
            assert command("predict", "-f", tmp_path / "text", "-m", models[kind], *form).out == expected
            assert command("predict", "--file", tmp_path / "text", "--model", models[kind], *form).out == expected
            assert command("predict", "-", "-m", models[kind], *form, stdin=text.encode()).out == expected


def test_a_byte_order_mark_is_not_text(command, models, tmp_path):
    expected = command("predict", "the cat", "-m", models["characters"]).out
    data = b"\xef\xbb\xbfthe cat"
    (tmp_path / "text").write_bytes(data)
    assert command("predict", "-f", tmp_path / "text", "-m", models["characters"]).out == expected
    assert command("predict", "-", "-m", models["characters"], stdin=data).out == expected


def test_a_vocabulary_of_bytes_reads_everything(command, models, tmp_path):
    data = b"a\xff\x00\xc3b"
    (tmp_path / "text").write_bytes(data)
    out = command("predict", "-f", tmp_path / "text", "--json", "-m", models["bytes"]).out
    assert [json.loads(line)["token"] for line in out.splitlines()] == list(data)
    assert command("predict", "-", "--json", "-m", models["bytes"], stdin=data).out == out
    typed = finish(start(b"predict", b"a\xff\xc3b", b"--json", b"-m", os.fsencode(models["bytes"])))
    assert (typed.code, typed.err) == (0, "")
    assert [json.loads(line)["token"] for line in typed.lines] == [97, 255, 195, 98]


def test_long_text_goes_through_in_chunks(command, models, tmp_path):
    """The state is carried from chunk to chunk, and positions count on."""
    text = (RHYME * 40)[: 2 * terminal.CHUNK + 77]
    (tmp_path / "text").write_text(text)
    done = command("predict", "-f", tmp_path / "text", "--json", "-m", models["characters"])
    rows = [json.loads(line) for line in done.lines]
    model = elman.load(models["characters"])
    expected = surprise(model, model.vocabulary.encode(text))
    assert [row["position"] for row in rows] == list(range(len(text)))
    assert [row["bits"] for row in rows[:-1]] == pytest.approx(expected, rel=1e-3, abs=1e-4)


@every_kind
@pytest.mark.parametrize("columns", [40, 60, 80, 133])
def test_lines_fit_the_terminal(command, models, monkeypatch, kind, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    done = command("predict", RHYME + WIDE + "antidisestablishmentarianism 漢字漢字漢字漢字漢字漢字 the", "-m", models[kind])
    assert done.code == 0
    beside = re.compile(r"of 5 likeliest|\d+ of \d+ symbols (is|are) unknown")
    *table, summary = (line for line in done.lines if not beside.match(line))
    assert max(map(cell_len, table)) <= columns
    assert all(line == line.rstrip() for line in table)
    assert [int(line.split()[0]) for line in table[1:]] == list(range(len(table) - 1))
    assert "\x1b" not in done.out
    assert "\u200d" not in "".join(table)
    assert re.fullmatch(r"\d+\.\d{3} bits per .*", summary)


def test_columns_stay_in_place_beside_wide_characters(command, models, tmp_path):
    vocabulary = Vocabulary.characters("日本🙂ab \n")
    model = elman.Model(len(vocabulary), 4, vocabulary=vocabulary)
    model.save(tmp_path / "wide.safetensors")
    header, *table, _ = command("predict", "日a🙂b\n 本a", "-m", tmp_path / "wide.safetensors").lines
    bits = cell_len(header)
    for line in table[:-1]:
        assert cell_len(line) == bits
        assert re.search(r" \d+\.\d\d$", line)
    came = header.index("came")
    assert [re.split(r" +\d", line[came - 5 :].strip())[0].split()[-1] for line in (table[0], table[2])] == ["a", "b"]
    assert "'" not in table[0].split()[1]
    assert table[4].split()[1] == "\\n"
    assert table[5].split("  ")[2].strip().startswith("5 ' '")


def test_long_words_are_cut_with_a_sign(command, tmp_path):
    text = "antidisestablishmentarianism is a word"
    vocabulary = Vocabulary.words(text)
    model = elman.Model(len(vocabulary), 4, vocabulary=vocabulary)
    model.update({"by": [9.0 * (b"anti" in symbol) for symbol in vocabulary.symbols]})
    model.save(tmp_path / "words.safetensors")
    lines = command("predict", text, "-m", tmp_path / "words.safetensors").lines
    assert lines[1].startswith("    0 antidisestabli… antidisestabli… 100%  ")
    assert max(map(len, lines[:-1])) <= 80


# ---------------------------------------------------------------- terminals and pipes


def test_a_pipe_gets_plain_text(models):
    done = finish(start("predict", RHYME, "-m", str(models["characters"]), env={"TERM": "xterm-256color"}))
    assert (done.code, done.err) == (0, "")
    assert "\x1b" not in done.out
    assert len(done.lines) == len(RHYME) + 2


def test_a_terminal_gets_colour_and_lines_that_fit(models):
    done = on_terminal("predict", RHYME + WIDE, "-m", str(models["characters"]))
    assert done.code == 0
    assert {"\x1b[1m", "\x1b[36m", "\x1b[31m"} <= set(ESCAPE.findall(done.out))  # bold, cyan, red
    assert "\x1b[2J" not in done.out
    assert max(map(cell_len, as_seen(done.out))) <= 80


def test_a_closed_pipe_is_quiet(models, tmp_path):
    text = tmp_path / "text"
    text.write_text(RHYME * 100)
    for arguments in (["predict", "-f", str(text)], ["generate", "--length", "100000000"], ["show", "--source"]):
        with start(*arguments, *([] if "show" in arguments else ["-m"]), str(models["characters"])) as process:
            assert process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait(timeout=60) in (0, -signal.SIGPIPE)


def test_no_room_for_the_output_is_one_line(steady):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no full device")
    for arguments in (["predict", "ab"], ["predict", "ab", "--json"], ["generate"]):
        with full.open("wb") as out:
            done = finish(start(*arguments, "-m", str(steady), stdout=out))
        assert (done.code, done.err) == (2, f"elman: {os.strerror(28)}\n")


def test_a_terminal_without_unicode_gets_escapes(models):
    plain_ascii = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    shown = finish(start("predict", "日", "-m", str(models["characters"]), env=plain_ascii))
    assert (shown.code, shown.err) == (0, "")
    assert "\\ufffd" in shown.out
    told = finish(start("predict", "日", "--json", "-m", str(models["characters"]), env=plain_ascii))
    assert json.loads(told.out)["symbol"] == "\ufffd"
    assert told.out.isascii()


def test_models_that_are_none_of_language_say_so(command, tmp_path):
    vocabulary = Vocabulary.characters("abc", unknown=False)
    layer = elman.RNN(elman.cells.gru, input=3, hidden=4)
    for pool, outputs in (("mean", 3), (None, 2)):
        elman.Model.from_layers(layer, outputs, pool=pool, vocabulary=vocabulary).save(tmp_path / "model")
        for line in (("predict", "abc"), ("generate", "--prompt", "a")):
            done = command(*line, "-m", tmp_path / "model")
            assert done.code == 2
            assert done.err == (
                "elman: this model gives something else than the next symbol; use it from Python, or elman inspect\n"
            )
    elman.Model.from_layers(layer, 2, pool="last", vocabulary=vocabulary).save(tmp_path / "model")
    assert command("inspect", "abca", "--values", "h", "-m", tmp_path / "model").code == 0
    done = command("inspect", "abca", "--values", "h,logits", "-m", tmp_path / "model")
    assert (done.code, done.err) == (
        2, "elman: --values logits: this model reads a text once, so logits has no positions; use Python\n"
    )  # fmt: skip


# ---------------------------------------------------------------- train


def trained(command, corpus, *arguments, path=None, stdout=None):
    path = path or corpus.parent / "model.safetensors"
    done = command("train", corpus, "-o", path, *QUICK, *arguments)
    assert (done.code, done.err) == (0, "")
    return elman.load(path), done


def test_every_option_reaches_the_library(command, corpus):
    options = {
        "cell": "lstm", "hidden": 5, "layers": 2, "dropout": 0.2, "length": 7, "batch": 3, "rate": 0.02, "clip": 0.3,
        "truncate": 4, "steps": 6, "seed": 11, "validation": 0.25, "vocabulary": "characters", "size": 12, "sample-every": 4,
        "optimiser": "rmsprop", "schedule": "steps,every=2",
    }  # fmt: skip
    path = corpus.parent / "all.safetensors"
    named = [text for name, value in options.items() for text in (f"--{name}", value)]
    done = command("train", corpus, "--output", path, *named, "--suffix", ".txt")
    assert (done.code, done.err) == (0, "")
    text = CORPUS.removesuffix(RHYME.upper())
    vocabulary = Vocabulary.characters(text, 12)
    tokens = vocabulary.encode(text)
    held = round(len(tokens) * 0.25)
    expected = elman.Model(12, 5, 4, elman.cells.lstm, 11, layers=2, dropout=0.2, vocabulary=vocabulary)
    settings = train.Settings(length=7, batch=3, steps=6, rate=0.02, clip=0.3, seed=11, optimiser="rmsprop")
    settings = replace(settings, schedule="steps,every=2")
    assert [now.step for now in train.train(expected, tokens[:-held], settings)] == [1, 2, 3, 4, 5, 6]
    found = elman.load(path)
    assert (found.bptt_truncate, found.cell.name, found.vocabulary) == (4, "lstm", vocabulary)
    for name, value in expected.parameters.items():
        np.testing.assert_array_equal(found.parameters[name], value, err_msg=name)
    bits, bigram = train.evaluate(expected, tokens[-held:]), train.bigram_bits(tokens[:-held], tokens[-held:], 12)
    assert found.training == {
        "length": 7, "batch": 3, "steps": 6, "rate": 0.02, "clip": 0.3, "seed": 11, "warm_up": 50,
        "optimiser": "rmsprop", "schedule": "steps,every=2", "cell": "lstm", "files": 2,
        "label_smoothing": 0.0, "recompute": False, "dropout": 0.2,
        "symbols": len(tokens) - held, "updates": 6,
        "validation_bits_per_character": round(bits, 4), "bigram_bits_per_character": round(bigram, 4),
    }  # fmt: skip
    assert f"validation: {bits:.3f} bits per character; a bigram model has {bigram:.3f}\n" in done.out


REGULAR = {
    "hidden": 5, "length": 9, "batch": 3, "rate": 0.02, "warm-up": 2, "steps": 6, "seed": 11, "optimiser": "adamw",
    "clip": 0.05, "clip-value": 0.01, "weight-decay": 0.3, "average": 0.8, "label-smoothing": 0.15,
}  # fmt: skip


MOMENTUM = ("--optimiser", "sgd", "--momentum", 0.7, "--nesterov")
BETAS = ("--beta1", 0.8, "--beta2", 0.95)


@pytest.mark.parametrize("dropped", [True, False], ids=["dropout", "windows that overlap"])
def test_what_a_trainer_can_do_the_command_can(command, corpus, monkeypatch, dropped):
    """Written out from the parts of the library; the model is the average, and so is what is measured."""
    path = corpus.parent / "regular.safetensors"
    named = [text for name, value in REGULAR.items() for text in (f"--{name}", value)]
    more = ("--recurrent-dropout", 0.3, "--recompute", *BETAS) if dropped else ("--truncate", "2,5", *MOMENTUM)
    gradients, recomputed = elman.Model.gradients, []

    def spied(self, *arguments, **settings):
        recomputed.append(settings["recompute"])
        return gradients(self, *arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(elman.Model, "gradients", spied)
        done = command("train", corpus, "-o", path, *named, *more)
    assert (done.code, done.err, recomputed) == (0, "", [dropped] * 6)
    vocabulary = Vocabulary.characters(CORPUS)
    tokens = vocabulary.encode(CORPUS)
    held = round(len(tokens) * 0.1)
    how = {"bptt_truncate": 9, "recurrent_dropout": 0.3} if dropped else {"bptt_truncate": (2, 5)}
    model = elman.Model(len(vocabulary), 5, cell=elman.cells.gru, seed=11, vocabulary=vocabulary, **how)
    source = Streams(tokens[:-held], batch=3, length=9, seed=11)
    rule = AdamW(0.8, 0.95, weight_decay=0.3) if dropped else SGD(momentum=0.7, nesterov=True, weight_decay=0.3)
    limits = {"clip": 0.05, "clip_value": 0.01, "label_smoothing": 0.15, "averaging": Averaging(0.8), "recompute": dropped}
    trainer = elman.Trainer(model, source, rule, WarmUp(Cosine(0.02, 6, 0.001), 2), steps=6, seed=11, **limits)
    assert len(list(trainer)) == 6
    found, last = elman.load(path), dict(model.parameters)
    with trainer.averaged():
        for name, value in model.parameters.items():
            np.testing.assert_array_equal(found.parameters[name], value, err_msg=name)
            assert not np.array_equal(value, last[name]), name
        bits = train.evaluate(model, tokens[-held:])
    assert f"validation: {bits:.3f} bits per character" in done.out
    assert found.bptt_truncate == how["bptt_truncate"]
    assert found.rnn.recurrent_dropout == how.get("recurrent_dropout", 0.0)
    facts = {name.replace("-", "_"): value for name, value in REGULAR.items() if name != "hidden"}
    facts |= {"beta1": 0.8, "beta2": 0.95} if dropped else {"optimiser": "sgd", "momentum": 0.7, "nesterov": True}
    assert {name: found.training[name] for name in facts} == facts
    assert found.training["recompute"] is dropped
    assert found.training.get("recurrent_dropout") == (0.3 if dropped else None)
    assert found.training["validation_bits_per_character"] == round(bits, 4)


@pytest.mark.parametrize(
    "option",
    [
        ("--cell", "elman"), ("--hidden", "7"), ("--length", "9"), ("--batch", "3"), ("--rate", "0.02"),
        ("--clip", "0.01"), ("--truncate", "2"), ("--steps", "4"), ("--seed", "1"), ("--validation", "0.3"),
        ("--size", "9"), ("--suffix", ".md"), ("--vocabulary", "bytes"), ("--layers", "2"), ("--optimiser", "sgd"),
        ("--schedule", "steps,every=1"), ("--warm-up", "1"), ("--weight-decay", "0.5"), ("--average", "0.5"),
        ("--clip-value", "0.001"), ("--recurrent-dropout", "0.5"), ("--label-smoothing", "0.2"), ("--truncate", "1,2"),
        ("--beta1", "0.5"), ("--beta2", "0.5"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_each_option_changes_the_file(command, corpus, option):
    base, _ = trained(command, corpus)
    other, _ = trained(command, corpus, *option)
    differs = {
        name
        for name, value in base.parameters.items()
        if name not in other.parameters or not np.array_equal(other.parameters[name], value)
    }
    assert "wya" in differs


def test_the_defaults_are_those_that_help_tells(command, corpus):
    path = corpus.parent / "model.safetensors"
    assert command("train", corpus, "-o", path, "--steps", 1).code == 0
    model = elman.load(path)
    assert (model.cell.name, model.rnn.sizes["hidden"], model.bptt_truncate) == ("gru", 128, 64)
    settings = {"length": 64, "batch": 32, "rate": 0.01, "clip": 1.0, "seed": 0, "optimiser": "adam", "schedule": "cosine"}
    assert {name: model.training[name] for name in settings} == settings
    assert model.training["symbols"] == len(CORPUS) - round(len(CORPUS) * 0.1)
    unset = {"average", "clip_value", "momentum", "nesterov", "beta1", "beta2", "weight_decay", *learning.DROPOUT}
    assert not unset & set(model.training)
    assert model.training["warm_up"] == 50
    shown = command("train", "--help").out
    panels = ["Arguments", "Options", "Text", "Model", "Updates", "Against learning by heart", "Runs"]
    assert re.findall(r"^(\S.*):$", shown, re.MULTILINE) == panels
    assert shown.index("\nModel:") < shown.index("--cell-size") < shown.index("\nUpdates:")
    for name, value in {
        "cell": "gru",
        "hidden": 128,
        "length": 64,
        "batch": 32,
        "rate": 0.01,
        "clip": 1.0,
        "steps": 2000,
    }.items():
        assert re.search(rf"--{name} [^\[]*\[default:\s+{re.escape(str(value))}\]", shown), name


@pytest.mark.parametrize("name", elman.cells.CELLS)
def test_every_cell_learns_as_its_description_says(command, corpus, name):
    """The last line of `elman cells NAME`, with a corpus in it, trains every parameter; and the file opens again."""
    path = corpus.parent / "model.safetensors"
    line = command("cells", name).lines[-1].split()
    assert line[:5] == ["elman", "train", "FILES", "-o", "MODEL"]
    options = [text.replace("=64", "=5") for text in line[5:]]
    done = command("train", corpus, "-o", path, *QUICK, *options)
    assert (done.code, done.err) == (0, "")
    model, sizes = elman.load(path), dict.fromkeys(elman.cells.CELLS[name].sizes, 5)
    assert model.cell.name == model.training["cell"] == name
    assert model.rnn.sizes == sizes | {"input": len(model.vocabulary), "hidden": 6}
    further = {size: 5 for size in sizes if size not in ("input", "hidden")}
    fresh = elman.Model(len(model.vocabulary), 6, 8, elman.cells.CELLS[name], **further)
    for parameter, value in fresh.parameters.items():
        assert not np.array_equal(model.parameters[parameter], value), parameter
    tokens = model.vocabulary.encode(RHYME)
    rows = [json.loads(row) for row in command("predict", RHYME, "--json", "-m", path).lines]
    assert [row["bits"] for row in rows[:-1]] == pytest.approx(surprise(model, tokens), rel=1e-6)


@pytest.mark.parametrize(("share", "kept"), [("0.1", "1 symbol"), ("0.01", "0 symbols"), ("0", "0 symbols")])
def test_a_training_without_validation_says_so(command, tmp_path, share, kept):
    (tmp_path / "text").write_text("the cat sat")
    done = command("train", tmp_path / "text", "-o", tmp_path / "model", *QUICK, "--validation", share)
    assert (done.code, done.err) == (0, "")
    assert done.lines[-2] == f"validation: none, with {kept} kept for it; at least 2 are wanted"
    assert "validation_bits_per_character" not in elman.load(tmp_path / "model").training


@pytest.mark.parametrize(("option", "value", "most"), [("length", 10_000_000, 99), ("length", 100, 99), ("batch", 50, 49)])
def test_windows_that_the_text_does_not_hold_are_refused(command, tmp_path, option, value, most):
    (tmp_path / "text").write_text(("the cat sat. " * 8)[:100])
    given = ("train", tmp_path / "text", "-o", tmp_path / "model", *QUICK, "--validation", 0)
    done = command(*given, f"--{option}", value)
    text = "the text has 100 symbols to learn from"
    text += ", and each of the windows takes 2 or more" if option == "batch" else ""
    assert done.err == f"elman: --{option} {value}: {text}; take --{option} {most} at most, or more text\n"
    assert (done.code, done.out, (tmp_path / "model").exists()) == (2, "", False)
    assert command(*given, f"--{option}", most).code == 0


def test_windows_that_are_cut_are_told(command, tmp_path):
    (tmp_path / "text").write_text(("the cat sat. " * 8)[:100])
    given = ("train", tmp_path / "text", "-o", tmp_path / "model", "--steps", 1, "--validation", 0)
    told = "{} are more than the text holds: {} at a time"
    cut = [line for line in command(*given).lines if "more than" in line]
    assert cut == [told.format("32 windows of 64 steps", "32 windows of 3 steps")]
    assert "more than" not in command(*given, "--batch", 3, "--length", 33).out
    cut = [line for line in command(*given, "--batch", 3, "--length", 34).lines if "more than" in line]
    assert cut == [told.format("3 windows of 34 steps", "3 windows of 33 steps")]
    (tmp_path / "text").write_text("ab")
    cut = [line for line in command(*given).lines if "more than" in line]
    assert cut == [told.format("32 windows of 64 steps", "1 window of 1 step")]


def test_same_seed_same_bytes(command, corpus, tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        trained(command, corpus, "--seed", seed, path=tmp_path / name)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b
    assert len(a) == len(c)
    assert a != c


def test_a_process_of_its_own_writes_the_same_bytes(command, corpus, tmp_path):
    trained(command, corpus, path=tmp_path / "ours")
    done = finish(start("train", str(corpus), "-o", str(tmp_path / "theirs"), *map(str, QUICK)))
    assert (done.code, done.err) == (0, "")
    assert (tmp_path / "theirs").read_bytes() == (tmp_path / "ours").read_bytes()


def test_folders_and_files_are_read(command, corpus):
    model, done = trained(command, corpus)
    assert model.training["files"] == 3
    assert model.vocabulary == Vocabulary.characters(CORPUS)
    symbols = len(CORPUS) - round(len(CORPUS) * 0.1)
    assert done.lines[:4] == [
        f"skipped {corpus}/latin.txt: no UTF-8 text",
        f"skipped {corpus}/sub/image.png: no UTF-8 text",
        f"{model!r} on the text of 3 files",
        f"{symbols} symbols to learn from, {len(CORPUS) - symbols} for validation",
    ]
    assert (
        done.lines[-1]
        == f"saved {corpus.parent}/model.safetensors ({(corpus.parent / 'model.safetensors').stat().st_size:,} bytes)"
    )
    path = corpus.parent / "model.safetensors"
    assert command("train", corpus / "b.txt", corpus / "sub", corpus / "a.txt", "-o", path, *QUICK).code == 0
    text = RHYME * 2 + RHYME.upper() + "first: " + RHYME
    tokens = Vocabulary.characters(text).encode(text)
    expected = elman.Model(len(Vocabulary.characters(text)), 6, 8, elman.cells.gru)
    list(train.train(expected, tokens[: -round(len(tokens) * 0.1)], train.Settings(length=8, batch=2, steps=3, rate=0.01)))
    np.testing.assert_array_equal(elman.load(path).parameters["wya"], expected.parameters["wya"])


def test_suffixes_choose_among_the_files_of_folders(command, corpus):
    model, done = trained(command, corpus, "--suffix", ".md", "--suffix", "a.txt")
    assert model.training["files"] == 2
    assert "skipped" not in done.out
    assert "on the text of 2 files" in done.out


def test_many_skipped_files_are_counted(command, corpus):
    for number in range(30):
        (corpus / f"image{number}").write_bytes(b"\x00")
    _, done = trained(command, corpus)
    skipped = [line for line in done.lines if line.startswith("skipped")]
    assert len(skipped) == 11
    assert skipped[-1] == "skipped 22 more"


def test_names_of_files_are_text_and_no_markup(command, tmp_path):
    folder = tmp_path / "x[red]:smile:[" / "red]"
    folder.mkdir(parents=True)
    (folder / "a[bold].txt").write_text(RHYME)
    (folder / "b[bold].bin").write_bytes(b"\x00")
    (folder / "c\x1b[31m.bin").write_bytes(b"\x00")
    path = tmp_path / "m[:cat:].safetensors"
    done = command("train", folder, "-o", path, *QUICK)
    assert (done.code, done.err) == (0, "")
    assert done.lines[0] == f"skipped {folder}/b[bold].bin: no UTF-8 text"
    assert done.lines[1] == f"skipped {folder}/c\\x1b[31m.bin: no UTF-8 text"
    assert done.lines[-1].startswith(f"saved {path} (")


@every_kind
def test_every_kind_of_vocabulary_learns_and_is_used(command, corpus, kind):
    sizes = {"words": ("--size", 20), "subwords": ("--size", 270), "characters": ("--size", 15)}
    model, done = trained(command, corpus, "--vocabulary", kind, *sizes.get(kind, ()))
    assert model.vocabulary.kind == kind
    assert len(model.vocabulary) == {"bytes": 256, "words": 20, "subwords": 270, "characters": 15}[kind]
    unit = "byte" if kind == "bytes" else "character"
    assert f"validation_bits_per_{unit}" in model.training
    assert f"bits per {unit}; a bigram model has" in done.out
    path = corpus.parent / "model.safetensors"
    assert command("predict", "the cat", "-m", path).code == 0
    assert command("generate", "--prompt", "the", "--length", 5, "-m", path).code == 0
    assert f"Vocabulary('{kind}', {len(model.vocabulary)} symbols" in command("show", path).out


def test_bits_are_per_character_whatever_a_symbol_is(command, corpus):
    """All symbols at even odds: log2(V) bits a symbol, and so many symbols a character."""
    path = corpus.parent / "model.safetensors"
    options = (
        "--vocabulary",
        "words",
        "--rate",
        1e-12,
        "--steps",
        1,
        "--sample-every",
        0,
        "--hidden",
        1,
        "--validation",
        0.5,
    )
    done = command("train", corpus, "-o", path, *options)
    vocabulary = Vocabulary.words(CORPUS)
    symbols = len(vocabulary.encode(CORPUS))
    bits = elman.load(path).training["validation_bits_per_character"]
    assert bits == pytest.approx(math.log2(len(vocabulary)) * symbols / len(CORPUS), rel=0.1)
    assert f"validation: {bits:.3f} bits" in done.out


def test_progress_in_a_pipe_is_lines(command, corpus):
    _, done = trained(command, corpus, "--steps", 250, "--sample-every", 120)
    line = r" {0,5}\d+/250 \d\.\d{3} bits/char  norm \S+  [\d,]+ symbols/s  \d:\d\d:\d\d left"
    assert [int(text.split("/")[0]) for text in done.lines if re.fullmatch(line, text)] == [1, 100, 200, 250]
    samples = [text for text in done.lines if re.match(r" +\d+: ", text)]
    assert [text[:8] for text in samples] == ["   120: ", "   240: "]
    assert all(cell_len(text) <= 80 for text in samples)
    assert "\x1b" not in done.out
    _, quiet = trained(command, corpus, "--steps", 250, "--sample-every", 0)
    assert not [text for text in quiet.lines if re.match(r" +\d+: ", text)]


def test_samples_are_of_the_average(command, corpus):
    """As what is measured and saved; to look at them changes no bit of what is learnt."""
    options = ("--hidden", 12, "--rate", 0.3, "--average", 0.9, "--steps", 30)
    found, done = trained(command, corpus, *options, "--sample-every", 10)
    vocabulary = Vocabulary.characters(CORPUS)
    model = elman.Model(len(vocabulary), 12, 8, elman.cells.gru, vocabulary=vocabulary)
    settings = train.Settings(length=8, batch=2, rate=0.3, steps=30, average=0.9)
    trainer = train.train(model, vocabulary.encode(CORPUS)[: -round(len(CORPUS) * 0.1)], settings)
    wanted, of_last = [], []
    for now in trainer:
        if now.step in (10, 20):
            of_last.append(f"{now.step:>6}: {progress.sample_of(model)}")
            with trainer.averaged():
                wanted.append(f"{now.step:>6}: {progress.sample_of(model)}")
    assert [text for text in done.lines if re.match(r" +\d+: ", text)] == wanted
    assert not set(wanted) & set(of_last)
    with trainer.averaged():
        for name, value in model.parameters.items():
            np.testing.assert_array_equal(found.parameters[name], value, err_msg=name)


def test_the_loss_that_is_shown_is_the_mean_of_the_recent_ones(command, corpus, monkeypatch):
    losses = [3.0, 1.0, 2.0, 4.0]

    def updates(*_):
        for step, bits in enumerate(losses, 1):
            yield Progress(step, bits * math.log(2), 1.0, step * 100, float(step))

    monkeypatch.setattr(train, "train", updates)
    _, done = trained(command, corpus, "--steps", 4, "--vocabulary", "bytes")
    assert "     1/4 3.000 bits/byte  norm 1.00  100 symbols/s  0:00:03 left" in done.lines
    assert "     4/4 2.500 bits/byte  norm 1.00  100 symbols/s  0:00:00 left" in done.lines


def test_a_terminal_gets_a_live_bar(corpus):
    path = corpus.parent / "model.safetensors"
    arguments = ("--hidden", "8", "--batch", "2", "--length", "8", "--steps", "300", "--sample-every", "100")
    done = on_terminal("train", str(corpus), "-o", str(path), *arguments)
    assert done.code == 0
    assert "\x1b[?25l" in done.out  # the cursor is hidden
    assert "\x1b[?25h" in done.out  # and there again
    lines = as_seen(done.out)
    bars = [line for line in lines if "━" in line]
    assert len(bars) > 1
    assert re.search(r"━ 300/300 \d\.\d{3} bits/char +norm \S+ +[\d,]+ symbols/s +0:00:00 left", bars[-1])
    assert [line[:8] for line in lines if re.match(r" +\d+: ", line)] == ["   100: ", "   200: "]
    assert max(map(cell_len, lines)) <= 80
    assert elman.load(path).training["updates"] == 300


# ---------------------------------------------------------------- train: stopping


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_saves_what_is_learnt(corpus, name):
    path = corpus.parent / "model.safetensors"
    arguments = ("--hidden", "8", "--batch", "2", "--length", "8", "--steps", "100000000", "--sample-every", "0")
    process = start("train", str(corpus), "-o", str(path), *arguments)
    while b"1/100000000" not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(0.05)
    process.send_signal(getattr(signal, name))
    done = finish(process)
    assert (done.code, done.err) == (128 + getattr(signal, name), "")
    model = elman.load(path)
    assert model.training["updates"] >= 1
    assert f"stopped after {model.training['updates']:,} of 100,000,000 updates\n" in done.out
    assert "validation_bits_per_character" in model.training
    assert [found.name for found in corpus.parent.iterdir() if found != corpus] == [path.name]
    fresh = elman.Model(model.word_dim, 8, cell=elman.cells.gru)
    assert not np.array_equal(model.parameters["wya"], fresh.parameters["wya"])


def test_ctrl_c_on_a_terminal(corpus):
    path = corpus.parent / "model.safetensors"
    arguments = ("--hidden", "8", "--batch", "2", "--length", "8", "--steps", "100000000")
    done = on_terminal("train", str(corpus), "-o", str(path), *arguments, until=b"symbols/s")
    assert done.code == 130
    assert "\x1b[?25h" in done.out
    assert "stopped after" in done.out
    assert "Traceback" not in done.out
    assert elman.load(path).training["updates"] >= 1


def raising(*numbers):
    """Updates that do nothing, with a signal in the midst of some of them."""

    def updates(*_):
        for step in range(1, 100):
            for number in numbers if step == 2 else ():
                signal.raise_signal(number)
            yield Progress(step, 1.0, 1.0, step, float(step))

    return updates


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_waits_for_the_update_to_end(command, corpus, monkeypatch, number):
    monkeypatch.setattr(train, "train", raising(number))
    path = corpus.parent / "model.safetensors"
    done = command("train", corpus, "-o", path, *QUICK)
    assert (done.code, done.err) == (128 + number, "")
    assert "stopped after 2 of 3 updates\n" in done.out
    assert elman.load(path).training["updates"] == 2


@pytest.mark.parametrize("library", ["numpy", "typer"])
@pytest.mark.parametrize("script", [False, True])
def test_ctrl_c_amid_the_imports_is_quiet(tmp_path, library, script):
    """The library that is imported then is one that is interrupted while it is."""
    (tmp_path / f"{library}.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nraise SystemExit(7)\n")
    (tmp_path / "elman").write_text("from elman.cli import main\nmain()\n")
    env = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{SOURCE}"}
    ours = [str(tmp_path / "elman")] if script else ["-m", "elman"]
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": as_from_a_shell}
    done = finish(subprocess.Popen([sys.executable, *ours, "--version"], env=environment(**env), **settings))
    assert (done.code, done.out, done.err) == (130, "", "")


def test_ctrl_c_of_other_programs_is_theirs():
    given = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell's job may ignore it
    code = f"{given}; import elman; assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    assert finish(subprocess.Popen([sys.executable, "-c", code], env=environment())).code == 0


def test_a_second_stop_is_at_once(command, corpus, monkeypatch):
    monkeypatch.setattr(train, "train", raising(signal.SIGINT, signal.SIGINT))
    done = command("train", corpus, "-o", corpus.parent / "model.safetensors", *QUICK)
    assert (done.code, done.err) == (130, "")
    assert not (corpus.parent / "model.safetensors").exists()


def test_a_stop_while_it_is_measured_loses_nothing(command, corpus, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "evaluate", interrupted)
    path = corpus.parent / "model.safetensors"
    done = command("train", corpus, "-o", path, *QUICK)
    assert (done.code, done.err) == (130, "")
    model = elman.load(path)
    assert model.training["updates"] == 3
    assert "validation_bits_per_character" not in model.training


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with progress._stopping() as stopped:
            signal.raise_signal(signal.SIGHUP)
            assert not stopped()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_put_back(command):
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with progress._stopping() as stopped:
        assert signal.getsignal(signal.SIGTERM) is not before[1]
        signal.raise_signal(signal.SIGTERM)
        assert stopped()
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_training_that_diverges_saves_nothing(command, corpus):
    path = corpus.parent / "model.safetensors"
    path.write_bytes(b"old")
    done = command("train", corpus, "-o", path, *QUICK, "--rate", 1e300)
    assert done.code == 2
    loss = re.fullmatch(
        r"elman: train: at update 1 the numbers leave all bounds \(loss (\S+), norm of the gradients \S+; first in the new "
        r"wr\); the model keeps the parameters from before it\. A lower rate \(now 1\.96e\+298\) or clip \(now 1\) may "
        r"help; nothing is saved\n",
        done.err,
    )
    assert 2 < float(loss[1]) < 4
    assert path.read_bytes() == b"old"


# ---------------------------------------------------------------- train: where it writes


@pytest.fixture
def unread(monkeypatch):
    """Whoever reads the corpus has gone too far."""

    def fail(*_, **__):
        raise AssertionError("the corpus was read before the output was checked")

    monkeypatch.setattr(cli.train, "Pieces", fail)


def test_a_missing_folder_fails_before_training(command, corpus, unread):
    path = corpus.parent / "no" / "model"
    done = command("train", corpus, "-o", path, *QUICK)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"elman: {path} cannot be written: the folder {path.parent} does not exist\n"


def test_a_folder_as_output_fails_before_training(command, corpus, unread):
    done = command("train", corpus, "-o", corpus, *QUICK)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"elman: {corpus} cannot be written: it is a folder; name a file\n"


def test_a_device_as_output_fails_before_training(command, corpus, unread):
    done = command("train", corpus, "-o", "/dev/null", *QUICK)
    assert (done.code, done.out) == (2, "")
    assert done.err == "elman: /dev/null cannot be written: it is a device or a pipe; name a file\n"
    assert not Path("/dev/null").is_file()


def test_an_unwritable_folder_fails_before_training(command, corpus, unread, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)  # who runs the tests may be allowed everything
    done = command("train", corpus, "-o", corpus / "model", *QUICK)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"elman: {corpus}/model cannot be written: Permission denied\n"


def test_a_folder_that_is_a_file_fails_before_training(command, corpus, unread):
    path = corpus / "a.txt" / "model"
    done = command("train", corpus, "-o", path, *QUICK)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"elman: {path} cannot be written: the folder {path.parent} does not exist\n"


def test_a_file_to_learn_from_is_not_overwritten(command, corpus):
    (corpus.parent / "link").symlink_to(corpus / "a.txt")
    for path in (corpus / "a.txt", corpus / "sub" / ".." / "b.txt", corpus.parent / "link"):
        done = command("train", corpus, "-o", path, *QUICK)
        assert (done.code, done.out) == (2, "")
        assert done.err == f"elman: {path} is one of the files to learn from; write the model to another\n"
    assert (corpus / "a.txt").read_text() == "first: " + RHYME


def test_looking_whether_it_can_be_written_leaves_nothing(command, corpus, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "out").mkdir()
    assert command("train", tmp_path / "empty", "-o", tmp_path / "out" / "model", *QUICK).code == 2
    assert list((tmp_path / "out").iterdir()) == []


# ---------------------------------------------------------------- generate


@every_kind
def test_generate_is_what_the_library_draws(command, models, kind):
    model = elman.load(models[kind])
    for settings in ({}, {"temperature": 0.3}, {"top_k": 3}, {"top_p": 0.5}, {"temperature": 1.5, "top_k": 9, "top_p": 0.9}):
        options = [text for name, value in settings.items() for text in (f"--{name.replace('_', '-')}", value)]
        done = command("generate", "--prompt", "the ", "--length", 40, "--seed", 5, "-m", models[kind], *options)
        assert (done.code, done.err) == (0, "")
        drawn = model.generate("the ", 40, seed=5, **{"temperature": 0.7, **settings})
        assert done.out == "the " + drawn + "\n"


def test_generate_is_reproducible_by_seed(command, models):
    def drawn(*seed):
        return command("generate", "--prompt", "the ", "--length", 60, "-m", models["characters"], *seed).out

    assert drawn("--seed", 1) == drawn("--seed", 1) != drawn("--seed", 2)
    assert drawn() != drawn()


def test_cold_and_narrow_draws_are_the_likeliest(command, models):
    model = elman.load(models["characters"])
    tokens = model.vocabulary.encode("the ").tolist()
    for _ in range(30):
        probabilities = model.forward_propagation(tokens).probabilities[-1].copy()
        probabilities[model.vocabulary.unknown] = 0
        tokens.append(int(probabilities.argmax()))
    expected = model.vocabulary.decode(tokens) + "\n"
    for options in (("--temperature", 0), ("--top-k", 1), ("--top-p", 1e-9), ("--temperature", 1e-300)):
        done = command("generate", "--prompt", "the ", "--length", 30, "-m", models["characters"], *options)
        assert done.out == expected, options


def test_generate_writes_as_it_draws(models):
    seen = b""
    with start("generate", "--length", "1000000000", "-m", str(models["characters"]), "--prompt", "the ") as process:
        while len(seen) < 200:
            seen += os.read(process.stdout.fileno(), 4096)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert process.stderr.read() == b""
    assert seen.startswith(b"the ")


def test_generate_of_bytes_writes_whole_characters(command, tmp_path):
    """A model that says é for ever: c3 after a9 and a9 after c3. What is cut off at the end is told as U+FFFD."""
    model = elman.Model(256, 256, vocabulary=Vocabulary.bytes())
    wya = np.zeros((256, 256))
    wya[0xA9, 0xC3] = wya[0xC3, 0xA9] = 50
    model.update({"wax": 9 * np.eye(256), "waa": np.zeros((256, 256)), "wya": wya})
    model.save(tmp_path / "bytes.safetensors")
    said = [command("generate", "--prompt", "é", "--length", n, "-m", tmp_path / "bytes.safetensors").out for n in range(4)]
    assert said == ["é\n", "é\ufffd\n", "éé\n", "éé\ufffd\n"]


def test_generate_says_nothing_of_what_it_does_not_know(command, steady):
    text = command("generate", "--prompt", "x", "--length", 400, "--temperature", 5, "-m", steady, "--seed", 3).out
    assert set(text[1:-1]) == set("abc")


# ---------------------------------------------------------------- show, help, version


def test_show_tells_what_is_in_a_file(command, corpus):
    model, _ = trained(command, corpus, "--cell", "elman")
    done = command("show", corpus.parent / "model.safetensors")
    assert (done.code, done.err) == (0, "")
    shown = done.out
    (plan,) = model.rnn._plans(tokens=True)
    for part in (repr(model), str(model.rnn.graph), str(model.readout.graph), str(plan), repr(model.vocabulary)):
        assert part in shown
    for name, value in model.parameters.items():
        shape = "x".join(map(str, value.shape))
        span = f"between {value.min():.3f} and {value.max():.3f}"
        assert re.search(rf"^  {name} +{shape} +{value.size} +{re.escape(span)}$", shown, re.MULTILINE)
    for name, fact in model.training.items():
        assert f"  {name.replace('_', ' ')}: {fact}\n" in shown
    assert "training (gradients are cut after 8 steps)" in shown
    assert max(map(len, done.lines)) <= 88


def test_show_names_the_layers_of_a_stack(command, tmp_path):
    both = elman.Bidirectional(*(elman.RNN(elman.cells.gru, input=9, hidden=4, seed=seed) for seed in (0, 1)))
    layers = elman.Stack([both, elman.Backwards(elman.RNN(elman.cells.elman, input=8, hidden=4))])
    model = elman.Model.from_layers(layers, 9, tokens=True, pool="mean")
    model.training = {"imported": {"framework": "pytorch", "parts": [["rnn", "GRU", "_l0"], ["top", "RNN", ""], ["fc"]]}}
    model.save(tmp_path / "layers.safetensors")
    done = command("show", tmp_path / "layers.safetensors")
    assert (done.code, done.err) == (0, "")
    named = ["0.forward: gru", "0.backward: gru", "1.layer: elman"]
    assert [line for line in done.lines if line in [*named, "gru", "elman", "readout"]] == [*named, "readout"]
    assert [line[:-27] for line in done.lines if line.startswith("plan of ")] == [f"plan of {name}" for name in named]
    parameters = [line.split()[0] for line in done.lines if " between " in line]
    assert all(any(name.startswith(f"{part.split(':')[0]}.") for part in named) for name in parameters[:-2])
    assert done.lines[-2] == "training (gradients are not cut)"
    assert done.lines[-1] == "  imported: framework pytorch; parts rnn (GRU _l0), top (RNN), fc"


def test_what_is_imported_fits_a_terminal(command, terminal_command, tmp_path, monkeypatch):
    two = (elman.RNN(elman.cells.lstm, input=9, hidden=4, seed=seed) for seed in (0, 1))
    model = elman.Model.from_layers(elman.Stack([elman.Bidirectional(*two)]), 9, tokens=True, pool="mean")
    monkeypatch.setattr("elman.importing.imported", lambda *_, **__: (model, "proved: " + "word " * 30))
    arguments = "import", "net.onnx", "-o", tmp_path / "m"
    assert max(map(cell_len, as_seen(terminal_command(*arguments).out))) <= 80
    assert command(*arguments).lines[0] == repr(model)  # in a pipe a line is a line


def test_show_source_is_the_program(command, models):
    model = elman.load(models["characters"])
    source = command("show", models["characters"], "--source").out
    assert source == model.rnn.source + "\n\n" + model.readout.source + "\n"
    compile(source.replace("from elman.targets.numpy_words import *", ""), "source", "exec")


def test_show_limits(command, tmp_path):
    """Every layer with a column of microseconds; only the first one reads tokens, which it looks up."""
    pytest.importorskip("llvmlite")
    both = elman.Bidirectional(*(elman.RNN(elman.cells.gru, input=9, hidden=4, seed=seed) for seed in (0, 1)))
    layers = elman.Stack([both, elman.RNN(elman.cells.elman, input=8, hidden=4)])
    elman.Model.from_layers(layers, 9, tokens=True, pool="mean").save(tmp_path / "layers.safetensors")
    done = command("show", tmp_path / "layers.safetensors", "--limits")
    assert (done.code, done.err) == (0, "")
    plans = done.out.split("\n\n")
    assert [part.split(",")[0] for part in plans] == ["plan of " + name for name in ("gru", "gru", "elman", "readout")]
    assert ["lookup" in part for part in plans] == [True, True, False, False]
    assert all(re.search(r" us\n  (?s:.*)\n  \d+\.\d{3} us a step of 1 example: \d+\.\d GFLOP/s", part) for part in plans)
    assert max(map(len, done.lines)) <= 80


def test_show_on_a_terminal_hangs_what_is_too_long(models):
    """Lines that do not fit go on further in, and no count is parted from its gate."""
    (plan,) = elman.load(models["characters"]).rnn._plans(tokens=True)
    told = str(plan).splitlines()[-1]
    lines = as_seen(on_terminal("show", str(models["characters"]), columns=len(told) - 1).out)
    assert max(map(cell_len, lines)) < len(told)
    at = next(number for number, line in enumerate(lines) if line.startswith("    1 product, "))
    assert lines[at + 1].startswith("        ")
    assert lines[at] + " " + lines[at + 1].strip() == told
    assert not re.search(r"\d$", lines[at])


def test_show_without_vocabulary_and_training(command, tmp_path):
    elman.Model(5, 3, None).save(tmp_path / "bare.safetensors")
    lines = command("show", tmp_path / "bare.safetensors").lines
    assert lines[-5:] == [
        "vocabulary",
        "  none: tokens are integers",
        "",
        "training (gradients are not cut)",
        "  not trained",
    ]


def test_show_cuts_a_long_vocabulary(command, models):
    line = next(line for line in command("show", models["bytes"]).lines if line.startswith("  \\x00"))
    assert line.endswith("...")
    assert len(line) <= 80


def test_a_file_cannot_move_the_cursor(command, tmp_path):
    model = elman.Model(5, 3)
    model.training = {"\x1b[2Jname": "\x1b]0;title\x07", "b": "two\nlines", "c": ["\x9b1m"]}
    model.save(tmp_path / "rude.safetensors")
    done = command("show", tmp_path / "rude.safetensors")
    assert done.code == 0
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.out)
    assert "\\x1b[2Jname: \\x1b]0;title\\x07" in done.out
    assert plain("a\tb\x7f\ud800ö\n") == "a\\tb\\x7f\\ud800ö\n"


def test_without_a_model_the_one_that_ships_is_used(command):
    shipped = Path(elman.__file__).parent / "models" / "default.safetensors"
    assert command("show").out == command("show", shipped).out
    text = "for i in range("
    assert command("predict", text).out == command("predict", text, "-m", shipped).out
    assert (
        command("generate", "--seed", 1, "--length", 9).out
        == "def " + elman.load(shipped).generate("def ", 9, 0.7, seed=1) + "\n"
    )


def test_version_and_help(command):
    assert command("--version").out == f"elman {elman.__version__}\n"
    for arguments in ((), ("--help",), ("-h",)):
        done = command(*arguments)
        assert (done.code, done.err) == (0, "")
        for name in (*COMMANDS, "--version"):
            assert name in done.out
        assert not [line for line in done.lines if line.endswith("...") and not line.startswith("Usage")]  # summaries fit
    for name in COMMANDS:
        long, short = command(name, "--help"), command(name, "-h")
        assert (long.code, long.err) == (0, "")
        assert long.out == short.out
        assert long.out.startswith(f"Usage: elman {name} ")
        assert max(map(len, long.lines)) <= 80


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_the_reference_shows_what_a_terminal_does(name):
    reference = (Path(__file__).resolve().parent.parent / "docs" / "command.md").read_text(encoding="utf-8")
    if f"with Typer {metadata.version('typer')};" not in reference:
        pytest.skip("another Typer lays its help out in another way")
    [shown] = re.findall(rf"(?s)^## `{f'elman {name}'.strip()}`\n\n```\n(.*?)\n```$", reference, re.MULTILINE)
    seen = "\n".join(on_terminal(*([name] if name else []), "--help", columns=80).out.split("\r\n"))
    assert shown == seen.strip()


# ---------------------------------------------------------------- cells


def blocks_of(out):
    """The parts of the list, each a cell, without the last line."""
    return [block.splitlines() for block in out.split("\n\n")[:-1]]


def counted(cell, **sizes):
    rnn = elman.RNN(cell, **{name: sizes.get(name, sizes["hidden"]) for name in cell.sizes})
    return sum(value.size for value in rnn.parameters.values())


def test_cells_lists_them_all(command):
    done = command("cells")
    assert (done.code, done.err) == (0, "")
    found = blocks_of(done.out)
    assert [block[0] for block in found] == list(elman.cells.CELLS)
    for (_, *lines), cell in zip(found, elman.cells.CELLS.values(), strict=True):
        said, words = " ".join(cell.__doc__.split()), " ".join(" ".join(lines[:-1]).split())
        assert sorted(words.split()) == sorted(said.split())  # the source comes last, wherever it stood
        assert lines[0].strip() == cell.__doc__.splitlines()[0].partition("    ")[0]
        assert re.search(r"\b(19|20)\d\d\b", lines[-2])
        states, sizes, count = lines[-1].split("; ")
        for state, declared in cell.states.items():
            assert re.search(rf"\b{state}\b.*?\({', '.join(map(str, declared.shape))}\)", states)
        assert sizes == f"sizes {', '.join(cell.sizes)}"
        assert count == f"{counted(cell, input=128, hidden=128):,} parameters"
    assert done.lines[-1].startswith("parameters at input=128, hidden=128, output=128, projection=128; ")


def test_cells_on_a_terminal_and_in_a_pipe(command):
    """The same words; on the terminal in lines that fit, and names in bold."""
    seen = on_terminal("cells")
    assert seen.code == 0
    assert max(map(cell_len, as_seen(seen.out))) <= 80
    assert ESCAPE.sub("", seen.out).split() == command("cells").out.split()
    assert "\x1b[1mlstm_peephole\x1b[0m" in seen.out
    assert "\x1b" not in command("cells").out
    assert max(map(len, command("cells").lines)) > 80


@pytest.mark.parametrize("name", elman.cells.CELLS)
def test_all_of_one_cell(command, terminal_command, name):
    cell = elman.cells.CELLS[name]
    done = command("cells", name, "--input", 7, "--hidden", 5)
    assert (done.code, done.err) == (0, "")
    head, _, rest = done.out.partition("\n\nequations of one step, from the input x (input)\n")
    assert sorted(head.split()) == sorted([name, *cell.__doc__.split()])
    body, _, rest = rest.partition("\n\nstate")
    source = inspect.getsource(cell.function)
    for line in body.partition("\n\n")[0].splitlines():
        assert line.strip() in source
    assert "return " in body
    shapes = {**cell.states, **cell.parameters}
    for part, declared in shapes.items():
        assert re.search(rf"\b{part}\b[^()]*\({re.escape(', '.join(map(str, declared.shape)))}\)", rest), part
    sizes = ", ".join(f"{size}={7 if size == 'input' else 5}" for size in cell.sizes)
    assert f"\n  {counted(cell, input=7, hidden=5):,} at {sizes}\n" in rest
    rnn = elman.RNN(cell, **{size: 7 if size == "input" else 5 for size in cell.sizes})
    assert f"\nvalues\n  {', '.join(rnn.values)}\n" in rest
    seen = terminal_command("cells", name, "--input", 7, "--hidden", 5)
    assert max(map(cell_len, as_seen(seen.out))) <= 80
    assert ESCAPE.sub("", seen.out).split() == done.out.split()


def test_what_the_equations_use_is_told_with_them(command):
    def said(name):
        return command("cells", name).out

    assert "\nwith g1 = tanh\n" in said("elman")
    assert "\nwith g1 = relu\n" in said("indrnn")
    assert "\nwith of_h = 2, of_x = 3, rounds = 5\n" in said("mogrifier_lstm")
    assert "\nwith periods = (1, 2, 4, 8)\n\n  def _periods_of_units(" in said("clockwork")
    assert "\nwith NOTHING = -1e+30\n\n  def _mixed(share: Any, x: Any, last: Any) -> Any:\n" in said("rwkv")
    assert "log_forget = _log_sigmoid" in said("slstm")
    assert "      return -softplus(-f)\n" in said("slstm")
    assert "with" not in said("lstm").partition("equations")[2].split()


@pytest.mark.parametrize("name", elman.cells.CELLS)
def test_json_of_a_cell_is_the_cell(command, name):
    """All that is told of it; and its equations, run as they stand there, are its step."""
    cell = elman.cells.CELLS[name]
    further = [text for size in cell.sizes if size not in ("input", "hidden") for text in ("--cell-size", f"{size}=3")]
    [line] = command("cells", name, "--json", "--input", 7, "--hidden", 5, *further).lines
    found = json.loads(line)
    sizes = {size: {"input": 7, "hidden": 5}.get(size, 3) for size in cell.sizes}
    rnn = elman.RNN(cell, **sizes, dtype="float64", seed=3)
    assert found["name"] == name
    assert found["sizes"] == sizes
    assert found["input"] == {"x": ["input"]}
    assert found["states"] == {state: list(declared.shape) for state, declared in cell.states.items()}
    assert found["parameters"] == {parameter: list(declared.shape) for parameter, declared in cell.parameters.items()}
    assert found["count"] == sum(value.size for value in rnn.parameters.values())
    assert found["values"] == list(rnn.values)
    assert str(found["year"]) in found["source"]
    assert f"{found['formula']} {found['notes']} {found['source']}".split()[:3] == cell.__doc__.split()[:3]
    told = inspect.getclosurevars(cell.function)
    space = {**vars(elman.gates), **told.globals, **told.nonlocals}
    arguments = ", ".join(["x", *found["states"], *found["parameters"]])
    lines = found["equations"].replace("\n", "\n    ")
    exec(f"def step({arguments}):\n    {lines}", space)
    rng = np.random.default_rng(5)
    x, states = rng.normal(size=7), [rng.uniform(size=v.shape) for v in rnn.initial_state().values()]
    pair = [space["step"](x, *states, **rnn.parameters), cell.step(x, *states, **rnn.parameters)]
    for got, wanted in zip(*(found if isinstance(found, tuple) else (found,) for found in pair), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_json_of_all_cells_is_that_of_each(command):
    lines = command("cells", "--json", "--input", 7, "--hidden", 5).lines
    assert lines == [command("cells", name, "--json", "--input", 7, "--hidden", 5).out.strip() for name in elman.cells.CELLS]


def test_without_its_source_a_cell_is_told_by_its_graph(command, monkeypatch):
    def gone(_):
        raise OSError("could not get source code")

    monkeypatch.setattr("inspect.getsource", gone)
    graph = str(elman.cells.rwkv.graph(input=7, hidden=5))
    shown = command("cells", "rwkv", "--input", 7, "--hidden", 5).out
    assert "\n".join("  " + line for line in graph.splitlines()) in shown
    assert "_mixed" not in shown
    assert json.loads(command("cells", "rwkv", "--json").out)["equations"] is None


# ---------------------------------------------------------------- inspect


@elman.cell
def keeper(x, c=elman.state("hidden", "hidden"), *, w=elman.weight("hidden", "input"), k=elman.bias("hidden", init=0.3)):
    """A state that is a matrix, a value that is a number, and one whose name a .npz has for something else."""
    tokens = elman.tanh(w @ x)
    level = elman.mean(tokens)
    c = 0.9 * c + level * elman.outer(tokens, k)
    h = c @ tokens
    return h, c


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A model whose values are vectors, matrices and numbers."""
    path = tmp_path_factory.mktemp("kept") / "kept.safetensors"
    vocabulary = Vocabulary.characters(RHYME)
    elman.Model(len(vocabulary), 3, cell=keeper, seed=3, vocabulary=vocabulary).save(path)
    return path


def inspected(path, text):
    model = elman.load(path)
    tokens = model.vocabulary.encode(text)
    return model, tokens, model.inspect(tokens)


def test_without_names_they_are_listed(command, models, kept):
    for path in (models["characters"], models["bytes"], kept):
        model, _, values = inspected(path, "the")
        for text in ((), ("the",)):
            done = command("inspect", *text, "-m", path)
            assert (done.code, done.err) == (0, "")
            assert done.lines[0] == repr(model)
            found = [line.split() for line in done.lines[2:-1]]
            assert found == [[name, "x".join(map(str, v.shape[1:])) or "1"] for name, v in values.items()]
            first = ",".join(list(values)[:2])
            assert done.lines[-1] == f"ask for some with elman inspect TEXT --values {first}"
    assert "x3" in command("inspect", "-m", kept).out


def number(x):
    return f"{x:.3f}" if abs(x) < 1000 else f"{x:.2e}"


@every_kind
def test_values_in_a_table(command, models, kind):
    text = RHYME[:40] + WIDE
    _, tokens, values = inspected(models[kind], text)
    done = command("inspect", text, "-m", models[kind], "--values", " h, r ,logits,probabilities,h")
    assert (done.code, done.err) == (0, "")
    header, *lines, legend = done.lines
    assert header.split() == ["#", "read", "name", "least", "mean", "largest", "units"]
    assert max(map(cell_len, [header, *lines])) <= 80
    rows = [re.fullmatch(r" *(\d+) (.+) (\w+) +(\S+) +(\S+) +(\S+)  (\S+)", line) for line in lines]
    asked = ["h", "r", "logits", "probabilities"]
    assert [(int(row[1]), row[3]) for row in rows] == [(t, name) for t in range(len(tokens)) for name in asked]
    low, high = float(values["logits"].min()), float(values["logits"].max())
    spans = {"h": (-1, 1), "r": (0, 1), "logits": (low, high), "probabilities": (0, 1)}
    for row in rows:
        units = values[row[3]][int(row[1])].astype("float64")
        assert [row[4], row[5], row[6]] == [number(x) for x in (units.min(), units.mean(), units.max())]
        a, b = spans[row[3]]
        assert len(row[7]) == min(len(units), 21)  # what is left of the line
        median = np.median(values[row[3]].astype("float64"))
        picked = [max(share, key=lambda x: abs(x - median)) for share in np.array_split(units, len(row[7]))]
        assert row[7] == "".join("▁▂▃▄▅▆▇█"[min(7, int((x - a) / (b - a) * 8))] for x in picked)
    assert legend.startswith("units from left to right, ▁ to █ being -1 to 1 for h; 0 to 1 for r, probabilities; ")
    assert f"; {low:.3g} to {high:.3g} for logits" in legend
    crowded = "; where there are more than 21, a block is of several the one farthest from the median"
    assert legend.endswith(crowded if len(values["logits"][0]) > 21 else " for logits")


def test_values_that_are_matrices_and_numbers(command, kept):
    _, tokens, values = inspected(kept, "the cat")
    done = command("inspect", "the cat", "-m", kept, "--values", "c,level")
    assert len(done.lines) == 2 * len(tokens) + 2
    for position, line in enumerate(done.lines[2:-1:2]):
        level = number(values["level"][position])
        assert line.split()[-4:-1] == [level] * 3
        assert len(line.split()[-1]) == 1
    assert len(done.lines[1].split()[-1]) == 9
    units = command("inspect", "the cat", "-m", kept, "--values", "c", "--units", "0,5,8").lines
    for position, line in enumerate(units[1:]):
        c = values["c"][position]
        assert line.split()[-6:] == ["[0,0]", number(c[0, 0]), "[1,2]", number(c[1, 2]), "[2,2]", number(c[2, 2])]


def test_chosen_units_as_numbers(command, models):
    path, chosen = models["characters"], [7, 0, 11, 3, 3, 5]
    _, tokens, values = inspected(path, RHYME)
    arguments = ("inspect", RHYME, "-m", path, "--values", "h,z", "--units", " 7,0, 11,3,3,5 ")
    done = command(*arguments)
    assert (done.code, done.err) == (0, "")
    expected = [
        [text for unit in chosen for text in (f"[{unit}]", number(values[name][t][unit]))]
        for t in range(len(tokens))
        for name in ("h", "z")
    ]
    assert [line.split()[-12:] for line in done.lines[1:]] == expected
    assert max(map(len, done.lines)) > 80  # in a pipe a line is a line
    seen = as_seen(on_terminal(*map(str, arguments)).out)
    assert max(map(cell_len, seen)) <= 80
    assert " ".join(seen).split() == done.out.split()


@pytest.mark.parametrize("columns", [40, 60, 80, 133])
@every_kind
def test_tables_fit_the_terminal(terminal_command, models, kind, columns):
    text = RHYME[:30] + WIDE
    seen = terminal_command("inspect", text, "-m", models[kind], "--values", "h,probabilities", columns=columns)
    assert seen.code == 0
    assert "\x1b[2J" not in seen.out
    lines = as_seen(seen.out)
    tokens = elman.load(models[kind]).vocabulary.encode(text)
    assert sum(bool(re.match(r" *\d+ .*[^ ] +-?\d\.\d{3} ", line)) for line in lines) == 2 * len(tokens)
    if columns >= 80:
        assert max(map(cell_len, lines)) <= columns


@every_kind
def test_json_of_values_is_what_the_library_says(command, models, kept, kind):
    for path, names in ((models[kind], ["h", "probabilities", "r"]), (kept, ["c", "level", "tokens"])):
        text = RHYME if path == kept else RHYME + WIDE
        model, tokens, values = inspected(path, text)
        rows = [json.loads(row) for row in command("inspect", text, "-m", path, "--values", ",".join(names), "--json").lines]
        assert [row["position"] for row in rows] == list(range(len(tokens)))
        assert [row["token"] for row in rows] == tokens.tolist()
        for row, expected in zip(rows, zip(*(values[name] for name in names), strict=True), strict=True):
            assert list(row["values"]) == names
            for name, value in zip(names, expected, strict=True):
                assert row["values"][name] == value.tolist()
        if model.vocabulary.kind == "characters":
            assert "".join(row["symbol"] for row in rows) == model.vocabulary.decode(tokens)


@every_kind
def test_values_in_a_npz(command, models, kept, kind, tmp_path):
    for path, names in ((models[kind], ["h", "probabilities", "r"]), (kept, ["c", "level"])):
        text, file = RHYME + WIDE, tmp_path / "values.npz"
        model, tokens, values = inspected(path, text)
        done = command("inspect", text, "-m", path, "--values", ",".join(names), "--output", file)
        assert (done.code, done.err) == (0, "")
        told = f"{', '.join(names)} at {len(tokens)} positions, {file.stat().st_size:,} bytes"
        assert done.out == f"saved {file} ({told})\n"
        with np.load(file) as found:
            assert set(found.files) == {"tokens", "symbols", *names}
            np.testing.assert_array_equal(found["tokens"], tokens)
            assert found["symbols"].tolist() == [terminal.exact(model.vocabulary, t) for t in tokens]
            for name in names:
                assert found[name].dtype == "float32"
                np.testing.assert_array_equal(found[name], values[name])
    assert [found.name for found in tmp_path.iterdir()] == ["values.npz"]


@every_kind
def test_values_in_a_csv(command, models, kept, kind, tmp_path):
    for path, names in ((models[kind], ["h", "probabilities", "r"]), (kept, ["c", "level", "tokens"])):
        text, file = RHYME + WIDE + '","', tmp_path / "values.csv"
        model, tokens, values = inspected(path, text)
        done = command("inspect", "-", "-m", path, "--values", ",".join(names), "-o", file, stdin=text.encode())
        assert (done.code, done.err) == (0, "")
        with file.open(encoding="utf-8", newline="") as lines:
            header, *rows = csv.reader(lines)
        expected = ["position", "token", "symbol"]
        for name in names:
            expected += [
                f"{name}[{','.join(map(str, unit))}]".removesuffix("[]") for unit in np.ndindex(values[name][0].shape)
            ]
        assert header == expected
        assert [int(row[0]) for row in rows] == list(range(len(tokens)))
        assert [int(row[1]) for row in rows] == tokens.tolist()
        assert [row[2] for row in rows] == [terminal.exact(model.vocabulary, t) for t in tokens]
        for row, *there in zip(rows, *(values[name] for name in names), strict=True):
            np.testing.assert_array_equal(np.float32(row[3:]), np.concatenate([np.ravel(value) for value in there]))


def test_only_what_is_asked_for_is_held(command, models, monkeypatch):
    asked, before = [], elman.Model.inspect

    def spied(self, tokens, *arguments, keep=None, **settings):
        asked.append(keep)
        return before(self, tokens, *arguments, keep=keep, **settings)

    monkeypatch.setattr(elman.Model, "inspect", spied)
    assert command("inspect", RHYME, "-m", models["characters"], "--values", "h,logits").code == 0
    assert asked == [["h", "logits"]]


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
@pytest.mark.parametrize("call", ["os.fsync", "os.replace", "os.chmod", "os.fdopen", "tempfile.mkstemp"])
def test_a_write_that_fails_leaves_the_old_file(command, models, tmp_path, monkeypatch, suffix, call):
    def fail(*_, **__):
        raise OSError(28, os.strerror(28))

    file = tmp_path / f"values{suffix}"
    file.write_bytes(b"old")
    monkeypatch.setattr(call, fail)
    done = command("inspect", RHYME, "-m", models["characters"], "--values", "h", "-o", file)
    refused(done, f"{file} cannot be written: {os.strerror(28)}")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_name_that_a_npz_has_for_something_else(command, kept, tmp_path):
    done = command("inspect", "the", "-m", kept, "--values", "c,tokens", "-o", tmp_path / "x.npz")
    refused(done, f"{tmp_path}/x.npz: a .npz has no room for a value called 'tokens'; write a .csv")
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_are_not_finite_are_shown(command, steady, tmp_path):
    model = elman.load(steady)
    model.update({"wya": np.full((4, 2), 3e38), "ba": [9.0, 9.0]})
    model.save(tmp_path / "huge")
    arguments = ("inspect", "ab", "-m", str(tmp_path / "huge"), "--values", "a,logits,probabilities")
    done = finish(start(*arguments))
    assert (done.code, done.err) == (0, "")
    rows = [line.split() for line in done.lines[1:-1]]
    assert [row[3:6] for row in rows[:3]] == [["1.000"] * 3, ["inf"] * 3, ["nan"] * 3]
    assert [row[6] for row in rows[:3]] == ["██", "????", "????"]
    row = json.loads(command(*arguments, "--json").lines[0])
    one = float(np.tanh(np.float32(9)))
    assert row["values"] == {"a": [one, one], "logits": [None] * 4, "probabilities": [None] * 4}
    assert command(*arguments, "-o", tmp_path / "x.csv").code == 0
    assert (tmp_path / "x.csv").read_text().splitlines()[
        1
    ] == f"0,0,a,{np.float32(one)!s},{np.float32(one)!s},inf,inf,inf,inf,nan,nan,nan,nan"
    assert command(*arguments, "-o", tmp_path / "x.npz").code == 0
    assert np.isnan(np.load(tmp_path / "x.npz")["probabilities"]).all()


def test_blocks_without_unicode_are_letters(models):
    plain_ascii = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = finish(start("inspect", "the", "-m", str(models["characters"]), "--values", "h", env=plain_ascii))
    assert (done.code, done.err) == (0, "")
    assert done.out.isascii()
    assert "\\" not in done.out
    assert re.fullmatch(r"[.:\-=+*#@]{12}", done.lines[1].split()[-1])


def test_inspect_reads_as_predict_does(command, models, tmp_path):
    text = RHYME + WIDE
    (tmp_path / "text").write_bytes(text.encode())
    for kind in ("characters", "bytes"):
        asked = ("-m", models[kind], "--values", "h", "--json")
        expected = command("inspect", text, *asked).out
        assert len(expected) > 1000
        assert command("inspect", "-f", tmp_path / "text", *asked).out == expected
        assert command("inspect", "-", *asked, stdin=text.encode()).out == expected
    assert (
        command("inspect", "for", "--values", "h").out
        == command(
            "inspect", "for", "--values", "h", "-m", Path(elman.__file__).parent / "models" / "default.safetensors"
        ).out
    )


# ---------------------------------------------------------------- bad input


def refused(done, message):
    assert (done.code, done.out) == (2, "")
    assert done.err == f"elman: {message}\n"


@pytest.fixture
def scene(command, models, tmp_path, monkeypatch):
    """A folder of things that are wrong, to stand in; nothing may be added to it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text(RHYME)
    (tmp_path / "one").write_text("a")
    (tmp_path / "two").write_text("ab")
    (tmp_path / "empty").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "text.csv").write_text(RHYME)
    (tmp_path / "latin").write_bytes(b"caf\xe9 au lait")
    whole = models["characters"].read_bytes()
    (tmp_path / "model").write_bytes(whole)
    (tmp_path / "model.npz").write_bytes(whole)
    (tmp_path / "truncated").write_bytes(whole[:-1])
    (tmp_path / "garbage").write_bytes(np.random.default_rng(0).bytes(1000))
    model = elman.load(models["characters"])
    model.vocabulary = None
    model.save(tmp_path / "dumb")
    strict = Vocabulary.characters("abc", unknown=False)
    elman.Model(3, 2, vocabulary=strict).save(tmp_path / "strict")
    strict = Vocabulary.words("a b", unknown=False)
    elman.Model(3, 2, vocabulary=strict).save(tmp_path / "strict-words")
    from safetensors.numpy import save_file

    save_file({"w": np.zeros(3)}, tmp_path / "foreign")
    listed = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    yield command
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == listed


BYTES = "take a model trained with --vocabulary bytes"
NOT_UTF8 = f"is not UTF-8; convert it, or {BYTES}"
SOURCES = "give either TEXT, or -f FILE, or - for standard input"
CUT = "is truncated, damaged or no safetensors file (..."
LOST = "has no unknown token: make it from text that holds it, or with unknown=True"

BAD = {
    "frobnicate": "No such command 'frobnicate'...",
    "--frobnicate": "No such option: --frobnicate...",
    # predict
    "predict": SOURCES,
    "predict a -f text": SOURCES,
    "predict - -f text": SOURCES,
    "predict a b": "Got unexpected extra argument...",
    "predict a --nope": "No such option: --nope...",
    "predict ''": "TEXT is empty; at least one symbol is wanted",
    "predict -": "the text is empty; at least one symbol is wanted",
    "predict -f": "Option '-f' requires an argument...",
    "predict -f nowhere": "nowhere: no such file",
    "predict -f folder": "folder: a folder, not a file",
    "predict -f empty": "the text is empty; at least one symbol is wanted",
    "predict -f latin": f"latin: byte 3 (0xe9) is not UTF-8; convert the file, or {BYTES}",
    "predict a --top 0": "--top 0 must be 1 or more",
    "predict a --top -3": "--top -3 must be 1 or more",
    "predict a --top many": "Invalid value for '--top'...",
    "predict a --top 1.5": "Invalid value for '--top'...",
    "predict a -m nowhere": "nowhere: there is no such file",
    "predict a -m ''": ". is a folder; a model file is wanted",
    "predict a -m folder": "folder is a folder; a model file is wanted",
    "predict a -m truncated": f"truncated {CUT}",
    "predict a -m garbage": f"garbage {CUT}",
    "predict a -m empty": f"empty {CUT}",
    "predict a -m text": f"text {CUT}",
    "predict a -m foreign": "foreign is a safetensors file, but not a model of elman: its metadata has no 'elman' entry",
    "predict a -m dumb": "this model has no vocabulary, so it cannot read text; use it from Python",
    "predict abxc -m strict": "character 'x' (U+0078) at position 2 is not among the 3 characters of this vocabulary, which "
    + LOST,
    "predict 'a dog' -m strict-words": "word 'dog' at position 2 is not among the 3 words of this vocabulary, which has no "
    "unknown token: make it from text that holds it, or with unknown=True",
    # train
    "train": "give FILES to learn from, or --resume a run",
    "train text": "give --output MODEL, a file to write, or --run FOLDER, which will hold it",
    "train -o new": "give FILES to learn from, or --resume a run",
    "train text --run new --resume folder": "folder: there is no run, since it has no run.json",
    "train --resume nowhere": "nowhere: there is no run, since it has no run.json",
    "train --resume text": "text: there is no run, since it has no run.json",
    "train text -o new --patience 3": "--patience 3 wants --run FOLDER, for checkpoints and a log",
    "train text -o new --tensorboard folder": "--tensorboard folder wants --run FOLDER, for checkpoints and a log",
    "train text --run text": "text cannot be made: File exists",
    "train text -o new --optimiser adm": "there is no optimiser 'adm'; optimisers are sgd, adagrad, rmsprop, adam, adamw",
    "train text -o new --schedule falls": "there is no schedule 'falls'; schedules are constant, cosine, steps",
    "train text --run folder --save-every 0": "--save-every 0 must be a number of updates, 1 or more",
    "train text --run folder --keep 0": "--keep 0 must be a number of checkpoints, 1 or more",
    "plot": "Missing argument...",
    "plot nowhere": "nowhere: there is no such file; the log of a run is wanted",
    "plot folder": "folder/log.jsonl: there is no such file; the log of a run is wanted",
    "plot text": "text: line 1 is none of a log; each is a JSON object with a step",
    "plot empty": "empty tells of no update yet, so there is nothing to draw",
    "plot empty -o new.txt": "--output new.txt: .png, .svg, .pdf are known, by the end of the name",
    "plot empty -o nowhere/new.png": "nowhere/new.png cannot be written: the folder nowhere does not exist",
    "train nowhere -o new": "nowhere: no such file",
    "train text nowhere -o new": "nowhere: no such file",
    "train folder -o new": "no text in folder: 0 files read, 0 skipped",
    "train empty -o new": "no text in empty: 1 file read, 0 skipped",
    "train latin -o new": "latin: byte 3 (0xe9) is not UTF-8; convert the file, or use a vocabulary of bytes",
    "train one -o new": "a validation share of 0.1 leaves 1 of 1 symbols to learn from; at least 2 are wanted",
    "train two -o new --validation 0.5": "a validation share of 0.5 leaves 1 of 2 symbols to learn from; "
    "at least 2 are wanted",
    "train text -o folder": "folder cannot be written: it is a folder; name a file",
    "train text -o ''": ". cannot be written: it is a folder; name a file",
    "train text -o nowhere/new": "nowhere/new cannot be written: the folder nowhere does not exist",
    "train text -o new --cell rnn": "there is no cell 'rnn'; near it: qrnn, indrnn; `elman cells` lists all",
    "train text -o new --cell jordan": "--cell jordan wants the size output too: --cell-size output=64; in Python "
    "Model(..., output=64)",
    "train text -o new --cell lstm_projected": "--cell lstm_projected wants the size projection too: "
    "--cell-size projection=64; in Python Model(..., projection=64)",
    "train text -o new --cell lstm_projected --cell-size projection=0": "lstm_projected: size projection=0 must be ...",
    "train text -o new --cell lstm_projected --cell-size output=3": "--cell-size output=3: lstm_projected does not ask for "
    "it; its further sizes are projection",
    "train text -o new --cell-size output=3": "--cell-size output=3: gru does not ask for it; it has no further sizes",
    "train text -o new --cell-size hidden=3": "--cell-size hidden=3: gru does not ask for it; it has no further sizes",
    "train text -o new --cell-size projection": "--cell-size projection: a name and a number are wanted, such as "
    "projection=64",
    "train text -o new --cell-size projection=-3": "--cell-size projection=-3: a name and a number are wanted, such as ...",
    "train text -o new --cell-size projection=wide": "--cell-size projection=wide: a name and a number are wanted, such ...",
    "train text -o new --cell-size =3": "--cell-size =3: a name and a number are wanted, such as projection=64",
    "train text -o new --cell clockwork --hidden 3": "clockwork: 4 periods need as many hidden units at least, there are 3",
    "train text -o new --vocabulary runes": "there is no vocabulary of 'runes'; kinds are ...",
    "train text -o new --layers 0": "--layers 0 must be 1 or more",
    "train text -o new --layers 2 --dropout 1": "--dropout 1.0 must be a share, at least 0 and below 1",
    "train text -o new --dropout 0.5": (
        "--dropout 0.5: with one layer there is nothing between layers; take --layers 2 or more, or --recurrent-dropout"
    ),
    "train text -o new --hidden 0": "--hidden 0 must be an integer, 1 or more",
    "train text -o new --hidden -5": "--hidden -5 must be an integer, 1 or more",
    "train text -o new --hidden big": "Invalid value for '--hidden'...",
    "train text -o new --hidden 1000000000000": "--hidden 1000000000000 must be an integer, below ...",
    "train text -o new --length 0": "--length 0 must be an integer, 1 or more",
    "train text -o new --batch 0": "--batch 0 must be an integer, 1 or more",
    "train text -o new --steps 0": "--steps 0 must be an integer, 1 or more",
    "train text -o new --steps 1e3": "Invalid value for '--steps'...",
    "train text -o new --seed -1": "--seed -1 must be an integer, 0 or more",
    "train text -o new --truncate 0": "--truncate 0: a number of steps, 1 or more, or two such as 8,32 is wanted: "
    "the losses of every 8 steps flow back through 32",
    "train text -o new --rate 0": "--rate 0.0 must be a number above 0, and finite",
    "train text -o new --rate nan": "--rate nan must be a number above 0, and finite",
    "train text -o new --rate inf": "--rate inf must be a number above 0, and finite",
    "train text -o new --rate -1": "--rate -1.0 must be a number above 0, and finite",
    "train text -o new --rate fast": "Invalid value for '--rate'...",
    "train text -o new --clip 0": "--clip 0.0 must be a number above 0, and finite",
    "train text -o new --clip nan": "--clip nan must be a number above 0, and finite",
    "train text -o new --validation 1": "--validation 1.0 must be a share, at least 0 and below 1",
    "train text -o new --validation -0.1": "--validation -0.1 must be a share, at least 0 and below 1",
    "train text -o new --validation nan": "--validation nan must be a share, at least 0 and below 1",
    "train text -o new --size 1": "--size 1 is too small: at least 2, for a character and the unknown token",
    "train text -o new --size 0 --vocabulary words": "--size 0 is too small: at least 2, for a word and the unknown token",
    "train text -o new --size 9 --vocabulary subwords": "--size 9 is too small: at least 256, for the bytes with which "
    "subwords begin",
    "train text -o new --size 9 --vocabulary bytes": "--size 9: bytes are 256 symbols; leave it out, or take another "
    "vocabulary",
    "train text -o new --sample-every -1": "--sample-every -1 must be 0 or more",
    "train text -o new --truncate 8,0": "--truncate 8,0: a number of steps, 1 or more, or two such as 8,32 is wanted: ...",
    "train text -o new --truncate 8,16,32": "--truncate 8,16,32: a number of steps, 1 or more, or two such as 8,32 is ...",
    "train text -o new --truncate far": "--truncate far: a number of steps, 1 or more, or two such as 8,32 is wanted: ...",
    "train text -o new --truncate 8,4": "--truncate 8,4: the losses of 8 steps cannot flow back through 4; take 8,8",
    "train text -o new --truncate 4,8 --recurrent-dropout 0.5": (
        "--truncate 4,8 and --recurrent-dropout 0.5 do not go together; cut every so many steps"
    ),
    "train text -o new --truncate 4,8 --dropout 0.5 --layers 2": (
        "--truncate 4,8 and --dropout 0.5 do not go together; cut every so many steps"
    ),
    "train text --run folder --patience 0": "--patience 0 must be an integer, 1 or more",
    "train text -o new --recurrent-dropout 1": "--recurrent-dropout 1.0 must be a share, at least 0 and below 1",
    "train text -o new --recurrent-dropout 0.5 --cell mingru": (
        "--recurrent-dropout 0.5, but mingru brings no state to a product"
    ),
    "train text -o new --weight-decay -1": "--weight-decay -1.0 must be a finite number, 0 or more",
    "train text -o new --weight-decay nan": "--weight-decay nan must be a finite number, 0 or more",
    "train text -o new --weight-decay much": "Invalid value for '--weight-decay'...",
    "train text -o new --optimiser sgd --momentum 1": "--momentum 1.0 must be a share, at least 0 and below 1",
    "train text -o new --momentum 0.9": "adam has no setting 'momentum'; settings are beta1, beta2, epsilon, weight_decay",
    "train text -o new --optimiser sgd --nesterov": (
        "--nesterov without a momentum changes nothing; give a momentum such as 0.9"
    ),
    "train text -o new --nesterov": "adam has no setting 'nesterov'; settings are beta1, beta2, epsilon, weight_decay",
    "train text -o new --beta1 1": "--beta1 1.0 must be a share, at least 0 and below 1",
    "train text -o new --optimiser adamw --beta2 -0.1": "--beta2 -0.1 must be a share, at least 0 and below 1",
    "train text -o new --optimiser sgd --beta2 0.9": (
        "sgd has no setting 'beta2'; settings are momentum, nesterov, weight_decay"
    ),
    "train text -o new --average 1.5": ("--average 1.5 must be a share, at least 0 and below 1, or 1 for the plain mean"),
    "train text -o new --average nan": ("--average nan must be a share, at least 0 and below 1, or 1 for the plain mean"),
    "train text -o new --label-smoothing 1": "--label-smoothing 1.0 must be a share, at least 0 and below 1",
    "train text -o new --clip-value 0": "--clip-value 0.0 must be a number above 0, and finite",
    "train text -o new --clip-value inf": "--clip-value inf must be a number above 0, and finite",
    "train text -o new --warm-up -1": "--warm-up -1 must be an integer, 0 or more",
    # generate
    "generate more": "Got unexpected extra argument...",
    "generate --prompt ''": "--prompt is empty; at least one symbol is wanted",
    "generate --length -1": "length=-1 must be a number of symbols, 0 or more",
    "generate --length long": "Invalid value for '--length'...",
    "generate --temperature -1": "temperature=-1.0 must be a number, 0 or more, and finite",
    "generate --temperature nan": "temperature=nan must be a number, 0 or more, and finite",
    "generate --temperature inf": "temperature=inf must be a number, 0 or more, and finite",
    "generate --temperature hot": "Invalid value for '--temperature'...",
    "generate --top-k 0": "top_k=0 must be an integer, 1 or more",
    "generate --top-p 0": "top_p=0.0 must be a number above 0, at most 1",
    "generate --top-p 1.1": "top_p=1.1 must be a number above 0, at most 1",
    "generate --top-p nan": "top_p=nan must be a number above 0, at most 1",
    "generate --seed -1": "seed=-1 must be an integer, 0 or more",
    "generate --seed x": "Invalid value for '--seed'...",
    "generate -m nowhere": "nowhere: there is no such file",
    "generate -m dumb": "this model has no vocabulary, so it cannot read text; use it from Python",
    "generate -m strict --prompt ax": "character 'x' (U+0078) at position 1 is not among the 3 characters of this "
    "vocabulary, which has no unknown token: make it from text that holds it, or with unknown=True",
    # cells
    "cells lstn": "there is no cell 'lstn'; near it: lstm, slstm, mlstm; `elman cells` lists all",
    "cells GRUU": "there is no cell 'GRUU'; near it: gru, rg_lru, mingru; `elman cells` lists all",
    "cells xyz": "there is no cell 'xyz'; cells are elman, gru, ...",
    "cells ''": "there is no cell ''; cells are elman, gru, ...",
    "cells lstm gru": "Got unexpected extra argument...",
    "cells lstm --hidden 0": "lstm: size hidden=0 must be an integer, 1 or more",
    "cells --input 0": "elman: size input=0 must be an integer, 1 or more",
    "cells --hidden big": "Invalid value for '--hidden'...",
    "cells clockwork --hidden 3": "clockwork: 4 periods need as many hidden units at least, there are 3",
    "cells lstm --cell-size projection=3": "--cell-size projection=3: lstm does not ask for it; it has no further sizes",
    "cells --cell-size 3": "--cell-size 3: a name and a number are wanted, such as projection=64",
    "cells --nope": "No such option: --nope...",
    # inspect
    "inspect --values h": SOURCES,
    "inspect a -f text --values h": SOURCES,
    "inspect a -f text": SOURCES,
    "inspect ''": "TEXT is empty; at least one symbol is wanted",
    "inspect -f nowhere": "nowhere: no such file",
    "inspect -f latin --values h": f"latin: byte 3 (0xe9) is not UTF-8; convert the file, or {BYTES}",
    "inspect a --values hh": "Model: there is no value 'hh'; values are i, f, g, o, c, h, mulya, logits, probabilities",
    "inspect a --values h,a": "Model: there is no value 'a'; values are i, f, ...",
    "inspect a --values ''": "--values '': names are wanted, with commas between them; without it, they are listed",
    "inspect a --values h,,c": "--values 'h,,c': names are wanted, with commas between them; without it, they are listed",
    "inspect a --units 0": "--units wants --values; without both, the names of the values are listed",
    "inspect a --json": "--json wants --values; without both, the names of the values are listed",
    "inspect a -o new.npz": "--output wants --values; without both, the names of the values are listed",
    "inspect a --values h --units x": "--units 'x': numbers of units are wanted, with commas between them, such as 0,3,7",
    "inspect a --values h --units -1": "--units '-1': numbers of units are wanted, with commas between them, such as ...",
    "inspect a --values h --units ''": "--units '': numbers of units are wanted, with commas between them, such as ...",
    "inspect a --values h --units 3,432": "--units 432: h has 432 units, counted from 0",
    "inspect a --values h,logits --units 100": "--units 100: logits has 98 units, counted from 0",
    "inspect a --values h --units 0 --json": "give either --units or --json; --units is for the table, the others hold "
    "every unit",
    "inspect a --values h -o new.npz --json": "give either --output or --json; --units is for the table, the others hold "
    "every unit",
    "inspect a --values h --units 0 -o new.npz": "give either --units or --output; ...",
    "inspect a --values h -o new": "--output new: .npz and .csv are known, by the end of the name",
    "inspect a --values h -o new.txt": "--output new.txt: .npz and .csv are known, by the end of the name",
    "inspect a --values h -o .csv": "--output .csv: .npz and .csv are known, by the end of the name",
    "inspect a --values h -o nowhere/new.csv": "nowhere/new.csv cannot be written: the folder nowhere does not exist",
    "inspect a --values h -o folder.npz": "folder.npz cannot be written: it is a folder; name a file",
    "inspect -f text.csv --values h -o text.csv": "text.csv is a file to read; write to another",
    "inspect a -m model.npz --values h -o folder/../model.npz": "folder/../model.npz is a file to read; write to another",
    "inspect a -m nowhere --values h": "nowhere: there is no such file",
    "inspect a -m dumb --values h": "this model has no vocabulary, so it cannot read text; use it from Python",
    "inspect abxc -m strict --values a": f"character 'x' (U+0078) at position 2 is not among the 3 characters of this "
    f"vocabulary, which {LOST}",
    "inspect a b": "Got unexpected extra argument...",
    "inspect a --nope": "No such option: --nope...",
    # show
    "show nowhere": "nowhere: there is no such file",
    "show folder": "folder is a folder; a model file is wanted",
    "show truncated": f"truncated {CUT}",
    "show foreign": "foreign is a safetensors file, but not a model of elman: its metadata has no 'elman' entry",
    "show model more": "Got unexpected extra argument...",
    "show model --nope": "No such option: --nope...",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_input_is_one_line(scene, line):
    import shlex

    done, (message, goes_on, _) = scene(*shlex.split(line)), BAD[line].partition("...")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert done.err.endswith("\n")
    if goes_on:  # in the words of another library, or with names that will be more
        assert done.err.startswith(f"elman: {message}")
    else:
        assert done.err == f"elman: {message}\n"


def test_standard_input_that_is_not_utf8(scene):
    message = f"standard input: byte 2 (0xff) {NOT_UTF8}"
    refused(scene("predict", "-", stdin=b"ab\xffcd"), message)
    refused(scene("predict", "-", stdin=b"ab\xff"), message)


def test_standard_input_that_is_closed(command, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["elman", "predict", "-"])
    done = finish(start("predict", "-", stdin=None, preexec_fn=lambda: os.close(0)))
    refused(done, "the text is empty; at least one symbol is wanted")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([b"predict", b"a\xc3\xa9\xff"], f"TEXT: byte 3 (0xff) {NOT_UTF8}"),
        ([b"generate", b"--prompt", b"\xc3"], f"--prompt: byte 0 (0xc3) {NOT_UTF8}"),
        ([b"predict", b"-f", b"\xff"], "\\udcff: no such file"),
        ([b"predict", b"a", b"-m", b"\xff"], "\\udcff: there is no such file"),
        ([b"show", b"\xff"], "\\udcff: there is no such file"),
        ([b"inspect", b"a", b"--values", b"\xff"], "Model: there is no value '\\udcff'; values are i, f, g, o, c, h, mulya, "
         "logits, probabilities"),
        ([b"cells", b"\xff"], "there is no cell '\\udcff'; cells are " + ", ".join(elman.cells.CELLS)),
        ([b"train", b"\xff", b"-o", b"new"], "\\udcff: no such file"),
        ([b"train", b"a", b"-o", b"\xff/new"], "\\udcff/new cannot be written: the folder \\udcff does not exist"),
    ],
)  # fmt: skip
def test_arguments_that_are_not_utf8(tmp_path, arguments, message):
    refused(finish(start(*arguments, cwd=tmp_path)), message)
    assert list(tmp_path.iterdir()) == []


def test_a_message_is_one_line_whatever_is_in_it(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(command("show", "a\nb\x1b[31m"), "a b\\x1b[31m: there is no such file")


def test_weights_that_are_too_large_are_told(command, steady, tmp_path):
    model = elman.load(steady)
    model.update({"wya": np.full((4, 2), 3e38), "ba": [9.0, 9.0]})
    model.save(tmp_path / "huge.safetensors")
    with np.errstate(all="ignore"):
        refused(
            command("predict", "ab", "--json", "-m", tmp_path / "huge.safetensors"),
            "the model gives NaN or infinity; its weights are too large",
        )


def test_a_model_that_does_not_fit_the_memory(command, corpus, monkeypatch):
    def full(*_, **__):
        raise MemoryError("Unable to allocate 432. GiB")  # not really: a system may promise what it does not have

    monkeypatch.setattr(cli.learning, "Model", full)
    refused(command("train", corpus, "-o", corpus.parent / "new", *QUICK), "not enough memory: Unable to allocate 432. GiB")
    assert not (corpus.parent / "new").exists()


def test_errors_of_ours_are_not_hidden(command, monkeypatch):
    """A mistake in the library is a traceback, not a line that blames the user."""

    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(cli.shared, "load", broken)
    monkeypatch.setattr(sys, "argv", ["elman", "show"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


# ---------------------------------------------------------------- the environment


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("ELMAN_TARGET", "elman: ELMAN_TARGET: target 'foo' is unknown; targets are auto, llvm, numpy, interpreter\n"),
        ("ELMAN_MACHINE", "elman: ELMAN_MACHINE: machine 'foo' is unknown here; it is one of "),
    ],
)
def test_what_the_environment_asks_for_in_vain_is_no_fault_of_a_file(command, monkeypatch, variable, told):
    machine = pytest.importorskip("elman.targets.llvm.machine")
    if not machine.machines():
        pytest.skip("no fused multiply-add here")
    monkeypatch.delenv("ELMAN_TARGET", raising=False)
    monkeypatch.setenv(variable, "foo")
    done = command("predict", "ab")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(told)
    assert done.err.count("\n") == 1


# ---------------------------------------------------------------- cache


def test_the_cache_is_told_and_cleared(command, tmp_path, monkeypatch):
    folder = tmp_path / "compiled"
    monkeypatch.setenv("ELMAN_CACHE", str(folder))
    assert command("cache").out == f"0 compiled programs (0 bytes) in {folder}\n"
    folder.mkdir()
    (folder / "a.program").write_bytes(b"123")
    (folder / "another file").write_bytes(b"stays")
    assert command("cache").out == f"1 compiled program (3 bytes) in {folder}\n"
    assert command("cache", "--clear").out == f"removed 1 program (3 bytes) from {folder}\n"
    assert [path.name for path in folder.iterdir()] == ["another file"]
    monkeypatch.setenv("ELMAN_CACHE", "")
    assert command("cache", "--clear").out == "compiled programs are not kept (ELMAN_CACHE is empty)\n"


def test_the_cache_tells_what_it_could_not_remove(command, tmp_path, monkeypatch):
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path))
    for name in "abc":
        (tmp_path / f"{name}.program").write_bytes(b"123")
    (tmp_path / "folder.program").mkdir()
    unlink = Path.unlink

    def refused(path):
        if path.name > "a.program":
            raise PermissionError(13, os.strerror(13), str(path))
        unlink(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refused)
        done = command("cache", "--clear")
    assert done.code == 2
    assert done.out == f"removed 1 program (3 bytes) from {tmp_path}\n"
    assert done.err == f"elman: {tmp_path}/b.program cannot be removed, nor can 1 more: {os.strerror(13)}\n"
    assert command("cache").out == f"2 compiled programs (6 bytes) in {tmp_path}\n"
    assert command("cache", "--clear").out == f"removed 2 programs (6 bytes) from {tmp_path}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["folder.program"]


@pytest.mark.parametrize("arguments", [(), ("--clear",)])
def test_a_cache_that_cannot_be_read_is_named(command, tmp_path, monkeypatch, arguments):
    file = tmp_path / "file"
    file.write_text("no folder")
    for place in (file, file / "below"):
        monkeypatch.setenv("ELMAN_CACHE", str(place))
        done = command("cache", *arguments)
        assert (done.code, done.out, done.err) == (2, "", f"elman: {place} cannot be read: {os.strerror(20)}\n")
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path))

    def refused(place):
        raise PermissionError(13, os.strerror(13), str(place))

    with monkeypatch.context() as patch:  # whoever runs the tests may be allowed everything
        patch.setattr(os, "listdir", refused)
        done = command("cache", *arguments)
    assert (done.code, done.out, done.err) == (2, "", f"elman: {tmp_path} cannot be read: {os.strerror(13)}\n")


def test_the_folder_of_a_user_may_be_written_with_a_tilde(command, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ELMAN_CACHE", "~/programs")
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "a.program").write_bytes(b"12")
    assert command("cache").out == f"1 compiled program (2 bytes) in {tmp_path}/programs\n"
