"""Compiled programs on disk, and what happens where there is no compiler at all.

Programs here are small maps and cells of few units, so that compiling one takes a quarter of a second.
"""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from elman import cell as make_cell
from elman import cells, tanh, weight
from elman.passes import Plan, lower, schedule
from elman.targets import forced
from elman.targets.llvm import engine, machine, store
from elman.targets.llvm import program as llvm_program
from elman.targets.llvm.program import LlvmProgram

if not machine.machines():
    pytest.skip("no fused multiply-add on this machine", allow_module_level=True)

MACHINES = tuple(machine.machines())
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty store for every test; forcing a machine is up to the test."""
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "store"))
    monkeypatch.delenv(forced.VARIABLE, raising=False)
    return tmp_path / "store"


@pytest.fixture
def compilations(monkeypatch):
    """How often machine code is made."""
    made, object_code = [], engine.object_code
    monkeypatch.setattr(engine, "object_code", lambda *given: made.append(1) or object_code(*given))
    return made


def plan_of(cell=cells.dense, *, tokens=False, keeping=(), **sizes: int) -> Plan:
    sizes = sizes or {"input": 3, "hidden": 5}
    return schedule(lower(cell.graph(**sizes), merging=False, tokens=tokens, keeping=keeping))


def output(plan: Plan | None = None, dtype: str = "float32", rows: int = 2) -> np.ndarray:
    """What a program gives that is made anew, as in a new process."""
    plan = plan or plan_of()
    made, rng = LlvmProgram(plan, dtype), np.random.default_rng(0)
    parameters = {
        name: rng.standard_normal(tuple(map(int, plan.graph.nodes[index].shape))).astype(dtype)
        for name, index in plan.graph.leaves("parameter").items()
    }
    x = rng.standard_normal((2, rows, 3)).astype(dtype)
    states = {n: np.zeros((rows, *plan.graph.nodes[i].shape), dtype) for n, i in plan.graph.leaves("state").items()}
    outcome = made.run(made.prepare(parameters), {"x": x}, states)
    return next(iter(outcome.outputs.values()))


def python(script: str, *, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own: `auto` is what it is for users there."""
    given = {k: v for k, v in os.environ.items() if k not in ("ELMAN_TARGET", forced.VARIABLE)}
    given |= {"PYTHONPATH": str(ROOT / "src"), **environment}
    command = [sys.executable, "-W", "error", "-c", dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=given, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


# ---------------------------------------------------------------- keys


class Caught(Exception):
    """Carries the key of an entry."""


def key(plan: Plan, dtype: str = "float32", single: bool = False) -> str:
    """The key under which a program would be looked for; nothing is compiled."""

    def catch(key, source, machine):
        raise Caught(key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "compiled", catch)
        with pytest.raises(Caught) as caught:
            LlvmProgram(plan, dtype).code_for(1 if single else 2)
    return str(caught.value)


@make_cell
def one(x, h, *, w=weight("hidden", "input"), u=weight("hidden", "hidden")):
    return tanh(w @ x + u @ h)


@make_cell
def other(x, h, *, w=weight("hidden", "input"), u=weight("hidden", "hidden")):
    return tanh(w @ x - u @ h)


def test_a_key_is_of_all_that_a_program_is_made_from(monkeypatch):
    keys = {
        "plain": key(plan_of()),
        "graph": key(plan_of(one)),
        "equations": key(plan_of(other)),
        "input": key(plan_of(input=4, hidden=5)),
        "hidden": key(plan_of(input=3, hidden=6)),
        "type": key(plan_of(), "float64"),
        "rows": key(plan_of(), single=True),
        "tokens": key(plan_of(tokens=True)),
        "kept": key(plan_of(cells.readout, keeping=("logits",), output=5, hidden=3)),
        "not kept": key(plan_of(cells.readout, output=5, hidden=3)),
    }
    for name in MACHINES[1:]:
        with forced.machine(name):
            keys[name] = key(plan_of())
    with monkeypatch.context() as patch:
        patch.setattr(llvm_program, "emitter", lambda: "another emitter")
        keys["emitter"] = key(plan_of())
    with monkeypatch.context() as patch:
        patch.setattr(llvm_program, "llvmlite", SimpleNamespace(__version__="another"))
        keys["llvmlite"] = key(plan_of())
    assert len(set(keys.values())) == len(keys)
    assert key(plan_of()) == keys["plain"]


def test_a_key_is_of_the_processor():
    """A folder may be shared by machines of one name."""
    here = machine.current()
    like = machine.Machine(here.name, "another", here.features, here.bytes, here.registers)
    less = machine.Machine(here.name, here.cpu, here.features + ",-avx512vnni", here.bytes, here.registers)
    found = set()
    for each in (here, like, less):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(llvm_program, "current", lambda each=each: each)
            found.add(key(plan_of()))
    assert len(found) == 3


def test_a_key_is_of_the_plan():
    """When each gate runs is up to the passes, whose files are no part of the emitter."""
    plan = plan_of(one)
    late = Plan(plan.graph, tuple("loop" if phase == "before" else phase for phase in plan.phases), plan.shared)
    assert LlvmProgram(plan, "float32").source != LlvmProgram(late, "float32").source
    assert key(plan) != key(late)


def test_keys_and_texts_are_the_same_in_every_process():
    """Whatever order sets have there."""
    script = """
        import hashlib
        from elman import RNN, cells
        for name in ("rwkv", "lstm_layer_norm", "mlstm", "gru"):
            print(hashlib.sha256(RNN(cells.CELLS[name], input=3, hidden=5, target="llvm").source.encode()).hexdigest())
    """
    assert len({python(script, PYTHONHASHSEED=seed).stdout for seed in ("1", "2", "3")}) == 1


def test_the_emitter_is_the_code_of_the_target(tmp_path, monkeypatch):
    first = store.emitter()
    assert len(first) == 64
    assert first == store.emitter.__wrapped__()
    for path in Path(store.__file__).parent.glob("*.py"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(store, "__file__", str(tmp_path / "store.py"))
    assert store.emitter.__wrapped__() == first
    with open(tmp_path / "tiles.py", "a", encoding="utf-8") as file:
        file.write("\n")
    assert store.emitter.__wrapped__() != first


# ---------------------------------------------------------------- entries


def test_a_program_is_compiled_once(folder, compilations):
    first = output()
    assert len(compilations) == 1
    assert [path.suffix for path in folder.iterdir()] == [store.SUFFIX]
    np.testing.assert_array_equal(output(), first)
    assert len(compilations) == 1
    np.testing.assert_array_equal(output(rows=1).shape, (2, 1, 5))  # one example has code of its own
    assert len(compilations) == 2
    output(dtype="float64")
    assert len(compilations) == 3
    assert len(store.store.entries()) == 3


def test_another_process_does_not_compile():
    script = """
        import numpy as np
        from elman import RNN, cells
        from elman.targets.llvm import engine

        made, object_code = [], engine.object_code
        engine.object_code = lambda *given: made.append(1) or object_code(*given)
        rnn = RNN(cells.gru, input=3, hidden=5, target="llvm")
        x = np.random.default_rng(0).standard_normal((4, 6, 3), np.float32)
        y, _ = rnn(x)
        print(len(made))
        print(y.tobytes().hex())
    """
    first, second = (python(script).stdout.split() for _ in range(2))
    assert (first[0], second[0]) == ("1", "0")
    assert first[1] == second[1]


DAMAGES = {
    "empty": lambda data, other: b"",
    "one byte": lambda data, other: data[:1],
    "only its hash": lambda data, other: data[:32],
    "cut": lambda data, other: data[:-1],
    "cut in half": lambda data, other: data[: len(data) // 2],
    "longer": lambda data, other: data + b"\0",
    "a bit of the code": lambda data, other: data[:500] + bytes([data[500] ^ 1]) + data[501:],
    "a bit of the hash": lambda data, other: bytes([data[0] ^ 128]) + data[1:],
    "zeros": lambda data, other: bytes(len(data)),
    "text": lambda data, other: b"not a program\n" * 1000,
    "without its hash": lambda data, other: data[32:],
    "another program's": lambda data, other: other,
}


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """Two entries, each by the name of its file, and what the first gives."""
    folder = tmp_path_factory.mktemp("entries")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(store.VARIABLE, str(folder))
        y = output()
        [first] = folder.iterdir()
        output(plan_of(input=3, hidden=6))
        [second] = set(folder.iterdir()) - {first}
        return first.name, first.read_bytes(), second.read_bytes(), y


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_whole_entry_is_passed_by_and_replaced(folder, compilations, entries, damage):
    name, data, foreign, y = entries
    folder.mkdir()
    (folder / name).write_bytes(DAMAGES[damage](data, foreign))
    np.testing.assert_array_equal(output(), y)
    assert len(compilations) == 1
    assert [path.name for path in folder.iterdir()] == [name]
    np.testing.assert_array_equal(output(), y)
    assert len(compilations) == 1


def test_a_whole_entry_is_read(folder, compilations, entries):
    name, data, _, y = entries
    folder.mkdir()
    (folder / name).write_bytes(data)
    np.testing.assert_array_equal(output(), y)
    assert not compilations


def test_a_folder_in_the_place_of_an_entry(folder, compilations, entries):
    name, *_, y = entries
    (folder / name).mkdir(parents=True)
    for _ in range(2):
        np.testing.assert_array_equal(output(), y)
    assert len(compilations) == 2
    assert [path.name for path in folder.iterdir()] == [name]


def test_a_link_to_nowhere_in_the_place_of_an_entry(folder, compilations, entries):
    name, *_, y = entries
    folder.mkdir()
    (folder / name).symlink_to(folder / "nowhere")
    for _ in range(2):
        np.testing.assert_array_equal(output(), y)
    assert len(compilations) == 1
    assert [path.name for path in folder.iterdir()] == [name]


# ---------------------------------------------------------------- folders


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch, compilations):
    (tmp_path / "file").write_text("no folder")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        monkeypatch.setenv(store.VARIABLE, str(place))
        assert output().shape == (2, 2, 5)
    assert len(compilations) == 2
    assert store.store.entries() == []
    assert store.store.clear() == 0
    assert (tmp_path / "file").read_text() == "no folder"


@pytest.mark.parametrize("failing", ["mkdir", "mkstemp", "write", "replace"])
def test_a_folder_that_cannot_be_written(folder, monkeypatch, failing):
    """Whatever step fails, the program runs and no file is left."""
    put_down, fdopen = [], os.fdopen

    def fail(*_, **__):
        put_down.append(failing)
        raise PermissionError(13, "Permission denied")

    class Full:
        """A file on a disk without room."""

        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        write = fail

    if failing == "mkdir":
        monkeypatch.setattr(Path, "mkdir", fail)
    elif failing == "mkstemp":
        monkeypatch.setattr(store.tempfile, "mkstemp", fail)
    elif failing == "write":
        monkeypatch.setattr(store.os, "fdopen", lambda *given: Full(fdopen(*given)))
    else:
        monkeypatch.setattr(store.os, "replace", fail)
    assert output().shape == (2, 2, 5)
    monkeypatch.undo()
    assert put_down
    assert not folder.exists() or list(folder.iterdir()) == []


def test_an_entry_is_written_beside_its_place_and_moved(folder, monkeypatch):
    """No reader meets half of it: until the move there is nothing under its name."""
    seen, replace = [], os.replace

    def watched(source, target):
        seen.append((Path(source).parent, Path(source).suffix, Path(target).exists()))
        replace(source, target)

    monkeypatch.setattr(store.os, "replace", watched)
    output()
    assert seen == [(folder, ".part", False)]


def test_only_its_owner_reads_the_folder(folder):
    output()
    assert folder.stat().st_mode & 0o077 == 0
    [entry] = folder.iterdir()
    assert entry.stat().st_mode & 0o077 == 0


def test_no_store(tmp_path, monkeypatch, compilations):
    monkeypatch.setenv(store.VARIABLE, "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert store.store.folder is None
    for _ in range(2):
        output()
    assert len(compilations) == 2
    assert list(tmp_path.iterdir()) == []
    assert store.store.entries() == []
    assert store.store.clear() == 0


def test_the_store_of_a_user(monkeypatch, tmp_path):
    from platformdirs import user_cache_path

    monkeypatch.delenv(store.VARIABLE)
    assert store.store.folder == user_cache_path("elman")


def test_entries_are_listed_and_cleared(folder, compilations):
    output()
    output(dtype="float64")
    (folder / "mine.txt").write_text("not of the store")
    assert [path.suffix for path in store.store.entries()] == [store.SUFFIX] * 2
    assert store.store.clear() == 2
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
    output()
    assert len(compilations) == 3


def test_processes_that_compile_the_same_at_once(folder):
    """All give the same, one entry is left, and nothing else."""
    script = dedent("""
        import numpy as np
        from elman import RNN, cells
        print(RNN(cells.lstm, input=3, hidden=5, target="llvm")(np.ones((2, 4, 3)))[0].tobytes().hex())
    """)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", script]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(3)]
    found = {process.communicate(timeout=120)[0] for process in running}
    assert [process.returncode for process in running] == [0] * 3
    assert len(found) == 1
    assert [path.suffix for path in folder.iterdir()] == [store.SUFFIX]


# ---------------------------------------------------------------- without a compiler

HIDDEN = """
    import sys
    import warnings

    class Hidden:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] == "llvmlite":
                raise {error}

    sys.meta_path.insert(0, Hidden())
    import numpy as np
    import elman
    from elman import RNN, cells

    def runs(**settings):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for cell in (cells.gru, cells.elman):
                rnn = RNN(cell, input=3, hidden=5, **settings)
                y, _ = rnn(np.ones((2, 4, 3)))
                assert y.shape == (2, 4, 5)
                rnn.gradients(np.ones((4, 3)), np.ones((4, 5)))
            elman.Model(8, 5).loss([1, 2, 3], [2, 3, 4])
        return told
"""

MISSING = HIDDEN.format(error='ModuleNotFoundError("No module named llvmlite")')
BROKEN = HIDDEN.format(error='OSError("Could not find/load shared object file: libllvmlite.so")')
TOLD_ONCE = """
    first = runs()
    assert [w.category for w in first] == [RuntimeWarning], first
    text = str(first[0].message)
    assert "NumPy" in text and "llvmlite" in text and "\\n" not in text, text
    assert not runs()
    assert "def loop" in RNN(cells.gru, input=3, hidden=5).source
"""


def test_without_llvmlite_all_runs_on_numpy_and_that_is_said_once():
    python(MISSING + TOLD_ONCE)


def test_with_an_llvmlite_that_cannot_be_loaded_all_runs_on_numpy():
    """A wheel of another system, a library that is missing: llvmlite raises OSError as it is imported."""
    python(BROKEN + TOLD_ONCE)


def test_without_llvmlite_a_target_that_was_asked_for_is_missed():
    script = """
        for name, ask in {"argument": "llvm", "environment": "auto"}.items():
            try:
                RNN(cells.gru, input=3, hidden=5, target=ask)
            except elman.MissingLibraryError as error:
                assert "llvmlite" in str(error) and "\\n" not in str(error), error
            else:
                raise AssertionError(name)
    """
    python(MISSING + script, ELMAN_TARGET="llvm")


def test_without_llvmlite_what_needs_it_says_so():
    script = """
        def inside():
            with elman.machine("avx2"):
                pass

        def bench():
            import elman.bench

        for ask, told in {inside: "machine('avx2'): nothing is compiled", bench: "elman.bench: the machine cannot"}.items():
            for _ in range(2):
                try:
                    ask()
                except elman.MissingLibraryError as error:
                    assert str(error).startswith(told), error
                    assert "llvmlite is missing (" in str(error) and "\\n" not in str(error), error
                else:
                    raise AssertionError(told)
    """
    python(MISSING + script)
    python(BROKEN + script)


def test_the_warning_is_about_the_line_of_the_user():
    script = """
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            elman.Model(8, 5)
        assert [w.filename for w in told] == ["<string>"], [(w.filename, w.lineno) for w in told]
    """
    python(MISSING + script)


def test_without_llvmlite_nobody_is_warned_who_asked_for_numpy():
    python(MISSING + "    assert not runs()\n", ELMAN_TARGET="numpy")


NO_FMA = """
    import sys
    import warnings
    import numpy as np
    import elman
    from elman import RNN, cells
    from elman.targets.llvm import machine

    machine.machines = lambda: {}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(2):
            rnn = RNN(cells.gru, input=3, hidden=5)
            assert rnn(np.ones((2, 4, 3)))[0].shape == (2, 4, 5)
    assert [w.category for w in told] == [RuntimeWarning], told
    assert "fused multiply-add" in str(told[0].message)
    assert "def loop" in rnn.source
    try:
        RNN(cells.gru, input=3, hidden=5, target="llvm")
    except elman.ElmanError as error:
        assert "\\n" not in str(error), error
    else:
        raise AssertionError
"""


def test_without_a_fused_multiply_add_all_runs_on_numpy():
    python(NO_FMA)


def test_without_a_fused_multiply_add_a_forced_machine_changes_nothing():
    """A variable that is set for all machines of a site must not stop the one that cannot follow it."""
    python(NO_FMA, ELMAN_MACHINE="avx2")


def test_importing_the_library_imports_no_compiler():
    script = """
        import sys
        import elman, elman.cells, elman.testing, elman.io, elman.targets
        from elman import RNN, cells
        loaded = {name.split(".")[0] for name in sys.modules}
        assert not loaded & {"llvmlite", "platformdirs"}, loaded
        RNN(cells.gru, input=3, hidden=5, target="numpy")
        assert "llvmlite" not in sys.modules
        RNN(cells.gru, input=3, hidden=5, target="auto")
        assert "llvmlite" in sys.modules
    """
    python(script)


def test_a_target_is_what_users_get():
    script = """
        import numpy as np
        from elman import RNN, cells
        rnn = RNN(cells.gru, input=3, hidden=5)
        assert rnn.source.startswith("; ModuleID"), rnn.source[:100]
        assert "vfmadd" in rnn.assembly
    """
    if not machine.current().name.startswith("avx"):
        script = script.replace("vfmadd", "fmla")
    python(script)


def test_what_a_machine_may_be_called(monkeypatch):
    from elman import SettingError

    for name in MACHINES:
        with forced.machine(name):
            assert machine.current().name == name
        monkeypatch.setenv(forced.VARIABLE, name)
        assert machine.current().name == name
    monkeypatch.setenv(forced.VARIABLE, "")
    assert machine.current().name == MACHINES[0]
    monkeypatch.setenv(forced.VARIABLE, "sparc")
    told = f"ELMAN_MACHINE: machine 'sparc' is unknown here; it is one of {', '.join(MACHINES)}"
    with pytest.raises(SettingError, match=told):
        machine.current()
    with forced.machine(MACHINES[-1]):
        assert machine.current().name == MACHINES[-1]
    monkeypatch.delenv(forced.VARIABLE)
    with pytest.raises(SettingError, match="machine 'vax' is unknown here"), forced.machine("vax"):
        pass
    assert machine.current().name == MACHINES[0]
