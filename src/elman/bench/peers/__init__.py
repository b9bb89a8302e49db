"""The peers: other libraries that run the same nets. One file each; they are imported when they are first used."""

from elman.bench.peers.interface import Peer
from elman.bench.peers.jax import Jax
from elman.bench.peers.onnx_runtime import OnnxRuntime
from elman.bench.peers.pytorch import PyTorch

PEERS: tuple[type[Peer], ...] = (PyTorch, OnnxRuntime, Jax)
"""All, in the order of the table."""


def installed() -> list[Peer]:
    """Those that are here."""
    return [peer() for peer in PEERS if peer.available()]


__all__ = ["PEERS", "Peer", "installed"]
