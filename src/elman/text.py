"""Text to tokens and back: vocabularies of bytes, characters, words and subwords.

Longer than the guide for a file: half of it is docstrings, and what is said when text or stored data are bad.
"""

from __future__ import annotations

import codecs
import operator
import re
import reprlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elman import subwords
from elman.corpus import Text, decoded
from elman.errors import DataError, ModelFileError, SettingError, ShapeError, TextError, TokenError
from elman.subwords import EncodeBatch

Symbol = bytes  # inside the class the name `bytes` is the vocabulary of bytes
Texts = Text | Iterable[Text]
Tokens = NDArray[np.int64]

UNKNOWN = "\ufffd"
_WORD = re.compile(r"\w+|\s|[^\w\s]")  # every character falls in exactly one branch, so joining gives the text back
KINDS = ("characters", "bytes", "words", "subwords")
_FIELDS = {  # kind -> the fields of its JSON
    "bytes": {"kind"},
    "characters": {"kind", "symbols", "unknown"},
    "words": {"kind", "symbols", "unknown"},
    "subwords": {"kind", "merges"},
}


@dataclass(frozen=True, repr=False)
class Vocabulary:
    r"""The symbols that a model reads and writes; a token is the number of a symbol.

    Made by `bytes`, `characters`, `words` or `subwords`, which `kind` names. `symbols[token]` is the exact bytes of a
    token; `unknown` the token for everything else, or None; `merges` the pairs of tokens that make subwords.

    >>> vocabulary = Vocabulary.characters("hello")
    >>> vocabulary, len(vocabulary), vocabulary.encode("hole")
    (Vocabulary('characters', 5 symbols, unknown 4), 5, array([1, 3, 2, 0]))
    """

    kind: str
    symbols: tuple[Symbol, ...]
    unknown: int | None = None
    merges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def bytes(cls) -> Vocabulary:
        """The 256 bytes: reads every text and every file, and needs no unknown token.

        >>> Vocabulary.bytes().encode("hé")
        array([104, 195, 169])
        """
        return cls("bytes", subwords.BYTES)

    @classmethod
    def characters(cls, text: Texts, size: int | None = None, *, unknown: bool = True) -> Vocabulary:
        """The distinct characters of a text, or of several, sorted by code point, then the unknown token.

        `size` counts all tokens and keeps the most frequent characters (of equals, the lower code point).
        Raises DataError for an empty text, SettingError for a size that leaves no character, TextError for bad UTF-8.

        >>> Vocabulary.characters("abracadabra", size=3, unknown=False).symbols
        (b'a', b'b', b'r')
        """
        room = _room(size, "character", unknown)
        counts = np.zeros(0, np.int64)
        for part in _training_texts("characters", text):
            more = np.bincount(_code_points(part), minlength=counts.size)
            more[: counts.size] += counts
            counts = more
        if unknown:
            counts[ord(UNKNOWN) : ord(UNKNOWN) + 1] = 0
        known = np.flatnonzero(counts)
        frequent = np.argsort(-counts[known], kind="stable")[:room]
        return cls._with_unknown("characters", [chr(code) for code in np.sort(known[frequent])], unknown)

    @classmethod
    def words(cls, text: Texts, size: int | None = None, *, unknown: bool = True) -> Vocabulary:
        """The words, single white space and single punctuation characters of a text, most frequent first; unknown last.

        Several texts are counted one by one. Nothing is dropped: decoding gives the text back where every word is known.
        `size` counts all tokens.
        Raises DataError for an empty text, SettingError for a size that leaves no word, TextError for bad UTF-8.

        >>> Vocabulary.words("to be, or not to be").symbols[:4]
        (b' ', b'be', b'to', b',')
        """
        room = _room(size, "word", unknown)
        counts = Counter[str]()
        for part in _training_texts("words", text):
            counts.update(_WORD.findall(part))
        if unknown:
            counts.pop(UNKNOWN, None)
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        return cls._with_unknown("words", ranked[:room], unknown)

    @classmethod
    def subwords(cls, text: Texts, size: int = 2048) -> Vocabulary:
        """The 256 bytes and, up to `size` tokens in all, the frequent pairs of a text (byte-level BPE, Sennrich 2016).

        Several texts are counted one by one. Only training and encoding need the optional library tokenizers; reads every
        text, so there is no unknown token.
        Raises MissingLibraryError without it, DataError for an empty text, SettingError for fewer than 256 tokens.

        >>> Vocabulary.subwords("low lower lowest", size=258).symbols[256:]
        (b'lo', b'low')
        """
        size = _checked_size(size, 256, "the bytes with which subwords begin")
        return cls._merged(subwords.learnt(_training_texts("subwords", text), size))

    @classmethod
    def of_kind(cls, kind: str, text: Texts, size: int | None = None) -> Vocabulary:
        """A vocabulary of a kind by name, made from a text or several.

        Without a size it has all characters, 8000 words, 2048 subwords.

        Raises SettingError that lists the kinds, and what the constructor of the kind raises.
        """
        if kind not in KINDS:
            raise SettingError(f"there is no vocabulary of {kind!r}; kinds are {', '.join(KINDS)}")
        if kind == "bytes":
            return cls.bytes()
        if kind == "characters":
            return cls.characters(text, size)
        size = {"words": 8000, "subwords": 2048}[kind] if size is None else size
        return cls.words(text, size) if kind == "words" else cls.subwords(text, size)

    @classmethod
    def _merged(cls, merges: object) -> Vocabulary:
        symbols, pairs = subwords.grown(merges)
        return cls("subwords", symbols, None, pairs)

    @classmethod
    def _with_unknown(cls, kind: str, known: list[str], unknown: bool) -> Vocabulary:
        symbols = tuple(symbol.encode() for symbol in ([*known, UNKNOWN] if unknown else known))
        return cls(kind, symbols, len(known) if unknown else None)

    def __len__(self) -> int:
        return len(self.symbols)

    def __repr__(self) -> str:
        unknown = "" if self.unknown is None else f", unknown {self.unknown}"
        return f"Vocabulary({self.kind!r}, {len(self)} symbols{unknown})"

    def encode(self, text: Text) -> Tokens:
        """The tokens [T] of a text; bytes are read as UTF-8 except by a vocabulary of bytes.

        Raises TokenError for a symbol that is not there when there is no unknown token, TextError for text or bytes
        that are not Unicode, MissingLibraryError for subwords without the library tokenizers.

        >>> Vocabulary.words("one two").encode("two three")
        array([2, 0, 3])
        """
        if self.kind == "bytes":
            data = text if isinstance(text, bytes) else _checked_text(text).encode()
            return np.frombuffer(data, np.uint8).astype(np.int64)
        text = _checked_text(text)
        if self.kind == "characters":
            return self._encode_characters(text)
        if self.kind == "words":
            return self._encode_words(text)
        return self._encode_subwords(text)

    def _encode_characters(self, text: str) -> Tokens:
        codes = _code_points(text)
        tokens: Tokens = self._token_of_code[np.minimum(codes, self._token_of_code.size - 1)]
        if self.unknown is None and tokens.size and tokens.min() < 0:
            position = int(tokens.argmin())
            raise self._not_there(f"character {text[position]!r} (U+{codes[position]:04X})", position)
        return tokens

    @cached_property
    def _token_of_code(self) -> Tokens:
        """A table from code point to token, whose last row serves every higher code point."""
        codes = [ord(symbol.decode()) for symbol in self.symbols]
        table = np.full(max(codes) + 2, -1 if self.unknown is None else self.unknown, np.int64)
        table[codes] = np.arange(len(codes))
        return table

    def _encode_words(self, text: str) -> Tokens:
        missing = -1 if self.unknown is None else self.unknown
        tokens = np.array([self._token_of_word.get(word, missing) for word in _WORD.findall(text)], np.int64)
        if self.unknown is None and tokens.size and tokens.min() < 0:
            lost = next(match for match in _WORD.finditer(text) if match.group() not in self._token_of_word)
            raise self._not_there(f"word {reprlib.repr(lost.group())}", lost.start())
        return tokens

    @cached_property
    def _token_of_word(self) -> dict[str, int]:
        return {symbol.decode(): token for token, symbol in enumerate(self.symbols)}

    def _not_there(self, what: str, position: int) -> TokenError:
        return TokenError(
            f"{what} at position {position} is not among the {len(self)} {self.kind} of this vocabulary, which has no "
            "unknown token: make it from text that holds it, or with unknown=True"
        )

    def _encode_subwords(self, text: str) -> Tokens:
        tokens = [np.empty(0, np.int64)]
        for ids in subwords.encoded(text, self._encode_batch):
            tokens.append(np.array(ids, np.int64))
        return np.concatenate(tokens)

    @cached_property
    def _encode_batch(self) -> EncodeBatch:
        return subwords.encoder(self.symbols, self.merges)

    def check(self, tokens: ArrayLike) -> Tokens:
        """Tokens of any shape as int64, known to lie in the vocabulary.

        Raises TokenError that names the first token outside, DataError for anything but integers.

        >>> Vocabulary.bytes().check([104, 300])
        Traceback (most recent call last):
        elman.errors.TokenError: token 300 at position 1: the vocabulary has 256 symbols, 0 to 255
        """
        try:
            array = np.asarray(tokens)
        except (ValueError, TypeError, OverflowError) as error:
            raise DataError(f"tokens are a regular array of integers: {error}") from None
        if array.size and array.dtype.kind not in "iu":
            raise DataError(f"tokens are integers, these are {array.dtype}")
        outside = np.flatnonzero((array < 0) | (array >= len(self)))
        if outside.size:
            where = tuple(int(i) for i in np.unravel_index(outside[0], array.shape))
            raise self._outside(int(array[where]), f" at position {where[0] if len(where) == 1 else where}")
        return array.astype(np.int64)

    def _outside(self, token: int, where: str = "") -> TokenError:
        return TokenError(f"token {token}{where}: the vocabulary has {len(self)} symbols, 0 to {len(self) - 1}")

    def _symbol(self, token: SupportsIndex) -> Symbol:
        try:
            number = operator.index(token)
        except TypeError:
            raise DataError(f"a token is an integer, this is {type(token).__name__}") from None
        if not 0 <= number < len(self):
            raise self._outside(number)
        return self.symbols[number]

    def decode_bytes(self, tokens: ArrayLike) -> Symbol:
        r"""The exact bytes that tokens [T] stand for.

        Raises TokenError and DataError as `check`, ShapeError unless it is one sequence.

        >>> Vocabulary.bytes().decode_bytes([104, 195])
        b'h\xc3'
        """
        array = self.check(tokens)
        if array.ndim != 1:
            raise ShapeError(f"decode: tokens are one sequence [T], these have the shape {array.shape}")
        return b"".join(map(self.symbols.__getitem__, array.tolist()))

    def decode(self, tokens: ArrayLike) -> str:
        """The text of tokens [T]; the unknown token and bytes that are not UTF-8 read as U+FFFD.

        Raises TokenError and DataError as `check`, ShapeError unless it is one sequence.

        >>> Vocabulary.bytes().decode([104, 195, 169])
        'hé'
        """
        return self.decode_bytes(tokens).decode("utf-8", "replace")

    def symbol(self, token: SupportsIndex) -> str:
        r"""One token for display: what cannot be printed, or is part of a character, is written with a backslash.

        >>> vocabulary = Vocabulary.bytes()
        >>> print(vocabulary.symbol(104), vocabulary.symbol(10), vocabulary.symbol(255))
        h \n \xff
        """
        text = self._symbol(token).decode("utf-8", "backslashreplace")
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

    def decoder(self) -> Decoder:
        """A decoder for tokens that come one at a time; see `Decoder`."""
        return Decoder(self)

    def to_json(self) -> dict[str, object]:
        """The vocabulary as plain data for JSON; `from_json` reads it back.

        >>> Vocabulary.characters("ab", unknown=False).to_json()
        {'kind': 'characters', 'symbols': ['a', 'b'], 'unknown': None}
        """
        fields: dict[str, object] = {
            "kind": self.kind,
            "symbols": [symbol.decode("utf-8", "replace") for symbol in self.symbols],
            "unknown": self.unknown,
            "merges": [list(pair) for pair in self.merges],
        }
        return {name: value for name, value in fields.items() if name in _FIELDS[self.kind]}

    @classmethod
    def from_json(cls, data: object) -> Vocabulary:
        """The vocabulary that `to_json` wrote, from data that may be hostile.

        Raises ModelFileError that says what is wrong.

        >>> Vocabulary.from_json({"kind": "bytes"}) == Vocabulary.bytes()
        True
        """
        kind = data.get("kind") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(kind, str) or kind not in _FIELDS:
            raise ModelFileError(f"vocabulary: kind {reprlib.repr(kind)} is none of {', '.join(_FIELDS)}")
        if set(data) != _FIELDS[kind]:
            raise ModelFileError(f"vocabulary of {kind}: its fields are {', '.join(sorted(_FIELDS[kind]))}, no others")
        if kind == "bytes":
            return cls.bytes()
        if kind == "subwords":
            return cls._merged(data["merges"])
        known, unknown = _stored_symbols(kind, data["symbols"]), data["unknown"]
        if unknown is not None and not (_is_token(unknown, len(known)) and known[unknown] == UNKNOWN):
            raise ModelFileError(f"vocabulary of {kind}: unknown {reprlib.repr(unknown)} is not the token of U+FFFD")
        return cls(kind, tuple(symbol.encode() for symbol in known), unknown)


