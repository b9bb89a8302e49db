"""What a person sees: predictions on a terminal, training as it goes. Here: what both need, and nothing to import."""


def plain(text: str) -> str:
    r"""Text that moves no cursor: what cannot be printed is written with a backslash, line ends aside.

    >>> print(plain("a\x1b[2Jb"))
    a\x1b[2Jb
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
