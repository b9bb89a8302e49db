"""Vocabularies of text files: learnt piece by piece, and equal to those of the whole text."""

from elman.data.pieces import Paths, Pieces
from elman.text import Vocabulary


def learn_vocabulary(paths: Paths, kind: str = "characters", size: int | None = None) -> Vocabulary:
    r"""The vocabulary of a kind that the text of files and folders gives, in bounded memory: counts, and no text, are held.

    Files are read as by `tokenise`; kinds and sizes are those of `Vocabulary.of_kind`. Raises `TextError` for what cannot be
    read or is not UTF-8, `DataError` for no text, `SettingError`.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("a.txt", "b.txt"):
    ...         _ = pathlib.Path(folder, name).write_text("to be, or not to be\n", encoding="utf-8")
    ...     learn_vocabulary(folder, "words").symbols
    (b' ', b'be', b'to', b'\n', b',', b'not', b'or', b'\xef\xbf\xbd')
    """
    pieces = Pieces(paths, kind)
    pieces.check()
    return Vocabulary.of_kind(kind, pieces, size)
