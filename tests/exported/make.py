"""Writes the files beside it: small nets of Keras as tf2onnx exports them, with an input and what Keras gives for it.

Run by hand where they are installed: `pip install tensorflow-cpu tf2onnx`, then `python tests/exported/make.py`. Values are
called by short names, which makes the files half as large and changes nothing else.
"""

import os
from pathlib import Path

os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from keras import layers as of

FEATURES, TOKENS = of.Input((None, 2)), of.Input((None,))
RNN, GRU, LSTM = (lambda n, c=c, **s: c(n, return_sequences=True, **s) for c in (of.SimpleRNN, of.GRU, of.LSTM))

NETS = {
    "simple": lambda: [FEATURES, RNN(3, activation="relu"), of.Dense(2, activation="softmax")],
    "gru": lambda: [FEATURES, GRU(3), of.Dense(2)],
    "gru_before": lambda: [FEATURES, of.GRU(3, reset_after=False), of.Dense(1, activation="sigmoid")],
    "masked": lambda: [FEATURES, of.Masking(), LSTM(2), of.Dense(2)],
    "both": lambda: [TOKENS, of.Embedding(6, 2), of.Bidirectional(LSTM(3)), of.LSTM(2), of.Dense(3)],
    "norm": lambda: [FEATURES, LSTM(3), of.LayerNormalization(), of.BatchNormalization(), of.Dense(2)],
}


def shortened(graph, known):
    """The same graph with other names; those of inputs and outputs of the file are kept."""

    def short(name):
        return known.setdefault(name, f"v{len(known)}") if name else ""

    for entry in (*graph.initializer, *graph.input, *graph.output):
        entry.name = short(entry.name)
    del graph.value_info[:]
    for node in graph.node:
        node.input[:], node.output[:] = map(short, node.input), map(short, node.output)
        node.name = node.doc_string = ""
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                shortened(attribute.g, known)
    graph.name = "net"


for name, make in NETS.items():
    keras.utils.set_random_seed(1)
    net, rng = keras.Sequential(make()), np.random.default_rng(0)
    for weight in net.weights:
        weight.assign(
            rng.uniform(0.3, 0.9, weight.shape) * rng.choice([1, 1 if "variance" in weight.path else -1], weight.shape)
        )
    tokens = len(net.inputs[0].shape) == 2
    x = rng.integers(0, 6, (2, 5)).astype(np.int32) if tokens else rng.normal(size=(2, 5, 2)).astype(np.float32)
    if name == "masked":
        x[1, 3:] = 0
    taken = [tf.TensorSpec([None, None] if tokens else [None, None, 2], x.dtype, name="x")]
    function = tf.function(lambda x, net=net: net(x, training=False), input_signature=taken)
    made, _ = tf2onnx.convert.from_function(function, input_signature=taken, opset=17)
    shortened(made.graph, {"x": "x", made.graph.output[0].name: "y"})
    onnx.checker.check_model(made)
    here = Path(__file__).parent
    onnx.save(made, here / f"{name}.onnx")
    np.savez_compressed(here / f"{name}.npz", x=x, y=np.asarray(net(x)))
