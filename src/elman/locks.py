"""Locks: one training at a time in a folder; they end with the process, however it ends."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from elman.errors import CheckpointError, ModelFileError

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """The folder, locked meanwhile, against others in this process too. Raises `CheckpointError` where another has it."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, fcntl.flock, folder)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """The file, locked meanwhile, where a network shares folders and these have no locks. Raises as `alone_in`.

    Alone it would not do: a process loses it as soon as it reads the file once more. Raises `ModelFileError` too, where the
    file cannot be written.
    """
    try:
        file = path.open("r+b")
    except OSError as error:
        raise ModelFileError(f"{path} cannot be written: {error.strerror or error}") from error
    with file:
        if fcntl is not None:
            _lock(file.fileno(), fcntl.lockf, path.parent)
        yield


def _lock(handle: int, lock: Callable[[int, int], None], folder: Path) -> None:
    try:
        lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CheckpointError(f"{folder}: another training goes on in this folder; wait for its end") from None
    except OSError:  # a file system without locks
        pass
