"""Which machine is compiled for, if not the best that this one can be: by the environment, or inside a `with` block."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from elman.errors import MissingLibraryError

VARIABLE = "ELMAN_MACHINE"
"""The machine that is compiled for, if the environment says so."""

forced_machine: ContextVar[str | None] = ContextVar("machine", default=None)
"""The machine that is compiled for inside a `with` block."""


@contextmanager
def machine(name: str) -> Iterator[None]:
    """Compile for another machine inside a `with` block: "avx512", "avx2" or "neon", where this one can stand in for it.

    Results have the same bits on all. Raises `SettingError` for a name that is unknown here, `MissingLibraryError` where
    nothing can be compiled.
    """
    try:
        from elman.targets.llvm.machine import known
    except (ImportError, OSError) as error:  # it may be there and not load
        raise MissingLibraryError(f"machine({name!r}): nothing is compiled, llvmlite is missing ({error})") from error
    known(name)
    token = forced_machine.set(name)
    try:
        yield
    finally:
        forced_machine.reset(token)


def wanted_machine() -> str | None:
    """The name of the machine that was asked for."""
    return forced_machine.get() or os.environ.get(VARIABLE)
