"""A framework is imported when one of its objects or files is handed in, and for nothing else, however many there are."""

import json
import os
import subprocess
import sys

import pytest

from forging import SOURCE

FRAMEWORKS = {
    "torch", "keras", "tensorflow", "jax", "flax", "equinox", "onnx", "onnxruntime", "h5py", "pandas", "sklearn", "scipy",
    "matplotlib", "pyarrow", "tokenizers", "tensorboardX",
}  # fmt: skip

STEPS = {
    "every module": (
        "import pathlib, importlib\n"
        "source = pathlib.Path(elman.__file__).parent\n"
        "for path in source.rglob('[a-z]*.py'):\n"
        "    if path.parent.name != 'estimators':  # classes of scikit-learn's\n"
        "        importlib.import_module('.'.join(path.relative_to(source.parent).with_suffix('').parts))",
        set(),
    ),
    "a model is trained, saved and opened": (
        "model = elman.Model(9, 4, vocabulary=elman.Vocabulary.characters('abcdefgh'))\n"
        "import elman.train\n"
        "settings = elman.train.Settings(batch=2, length=8, steps=2)\n"
        "list(elman.train.train(model, model.vocabulary.encode('abcdefgh' * 40), settings))\n"
        "model.save(folder + '/m.safetensors')\n"
        "elman.load(folder + '/m.safetensors').generate('ab', length=3)",
        set(),
    ),
    "weights of PyTorch": (
        "arrays = {'weight_ih_l0': np.ones((12, 3)), 'weight_hh_l0': np.ones((12, 4))}\n"
        "elman.io.pytorch.save(elman.io.pytorch.load(arrays), folder + '/w.safetensors')\n"
        "import torch_files, pathlib\n"
        "elman.io.pytorch.load(torch_files.write(pathlib.Path(folder, 'w.pt'), arrays))",
        set(),
    ),
    "arrays of NumPy": (
        "np.savez(folder + '/x.npz', x=np.ones((3, 4, 2)))\nelman.data.load_arrays(folder + '/x.npz')",
        set(),
    ),
    "a file of Keras": (
        "try: elman.io.keras.load(SELF)\nexcept elman.ElmanError: pass",
        {"h5py"},
    ),
    "a file of ONNX": ("try: elman.io.onnx.load(b'no')\nexcept elman.ElmanError: pass", {"onnx"}),
    "a program of C": ("elman.export.to_c(elman.RNN(elman.cells.gru, input=2, hidden=3), name='net')", set()),
}  # fmt: skip
"""What is done, and which frameworks that may bring."""

CODE = """
import json, sys, warnings
import numpy as np
import elman, elman.data, elman.export, elman.io.keras, elman.io.onnx, elman.io.pytorch
warnings.simplefilter("ignore")
folder, SELF, frameworks = sys.argv[1], sys.argv[2], set(json.loads(sys.argv[3]))
before = frameworks & set(sys.modules)
told = {"import": sorted(before)}
for name, code in json.loads(sys.stdin.read()).items():
    exec(code, globals())
    now = frameworks & set(sys.modules)
    told[name] = sorted(now - before)
    before = now
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def brought(tmp_path_factory):
    """What each step brings, in one process."""
    path = os.pathsep.join([SOURCE, os.path.dirname(__file__)])
    call = [sys.executable, "-c", CODE, str(tmp_path_factory.mktemp("frameworks")), __file__, json.dumps(sorted(FRAMEWORKS))]
    given = json.dumps({name: code for name, (code, _) in STEPS.items()})
    more = {"PYTHONPATH": path, "ELMAN_TARGET": "numpy"}
    done = subprocess.run(call, input=given, capture_output=True, text=True, env=os.environ | more, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return {name: set(found) for name, found in json.loads(done.stdout.splitlines()[-1]).items()}


def test_the_package_brings_none(brought):
    assert brought["import"] == set()


@pytest.mark.parametrize("step", STEPS)
def test_a_step_brings_what_it_reads_and_nothing_else(brought, step):
    assert brought[step] <= STEPS[step][1]
