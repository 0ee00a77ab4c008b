"""Writes the files of this folder by the programs that people keep vectors with: python make.py

numpy 2.4.6, ml_dtypes 0.6.0, safetensors 0.8.0, pyarrow 26.0.1, datasets 5.2.0, faiss-cpu 1.15.1 (with its contrib),
sentence-transformers 6.2.0 and torch 2.15.0 made what is committed. All files but those in quantised hold the same values:
row i, column j is (4 i + j - 9) / 8, which float16 and bfloat16 hold exactly, and int8 with the scale 1/8.
"""

import gzip
import json
import pathlib
import shutil

import faiss
import ml_dtypes
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import safetensors.numpy
import safetensors.torch
import torch
from datasets import Dataset
from datasets.utils.logging import disable_progress_bar
from faiss.contrib import vecs_io
from sentence_transformers.util import quantization

HERE = pathlib.Path(__file__).parent
ROWS, COLUMNS = 7, 4
x = ((np.arange(ROWS * COLUMNS) - 9) / 8).reshape(ROWS, COLUMNS)
ids = [f"d{i}" for i in range(ROWS)]
other = [5, 0, 6, 2, 1, 4, 3]  # another order of the rows


def folder(name):
    path = HERE / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    return path


def npy():
    f = folder("npy")
    for name in ("f2", "f4", "f8"):
        np.save(f / f"{name}.npy", x.astype("<" + name))
        np.save(f / f"big-{name}.npy", x.astype(">" + name))
        np.save(f / f"fortran-{name}.npy", np.asfortranarray(x.astype("<" + name)))
    np.save(f / "fortran-big.npy", np.asfortranarray(x.astype(">f4")))
    np.save(f / "bfloat16.npy", x.astype(ml_dtypes.bfloat16))
    np.save(f / "int8.npy", (8 * x).astype(np.int8))
    np.save(f / "int8.scale.npy", np.float32(1 / 8))
    np.save(f / "int8-columns.npy", (8 * x).astype(np.int8))
    np.save(f / "int8-columns.scale.npy", np.full(COLUMNS, 1 / 8))
    np.save(f / "int8-rows.npy", (8 * x).astype(np.int8))
    np.save(f / "int8-rows.scale.npy", np.full((ROWS, 1), 1 / 8, np.float32))
    np.savez(f / "one.npz", x.astype(np.float32))
    np.savez_compressed(f / "compressed.npz", x.astype(np.float16))
    np.savez(f / "two.npz", docs=x, queries=x[:2])


def quantised():
    f = folder("quantised")
    values = np.random.default_rng(1).standard_normal((ROWS, COLUMNS)).astype(np.float32)
    ranges = np.vstack((values.min(axis=0), values.max(axis=0)))
    for precision in ("int8", "uint8"):
        q = quantization.quantize_embeddings(values, precision, ranges=ranges)
        np.save(f / f"{precision}.npy", q)
        np.save(f / f"{precision}.ranges.npy", ranges)
        np.save(f / f"{precision}.expected.npy", quantization._dequantize_embeddings(q, precision, ranges).astype(np.float32))


def tensors():
    f = folder("safetensors")
    for name in ("f2", "f4", "f8"):
        safetensors.numpy.save_file({"embeddings": x.astype(name)}, f / f"{name}.safetensors")
    safetensors.torch.save_file({"embeddings": torch.tensor(x).bfloat16()}, f / "bfloat16.safetensors")
    safetensors.numpy.save_file({"a": x[::-1].copy(), "b": x, "bias": x[0].copy()}, f / "two.safetensors")


def columns():
    flat = pa.array(x.reshape(-1), pa.float32())
    return {
        "list": pa.array(x.tolist(), pa.list_(pa.float32())),
        "fixed": pa.FixedSizeListArray.from_arrays(flat, COLUMNS),
        "half": pa.FixedSizeListArray.from_arrays(pa.array(x.astype(np.float16).reshape(-1)), COLUMNS),
        "large": pa.array(x.tolist(), pa.large_list(pa.float64())),
    }


