"""Vocabularies, decoding as tokens come, reading files: values, round trips, and the words of every error."""

import copy
import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.corpus import Corpus, read_bytes, read_corpus, read_text
from elman.errors import DataError, MissingLibraryError, ModelFileError, SettingError, ShapeError, TextError, TokenError
from elman.subwords import pieces
from elman.text import Vocabulary

SAMPLE = "the cat, the hat; the naïve 😀 bat\n\n\tthe cat sat\r\n" * 3
BYTES = Vocabulary.bytes()
SUBWORDS = Vocabulary.subwords(SAMPLE, size=300)
ALL = {
    "bytes": BYTES,
    "characters": Vocabulary.characters(SAMPLE),
    "words": Vocabulary.words(SAMPLE),
    "subwords": SUBWORDS,
}
each_kind = pytest.mark.parametrize("vocabulary", ALL.values(), ids=ALL)
unicode_text = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("😀👩‍🔬é\u0301\n \t\r\x00\ufffdçaé")))


def raises(error, message):
    """The whole message, to the letter."""
    import re

    return pytest.raises(error, match=f"^{re.escape(message)}$")


# values


def test_bytes_are_their_own_tokens():
    assert (len(BYTES), BYTES.kind, BYTES.unknown) == (256, "bytes", None)
    assert BYTES.encode("aé").tolist() == [97, 195, 169]
    assert BYTES.encode(b"\xff\x00").tolist() == [255, 0]
    assert BYTES.decode([97, 195, 169, 255]) == "aé\ufffd"
    assert BYTES.decode_bytes([97, 255]) == b"a\xff"


def test_characters_are_sorted_by_code_point_and_unknown_is_last():
    vocabulary = Vocabulary.characters("bé😀a b")
    assert vocabulary.symbols == (b" ", b"a", b"b", "é".encode(), "😀".encode(), "\ufffd".encode())
    assert vocabulary.unknown == 5
    assert vocabulary.encode("😀azb\U0010ffff").tolist() == [4, 1, 5, 2, 5]
    assert vocabulary.decode([4, 5, 1]) == "😀\ufffda"


def test_characters_of_a_size_are_the_most_frequent_ties_by_code_point():
    vocabulary = Vocabulary.characters("zzzddccaab", 4)
    assert vocabulary.symbols == (b"a", b"c", b"z", "\ufffd".encode())
    assert len(Vocabulary.characters("zzzddccaab", 100)) == 6
    without = Vocabulary.characters("zzzddccaab", size=np.int64(2), unknown=False)
    assert (without.symbols, without.unknown) == ((b"a", b"z"), None)


def test_words_are_by_frequency_then_in_order():
    vocabulary = Vocabulary.words("b a, b a  c!\n")
    assert vocabulary.symbols == (b" ", b"a", b"b", b"\n", b"!", b",", b"c", "\ufffd".encode())
    assert vocabulary.encode("a, dog c").tolist() == [1, 5, 0, 7, 0, 6]
    assert vocabulary.decode([1, 7, 6]) == "a\ufffdc"
    assert Vocabulary.words("b a, b a  c!\n", size=3).symbols == (b" ", b"a", "\ufffd".encode())


def test_words_keep_underscores_digits_and_accents_together():
    tokens = Vocabulary.words("x").encode("naïve_2  don't\r\n")
    assert tokens.size == len(["naïve_2", " ", " ", "don", "'", "t", "\r", "\n"])


def test_subwords_begin_with_the_bytes_and_hold_frequent_pairs():
    assert SUBWORDS.symbols[:256] == BYTES.symbols
    assert 256 < len(SUBWORDS) <= 300
    assert b" the" in SUBWORDS.symbols
    assert SUBWORDS.encode(" the").tolist() == [SUBWORDS.symbols.index(b" the")]
    assert len(Vocabulary.subwords(SAMPLE, size=256)) == 256
    assert len(Vocabulary.subwords("each once", size=300)) == 256
    assert SUBWORDS.decode(SUBWORDS.encode("\x00 new 漢字")) == "\x00 new 漢字"


