"""Token files: the tokens of a text as one array in a .npy file, mapped into memory when it is opened."""

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from elman.corpus import shown
from elman.data.pieces import OnePath, Paths, Pieces
from elman.errors import DataError, SettingError, TokenError, one_line
from elman.gates import Array
from elman.io import npz
from elman.io.atomic import replacing
from elman.text import KINDS, Vocabulary

FACTS = {
    "text": {"files": int, "bytes": int, "sha256": str, "length": int},
    "vocabulary": {"kind": str, "size": int, "sha256": str},
}
"""What is told of the text and the vocabulary, and the types of it; a length is one in characters, or of bytes in bytes."""

MOST_FACTS = 1 << 16
"""Bytes that are read behind the tokens; facts are a few hundred."""


@dataclass(frozen=True, repr=False)
class TokenFile:
    """Tokens `[N]` of a text, mapped from a file, and what they were made of: `facts` of the text and of the vocabulary.

    The file is a .npy of the smallest unsigned integers, which NumPy opens as any other; behind the tokens stands a second
    array, the facts as JSON. Made by `tokenise`.
    """

    path: Path
    tokens: Array
    facts: Mapping[str, Any]

    @classmethod
    def open(cls, path: OnePath, vocabulary: Vocabulary | None = None, paths: Paths | None = None) -> "TokenFile":
        """Map a file of tokens; with a vocabulary and with the paths of its text, only if it was made of these.

        The text is read for that, to compare sizes and hashes, and not tokenised. Raises `DataError` for a file that is
        missing, damaged, none of ours, or stale: made of another vocabulary or of another text.
        """
        name = shown(path)
        tokens, facts = _read(name, Path(path))
        if vocabulary is not None and facts["vocabulary"] != _of_vocabulary(vocabulary):
            theirs, ours = facts["vocabulary"], _of_vocabulary(vocabulary)
            both = f"{_told(theirs)}, not of {_told(ours)}"
            raise DataError(f"{name} is stale: its tokens are of {both}; tokenise the text again")
        if paths is not None:
            found = Pieces(paths, facts["vocabulary"]["kind"])
            found.read()
            _check_text(name, facts["text"], _of_text(found))
        return cls(Path(path), tokens, facts)

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        told = f"{len(self):,} tokens, {self.tokens.dtype.name}, {_told(self.facts['vocabulary'])}"
        return f"TokenFile({shown(self.path)}: {told})"


def tokenise(paths: Paths, vocabulary: Vocabulary, out: OnePath, *, anew: bool = True) -> TokenFile:
    """Write the tokens of text files and folders to a file, piece by piece in bounded memory, and open it.

    Files are read as by `read_corpus`, and their tokens are those of the whole text: text is cut only where no token can
    cross. The file takes its place when it is whole. Unless `anew`, one that is there stays where it is not stale.

    Raises `TextError` for what cannot be read or is not UTF-8, `TokenError` as `Vocabulary.encode`, `DataError` for no text,
    `SettingError` where `out` is among the files, `ModelFileError` where it cannot be written.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     text = pathlib.Path(folder, "text.txt")
    ...     _ = text.write_text("to be, or not to be", encoding="utf-8")
    ...     file = tokenise(text, Vocabulary.words("to be or not"), text.with_suffix(".npy"))
    ...     file.tokens.tolist(), file.tokens.dtype.name, file.facts["text"]["bytes"]
    ([4, 0, 1, 5, 0, 3, 0, 2, 0, 4, 0, 1], 'uint8', 19)
    """
    pieces = Pieces(paths, vocabulary.kind)
    if os.path.realpath(out) in map(os.path.realpath, pieces.files):
        raise SettingError(f"tokenise: {shown(out)} is one of the files to read; write the tokens to another")
    if not anew:
        with contextlib.suppress(DataError):
            return TokenFile.open(out, vocabulary, pieces.files)
    kind, count = np.dtype(np.min_scalar_type(len(vocabulary) - 1)).newbyteorder("<"), 0
    with replacing(out) as file:
        _write_header(file, kind, 0)
        for piece in pieces:
            tokens = _encoded(vocabulary, piece, pieces)
            file.write(tokens.astype(kind).data)
            count += len(tokens)
        if not count:
            raise DataError(f"tokenise: {pieces.no_text()}")
        facts = {"text": _of_text(pieces) | {"length": pieces.length}, "vocabulary": _of_vocabulary(vocabulary)}
        np.save(file, np.frombuffer(json.dumps(facts, sort_keys=True).encode(), np.uint8))
        file.seek(0)
        _write_header(file, kind, count)  # as long as the first one: NumPy leaves room for the number to grow
    return TokenFile.open(out)


def _encoded(vocabulary: Vocabulary, piece: str | bytes, pieces: Pieces) -> Array:
    try:
        return vocabulary.encode(piece)
    except TokenError as error:
        raise TokenError(f"{pieces.place}: {error}") from None


def _write_header(file: IO[bytes], kind: np.dtype[Any], count: int) -> None:
    header = {"descr": npy.dtype_to_descr(kind), "fortran_order": False, "shape": (count,)}
    npy.write_array_header_1_0(file, header)


def _files(count: int) -> str:
    return f"{count} file{'s' * (count != 1)}"


def _read(name: str, path: Path) -> tuple[Array, Mapping[str, Any]]:
    """The tokens, mapped, and the facts behind them. Raises `DataError`."""
    if not path.is_file():
        raise DataError(f"{name}: {'a folder, not a file of tokens' if path.is_dir() else 'no such file'}")
    try:
        tokens = npz.mapped(path)
        with path.open("rb") as file:
            file.seek(tokens.offset + tokens.nbytes)
            behind = io.BytesIO(file.read(MOST_FACTS))
        npy.read_magic(behind)
        npy.read_array_header_1_0(behind)
        facts = json.loads(behind.read())
    except npz.DAMAGED as error:
        told = f"damaged, or no file of tokens that elman wrote ({one_line(str(error))})"
        raise DataError(f"{name} is {told}") from None
    if tokens.ndim != 1 or tokens.dtype.kind != "u" or not _are_facts(facts):
        raise DataError(f"{name} is a .npy, but no file of tokens that elman wrote")
    return tokens, facts


def _are_facts(facts: Any) -> bool:
    if not isinstance(facts, dict) or set(facts) != set(FACTS):
        return False
    for name, kinds in FACTS.items():
        part = facts[name]
        if not isinstance(part, dict) or {key: type(value) for key, value in part.items()} != kinds:
            return False
    return facts["vocabulary"]["kind"] in KINDS


def _of_vocabulary(vocabulary: Vocabulary) -> dict[str, Any]:
    """What is kept of a vocabulary: enough to know it again."""
    data = json.dumps(vocabulary.to_json(), sort_keys=True).encode()
    return {"kind": vocabulary.kind, "size": len(vocabulary), "sha256": hashlib.sha256(data).hexdigest()}


def _of_text(pieces: Pieces) -> dict[str, Any]:
    return {"files": len(pieces.files), "bytes": pieces.size, "sha256": pieces.sha256}


def _told(vocabulary: Mapping[str, Any]) -> str:
    return f"{vocabulary['size']} {vocabulary['kind']} ({vocabulary['sha256'][:8]})"


def _check_text(name: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises `DataError` where a text is not what it was."""
    if any(then[name] != fact for name, fact in now.items()):
        was, is_ = (f"{text['bytes']:,} bytes in {_files(text['files'])} ({text['sha256'][:8]})" for text in (then, now))
        raise DataError(f"{name} is stale: it was made of {was}, the text now has {is_}; tokenise it again")
