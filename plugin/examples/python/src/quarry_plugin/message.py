"""The module's messages: safetensors files that are written straight into its memory.

The library safetensors makes such a file as bytes of its own, which are copied once more into the module. `Layout` says where each array
goes, and `write` copies it there, whatever its strides and byte order: one copy of 21 MB instead of three. What the module answers, and
files, are read and written by the library.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

Vectors: TypeAlias = Array | Mapping[str, Array]
"""Rows of vectors. A dict of model names is raw vectors, float16, float32 or float64, shape [rows, width] for each model. One array is
projected vectors, as `Projection.transform` gives them, shape [rows, components]. One row may have the shape [width]."""

_NAMES = {"float64": "F64", "int64": "I64", "float32": "F32", "float16": "F16", "uint8": "U8"}


def vectors(kind: str, given: Vectors) -> dict[str, Array]:
    """The tensors of queries, positives or documents."""
    if isinstance(given, Mapping):
        return {f"{kind}/{model}": _rows(f"{kind}/{model}", rows) for model, rows in given.items()}
    return {kind: _rows(kind, given).astype(np.float32, copy=False)}


def _rows(name: str, given: Array) -> Array:
    rows = np.atleast_2d(np.asarray(given))
    if rows.dtype.name not in ("float16", "float32", "float64"):
        raise TypeError(f"{name} is {rows.dtype}; expected float16, float32 or float64")
    return rows


class Layout:
    """Where the parts of a message lie in its `size` bytes: the header, then the arrays by size of element, so that each is aligned."""

    def __init__(self, tensors: Mapping[str, Array], options: Mapping[str, str]) -> None:
        header: dict[str, object] = {"__metadata__": dict(options)} if options else {}
        self._places: list[tuple[int, Array]] = []
        end = 0
        for name, array in sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0])):
            self._places.append((end, array))
            header[name] = {"dtype": _NAMES[array.dtype.name], "shape": array.shape, "data_offsets": (end, end + array.nbytes)}
            end += array.nbytes
        text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        self._header = len(text).to_bytes(8, "little") + text
        self.size = len(self._header) + end

    def write(self, buffer: NDArray[np.uint8]) -> None:
        """Writes the message to an array of `size` bytes, 8-aligned."""
        begin = len(self._header)
        buffer[:begin] = np.frombuffer(self._header, np.uint8)
        for offset, array in self._places:
            place = buffer[begin + offset : begin + offset + array.nbytes].view(array.dtype.newbyteorder("<"))
            np.copyto(place.reshape(array.shape), array)
