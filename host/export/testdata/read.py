"""Load what TestReaders wrote with the libraries that train with it: one file a format, in the folder of the first argument.

datasets loads the formats of sentence-transformers, and its trainer's collator takes what comes. FlagEmbedding, Tevatron and DPR are not installed:
their files are loaded by datasets or json and compared with the fields that their documentation names.
"""

import json
import sys

import datasets
from sentence_transformers.base.data_collator import BaseDataCollator

folder = sys.argv[1]
datasets.disable_progress_bars()


def load(name, format="json"):
    return datasets.load_dataset(format, data_files=f"{folder}/{name}", split="train", cache_dir=f"{folder}/cache")


def expect(name, got, want):
    assert got == want, f"{name}: {got}; expected {want}"
    print(name, got)


collator = BaseDataCollator(preprocess_fn=lambda texts, **_: {"input_ids": texts})
for name, columns, label in [
    ("triplet", ["query", "positive", "negative"], None),
    ("n-tuple", ["query", "positive", "negative_1"], None),
    ("labeled-pair", ["query", "document"], "label"),
    ("labeled-list", ["query", "documents"], "labels"),
]:
    data = load(name)
    expect(name, data.column_names, columns + ([label] if label else []))
    table = load(f"{name}.parquet", "parquet")
    expect(f"{name}.parquet", (table.column_names, table.to_list()), (data.column_names, data.to_list()))
    batch = collator([data[i] for i in range(min(2, len(data)))])
    for column in columns:
        assert f"{column}_input_ids" in batch, (name, sorted(batch))
    assert ("label" in batch) == (label is not None), (name, sorted(batch))

# FlagEmbedding: docs of its fine-tuning: {"query": str, "pos": List[str], "neg": List[str]}.
row = load("flagembedding")[0]
expect("flagembedding.parquet", load("flagembedding.parquet", "parquet")[0], row)
expect("flagembedding", {k: type(v) for k, v in row.items()}, {"query": str, "pos": list, "neg": list})
assert all(isinstance(text, str) for text in row["pos"] + row["neg"])

# Tevatron: its README's "Custom Dataset".
row = load("tevatron")[0]
expect("tevatron", sorted(row), ["negative_passages", "positive_passages", "query", "query_id"])
for passage in row["positive_passages"] + row["negative_passages"]:
    expect("tevatron's passage", sorted(passage), ["docid", "text", "title"])

# DPR: README, "Retriever input data format".
with open(f"{folder}/dpr") as f:
    row = json.load(f)[0]
expect("dpr", sorted(row), ["answers", "hard_negative_ctxs", "negative_ctxs", "positive_ctxs", "question"])
for passage in row["positive_ctxs"] + row["hard_negative_ctxs"]:
    assert {"title", "text"} <= set(passage), passage

# MS MARCO's triples: three columns.
with open(f"{folder}/tsv") as f:
    expect("tsv", {line.count("\t") for line in f}, {2})
