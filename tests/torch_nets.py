"""What comparisons with PyTorch's recurrent modules share: kinds, and arrays under the names of the equations."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

KINDS = {"elman": "RNN", "gru": "GRU", "lstm": "LSTM"}
GATES = {  # in the order of PyTorch's rows
    "elman": [("wax", "waa", "ba")],
    "gru": [(f"w{gate}", f"u{gate}", f"b{gate}") for gate in "rzn"],
    "lstm": [(f"w{gate}", f"u{gate}", f"b{gate}") for gate in "ifgo"],
}
STATES = {"elman": ("a",), "gru": ("h",), "lstm": ("h", "c")}


def named(kind: str, arrays: Iterable[Any], join: Callable) -> dict[str, np.ndarray]:
    """PyTorch's four stacked arrays (input and recurrent weight, two biases) under the names of the equations."""
    w_input, w_hidden, b_input, b_hidden = (array.detach().numpy() for array in arrays)
    found, rows = {}, w_hidden.shape[1]
    for k, (w, u, b) in enumerate(GATES[kind]):
        part = slice(k * rows, (k + 1) * rows)
        inside = b == "bn"  # the one bias that PyTorch's second cannot be added to: it stands inside the reset
        found |= {w: w_input[part], u: w_hidden[part]}
        found |= {b: b_input[part] if inside else join(b_input[part], b_hidden[part])}
        found |= {"dn": b_hidden[part]} if inside else {}
    return found
