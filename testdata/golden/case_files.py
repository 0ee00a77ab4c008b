"""Writes a made case: a folder in BEIR layout with vectors and a projection."""

import gzip
import hashlib
import json
import os

import numpy as np

import reference


def write_text(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(text.encode("utf-8"))


def write_lines(path, lines):
    write_text(path, "".join(line + "\n" for line in lines))


def write_ids(folder, doc_ids, query_ids):
    write_lines(os.path.join(folder, "docs.ids"), doc_ids)
    write_lines(os.path.join(folder, "queries.ids"), query_ids)


def write_texts(folder, docs, queries):
    """docs: (id, title, text); compressed, with no time of writing inside. queries: (id, text)."""
    corpus = "".join(json.dumps({"_id": i, "title": title, "text": text, "metadata": {}},
                                ensure_ascii=False) + "\n" for i, title, text in docs)
    with open(os.path.join(folder, "corpus.jsonl.gz"), "wb") as file:
        with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
            packed.write(corpus.encode("utf-8"))
    write_lines(os.path.join(folder, "queries.jsonl"),
                [json.dumps({"_id": i, "text": text}, ensure_ascii=False) for i, text in queries])


def write_qrels(folder, splits):
    """splits: {name: [(query id, document id, score), ...]}."""
    for name, rows in splits.items():
        write_lines(os.path.join(folder, "qrels", name + ".tsv"),
                    ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in rows)])


def write_vectors(folder, model, docs, queries):
    for kind, array in ("docs", docs), ("queries", queries):
        path = os.path.join(folder, "vectors", model, kind + ".npy")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        np.save(path, np.ascontiguousarray(array))


def write_safetensors(path, tensors, metadata):
    """Header keys sorted, header padded with spaces to a multiple of 8, tensors by size of element
    descending, then by name."""
    names = {"float32": "F32", "float64": "F64"}
    header, data = {"__metadata__": metadata}, b""
    for name in sorted(tensors, key=lambda n: (-tensors[n].dtype.itemsize, n)):
        array = np.ascontiguousarray(tensors[name])
        raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
        header[name] = {"dtype": names[str(array.dtype)], "shape": list(array.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    text = text.encode("utf-8")
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)


def write_projection(folder, models, docs, queries, *, normalize="l2", pca="variance=0.95",
                     center="mean", fit_on="docs", seed=0):
    """Fits by NumPy's SVD in float64. models: (name, width, weight); docs, queries: {name: array}."""
    models = [{"name": name, "width": width, "weight": weight} for name, width, weight in models]
    maker = reference.Projection(models, normalize == "l2")
    fused = reference.fuse(maker, [docs[model["name"]] for model in models])
    if fit_on == "all":
        more = reference.fuse(maker, [queries[model["name"]] for model in models])
        fused = np.concatenate([fused, more])
    elif fit_on.startswith("sample:"):
        size = int(fit_on.removeprefix("sample:"))
        rows = np.random.default_rng(seed).choice(len(fused), size, replace=False)
        fused = fused[np.sort(rows)]

    rows = fused.astype(np.float64)
    mean = rows.mean(axis=0) if center == "mean" else np.zeros(rows.shape[1])
    divisor = len(rows) - 1 if center == "mean" else len(rows)
    total = float(((rows - mean) ** 2).sum() / divisor)
    tensors, captured = {}, total
    if pca != "none":
        _, singular, axes = np.linalg.svd(rows - mean, full_matrices=False)
        variances = singular**2 / divisor
        kind, value = pca.split("=")
        if kind == "components":
            k = int(value)
        else:
            k = int(np.argmax(np.cumsum(variances) >= float(value) * total)) + 1
        captured = float(variances[:k].sum())
        tensors = {"mean": mean.astype(np.float32), "components": axes[:k].astype(np.float32),
                   "variances": variances[:k]}
    write_safetensors(os.path.join(folder, "projection.safetensors"), tensors, {
        "format": "quarry.projection.v1",
        "models": json.dumps(models, separators=(",", ":"), ensure_ascii=False),
        "normalize": normalize, "pca": pca, "center": center, "fit_on": fit_on,
        "seed": str(seed), "rows": str(len(rows)),
        "total_variance": repr(total), "captured_variance": repr(captured),
        "data_sha256": hashlib.sha256(fused.tobytes()).hexdigest(),
    })
