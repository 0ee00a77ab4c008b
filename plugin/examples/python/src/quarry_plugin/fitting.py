"""PCA of models' vectors by NumPy, written as a projection file (docs/ABI.md, Projection file)."""

import json
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from .message import Array

_ROWS = 4096  # of a block


def fit(
    documents: Mapping[str, Array], weights: Mapping[str, float], variance: float, components: int | None, normalize: bool, center: bool
) -> bytes:
    """The projection file. `Projection.fit` says what goes in."""
    rows = len(next(iter(documents.values())))
    if any(vectors.ndim != 2 or len(vectors) != rows for vectors in documents.values()):
        raise ValueError("expected one array [rows, width] for each model, with as many rows each")
    if rows < 2:
        raise ValueError(f"{rows} rows; a fit needs two")
    total = sum(block.sum(axis=0) for block in _fused(documents, weights, normalize))
    mean = (total / rows if center else np.zeros_like(total)).astype(np.float32)
    covariance = np.zeros((len(mean), len(mean)))
    for block in _fused(documents, weights, normalize):
        block -= mean
        covariance += block.T @ block
    covariance /= rows - 1 if center else rows
    values, axes = np.linalg.eigh(covariance)
    values, axes = np.maximum(values[::-1], 0), axes.T[::-1]  # by variance descending
    rank = int((values > values[0] * len(values) * np.finfo(np.float64).eps).sum())
    if components is not None and components > rank:
        raise ValueError(f"{components} components were asked for; only {rank} have variance above rounding")
    kept = components or min(int(np.searchsorted(np.cumsum(values) / values.sum(), variance)) + 1, rank)
    axes = axes[:kept]
    largest = np.abs(axes).argmax(axis=1)  # a component's sign is free: its largest entry is positive
    axes *= np.sign(axes[np.arange(kept), largest])[:, None]
    tensors = {"mean": mean, "components": np.ascontiguousarray(axes, np.float32), "variances": values[:kept].copy()}
    models = [{"name": name, "width": vectors.shape[1], "weight": weights[name]} for name, vectors in documents.items()]
    return save(
        tensors,
        {
            "format": "quarry.projection.v1",
            "models": json.dumps(models),
            "normalize": "l2" if normalize else "none",
            "pca": f"components={components}" if components is not None else f"variance={variance!r}",
            "center": "mean" if center else "none",
            "fit_on": "docs",
            "seed": "0",
            "rows": str(rows),
            "total_variance": repr(float(values.sum())),
            "captured_variance": repr(float(values[:kept].sum())),
            "data_sha256": "",
        },
    )


def _fused(documents: Mapping[str, Array], weights: Mapping[str, float], normalize: bool) -> Iterator[NDArray[np.float64]]:
    """Blocks of rows of all models together: each vector normalised and weighted, and rounded to float32 (docs/ABI.md, Fuse)."""
    rows = len(next(iter(documents.values())))
    for first in range(0, rows, _ROWS):
        parts = []
        for name, vectors in documents.items():
            block = np.asarray(vectors[first : first + _ROWS], np.float32).astype(np.float64)
            norms = np.linalg.norm(block, axis=1, keepdims=True)
            bad = np.flatnonzero(~((norms > 0) & np.isfinite(norms)))
            if len(bad):
                raise ValueError(f"{name}, row {first + bad[0]}: a vector of zeros, or one that is not finite, cannot be fitted on")
            parts.append((block * (weights[name] / (norms if normalize else 1))).astype(np.float32))
        yield np.concatenate(parts, axis=1).astype(np.float64)
