"""What a person sees: predictions, values and cells on a terminal, training as it goes. Here: what all need of text."""

import re
import textwrap

TOGETHER = "\u00a0"
"""A blank at which no line ends."""

GLUED = re.compile(r"(?<=\d) (?=[^\W\d])| (?== )|(?<= =) ")
"""Blanks at which none should: between a number and what it counts, and around an equals sign."""


def plain(text: str) -> str:
    r"""Text that moves no cursor: what cannot be printed is written with a backslash, line ends aside.

    >>> print(plain("a\x1b[2Jb"))
    a\x1b[2Jb
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def hung(text: str, width: int) -> str:
    """Text whose long lines go on below, four columns further in.

    >>> print(hung("  one, two, 3 three, f = 4", 16))
      one, two,
          3 three,
          f = 4
    """
    lines = []
    for line in GLUED.sub(TOGETHER, text).split("\n"):
        inside = " " * (len(line) - len(line.lstrip(" ")) + 4)
        wrapper = textwrap.TextWrapper(max(width, len(inside) + 8), subsequent_indent=inside, break_on_hyphens=False)
        wrapper.expand_tabs = wrapper.replace_whitespace = False
        lines += wrapper.wrap(line) or [""]
    return "\n".join(lines).replace(TOGETHER, " ")
