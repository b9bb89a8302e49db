"""What can go wrong, as a small tree: everything raised on purpose is an `ElmanError`.

Each class also inherits the built-in exception that a caller would expect, so `except ValueError` keeps working.
"""


class ElmanError(Exception):
    """The root: one line that says what was asked, the sizes, the mismatch and the fix."""


class CellError(ElmanError, ValueError):
    """The equations of a cell do not fit: sizes that disagree, a state that changes size, an operation without a gate."""


class GraphError(ElmanError, ValueError):
    """A graph is not well formed: an unknown gate, an input that comes later, a shape that its gate does not give."""


class ShapeError(ElmanError, ValueError):
    """An array has the wrong rank or size."""


class ProductError(ShapeError):
    """Sizes that do not meet in a product with a declared parameter; what else wants equal sizes may be meant so."""


class DataError(ElmanError, ValueError):
    """A value is not allowed: not finite, empty, or of the wrong kind."""


class TokenError(ElmanError, ValueError):
    """A token or symbol lies outside the vocabulary."""


class TextError(ElmanError, ValueError):
    """Text cannot be read, or is not UTF-8."""


class ModelFileError(ElmanError, ValueError):
    """A model file is missing, truncated, damaged, or not one of ours."""


class CheckpointError(ElmanError, ValueError):
    """A checkpoint, or the log of a run, is missing, truncated, damaged, or of another training."""


class StreamError(ElmanError, ValueError):
    """A stream is closed, or is not in the pool."""


class SettingError(ElmanError, ValueError):
    """A setting is out of its range, or its name is unknown."""


class MissingLibraryError(ElmanError, ImportError):
    """An optional library is needed and not installed."""


def one_line(text: str, longest: int = 1000) -> str:
    """A text that may quote a file, as part of a message: what does not print is written out."""
    line = " ".join(text[: 4 * longest].split())
    line = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)
    return line if len(line) <= longest else f"{line[:longest]} ..."
