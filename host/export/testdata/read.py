"""Load what TestReaders wrote with the libraries that train with it: one file a format, in the folder of the first argument.

datasets loads the formats of sentence-transformers, and its trainer's collator takes what comes. FlagEmbedding 1.4.2 and tevatron 0.1.0 load
theirs by their own training datasets, and DPR's, which no registry has, is compared with the fields that its documentation names.
    pip install datasets sentence-transformers==6.2.0
    pip install --no-deps FlagEmbedding==1.4.2 tevatron==0.1.0
"""

import importlib
import importlib.util
import shutil
import types
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



def bare(*packages):
    """Lets modules of packages be imported without what the packages' own __init__ imports, models and their versions of transformers."""
    for name in packages:
        places = list(importlib.util.find_spec(name).submodule_search_locations)
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = places


# FlagEmbedding: what its trainer gives of a row: a query, a positive and negatives, and their scores.
bare("FlagEmbedding", "FlagEmbedding.abc", "FlagEmbedding.abc.finetune", "FlagEmbedding.abc.finetune.embedder")
Dataset = importlib.import_module("FlagEmbedding.abc.finetune.embedder.AbsDataset").AbsEmbedderTrainDataset
row = load("flagembedding")[0]
expect("flagembedding.parquet", load("flagembedding.parquet", "parquet")[0], row)
for name, scores in ("flagembedding", False), ("flagembedding-scores", True):
    shutil.copy(f"{folder}/{name}", f"{folder}/{name}.jsonl")
    given = Dataset(types.SimpleNamespace(
        train_data=[f"{folder}/{name}.jsonl"], cache_path=f"{folder}/cache", max_example_num_per_dataset=1000, shuffle_ratio=0, train_group_size=2,
        knowledge_distillation=scores, query_instruction_for_retrieval=None, passage_instruction_for_retrieval=None), None)
    query, (positive, negative), teacher = given[0]
    assert query == row["query"] and positive in row["pos"] and negative in row["neg"], (query, positive, negative)
    assert (teacher is not None) == scores and (not scores or all(-1 <= s <= 1 for s in teacher)), teacher
    print(name, query, positive, negative, teacher)

# Tevatron: what its trainer gives of a row, with words in place of tokens.
bare("tevatron", "tevatron.datasets")
Dataset = importlib.import_module("tevatron.datasets.dataset").HFTrainDataset
words = types.SimpleNamespace(encode=lambda text, **_: text.split())
given = Dataset(words, types.SimpleNamespace(
    train_path=[f"{folder}/tevatron"], dataset_split="train", dataset_name="json", dataset_language="default", q_max_len=32, p_max_len=128,
    dataset_proc_num=1, train_n_passages=2, passage_field_separator=" "), f"{folder}/cache")
given.preprocessor = importlib.import_module("tevatron.datasets.preprocessor").TrainPreProcessor
row = json.loads(open(f"{folder}/tevatron").readline())
words_of = lambda passages: [f"{p['title']} {p['text']}".split() for p in passages]
expect("tevatron", given.process()[0],
       {"query": row["query"].split(), "positives": words_of(row["positive_passages"]), "negatives": words_of(row["negative_passages"])})

# DPR: README, "Retriever input data format".
with open(f"{folder}/dpr") as f:
    row = json.load(f)[0]
expect("dpr", sorted(row), ["answers", "hard_negative_ctxs", "negative_ctxs", "positive_ctxs", "question"])
for passage in row["positive_ctxs"] + row["hard_negative_ctxs"]:
    assert {"title", "text"} <= set(passage), passage

# MS MARCO's triples: three columns.
with open(f"{folder}/tsv") as f:
    expect("tsv", {line.count("\t") for line in f}, {2})
