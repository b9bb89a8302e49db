"""Recurrent operators of ONNX by loops that are written from the specification alone, and random nodes to try them on."""

import math

import numpy as np
from onnx import TensorProto, helper, numpy_helper

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FUNCTIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}
DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}

ACTIVATIONS = {
    "Relu": lambda x, a, b: max(0.0, x),
    "Tanh": lambda x, a, b: math.tanh(x),
    "Sigmoid": lambda x, a, b: 1 / (1 + math.exp(-x)),
    "Affine": lambda x, a, b: a * x + b,
    "LeakyRelu": lambda x, a, b: x if x >= 0 else a * x,
    "ThresholdedRelu": lambda x, a, b: x if x >= a else 0.0,
    "ScaledTanh": lambda x, a, b: a * math.tanh(b * x),
    "HardSigmoid": lambda x, a, b: min(max(a * x + b, 0.0), 1.0),
    "Elu": lambda x, a, b: x if x >= 0 else a * (math.exp(x) - 1),
    "Softsign": lambda x, a, b: x / (1 + abs(x)),
    "Softplus": lambda x, a, b: x + math.log(1 + math.exp(-x)) if x > 0 else math.log(1 + math.exp(x)),
}
WITH_ALPHA = {"Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu"}
WITH_BETA = {"Affine", "ScaledTanh", "HardSigmoid"}
ALPHA = {"Affine": 1.0, "LeakyRelu": 0.01, "ThresholdedRelu": 1.0, "ScaledTanh": 1.0, "HardSigmoid": 0.2, "Elu": 1.0}
BETA = {"Affine": 0.0, "ScaledTanh": 1.0, "HardSigmoid": 0.5}


def activations(kind, attributes, directions, *, clip_last=True):
    """A list of functions of a vector for each direction; without `clip_last` the last one of each is not clipped."""
    names = attributes.get("activations", DEFAULTS[kind] * directions)
    alphas, betas = list(attributes.get("activation_alpha", [])), list(attributes.get("activation_beta", []))
    found = []
    for name in names:
        alpha = (alphas.pop(0) if alphas else ALPHA[name]) if name in WITH_ALPHA else None
        beta = (betas.pop(0) if betas else BETA[name]) if name in WITH_BETA else None
        found.append((name, alpha, beta))
    clip = attributes.get("clip")

    def applied(entry, clipping):
        name, alpha, beta = entry

        def on(vector):
            clipped = [min(max(v, -clip), clip) if clipping else v for v in vector]
            return np.array([ACTIVATIONS[name](v, alpha, beta) for v in clipped])

        return on

    count = FUNCTIONS[kind]
    chosen = [applied(entry, clip is not None and (clip_last or at % count < count - 1)) for at, entry in enumerate(found)]
    return [chosen[d * count : (d + 1) * count] for d in range(directions)]


def step(kind, attributes, functions, x, h, c, w, r, b, p):
    """One step of one example: the new h and c, as the equations of the operators have them."""
    size = len(h)
    ws, rs, half = np.split(w, GATES[kind]), np.split(r, GATES[kind]), np.split(b, 2)
    wb, rb = np.split(half[0], GATES[kind]), np.split(half[1], GATES[kind])

    def pre(k, hidden=None):
        return ws[k] @ x + rs[k] @ (h if hidden is None else hidden) + wb[k] + rb[k]

    if kind == "RNN":
        return functions[0](pre(0)), c
    if kind == "GRU":
        f, g = functions
        z, reset = f(pre(0)), f(pre(1))
        if attributes.get("linear_before_reset", 0):
            n = g(ws[2] @ x + reset * (rs[2] @ h + rb[2]) + wb[2])
        else:
            n = g(pre(2, reset * h))
        return (1 - z) * n + z * h, c
    f, g, last = functions
    pi, po, pf = np.split(p, 3) if p is not None else (np.zeros(size),) * 3
    i = f(pre(0) + pi * c)
    forget = 1 - i if attributes.get("input_forget", 0) else f(pre(2) + pf * c)
    c = forget * c + i * g(pre(3))
    o = f(pre(1) + po * c)
    return o * last(c), c


