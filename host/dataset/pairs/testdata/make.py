"""Writes the files of this folder by the programs that people keep pairs with: python make.py

pyarrow 26.0.1 and datasets 5.2.0 made what is committed. The files of a folder hold the same rows: rows.jsonl is what pyarrow
reads of them, as json writes it.
"""

import json
import pathlib
import shutil

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
from datasets import Dataset
from datasets.utils.logging import disable_progress_bar

HERE = pathlib.Path(__file__).parent

# Texts that come again are one document, or one query; what is null or empty is none.
texts = pa.table({
    "negative": ["n", None, "a", "n", ""],
    "anchor": ["q", "r", "q", "q é", "r"],
    "score": [0.5, 1.0, float("nan"), 0.0, None],
    "positive": ["a", "b", "c", "a", "\u00e9 \U0001f600\n\t\"quoted\""],
    "neg": pa.nulls(5),  # pandas has such a column where there are no negatives
    "answer": pa.array([[]] * 5, pa.list_(pa.null())),
})
lists = pa.table({
    "query": ["q", "r", "s", "q"],
    "pos": [["a"], ["b", None, "a", ""], ["c"], ["d", "d"]],
    "neg": [["n", "m"], [], None, [None, "b"]],
    "id": [1, 2, 3, 4],
})


def large(table):
    def of(t):
        if pa.types.is_list(t):
            return pa.large_list(pa.large_string())
        return pa.large_string() if pa.types.is_string(t) else t

    return table.cast(pa.schema([(f.name, of(f.type)) for f in table.schema]))


def write(name, table):
    f = HERE / name
    shutil.rmtree(f, ignore_errors=True)
    f.mkdir()
    for kind, options in {
        "plain": {},
        "groups": dict(row_group_size=2, compression="zstd"),
        "pages": dict(data_page_size=1, write_batch_size=1, use_dictionary=False, compression="none"),
        "pages-v2": dict(row_group_size=3, data_page_version="2.0", compression="gzip"),
    }.items():
        pa.parquet.write_table(table, f / f"{kind}.parquet", **options)
    pa.parquet.write_table(large(table), f / "large.parquet")
    with pa.ipc.new_file(f / "file.arrow", table.schema) as w:
        w.write_table(table, max_chunksize=2)
    with pa.ipc.new_stream(f / "large.arrows", table.schema) as w:
        w.write_table(table.slice(1, 0))
        w.write_table(table, max_chunksize=3)
    pa.feather.write_feather(large(table), f / "lz4.feather", compression="lz4", chunksize=3)
    read = pa.parquet.read_table(f / "plain.parquet").to_pylist()
    (f / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in read))


def parts():
    f = HERE / "parts"  # of texts
    shutil.rmtree(f, ignore_errors=True)
    Dataset(texts).save_to_disk(f / "saved", num_shards=2)
    for i, part in enumerate((texts.slice(0, 3), texts.slice(3))):
        pa.parquet.write_table(part, f / f"train-0000{i}-of-00002.parquet")


def unsound():
    f = HERE / "unsound"
    shutil.rmtree(f, ignore_errors=True)
    f.mkdir()
    for name, columns in {
        "numbers": {"query": [1, 2], "positive": ["a", "b"]},
        "several": {"query": [["q"], ["r"]], "positive": ["a", "b"]},
        "groups": {"query": ["q"], "positive": [{"text": "a", "score": 1.0}]},
        "objects": {"query": ["q"], "positive": [[{"text": "a"}]]},
        "vectors": {"query": ["q"], "positive": ["a"], "negative": [[1.0, 2.0]]},
        "other": {"question": ["q"], "positive": ["a"]},
        "no-positive": {"query": ["q"], "document": ["a"]},
        "null-query": {"query": ["q", None], "positive": ["a", "b"]},
        "no-texts": {"anchor": ["q", "r", "s"], "positive": [["a"], ["b"], [None, ""]]},
        "not-utf-8": {"query": ["q", "r"], "positive": pa.array([b"a", b"\xff"], pa.binary())},
    }.items():
        table = pa.table(columns)
        pa.parquet.write_table(table, f / f"{name}.parquet")
        with pa.ipc.new_file(f / f"{name}.arrow", table.schema) as w:
            w.write_table(table)


disable_progress_bar()
write("texts", texts)
write("lists", lists)
parts()
unsound()
