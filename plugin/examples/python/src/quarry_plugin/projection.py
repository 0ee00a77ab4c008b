"""The projection: from the vectors of several models to one vector in PCA space."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from . import fitting
from .message import Array, Vectors, vectors
from .module import Instance, PerThread


@dataclass(frozen=True)
class Model:
    """An encoder of the ensemble: its name, the width of its vectors, and what they are multiplied by."""

    name: str
    width: int
    weight: float


class Projection:
    """A projection file, as `quarry fit` or `Projection.fit` made it. Several threads may use it, and it can be pickled.

    `models` are in order of concatenation; `columns` is their width together; `components` is the width of a projected vector;
    `fingerprint` is the SHA-256 of `file`, the file's bytes.
    """

    def __init__(self, file: bytes) -> None:
        self.file = file
        self._threads = PerThread(file)  # raises PluginError where it is no projection file
        self.fingerprint: str = self._threads.loaded["projection"]
        self.columns: int = self._threads.loaded["columns"]
        self.components: int = self._threads.loaded["components"]
        metadata = json.loads(file[8 : 8 + int.from_bytes(file[:8], "little")])["__metadata__"]
        self.models = tuple(Model(**model) for model in json.loads(metadata["models"]))

    @classmethod
    def load(cls, path: str | Path) -> "Projection":
        """Reads a projection file."""
        return cls(Path(path).read_bytes())

    @classmethod
    def fit(
        cls,
        documents: Mapping[str, Array],
        *,
        variance: float = 0.95,
        components: int | None = None,
        weights: Mapping[str, float] | None = None,
        normalize: bool = True,
        center: bool = True,
    ) -> "Projection":
        """Fits PCA to the vectors of documents, one array [rows, width] for each model, in the order of concatenation.

        It keeps the fewest components with that share of the variance, or `components` of them. A model's weight is 1 where `weights`
        does not give it. README.md says how it compares with `quarry fit`.
        """
        given = {name: float((weights or {}).get(name, 1)) for name in documents}
        return cls(fitting.fit(documents, given, variance, components, normalize, center))

    def save(self, path: str | Path) -> None:
        """Writes the projection file."""
        Path(path).write_bytes(self.file)

    def transform(self, documents: Vectors, *, zero: Literal["error", "skip"] = "error") -> NDArray[np.float32]:
        """Projects raw vectors: float32, shape [rows, components]. Where the projection has one model, its array alone will do.

        A vector of zeros is an error, or with `zero="skip"` a row of zeros.
        """
        if not isinstance(documents, Mapping):
            documents = {self.models[0].name: documents}
        tensors = vectors("documents", documents)
        answers = [load(answer)["documents"] for answer in self.instance().send_rows("transform", tensors, lambda first: {"zero": zero})]
        return np.concatenate([np.empty((0, self.components), np.float32), *answers]) if len(answers) != 1 else answers[0]

    def instance(self) -> Instance:
        """This thread's instance of the module, with the projection loaded."""
        return self._threads.instance

    def __reduce__(self) -> tuple[Any, ...]:
        return Projection, (self.file,)
