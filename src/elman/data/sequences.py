"""Sequences with their targets, as a file of arrays or a table holds them."""

from dataclasses import dataclass

import numpy as np

from elman.gates import Array


@dataclass(frozen=True, repr=False)
class Sequences:
    """Sequences, tokens `[T]` or features `[T, I]` each, in the order of the file; what `Padded` and `Streams` take.

    `targets` are None, or an array for each sequence with as many steps, or one array `[N]` or `[N, O]` with a row for each.
    `names` are those of the sequences where the file has any; `labels` what the tokens of the targets stand for.
    """

    sequences: tuple[Array, ...]
    targets: tuple[Array, ...] | Array | None = None
    names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.sequences)

    def __repr__(self) -> str:
        lengths = [len(sequence) for sequence in self.sequences]
        steps = f"{min(lengths)} to {max(lengths)} steps" if lengths else "no steps"
        kind = "tokens" if self.sequences and self.sequences[0].ndim == 1 else "features"
        told = "no targets" if self.targets is None else "targets a step"
        told = "targets a sequence" if isinstance(self.targets, np.ndarray) else told
        return f"Sequences({len(self)} of {steps}, {kind}, {told})"
