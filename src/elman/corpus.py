"""Texts from files and folders: strict UTF-8, or bytes as they are."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from elman.errors import DataError, ElmanError, TextError

Text = str | bytes


@dataclass(frozen=True)
class Corpus:
    """What `read_corpus` found: the joined text, the files it comes from, and the files that were passed over."""

    text: Text
    files: tuple[Path, ...]
    skipped: tuple[Path, ...]


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a UTF-8 file, line ends as they are, without a byte order mark.

    Raises TextError for a file that is missing, a folder, unreadable or not UTF-8 (it names the byte).

    >>> read_text("no/such/file")
    Traceback (most recent call last):
    elman.errors.TextError: no/such/file: no such file
    """
    data = read_bytes(path)
    return decoded(data, f"{shown(path)}: ", "convert the file").removeprefix("\ufeff")


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file, as they are; raises TextError for one that is missing, a folder or unreadable."""
    with reading(path) as file:
        return file.read()


@contextlib.contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to read from; raises TextError for one that is missing, a folder or unreadable."""
    try:
        with Path(path).open("rb") as file:
            yield file
            return
    except ElmanError:  # of what was read
        raise
    except FileNotFoundError:
        reason = "no such file"
    except IsADirectoryError:
        reason = "a folder, not a file"
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = f"cannot be read ({getattr(error, 'strerror', None) or error})"
    raise TextError(f"{shown(path)}: {reason}")


def read_corpus(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    as_bytes: bool = False,
    suffixes: str | Iterable[str] = (),
) -> Corpus:
    """The text of files and folders, joined without separators.

    A file that is named must be readable. A folder is read with its folders, sorted by path, without hidden names and
    `__pycache__`; what is no text there (not UTF-8, or a NUL; with `as_bytes` only a NUL) is listed in `skipped`.
    `suffixes` such as ".py" choose among the files of folders.
    Raises TextError as `read_text`, DataError if no text is found.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name, data in {"a.txt": b"one ", "b.txt": b"two", "c.png": bytes(4)}.items():
    ...         _ = pathlib.Path(folder, name).write_bytes(data)
    ...     corpus = read_corpus(folder)
    >>> corpus.text, [file.name for file in corpus.skipped]
    ('one two', ['c.png'])
    """
    roots = [Path(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    endings = (suffixes,) if isinstance(suffixes, str) else tuple(suffixes)
    parts: list[bytes] = []
    files: list[Path] = []
    skipped: list[Path] = []
    for root in roots:
        folder = os.path.isdir(root)
        for file in files_under(root, endings, skipped) if folder else [root]:
            data = _read_if_text(file, as_bytes) if folder else _read(file, as_bytes)
            if data is None:
                skipped.append(file)
            else:
                parts.append(data)
                files.append(file)
    text = b"".join(parts)
    if not text:
        names = ", ".join(map(shown, roots)) or "an empty list of paths"
        raise DataError(f"no text in {names}: {len(files)} file{'s' * (len(files) != 1)} read, {len(skipped)} skipped")
    return Corpus(text if as_bytes else text.decode(), tuple(files), tuple(skipped))


def _read(file: Path, as_bytes: bool) -> bytes:
    return read_bytes(file) if as_bytes else read_text(file).encode()


def _read_if_text(file: Path, as_bytes: bool) -> bytes | None:
    try:
        data = _read(file, as_bytes)
    except TextError:
        return None
    return None if b"\0" in data else data


def files_under(root: Path, endings: tuple[str, ...], skipped: list[Path]) -> list[Path]:
    """The files of a folder and its folders, sorted; what cannot be opened or is no plain file goes to `skipped`."""
    found: list[Path] = []
    seen: set[str] = set()
    for folder, folders, names in os.walk(root, onerror=lambda e: skipped.append(Path(e.filename)), followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back: the walk would go round until the path is too long
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
        for name in names:
            if not name.startswith(".") and (not endings or name.endswith(endings)):
                file = Path(folder, name)
                (found if file.is_file() else skipped).append(file)
    return sorted(found)


def shown(path: str | os.PathLike[str]) -> str:
    """A path that can be printed, also where its name is not UTF-8."""
    return os.fspath(path).encode("utf-8", "backslashreplace").decode()


def decoded(data: bytes, name: str, fix: str, otherwise: str = "use a vocabulary of bytes") -> str:
    """Strict UTF-8; raises TextError that names the byte where it is not, after `name`, and tells the two ways to fix it."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise not_utf8(name, error.start, data[error.start], f"{fix}, or {otherwise}") from None


def not_utf8(name: str, place: int, byte: int, fix: str) -> TextError:
    """What is said of the byte at which a text is no UTF-8, after `name`."""
    return TextError(f"{name}byte {place} (0x{byte:02x}) is not UTF-8; {fix}")
