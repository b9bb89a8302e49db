"""Writing a file in one step: it is old or new, never half.

A temporary file beside the target is written, flushed to disk, and renamed over it.
"""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from elman.errors import ElmanError, ModelFileError


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to write to, which takes the place of what is at `path` once all is written.

    A link is followed: what it leads to is replaced, and it stays. Raises `ModelFileError` that says what the system said;
    an older file is then still there, whole.
    """
    temporary = ""
    try:
        target = _target(path)
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name[:40]}.", suffix=".part", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _mode_of(target))
        os.replace(temporary, target)
        temporary = ""
        _settle(target.parent)
    except ElmanError:  # of what was to be written
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unwritable(path, error) from error
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _settle(folder: Path) -> None:
    """Wait until the names in a folder, such as a new one, are on the disk; where the system lets a folder be opened."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Find out before the work whether its result can be written. Raises `ModelFileError` as `replacing` would."""
    try:
        with tempfile.TemporaryFile(dir=_target(path).parent):
            pass
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error


def _target(path: str | os.PathLike[str]) -> Path:
    """Where a path leads. Raises `OSError` for what is there and is no file: a folder, a device, a pipe."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder; name a file")
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "it is a device or a pipe; name a file")
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"the folder {Path(path).parent} does not exist")
    return target


def _unwritable(path: str | os.PathLike[str], error: Exception) -> ModelFileError:
    return ModelFileError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}")


def _mode_of(target: Path) -> int:
    """Permissions of the file that is replaced, or what a new file gets; a temporary file is private otherwise."""
    if target.exists():
        return target.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
