"""The parameters of a network that is trained, from update to update."""

from collections.abc import Mapping
from operator import is_
from typing import Any

from elman.encoder_decoder import EncoderDecoder
from elman.gates import Array
from elman.network import Network
from elman.packs import Flats, Renamed
from elman.recompute import Held


class Adopted:
    """Parameters as updates give them, which stand in one flat array: layers look for theirs when somebody reads them."""

    def __init__(self, network: Network | EncoderDecoder) -> None:
        self._network, self._owners = network, network._owners()
        self._values, self._held = Flats({}, []), list[Held]()

    @property
    def latest(self) -> Mapping[str, Array]:
        """All parameters of the network: as the last update gave them, where they are these still."""
        are_these = self._held and all(map(is_, self._held, self._now()))
        return self._values if are_these else self._network.parameters

    def take(self, values: Flats) -> None:
        """Let the network have these; they are known to fit and to be finite, and nobody writes to them any more."""
        values.lock()
        for layer, names in self._owners:
            layer._hold(Renamed(values, names))
        self._values, self._held = values, self._now()

    def restore(self, before: Mapping[str, Array]) -> None:
        """Let the network have again what was the latest before: nothing is done where it still is."""
        if isinstance(before, Flats):
            if self.latest is not before:
                self.take(before)
        elif not all(map(is_, self._network.parameters.values(), before.values())):
            self._network.update(before)

    def _now(self) -> list[Held]:
        return [layer._held for layer, _ in self._owners]

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy knows the parameters of its own network only."""
        return Adopted, (self._network,)
