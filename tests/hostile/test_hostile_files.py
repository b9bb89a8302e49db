"""Hostile files: each is refused in a line, within a second and with little memory, or opens; nothing else comes of any."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from elman.errors import ElmanError

pytest.importorskip("onnx")
pytest.importorskip("h5py")
pytest.importorskip("pyarrow")

import make
from make import HOSTILE, LARGEST_KEPT, kept, place
from readers import READERS, valid

from forging import SOURCE

SECONDS, BYTES = 1.0, 200 * 2**20
HERE = Path(__file__).parent
LINUX = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is told by /proc")


def reports(folder, files):
    """What a process of its own tells of files, by kind and name; it must live to the end."""
    good = {kind: str(valid(kind, _folder(folder / "good" / kind))) for kind in {kind for kind, _ in files}}
    lines = "".join(json.dumps([kind, str(path)]) + "\n" for (kind, _), path in files.items())
    call = [sys.executable, "-X", "faulthandler", HERE / "alone.py", os.path.realpath(folder), json.dumps(good)]
    path = os.pathsep.join([SOURCE, str(HERE), str(HERE.parent)])
    more = {"PYTHONPATH": path, "ELMAN_TARGET": "numpy", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        call, input=lines, capture_output=True, text=True, cwd=_folder(folder / "empty"), env=os.environ | more,
        timeout=120, check=False,
    )  # fmt: skip
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"{list(files)[len(told)]}: {done.stderr[-2000:]}"
    assert list((folder / "empty").iterdir()) == []
    return dict(zip(files, told, strict=True))


def _folder(path):
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Every hostile file, by kind and name."""
    folder, files = tmp_path_factory.mktemp("hostile"), {}
    for kind, cases in HOSTILE.items():
        for name, (write, _) in cases.items():
            files[kind, name] = place(folder, kind, name)
            write(files[kind, name])
    return files


@pytest.fixture(scope="module")
def found(made, tmp_path_factory):
    """What comes of each."""
    return reports(next(iter(made.values())).parent, made)


CASES = [(kind, name) for kind, cases in HOSTILE.items() for name in cases]


@LINUX
@pytest.mark.parametrize(("kind", "name"), CASES, ids=map(" ".join, CASES))
def test_a_hostile_file_does_no_harm(found, kind, name):
    report, told = found[kind, name], HOSTILE[kind][name][1]
    assert report["harm"] == []
    assert report["raised"] is None or report["ours"], f"{report['raised']}: {report['message']}"
    if told is not None:
        assert report["raised"] is not None, "it opens"
        assert told in report["message"]
        assert len(report["message"].splitlines()) == 1
        assert len(report["message"]) < 3000
    assert "MemoryError" not in report["causes"], "what it claims was asked of the system"
    assert report["seconds"] < SECONDS
    assert report["bytes"] < BYTES


def test_kept_files_are_those_that_are_made(made):
    """`python tests/hostile/make.py` writes them."""
    there = {path.name: path.read_bytes() for path in (HERE / "files").iterdir()}
    again = {made[kind, name].name: made[kind, name].read_bytes() for kind, name, _ in kept()}
    assert there == {name: data for name, data in again.items() if len(data) <= LARGEST_KEPT}


def test_a_reader_that_asks_for_what_is_claimed_is_noticed(tmp_path, monkeypatch):
    """The limits are limits: a file is slow, another large, a third is no file of ours."""
    script = tmp_path / "readers.py"
    script.write_text(
        "from types import SimpleNamespace as Reader\n"
        "def slow(path): sum(range(2**23))\n"
        "def large(path): bytes(b'x' * 3 * 2**26)\n"
        "def hungry(path): bytearray(2**31)\n"
        "def harmful(path): open('canary', 'w').close()\n"
        "READERS = {read.__name__: Reader(read=read) for read in (slow, large, hungry, harmful)}\n"
    )
    lines = "".join(json.dumps([kind, "x"]) + "\n" for kind in ("slow", "large", "hungry", "harmful"))
    call = [sys.executable, HERE / "alone.py", str(tmp_path / "elsewhere"), "{}"]
    (tmp_path / "alone.py").write_text((HERE / "alone.py").read_text())
    call[1] = tmp_path / "alone.py"
    done = subprocess.run(call, input=lines, capture_output=True, text=True, cwd=tmp_path, check=True, timeout=60)
    slow, large, hungry, harmful = map(json.loads, done.stdout.splitlines())
    assert 0.05 < slow["seconds"] < 5
    assert large["bytes"] > 150 * 2**20
    assert (hungry["raised"], hungry["ours"]) == ("MemoryError", False)
    assert harmful["harm"] == [f"writes {os.path.realpath(tmp_path / 'canary')}"]


# ---------------------------------------------------------------- every kind, cut off

OPEN_ENDED = ("csv", "log")
"""Kinds whose files may end with any line."""


@pytest.mark.parametrize("kind", READERS)
def test_a_file_that_is_cut_off_is_refused(tmp_path, kind):
    good = valid(kind, tmp_path)
    READERS[kind].read(good)
    whole = good.read_bytes()
    for length in range(0, len(whole), 100):
        good.write_bytes(whole[:length])
        started = time.process_time()
        if kind in OPEN_ENDED:
            with suppress(ElmanError):
                READERS[kind].read(good)
        else:
            with pytest.raises(ElmanError) as caught:
                READERS[kind].read(good)
            assert len(str(caught.value).splitlines()) == 1, length
        assert time.process_time() - started < SECONDS, length


def test_every_reader_has_hostile_files():
    assert set(READERS) - set(HOSTILE) == {"csv", "compressed", "weights"}
    assert make.FOLDER == HERE
