"""`elman show`: what is in a model file."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from elman.cli import shared
from elman.pooled import Pooled
from elman.viz import plain


def show(
    model: Annotated[Path | None, typer.Argument(help="Model file; without it, the one that comes along.")] = None,
    source: Annotated[bool, typer.Option("--source", help="Print the program made of the equations.")] = False,
    limits: Annotated[bool, typer.Option("--limits", help="Print plans with microseconds at this machine's limit.")] = False,
) -> None:
    """Tell what is in a model file: sizes, parameters, equations, vocabulary, how it was trained."""
    from elman.viz.terminal import say, symbols

    net = shared.opened(model)
    parts: tuple[Any, ...] = (*net.rnn._leaves().values(), net.readout)
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
    names = [name for name, _ in _named(net.rnn)]
    graphs = [_headed(str(part.graph), name) for part, name in zip(parts, [*names, ""], strict=True)]
    say(console, "\n\n".join([repr(net), *graphs, "parameters"]))
    for name, value in net.parameters.items():
        shape, span = "x".join(map(str, value.shape)), f"between {value.min():.3f} and {value.max():.3f}"
        say(console, f"  {name:6} {shape:>12} {value.size:>10,}  {span}")
    told = [_headed(str(plan), name, "plan of ") for plan, name in zip(plans, names, strict=True)]
    say(console, "\n" + "\n".join(told) + "\n\nvocabulary")
    if net.vocabulary is None:
        say(console, "  none: tokens are integers")
    else:
        say(console, f"  {net.vocabulary!r}\n  {symbols(net.vocabulary, console.width - 4)}")
    say(console, f"\ntraining ({_cut(net.bptt_truncate)})")
    for name, fact in net.training.items():
        say(console, f"  {name.replace('_', ' ')}: {_in_words(fact)}")
    if not net.training:
        say(console, "  not trained")


def _cut(truncate: int | tuple[int, int] | None) -> str:
    """How far gradients flow, in words."""
    if isinstance(truncate, tuple):
        return f"the losses of every {truncate[0]} steps flow back through {truncate[1]}"
    return f"gradients are cut after {truncate} steps" if truncate else "gradients are not cut"


def _named(layer: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The layers that have parameters of their own, each under the name that stands before those of its parameters."""
    if isinstance(layer, Pooled):
        yield from _named(layer.layer, name)
        return
    parts = getattr(layer, "parts", {})
    for inner, part in parts.items():
        yield from _named(part, f"{name}.{inner}" if name else inner)
    if not parts:
        yield name, layer


def _headed(text: str, name: str, before: str = "") -> str:
    """What tells of a cell, with the name of its layer before the cell's."""
    return f"{before}{name}: {text.removeprefix(before)}" if name else text


def _in_words(fact: Any) -> str:
    """A fact of the training; what has facts of its own with commas, a part with its kind."""
    if isinstance(fact, Mapping):
        return "; ".join(f"{name} {_in_words(inner)}" for name, inner in fact.items())
    if isinstance(fact, list | tuple):
        return ", ".join(_part(*each) if isinstance(each, list | tuple) and each else str(each) for each in fact)
    return str(fact)


def _part(name: Any, *more: Any) -> str:
    kinds = " ".join(str(kind) for kind in more if kind != "")
    return f"{name} ({kinds})" if kinds else str(name)
