"""Labels of any kind as tokens of a read-out, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from elman.errors import DataError, SettingError
from elman.gates import Array


def learnt_labels(owner: str, labels: Array, known: Array | None) -> tuple[Array, Array]:
    """The distinct labels, sorted, and the place of each label `[n]` among them.

    With `known` labels there may be no other. Raises `DataError`, also for numbers that are no labels.
    """
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise DataError(f"{owner}: y holds NaN or infinity (first at {int(np.argmin(np.isfinite(labels)))})")
    try:
        check_classification_targets(labels)
    except ValueError as error:
        raise DataError(f"{owner}: {error}") from None
    found, places = np.unique(labels, return_inverse=True)
    if known is None:
        return found, places
    new = np.setdiff1d(found, known)
    if len(new):
        raise DataError(f"{owner}: the label {_plain(new[0])!r} is new; fitted were {', '.join(map(str, known))}")
    return known, np.searchsorted(known, labels)


def label_weights(owner: str, class_weight: Any, labels: Array, places: Array, counts: Array | None) -> Array | None:
    """How much each label counts, beside the others: as told by label (1), or "balanced", the rarer among `places` the more.

    `counts` say how often each of these is there (1). Raises `SettingError` for a label that is not there, or a weight
    below 0.
    """
    if class_weight is None:
        return None
    if isinstance(class_weight, str) and class_weight == "balanced":
        often = np.bincount(places, counts, minlength=len(labels))
        each: Array = 1.0 / np.where(often > 0, often, 1.0)
        return each
    if not isinstance(class_weight, Mapping):
        raise SettingError(f"{owner}: class_weight={class_weight!r}; 'balanced', weights by label, or None is wanted")
    known = [_plain(label) for label in labels]
    for label, weight in class_weight.items():
        if _plain(label) not in known:
            raise SettingError(f"{owner}: class_weight has {label!r}, labels are {', '.join(map(repr, known))}")
        if isinstance(weight, bool) or not (isinstance(weight, int | float | np.number) and 0 <= weight < np.inf):
            raise SettingError(f"{owner}: class_weight[{label!r}]={weight!r} must be a number, 0 or more")
    found = np.array([class_weight.get(label, 1.0) for label in known], np.float64)
    if not found.any():
        raise SettingError(f"{owner}: class_weight is 0 for every label; one above 0 is wanted, at least")
    return found


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label
