"""Arrays and tables as sequences: values against literal loops over what was written, and the words of every error."""

import csv
import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data import Padded, Streams, load_arrays, load_table
from elman.errors import DataError, MissingLibraryError, SettingError, ShapeError
from messages import raises

RNG = np.random.default_rng(0)
X, TOKENS = RNG.normal(size=(3, 5, 2)), RNG.integers(0, 9, (3, 5))


def equal(found, wanted) -> bool:
    return len(found) == len(wanted) and all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (X, list(X)),
        (X[0], [X[0]]),
        (TOKENS, list(TOKENS)),
        (TOKENS[0], [TOKENS[0]]),
        (TOKENS.astype(np.uint8), list(TOKENS)),
    ],
)
def test_an_array_is_one_sequence_or_many(tmp_path, array, wanted):
    np.save(tmp_path / "x.npy", array)
    found = load_arrays(tmp_path / "x.npy")
    assert equal(found.sequences, wanted)
    assert all(isinstance(x, np.memmap) for x in found.sequences)
    assert (found.targets, found.names, len(found)) == (None, (), len(wanted))
    np.savez(tmp_path / "x.npz", x=array)
    assert equal(load_arrays(str(tmp_path / "x.npz")).sequences, wanted)


@pytest.mark.parametrize("targets", [TOKENS, X, TOKENS[:, 0], X[:, 0]], ids=["[N, T]", "[N, T, O]", "[N]", "[N, O]"])
@pytest.mark.parametrize("x", [X, TOKENS], ids=["features", "tokens"])
def test_padded_arrays_are_cut_at_their_lengths(tmp_path, x, targets):
    np.savez_compressed(tmp_path / "x.npz", x=x, lengths=[2, 5, 1], targets=targets)
    found = load_arrays(tmp_path / "x.npz")
    assert equal(found.sequences, [x[0, :2], x[1], x[2, :1]])
    of_steps = targets.shape[1:2] == (5,)
    assert equal(found.targets, [targets[0, :2], targets[1], targets[2, :1]] if of_steps else targets)
    batch = Padded(found.sequences, found.targets, batch=3).take()
    assert sorted(batch.lengths) == [1, 2, 5]
    assert batch.targets.shape == ((3, *targets.shape[1:]))


def test_one_sequence_of_a_npz_has_its_targets(tmp_path):
    np.savez(tmp_path / "x.npz", x=X[0], targets=TOKENS[0])
    found = load_arrays(tmp_path / "x.npz")
    assert equal(found.targets, [TOKENS[0]])
    batch = Streams(found.sequences[0], batch=1, length=5, targets=found.targets[0]).take()
    assert (batch.x.tolist(), batch.targets.tolist()) == ([X[0].tolist()], [TOKENS[0].tolist()])
    np.savez(tmp_path / "once.npz", x=X[0], targets=3)
    assert load_arrays(tmp_path / "once.npz").targets.tolist() == [3]


def test_named_sequences_keep_their_names_and_targets(tmp_path):
    arrays = {"b": X[0], "a": X[1, :2], "b.targets": TOKENS[0], "a.targets": TOKENS[1, :2]}
    np.savez(tmp_path / "x.npz", **arrays)
    found = load_arrays(tmp_path / "x.npz")
    assert found.names == ("b", "a")
    assert equal(found.sequences, [X[0], X[1, :2]])
    assert equal(found.targets, [TOKENS[0], TOKENS[1, :2]])
    assert repr(found) == "Sequences(2 of 2 to 5 steps, features, targets a step)"
    np.savez(tmp_path / "once.npz", **arrays | {"b.targets": 1, "a.targets": 0})
    assert load_arrays(tmp_path / "once.npz").targets.tolist() == [1, 0]
    np.savez(tmp_path / "none.npz", b=TOKENS[0], a=TOKENS[1])
    assert repr(load_arrays(tmp_path / "none.npz")) == "Sequences(2 of 5 to 5 steps, tokens, no targets)"


class Harm:
    """What a pickle would run."""

    def __reduce__(self):
        return (os.mkdir, ("harmed",))


def test_pickles_are_never_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    objects, fix = np.array([Harm(), None], object), "save numbers of one shape, or a .npz with an array for each sequence"
    np.save("x.npy", objects)
    np.savez("x.npz", a=X[0], b=objects)
    for name in ("x.npy", "x.npz"):
        with raises(DataError, f"{name} holds Python objects, which are pickled; opening these runs code: {fix}"):
            load_arrays(name)
    with open("pickled.npy", "wb") as file:
        pickle.dump(Harm(), file)
    said = "pickled.npy is neither a .npy nor a .npz; a pickle is not opened, since that runs what it holds"
    with raises(DataError, said):
        load_arrays("pickled.npy")
    assert not os.path.exists("harmed")


