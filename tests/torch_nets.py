"""What comparisons with PyTorch's recurrent modules share: kinds, arrays under the names of the equations, states, runs."""

from collections.abc import Callable, Iterable
from operator import add
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

KINDS = {"elman": "RNN", "gru": "GRU", "lstm": "LSTM"}
GATES = {  # in the order of PyTorch's rows
    "elman": [("wax", "waa", "ba")],
    "gru": [(f"w{gate}", f"u{gate}", f"b{gate}") for gate in "rzn"],
    "lstm": [(f"w{gate}", f"u{gate}", f"b{gate}") for gate in "ifgo"],
}
STATES = {"elman": ("a",), "gru": ("h",), "lstm": ("h", "c")}


def parameters_of(kind: str, parameters: Iterable[Any]) -> dict[str, np.ndarray]:
    """PyTorch's four stacked parameters (input and recurrent weight, two biases) under the names of the equations."""
    return _named(kind, (parameter.detach() for parameter in parameters), add)


def gradients_of(kind: str, parameters: Iterable[Any]) -> dict[str, np.ndarray]:
    """The gradients of the same; that of a bias which stands for two is that of either."""
    return _named(kind, (parameter.grad for parameter in parameters), lambda b_input, _: b_input)


def _named(kind: str, tensors: Iterable[Any], join: Callable) -> dict[str, np.ndarray]:
    w_input, w_hidden, b_input, b_hidden = (tensor.numpy() for tensor in tensors)
    found, rows = {}, w_hidden.shape[1]
    for k, (w, u, b) in enumerate(GATES[kind]):
        part = slice(k * rows, (k + 1) * rows)
        inside = b == "bn"  # the one bias that PyTorch's second cannot be added to: it stands inside the reset
        found |= {w: w_input[part], u: w_hidden[part]}
        found |= {b: b_input[part] if inside else join(b_input[part], b_hidden[part])}
        found |= {"dn": b_hidden[part]} if inside else {}
    return found


def given(states: Iterable[Any]) -> Any:
    """States `[layers, B, H]` as a module takes them: a pair for the lstm."""
    states = tuple(states)
    return states if len(states) == 2 else states[0]


def taken(state: Any) -> tuple[Any, ...]:
    """The states that a module gave."""
    return state if isinstance(state, tuple) else (state,)


def detached(state: Any) -> Any:
    """A state from which no gradient flows back."""
    return given(part.detach() for part in taken(state))


def run(module: Any, x: Any, state: Any, lengths: tuple[int, ...] | None = None) -> tuple[Any, Any]:
    """Outputs and last state of a module, with lengths on the packed sequences."""
    if lengths is None:
        return module(x, state)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    y, state = module(packed, state)
    return torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])[0], state
