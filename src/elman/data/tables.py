"""Sequences from tables: rows are steps, columns are features, and a column says which rows are a sequence."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from elman.corpus import shown
from elman.data.columns import Columns
from elman.data.sequences import Sequences
from elman.errors import DataError, SettingError
from elman.gates import Array


def load_table(
    path: str | os.PathLike[str],
    features: str | Sequence[str],
    target: str | Sequence[str] | None = None,
    by: str | None = None,
    *,
    once: bool = False,
    labels: Sequence[str] | None = None,
) -> Sequences:
    r"""Sequences `[T, I]` of the columns `features` of a .parquet, .arrow, .feather, .csv or .tsv file.

    Rows with one value in the column `by` are a sequence, in the order of the rows; sequences come in the order of their
    first rows. Without `by` the table is one. A target column of integers or truth values gives tokens `[T]`, and so does
    text, for which `labels` tell the tokens (else all that are there, sorted); a column of floats, or several, give numbers
    `[T, O]`. With `once` the target is the same in all rows of a sequence, and given once.

    Raises `DataError` for a file that cannot be read, columns that are not there or no numbers, nulls, NaN and infinity, and
    `labels` that lack one; `SettingError` for another suffix; `MissingLibraryError` without pyarrow.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "walks.csv")
    ...     _ = path.write_text("who,x,y,gait\na,0.5,1,walk\nb,2,3,run\na,4,5,walk\n")
    ...     found = load_table(path, ["x", "y"], "gait", by="who", once=True)
    >>> found.names, [x.tolist() for x in found.sequences], found.targets.tolist(), found.labels
    (('a', 'b'), [[[0.5, 1.0], [4.0, 5.0]], [[2.0, 3.0]]], [1, 0], ('run', 'walk'))
    """
    name, wanted = shown(path), _listed(features)
    targets, key = [] if target is None else _listed(target), [] if by is None else [by]
    if not wanted:
        raise SettingError(f"{name}: there are no features; the name of one column or more is wanted")
    columns = Columns(name, Path(path), [*wanted, *targets, *key])
    codes, values = (np.zeros(columns.rows, np.int64), []) if by is None else columns.encoded(by)
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    x, names = tuple(np.split(_features(columns, wanted)[order], starts[1:])), tuple(map(str, values))
    if not targets:
        return Sequences(x, None, names)
    y, known = _targets(columns, targets, labels)
    if once:
        _check_constant(columns, targets, y, order, starts)
        return Sequences(x, y[order][starts], names, known)
    return Sequences(x, tuple(np.split(y[order], starts[1:])), names, known)


def _listed(columns: str | Sequence[str]) -> list[str]:
    return [columns] if isinstance(columns, str) else list(columns)


def _features(columns: Columns, wanted: list[str]) -> Array:
    """Columns side by side as floats, `[rows, I]`."""
    found = np.stack([columns.numbers(column) for column in wanted], axis=1)
    return found if found.dtype.kind == "f" else found.astype(np.result_type(found.dtype, np.float32))


def _targets(columns: Columns, wanted: list[str], labels: Sequence[str] | None) -> tuple[Array, tuple[str, ...]]:
    """Targets of all rows, `[rows]` tokens or `[rows, O]` numbers, and what tokens stand for. Raises `DataError`."""
    if len(wanted) == 1 and columns.is_text(wanted[0]):
        return _tokens(columns, wanted[0], labels)
    if labels is not None:
        raise DataError(f"{columns.name}: labels are for one target of text; {', '.join(map(repr, wanted))} is none")
    if len(wanted) > 1:
        return _features(columns, wanted), ()
    found = columns.numbers(wanted[0])
    return (found[:, None] if found.dtype.kind == "f" else found.astype(np.int64)), ()


def _tokens(columns: Columns, column: str, labels: Sequence[str] | None) -> tuple[Array, tuple[str, ...]]:
    codes, values = columns.encoded(column)
    known = tuple(sorted(values) if labels is None else labels)
    unknown = [value for value in values if value not in known]
    if unknown:
        row = int(np.argmax(codes == values.index(unknown[0])))
        what = f"column {column!r} is {unknown[0]!r} in row {row}, counted from 0"
        raise DataError(f"{columns.name}: {what}; labels are {', '.join(map(repr, known))}")
    token_of = {label: token for token, label in enumerate(known)}
    return np.array([token_of[value] for value in values])[codes], known


def _check_constant(columns: Columns, targets: list[str], y: Array, order: Array, starts: Array) -> None:
    """Raises `DataError` where a target is not the same in all rows of a sequence."""
    sizes = np.diff(np.append(starts, len(order)))
    first = np.repeat(order[starts], sizes)  # for each row, in order, the first row of its sequence
    changed = np.flatnonzero((y[order] != y[first]).reshape(len(order), -1).any(1))
    if changed.size:
        rows = f"rows {first[changed[0]]} and {order[changed[0]]}, counted from 0, are of one sequence"
        what = f"and differ in {', '.join(map(repr, targets))}"
        raise DataError(f"{columns.name}: {rows} {what}; once=True wants a target for each sequence")
