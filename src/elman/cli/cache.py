"""`elman cache`: compiled programs on disk."""

from typing import Annotated

import typer

from elman.cli import shared
from elman.errors import MissingLibraryError
from elman.viz import plain


def cache(clear: Annotated[bool, typer.Option("--clear", help="Remove all of them.")] = False) -> None:
    """Tell where compiled programs are kept, how many there are and how large, or remove them."""
    try:
        from elman.targets.llvm.store import store
    except ImportError as error:
        raise MissingLibraryError(f"nothing is compiled without llvmlite ({error})") from error

    console, folder = shared.console(), store.folder
    if folder is None:
        console.print("compiled programs are not kept (ELMAN_CACHE is empty)")
        return
    entries = store.entries()
    size, word = sum(path.stat().st_size for path in entries), f"program{'s' * (len(entries) != 1)}"
    if clear:
        console.print(f"removed {store.clear():,} {word} ({size:,} bytes) from {plain(str(folder))}")
    else:
        console.print(f"{len(entries):,} compiled {word} ({size:,} bytes) in {plain(str(folder))}")
