"""Folders in BEIR layout, and negatives.jsonl.

Files read from a folder:

    corpus.jsonl[.gz], queries.jsonl[.gz]   one object with "_id" a line; or, where there is no text,
    docs.ids, queries.ids                   one id a line
    qrels/<split>.tsv                       header, then query-id TAB corpus-id TAB score
    vectors/<model>/{docs,queries}.npy      float16, float32 or float64, a row for each line above
"""

import gzip
import json
import math
import os
from dataclasses import dataclass
from decimal import Decimal

import numpy as np


def read_lines(path):
    """The lines of a UTF-8 file. Only a line feed ends a line (str.splitlines knows others)."""
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rb") as file:
        lines = file.read().decode("utf-8").split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def read_ids(folder, text_name, ids_name):
    """Ids in file order, from the text file or from what stands in for it."""
    for name in (text_name + ".jsonl", text_name + ".jsonl.gz"):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            ids = [json.loads(line)["_id"] for line in read_lines(path)]
            break
    else:
        path = os.path.join(folder, ids_name + ".ids")
        ids = read_lines(path)
    if len(set(ids)) != len(ids):
        raise ValueError(f"{path}: an id is given twice")
    return ids


def read_qrels(folder):
    """{split: [(query id, document id, score), ...]} of every qrels file, names ascending."""
    directory = os.path.join(folder, "qrels")
    splits = {}
    for name in sorted(os.listdir(directory)):
        if not name.endswith(".tsv"):
            continue
        rows = []
        for line in read_lines(os.path.join(directory, name))[1:]:
            query, document, score = line.split("\t")
            rows.append((query, document, float(score)))
        splits[name.removesuffix(".tsv")] = rows
    return splits


@dataclass
class Problem:
    """What is to be mined: everything of a folder but its vectors, ids turned into rows."""

    doc_ids: list
    query_ids: list
    pairs: list      # (query row, document row), in the order mined
    positives: dict  # query row -> its judged positives' rows, of every split, in file order
    excluded: dict   # query row -> sorted array of document rows that are no negatives of it


def read_problem(folder, split="train", keep_self=False):
    doc_ids = read_ids(folder, "corpus", "docs")
    query_ids = read_ids(folder, "queries", "queries")
    doc_row = {name: row for row, name in enumerate(doc_ids)}
    query_row = {name: row for row, name in enumerate(query_ids)}
    qrels = read_qrels(folder)

    judged = {}
    positives = {}
    seen = set()
    for name, rows in qrels.items():
        judged[name] = []
        for query, document, score in rows:
            if (query, document) in seen:
                raise ValueError(f"pair {query!r}, {document!r} is given twice")
            seen.add((query, document))
            if score > 0:
                pair = query_row[query], doc_row[document]
                judged[name].append(pair)
                positives.setdefault(pair[0], []).append(pair[1])

    if split == "all":
        order = sorted(judged, key=lambda name: (name != "train", name))
    else:
        order = [split]
    pairs = [pair for name in order for pair in judged[name]]

    excluded = {}
    for query, rows in positives.items():
        out = set(rows)
        own = doc_row.get(query_ids[query])
        if own is not None and not keep_self:
            out.add(own)
        excluded[query] = np.array(sorted(out), dtype=np.int64)
    return Problem(doc_ids, query_ids, pairs, positives, excluded)


def open_vectors(folder, model, kind, rows, width):
    """One model's vectors of the documents or of the queries, mapped and not yet read."""
    path = os.path.join(folder, "vectors", model, kind + ".npy")
    array = np.load(path, mmap_mode="r")
    if array.dtype.kind != "f" or array.dtype.itemsize not in (2, 4, 8):
        raise ValueError(f"{path}: {array.dtype} is not float16, float32 or float64")
    if array.shape != (rows, width) or not array.flags.c_contiguous:
        raise ValueError(f"{path}: shape {array.shape}, not {(rows, width)} in C order")
    return array


def json_number(value):
    """A float64 as Go's encoding/json writes it."""
    value = float(value)
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    shortest = repr(value)  # the fewest digits that read back as the same value
    if 1e-6 <= abs(value) < 1e21:
        plain = format(Decimal(shortest), "f")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    digits, exponent = shortest.split("e")
    return f"{digits}e{exponent[0]}{exponent[1:].lstrip('0')}"


def json_string(text):
    """A string as Go's encoding/json writes it with HTML escaping off."""
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def json_value(value):
    if isinstance(value, dict):
        return "{" + ",".join(json_string(k) + ":" + json_value(v) for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(json_value, value)) + "]"
    if isinstance(value, str):
        return json_string(value)
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    return json_number(value)
