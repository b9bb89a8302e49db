"""`elman predict`: what a model expects after each symbol of a text."""

from typing import Annotated

import typer

from elman.cli import shared
from elman.errors import SettingError
from elman.text import Vocabulary


def predict(
    text: shared.TextArgument = None,
    file: shared.FileOption = None,
    model: shared.ModelOption = None,
    top: Annotated[int, typer.Option(help="How many likeliest symbols to tell.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a position.")] = False,
) -> None:
    """Run a model forward over text: at each position what it expects next, and how surprised it was (in bits)."""
    from elman.viz import terminal

    if top < 1:
        raise SettingError(f"--top {top} must be 1 or more")
    net = shared.opened(model)
    vocabulary = shared.vocabulary_of(net)
    content = shared.content_of(text, file, as_bytes=vocabulary.kind == "bytes")
    tokens = vocabulary.encode(content)
    rows = terminal.positions(net, vocabulary, tokens, top)
    if as_json:
        for row in rows:
            shared.print_json(row)
        return
    console = shared.console()
    bits = terminal.table(console, vocabulary, tokens, rows)
    if vocabulary.unknown is not None and (unknown := int((tokens == vocabulary.unknown).sum())):
        of = f"of {len(tokens):,} symbol{'s' * (len(tokens) != 1)}"
        console.print(f"{unknown:,} {of} {'is' if unknown == 1 else 'are'} unknown to the vocabulary of this model")
    console.print(_summary(bits, int(tokens[0]), content, vocabulary))


def _summary(bits: list[float], first: int, content: str | bytes, vocabulary: Vocabulary) -> str:
    """Mean bits and perplexity; the first symbol was not predicted, so its length does not count."""
    if not bits:
        return "one symbol is followed by nothing, so there is no surprise to average"
    unit, symbol = ("byte", vocabulary.decode_bytes([first])) if isinstance(content, bytes) else ("character", "")
    length = len(content) - len(symbol or vocabulary.decode([first]))
    mean = f"{sum(bits) / max(1, length):.3f} bits per {unit}"
    return f"{mean}, perplexity {2 ** (sum(bits) / len(bits)):.2f} per symbol, over {len(bits):,} symbols"
