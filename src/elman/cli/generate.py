"""`elman generate`: a text, continued."""

import os
from typing import Annotated

import typer

from elman.cli import shared


def generate(
    prompt: Annotated[str, typer.Option(help="Text to continue.")] = "def ",
    length: Annotated[int, typer.Option(help="Symbols to add.")] = 300,
    temperature: Annotated[float, typer.Option(help="Below 1 safer, above 1 wilder; 0: always the likeliest.")] = 0.7,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest only.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the fewest whose probabilities sum to p.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same text; without it, another each time.")] = None,
    model: shared.ModelOption = None,
) -> None:
    """Continue a text, symbol by symbol."""
    net = shared.opened(model)
    vocabulary = shared.vocabulary_of(net)
    seed = int.from_bytes(os.urandom(4)) if seed is None else seed
    tokens = vocabulary.encode(shared.typed(prompt, "--prompt", as_bytes=vocabulary.kind == "bytes"))
    drawn = net.sample(tokens, length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    decoder = vocabulary.decoder()
    print(prompt, end="", flush=True)
    for token in drawn:
        print(decoder.push(token), end="", flush=True)
    print(decoder.finish())