def test_subwords_are_those_of_the_library():
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    text = Path(__file__).read_text(encoding="utf-8")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = level
    trainer = trainers.BpeTrainer(vocab_size=700, min_frequency=2, show_progress=False, initial_alphabet=level.alphabet())
    theirs.train_from_iterator([text], trainer)
    ours = Vocabulary.subwords(text, size=700)
    assert len(ours) == theirs.get_vocab_size() == 700
    spelled = [level.pre_tokenize_str(ours.symbols[token].decode()) for token in ours.encode("def vocabulary")]
    assert ["".join(part for part, _ in parts) for parts in spelled] == theirs.encode("def vocabulary").tokens
    assert ours.encode(text).size == len(theirs.encode(text).ids)


def test_subwords_stay_short_and_their_json_opens():
    vocabulary = Vocabulary.subwords("-" * 20_000 + "ab" * 2000, size=400)
    assert max(map(len, vocabulary.symbols)) <= 256
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary


def test_pieces_give_the_tokens_of_the_whole():
    text = "a b\n\n  c\n d \n\te!\n\n\nx\r\ny\u2028\nz\u0085\n" * 20
    parts = list(pieces(text, length=3))
    assert len(parts) > 50
    assert "".join(parts) == text
    whole = SUBWORDS._encode_batch([text])[0].ids
    assert [token for piece in SUBWORDS._encode_batch(parts) for token in piece.ids] == whole
    assert list(pieces("")) == []
    assert list(pieces("\n" * 9, length=2)) == ["\n" * 9]


def test_training_counts_the_replacement_character_as_unknown():
    for make in (Vocabulary.characters, Vocabulary.words):
        vocabulary = make("a\ufffd\ufffdb")
        assert vocabulary.symbols.count("\ufffd".encode()) == 1
        assert vocabulary.encode("\ufffd").tolist() == [vocabulary.unknown]
        plain = make("a\ufffd\ufffdb", unknown=False)
        assert plain.decode(plain.encode("b\ufffd")) == "b\ufffd"


@each_kind
def test_bytes_are_read_as_utf8(vocabulary):
    assert vocabulary.encode("naïve cat".encode()).tolist() == vocabulary.encode("naïve cat").tolist()
    again = Vocabulary.characters(SAMPLE.encode())
    assert again == ALL["characters"]


@each_kind
def test_tokens_are_int64_of_rank_one(vocabulary):
    for text in ("", "the cat"):
        tokens = vocabulary.encode(text)
        assert (tokens.dtype, tokens.ndim) == (np.int64, 1)
        assert vocabulary.decode(tokens) == text
    assert vocabulary.decode([]) == ""


# display


def test_symbols_for_display():
    assert [BYTES.symbol(b) for b in b"a \\\n\x1b\x7f\xc3\xff"] == [
        "a",
        " ",
        "\\",
        r"\n",
        r"\x1b",
        r"\x7f",
        r"\xc3",
        r"\xff",
    ]
    characters = Vocabulary.characters("é\x1b😀\u200b")
    assert [characters.symbol(t) for t in range(5)] == [r"\x1b", "é", r"\u200b", "😀", "\ufffd"]
    assert SUBWORDS.symbol(SUBWORDS.symbols.index(b" the")) == " the"
    with raises(TokenError, "token 256: the vocabulary has 256 symbols, 0 to 255"):
        BYTES.symbol(256)
    with raises(TokenError, "token -1: the vocabulary has 256 symbols, 0 to 255"):
        BYTES.symbol(-1)
    with raises(DataError, "a token is an integer, this is float"):
        BYTES.symbol(1.0)


def test_repr_equality_and_immutability():
    assert repr(BYTES) == "Vocabulary('bytes', 256 symbols)"
    assert repr(Vocabulary.words("a b")) == "Vocabulary('words', 4 symbols, unknown 3)"
    assert Vocabulary.words("ab") != Vocabulary.words("ab", unknown=False)
    assert Vocabulary.characters("a") != Vocabulary.words("a")
    assert hash(Vocabulary.words("ab")) == hash(Vocabulary.words("ab"))
    with pytest.raises(AttributeError, match="cannot assign to field 'kind'"):
        BYTES.kind = "words"


