"""Identifiers of C: what the equations call a value, unless C or the program has the name already."""

import re
from collections.abc import Iterable

KEYWORDS = """
    auto break case char const continue default do double else enum extern float for goto if inline int long register
    restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
    alignas alignof and asm bool catch class compl concept constexpr decltype delete dynamic_cast explicit export false
    friend mutable namespace new noexcept not nullptr operator or private protected public requires static_assert
    static_cast template this thread_local throw true try typeid typename using virtual wchar_t xor
"""
"""Words of C, and those of C++, where the header may be included too."""

LIBRARY = """
    acos asin atan atan2 ceil copysign cos cosh erf exp exp2 expm1 fabs fdim floor fma fmax fmin fmod frexp hypot ilogb
    ldexp lgamma log log10 log1p log2 logb lrint lround modf nan nearbyint pow remainder rint round scalbn sin sinh sqrt tan
    tanh tgamma trunc j0 j1 jn y0 y1 yn gamma signgam
"""
"""Functions of math.h, each of which has a form that ends in f and one that ends in l."""

MACROS = "NAN INFINITY HUGE_VAL EOF NULL stdin stdout stderr printf errno main linux unix I E PI M_PI M_E BUFSIZ"
"""Names that headers or compilers may have made something else of."""

TAKEN = frozenset(f"{KEYWORDS} {MACROS}".split()) | {name + end for name in LIBRARY.split() for end in ("", "f", "l")}


def identifier(name: str) -> str:
    """A name in the letters that every compiler of C99 reads: what is not ASCII by its number.

    >>> identifier("α_1"), identifier("_x"), identifier("2nd")
    ('u3b1_1', 'v_x', 'v2nd')
    """
    text = "".join(c if re.match(r"\w", c, re.ASCII) else f"u{ord(c):x}" for c in name)
    return text if re.match("[A-Za-z]", text) else f"v{text}"


class Names:
    """The names of a scope, none of them twice and none that an outer scope or C itself has, nor one of those to avoid."""

    def __init__(self, outer: "Names | None" = None, avoid: Iterable[str] = ()) -> None:
        self._outer, self._avoid, self._taken = outer, frozenset(avoid), set[str]()

    def has(self, name: str) -> bool:
        """Whether a name stands for something here."""
        return name in TAKEN or name in self._taken or (self._outer is not None and self._outer.has(name))

    def claim(self, wanted: str) -> str:
        """The name, with underscores behind it while it is taken; from now on it is.

        >>> names = Names()
        >>> names.claim("int"), names.claim("h"), names.claim("h")
        ('int_', 'h', 'h_')
        """
        name = identifier(wanted)
        while self.has(name) or name in self._avoid:
            name += "_"
        self._taken.add(name)
        return name
