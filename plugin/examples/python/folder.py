"""Reads a folder as quarry has them: texts, judgements, and the vectors of each model. The examples of PostgreSQL and Spark read it too."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from quarry_plugin import Array, Pairs


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


def _ids(folder: Path, side: str, texts: str) -> list[str]:
    if (folder / f"{side}.ids").exists():
        return _lines(folder / f"{side}.ids")
    return [json.loads(line)["_id"] for line in _lines(folder / texts)]


def judged(path: Path) -> list[tuple[str, str]]:
    """The (query, document) pairs of a file of qrels whose score is above 0."""
    rows = [line.split("\t") for line in _lines(path)[1:]]
    return [(query, document) for query, document, score in rows if float(score) > 0]


@dataclass
class Folder:
    """`documents` and `queries` are ids in the order of the vectors' rows; vectors are by model, then [rows, width]."""

    documents: list[str]
    queries: list[str]
    document_vectors: dict[str, Array]
    query_vectors: dict[str, Array]
    pairs: Pairs[str]
    exclude: list[list[int]]
    """For each of `pairs.queries`: positions of its positives in any split, and of the document that is the query itself."""


def read(path: Path, split: str) -> Folder:
    """Reads a folder, and the pairs of a split: `train`, another file of qrels/, or `all`."""
    documents, queries = _ids(path, "docs", "corpus.jsonl"), _ids(path, "queries", "queries.jsonl")
    splits = sorted((path / "qrels").glob("*.tsv"), key=lambda file: (file.stem != "train", file.stem))  # train first
    pairs = Pairs([pair for file in splits if split in ("all", file.stem) for pair in judged(file)])
    row = {name: i for i, name in enumerate(documents)}
    exclude = {query: {row[query]} if query in row else set() for query in pairs.queries}
    for file in splits:
        for query, document in judged(file):
            if query in exclude:
                exclude[query].add(row[document])
    models = sorted((path / "vectors").iterdir())
    return Folder(
        documents,
        queries,
        {model.name: np.load(model / "docs.npy", mmap_mode="r") for model in models},
        {model.name: np.load(model / "queries.npy", mmap_mode="r") for model in models},
        pairs,
        [sorted(rows) for rows in exclude.values()],
    )
