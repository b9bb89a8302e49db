"""Files as Keras writes them, made by hand: what tests of the reader share."""

import io
import json
import zipfile

import h5py
import numpy as np

PARTS = {"SimpleRNN": "cell", "GRU": "cell", "LSTM": "cell", "TimeDistributed": "layer"}


def layer(kind, name, arrays=(), **config):
    """A layer: its class, its name, its arrays (or those of each group within it), its settings."""
    recurrent = {"activation": "tanh", "recurrent_activation": "sigmoid", "return_sequences": True, "go_backwards": False}
    settings = recurrent if kind in ("SimpleRNN", "GRU", "LSTM", "RNN") else {}
    held = arrays if isinstance(arrays, dict) else list(arrays)
    return {"class_name": kind, "module": "keras.layers", "config": {"name": name, **settings, **config}}, held


def grouped(kind, arrays):
    """Arrays by the group of a .keras file that holds them, within that of their layer."""
    if isinstance(arrays, dict):
        return arrays
    if kind == "Bidirectional":
        half = len(arrays) // 2
        return {"forward_layer/cell": arrays[:half], "backward_layer/cell": arrays[half:]}
    return {PARTS.get(kind, ""): arrays}


def configuration(layers):
    return {"class_name": "Sequential", "config": {"name": "net", "layers": [entry for entry, _ in layers]}}


def zipped(path, layers, *, version="3.15.1", config=None, compression=zipfile.ZIP_STORED):
    """A .keras file."""
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        seen = {}
        for entry, arrays in layers:
            kind = {"SimpleRNN": "simple_rnn", "TimeDistributed": "time_distributed"}.get(entry["class_name"])
            kind = kind or entry["class_name"].lower()
            seen[kind] = seen.get(kind, -1) + 1
            group = file.create_group(f"layers/{kind}_{seen[kind]}" if seen[kind] else f"layers/{kind}")
            for part, held in grouped(entry["class_name"], arrays).items():
                for k, array in enumerate(held):
                    group[f"{part}/vars/{k}".lstrip("/")] = array
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", json.dumps(config or configuration(layers)))
        archive.writestr("model.weights.h5", data.getvalue())
    return path


def legacy(path, layers, *, version="2.15.0", config=None):
    """A .h5 file."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version
        file.attrs["model_config"] = json.dumps(config or configuration(layers))
        for entry, arrays in layers:
            name = entry["config"]["name"]
            group = file.create_group(f"model_weights/{name}")
            flat = [array for held in arrays.values() for array in held] if isinstance(arrays, dict) else arrays
            names = [f"{name}/array_{k}:0" for k in range(len(flat))]
            group.attrs["weight_names"] = np.array(names, "S")
            for path_of, array in zip(names, flat, strict=True):
                group[path_of] = array
    return path