# round trips


@given(unicode_text)
def test_bytes_and_subwords_give_every_text_back(text):
    for vocabulary in (BYTES, SUBWORDS):
        assert vocabulary.decode(vocabulary.encode(text)) == text


@given(unicode_text.filter(bool), st.booleans())
def test_characters_and_words_give_their_text_back(text, unknown):
    for make in (Vocabulary.characters, Vocabulary.words):
        vocabulary = make(text, unknown=unknown)
        tokens = vocabulary.encode(text)
        assert vocabulary.decode(tokens) == text
        assert vocabulary.check(tokens).tolist() == tokens.tolist()


@given(unicode_text, st.text("thecast, ", min_size=1))
def test_unknown_stands_for_what_is_not_there(text, training):
    characters = Vocabulary.characters(training)
    assert characters.decode(characters.encode(text)) == "".join(c if c in training else "\ufffd" for c in text)


@given(unicode_text.filter(bool), st.integers(2, 12))
def test_a_size_keeps_the_most_frequent(text, size):
    counts = Counter(text.replace("\ufffd", ""))
    vocabulary = Vocabulary.characters(text, size)
    kept = [symbol.decode() for symbol in vocabulary.symbols[:-1]]
    assert kept == sorted(sorted(counts, key=lambda c: (-counts[c], c))[: size - 1])
    assert len(vocabulary) <= size


@given(st.binary())
def test_bytes_give_every_file_back(data):
    assert BYTES.decode_bytes(BYTES.encode(data)) == data


@each_kind
def test_json_copies_and_pickles_keep_everything(vocabulary):
    tokens = vocabulary.encode("the naïve dog")
    stored = json.loads(json.dumps(vocabulary.to_json()))
    for same in (Vocabulary.from_json(stored), copy.deepcopy(vocabulary), pickle.loads(pickle.dumps(vocabulary))):
        assert same == vocabulary
        assert same.encode("the naïve dog").tolist() == tokens.tolist()


def test_json_is_this():
    assert BYTES.to_json() == {"kind": "bytes"}
    assert Vocabulary.characters("ba").to_json() == {
        "kind": "characters",
        "symbols": ["a", "b", "\ufffd"],
        "unknown": 2,
    }
    assert Vocabulary.words("b a", unknown=False).to_json() == {
        "kind": "words",
        "symbols": [" ", "a", "b"],
        "unknown": None,
    }
    assert Vocabulary.subwords("low low", size=258).to_json() == {
        "kind": "subwords",
        "merges": [[108, 111], [256, 119]],
    }


def test_two_merges_may_spell_one_symbol():
    data = {"kind": "subwords", "merges": [[97, 98], [98, 99], [256, 99], [97, 257]]}
    vocabulary = Vocabulary.from_json(data)
    assert vocabulary.symbols[256:] == (b"ab", b"bc", b"abc")
    assert vocabulary.to_json() == data
    assert vocabulary.encode("abc").tolist() == [258]


# hostile data


def stored(kind, **fields):
    return {"kind": kind, **fields}


def characters(symbols, unknown=None):
    return stored("characters", symbols=symbols, unknown=unknown)


