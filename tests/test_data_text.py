"""Token files: the tokens of the whole text however it is cut, in bounded memory, and files that are stale or damaged."""

import json
import re
import tempfile
import tracemalloc
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import elman
from elman.corpus import read_bytes, read_corpus, read_text
from elman.data import Streams, TokenFile, tokenise
from elman.data.pieces import Pieces
from elman.errors import DataError, ModelFileError, SettingError, TextError, TokenError
from elman.text import Vocabulary
from messages import raises

SAMPLE = "the cat, the hat; the naïve 😀 bat's\n\n\tthe cat sat\r\nit isn't  there 12 34\n" * 3
ALL = {
    "bytes": Vocabulary.bytes(),
    "characters": Vocabulary.characters(SAMPLE),
    "words": Vocabulary.words(SAMPLE),
    "subwords": Vocabulary.subwords(SAMPLE, size=330),
}
each_kind = pytest.mark.parametrize("kind", ALL)
parts = st.text(st.sampled_from("the cat isn't 12_\n\n  \t\r\x00\x1c\x85\u2028\xa0é\u0301😀漢\ufeff\ufffd's,!"), max_size=40)


def cut_at(block: int):
    """Files are read so many bytes at a time."""
    return patch("elman.data.pieces.BLOCK", block)


@pytest.fixture
def text(tmp_path):
    file = tmp_path / "text.txt"
    file.write_bytes(SAMPLE.encode())
    return file


# ---------------------------------------------------------------- the tokens of the whole text


@each_kind
@given(st.lists(parts, min_size=1, max_size=3), st.integers(1, 9))
def test_pieces_have_the_tokens_of_the_whole(kind, texts, block):
    """Characters of several bytes, words and merges lie across the ends of blocks, and of files."""
    vocabulary = ALL[kind]
    with tempfile.TemporaryDirectory() as folder, cut_at(block):
        files = [Path(folder, f"{number}.txt") for number in range(len(texts))]
        for file, content in zip(files, texts, strict=True):
            file.write_bytes(content.encode())
        whole = b"".join(map(read_bytes, files)) if kind == "bytes" else "".join(map(read_text, files))
        tokens = [token for piece in Pieces(files, kind) for token in vocabulary.encode(piece).tolist()]
    assert tokens == vocabulary.encode(whole).tolist()


@each_kind
def test_a_file_of_tokens_holds_the_whole_in_the_smallest_type(kind, text, tmp_path):
    vocabulary = ALL[kind]
    for block in (3, 1 << 20):
        with cut_at(block):
            file = tokenise(text, vocabulary, tmp_path / "tokens.npy")
        assert file.tokens.dtype == ("uint16" if kind == "subwords" else "uint8")
        assert file.tokens.tolist() == vocabulary.encode(SAMPLE).tolist()
        assert len(file) == len(vocabulary.encode(SAMPLE))


@each_kind
def test_text_is_really_cut(kind, text):
    with cut_at(16):
        pieces = list(Pieces([text], kind))
    assert len(pieces) > 8
    assert (b"" if kind == "bytes" else "").join(pieces) == (SAMPLE.encode() if kind == "bytes" else SAMPLE)


@pytest.mark.parametrize(("size", "dtype"), [(256, "uint8"), (257, "uint16"), (65536, "uint16"), (65537, "uint32")])
def test_types_are_as_small_as_the_vocabulary_allows(tmp_path, size, dtype):
    letters = "".join(map(chr, [*range(0x20, 0xD800), *range(0x10000, 0x1FFFF)][: size - 1]))
    (tmp_path / "a.txt").write_text(letters[-1] * 2 + "\x00", encoding="utf-8")
    vocabulary = Vocabulary.characters(letters)
    assert len(vocabulary) == size
    tokens = tokenise(tmp_path / "a.txt", vocabulary, tmp_path / "t.npy").tokens
    assert tokens.dtype == dtype
    assert tokens.tolist() == vocabulary.encode(letters[-1] * 2 + "\x00").tolist()
    assert tokens[2] == size - 1


def test_any_numpy_opens_it(text, tmp_path):
    """A .npy whose array is the tokens; the facts behind it are a second one."""
    vocabulary = ALL["words"]
    tokenise(text, vocabulary, tmp_path / "tokens.npy")
    assert np.load(tmp_path / "tokens.npy").tolist() == vocabulary.encode(SAMPLE).tolist()
    with (tmp_path / "tokens.npy").open("rb") as file:
        np.load(file)
        facts = json.loads(np.load(file).tobytes())
        assert not file.read()
    assert facts["text"]["bytes"] == len(SAMPLE.encode())
    assert (facts["vocabulary"]["kind"], facts["vocabulary"]["size"]) == ("words", len(vocabulary))


