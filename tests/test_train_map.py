"""Training on text by memory map: vocabularies learnt in pieces, pairs counted in blocks, and the memory that it takes."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import elman
from elman import cli, train
from elman.corpus import read_bytes, read_corpus, read_text
from elman.data import TokenFile, learn_vocabulary, tokenise
from elman.data.pieces import Pieces
from elman.errors import DataError, SettingError, TextError
from elman.text import Vocabulary
from messages import raises
from test_command import command, environment
from test_learning import literal_bigram

__all__ = ["command"]  # a fixture

SAMPLE = "the cat, the hat; the naïve 😀 bat's\n\n\tthe cat sat\r\nit isn't  there 12 34\n" * 12
KINDS = ("characters", "bytes", "words", "subwords")
SMALL = ("--hidden", 5, "--batch", 2, "--length", 8, "--sample-every", 0, "--steps", 3)
parts = st.text(st.sampled_from("the cat isn't 12_\n\n  \t\r\x00\x1c\x85\u2028é\u0301😀漢\ufeff\ufffd's,!"), max_size=40)


def cut_at(block: int):
    """Files are read so many bytes at a time."""
    return patch("elman.data.pieces.BLOCK", block)


@pytest.fixture
def text(tmp_path):
    file = tmp_path / "text.txt"
    file.write_bytes(b"\xef\xbb\xbf" + SAMPLE.encode())
    return file


# ---------------------------------------------------------------- vocabularies


@pytest.mark.parametrize("kind", ["characters", "words", "subwords"])
@given(st.lists(parts, min_size=1, max_size=3).filter(any), st.integers(1, 9), st.integers(0, 9))
def test_a_vocabulary_learnt_in_pieces_is_that_of_the_whole(kind, texts, block, size):
    """With a size, ties among equally frequent symbols too; pieces of subwords lie across the ends of files."""
    size = {"subwords": 256 + 4 * size}.get(kind, size + 2 if size else None)
    with tempfile.TemporaryDirectory() as folder, cut_at(block):
        files = [Path(folder, f"{number}.txt") for number in range(len(texts))]
        for file, content in zip(files, texts, strict=True):
            file.write_bytes(content.encode())
        whole = "".join(map(read_text, files))
        if not whole:
            return
        assert learn_vocabulary(files, kind, size) == Vocabulary.of_kind(kind, whole, size)


@pytest.mark.parametrize("kind", KINDS)
def test_real_text_gives_the_same_vocabulary(kind):
    """Merges that follow from merges, and as many ties as real counts have."""
    paths = [Path(__file__).parent / name for name in ("test_text.py", "test_runs.py")]
    whole = "".join(map(read_text, paths))
    with cut_at(1000):
        assert learn_vocabulary(paths, kind) == Vocabulary.of_kind(kind, whole)
        if kind in ("words", "subwords"):
            assert learn_vocabulary(paths, kind, 700) == Vocabulary.of_kind(kind, whole, 700)


def test_several_texts_are_counted_one_by_one():
    texts = ["to be or", "not to be", "", "é\ufffdb"]
    known = Counter("".join(texts).replace("\ufffd", ""))
    by_count = sorted(known, key=lambda c: (-known[c], c))
    for size in (3, 6, 9):
        kept = Vocabulary.characters(iter(texts), size).symbols[:-1]
        assert [symbol.decode() for symbol in kept] == sorted(by_count[: size - 1])
    assert Vocabulary.words(texts).symbols == (b" ", b"be", b"to", b"b", b"not", b"or", "é".encode(), "\ufffd".encode())
    assert Vocabulary.subwords(["low", "low", "er"], 300).symbols[256:] == (b"lo", b"low")  # "er" is there once
    assert Vocabulary.of_kind("words", ["lo", "lo", "w"], 2).symbols[0] == b"lo"
    with raises(DataError, "a vocabulary of words is made from a text, and this one is empty"):
        Vocabulary.words(["", b""])
    with raises(DataError, "a text is str or bytes, this is int"):
        Vocabulary.characters(["a", 5])
    with raises(TextError, "text: position 1 holds the lone surrogate U+D800; remove it"):
        Vocabulary.subwords(["ab", "a\ud800"])


def test_what_cannot_be_learnt(tmp_path):
    (tmp_path / "latin").write_bytes(b"a" * 9 + b"\xe9")
    (tmp_path / "empty").write_bytes(b"\xef\xbb\xbf")
    with raises(TextError, f"{tmp_path}/none: no such file"):
        learn_vocabulary(tmp_path / "none")
    not_utf8 = f"{tmp_path}/latin: byte 9 (0xe9) is not UTF-8; convert the file, or use a vocabulary of bytes"
    for kind in ("characters", "words", "subwords"):
        with cut_at(4), raises(TextError, not_utf8):
            learn_vocabulary(tmp_path / "latin", kind)
        with raises(DataError, f"no text in {tmp_path}/empty: 1 file read, 0 skipped"):
            learn_vocabulary([tmp_path / "empty"], kind)
    assert learn_vocabulary(tmp_path / "latin", "bytes") == Vocabulary.bytes()
    with raises(DataError, "no text in an empty list of paths: 0 files read, 0 skipped"):
        learn_vocabulary([])
    with raises(SettingError, "there is no vocabulary of 'morse'; kinds are characters, bytes, words, subwords"):
        learn_vocabulary(tmp_path / "latin", "morse")
    with raises(SettingError, "size=1 is too small: at least 2, for a word and the unknown token"):
        learn_vocabulary(__file__, "words", 1)


# ---------------------------------------------------------------- files of tokens


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_tokens_tells_how_long_the_text_is(kind, text, tmp_path):
    whole = read_bytes(text) if kind == "bytes" else read_text(text)
    with cut_at(5):
        facts = tokenise([text, text], Vocabulary.of_kind(kind, whole), tmp_path / "tokens.npy").facts
    assert facts["text"]["length"] == 2 * len(whole)
    assert facts["text"]["bytes"] == 2 * len(read_bytes(text))


def test_a_fresh_file_of_tokens_stays_and_any_other_is_written(text, tmp_path):
    out, words = tmp_path / "tokens.npy", Vocabulary.words(SAMPLE)
    tokenise(text, words, out)

    def again(vocabulary):
        os.utime(out, (1, 1))
        tokens = tokenise(text, vocabulary, out, anew=False).tokens
        assert tokens.tolist() == vocabulary.encode(read_text(text)).tolist()
        return out.stat().st_mtime != 1

    assert not again(words)
    assert again(Vocabulary.words(SAMPLE, 9))
    text.write_text(SAMPLE[::-1])
    assert again(words)
    assert not again(words)
    out.write_bytes(out.read_bytes()[:-30])
    assert again(words)
    out.unlink()
    assert tokenise(text, words, out, anew=False).tokens.tolist() == words.encode(SAMPLE[::-1]).tolist()
    os.utime(out, (1, 1))
    tokenise(text, words, out)
    assert out.stat().st_mtime != 1


def test_suffixes_choose_as_in_a_corpus(tmp_path):
    for name in ("a.txt", "b.md", "c/d.txt", "e.txt.bak"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    for suffixes in ((".txt",), (".md", "d.txt"), ()):
        corpus, found = (
            read_corpus([tmp_path, tmp_path / "b.md"], suffixes=suffixes),
            Pieces([tmp_path, tmp_path / "b.md"], "words", suffixes),
        )
        assert ("".join(found), tuple(found.files)) == (corpus.text, corpus.files)


# ---------------------------------------------------------------- training on a map


@pytest.mark.parametrize("counted", [1, 2, 7, 64, train.COUNTED])
def test_bigrams_are_counted_across_the_ends_of_blocks(counted, monkeypatch):
    monkeypatch.setattr(train, "COUNTED", counted)
    rng = np.random.default_rng(counted)
    for size, count, held in ((5, 200, 60), (40, 129, 64), (3, 1, 2), (7, 0, 9), (6, 2, 3), (300, 128, 15)):
        shares = rng.random(size) ** 3
        training = rng.choice(size, count, p=shares / shares.sum())
        validation = rng.integers(0, size, held)
        expected = literal_bigram(training.tolist(), validation.tolist(), size)
        kind = np.min_scalar_type(size - 1)
        for dtype in (np.int64, kind):  # pairs of small integers do not fit into their type
            found = train.bigram_bits(training.astype(dtype), validation.astype(dtype), size)
            assert found == pytest.approx(expected, rel=1e-12)


def test_a_map_trains_and_measures_as_its_tokens(text, tmp_path):
    vocabulary = Vocabulary.characters(SAMPLE)
    file, tokens = tokenise(text, vocabulary, tmp_path / "tokens.npy"), vocabulary.encode(SAMPLE)
    assert (type(file.tokens), file.tokens.dtype) == (np.memmap, np.uint8)
    models = []
    for given_tokens in (file.tokens, tokens):
        models.append(elman.Model(len(vocabulary), 7, cell=elman.cells.lstm, seed=3))
        settings = train.Settings(length=9, batch=3, steps=7, rate=0.05)
        models[-1].told = [now.loss for now in train.train(models[-1], given_tokens, settings)]
    assert models[0].told == models[1].told
    for name, value in models[1].parameters.items():
        np.testing.assert_array_equal(models[0].parameters[name], value)
    for streams, chunk in ((1, 1000), (3, 10), (16, 256)):
        one, other = (train.evaluate(models[0], t, streams=streams, chunk=chunk) for t in (file.tokens, tokens))
        assert one == other > 0


# ---------------------------------------------------------------- the command


def test_a_run_goes_on_with_its_tokens_and_its_vocabulary(command, text, tmp_path, monkeypatch):
    """Neither is made again; and tokens that are lost or damaged are, to the same bytes."""
    folder, plain = tmp_path / "run", tmp_path / "plain"
    options = (*SMALL, "--vocabulary", "words", "--size", 12)
    assert command("train", text, "--run", folder, *options).code == 0
    assert command("train", text, "-o", plain, *options).code == 0
    held = json.loads((folder / "run.json").read_text())["facts"]
    vocabulary = Vocabulary.from_json(held["symbols"])
    assert vocabulary == elman.load(plain).vocabulary == Vocabulary.words(SAMPLE, 12)
    file = TokenFile.open(folder / "tokens.npy", vocabulary, text)
    assert file.tokens.tolist() == vocabulary.encode(SAMPLE).tolist()

    def fail(*_, **__):
        raise AssertionError("the vocabulary was learnt again")

    monkeypatch.setattr(cli.learning, "learn_vocabulary", fail)
    whole = (folder / "tokens.npy").read_bytes()
    for left, kept in ((whole, True), (whole[:-9], False), (None, False)):
        if left is None:
            (folder / "tokens.npy").unlink()
        else:
            (folder / "tokens.npy").write_bytes(left)
            os.utime(folder / "tokens.npy", (1, 1))
        done = command("train", "--resume", folder)
        assert (done.code, done.err) == (0, "")
        assert (folder / "tokens.npy").read_bytes() == whole
        assert ((folder / "tokens.npy").stat().st_mtime == 1) == kept
        assert (folder / "model.safetensors").read_bytes() == plain.read_bytes()


def test_a_vocabulary_that_is_damaged_in_its_run(command, text, tmp_path):
    path = tmp_path / "run" / "run.json"
    assert command("train", text, "--run", tmp_path / "run", *SMALL).code == 0
    held = json.loads(path.read_text())
    held["facts"]["symbols"]["symbols"][0] = "ab"
    path.write_text(json.dumps(held))
    done = command("train", "--resume", tmp_path / "run")
    wrong = "vocabulary of characters: symbol 0 ('ab') is not one of characters"
    assert (done.code, done.err) == (2, f"elman: {path}: {wrong}\n")
    del held["facts"]["symbols"]  # as runs had it that were begun before
    path.write_text(json.dumps(held))
    assert command("train", "--resume", tmp_path / "run").code == 0


def test_nothing_is_left_beside_a_model(command, text, tmp_path, monkeypatch):
    """Whether it ends well or not; and what a kill has left in a run is tidied away."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    assert command("train", text, "-o", tmp_path / "model", *SMALL).code == 0
    assert command("train", text, "-o", tmp_path / "model", *SMALL, "--rate", 1e300).code == 2
    assert command("train", text, "-o", tmp_path / "model", *SMALL, "--validation", 0.9999).code == 2
    assert command("train", text, "--run", tmp_path / "run", *SMALL).code == 0
    assert list((tmp_path / "temporary").iterdir()) == []
    (tmp_path / "run" / ".tokens.npy.x1_y.part").write_bytes(b"half")
    before = {path.name for path in (tmp_path / "run").iterdir()} - {".tokens.npy.x1_y.part"}
    assert command("train", "--resume", tmp_path / "run").code == 0
    assert {path.name for path in (tmp_path / "run").iterdir()} == before


