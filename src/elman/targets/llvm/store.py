"""Compiled programs on disk, so that the next process need not compile them again.

An entry is named by a hash of all that it was made from; it begins with a hash of itself, so a damaged or foreign one is
passed by. It is written beside its place and moved there, so that no reader meets half of it.
"""

import hashlib
import os
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

VARIABLE = "ELMAN_CACHE"
"""Another folder for the store; empty: no store."""

CHECK = hashlib.sha256
SUFFIX = ".program"


@cache
def emitter() -> str:
    """A hash of the code of this target, which every entry depends on."""
    digest = CHECK()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class Store:
    """A folder of entries by key. Nothing that goes wrong with it stops a program: then there is no entry."""

    @property
    def folder(self) -> Path | None:
        """Where entries stand; None where nothing is kept."""
        named = os.environ.get(VARIABLE)
        if named is not None:
            return Path(os.path.expanduser(named)) if named else None  # a shell leaves a quoted ~ as it is
        from platformdirs import user_cache_path

        return user_cache_path("elman")

    def get(self, key: str) -> bytes | None:
        """An entry that is whole."""
        folder = self.folder
        if folder is None:
            return None
        try:
            data = (folder / (key + SUFFIX)).read_bytes()
        except OSError:
            return None
        size = CHECK().digest_size
        return data[size:] if CHECK(key.encode() + data[size:]).digest() == data[:size] else None

    def put(self, key: str, data: bytes) -> None:
        """Keep an entry, if it can be written."""
        folder = self.folder
        if folder is None:
            return
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=folder, suffix=".part")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(CHECK(key.encode() + data).digest() + data)
                os.replace(name, folder / (key + SUFFIX))
            except BaseException:
                with suppress(OSError):
                    os.unlink(name)
                raise

    def entries(self) -> list[Path]:
        """All entries; none where the folder cannot be read."""
        try:
            return self.listed()
        except OSError:
            return []

    def listed(self) -> list[Path]:
        """All entries. Raises `OSError` for a folder that is there and cannot be read, or is none."""
        folder = self.folder
        try:
            names = [] if folder is None else sorted(os.listdir(folder))
        except FileNotFoundError:
            return []
        found = [Path(folder or "", name) for name in names if name.endswith(SUFFIX)]
        return [path for path in found if path.is_symlink() or not path.is_dir()]

    def clear(self) -> int:
        """Remove all entries that can be removed; returns how many these were."""
        return sum(removed(path) is None for path in self.entries())


def removed(path: Path) -> OSError | None:
    """Remove an entry; returns what prevents it."""
    try:
        path.unlink()
    except OSError as error:
        return error
    return None


store = Store()


def key_of(*facts: object) -> str:
    """The key of an entry that is made from these facts."""
    return CHECK("\n".join(map(str, facts)).encode()).hexdigest()
