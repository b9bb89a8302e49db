"""What the estimators share: their settings, the model that these make, learning, and how a fitted one is pickled."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from elman import cells
from elman.checks import checked_share
from elman.errors import DataError, SettingError
from elman.estimators.fitting import Course, Examples, by_length, fit
from elman.estimators.sequences import Reads, as_read, reads_of, sequences_of
from elman.estimators.weighing import sequence_weights, target_weights
from elman.files import model_from
from elman.gates import Array
from elman.layer import Layer
from elman.model import Model
from elman.padding import pad_sequences
from elman.rnn import RNN
from elman.stack import Bidirectional, Stack
from elman.trace import Cell
from elman.updates import Optimiser

TOGETHER = 256
"""So many sequences are run at once to predict."""

POOLS = ("last", "mean", "max")


@dataclass(kw_only=True, eq=False, repr=False)
class SequenceEstimator(BaseEstimator, ABC):
    """Layers and a read-out that learn from sequences: the settings of all estimators.

    `cell` is a cell or the name of one, `hidden` the size of its state, `sizes` holds those of its other sizes; `layers` of
    it stand upon one another, `bidirectional` or not, with `dropout` between them and `recurrent_dropout` within.
    Integers `[T]` are tokens, of which there are `symbols` (None: as many as `fit` sees); all else is features.

    `fit` goes `epochs` times over the data in batches of `batch` sequences of similar length. `optimiser` is one of
    `elman.optim` or a name, its `rate` follows the `schedule` ("cosine": down to a twentieth), gradients have a norm of at
    most `clip`. With a `validation` share it ends with the parameters that were best
    on it, after `patience` epochs without a better one at the latest. `warm_start` goes on from the fitted parameters.
    `random_state` draws all that is drawn: the same integer gives the same bits. `verbose` prints the losses.
    """

    cell: str | Cell = "lstm"
    hidden: int = 64
    layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    sizes: dict[str, int] | None = None
    symbols: int | None = None
    epochs: int = 100
    batch: int = 32
    optimiser: str | Optimiser = "adam"
    rate: float = 0.005
    schedule: str = "cosine"
    clip: float | None = 1.0
    validation: float = 0.0
    patience: int | None = 10
    warm_start: bool = False
    random_state: Any = None
    dtype: str = "float32"
    target: str = "auto"
    verbose: bool = False

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from sequences `X` and their targets `y`; returns the estimator.

        `sample_weight` `[n]` says how much each sequence counts: one of weight 2 as if it stood there twice, one of weight 0
        as if it did not. Weights are scaled to a mean of 1, so that the `rate` means what it does without them. Raises
        `ShapeError` or `DataError` for data that do not fit, `SettingError` for a setting out of its range.
        """
        before = dict(self.__dict__)
        try:
            self._fit(type(self).__name__, X, y, sample_weight, again=self.warm_start and hasattr(self, "model_"))
        except BaseException:
            self.__dict__ = before
            raise
        return self

    def _fit(self, owner: str, X: Any, y: Any, sample_weight: Any, again: bool) -> None:
        names = ("epochs", "batch", "optimiser", "rate", "schedule", "clip", "patience")
        course = Course(**{name: getattr(self, name) for name in names})
        first, seed = _drawn(owner, self.random_state)
        given = sequences_of(owner, X)
        reads = self._reads if again else reads_of(owner, given, self.symbols)
        sequences = as_read(owner, given, reads, self.model_.rnn.dtype.name if again else self.dtype)
        if not any(map(len, sequences)):
            raise DataError(f"{owner}: none of the {len(sequences)} sequences has a step; there is nothing to learn from")
        if y is None:
            raise DataError(f"{owner} requires y to be passed, but the target y is None")
        targets = self._targets(owner, y, given, again)
        model = copied(self.model_) if again else self._made(owner, reads, first)
        self.model_: Model = model
        self.n_features_in_ = 1 if reads.tokens else reads.size
        counts = sequence_weights(owner, sample_weight, sequences)
        weights = target_weights(owner, sequences, targets, counts, self._weights(owner, targets, counts))
        some = [at for at, x in enumerate(sequences) if len(x) and (weights is None or np.any(weights[at]))]  # which count
        learns, held = _parted(owner, Examples(sequences, targets, weights).taken(some), self.validation, seed)
        self._learn(learns, held, course, seed, again)

    def _learn(self, examples: Examples, held: Examples | None, course: Course, seed: int, again: bool) -> None:
        history = fit(self.model_, examples, held, course, seed, print if self.verbose else lambda line: None)
        self.losses_, self.validation_losses_ = history.losses, history.held
        self.best_epoch_, self.n_iter_ = history.best, len(history.losses)

    # --- what each estimator says for itself --------------------------------------------------------------------------

    @abstractmethod
    def _targets(self, owner: str, y: Any, sequences: list[Array], again: bool) -> list[Array] | Array:
        """Targets as a model takes them; what they tell of themselves is kept, or, fitted again, must stay."""

    def _weights(self, owner: str, targets: list[Array] | Array, counts: Array | None) -> Array | None:
        """How much each label counts, where sequences count so much."""
        return None

    @abstractmethod
    def _head(self) -> dict[str, Any]:
        """The read-out, its size, and its pool."""

    # --- the model ----------------------------------------------------------------------------------------------------

    def _made(self, owner: str, reads: Reads, seed: int) -> Model:
        cell = cells.named(self.cell) if isinstance(self.cell, str) else self.cell
        if not isinstance(cell, Cell):
            raise SettingError(
                f"{owner}: cell={cell!r} is no cell; take a name such as 'lstm', or make one with @elman.cell"
            )
        if isinstance(self.layers, bool) or not isinstance(self.layers, int | np.integer) or self.layers < 1:
            raise SettingError(f"{owner}: layers={self.layers!r} must be a number of layers, 1 or more")
        if checked_share("dropout", self.dropout) and self.layers == 1:
            fix = "take layers=2 or more, or recurrent_dropout"
            raise SettingError(f"{owner}: dropout={self.dropout} drops between layers, and there is one; {fix}")
        seeds = iter(np.random.SeedSequence(seed).generate_state(2 * self.layers + 1).tolist())
        layers: list[Layer] = []
        for position in range(self.layers):
            below = int(layers[-1].output_shape[0]) if position else reads.size
            directions = [self._direction(cell, below, next(seeds)) for _ in range(1 + bool(self.bidirectional))]
            layers.append(Bidirectional(*directions) if self.bidirectional else directions[0])
        whole = layers[0] if len(layers) == 1 else Stack(layers, dropout=self.dropout)
        return Model.from_layers(whole, tokens=reads.tokens, seed=next(seeds), **self._head())

    def _direction(self, cell: Cell, below: int, seed: int) -> RNN:
        named = {"input": below, "hidden": self.hidden} | (self.sizes or {})
        ours: dict[str, Any] = {
            name: size for name, size in named.items() if name in cell.sizes or name in (self.sizes or {})
        }
        dropout = self.recurrent_dropout
        return RNN(cell, dtype=self.dtype, seed=seed, target=self.target, recurrent_dropout=dropout, **ours)

    def _pool(self, pool: Any) -> str:
        """A pool that gives one vector for a sequence. Raises `SettingError`."""
        if pool not in POOLS:
            raise SettingError(f"{type(self).__name__}: pool={pool!r} is unknown; it is {', '.join(POOLS)}")
        return str(pool)

    @property
    def _reads(self) -> Reads:
        return Reads(self.model_.reads_tokens, self.model_.word_dim)

    def _outputs(self, X: Any) -> tuple[list[Array], list[Array]]:
        """What the read-out gives for each sequence; and the sequences."""
        check_is_fitted(self, "model_")
        owner = type(self).__name__
        sequences = as_read(owner, sequences_of(owner, X), self._reads, self.model_.rnn.dtype.name)
        outputs: list[Array] = [np.zeros(0)] * len(sequences)
        for places in by_length(sequences, TOGETHER):
            x, lengths = pad_sequences([sequences[place] for place in places])
            with np.errstate(all="ignore"):  # what is not finite is told below, in words
                found = self.model_.forward_propagation(x, lengths=lengths).output
            for place, output in zip(places, found, strict=True):
                if not np.isfinite(output).all():
                    told = f"what {owner} tells of sequence {place} is not finite"
                    raise DataError(f"{told}; numbers of it, or parameters, are too large for {self.model_.rnn.dtype}")
                outputs[place] = output
        return outputs, sequences

    # --- what scikit-learn asks ---------------------------------------------------------------------------------------

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.required = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """A fitted model goes as what a model file holds: arrays and plain data, and no code."""
        state: dict[str, Any] = dict(super().__getstate__())
        return state | {"model_": held_by_file(self.model_)} if "model_" in state else state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state | {"model_": model_from(*state["model_"])} if "model_" in state else state)