SHAPES = "tokens (integers) [N] or [N, T], or features (floats) [T, I] or [N, T, I] are wanted"
ARRAYS = {
    f"x.npz: x is float64 (4); {SHAPES}": (ShapeError, {"x": np.ones(4)}),
    f"x.npz: x is int64 (1, 1, 1); {SHAPES}": (ShapeError, {"x": np.ones((1, 1, 1), int)}),
    f"x.npz: x is <U1 (2); {SHAPES}": (ShapeError, {"x": np.array(["a", "b"])}),
    "x.npz has x, and labels, y; beside x stand targets and lengths, and nothing else":
        (DataError, {"x": X, "y": X, "labels": X}),
    "x.npz: lengths are int64 (2); integers (3) are wanted, one a sequence": (ShapeError, {"x": X, "lengths": [1, 2]}),
    "x.npz: length 6 of sequence 1 is outside 0 to 5, the number of steps": (DataError, {"x": X, "lengths": [1, 6, 2]}),
    "x.npz: targets are (2), x has 3 sequences; as many are wanted": (ShapeError, {"x": X, "targets": [1, 2]}),
    "x.npz: targets are (), x has 3 sequences; as many are wanted": (ShapeError, {"x": X, "targets": 1}),
    "x.npz: 'a' is (3, 5, 2); one sequence is wanted, or call it x": (ShapeError, {"a": X}),
    f"x.npz: 'a' is float64 (); {SHAPES}": (ShapeError, {"a": 1.0}),
    "x.npz: 'b' and 'b.targets' go together; only one of them is there":
        (DataError, {"a": X[0], "b": X[1], "a.targets": 1}),
    "x.npz: 'c' and 'c.targets' go together; only one of them is there":
        (DataError, {"a": X[0], "a.targets": 1, "c.targets": 1}),
    "x.npz: targets have neither as many steps as their sequences, nor all the same shape":
        (ShapeError, {"a": X[0], "b": X[1], "a.targets": np.ones(5), "b.targets": np.ones(4)}),
    "x.npz holds no sequence: a.targets": (DataError, {"a.targets": 1}),
    "x.npz holds no sequence: it is empty": (DataError, {}),
}  # fmt: skip


@pytest.mark.parametrize("message", ARRAYS)
def test_arrays_that_do_not_fit(tmp_path, monkeypatch, message):
    monkeypatch.chdir(tmp_path)
    error, arrays = ARRAYS[message]
    np.savez("x.npz", **arrays)
    with raises(error, message):
        load_arrays("x.npz")


def test_files_that_are_no_arrays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with raises(DataError, "x.npy cannot be read: No such file or directory"):
        load_arrays("x.npy")
    np.save("x.npy", X)
    np.savez_compressed("x.npz", x=X)
    for name in ("x.npy", "x.npz"):
        with open(name, "rb") as file:
            whole = file.read()
        spoiled = [whole[:200] + bytes([255 - whole[200]]) + whole[201:]] if name == "x.npz" else []
        for data in (whole[:20], whole[:150], whole[:-9], *spoiled):
            with open(name, "wb") as file:
                file.write(data)
            with pytest.raises(DataError, match=rf"^{name} is damaged \("):
                load_arrays(name)


# ---------------------------------------------------------------- tables

ROWS = [  # interleaved, as sensors write them
    ("b", 0.5, 1, "run", 0.1), ("a", 2.0, 3, "walk", 0.2), ("b", 4.25, 5, "rest", 0.3), ("b", 6.0, 7, "run", 0.4),
    ("a", 8.5, 9, "walk", 0.5), ("c", 10.0, 11, "walk", 0.6),
]  # fmt: skip
NAMES = ("who", "x", "y", "gait", "speed")


def table(**replaced) -> pa.Table:
    columns = dict(zip(NAMES, map(list, zip(*ROWS, strict=True)), strict=True))
    return pa.table({"unread": [None] * len(ROWS), **columns} | replaced)


def streamed(data, path):
    with pa.ipc.new_stream(path, data.schema) as file:
        file.write_table(data, max_chunksize=2)


def filed(data, path):
    with pa.ipc.new_file(path, data.schema) as file:
        file.write_table(data, max_chunksize=2)


