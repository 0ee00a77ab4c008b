"""Hard negatives for retrieval training, by quarry's Wasm module under wasmtime.

In go vectors as NumPy arrays; out come positions of documents and cosine similarities, the same to the last bit on every machine.

    projection = Projection.load("projection.safetensors")
    index = projection.transform({"mpnet": documents})      # once, when documents are indexed
    found = select(query, positive, index[hits])            # live: the hits of one query

A `Miner` streams any number of documents past many pairs. README.md shows both.
"""

from .message import Array, Vectors
from .mining import Mined, Miner, Negative, Options, Pairs, Part, merge, select
from .module import Instance, PluginError
from .negatives import lines, triplets
from .projection import Model, Projection

__all__ = [
    "Array", "Instance", "Mined", "Miner", "Model", "Negative", "Options", "Pairs", "Part", "PluginError", "Projection", "Vectors",
    "lines", "merge", "select", "triplets",
]  # fmt: skip
