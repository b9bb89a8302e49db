"""From a plan to something that runs: each target is a table from gates to its own words and a walker that reads it."""

from elman.errors import SettingError
from elman.targets.interface import Executable, Outcome, Prepared, Target
from elman.targets.interpreter import Interpreter
from elman.targets.numpy import NumpyProgram

TARGETS: dict[str, Target] = {"auto": NumpyProgram, "numpy": NumpyProgram, "interpreter": Interpreter}


def target(name: str) -> Target:
    """Look a target up by name; "auto" is the fastest there is. Raises `SettingError` that lists the names."""
    if name not in TARGETS:
        raise SettingError(f"target {name!r} is unknown; targets are {', '.join(TARGETS)}")
    return TARGETS[name]


__all__ = ["TARGETS", "Executable", "Outcome", "Prepared", "Target", "target"]
