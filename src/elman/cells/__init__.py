"""The cells that come with the library, one family a file; each is its equations and nothing else."""

from elman.cells.gated import gru, gru_reset_before, lstm
from elman.cells.pooling import running_max, running_mean
from elman.cells.simple import dense, elman, elman_with, readout, readout_linear, readout_sigmoid, readout_with
from elman.errors import SettingError
from elman.trace import Cell

CELLS = {made.name: made for made in (elman, gru, gru_reset_before, lstm)}
"""The recurrent cells by name."""


def named(name: str) -> Cell:
    """A recurrent cell by name. Raises `SettingError` that lists the names."""
    if name not in CELLS:
        raise SettingError(f"there is no cell {name!r}; cells are {', '.join(CELLS)}")
    return CELLS[name]


__all__ = [
    "CELLS",
    "dense",
    "elman",
    "elman_with",
    "gru",
    "gru_reset_before",
    "lstm",
    "named",
    "readout",
    "readout_linear",
    "readout_sigmoid",
    "readout_with",
    "running_max",
    "running_mean",
]
