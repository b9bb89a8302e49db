"""`elman cache`: compiled programs on disk."""

from pathlib import Path
from typing import Annotated

import typer

from elman.cli import shared
from elman.errors import MissingLibraryError, SettingError
from elman.viz import plain


def cache(clear: Annotated[bool, typer.Option("--clear", help="Remove all of them.")] = False) -> None:
    """Tell where compiled programs are kept, how many there are and how large, or remove them."""
    try:
        from elman.targets.llvm.store import removed, store
    except ImportError as error:
        raise MissingLibraryError(f"nothing is compiled without llvmlite ({error})") from error

    console, folder = shared.console(), store.folder
    if folder is None:
        console.print("compiled programs are not kept (ELMAN_CACHE is empty)")
        return
    try:
        sizes = {path: path.lstat().st_size for path in store.listed()}
    except OSError as error:
        raise SettingError(f"{error.filename or folder} cannot be read: {error.strerror}") from error
    if not clear:
        console.print(f"{_told(sizes, 'compiled ')} in {plain(str(folder))}")
        return
    kept = {path: why for path in sizes if (why := removed(path)) is not None}
    gone = {path: size for path, size in sizes.items() if path not in kept}
    console.print(f"removed {_told(gone)} from {plain(str(folder))}")
    for path, why in kept.items():
        others = f", nor can {len(kept) - 1:,} more" if len(kept) > 1 else ""
        raise SettingError(f"{path} cannot be removed{others}: {why.strerror}")


def _told(sizes: dict[Path, int], kind: str = "") -> str:
    return f"{len(sizes):,} {kind}program{'s' * (len(sizes) != 1)} ({sum(sizes.values()):,} bytes)"
