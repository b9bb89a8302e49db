"""Entries of a log as event files of TensorBoard, by the writer of tensorboardX."""

import os
from collections.abc import Mapping
from typing import Any

from elman.errors import MissingLibraryError, ModelFileError


class Events:
    """A folder of event files, to which entries are added; those `after` a step that are there already count no more.

    Raises `MissingLibraryError` without the library tensorboardX, `ModelFileError` where the folder cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], after: int = 0) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise MissingLibraryError(
                '--tensorboard needs the library tensorboardX: pip install "elman[tensorboard]"'
            ) from None
        try:
            self._writer = SummaryWriter(os.fspath(folder), purge_step=after + 1)
        except OSError as error:
            raise ModelFileError(f"{folder} cannot be written: {error.strerror or error}") from error

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add an entry: each of its numbers is a curve of its name over `step`."""
        for name, value in entry.items():
            if name not in ("step", "seconds") and value is not None:
                self._writer.add_scalar(name, value, entry["step"])

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._writer.close()
