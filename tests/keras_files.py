"""Files as Keras writes them, made by hand: what tests of the reader share."""

import io
import json
import zipfile

import h5py
import numpy as np

PARTS = {"SimpleRNN": "cell", "GRU": "cell", "LSTM": "cell", "TimeDistributed": "layer"}


def layer(kind, name, arrays=(), **config):
    """A layer: its class, its name, its arrays, its settings."""
    recurrent = {"activation": "tanh", "recurrent_activation": "sigmoid", "return_sequences": True, "go_backwards": False}
    settings = recurrent if kind in ("SimpleRNN", "GRU", "LSTM") else {}
    return {"class_name": kind, "module": "keras.layers", "config": {"name": name, **settings, **config}}, list(arrays)


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
            ways = (
                ("forward_layer/cell", "backward_layer/cell")
                if kind == "bidirectional"
                else (PARTS.get(entry["class_name"], ""),)
            )
            for k, array in enumerate(arrays):
                count = len(arrays) // len(ways)
                group[f"{ways[k // count]}/vars/{k % count}".lstrip("/")] = array
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
            names = [f"{name}/array_{k}:0" for k in range(len(arrays))]
            group.attrs["weight_names"] = np.array(names, "S")
            for path_of, array in zip(names, arrays, strict=True):
                group[path_of] = array
    return path