def test_it_is_mapped_and_cannot_be_written(text, tmp_path):
    tokens = tokenise(text, ALL["bytes"], tmp_path / "tokens.npy").tokens
    assert isinstance(tokens, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        tokens[0] = 1


def test_folders_are_read_as_a_corpus_is(tmp_path):
    contents = {"b.py": b"B\r\n", "a.txt": b"\xef\xbb\xbfA\n", "a/z.py": "é".encode(), "latin.txt": b"\xe9" * 9,
                "zero.txt": b"text\0", ".hidden.py": b"no", "empty": b""}  # fmt: skip
    for name, data in contents.items():
        file = tmp_path / "folder" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    for kind in ("bytes", "words"):
        for paths in (tmp_path / "folder", [tmp_path / "folder", str(tmp_path / "folder" / "b.py")]):
            corpus = read_corpus(paths, as_bytes=kind == "bytes")
            with cut_at(2):
                file = tokenise(paths, ALL[kind], tmp_path / "tokens.npy")
            assert file.tokens.tolist() == ALL[kind].encode(corpus.text).tolist()
            assert file.facts["text"]["files"] == len(corpus.files)
            found = Pieces([paths] if isinstance(paths, Path) else paths, kind)
            assert (tuple(found.files), tuple(found.skipped)) == (corpus.files, corpus.skipped)


def test_a_model_learns_from_it_as_from_the_tokens(text, tmp_path):
    vocabulary = ALL["characters"]
    mapped = Streams(tokenise(text, vocabulary, tmp_path / "tokens.npy").tokens, batch=2, length=5)
    plain = Streams(vocabulary.encode(SAMPLE), batch=2, length=5)
    model = elman.Model(len(vocabulary), hidden_dim=4)
    for _ in range(3):
        one, other = mapped.take(), plain.take()
        assert model.loss(one.x, one.targets) == model.loss(other.x, other.targets)


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("kind", ["bytes", "characters"])
def test_memory_does_not_grow_with_the_text(kind, tmp_path):
    line = SAMPLE.encode()
    (tmp_path / "text.txt").write_bytes(line * (50_000_000 // len(line)))
    tracemalloc.start()
    file = tokenise(tmp_path / "text.txt", ALL[kind], tmp_path / "tokens.npy")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(file) > 40_000_000
    assert most < 32 << 20


@pytest.mark.parametrize("kind", ["words", "subwords"])
def test_nor_where_tokens_are_longer(kind, tmp_path):
    """As above with everything a sixteenth: counting the memory of small objects is slow."""
    line = SAMPLE.encode()
    (tmp_path / "text.txt").write_bytes(line * (3_000_000 // len(line)))
    tracemalloc.start()
    with cut_at(1 << 16):
        tokenise(tmp_path / "text.txt", ALL[kind], tmp_path / "tokens.npy")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 << 20


# ---------------------------------------------------------------- fresh or stale


def test_a_fresh_file_opens(text, tmp_path):
    out = tmp_path / "tokens.npy"
    file = tokenise([text], ALL["words"], out)
    again = TokenFile.open(str(out), Vocabulary.words(SAMPLE), [text])
    assert again.facts == file.facts
    told = rf"{len(file)} tokens, uint8, {len(ALL['words'])} words \([0-9a-f]{{8}}\)"
    assert re.fullmatch(rf"TokenFile\({re.escape(str(out))}: {told}\)", repr(again))


@pytest.mark.parametrize(
    "other",
    [Vocabulary.words(SAMPLE, unknown=False), Vocabulary.words(SAMPLE + " new"), Vocabulary.characters(SAMPLE)],
    ids=repr,
)
def test_another_vocabulary_is_noticed(text, tmp_path, other):
    out = tmp_path / "tokens.npy"
    tokenise(text, ALL["words"], out)
    with pytest.raises(DataError) as caught:
        TokenFile.open(out, other)
    size = len(ALL["words"])
    told = rf"{re.escape(str(out))} is stale: its tokens are of {size} words \(\w{{8}}\), not of {len(other)} {other.kind} "
    assert re.fullmatch(told + r"\(\w{8}\); tokenise the text again", str(caught.value))


@pytest.mark.parametrize(
    ("change", "bytes_now"), [(lambda old: old + b"!", 1), (lambda old: old[:-1], -1), (lambda old: b"T" + old[1:], 0)]
)
def test_another_text_is_noticed(text, tmp_path, change, bytes_now):
    out, old = tmp_path / "tokens.npy", text.read_bytes()
    tokenise(text, ALL["words"], out)
    text.write_bytes(change(old))
    with pytest.raises(DataError) as caught:
        TokenFile.open(out, ALL["words"], text)
    then, now = (rf"{count} bytes in 1 file \(\w{{8}}\)" for count in (len(old), len(old) + bytes_now))
    assert re.search(rf"is stale: it was made of {then}, the text now has {now}; tokenise it again$", str(caught.value))
    TokenFile.open(out, ALL["words"])
    tokenise(text, ALL["words"], out)
    TokenFile.open(out, ALL["words"], text)


# ---------------------------------------------------------------- what goes wrong


def test_an_error_leaves_the_older_file_whole(text, tmp_path):
    out = tmp_path / "tokens.npy"
    tokenise(text, ALL["words"], out)
    before = out.read_bytes()
    text.write_bytes(SAMPLE.encode() * 3 + b"\xff")
    with cut_at(64), pytest.raises(TextError):
        tokenise(text, ALL["words"], out)
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.txt", "tokens.npy"]


@given(st.binary(max_size=12), st.integers(1, 5))
def test_bytes_that_are_not_utf8_are_named_by_their_place(data, block):
    with tempfile.TemporaryDirectory() as folder, cut_at(block):
        file = Path(folder, "a.txt")
        file.write_bytes(b"\xef\xbb\xbfa\xc3\xa9" + data)
        try:
            whole = read_corpus(file).text
        except TextError as error:
            with raises(TextError, str(error)):
                list(Pieces([file], "characters"))
        else:
            assert "".join(Pieces([file], "characters")) == whole


def test_a_symbol_that_is_not_there_is_placed(tmp_path):
    (tmp_path / "a.txt").write_text("ab ab ab")
    (tmp_path / "b.txt").write_text("ab\nab ax ab")
    files, out = [tmp_path / "a.txt", tmp_path / "b.txt"], tmp_path / "tokens.npy"
    rest = "of this vocabulary, which has no unknown token: make it from text that holds it, or with unknown=True"
    said = f"{files[1]}, from character 4 on: character 'x' (U+0078) at position 3 is not among the 4 characters {rest}"
    with cut_at(4), raises(TokenError, said):
        tokenise(files, Vocabulary.characters("ab \n", unknown=False), out)
    said = f"{files[0]}, from character 6 on: word 'abab' at position 0 is not among the 3 words {rest}"
    with cut_at(4), raises(TokenError, said):
        tokenise(files, Vocabulary.words("ab \n", unknown=False), out)
    assert not out.exists()


def test_what_cannot_be_read_or_written(text, tmp_path):
    vocabulary, out = ALL["words"], tmp_path / "tokens.npy"
    with raises(TextError, f"{tmp_path / 'none'}: no such file"):
        tokenise(tmp_path / "none", vocabulary, out)
    (tmp_path / "empty.txt").write_bytes(b"\xef\xbb\xbf")
    with raises(DataError, f"tokenise: no text in {tmp_path / 'empty.txt'}: 1 file read, 0 skipped"):
        tokenise(tmp_path / "empty.txt", vocabulary, out)
    with raises(DataError, "tokenise: no text in an empty list of paths: 0 files read, 0 skipped"):
        tokenise([], vocabulary, out)
    with raises(SettingError, f"tokenise: {text} is one of the files to read; write the tokens to another"):
        tokenise([text], vocabulary, text)
    assert text.read_bytes() == SAMPLE.encode()
    with raises(
        ModelFileError, f"{tmp_path / 'no' / 'x.npy'} cannot be written: the folder {tmp_path / 'no'} does not exist"
    ):
        tokenise(text, vocabulary, tmp_path / "no" / "x.npy")


def test_files_that_are_none_of_ours(text, tmp_path):
    out = tmp_path / "tokens.npy"
    with raises(DataError, f"{out}: no such file"):
        TokenFile.open(out)
    with raises(DataError, f"{tmp_path}: a folder, not a file of tokens"):
        TokenFile.open(tmp_path)
    tokenise(text, ALL["words"], out)
    whole = out.read_bytes()
    begins = whole.index(b"NUMPY", 9) - 1
    damaged = (
        whole[:50],
        whole[: begins - 3],
        whole[:begins],
        whole[:-20],
        b"",
        b"text",
        SAMPLE.encode(),
        b"\x80\x04K\x01.",
    )
    for data in damaged:
        out.write_bytes(data)
        with pytest.raises(DataError, match=r"is damaged, or no file of tokens that elman wrote \("):
            TokenFile.open(out)
    facts = json.loads(whole[whole.index(b'{"', begins) :])
    forged = [
        {}, [], facts | {"more": 1}, facts | {"text": []}, facts | {"vocabulary": facts["vocabulary"] | {"size": "3"}},
        facts | {"vocabulary": facts["vocabulary"] | {"kind": "letters"}}, facts | {"text": {"files": 1}},
    ]  # fmt: skip
    for wrong in forged:
        with out.open("wb") as file:
            np.save(file, np.zeros(3, np.uint8))
            np.save(file, np.frombuffer(json.dumps(wrong).encode(), np.uint8))
        with raises(DataError, f"{out} is a .npy, but no file of tokens that elman wrote"):
            TokenFile.open(out)