KINDS = "is none of bytes, characters, words, subwords"
NO_PAIR = "is no new pair of earlier tokens"
HOSTILE = [
    (None, f"vocabulary: kind None {KINDS}"),
    ([], f"vocabulary: kind None {KINDS}"),
    ("bytes", f"vocabulary: kind None {KINDS}"),
    ({}, f"vocabulary: kind None {KINDS}"),
    (stored("morse"), f"vocabulary: kind 'morse' {KINDS}"),
    (stored(["bytes"]), f"vocabulary: kind ['bytes'] {KINDS}"),
    (stored("bytes", symbols=[]), "vocabulary of bytes: its fields are kind, no others"),
    (stored("words", symbols=["a"]), "vocabulary of words: its fields are kind, symbols, unknown, no others"),
    (characters([]), "vocabulary of characters: symbols are a list that is not empty"),
    (characters("ab"), "vocabulary of characters: symbols are a list that is not empty"),
    (characters({"a": 1}), "vocabulary of characters: symbols are a list that is not empty"),
    (characters(["a", 1]), "vocabulary of characters: symbol 1 (1) is not one of characters"),
    (characters(["a", None]), "vocabulary of characters: symbol 1 (None) is not one of characters"),
    (characters(["a", ""]), "vocabulary of characters: symbol 1 ('') is not one of characters"),
    (characters(["ab"]), "vocabulary of characters: symbol 0 ('ab') is not one of characters"),
    (characters(["\ud800"]), r"vocabulary of characters: symbol 0 ('\ud800') is not one of characters"),
    (characters(["a", "b", "a"]), "vocabulary of characters: symbol 'a' is there more than once"),
    (characters(["a", "\ufffd"], 0), "vocabulary of characters: unknown 0 is not the token of U+FFFD"),
    (characters(["a", "\ufffd"], 2), "vocabulary of characters: unknown 2 is not the token of U+FFFD"),
    (characters(["a", "\ufffd"], -1), "vocabulary of characters: unknown -1 is not the token of U+FFFD"),
    (characters(["a", "\ufffd"], True), "vocabulary of characters: unknown True is not the token of U+FFFD"),
    (characters(["a", "\ufffd"], 1.0), "vocabulary of characters: unknown 1.0 is not the token of U+FFFD"),
    (characters(["a", "\ufffd"], [1]), "vocabulary of characters: unknown [1] is not the token of U+FFFD"),
    (stored("words", symbols=["a b"], unknown=None), "vocabulary of words: symbol 0 ('a b') is not one of words"),
    (stored("words", symbols=["a\n"], unknown=None), r"vocabulary of words: symbol 0 ('a\n') is not one of words"),
    (
        stored("words", symbols=["\udcff"], unknown=None),
        r"vocabulary of words: symbol 0 ('\udcff') is not one of words",
    ),
    (stored("subwords", merges="ab"), "vocabulary of subwords: merges are a list of pairs of tokens"),
    (stored("subwords", merges=[5]), f"vocabulary of subwords: merge 5 {NO_PAIR}"),
    (stored("subwords", merges=["ab"]), f"vocabulary of subwords: merge 'ab' {NO_PAIR}"),
    (stored("subwords", merges=[[1]]), f"vocabulary of subwords: merge [1] {NO_PAIR}"),
    (stored("subwords", merges=[[1, 2, 3]]), f"vocabulary of subwords: merge [1, 2, 3] {NO_PAIR}"),
    (stored("subwords", merges=[[1, "2"]]), f"vocabulary of subwords: merge [1, '2'] {NO_PAIR}"),
    (stored("subwords", merges=[[1, True]]), f"vocabulary of subwords: merge [1, True] {NO_PAIR}"),
    (stored("subwords", merges=[[1, -1]]), f"vocabulary of subwords: merge [1, -1] {NO_PAIR}"),
    (stored("subwords", merges=[[1, 256]]), f"vocabulary of subwords: merge [1, 256] {NO_PAIR}"),
    (stored("subwords", merges=[[1, 2], [1, 2]]), f"vocabulary of subwords: merge [1, 2] {NO_PAIR}"),
    (
        stored("subwords", merges=[[0, 0], *([t, t] for t in range(256, 300))]),
        "vocabulary of subwords: merge [263, 263] makes a symbol of more than 256 bytes",
    ),
]


@pytest.mark.parametrize(("data", "message"), HOSTILE)
def test_hostile_json(data, message):
    with raises(ModelFileError, message):
        Vocabulary.from_json(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.sampled_from(["bytes", "characters", "words", "subwords"]), json_values, json_values)
