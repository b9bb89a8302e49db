"""Text of files in pieces, never all of it at once, whose tokens are exactly those of the whole text."""

import codecs
import hashlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from elman.corpus import Text, files_under, not_utf8, reading, shown
from elman.errors import DataError, TextError

OnePath = str | os.PathLike[str]
Paths = OnePath | Iterable[OnePath]

BLOCK = 1 << 20
"""Bytes that are read at a time."""

CUTS = {
    "characters": re.compile(r"(?s).*"),
    "words": re.compile(r"(?s).*\W"),
    "subwords": re.compile(r"(?s).*\S(?=[ \n])"),
}
"""For each kind of vocabulary a block's longest beginning behind which text can be cut without changing a token.

A word ends at what is no letter, and such a character is a token by itself. No subword crosses from what is no white space
to a blank or a line end: merges stay within the pieces of the byte-level rule, one of which begins there. What is longer
than a block and has no such place, a word of a megabyte, is held whole.
"""


class Pieces:
    """The text of files in pieces for one kind of vocabulary; iterated once, it also counts and hashes what it reads.

    Files and folders as in `read_corpus`: joined without separators, without byte order marks (bytes stay as they are), and
    in folders only what is text, with `suffixes` only files that end so. `size` is the bytes that were read, `length` the
    symbols of text that were given: characters, or bytes. `place` names where the piece begins that was given last.
    """

    def __init__(self, paths: Paths, kind: str, suffixes: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.roots = [Path(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
        self.files, self.skipped = _texts(self.roots, suffixes, kind == "bytes")
        self.size, self.length, self.place = 0, 0, ""
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The hash of all bytes that were read."""
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[Text]:
        for piece in self._blocks() if self.kind == "bytes" else self._cut():
            self.length += len(piece)
            yield piece

    def check(self) -> None:
        """Look whether there is text: at no more than the beginning. Raises `DataError` where there is none."""
        for file in self.files:
            if any(blocks(file) if self.kind == "bytes" else decoded_blocks(file, blocks(file))):
                return
        raise self.no_text()

    def no_text(self) -> DataError:
        """What is said where there is none."""
        names, count = ", ".join(map(shown, self.roots)) or "an empty list of paths", len(self.files)
        return DataError(f"no text in {names}: {count} file{'s' * (count != 1)} read, {len(self.skipped)} skipped")

    def read(self) -> None:
        """Read all, only to count and hash it."""
        for _ in self._blocks():
            pass

    def _blocks(self) -> Iterator[bytes]:
        for file in self.files:
            yield from self._counted(file)

    def _counted(self, file: Path) -> Iterator[bytes]:
        for block in blocks(file):
            self.size += len(block)
            self._digest.update(block)
            yield block

    def _cut(self) -> Iterator[str]:
        """Pieces that end where it is safe; what is left of a block waits for the next one, also of another file."""
        waiting: list[str] = []
        for file in self.files:
            at = 0
            for text in decoded_blocks(file, self._counted(file)):
                if not waiting:
                    self.place = f"{shown(file)}, from character {at} on"
                at += len(text)
                found = CUTS[self.kind].match(text)
                end = found.end() if found else 0
                if end:
                    yield "".join([*waiting, text[:end]])
                    waiting.clear()
                    self.place = f"{shown(file)}, from character {at - len(text) + end} on"
                if end < len(text):
                    waiting.append(text[end:])
        yield "".join(waiting)


def blocks(file: Path) -> Iterator[bytes]:
    """The bytes of a file, some at a time. Raises `TextError` for one that cannot be read."""
    with reading(file) as opened:
        while block := opened.read(BLOCK):
            yield block


def decoded_blocks(file: Path, parts: Iterable[bytes]) -> Iterator[str]:
    """The text of a file's blocks, without a byte order mark. Raises `TextError` that names the byte that is not UTF-8."""
    decoder, read, begun = codecs.getincrementaldecoder("utf-8")(), 0, False
    for block in itertools.chain(parts, [b""]):
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            left = len(error.object) - len(block)  # bytes of the last block that begin a character
            place = read - left + error.start
            fix = "convert the file, or use a vocabulary of bytes"
            raise not_utf8(f"{shown(file)}: ", place, error.object[error.start], fix) from None
        read += len(block)
        if text:
            yield text if begun else text.removeprefix("\ufeff")
            begun = True


def _texts(roots: Iterable[Path], suffixes: tuple[str, ...], as_bytes: bool) -> tuple[list[Path], list[Path]]:
    """The files to read, and those of folders that are passed over since they are no text."""
    files: list[Path] = []
    skipped: list[Path] = []
    for root in roots:
        if os.path.isdir(root):
            for file in files_under(root, suffixes, skipped):
                (files if _is_text(file, as_bytes) else skipped).append(file)
        else:
            files.append(root)
    return files, skipped


def _is_text(file: Path, as_bytes: bool) -> bool:
    try:
        if as_bytes:
            return not any(b"\0" in block for block in blocks(file))
        return not any("\0" in text for text in decoded_blocks(file, blocks(file)))
    except TextError:
        return False
