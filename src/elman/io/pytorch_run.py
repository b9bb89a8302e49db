"""The layers of a state_dict run by PyTorch itself, where it is installed: what an import is compared with."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.errors import SettingError, one_line
from elman.foreign import Part
from elman.gates import Array


def run(parts: Sequence[Part], x: Array, pool: str | None) -> tuple[Array, str] | None:
    """What PyTorch gives for `x` `[B, T, ...]`, and its name and version; None where it is not installed.

    Raises `SettingError` where PyTorch has no such layers, or cannot run them.
    """
    try:
        import torch
    except ImportError:
        return None
    name = f"PyTorch {torch.__version__.partition('+')[0]}"
    try:
        return _given(torch, parts, x, pool), name
    except (RuntimeError, ValueError) as error:
        raise SettingError(f"{name} could not run what the weights stand for: {one_line(str(error), 300)}") from error


# --- inside -----------------------------------------------------------------------------------------------------------


def _given(torch: Any, parts: Sequence[Part], x: Array, pool: str | None) -> Array:
    """What the layers give, one after another."""
    with torch.no_grad():
        y, wide, read = torch.from_numpy(np.array(x)), 0, False
        top = len(parts) - next((k for k, part in enumerate(reversed(parts)) if not part.is_linear), len(parts))
        for position, part in enumerate(parts):
            if position == top:
                y, read = _pooled(y, pool, wide), True
            if part.weights.layer in ("RNN", "GRU", "LSTM"):
                if position and (parts[position - 1].name, parts[position - 1].ending[:2]) == (part.name, "_l"):
                    continue  # it ran with the first layer of its module
                module = _module(torch, [p for p in parts if p.name == part.name and p.ending != ""] or [part])
                y, wide = module(y)[0], module.proj_size or module.hidden_size
            else:
                y = _map(torch, part, y)
        return np.array((y if read else _pooled(y, pool, wide)).numpy())


def _module(torch: Any, layers: Sequence[Part]) -> Any:
    """nn.RNN, GRU or LSTM with the weights of its layers."""
    first = layers[0]
    arrays = first.ways[0]
    rows = {"RNN": 1, "GRU": 3, "LSTM": 4}[first.weights.layer]
    inputs, hidden = arrays["weight_ih"].shape[1], arrays["weight_ih"].shape[0] // rows
    settings: dict[str, Any] = {"nonlinearity": "relu"} if first.equations else {}
    settings |= {"proj_size": arrays["weight_hr"].shape[0]} if "weight_hr" in arrays else {}
    module = getattr(torch.nn, first.weights.layer)(
        inputs, hidden, len(layers), bias="bias_ih" in arrays, batch_first=True, bidirectional=len(first.ways) > 1,
        dtype=torch.from_numpy(arrays["weight_ih"]).dtype, **settings,
    )  # fmt: skip
    held = {
        f"{name}_l{position}{end}": torch.from_numpy(np.array(array))
        for position, layer in enumerate(layers)
        for end, way in zip(("", "_reverse"), layer.ways, strict=False)
        for name, array in way.items()
    }
    module.load_state_dict(held)
    return module.eval()


def _map(torch: Any, part: Part, y: Any) -> Any:
    """An embedding, or a linear layer and what follows it."""
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in part.ways[0].items()}
    if not part.is_linear:
        return torch.nn.functional.embedding(y.long(), tensors["weight"])
    y = torch.nn.functional.linear(y, tensors["weight"], tensors.get("bias"))
    if part.activation in ("linear", "softmax", "log_softmax"):
        return y if part.activation == "linear" else getattr(y, part.activation)(-1)
    return (getattr(torch, part.activation, None) or getattr(torch.nn.functional, part.activation))(y)


def _pooled(y: Any, pool: str | None, wide: int) -> Any:
    """What is read of `[B, T, H]`: for "last" what each direction gave at its last step."""
    match pool:
        case "last":
            return y.new_tensor(np.concatenate((y[:, -1, :wide].numpy(), y[:, 0, wide:].numpy()), -1))
        case "mean":
            return y.mean(1)
        case "max":
            return y.amax(1)
    return y