def test_any_json_opens_or_is_refused(kind, first, second):
    whole = {"kind": kind, "symbols": first, "unknown": second, "merges": first}
    fields = {"bytes": ["kind"], "subwords": ["kind", "merges"]}.get(kind, ["kind", "symbols", "unknown"])
    for data in (first, whole, {name: whole[name] for name in fields}):
        try:
            vocabulary = Vocabulary.from_json(data)
        except ModelFileError:
            continue
        assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary
        vocabulary.decode(range(len(vocabulary)))


# errors


def test_check_names_token_position_and_range():
    with raises(TokenError, "token 300 at position 4: the vocabulary has 256 symbols, 0 to 255"):
        BYTES.check([1, 2, 3, 4, 300, 301])
    with raises(TokenError, "token -1 at position (1, 0): the vocabulary has 3 symbols, 0 to 2"):
        Vocabulary.characters("ab").check([[0, 1], [-1, 2]])
    with raises(TokenError, f"token {2**63} at position 0: the vocabulary has 256 symbols, 0 to 255"):
        BYTES.check(np.array([2**63], np.uint64))
    with raises(TokenError, "token 256 at position 0: the vocabulary has 256 symbols, 0 to 255"):
        BYTES.decode([256])
    assert BYTES.check(np.array([[7]], np.uint8)).dtype == np.int64


@pytest.mark.parametrize(
    ("tokens", "dtype"), [([1.0], "float64"), ([True], "bool"), (["a"], "<U1"), ([2**70], "object"), ([None], "object")]
)
def test_tokens_are_integers(tokens, dtype):
    with raises(DataError, f"tokens are integers, these are {dtype}"):
        BYTES.check(tokens)


def test_tokens_are_regular_and_one_sequence():
    with pytest.raises(DataError, match=r"^tokens are a regular array of integers: "):
        BYTES.check([[1], [2, 3]])
    with raises(ShapeError, "decode: tokens are one sequence [T], these have the shape (1, 2)"):
        BYTES.decode([[1, 2]])
    with raises(ShapeError, "decode: tokens are one sequence [T], these have the shape ()"):
        BYTES.decode_bytes(5)


def test_a_symbol_that_is_not_there():
    fix = "of this vocabulary, which has no unknown token: make it from text that holds it, or with unknown=True"
    with raises(TokenError, f"character 'é' (U+00E9) at position 2 is not among the 2 characters {fix}"):
        Vocabulary.characters("ab", unknown=False).encode("abé😀")
    with raises(TokenError, f"word 'dog' at position 4 is not among the 3 words {fix}"):
        Vocabulary.words("cat hat", unknown=False).encode("cat dog")


@each_kind
def test_lone_surrogates(vocabulary):
    message = (
        "text: position 1 holds the lone surrogate U+DCFF (byte 0xff that was not UTF-8); "
        "pass os.fsencode(text) to a vocabulary of bytes"
    )
    with raises(TextError, message):
        vocabulary.encode("a\udcff")
    with raises(TextError, "text: position 0 holds the lone surrogate U+D800; remove it"):
        vocabulary.encode("\ud800")
    with raises(DataError, "a text is str or bytes, this is int"):
        vocabulary.encode(5)
    assert BYTES.encode(os.fsencode("a\udcff")).tolist() == [97, 255]


@pytest.mark.parametrize("kind", ["characters", "words", "subwords"])
def test_bad_bytes_and_empty_texts(kind):
    make = getattr(Vocabulary, kind)
    message = "text: byte 3 (0xff) is not UTF-8; decode it first, or use a vocabulary of bytes"
    for read in (ALL[kind].encode, make):
        with raises(TextError, message):
            read("aé".encode() + b"\xff")
    for nothing in ("", b""):
        with raises(DataError, f"a vocabulary of {kind} is made from a text, and this one is empty"):
            make(nothing)
    with raises(TextError, "text: position 0 holds the lone surrogate U+D800; remove it"):
        make("\ud800")


