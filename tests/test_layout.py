"""The floor plan: who may import whom, what `import elman` brings, which names are public, how long a file may be."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import elman
import elman.cells

SOURCE = Path(elman.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
ROOT = Path(__file__).resolve().parent.parent

FLOOR_PLAN = (
    "interrupts", "errors", "arrays", "shapes", "gates", "nodes", "rooms", "packs", "notation", "graph", "values",
    "declare", "trace", "replay", "cells", "random_cells", "passes", "targets", "io", "states", "trees", "lanes", "repeats",
    "program", "checks", "gradient_checks", "padding", "streams", "pools", "flow", "recompute", "overlapping", "layer",
    "rnn", "stack", "pooled", "describe", "corpus", "subwords", "text", "data", "sampling", "scoring", "head", "network",
    "decoding", "ctc", "labellings", "transcription", "generation", "proof", "storage", "model", "suspects",
    "checkpoints", "files", "foreign", "layer_order", "io.pytorch_run", "io.pytorch_parts", "io.pytorch", "io.keras",
    "io.jax", "io.onnx", "importing", "export", "encoder_decoder", "losses", "updates", "optim", "schedules", "journal",
    "origin", "bindings", "rounds", "adopted", "training_checks", "trainer", "train", "locks", "runs", "estimators", "viz",
    "testing", "bench", "cli",
)  # fmt: skip
"""Every file or folder imports only what stands before it; a folder may also import within itself.

A folder within a folder, with a point in its name, has a place of its own.
"""

DOOR = ("__init__", "__main__")
"""These two stand below all others."""

LINES = 310
"""About 300."""

DESIGN = (
    "cell", "weight", "bias", "state", "tanh", "sigmoid", "relu", "softmax", "exp", "cells", "RNN", "Stack", "Bidirectional",
    "check_cell", "Model", "load", "io",
)  # fmt: skip
"""Names that checks of others use, as the design lists them."""

TO_COME: set[str] = set()
"""Names of that list that later versions bring."""

NOT_ON_IMPORT = (
    "torch", "jax", "tensorflow", "keras", "onnx", "onnxruntime", "sklearn", "matplotlib", "tensorboardX", "pandas", "scipy",
    "tokenizers", "pyarrow", "h5py", "flax", "equinox", "typer", "click", "rich", "pydantic", "hypothesis", "pytest",
)  # fmt: skip


def place(path: Path) -> str:
    """The entry of the floor plan in which a file stands."""
    return _entry(path.relative_to(SOURCE).with_suffix("").parts)


def _entry(parts: tuple[str, ...]) -> str:
    return ".".join(parts[:2]) if ".".join(parts[:2]) in FLOOR_PLAN else parts[0]


def imported(source: str) -> set[str]:
    """Entries of the floor plan that a source imports, anywhere in it; `elman` itself is called `__init__`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports name the package"
            whole = {f"elman.{alias.name}" for alias in node.names if (SOURCE / alias.name).is_dir() or _is_file(alias.name)}
            named = {"elman"} if not whole or len(whole) < len(node.names) else set()
            inside = {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
            found |= (whole | named) if node.module == "elman" else inside
    ours = [name.split(".") for name in found if name.partition(".")[0] == "elman"]
    return {_entry(tuple(parts[1:])) if len(parts) > 1 else "__init__" for parts in ours}


def _is_file(name: str) -> bool:
    return (SOURCE / f"{name}.py").is_file()


def wrong(entry: str, source: str) -> set[str]:
    """What a source in an entry of the floor plan imports although it stands below it, or nowhere."""
    above = set(FLOOR_PLAN) if entry in DOOR else set(FLOOR_PLAN[: FLOOR_PLAN.index(entry)])
    return imported(source) - above - ({entry} if (SOURCE / entry.replace(".", "/")).is_dir() else set())


def test_every_file_has_a_place():
    assert {place(path) for path in FILES} - set(DOOR) <= set(FLOOR_PLAN)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_upward(path):
    below = wrong(place(path), path.read_text(encoding="utf-8"))
    if place(path) in ("cli", *DOOR):
        below -= {"__init__"}  # the version
    assert not below, f"{place(path)} stands above {', '.join(sorted(below))}"


@pytest.mark.parametrize(
    ("entry", "source", "below"),
    [
        ("gates", "from elman.graph import Graph", {"graph"}),
        ("gates", "def f():\n    import elman.rnn", {"rnn"}),
        ("graph", "from elman.gates import GATES", set()),
        ("passes", "from elman.passes.merge import merge", set()),
        ("passes", "from elman.targets import target", {"targets"}),
        ("text", "from elman import subwords", set()),
        ("subwords", "from elman import text", {"text"}),
        ("io", "from elman.io.onnx import load", {"io.onnx"}),
        ("states", "from elman.io import onnx", {"io.onnx"}),
        ("io.onnx", "from elman.io.onnx.reading import read", set()),
        ("io.onnx", "from elman.encoder_decoder import EncoderDecoder", {"encoder_decoder"}),
        ("train", "from elman import load", {"__init__"}),
        ("train", "from elman import optim, load", {"__init__"}),
        ("states", "from elman.states import State", {"states"}),
        ("states", "import numpy, json", set()),
        ("io", "from elman.io import maps", set()),
        ("io", "from elman.io import pytorch", {"io.pytorch"}),
        ("io", "import elman.io.pytorch", {"io.pytorch"}),
        ("io.pytorch", "from elman.io import maps, safetensors", set()),
        ("io.pytorch", "from elman.model import Model", set()),
        ("model", "from elman.io.pytorch import load", {"io.pytorch"}),
    ],
)
def test_a_wrong_import_is_noticed(entry, source, below):
    assert wrong(entry, source) == below


def test_contributing_tells_the_same_floor_plan():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = re.search(r"Imports point upward\*\*.*?: (`interrupts`.*?)\.\s+A\s+folder", text, re.DOTALL)
    assert tuple(re.findall(r"`([\w.]+)`", listed[1])) == FLOOR_PLAN


def test_public_names_are_sorted_and_there():
    """Constants first, then classes, then functions, as the linter sorts them."""
    assert list(elman.__all__) == sorted(elman.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert len(set(elman.__all__)) == len(elman.__all__)
    for name in elman.__all__:
        assert hasattr(elman, name), name


def test_public_names_hold_those_of_the_design():
    assert set(DESIGN) - TO_COME - {"io"} <= set(elman.__all__)
    assert not TO_COME & set(elman.__all__), "it has come: take it out of TO_COME"
    for name in ("elman", "gru", "gru_reset_before", "lstm"):
        assert isinstance(getattr(elman.cells, name), elman.Cell)


def test_everything_imported_at_the_door_is_public():
    """`__init__` brings the public names and nothing else, submodules aside."""
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    brought = {alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert brought == set(elman.__all__) - {"__version__"}


def test_import_pulls_in_no_framework():
    code = "import elman, sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    path = {"PYTHONPATH": str(SOURCE.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"elman", "numpy"} <= loaded
    assert not loaded & set(NOT_ON_IMPORT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_long_files_say_why(path):
    source = path.read_text(encoding="utf-8")
    if source.count("\n") > LINES:
        assert "Longer than" in (ast.get_docstring(ast.parse(source)) or ""), f"{source.count(chr(10))} lines, and no reason"
