"""Subwords: byte-level BPE (Sennrich et al., 2016), learnt and applied by the optional library tokenizers.

What is stored is only which pairs were merged; opening and decoding need no library.
"""

from __future__ import annotations

import importlib
import json
import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from types import ModuleType
from typing import Any, Protocol, TypeGuard

from elman.errors import MissingLibraryError, ModelFileError

BYTES = tuple(bytes([value]) for value in range(256))
LONGEST = 256
"""Bytes in a subword: 40 hostile merges that double a symbol would otherwise fill a terabyte."""


class Encoding(Protocol):
    """What the library answers for one piece of text."""

    ids: list[int]


EncodeBatch = Callable[[list[str]], list[Encoding]]


def grown(merges: object) -> tuple[tuple[bytes, ...], tuple[tuple[int, int], ...]]:
    """Symbols and merges: the bytes, then what each merge adds; what two merges spell alike is one symbol."""
    if not isinstance(merges, list):
        raise ModelFileError("vocabulary of subwords: merges are a list of pairs of tokens")
    symbols = list(BYTES)
    known = set(symbols)
    pairs: dict[tuple[int, int], None] = {}
    for pair in merges:
        if not _is_pair(pair, len(symbols)) or tuple(pair) in pairs:
            raise ModelFileError(f"vocabulary of subwords: merge {reprlib.repr(pair)} is no new pair of earlier tokens")
        left, right = pair
        merged = symbols[left] + symbols[right]
        if len(merged) > LONGEST:
            raise ModelFileError(f"vocabulary of subwords: merge {pair} makes a symbol of more than {LONGEST} bytes")
        pairs[left, right] = None
        if merged not in known:
            known.add(merged)
            symbols.append(merged)
    return tuple(symbols), tuple(pairs)


def _library() -> ModuleType:
    try:
        return importlib.import_module("tokenizers")
    except ImportError:
        raise MissingLibraryError('subwords need the library tokenizers: pip install "elman[subwords]"') from None


def tokenizer_of(**tables: object) -> Any:  # the library is optional, so its types are not there to name
    """The library's tokenizer of bytes, with merges or still without."""
    library = _library()
    tokenizer = library.Tokenizer(library.models.BPE(**tables))
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def alphabet() -> list[str]:
    """The character that the library writes for each byte: itself where that prints, else the next one above 255."""
    letters = sorted(_library().pre_tokenizers.ByteLevel.alphabet())
    printable = [ord(letter) for letter in letters if ord(letter) < 256]
    others = sorted(set(range(256)).difference(printable))
    return [letter for _, letter in sorted(zip(printable + others, letters, strict=True))]


def learnt(texts: Iterable[str], size: int) -> list[tuple[int, int]]:
    """The merges that the library learns from texts, as pairs of tokens."""
    tokenizer = tokenizer_of()
    letters = alphabet()
    settings = {"vocab_size": size, "min_frequency": 2, "max_token_length": LONGEST, "show_progress": False}
    trainer = _library().trainers.BpeTrainer(initial_alphabet=letters, **settings)
    tokenizer.train_from_iterator((piece for text in texts for piece in pieces(text)), trainer)
    token_of = {letter: value for value, letter in enumerate(letters)}
    merges = []
    for left, right in json.loads(tokenizer.to_str())["model"]["merges"]:
        merges.append((token_of[left], token_of[right]))
        token_of.setdefault(left + right, len(token_of))
    return merges


def encoder(symbols: Sequence[bytes], merges: Sequence[tuple[int, int]]) -> EncodeBatch:
    """The library's encoder for stored symbols and merges."""
    letters = alphabet()
    names = ["".join(letters[value] for value in symbol) for symbol in symbols]
    pairs = [(names[left], names[right]) for left, right in merges]
    tokenizer = tokenizer_of(vocab={name: token for token, name in enumerate(names)}, merges=pairs)
    encode: EncodeBatch = tokenizer.encode_batch_fast
    return encode


def encoded(text: str, encode: EncodeBatch) -> Iterator[list[int]]:
    """Tokens of a text, piece by piece."""
    waiting = pieces(text)
    while some := list(islice(waiting, 64)):  # 4 MB at a time: the library's answer is 100 times its tokens
        yield from (encoding.ids for encoding in encode(some))


def pieces(text: str, length: int = 1 << 16) -> Iterator[str]:
    """Pieces whose tokens are those of the whole text: no token crosses from a letter or mark to a line end.

    In pieces the library uses all cores: on two, 30 MB encode in 3.5 s (whole: 29 s and 6 GB) and train in 3 s (13 s).
    """
    start = 0
    while start < len(text):
        end = text.find("\n", start + length)
        while end > 0 and text[end - 1].isspace():
            end = text.find("\n", end + 1)
        yield text[start : end if end > 0 else None]
        start = end if end > 0 else len(text)


def _is_pair(value: object, size: int) -> TypeGuard[Sequence[int]]:
    return isinstance(value, list | tuple) and len(value) == 2 and all(type(t) is int and 0 <= t < size for t in value)