def test_sizes_that_are_too_small():
    with raises(SettingError, "size=1 is too small: at least 2, for a character and the unknown token"):
        Vocabulary.characters("ab", 1)
    with raises(SettingError, "size=0 is too small: at least 1, for a character"):
        Vocabulary.characters("ab", 0, unknown=False)
    with raises(SettingError, "size=-3 is too small: at least 2, for a word and the unknown token"):
        Vocabulary.words("ab", -3)
    with raises(SettingError, "size=255 is too small: at least 256, for the bytes with which subwords begin"):
        Vocabulary.subwords("ab", 255)
    for size in (2.0, True, "9"):
        with raises(SettingError, f"size={size!r}: a size is a whole number"):
            Vocabulary.characters("ab", size)


def test_subwords_without_the_library(monkeypatch):
    again = Vocabulary.from_json(SUBWORDS.to_json())
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert again.decode(SUBWORDS.encode("the cat")) == "the cat"
    message = 'subwords need the library tokenizers: pip install "elman[subwords]"'
    with raises(MissingLibraryError, message):
        again.encode("the cat")
    with raises(MissingLibraryError, message):
        Vocabulary.subwords("the cat")


def test_the_library_is_imported_only_when_used():
    code = (
        "import sys; from elman.text import Vocabulary; v = Vocabulary.words('a b'); v.decode(v.encode('a'));"
        "assert 'tokenizers' not in sys.modules; Vocabulary.subwords('a b'); assert 'tokenizers' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})


# decoding as tokens come


def streamed(vocabulary, tokens):
    decoder = vocabulary.decoder()
    return "".join([decoder.push(token) for token in tokens] + [decoder.finish()])


@given(unicode_text)
def test_a_stream_decodes_as_the_whole(text):
    for vocabulary in ALL.values():
        tokens = vocabulary.encode(text)
        assert streamed(vocabulary, tokens) == vocabulary.decode(tokens)
    assert streamed(BYTES, BYTES.encode(text)) == text


@given(st.lists(st.one_of(st.integers(0, 255), st.sampled_from([0xE2, 0x82, 0xAC, 0xF0, 0x9F, 0x98, 0x80, 0xED]))))
def test_a_stream_of_any_bytes_decodes_as_the_whole(tokens):
    assert streamed(BYTES, tokens) == BYTES.decode(tokens)


def test_text_comes_when_a_character_is_complete():
    decoder = BYTES.decoder()
    assert [decoder.push(b) for b in "a😀".encode()] == ["a", "", "", "", "😀"]
    assert decoder.finish() == ""
    decoder.push(0xF0)
    assert decoder.finish() == "\ufffd"
    assert decoder.push(np.int64(98)) == "b"
    with raises(TokenError, "token 256: the vocabulary has 256 symbols, 0 to 255"):
        decoder.push(256)


# files


def test_read_text_keeps_line_ends_and_drops_a_byte_order_mark(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n\xef\xbb\xbf")
    assert read_text(file) == "a\r\nb\rc\n\ufeff"
    assert read_text(str(file)) == read_text(file)
    assert read_bytes(file) == file.read_bytes()


def test_files_that_cannot_be_read(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xef\xbb\xbf" + b"x" * 14 + b"\xff")
    with raises(TextError, f"{file}: byte 17 (0xff) is not UTF-8; convert the file, or use a vocabulary of bytes"):
        read_text(file)
    for read in (read_text, read_bytes, read_corpus):
        with raises(TextError, f"{tmp_path / 'none'}: no such file"):
            read(tmp_path / "none")
        with raises(TextError, f"{file / 'b'}: cannot be read (Not a directory)"):
            read(file / "b")
        with raises(TextError, "a\0b: cannot be read (embedded null byte)"):
            read("a\0b")
        with pytest.raises(TextError, match=r"^a\\ud800: cannot be read"):
            read("a\ud800")
    for read in (read_text, read_bytes):
        with raises(TextError, f"{tmp_path}: a folder, not a file"):
            read(tmp_path)


FILES = {
    "b.py": b"B\r\n",
    "a.txt": b"\xef\xbb\xbfA\n",
    "a/z.py": "é".encode(),
    "a/empty.py": b"",
    "c/d/deep.py": b"D",
    "latin.txt": b"\xe9",
    "zero.txt": b"a\0b",
    ".hidden.py": b"no",
    ".git/x.py": b"no",
    "__pycache__/x.py": b"no",
    "c/__pycache__/x.py": b"no",
}


@pytest.fixture
def folder(tmp_path):
    for name, data in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return tmp_path


def test_a_folder_is_read_sorted_without_what_is_no_text(folder):
    corpus = read_corpus(folder)
    assert corpus == Corpus(
        "éA\nB\r\nD",
        tuple(folder / name for name in ("a/empty.py", "a/z.py", "a.txt", "b.py", "c/d/deep.py")),
        (folder / "latin.txt", folder / "zero.txt"),
    )
    assert read_corpus([str(folder)]) == corpus


def test_a_folder_as_bytes_keeps_what_is_not_utf8(folder):
    corpus = read_corpus(folder, as_bytes=True)
    assert corpus.text == "é".encode() + b"\xef\xbb\xbfA\nB\r\nD\xe9"
    assert corpus.skipped == (folder / "zero.txt",)


def test_suffixes_choose_in_folders_but_not_among_named_files(folder):
    for suffixes in (".py", (".py",), [".py", ".none"]):
        assert read_corpus([folder, folder / "a.txt"], suffixes=suffixes).text == "éB\r\nDA\n"
    assert read_corpus(folder, suffixes=".py").skipped == ()


def test_named_files_are_read_strictly_in_the_order_given(folder):
    assert read_corpus([folder / "b.py", folder / ".hidden.py", folder / "zero.txt"]).text == "B\r\nnoa\0b"
    with raises(
        TextError,
        f"{folder / 'latin.txt'}: byte 0 (0xe9) is not UTF-8; convert the file, or use a vocabulary of bytes",
    ):
        read_corpus([folder, folder / "latin.txt"])
    assert read_corpus(folder / "latin.txt", as_bytes=True).text == b"\xe9"


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of POSIX")
def test_links_pipes_and_loops_end(folder):
    (folder / "a" / "loop").symlink_to(folder)
    (folder / "c" / "self").symlink_to(folder / "c", target_is_directory=True)
    (folder / "gone.py").symlink_to(folder / "nowhere")
    (folder / "link.py").symlink_to(folder / "b.py")
    os.mkfifo(folder / "pipe.py")
    corpus = read_corpus(folder, suffixes=".py")
    assert corpus.text == "éB\r\nDB\r\n"
    assert set(corpus.skipped) == {folder / "gone.py", folder / "pipe.py"}


@pytest.mark.skipif(sys.platform == "win32", reason="links of POSIX")
def test_links_to_other_folders_are_followed(folder):
    (folder / "a" / "other").symlink_to(folder / "c")
    corpus = read_corpus(folder / "a")
    assert corpus.text == "Dé"
    assert corpus.files == tuple(folder / "a" / name for name in ("empty.py", "other/d/deep.py", "z.py"))


def test_a_folder_that_cannot_be_opened_is_skipped(folder, monkeypatch):
    scandir = os.scandir

    def closed(path):
        if os.fspath(path) == str(folder / "c"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    corpus = read_corpus(folder, suffixes=".py")
    assert (corpus.text, corpus.skipped) == ("éB\r\n", (folder / "c",))


def test_nothing_to_read(folder):
    with raises(DataError, f"no text in {folder / '.git'}, {folder / 'a'}: 0 files read, 0 skipped"):
        read_corpus([folder / ".git", folder / "a"], suffixes=".rs")
    with raises(DataError, f"no text in {folder / 'a' / 'empty.py'}: 1 file read, 0 skipped"):
        read_corpus(folder / "a" / "empty.py")
    with raises(DataError, f"no text in {folder}: 0 files read, 2 skipped"):
        read_corpus(folder, suffixes=("latin.txt", "zero.txt"))
    with raises(DataError, "no text in an empty list of paths: 0 files read, 0 skipped"):
        read_corpus([])
