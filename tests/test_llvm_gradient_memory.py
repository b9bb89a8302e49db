"""What a compiled gradient holds in memory: long sequences between states, and no logits. In processes of their own."""

import os

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from elman.targets.llvm.machine import machines
from test_llvm_robust import python

if not machines():
    pytest.skip("no fused multiply-add here", allow_module_level=True)
if not os.access("/proc/self/clear_refs", os.W_OK):
    pytest.skip("needs a system that tells how much memory was held since", allow_module_level=True)

SCRIPT = """
    import re
    from pathlib import Path
    import numpy as np
    from elman import Model, cells

    model = Model({symbols}, {hidden}, None, cells.{cell}, target="llvm", seed=1)
    tokens = np.random.default_rng(0).integers({symbols}, size=({rows}, {steps} + 1))
    tokens = tokens if len(tokens) > 1 else tokens[0]
    x, targets = tokens[..., :-1], tokens[..., 1:]

    def told(name):
        return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

    def held(call):
        Path("/proc/self/clear_refs").write_text("5")  # the most that was held is what is held now
        before = told("VmRSS")
        call()
        return told("VmHWM") - before

    def gradients(stop=None):
        loss, parameters, _ = model.gradients(x[..., :stop], targets[..., :stop], recompute={recompute})
        found[:] = [loss, *(float(np.abs(value).sum()) for value in parameters.values())]

    found = []
    gradients(30)  # compiled before it is measured
    model.forward_propagation(x[..., :30])
    megabytes = held(gradients)
    print(megabytes, held(lambda: model.forward_propagation(x).logits) if {forward} else 0, *found)
"""


def measured(forward: bool = False, **given: object) -> tuple[float, float, list[float]]:
    """Megabytes that gradients held at most, and forward propagation if asked; the loss, and the sum of each gradient."""
    held, plain, *numbers = map(float, python(SCRIPT.format(forward=forward, **given)).split())
    return held, plain, numbers


def test_a_hundred_thousand_steps_fit_into_a_gigabyte(tmp_path, monkeypatch):
    """lstm 256 between states; all values of all steps would be 100,000 x 256 numbers, 100 MB, for each of 8 values."""
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path))
    held, _, numbers = measured(symbols=64, hidden=256, cell="lstm", rows=1, steps=100_000, recompute=True)
    assert held < 1000, f"{held:.0f} MB"
    assert np.isfinite(numbers).all()
    assert min(numbers) > 0.0


def test_recomputation_holds_less_and_gives_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path))
    sizes = {"symbols": 16, "hidden": 128, "cell": "lstm", "rows": 1, "steps": 20_000}
    (stored, _, wanted), (less, _, found) = (measured(**sizes, recompute=again) for again in (False, True))
    assert found == wanted
    assert less < 0.6 * stored, f"{less:.0f} MB, {stored:.0f} MB"


def test_logits_are_never_held(tmp_path, monkeypatch):
    """Of 20,000 symbols at 16 x 128 steps, which would be 156 MB; so would their gradient, or the probabilities."""
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path))
    sizes = {"symbols": 20_000, "hidden": 24, "cell": "gru", "rows": 16, "steps": 128}
    held, plain, _ = measured(**sizes, recompute=False, forward=True)
    assert held < 50, f"{held:.0f} MB"
    assert plain > 150, f"{plain:.0f} MB"  # where they are asked for
