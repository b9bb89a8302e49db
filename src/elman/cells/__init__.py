"""The cells that come with the library, one family a file; each is its equations and nothing else."""

from elman.cells.gated import gru, gru_reset_before, lstm
from elman.cells.simple import elman, elman_with, readout, readout_with

CELLS = {made.name: made for made in (elman, gru, gru_reset_before, lstm)}
"""The recurrent cells by name."""

__all__ = ["CELLS", "elman", "elman_with", "gru", "gru_reset_before", "lstm", "readout", "readout_with"]
