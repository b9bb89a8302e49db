"""ddddocr, what short texts in pictures say (MIT), from the ONNX file of its package, beside ONNX Runtime.

Convolutions and an LSTM of 512 in both directions over the columns of a picture, and 8,210 signs to choose from in each
column, most of them Chinese; the likeliest signs without repeats and blanks are the text (CTC). The pictures are drawn here.
Needs `pip install ".[onnx]" onnxruntime pillow` and `pip install --no-deps ddddocr`: its file needs nothing of what it asks
for.
"""

import argparse
import ast
from pathlib import Path

import numpy as np
from beside import Compared, difference, file_of, in_turn
from PIL import Image, ImageDraw, ImageFont
from runtime import session

import elman
from elman.labellings import ctc_decode

TEXTS = "elman recurrent LSTM1997 gated a1b2c3 8462 peephole unrolled"
HEIGHT = 64
"""Rows of a picture, as the net wants them."""


def signs(source: Path) -> list[str]:
    """What stands for each number that the net gives; the list is read, and nothing in its file is run."""
    lists = (node for node in ast.parse(source.read_text(encoding="utf-8")).body if isinstance(node, ast.Assign))
    return next(ast.literal_eval(node.value) for node in lists if ast.unparse(node.targets[0]) == "CHARSET_BETA")


def picture(text: str) -> np.ndarray:
    """Black on white, `[1, 1, 64, W]` from 0 to 1."""
    font = ImageFont.load_default(40)
    image = Image.new("L", (int(font.getlength(text)) + 24, HEIGHT), 255)
    ImageDraw.Draw(image).text((12, 8), text, fill=0, font=font)
    return np.asarray(image, np.float32)[None, None] / 255


def main(texts: str = TEXTS) -> list[Compared]:
    """Compare, show, and return what was found."""
    path, known = file_of("ddddocr", "common.onnx"), signs(file_of("ddddocr", "ddddocr/charsets.py"))
    model, runtime = elman.io.onnx.load(path), session(path)
    differences, right, alike = [], 0, 0
    for text in texts.split():
        x = picture(text)
        logits, _ = model(x)  # [T, 1, V]
        theirs = runtime.run(None, {"input1": x})[0]
        differences.append(difference(logits, theirs))
        said, read = ("".join(known[sign] for sign in ctc_decode(found[:, 0])) for found in (logits, theirs))
        right += said.lower() == text.lower()  # it makes little of capitals
        alike += said == read
        print(f"{text:>16}  {said}")
    taken = in_turn(lambda: model(x), lambda: runtime.run(None, {"input1": x}), samples=20)
    far = [max(column) for column in zip(*differences, strict=True)]
    told = f"{right} of {len(differences)} texts are read right, {alike} alike"
    compared = Compared(f"{path.name}, a picture of {x.shape[-1]} columns", *far, *taken, told)
    print(compared)
    return [compared]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", nargs="?", default=TEXTS)
    main(parser.parse_args().texts)