def separated(delimiter):
    def write(data, path):
        with open(path, "w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, delimiter=delimiter)
            rows.writerow(data.column_names)
            rows.writerows(
                zip(*(["" if v is None else v for v in data[n].to_pylist()] for n in data.column_names), strict=True)
            )

    return write


WRITERS = {
    "t.parquet": lambda data, path: pa.parquet.write_table(data, path, row_group_size=2),
    "t.arrow": filed,
    "stream.arrow": streamed,
    "t.feather": lambda data, path: pa.feather.write_feather(data, path, compression="lz4"),
    "t.csv": separated(","),
    "t.tsv": separated("\t"),
}


@pytest.fixture(params=WRITERS)
def path(request, tmp_path):
    WRITERS[request.param](table(), str(tmp_path / request.param))
    return tmp_path / request.param


def test_rows_become_sequences(path):
    found = load_table(path, ["x", "y"], "gait", by="who")
    assert found.names == ("b", "a", "c")
    wanted = {name: [[row[1], row[2]] for row in ROWS if row[0] == name] for name in found.names}
    assert [x.tolist() for x in found.sequences] == list(wanted.values())
    assert found.labels == ("rest", "run", "walk")
    gaits = {name: [found.labels.index(row[3]) for row in ROWS if row[0] == name] for name in found.names}
    assert [y.tolist() for y in found.targets] == list(gaits.values())
    assert found.sequences[0].dtype == np.float64
    assert found.targets[0].dtype == np.int64
    batch = Padded(found.sequences, found.targets, batch=3).take()
    assert sorted(batch.lengths.tolist()) == [1, 2, 3]


def test_targets_of_every_kind(path):
    def targets(target, **more):
        return load_table(path, "x", target, by="who", **more).targets

    assert [y.tolist() for y in targets("speed")] == [[[0.1], [0.3], [0.4]], [[0.2], [0.5]], [[0.6]]]
    assert [y.tolist() for y in targets("y")] == [[1, 5, 7], [3, 9], [11]]
    assert [y.tolist() for y in targets(["y", "speed"])][1] == [[3, 0.2], [9, 0.5]]
    assert [y.tolist() for y in targets("gait", labels=["walk", "rest", "run"])] == [[2, 1, 2], [0, 0], [0]]
    whole = load_table(path, "x", "y")
    assert ([x.ravel().tolist() for x in whole.sequences], whole.names) == ([[row[1] for row in ROWS]], ())
    assert [y.tolist() for y in whole.targets] == [[row[2] for row in ROWS]]
    assert load_table(path, ["y"]).targets is None


def test_a_target_once_a_sequence(tmp_path):
    file = tmp_path / "t.parquet"
    pa.parquet.write_table(
        table(gait=["run", "walk", "run", "run", "walk", "rest"], speed=[0.5, 2.0, 0.5, 0.5, 2.0, 7.0]), file
    )
    found = load_table(file, ["x"], "gait", by="who", once=True)
    assert (found.targets.tolist(), found.labels) == ([1, 2, 0], ("rest", "run", "walk"))
    assert load_table(file, ["x"], "speed", by="who", once=True).targets.tolist() == [[0.5], [2.0], [7.0]]
    assert repr(found) == "Sequences(3 of 1 to 3 steps, features, targets a sequence)"
    rows = "rows 0 and 2, counted from 0, are of one sequence and differ in 'y'"
    with raises(DataError, f"{file}: {rows}; once=True wants a target for each sequence"):
        load_table(file, ["x"], "y", by="who", once=True)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.floats(-9, 9), st.integers(0, 3)), min_size=1, max_size=30), st.integers(1, 7)
)
def test_any_table_is_grouped_as_a_loop_groups_it(tmp_path_factory, rows, chunk):
    file, wanted = tmp_path_factory.getbasetemp() / "any.arrow", {}
    for key, x, y in rows:
        wanted.setdefault(key, []).append((x, y))
    keys, x, y = zip(*rows, strict=True)
    data = pa.table({"key": keys, "x": x, "y": y})
    with pa.ipc.new_file(str(file), data.schema) as out:
        out.write_table(data, max_chunksize=chunk)
    found = load_table(file, "x", "y", by="key")
    assert found.names == tuple(map(str, wanted))
    got = [[*zip(x.ravel().tolist(), y.tolist(), strict=True)] for x, y in zip(found.sequences, found.targets, strict=True)]
    assert got == list(wanted.values())


def test_types_of_columns(tmp_path):
    def dtype(kind, target=False):
        pa.parquet.write_table(pa.table({"x": pa.array([1, 0]).cast(kind)}), tmp_path / "t.parquet")
        found = load_table(tmp_path / "t.parquet", "x", "x" if target else None)
        return (found.targets if target else found.sequences)[0].dtype

    floats = {"float": "float32", "double": "float64", "int8": "float32", "bool": "float32", "int64": "float64"}
    assert {kind: dtype(kind) for kind in floats} == floats
    targets = {"uint8": "int64", "bool": "int64", "float": "float32"}
    assert {kind: dtype(kind, target=True) for kind in targets} == targets


