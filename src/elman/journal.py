"""Journal: what a training tells as it goes, one JSON object a line, in a file that a resumed training continues."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any, Self, TypeVar

from elman.errors import CheckpointError, ModelFileError
from elman.io.atomic import replacing

Result = TypeVar("Result")

COLUMNS = ("loss", "bits", "norm", "seconds", "validation")
"""What curves are drawn of: numbers, where an entry has them."""


class Journal:
    """A log to which entries are added, each with the `step` that it tells of.

    Opened `after` a step, what the file tells of later steps is dropped first, and whatever stands behind a line that is
    damaged: a training that goes on from a checkpoint tells those steps again. Raises `ModelFileError` where it cannot be
    written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "log.jsonl"
    ...     with Journal(path) as journal:
    ...         for step in (1, 2, 3):
    ...             journal.add({"step": step, "loss": 1 / step})
    ...     with Journal(path, after=2) as journal:
    ...         journal.add({"step": 3, "loss": 0.25})
    ...     [entry["loss"] for entry in entries(path)]
    [1.0, 0.5, 0.25]
    """

    def __init__(self, path: str | os.PathLike[str], after: int = 0) -> None:
        self.path = Path(path)
        whole = takewhile(lambda entry: entry is not None, _read(self.path))
        kept = [entry for entry in whole if entry is not None and entry["step"] <= after]
        self.seconds: float = max((entry.get("seconds") or 0.0 for entry in kept), default=0.0)
        with replacing(self.path) as file:
            file.write("".join(json.dumps(entry) + "\n" for entry in kept).encode())
        self._file = self._asked(lambda: self.path.open("ab", buffering=0))

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add an entry; it survives the process from now on. Raises `ModelFileError` where there is no room."""
        line = (json.dumps(entry, allow_nan=False) + "\n").encode()
        self._asked(lambda: self._append(line))

    def settle(self) -> None:
        """Wait until all entries are on the disk: they survive a power cut from now on."""
        self._asked(lambda: os.fsync(self._file.fileno()))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, line: bytes) -> None:
        """Write a line, or nothing: half a line would spoil the one behind it."""
        before = os.fstat(self._file.fileno()).st_size
        try:
            written = self._file.write(line)
            if written < len(line):
                self._file.write(line[written:])
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(before)
            raise

    def _asked(self, action: Callable[[], Result]) -> Result:
        try:
            return action()
        except OSError as error:
            raise ModelFileError(f"{self.path} cannot be written: {error.strerror or error}") from error


def entries(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """The entries of a log, in order; a last line that was cut off is left out.

    Raises `CheckpointError` where there is no log, or a line is none of a log.
    """
    found = Path(path)
    if not found.is_file():
        raise CheckpointError(f"{found}: there is no such file; the log of a run is wanted")
    for number, entry in enumerate(_read(found), 1):
        if entry is None:
            raise CheckpointError(f"{found}: line {number} is none of a log; each is a JSON object with a step")
        yield entry


def _read(path: Path) -> Iterator[dict[str, Any] | None]:
    """The entries of the lines that have an end; None for a line that is no entry."""
    for line in path.read_bytes().split(b"\n")[:-1] if path.exists() else ():
        try:
            entry = json.loads(line)
            known = isinstance(entry, dict) and type(entry.get("step")) is int and all(map(_is_number, _columns(entry)))
        except (ValueError, RecursionError):
            known = False
        yield entry if known else None


def _columns(entry: Mapping[str, Any]) -> Iterator[Any]:
    return (entry.get(name) for name in ("step", *COLUMNS))


def _is_number(value: Any) -> bool:
    """Whether an entry may tell a value: a number that a float can be, or none."""
    return value is None or type(value) is float or (type(value) is int and abs(value) < 2**63)