def tables():
    parquet, arrow = folder("parquet"), folder("arrow")
    all_columns = columns()
    for name, column in all_columns.items():
        table = pa.table({"embedding": column})
        pa.parquet.write_table(table, parquet / f"{name}.parquet")
        with pa.ipc.new_file(arrow / f"{name}.arrow", table.schema) as w:
            w.write_table(table, max_chunksize=3)
    table = pa.table({"_id": ids, "text": ["x"] * ROWS, "n": range(ROWS), "a": all_columns["half"], "b": pa.array((-x).tolist(), pa.list_(pa.float64()))})
    # Small groups and pages, so that there are many.
    for name, options in {
        "groups": dict(row_group_size=3),
        "pages": dict(data_page_size=16, write_batch_size=1, use_dictionary=False),
        "pages-v2": dict(row_group_size=3, data_page_version="2.0", compression="zstd"),
        "gzip": dict(compression="gzip"),
        "plain": dict(compression="none", use_dictionary=False),
    }.items():
        pa.parquet.write_table(table, parquet / f"{name}.parquet", **options)
    pa.parquet.write_table(table.take(other), parquet / "other-order.parquet")
    numbers = table.set_column(0, "id", pa.array(range(ROWS), pa.int64()))
    pa.parquet.write_table(numbers.take(other), parquet / "numbers.parquet")
    pa.parquet.write_table(table.take([0, 1, 2, 3, 4, 6]), parquet / "missing.parquet")
    pa.parquet.write_table(table.take([0, 1, 2, 3, 4, 5, 6, 2]), parquet / "twice.parquet")
    # The last page of this one has no values, and parquet-go 0.32 panics there.
    pa.parquet.write_table(table, parquet / "empty-page.parquet", data_page_version="2.0", data_page_size=1, write_batch_size=1)
    pa.parquet.write_table(pa.table({"embedding": pa.array([[1.0, 2.0], [3.0, None]])}), parquet / "null.parquet")
    pa.parquet.write_table(pa.table({"embedding": pa.array([[1.0, 2.0], [3.0]])}), parquet / "ragged.parquet")
    for codec in ("lz4", "zstd", "uncompressed"):
        pa.feather.write_feather(table.take(other), arrow / f"{codec}.feather", compression=codec, chunksize=2)
    with pa.ipc.new_stream(arrow / "stream.arrows", table.schema) as w:
        w.write_table(table, max_chunksize=2)
    nulls = pa.table({"embedding": pa.array([[1.0, 2.0], None, [3.0, 4.0]])})
    with pa.ipc.new_file(arrow / "null.arrow", nulls.schema) as w:
        w.write_table(nulls)
    shared = folder("shared")  # one table with ids, titles, texts and the vectors of two models
    titles = ["A"] * 3 + [None] * (ROWS - 3)
    one = pa.table({"id": ids, "title": titles, "text": [f"text of {i}" for i in ids], "m": all_columns["half"], "n": all_columns["large"]}).take(other)
    pa.parquet.write_table(one, shared / "docs.parquet", row_group_size=3)
    with pa.ipc.new_stream(shared / "docs.arrows", one.schema) as w:
        w.write_table(one, max_chunksize=2)
    Dataset(table).save_to_disk(HERE / "saved", num_shards=2)
    lines = folder("jsonl")
    Dataset(table.select(["_id", "text", "a"]).take(other)).to_json(lines / "datasets.jsonl")
    text = "".join(json.dumps({"embedding": row}) + "\n" for row in x.astype(np.float32).tolist())
    (lines / "json.jsonl").write_text(text)
    (lines / "gzip.jsonl.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def codecs():
    """All rows twenty times, so that a page takes more than a kilobyte."""
    f = folder("codecs")
    many = np.tile(x, (20, 1)).astype(np.float32)
    table = pa.table({"embedding": pa.array(many.tolist(), pa.list_(pa.float32()))})
    for codec in ("snappy", "gzip", "brotli", "zstd", "lz4"):
        pa.parquet.write_table(table, f / f"{codec}.parquet", compression=codec, use_dictionary=False)


def id_types():
    """Rows in another order, with ids of every type that is read, and of some that are not, in a column each."""
    f = folder("ids")
    vectors = columns()["half"].take(pa.array(other))
    texts = pa.array([f"text of {i}" for i in ids]).dictionary_encode()
    table = pa.table({"_id": pa.array(ids).dictionary_encode(), "text": texts}).take(other).append_column("embedding", vectors)
    pa.feather.write_feather(table, f / "dictionary.feather", chunksize=2)
    with pa.ipc.new_stream(f / "dictionary.arrows", table.schema) as w:
        w.write_table(table, max_chunksize=2)
    numbers = {}
    for bits in (8, 16, 32, 64):
        numbers[f"int{bits}"] = pa.array([i - 2 ** (bits - 1) for i in other], f"int{bits}")  # the least
        numbers[f"uint{bits}"] = pa.array([2**bits - ROWS + i for i in other], f"uint{bits}")  # the greatest
    others = {
        "_id": pa.array([ids[i].encode() for i in other]).cast(pa.binary(2)),
        "float": pa.array(other, pa.float64()),
        "decimal": pa.array(other, pa.decimal128(5, 0)),
        "date": pa.array(other, pa.date32()),
        "struct": pa.array([{"id": ids[i]} for i in other]),
        "bool": pa.array([i > 2 for i in other]),
        "list": pa.array([[ids[i]] for i in other]),
    }
    table = pa.table({**others, **numbers, "embedding": vectors})
    pa.parquet.write_table(table, f / "types.parquet", store_decimal_as_integer=True)
    pa.parquet.write_table(pa.table({"_id": [b"d0", b"\xff\xfe"], "embedding": vectors[:2]}), f / "not-utf-8.parquet")
    pa.parquet.write_table(pa.table({
        "bytes": pa.array([[b"ab"]], pa.list_(pa.binary(2))),
        "decimals": pa.array([[1]], pa.list_(pa.decimal128(4, 1))),
        "embedding": vectors[:1],
    }), f / "two-bytes.parquet")
    same = pa.Table.from_arrays([pa.array(ids[:2]), pa.array(ids[1::-1]), vectors[:2]], names=["_id", "_id", "embedding"])
    pa.parquet.write_table(same, f / "same-name.parquet")
    pa.feather.write_feather(same, f / "same-name.feather")
    run_ends = pa.RunEndEncodedArray.from_arrays(pa.array(range(1, ROWS + 1), pa.int32()), pa.array([ids[i] for i in other]))
    table = table.append_column("run-ends", run_ends).append_column("binary", pa.array([ids[i].encode() for i in other]))
    with pa.ipc.new_file(f / "types.arrow", table.schema) as w:
        w.write_table(table)


def index():
    f = folder("faiss")
    for name, made in {"ip": faiss.IndexFlatIP(COLUMNS), "l2": faiss.IndexFlatL2(COLUMNS)}.items():
        made.add(x.astype(np.float32))
        faiss.write_index(made, str(f / f"{name}.faiss"))
    with_ids = faiss.IndexIDMap2(faiss.IndexFlatIP(COLUMNS))
    with_ids.add_with_ids(x.astype(np.float32), np.array(other))
    faiss.write_index(with_ids, str(f / "ids.faiss"))
    hnsw = faiss.IndexHNSWFlat(COLUMNS, 4)
    hnsw.add(x.astype(np.float32))
    faiss.write_index(hnsw, str(f / "hnsw.faiss"))
    vecs_io.fvecs_write(str(f / "x.fvecs"), x.astype(np.float32))
    vecs_io.ivecs_write(str(f / "x.ivecs"), (8 * x).astype(np.int32))


def parts():
    f = folder("parts")
    for i, rows in enumerate((x[:1], x[1:5], x[5:])):
        np.save(f / f"part-{9 + i}.npy", rows.astype(np.float32))  # part-9, part-10, part-11


disable_progress_bar()
for write in (npy, quantised, tensors, tables, codecs, id_types, index, parts):
    write()