def test_categories_are_their_values(tmp_path):
    """Columns that are stored as numbers of a dictionary, one dictionary a chunk."""
    whole, coded = table(), ("who", "gait")
    parts = [{n: whole[n].slice(at, 3) for n in NAMES} for at in (0, 3)]
    first, second = (pa.table({n: c.dictionary_encode() if n in coded else c for n, c in part.items()}) for part in parts)
    data = pa.concat_tables([first, second])
    pa.parquet.write_table(data, tmp_path / "t.parquet")
    pa.parquet.write_table(table(), tmp_path / "plain.parquet")
    one, other = (load_table(tmp_path / name, "x", "gait", by="who") for name in ("t.parquet", "plain.parquet"))
    assert (one.names, one.labels) == (other.names, other.labels)
    assert equal(one.targets, other.targets)


KNOWN = "'unread', 'who', 'x', 'y', 'gait', 'speed'"
TABLES = {
    f"t.parquet has no column 'z', 'w'; its columns are {KNOWN}": lambda: load_table("t.parquet", ["x", "z"], "w"),
    f"t.parquet has no column 'whom'; its columns are {KNOWN}": lambda: load_table("t.parquet", ["x"], by="whom"),
    "t.parquet: column 'unread' has 6 nulls, the first in row 0, counted from 0; fill or drop such rows first":
        lambda: load_table("t.parquet", ["x", "unread"]),
    "null.parquet: column 'x' has 1 null, the first in row 4, counted from 0; fill or drop such rows first":
        lambda: load_table("null.parquet", ["x"]),
    "null.parquet: column 'who' has 2 nulls, the first in row 1, counted from 0; fill or drop such rows first":
        lambda: load_table("null.parquet", ["y"], by="who"),
    "null.parquet: column 'speed' is inf in row 3, counted from 0": lambda: load_table("null.parquet", "y", "speed"),
    "t.parquet: column 'gait' is of type string; numbers are wanted": lambda: load_table("t.parquet", ["gait"]),
    "t.parquet: column 'gait' is 'rest' in row 2, counted from 0; labels are 'run', 'walk'":
        lambda: load_table("t.parquet", "x", "gait", labels=["run", "walk"]),
    "t.parquet: labels are for one target of text; 'y' is none": lambda: load_table("t.parquet", "x", "y", labels=["run"]),
    "twice.parquet has 2 columns 'x'; names that are read stand for one": lambda: load_table("twice.parquet", "x"),
    "empty.parquet has no rows": lambda: load_table("empty.parquet", "x"),
    "none.csv: no such file": lambda: load_table("none.csv", "x"),
    "folder.csv: a folder, not a table": lambda: load_table("folder.csv", "x"),
}  # fmt: skip


@pytest.mark.parametrize("message", TABLES)
def test_tables_that_do_not_fit(tmp_path, monkeypatch, message):
    monkeypatch.chdir(tmp_path)
    os.mkdir("folder.csv")
    files = {
        "t": table(),
        "null": table(x=[1, 2, 3, 4, None, 6], who=["a", None, "b", None, "c", "d"], speed=[1.0, 2, 3, np.inf, 5, 6]),
        "twice": pa.table([[1], [2]], names=["x", "x"]),
        "empty": table().slice(0, 0),
    }
    for name, data in files.items():
        pa.parquet.write_table(data, f"{name}.parquet")
    with raises(DataError, message):
        TABLES[message]()


def test_other_suffixes_and_no_features(tmp_path):
    with raises(SettingError, "t.xls: tables are .parquet, .arrow, .feather, .csv, .tsv; this ends in '.xls'"):
        load_table("t.xls", "x")
    with raises(SettingError, "t.csv: there are no features; the name of one column or more is wanted"):
        load_table("t.csv", [])


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather", ".csv"])
def test_files_that_are_no_tables(tmp_path, suffix):
    file = tmp_path / f"t{suffix}"
    file.write_bytes(b"\xff\x00 none\n1,2,3\n4\n")
    with pytest.raises(DataError, match=rf"^{re.escape(str(file))} cannot be read as {re.escape(suffix)} \([^\n]+\)$"):
        load_table(file, "x")


def test_numbers_of_a_csv_may_become_fractions_late(tmp_path):
    """After the megabyte from which the types of columns are guessed first."""
    file = tmp_path / "t.csv"
    file.write_text("x\n" + "1\n" * 700_000 + "2.5\n")
    assert load_table(file, "x").sequences[0][-1, 0] == 2.5


def test_without_the_library(monkeypatch, tmp_path):
    (tmp_path / "t.csv").write_text("x\n1\n")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with raises(MissingLibraryError, 'tables need the library pyarrow: pip install "elman[tables]"'):
        load_table(tmp_path / "t.csv", "x")


def test_the_library_is_imported_only_when_used(tmp_path):
    (tmp_path / "t.csv").write_text("x\n1\n")
    code = (
        "import sys; from elman.data import load_table; assert 'pyarrow' not in sys.modules;"
        f"load_table({str(tmp_path / 't.csv')!r}, 'x'); assert 'pyarrow' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