def held_by_file(model: Model) -> tuple[dict[str, Array], dict[str, Any], str]:
    """What a file holds of a model, and its target: what `model_from` makes it of."""
    return dict(model.parameters), model._facts(), model.readout.target


def copied(model: Model) -> Model:
    """Another model that computes the same bits."""
    return model_from(*held_by_file(model))


def _drawn(owner: str, random_state: Any) -> tuple[int, int]:
    """Two seeds: for the first parameters, and for what is drawn while learning."""
    try:
        random = check_random_state(random_state)
    except ValueError:
        wanted = "an integer, a numpy.random.RandomState or None is wanted"
        raise SettingError(f"{owner}: random_state={random_state!r}; {wanted}") from None
    first, seed = (int(drawn) for drawn in random.randint(2**31 - 1, size=2))
    return first, seed


def _parted(owner: str, examples: Examples, share: float, seed: int) -> tuple[Examples, Examples | None]:
    """Examples to learn from, and those held back, which are drawn."""
    held = round(len(examples) * checked_share("validation", share))
    if not share:
        return examples, None
    if not 0 < held < len(examples):
        left = f"{held} of {len(examples)} sequences to validate and {len(examples) - held} to learn from"
        raise DataError(f"{owner}: validation={share} leaves {left}; one at least is wanted for each")
    order = np.random.default_rng(seed).permutation(len(examples))
    return examples.taken(np.sort(order[held:])), examples.taken(np.sort(order[:held]))
