"""Silero VAD, a voice activity detector (MIT), from the ONNX files of its package, beside ONNX Runtime.

Convolutions over pieces of 32 ms, an LSTM of 128 that hears one of them after another, and a probability of speech.
Needs `pip install ".[onnx]" onnxruntime` and `pip install --no-deps silero-vad`: its files need nothing of what it asks for.
`silero_vad.onnx` has a net for each sampling rate in a branch of its own, `op18_ifless` its LSTM written out node by node.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from beside import Compared, difference, file_of, in_turn
from runtime import session

import elman

FILES = {
    "silero_vad.onnx": (16000, 8000),
    "silero_vad_16k_op15.onnx": (16000,),
    "silero_vad_op18_ifless.onnx": (16000, 8000),
    "silero_vad_half.onnx": (16000,),
    "silero_vad_openvino_16k.onnx": (16000,),
}
"""One piece a call, at these samples a second."""

SEQUENCE = "silero_vad_16k_sequence.onnx"
"""Any number of pieces a call."""

VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (570, 840, 2410), (530, 1840, 2480))
"""Formants in Hz, of a male voice (Peterson and Barney 1952)."""


def voice(rate: int, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Pulses of a wandering pitch through three resonances, a vowel of another kind every 0.2 s."""
    time = np.arange(int(rate * seconds)) / rate
    phase = np.cumsum(120 + 20 * np.sin(2 * np.pi * 1.5 * time)) / rate
    pulses = np.diff(np.floor(phase), prepend=0) + 0.02 * rng.normal(size=len(time))
    span, sound = np.arange(int(0.03 * rate)) / rate, np.zeros(len(time))
    for at in range(0, len(time), rate // 5):
        answer = sum(np.exp(-250 * span) * np.sin(2 * np.pi * f * span) for f in VOWELS[at // (rate // 5) % len(VOWELS)])
        piece = pulses[at : at + rate // 5] * np.hanning(rate // 5)[: len(time) - at]
        sound[at : at + rate // 5] += np.convolve(piece, answer)[: len(piece)]
    return 0.3 * sound / np.abs(sound).max()


def pieces(rate: int, seconds: float) -> np.ndarray:
    """Silence, voice, silence and noise; each piece of 32 ms begins with the last 4 ms of the one before."""
    rng, part = np.random.default_rng(0), int(rate * seconds / 4)
    quiet = [0.001 * rng.normal(size=part) for _ in "ab"]
    sound = np.concatenate([quiet[0], voice(rate, seconds / 4, rng), quiet[1], 0.02 * rng.normal(size=part)])
    hop, before = rate // 125 * 4, rate // 250
    sound = np.concatenate([np.zeros(before), sound[: len(sound) // hop * hop]])
    return np.lib.stride_tricks.sliding_window_view(sound, before + hop)[::hop].astype(np.float32)


def piece_by_piece(path: Path, rate: int, seconds: float) -> Compared:
    """A piece a call, and the state from one call to the next."""
    runtime, sound = session(path), pieces(rate, seconds)[:, None]
    known = {"sr": np.array(rate)} if "sr" in [entry.name for entry in runtime.get_inputs()] else {}
    model = elman.io.onnx.load(path, constants=known, state={"state": "stateN"})
    state, theirs = None, {"state": np.zeros((2, 1, 128), np.float32), **known}
    heard, wanted = [], []
    for piece in sound:
        y, state = model(piece, state)
        expected, theirs["state"] = runtime.run(None, {"input": piece, **theirs})
        heard.append(y.item())
        wanted.append(expected.item())
    given = {"input": sound[-1], **theirs}
    taken = in_turn(lambda: model(sound[-1], state), lambda: runtime.run(None, given))
    return Compared(f"{path.name}, {rate // 1000} kHz, a piece", *difference(heard, wanted), *taken, parts(heard))


def whole(path: Path, seconds: float) -> Compared:
    """All pieces in one call; its states are those of the LSTM, and found by themselves."""
    model, runtime, sound = elman.io.onnx.load(path), session(path), pieces(16000, seconds)
    given = {"input": sound, "h": np.zeros((1, 1, 128), np.float32), "c": np.zeros((1, 1, 128), np.float32)}
    heard, _ = model(sound)
    taken = in_turn(lambda: model(sound), lambda: runtime.run(None, given), samples=20)
    compared = difference(heard, runtime.run(None, given)[0])
    return Compared(f"{path.name}, 16 kHz, {len(sound)} pieces", *compared, *taken, parts(heard.ravel()))


def parts(heard: Sequence[float]) -> str:
    """The mean probability of speech in each quarter of what was heard."""
    means = " ".join(f"{quarter.mean():.2f}" for quarter in np.array_split(np.array(heard), 4))
    return f"speech in silence, voice, silence, noise: {means}"


def main(seconds: float = 8.0) -> list[Compared]:
    """Compare, show, and return what was found for each file."""
    found = []
    for name, rates in FILES.items():
        found += [piece_by_piece(file_of("silero-vad", name), rate, seconds) for rate in rates]
    found.append(whole(file_of("silero-vad", SEQUENCE), seconds))
    print(*found, sep="\n")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0)
    main(parser.parse_args().seconds)
