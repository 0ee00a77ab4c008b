"""Reads a folder as quarry has them: texts, judgements, and the vectors of each model. The examples of PostgreSQL and Spark read it too."""

import gzip
import json
from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from quarry_plugin import Array, Pairs


def _lines(path: Path) -> list[str]:
    compressed = path.with_name(path.name + ".gz")
    with open(path, "rb") if path.exists() or not compressed.exists() else gzip.open(compressed) as file:
        text = file.read().decode("utf-8-sig")
    return [line for line in text.replace("\r\n", "\n").split("\n") if line]


def _texts(folder: Path, side: str, texts: str) -> tuple[list[str], list[tuple[str, str]]]:
    """The ids of a side, and the title and text of each where there are texts."""
    if (folder / f"{side}.ids").exists():
        return _lines(folder / f"{side}.ids"), []
    rows = [json.loads(line, parse_int=str, parse_float=str) for line in _lines(folder / texts)]  # an id is the number as it is written
    return [row["_id"] if "_id" in row else row["id"] for row in rows], [(row.get("title") or "", row.get("text") or "") for row in rows]


HEADINGS = ("score", "relevance", "rel", "label")


def judged(path: Path) -> list[tuple[str, str]]:
    """The (query, document) pairs of a file of qrels whose score is above 0. The first line may name the columns."""
    pairs = []
    for number, line in enumerate(_lines(path), 1):
        match line.split("\t") if line.count("\t") == 2 else line.split():
            case ["query-id", _, _] if number == 1:
                continue
            case [_, _, heading] if number == 1 and heading.lower() in HEADINGS:
                continue
            case [query, document, score] | [query, _, document, score]:  # BEIR's columns, and TREC's
                if float(score) > 0:
                    pairs.append((query, document))
            case _:
                raise ValueError(f"{path}:{number}: expected query-id, corpus-id and score, separated by tabs")
    return pairs


def _equal(keys: Iterable[Hashable]) -> list[list[int]]:
    """The rows whose keys are equal, where there are several; a key of None equals no other."""
    of = defaultdict(list)
    for row, key in enumerate(keys):
        if key is not None:
            of[key].append(row)
    return [rows for rows in of.values() if len(rows) > 1]


def _copies(texts: list[tuple[str, str]], vectors: list[Array]) -> dict[int, set[int]]:
    """For each document that has some: those that equal it in title and text, or in the vectors of all models."""
    copies: dict[int, set[int]] = defaultdict(set)
    by_text = _equal(text if any(text) else None for text in texts)
    by_vectors = _equal(sha256(b"".join(row.tobytes() for row in rows)).digest() for rows in zip(*vectors, strict=True))
    for rows in by_text + by_vectors:
        for row in rows:
            copies[row].update(rows)
    return copies


@dataclass
class Folder:
    """`documents` and `queries` are ids in the order of the vectors' rows; vectors are by model, then [rows, width]."""

    documents: list[str]
    queries: list[str]
    document_vectors: dict[str, Array]
    query_vectors: dict[str, Array]
    pairs: Pairs[str]
    exclude: list[list[int]]
    """For each of `pairs.queries`: positions of its positives in any split, of their copies, and of the document that is the query itself."""


def read(path: Path, split: str) -> Folder:
    """Reads a folder, and the pairs of a split: `train`, another file of qrels/, or `all`."""
    (documents, texts), (queries, _) = _texts(path, "docs", "corpus.jsonl"), _texts(path, "queries", "queries.jsonl")
    models = sorted((path / "vectors").iterdir())
    vectors = {model.name: np.load(model / "docs.npy", mmap_mode="r") for model in models}
    splits = sorted((path / "qrels").glob("*.tsv"), key=lambda file: (file.stem != "train", file.stem))  # train first
    pairs = Pairs(dict.fromkeys(pair for file in splits if split in ("all", file.stem) for pair in judged(file)))
    row = {name: i for i, name in enumerate(documents)}
    copies = _copies(texts, list(vectors.values()))
    exclude = {query: {row[query]} if query in row else set() for query in pairs.queries}
    for file in splits:
        for query, document in judged(file):
            if query in exclude:
                exclude[query] |= {row[document]} | copies.get(row[document], set())
    return Folder(
        documents,
        queries,
        vectors,
        {model.name: np.load(model / "queries.npy", mmap_mode="r") for model in models},
        pairs,
        [sorted(rows) for rows in exclude.values()],
    )
