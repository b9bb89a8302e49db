"""Data for training: sources of batches, text as files of tokens, arrays and tables as sequences."""

from elman.data.arrays import load_arrays
from elman.data.padded import Padded
from elman.data.pairs import Pairs
from elman.data.sequences import Sequences
from elman.data.source import Batch, Source
from elman.data.streams import Streams
from elman.data.tables import load_table
from elman.data.tokens import TokenFile, tokenise
from elman.data.vocabularies import learn_vocabulary

__all__ = [
    "Batch", "Padded", "Pairs", "Sequences", "Source", "Streams", "TokenFile", "learn_vocabulary", "load_arrays",
    "load_table", "tokenise",
]  # fmt: skip