class Decoder:
    """Tokens one at a time to text, where a character may be spread over several tokens.

    >>> decoder = Vocabulary.bytes().decoder()
    >>> [decoder.push(token) for token in (104, 195, 169, 195)], decoder.finish()
    (['h', '', 'é', ''], '�')
    """

    __slots__ = ("_decoder", "_vocabulary")

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: SupportsIndex) -> str:
        """The text that this token completes, often empty; raises TokenError for a token outside the vocabulary."""
        return self._decoder.decode(self._vocabulary._symbol(token))

    def finish(self) -> str:
        """What is left, U+FFFD for a character that was cut off; the decoder can then begin again."""
        return self._decoder.decode(b"", final=True)


def _checked_text(text: Text) -> str:
    if isinstance(text, bytes):
        return decoded(text, "text: ", "decode it first")
    if not isinstance(text, str):
        raise DataError(f"a text is str or bytes, this is {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        origin = f" (byte 0x{code - 0xDC00:02x} that was not UTF-8)" if 0xDC80 <= code <= 0xDCFF else ""
        fix = "pass os.fsencode(text) to a vocabulary of bytes" if origin else "remove it"
        raise TextError(f"text: position {error.start} holds the lone surrogate U+{code:04X}{origin}; {fix}") from None
    return text


def _training_texts(kind: str, text: Texts) -> Iterator[str]:
    """The text, or the texts one by one, of which not all may be empty."""
    empty = True
    for part in text if isinstance(text, Iterable) and not isinstance(text, str | bytes) else [text]:
        checked = _checked_text(part)
        empty = empty and not checked
        yield checked
    if empty:
        raise DataError(f"a vocabulary of {kind} is made from a text, and this one is empty")


def _code_points(text: str) -> NDArray[np.int32]:
    return np.frombuffer(text.encode("utf-32-le"), "<i4")


def _room(size: int | None, symbol: str, unknown: bool) -> int | None:
    """How many symbols fit beside the unknown token; None for all."""
    why = f"a {symbol} and the unknown token" if unknown else f"a {symbol}"
    return None if size is None else _checked_size(size, 1 + unknown, why) - unknown


def _checked_size(size: int, least: int, why: str) -> int:
    if isinstance(size, bool) or not hasattr(size, "__index__"):
        raise SettingError(f"size={size!r}: a size is a whole number")
    if operator.index(size) < least:
        raise SettingError(f"size={size} is too small: at least {least}, for {why}")
    return operator.index(size)


def _is_token(value: object, size: int) -> bool:
    return type(value) is int and 0 <= value < size


def _stored_symbols(kind: str, symbols: object) -> list[str]:
    if not isinstance(symbols, list) or not symbols:
        raise ModelFileError(f"vocabulary of {kind}: symbols are a list that is not empty")
    whole = re.compile(r"(?s:.)") if kind == "characters" else _WORD
    for token, symbol in enumerate(symbols):
        if not isinstance(symbol, str) or not whole.fullmatch(symbol) or any("\ud800" <= c <= "\udfff" for c in symbol):
            raise ModelFileError(f"vocabulary of {kind}: symbol {token} ({reprlib.repr(symbol)}) is not one of {kind}")
    if len(set(symbols)) < len(symbols):
        twice, _ = Counter(symbols).most_common(1)[0]
        raise ModelFileError(f"vocabulary of {kind}: symbol {reprlib.repr(twice)} is there more than once")
    return symbols
