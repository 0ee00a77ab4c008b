"""Mines hard negatives with plugin.wasm under Extism's Python SDK.

    pip install extism safetensors numpy
    python mine.py plugin.wasm DIR projection.safetensors select|push

DIR has corpus.jsonl and queries.jsonl, or docs.ids and queries.ids (one id a line), qrels/train.tsv and vectors/<model>/{docs,queries}.npy. Prints a JSON
object a line for each pair, as negatives.jsonl has them. `select` does it in one stateless call; `push` sends the
documents in blocks between begin and finish. docs/ABI.md describes the messages.
"""

import json
import sys
from pathlib import Path

import extism
import numpy as np
from safetensors.numpy import load, save


def lines(path):
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


def read_ids(folder, plain, texts):
    if (folder / plain).exists():
        return lines(folder / plain)
    return [json.loads(line)["_id"] for line in lines(folder / texts)]


def read_pairs(path):
    rows = [line.split("\t") for line in lines(path)[1:]]
    return [(query, document) for query, document, score in rows if float(score) > 0]


def raw(kind, models, side, rows):
    """One tensor per model: the plugin fuses and projects them."""
    return {f"{kind}/{name}": np.ascontiguousarray(vectors[side][rows]) for name, vectors in models.items()}


def begin_tensors(folder, models, documents, queries):
    document_row = {name: row for row, name in enumerate(documents)}
    query_row = {name: row for row, name in enumerate(queries)}
    pairs = read_pairs(folder / "qrels" / "train.tsv")
    exclude = {query: set() for query, _ in pairs}
    for path in (folder / "qrels").glob("*.tsv"):
        for query, document in read_pairs(path):
            if query in exclude:
                exclude[query].add(document_row[document])
    for query in exclude:  # the document that is the query itself is no negative either
        if query in document_row:
            exclude[query].add(document_row[query])
    asked = list(exclude)
    positives = list(dict.fromkeys(document for _, document in pairs))
    lists = [sorted(exclude[query]) for query in asked]
    tensors = {
        **raw("queries", models, "queries", [query_row[query] for query in asked]),
        **raw("positives", models, "docs", [document_row[document] for document in positives]),
        "pair_query": np.array([asked.index(query) for query, _ in pairs], np.int64),
        "pair_positive": np.array([positives.index(document) for _, document in pairs], np.int64),
        "exclude_offsets": np.cumsum([0] + [len(rows) for rows in lists]).astype(np.int64),
        "exclude": np.array([row for rows in lists for row in rows], np.int64),
    }
    return pairs, tensors


def main(module, folder, projection, how):
    folder = Path(folder)
    # The weights are named in the projection file; NumPy opens it too.
    models = {
        path.name: {side: np.load(path / f"{side}.npy") for side in ("docs", "queries")}
        for path in sorted((folder / "vectors").iterdir())
    }
    documents, queries = read_ids(folder, "docs.ids", "corpus.jsonl"), read_ids(folder, "queries.ids", "queries.jsonl")
    pairs, tensors = begin_tensors(folder, models, documents, queries)
    options = {"rule": "dual", "top": "5"}

    with extism.Plugin({"wasm": [{"path": module}]}) as plugin:
        plugin.call("load_projection", Path(projection).read_bytes())
        everything = list(range(len(documents)))
        if how == "select":
            message = {**tensors, **raw("documents", models, "docs", everything)}
            part = load(bytes(plugin.call("select", save(message, options))))
        else:
            plugin.call("begin", save(tensors, options))
            for first in range(0, len(documents), 7):
                block = raw("documents", models, "docs", everything[first : first + 7])
                plugin.call("push", save(block, {"first": str(first)}))
            part = load(bytes(plugin.call("finish", b"")))

    for i, (query, positive) in enumerate(pairs):
        found = range(part["offsets"][i], part["offsets"][i + 1])
        line = {
            "query_id": query,
            "positive_id": positive,
            "d_q_pd": 1 - float(part["s_q_pd"][i]),
            "negatives": [
                {
                    "id": documents[part["position"][j]],
                    "rank": rank,
                    "d_q_d": 1 - float(part["s_q_d"][j]),
                    "d_pd_d": 1 - float(part["s_pd_d"][j]),
                }
                for rank, j in enumerate(found, 1)
            ],
        }
        if not line["negatives"]:
            line["none"] = "eq6" if part["window"][i] else "window"
        print(json.dumps(line, ensure_ascii=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
