"""g2p_en, how English words are said (Apache-2.0), from the checkpoint of its package, beside the package's own NumPy code.

A GRU of 256 reads the letters, another says the sounds, 29 symbols in and 74 out. The arrays are in PyTorch's order.
Needs `pip install --no-deps g2p_en`: it asks for nltk and its dictionaries, which its network does not need.
"""

import argparse
import ast
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from beside import Compared, difference, file_of, in_turn

import elman

WORDS = "elman recurrent unrolled gated peephole softmax perplexity bidirectional a onomatopoeia"

NAMES = {
    "emb": "embedding.weight", "w_ih": "rnn.weight_ih_l0", "w_hh": "rnn.weight_hh_l0", "b_ih": "rnn.bias_ih_l0",
    "b_hh": "rnn.bias_hh_l0",
}  # fmt: skip
"""How PyTorch calls the arrays of each half."""


def half(arrays: dict[str, np.ndarray], which: str) -> dict[str, np.ndarray]:
    return {theirs: arrays[f"{which}_{name}"] for name, theirs in NAMES.items()}


def loaded(path: Path, start: int, end: int) -> elman.EncoderDecoder:
    """The network from its checkpoint."""
    arrays = dict(np.load(path))
    read_out = {"linear.weight": arrays["fc_w"], "linear.bias": arrays["fc_b"]}
    encoder = elman.io.pytorch.load(half(arrays, "enc"))
    decoder = elman.io.pytorch.load(half(arrays, "dec") | read_out)
    return elman.EncoderDecoder(encoder.rnn, decoder, start=start, end=end)


def own(source: Path, checkpoint: Path) -> Any:
    """The package's class, without what stands around it in the file: dictionaries that would be fetched."""
    with warnings.catch_warnings(action="ignore"):  # of an escape in its source
        tree = ast.parse(source.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "G2p"]
    names: dict[str, Any] = {"np": np, "os": os, "dirname": str(checkpoint.parent)}
    names |= {"cmudict": type("none", (), {"dict": staticmethod(dict)}), "construct_homograph_dictionary": dict}
    exec(compile(tree, str(source), "exec"), names)
    return names["G2p"]()


def logits(theirs: Any, word: str, heard: list[int]) -> np.ndarray:
    """What the package's decoder says at each step when it is told what was heard."""
    encoded = theirs.gru(theirs.encode(word), len(word) + 1, *weights(theirs, "enc"))[:, -1]
    told = theirs.dec_emb[None, [theirs.p2idx["<s>"], *heard[:-1]]]
    said = theirs.gru(told, len(heard), *weights(theirs, "dec"), h0=encoded)[0]
    return said @ theirs.fc_w.T + theirs.fc_b


def weights(theirs: Any, which: str) -> list[np.ndarray]:
    return [getattr(theirs, f"{which}_{name}") for name in list(NAMES)[1:]]


def main(words: str = WORDS) -> list[Compared]:
    """Compare, show, and return what was found."""
    checkpoint = file_of("g2p_en", "checkpoint20.npz")
    theirs = own(file_of("g2p_en", "g2p.py"), checkpoint)
    start, end = theirs.p2idx["<s>"], theirs.p2idx["</s>"]
    net, differences, same = loaded(checkpoint, start, end), [], 0
    for word in words.split():
        tokens = np.array([theirs.g2idx[letter] for letter in [*word, "</s>"]])
        said = [theirs.idx2p[int(sound)] for sound in net.generate(tokens, length=20)]
        heard = [*(theirs.p2idx[sound] for sound in said), end]
        found = net.forward_propagation(tokens, np.array(heard)).logits
        differences.append(difference(found, logits(theirs, word, heard)))
        same += said == theirs.predict(word)
        print(f"{word:>16}  {' '.join(said)}")
    far = [max(column) for column in zip(*differences, strict=True)]
    told, steps = f"{same} of {len(differences)} words are said alike", f"{len(tokens)} letters, {len(heard)} sounds"
    free = in_turn(lambda: net.generate(tokens, length=20), lambda: theirs.predict(word), samples=100)
    forced = in_turn(lambda: net.forward_propagation(tokens, heard), lambda: logits(theirs, word, heard), samples=100)
    compared = [Compared(f"g2p_en, {steps}, said one by one", *far, *free, told)]
    compared.append(Compared(f"g2p_en, {steps}, told what to say", *far, *forced, told))
    print(*compared, sep="\n")
    return compared


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="?", default=WORDS)
    main(parser.parse_args().words)