def test_a_pipe_is_read_once(command, text, tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(text.read_bytes()))
    writer.start()
    done = command("train", tmp_path / "pipe", text, "-o", tmp_path / "model", *SMALL)
    writer.join()
    assert (done.code, done.err) == (0, "")
    assert command("train", text, text, "-o", tmp_path / "wanted", *SMALL).code == 0
    assert (tmp_path / "model").read_bytes() == (tmp_path / "wanted").read_bytes()


# ---------------------------------------------------------------- memory

CHILD = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-m", "elman", "train", *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(peak if sys.platform == "darwin" else peak * 1024)
"""


def peak_of_training(*arguments):
    """Bytes that the command had in memory at most, in a process of its own."""
    ran = [sys.executable, "-c", CHILD, *map(str, arguments)]
    return int(subprocess.run(ran, env=environment(), check=True, capture_output=True, timeout=120).stdout)


def test_memory_of_30_megabytes_is_not_that_of_their_objects(text, tmp_path):
    """A character is a byte of a mapped file. As str and int64, with the pairs that are counted, it took 32."""
    pytest.importorskip("resource")
    size, large = 30_000_000, tmp_path / "large.txt"
    large.write_bytes(SAMPLE.encode() * (size // len(SAMPLE.encode())))
    small, much = (peak_of_training(path, "-o", tmp_path / "model", *SMALL, "--validation", 0.01) for path in (text, large))
    assert elman.load(tmp_path / "model").training["symbols"] > 25_000_000
    print(f"\n{small / 1e6:.0f} MB for {text.stat().st_size} bytes, {much / 1e6:.0f} MB for {size / 1e6:.0f} million")
    assert much - small < 3 * size
