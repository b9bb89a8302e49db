"""Schedules: what changes while a model learns, the rate, when to stop, and the average of the parameters; all as values.

A schedule is called with the number of an update, counted from 0, and gives the rate of that update.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from elman.checks import checked_share
from elman.errors import DataError, SettingError
from elman.gates import Array

Schedule = Callable[[int], float]
"""From the number of an update, counted from 0, to its rate."""


@dataclass(frozen=True)
class Constant:
    """The same rate always.

    >>> Constant(0.01)(5)
    0.01
    """

    rate: float

    def __post_init__(self) -> None:
        _check_number(self, "rate", self.rate, above=True)

    def __call__(self, step: int) -> float:
        """The rate of an update."""
        return self.rate


@dataclass(frozen=True)
class Cosine:
    """Half a wave of a cosine from `rate` at the first update down to the rate `floor` after `steps`, and so from then on.

    floor + (rate - floor) (1 + cos(pi step / steps)) / 2    Loshchilov and Hutter, SGDR: stochastic gradient descent
    with warm restarts, 2017, without the restarts.

    >>> [round(Cosine(0.1, 100, floor=0.02)(step), 6) for step in (0, 50, 100, 900)]
    [0.1, 0.06, 0.02, 0.02]
    """

    rate: float
    steps: int
    floor: float = 0.0

    def __post_init__(self) -> None:
        _check_number(self, "rate", self.rate, above=True)
        _check_count(self, "steps", self.steps)
        _check_number(self, "floor", self.floor)
        if self.floor > self.rate:
            raise SettingError(
                f"Cosine: floor={self.floor:g} is a rate too, the last; it must be at most rate={self.rate:g}"
            )

    def __call__(self, step: int) -> float:
        """The rate of an update."""
        fallen = math.pi * min(step, self.steps) / self.steps
        return self.floor + (self.rate - self.floor) * 0.5 * (1.0 + math.cos(fallen))


@dataclass(frozen=True)
class Steps:
    """`rate`, and after every `every` updates `factor` times as much.

    >>> [round(Steps(0.1, every=10, factor=0.5)(step), 6) for step in (0, 9, 10, 25)]
    [0.1, 0.1, 0.05, 0.025]
    """

    rate: float
    every: int
    factor: float = 0.5

    def __post_init__(self) -> None:
        _check_number(self, "rate", self.rate, above=True)
        _check_count(self, "every", self.every)
        _check_number(self, "factor", self.factor, above=True)

    def __call__(self, step: int) -> float:
        """The rate of an update."""
        return float(self.rate * self.factor ** (step // self.every))


@dataclass(frozen=True)
class WarmUp:
    """Another schedule, whose rates rise from near zero to what they are over the first `steps` updates.

    min(1, (step + 1) / (steps + 1)) schedule(step)    Goyal et al., Accurate, large minibatch SGD, 2017.

    >>> [round(WarmUp(Constant(0.1), 4)(step), 6) for step in range(6)]
    [0.02, 0.04, 0.06, 0.08, 0.1, 0.1]
    """

    schedule: Schedule
    steps: int

    def __post_init__(self) -> None:
        if not callable(self.schedule):
            raise SettingError(f"WarmUp: {self.schedule!r} is no schedule; take one such as Constant(0.01)")
        _check_count(self, "steps", self.steps, least=0)

    def __call__(self, step: int) -> float:
        """The rate of an update."""
        return min(1.0, (step + 1) / (self.steps + 1)) * self.schedule(step)


# --- by name ----------------------------------------------------------------------------------------------------------

SCHEDULES = ("constant", "cosine", "steps")


def schedule(text: str, rate: float, steps: int, warm_up: int = 0) -> Schedule:
    """A schedule as a command is told it: a name, and numbers behind it where they are not to be the usual ones.

    "constant"; "cosine" or "cosine,floor=0.001" (a twentieth of the rate), over all `steps`; "steps,every=500,factor=0.5".
    With `warm_up` it rises over so many updates. Raises `SettingError` that lists the names.

    >>> schedule("steps,every=500", rate=0.01, steps=2000)
    Steps(rate=0.01, every=500, factor=0.5)
    >>> schedule("cosine", rate=0.1, steps=2000, warm_up=50)
    WarmUp(schedule=Cosine(rate=0.1, steps=2000, floor=0.005), steps=50)
    """
    name, *given = (part.strip() for part in text.split(","))
    numbers = dict(_number(text, part) for part in given)
    known = {"constant": (), "cosine": ("floor",), "steps": ("every", "factor")}.get(name)
    if known is None:
        raise SettingError(f"there is no schedule {name!r}; schedules are {', '.join(SCHEDULES)}")
    unknown = next((number for number in numbers if number not in known), None)
    if unknown is not None:
        raise SettingError(f"schedule {text!r}: {name} has no {unknown!r}; it has {', '.join(known) or 'nothing to set'}")
    if name == "steps" and "every" not in numbers:
        raise SettingError(f"schedule {text!r}: after how many updates? Write steps,every=500")
    made: dict[str, Callable[[], Schedule]] = {
        "constant": lambda: Constant(rate),
        "cosine": lambda: Cosine(rate, steps, numbers.get("floor", rate / 20)),
        "steps": lambda: Steps(rate, **numbers),
    }
    found = made[name]()
    return WarmUp(found, warm_up) if warm_up else found


def _number(text: str, part: str) -> tuple[str, Any]:
    """A name and its number, whole where it is."""
    name, _, value = part.partition("=")
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise SettingError(f"schedule {text!r}: {part!r} is not name=number")
    return name.strip(), int(found) if found == int(found) else found


# --- when to stop -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EarlyStopping:
    """Stops where the validation loss has not fallen for `patience` looks in a row; a value, told each loss by `seen`.

    A loss counts as better where it lies more than `least` below the `best`; one that is NaN never does. `waited` is how
    many looks in a row were no better. `dataclasses.asdict` makes plain data of it, `EarlyStopping(**data)` reads it back.
    Prechelt, Early stopping, but when?, 1998.

    >>> stopping = EarlyStopping(patience=2)
    >>> for loss in (3.0, 2.0, 2.5, 2.1):
    ...     stopping = stopping.seen(loss)
    >>> stopping.best, stopping.waited, stopping.stop
    (2.0, 2, True)
    """

    patience: int
    least: float = 0.0
    best: float | None = None
    waited: int = 0

    def __post_init__(self) -> None:
        _check_count(self, "patience", self.patience)
        _check_number(self, "least", self.least)
        _check_count(self, "waited", self.waited, least=0)

    def seen(self, loss: float) -> "EarlyStopping":
        """What it is after another loss."""
        better = loss < math.inf if self.best is None else loss < self.best - self.least
        return replace(self, best=float(loss), waited=0) if better else replace(self, waited=self.waited + 1)

    @property
    def improved(self) -> bool:
        """Whether the loss seen last was the best: time to keep the parameters."""
        return self.best is not None and not self.waited

    @property
    def stop(self) -> bool:
        """Whether to stop."""
        return self.waited >= self.patience


# --- the average of the parameters ------------------------------------------------------------------------------------

AVERAGE, COUNT = "average/", "count"


@dataclass(frozen=True)
class Averaging:
    """The average of the parameters over the updates: often better than the last, which the rate still moves about.

    a <- w a + (1 - w) p with w = min(decay, n / (n + 1)) after n updates: the plain mean at first, then one that forgets.
    With `decay` = 1 it stays the plain mean. Polyak and Juditsky, Acceleration of stochastic approximation by averaging,
    1992.

    >>> averaging, p = Averaging(decay=0.5), {"w": np.array([1.0])}
    >>> memory = averaging.memory(p)
    >>> for value in (2.0, 4.0, 8.0):
    ...     memory = averaging.update({"w": np.array([value])}, memory)
    >>> averaging.parameters(memory)["w"]
    array([5.5])
    """

    decay: float = 0.999

    def __post_init__(self) -> None:
        if self.decay != 1:
            checked_share("Averaging: decay (or 1, the plain mean)", self.decay)

    def memory(self, parameters: Mapping[str, Array]) -> dict[str, Array]:
        """The memory before the first update: "count", and the parameters themselves as "average/waa" and so on."""
        return {COUNT: np.array(0, np.int64)} | {AVERAGE + name: np.array(p) for name, p in parameters.items()}

    def update(self, parameters: Mapping[str, Array], memory: Mapping[str, Array]) -> dict[str, Array]:
        """The memory after an update that gave these parameters; nothing is changed in place.

        Raises `DataError` where the memory is of other parameters.
        """
        if memory.keys() != {COUNT, *(AVERAGE + name for name in parameters)}:
            told = ", ".join(name for name in memory if name != COUNT) or "nothing"
            raise DataError(f"Averaging: the parameters are {', '.join(parameters)}, the memory holds {told}")
        count = int(memory[COUNT])
        share = 1 - min(self.decay, count / (count + 1))
        kept = {COUNT: np.array(count + 1, np.int64)}
        for name, p in parameters.items():
            average = memory[AVERAGE + name]
            new = np.subtract(p, average, out=np.empty_like(average))
            kept[AVERAGE + name] = np.add(np.multiply(new, share, out=new), average, out=new)
        return kept

    def parameters(self, memory: Mapping[str, Array]) -> dict[str, Array]:
        """The averages by the names of the parameters: what a model is given to be measured, or saved."""
        return {name.removeprefix(AVERAGE): value for name, value in memory.items() if name != COUNT}


# --- inside -----------------------------------------------------------------------------------------------------------


def _check_number(owner: Any, name: str, value: Any, *, above: bool = False) -> None:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (above and value == 0):
        least = "above 0" if above else "0 or more"
        raise SettingError(f"{type(owner).__name__}: {name}={value!r} must be a finite number, {least}")


def _check_count(owner: Any, name: str, value: Any, *, least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise SettingError(f"{type(owner).__name__}: {name}={value!r} must be an integer, {least} or more")