def literal(kind, attributes, x, w, r, b=None, lengths=None, h0=None, c0=None, p=None, *, clip_last=True):
    """Y, Y_h and Y_c (of an LSTM) of a node, by loops over directions, examples and steps, in float64."""
    batch_first = attributes.get("layout", 0)
    if batch_first:
        x, h0, c0 = (None if v is None else v.swapaxes(0, 1) for v in (x, h0, c0))
    x = x.astype(np.float64)
    (steps, batch, _), (directions, _, size) = x.shape, r.shape
    b = np.zeros((directions, 2 * GATES[kind] * size)) if b is None else b
    lengths = [steps] * batch if lengths is None else lengths
    y, y_h, y_c = np.zeros((steps, directions, batch, size)), *(np.zeros((directions, batch, size)) for _ in "hc")
    turned = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[attributes.get("direction", "forward")]
    functions = activations(kind, attributes, directions, clip_last=clip_last)
    for d in range(directions):
        for k in range(batch):
            h = np.zeros(size) if h0 is None else h0[d, k].astype(np.float64)
            c = np.zeros(size) if c0 is None else c0[d, k].astype(np.float64)
            order = range(lengths[k])
            for t in reversed(order) if turned[d] else order:
                h, c = step(kind, attributes, functions[d], x[t, k], h, c, w[d], r[d], b[d], None if p is None else p[d])
                y[t, d, k] = h
            y_h[d, k], y_c[d, k] = h, c
    if batch_first:
        y, y_h, y_c = y.transpose(2, 0, 1, 3), y_h.swapaxes(0, 1), y_c.swapaxes(0, 1)
    return (y, y_h, y_c) if kind == "LSTM" else (y, y_h)


def arrays(rng, kind, *, steps=6, batch=3, inputs=4, hidden=5, directions=1, batch_first=False, dtype=np.float32):
    """All inputs of a node, in the order of the operator."""

    def drawn(*shape):
        return (rng.normal(size=shape) * 0.4).astype(dtype)

    gates = GATES[kind]
    x = drawn(batch, steps, inputs) if batch_first else drawn(steps, batch, inputs)
    found = {"x": x, "w": drawn(directions, gates * hidden, inputs), "r": drawn(directions, gates * hidden, hidden)}
    found["b"] = drawn(directions, 2 * gates * hidden)
    found["lengths"] = rng.integers(1, steps + 1, batch).astype(np.int32)
    found["h0"] = drawn(batch, directions, hidden) if batch_first else drawn(directions, batch, hidden)
    if kind == "LSTM":
        found["c0"], found["p"] = drawn(*found["h0"].shape), drawn(directions, 3 * hidden)
    return found


def model(kind, attributes, given, opset=14, *, constant=("w", "r", "b", "p"), producer="tests"):
    """A model of one node; what is not given, or None, is left out. Names of inputs are those of `arrays`."""
    order = ["x", "w", "r", "b", "lengths", "h0", "c0", "p"]
    names = [name if given.get(name) is not None else "" for name in order]
    while not names[-1]:
        names.pop()
    outputs = ["y", "y_h", "y_c"] if kind == "LSTM" else ["y", "y_h"]
    node = helper.make_node(kind, names, outputs, name="cell", hidden_size=given["r"].shape[-1], **attributes)
    floats = helper.np_dtype_to_tensor_dtype(given["x"].dtype)
    declared = [
        helper.make_tensor_value_info(n, TensorProto.INT32 if n == "lengths" else floats, given[n].shape)
        for n in names
        if n and n not in constant
    ]
    initial = [numpy_helper.from_array(given[n], n) for n in names if n and n in constant]
    graph = helper.make_graph(
        [node], "one", declared, [helper.make_tensor_value_info(n, floats, None) for n in outputs], initial
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9, producer_name=producer)
    return made


def feed(given, constant=("w", "r", "b", "p")):
    return {name: value for name, value in given.items() if value is not None and name not in constant}


def random_attributes(rng, kind, *, defaults=True):
    """Attributes of a random node, and how many directions it has; with `defaults` alphas and betas may be left out."""
    direction = str(rng.choice(["forward", "reverse", "bidirectional"]))
    directions = 2 if direction == "bidirectional" else 1
    names = [str(name) for name in rng.choice(list(ACTIVATIONS), FUNCTIONS[kind] * directions)]
    alphas, betas = sum(n in WITH_ALPHA for n in names), sum(n in WITH_BETA for n in names)
    found = {"direction": direction, "activations": names, "layout": int(rng.integers(2))}
    if rng.integers(2) or not defaults:
        found |= {"activation_alpha": [float(np.float32(v)) for v in rng.uniform(0.1, 0.9, alphas)]} if alphas else {}
        found |= {"activation_beta": [float(np.float32(v)) for v in rng.uniform(0.1, 0.9, betas)]} if betas else {}
    if rng.integers(2):
        found["clip"] = float(np.float32(rng.uniform(0.3, 1.2)))
    if kind == "GRU":
        found["linear_before_reset"] = int(rng.integers(2))
    if kind == "LSTM":
        found["input_forget"] = int(rng.integers(2))
    return found, directions
