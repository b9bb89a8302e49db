"""From a plan to something that runs: each target is a table from gates to its own words and a walker that reads it."""

import os
import sys
import warnings
from functools import cache

from elman.errors import MissingLibraryError, SettingError
from elman.targets.forced import wanted_machine
from elman.targets.interface import Elementwise, Executable, Outcome, Prepared, Target
from elman.targets.interpreter import InterpreterTarget
from elman.targets.numpy import NumpyTarget

VARIABLE = "ELMAN_TARGET"
"""What "auto" stands for, if the environment says so."""

TARGETS = ("auto", "llvm", "numpy", "interpreter")


def target(name: str) -> Target:
    """Look a target up by name; "auto" is the fastest there is.

    Raises `SettingError` that lists the names, `MissingLibraryError` where "llvm" is asked for and cannot be had.
    """
    origin, asked = "", os.environ.get(VARIABLE)
    if name == "auto" and asked:
        name, origin = asked, f"{VARIABLE}: "
    match name:
        case "numpy":
            return NumpyTarget()
        case "interpreter":
            return InterpreterTarget()
        case "llvm":
            found, why = _llvm()
            if found is None:
                raise MissingLibraryError(f'{origin}target "llvm" cannot be had: {why}')
            return found()
        case "auto":
            found, why = _llvm()
            if found is None:
                _tell(why)
                return NumpyTarget()
            return found()
    raise SettingError(f"{origin}target {name!r} is unknown; targets are {', '.join(TARGETS)}")


def circumstances() -> tuple[str | None, str | None]:
    """What else decides what a target's name stands for: the environment, and the machine that is forced."""
    return os.environ.get(VARIABLE), wanted_machine()


def _llvm() -> tuple[type[Target] | None, str]:
    """The LLVM target, or why there is none. It is imported when first asked for."""
    try:
        from elman.targets.llvm.machine import current
        from elman.targets.llvm.target import LlvmTarget
    except (ImportError, OSError) as error:  # it may be there and not load
        return None, f"llvmlite is missing ({error})"
    return (LlvmTarget, "") if current() is not None else (None, "this machine has no fused multiply-add")


@cache
def _tell(why: str) -> None:
    """Say once that programs are slower than they could be."""
    warnings.warn(f"elman runs on NumPy alone, which is slower: {why}", RuntimeWarning, stacklevel=_outside())


def _outside() -> int:
    """How many frames above its own a function finds the caller of the library."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == __name__.partition(".")[0]:
        frame, level = frame.f_back, level + 1
    return level


__all__ = ["TARGETS", "Elementwise", "Executable", "Outcome", "Prepared", "Target", "circumstances", "target"]
