"""Nets that other projects ship, from the files of their packages: the scripts of examples/real, run and held to a mark."""

import importlib.util
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
import pytest

import elman

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "real"
NEEDS = {
    "pronunciation": ("g2p_en",),
    "recurrent_part": ("silero-vad", "torch"),
    "text_in_pictures": ("ddddocr", "onnxruntime", "pillow"),
    "voice_activity": ("silero-vad", "onnxruntime"),
}
SHORT = {
    "pronunciation": "recurrent softmax gated",
    "recurrent_part": 40,
    "text_in_pictures": "elman 8462",
    "voice_activity": 2.0,
}
pytestmark = pytest.mark.peers


def installed(package):
    try:
        return files(package) is not None
    except PackageNotFoundError:
        return False


def script(name, monkeypatch):
    """A script as a module, with what it imports from beside it. Skips where a package is not installed."""
    missing = [package for package in NEEDS[name] if not installed(package)]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")
    monkeypatch.syspath_prepend(FOLDER)
    spec = importlib.util.spec_from_file_location(f"real_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "in_turn", lambda ours, theirs, samples=0: (ours(), theirs()) and (1.0, 1.0))
    return module


def far(found):
    """The largest difference, as a share of the largest number (or of 1)."""
    return max(compared.difference / max(1.0, compared.largest) for compared in found)


@pytest.mark.parametrize("name", NEEDS)
def test_a_net_gives_what_its_own_runtime_gives(name, monkeypatch, capsys):
    found = script(name, monkeypatch).main(SHORT[name])
    assert found
    assert far(found) <= 1e-5
    assert all(compared.largest > 0.1 for compared in found)
    assert len(capsys.readouterr().out.splitlines()) >= 2 * len(found)


def test_every_script_is_run():
    assert {path.stem for path in FOLDER.glob("*.py")} == {*NEEDS, "beside", "runtime"}


def test_words_are_said_alike(monkeypatch, capsys):
    found = script("pronunciation", monkeypatch).main("recurrent softmax gated perplexity bidirectional")
    assert found[0].told == "5 of 5 words are said alike"
    assert "recurrent  R IH0 K ER1 AH0 N T\n" in capsys.readouterr().out


def test_texts_are_read(monkeypatch, capsys):
    found = script("text_in_pictures", monkeypatch).main("elman gated a1b2c3")
    assert found[0].told == "3 of 3 texts are read right, 3 alike"
    assert "a1b2c3  a1b2c3\n" in capsys.readouterr().out


def test_a_voice_is_told_from_silence_and_noise(monkeypatch):
    """The sound is made by rule, so the marks are wide: 0.8 to 1.0 was measured for the voice, below 0.1 for all else."""
    for compared in script("voice_activity", monkeypatch).main(8.0):
        silence, voice, after, noise = map(float, compared.told.rpartition(": ")[2].split())
        assert voice > 0.6
        assert max(silence, after, noise) < 0.3


@pytest.mark.parametrize(("one", "other"), [("i", "f"), ("g", "o")])
def test_two_gates_exchanged_are_seen(one, other, monkeypatch):
    """What is held to the mark above can miss it."""
    load = elman.io.onnx.load

    def exchanged(*given, **settings):
        model = load(*given, **settings)
        for layer in model.layers:
            held = layer.parameters
            pairs = [(f"{part}{a}", f"{part}{b}") for part in "wub" for a, b in ((one, other), (other, one))]
            layer.update({to: np.array(held[of]) for to, of in pairs})
        return model

    module = script("voice_activity", monkeypatch)
    monkeypatch.setattr("elman.io.onnx.load", exchanged)
    monkeypatch.setattr(module, "FILES", {"silero_vad.onnx": (8000,)})
    assert min(compared.difference for compared in module.main(2.0)) > 1e-3
