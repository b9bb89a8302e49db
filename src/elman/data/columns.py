"""Columns of a table as arrays: read by the optional library pyarrow, and refused where a value is missing."""

import importlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from elman.corpus import shown
from elman.errors import DataError, ElmanError, MissingLibraryError, SettingError, one_line
from elman.gates import Array

Table = Any  # the library is optional, so its types are not there to name
Choose = Callable[[list[str]], list[str]]

PLAIN, DENSEST = 2**26, 1000
"""So many bytes a column may unpack to without a look at the ratio, which equal values alone exceed."""


class Columns:
    """The columns of a table that were asked for, without nulls, each with as many rows.

    Raises `DataError` for a file that cannot be read, has no rows, lacks a column, or has a null in one; `SettingError` for
    another suffix, `MissingLibraryError`.
    """

    def __init__(self, name: str, path: Path, columns: Iterable[str]) -> None:
        self.name, wanted = name, list(dict.fromkeys(columns))
        table = _read(name, path, lambda there: _chosen(name, there, wanted))
        self.rows: int = table.num_rows
        if not self.rows:
            raise DataError(f"{name} has no rows")
        self._columns = {column: self._whole(column, table.column(column)) for column in wanted}

    def _whole(self, column: str, values: Any) -> Any:
        """A column without nulls, its values in place of numbers that stand for them. Raises `DataError`."""
        if values.null_count:
            row = int(np.flatnonzero(values.is_null().to_numpy())[0])
            what = f"{values.null_count:,} null{'s' * (values.null_count > 1)}, the first in row {row}, counted from 0"
            raise DataError(f"{self.name}: column {column!r} has {what}; fill or drop such rows first")
        return values.cast(values.type.value_type) if _types().is_dictionary(values.type) else values

    def is_text(self, column: str) -> bool:
        """Whether a column holds text."""
        kind, types = self._columns[column].type, _types()
        return bool(types.is_string(kind) or types.is_large_string(kind))

    def numbers(self, column: str) -> Array:
        """A column of numbers or truth values, `[rows]`. Raises `DataError`, also for what is not finite."""
        values, types = self._columns[column], _types()
        if not any(is_kind(values.type) for is_kind in (types.is_integer, types.is_floating, types.is_boolean)):
            raise DataError(f"{self.name}: column {column!r} is of type {values.type}; numbers are wanted")
        array: Array = values.to_numpy()
        bad = np.flatnonzero(~np.isfinite(array))
        if bad.size:
            raise DataError(f"{self.name}: column {column!r} is {array[bad[0]]} in row {bad[0]}, counted from 0")
        return array

    def encoded(self, column: str) -> tuple[Array, list[Any]]:
        """Numbers `[rows]` from 0 that stand for the values of a column, and these, in the order in which they come."""
        encoded = self._columns[column].dictionary_encode().unify_dictionaries()
        codes = np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks])
        return codes.astype(np.int64), encoded.chunk(0).dictionary.to_pylist()


def _library(module: str) -> ModuleType:
    try:
        return importlib.import_module(f"pyarrow{module}")
    except ImportError:
        raise MissingLibraryError('tables need the library pyarrow: pip install "elman[tables]"') from None


def _types() -> ModuleType:
    return _library(".types")


def _chosen(name: str, there: list[str], wanted: list[str]) -> list[str]:
    """The columns that are wanted. Raises `DataError` for those that are not there, or there twice."""
    missing = [column for column in wanted if column not in there]
    if missing:
        columns, known = (", ".join(map(repr, names)) for names in (missing, there))
        raise DataError(f"{name} has no column {columns}; its columns are {known}")
    twice = [column for column in wanted if there.count(column) > 1]
    if twice:
        raise DataError(f"{name} has {there.count(twice[0])} columns {twice[0]!r}; names that are read stand for one")
    return wanted


def _read(name: str, path: Path, choose: Choose) -> Table:
    """Some columns of a table, in the format that the suffix says."""
    read = FORMATS.get(path.suffix.lower())
    if read is None:
        raise SettingError(f"{name}: tables are {', '.join(FORMATS)}; this ends in {path.suffix!r}")
    if not path.is_file():
        raise DataError(f"{name}: {'a folder, not a table' if path.is_dir() else 'no such file'}")
    arrow = _library("")
    try:
        table = read(path, choose)
        table.validate(full=True)  # the library reads memory astray in a damaged one, and looks only where it is told
        return table
    except ElmanError:
        raise
    except (OSError, ValueError, MemoryError, arrow.ArrowException) as error:
        raise DataError(f"{name} cannot be read as {path.suffix.lower()} ({one_line(str(error))})") from None


def _parquet(path: Path, choose: Choose) -> Table:
    with _library(".parquet").ParquetFile(path, memory_map=True) as file:
        columns, rows = choose(file.schema_arrow.names), file.metadata.num_rows
        if 8 * rows * len(columns) > max(PLAIN, DENSEST * path.stat().st_size):
            raise DataError(f"{shown(path)} claims {rows:,} rows in {path.stat().st_size:,} bytes; write it as .arrow")
        return file.read(columns)


def _arrow(path: Path, choose: Choose) -> Table:
    """Files of record batches (Feather is one), and streams of them, which have the same suffix."""
    arrow, ipc = _library(""), _library(".ipc")
    with arrow.memory_map(str(path)) as file:
        try:
            table = ipc.open_file(file).read_all()
        except arrow.ArrowInvalid:
            file.seek(0)
            table = ipc.open_stream(file).read_all()
        return table.select(choose(table.schema.names))


def _separated(delimiter: str) -> Callable[[Path, Choose], Table]:
    def read(path: Path, choose: Choose) -> Table:
        csv = _library(".csv")
        options = csv.ParseOptions(delimiter=delimiter)
        with csv.open_csv(path, parse_options=options) as begin:
            columns = choose(begin.schema.names)
        return csv.read_csv(path, parse_options=options, convert_options=csv.ConvertOptions(include_columns=columns))

    return read


FORMATS = {
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".feather": _arrow,
    ".csv": _separated(","),
    ".tsv": _separated("\t"),
}
