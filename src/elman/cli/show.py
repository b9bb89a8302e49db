"""`elman show`: what is in a model file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from elman.cli import shared
from elman.viz import plain


def show(
    model: Annotated[Path | None, typer.Argument(help="Model file; without it, the one that comes along.")] = None,
    source: Annotated[bool, typer.Option("--source", help="Print the program made of the equations.")] = False,
    limits: Annotated[bool, typer.Option("--limits", help="Print plans with microseconds at this machine's limit.")] = False,
) -> None:
    """Tell what is in a model file: sizes, parameters, equations, vocabulary, how it was trained."""
    from elman.viz.terminal import say, symbols

    net = shared.opened(model)
    parts: tuple[Any, ...] = (*net.rnn._leaves(), net.readout)
    plans = net.rnn._plans(tokens=net.reads_tokens)
    if source:
        print(plain("\n\n".join(part.source for part in parts)))  # as it is: a line that was wrapped would not run
        return
    console = shared.console()
    if limits:
        from elman.targets import target

        target("llvm")  # or why it cannot be had, before what needs it is imported
        from elman.bench import expected

        say(console, "\n\n".join(map(expected, (*plans, net.readout.plan))))
        return
    graphs = "\n\n".join(str(part.graph) for part in parts)
    say(console, f"{net!r}\n\n{graphs}\n\nparameters")
    for name, value in net.parameters.items():
        shape, span = "x".join(map(str, value.shape)), f"between {value.min():.3f} and {value.max():.3f}"
        say(console, f"  {name:6} {shape:>12} {value.size:>10,}  {span}")
    say(console, "\n" + "\n".join(map(str, plans)) + "\n\nvocabulary")
    if net.vocabulary is None:
        say(console, "  none: tokens are integers")
    else:
        say(console, f"  {net.vocabulary!r}\n  {symbols(net.vocabulary, console.width - 4)}")
    say(console, f"\ntraining ({_cut(net.bptt_truncate)})")
    for name, fact in net.training.items():
        say(console, f"  {name.replace('_', ' ')}: {fact}")
    if not net.training:
        say(console, "  not trained")


def _cut(truncate: int | tuple[int, int] | None) -> str:
    """How far gradients flow, in words."""
    if isinstance(truncate, tuple):
        return f"the losses of every {truncate[0]} steps flow back through {truncate[1]}"
    return f"gradients are cut after {truncate or 'no'} steps"
