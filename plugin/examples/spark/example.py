"""Writes the embedded example as Parquet, mines it on Spark, compares the negatives with the command line's, and measures.

    python example.py bin/examples/case bin/examples/spark > line.json
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
from folder import Folder, judged, read
from mine import PROJECTED, Task, ids_of, mine, project, task_of
from pyspark.sql import SparkSession
from quarry_plugin import Array, Instance, Options, Pairs, Projection, lines
from safetensors.numpy import load


def write(file: Path, columns: dict[str, object], models: dict[str, Array]) -> None:
    """A Parquet file with a column of float lists for each model; Parquet knows float16, and Spark does not."""
    lists = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(np.asarray(array, np.float32).ravel()), array.shape[1]) for name, array in models.items()
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**columns, **lists}), file, row_group_size=1024)


def write_folder(case: Path, data: Folder, out: Path) -> None:
    """A folder as mine.py reads it; the documents are four files."""
    for i, rows in enumerate(np.array_split(np.arange(len(data.documents)), 4)):
        columns = {"position": rows, "id": [data.documents[row] for row in rows]}
        write(out / "documents.parquet" / f"{i}.parquet", columns, {model: array[rows] for model, array in data.document_vectors.items()})
    write(out / "queries.parquet", {"id": data.queries}, data.query_vectors)
    pairs = [pair for split in ("train", "test") for pair in judged(case / "data" / "qrels" / f"{split}.tsv")]
    columns = {"n": range(len(pairs)), "query_id": [q for q, _ in pairs], "document_id": [d for _, d in pairs], "score": [1.0] * len(pairs)}
    pq.write_table(pa.table(columns), out / "judgements.parquet")


def mined(spark: SparkSession, case: Path, folder: Path) -> bool:
    """Whether the negatives are the command line's, with documents as the files hold them, and dealt to
    partitions one by one, and projected."""
    documents, queries, judgements = (spark.read.parquet(f"{folder}/{name}.parquet") for name in ("documents", "queries", "judgements"))
    projection, equal = Projection.load(case / "projection.safetensors"), True
    for rule, name in (("dual", "negatives.jsonl"), ("capped", "negatives-capped.jsonl")):
        task = task_of(documents, queries, judgements, projection, Options(rule=rule))  # type: ignore[typeddict-item]
        for rows in (documents, documents.repartition(3), project(documents, projection)):
            part = mine(rows, task)
            text = "".join(line + "\n" for line in lines(part, task.pairs.pairs, ids_of(documents, part).__getitem__))
            equal = equal and text == (case / name).read_text(encoding="utf-8")
            print(f"{rule}: {rows.rdd.getNumPartitions()} partitions, {len(part.tensors['position'])} negatives", file=sys.stderr)
    return equal


def speed(spark: SparkSession, bench: Path, folder: Path) -> tuple[int, bool]:
    """MB/s of a job that mines a Parquet file of projected vectors, and whether its part is right."""
    rows, pair = (load((bench / f"{name}.safetensors").read_bytes()) for name in ("push", "begin"))
    write(folder / "bench.parquet", {"position": np.arange(len(rows["documents"]))}, {PROJECTED: rows["documents"]})
    documents = spark.read.parquet(f"{folder}/bench.parquet")
    projection = Projection.load(bench / "projection.safetensors")
    task = Task(pair["queries"], pair["positives"], Pairs([("q", "p")]), [[]], projection, Options(rule="topk"))
    speeds, equal = [], True
    for _ in range(10):
        begin = time.perf_counter()
        part = mine(documents, task)
        speeds.append(rows["documents"].nbytes / (time.perf_counter() - begin) / 1e6)
        equal = equal and part.data == (bench / "push.part").read_bytes()
    return round(statistics.median(speeds)), equal


def info(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for _ in batches:
        yield pa.RecordBatch.from_pydict({"abi": [Instance().info()["abi"]]})


def main() -> None:
    case, out = Path(sys.argv[1]), Path(sys.argv[2])
    os.environ["PYSPARK_PYTHON"] = sys.executable
    begin = time.perf_counter()
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.files.openCostInBytes", "0")  # so that a small example has several partitions
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.warehouse.dir", str(out / "warehouse"))
        .getOrCreate()
    )
    spark.range(1).mapInArrow(info, "abi string").collect()
    start = 1e3 * (time.perf_counter() - begin)
    write_folder(case, read(case / "data", "all"), out / "folder")
    equal = mined(spark, case, out / "folder")
    megabytes, same = speed(spark, case / "bench", out)
    java = spark.sparkContext._jvm.System.getProperty("java.version")  # type: ignore[union-attr]
    spark.stop()
    result = {
        "host": "Spark, mapInArrow",
        "version": f"{pyspark.__version__} on Java {java}",
        "start_ms": round(start, 1),
        "in_mb_s": megabytes,
        "select_raw_ms": None,
        "select_projected_ms": None,
        "equal": equal and same,
    }
    print(json.dumps(result))
    sys.exit(not result["equal"])


if __name__ == "__main__":
    main()
