"""The cells that come with the library, one family a file; each is its equations and nothing else."""

import difflib

from elman.cells.exponential import mlstm, mlstm_with, rwkv, slstm, slstm_with
from elman.cells.gated import gru, gru_reset_before, lstm
from elman.cells.linear import indrnn, indrnn_with, lru, lru_with, mingru, minlstm, qrnn, rg_lru, sru
from elman.cells.pooling import running_max, running_mean
from elman.cells.simple import dense, elman, elman_with, readout, readout_linear, readout_sigmoid, readout_with
from elman.cells.variants import (
    clockwork,
    clockwork_with,
    gru_layer_norm,
    jordan,
    jordan_with,
    lstm_coupled,
    lstm_layer_norm,
    lstm_peephole,
    lstm_projected,
    mgu,
    mogrifier_lstm,
    mogrifier_lstm_with,
)
from elman.errors import SettingError
from elman.trace import Cell

CELLS = {
    made.name: made
    for made in (
        *(elman, gru, gru_reset_before, lstm),
        *(jordan, lstm_peephole, lstm_coupled, lstm_projected, mgu, mogrifier_lstm),
        *(lstm_layer_norm, gru_layer_norm, clockwork),
        *(indrnn, sru, qrnn, mingru, minlstm, lru, rg_lru),
        *(slstm, mlstm, rwkv),
    )
}
"""The recurrent cells by name."""


def named(name: str) -> Cell:
    """A recurrent cell by name. Raises `SettingError` that lists the names near to it, or else all."""
    if name not in CELLS:
        near = difflib.get_close_matches(name.lower(), CELLS)
        known = f"near it: {', '.join(near)}; `elman cells` lists all" if near else f"cells are {', '.join(CELLS)}"
        raise SettingError(f"there is no cell {name!r}; {known}")
    return CELLS[name]


__all__ = [
    "CELLS",
    "clockwork",
    "clockwork_with",
    "dense",
    "elman",
    "elman_with",
    "gru",
    "gru_layer_norm",
    "gru_reset_before",
    "indrnn",
    "indrnn_with",
    "jordan",
    "jordan_with",
    "lru",
    "lru_with",
    "lstm",
    "lstm_coupled",
    "lstm_layer_norm",
    "lstm_peephole",
    "lstm_projected",
    "mgu",
    "mingru",
    "minlstm",
    "mlstm",
    "mlstm_with",
    "mogrifier_lstm",
    "mogrifier_lstm_with",
    "named",
    "qrnn",
    "readout",
    "readout_linear",
    "readout_sigmoid",
    "readout_with",
    "rg_lru",
    "running_max",
    "running_mean",
    "rwkv",
    "slstm",
    "slstm_with",
    "sru",
]
