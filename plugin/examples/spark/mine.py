"""Mines hard negatives of a data frame of documents on Spark: each partition gives a part, and the driver merges the parts.

    python mine.py FOLDER projection.safetensors --rule capped > negatives.jsonl

FOLDER has Parquet files or folders of them; a vector is an array of floats, in a column named as the projection's model is:

    documents.parquet    position (bigint, each once), id, a column for each model; or a column `projected`, as project() makes it
    queries.parquet      id, a column for each model
    judgements.parquet   n (the order of the pairs), query_id, document_id, score (above 0: relevant)
"""

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col
from quarry_plugin import Array, Miner, Options, Pairs, Part, Projection, Vectors, lines, merge


@dataclass
class Task:
    """What every partition mines: pairs, as a `Miner` takes them, and how."""

    queries: Vectors
    positives: Vectors
    pairs: Pairs[str]
    exclude: list[list[int]]
    projection: Projection
    options: Options


PROJECTED = "projected"


def columns(documents: DataFrame, projection: Projection) -> list[str]:
    """The columns of vectors: `projected`, or one for each model."""
    return [PROJECTED] if PROJECTED in documents.columns else [model.name for model in projection.models]


def vectors(batch: Any, projection: Projection) -> Vectors:
    """The vectors of a record batch, or of a table."""

    def array(name: str, width: int) -> Array:
        column = batch[name].combine_chunks() if isinstance(batch, pa.Table) else batch[name]
        rows: Array = column.flatten().to_numpy().reshape(-1, width)
        return rows

    if PROJECTED in batch.schema.names:
        return array(PROJECTED, projection.components)
    return {model.name: array(model.name, model.width) for model in projection.models}


def project(documents: DataFrame, projection: Projection) -> DataFrame:
    """Projects all documents: position, id and `projected`. Write it once, and mine it as often as you like."""
    shared = documents.sparkSession.sparkContext.broadcast(projection)

    def projected(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = shared.value.transform(vectors(batch, shared.value))
            lists = pa.FixedSizeListArray.from_arrays(rows.ravel(), rows.shape[1]).cast(pa.list_(pa.float32()))
            yield pa.RecordBatch.from_pydict({"position": batch["position"], "id": batch["id"], PROJECTED: lists})

    raw = documents.select("position", "id", *columns(documents, projection))
    return raw.mapInArrow(projected, f"position bigint, id string, {PROJECTED} array<float>")


def runs(position: NDArray[np.int64]) -> Iterator[slice]:
    """Slices in which each position follows the one before: one push each."""
    cuts = [0, *(np.flatnonzero(np.diff(position) != 1) + 1).tolist(), len(position)]
    return (slice(first, end) for first, end in zip(cuts, cuts[1:], strict=False) if end > first)


def cut(rows: Vectors, run: slice) -> Vectors:
    return rows[run] if isinstance(rows, np.ndarray) else {model: array[run] for model, array in rows.items()}


def mine(documents: DataFrame, task: Task) -> Part:
    """Mines the pairs against all rows. How rows lie in partitions makes no difference; it is fastest where positions ascend in each."""
    shared = documents.sparkSession.sparkContext.broadcast(task)

    def part(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        t, miner = shared.value, None
        for batch in batches:
            miner = miner or Miner(t.queries, t.positives, t.pairs.index, exclude=t.exclude, projection=t.projection, **t.options)
            position, rows = batch["position"].to_numpy(), vectors(batch, t.projection)
            for run in runs(position):
                miner.push(cut(rows, run), first=int(position[run.start]))
        if miner:  # the partition had rows
            yield pa.RecordBatch.from_pydict({"part": [miner.finish().data]})

    rows = documents.select("position", *columns(documents, task.projection))
    parts = rows.mapInArrow(part, "part binary").collect()
    return merge(bytes(row["part"]) for row in parts)


def picked(table: pa.Table, ids: list[str]) -> pa.Table:
    """The rows of some ids, in their order."""
    place = {name: row for row, name in enumerate(table["id"].to_pylist())}
    if missing := [name for name in ids if name not in place]:
        raise LookupError(f"{len(missing)} ids of judgements are in no row, the first of them {missing[0]}")
    return table.take([place[name] for name in ids])


def task_of(documents: DataFrame, queries: DataFrame, judgements: DataFrame, projection: Projection, options: Options) -> Task:
    """All judged pairs. A document judged relevant to a query is not its negative, and neither is a document that is the query itself."""
    judged = judgements.where("score > 0").orderBy("n").toArrow()
    pairs = Pairs(list(zip(judged["query_id"].to_pylist(), judged["document_id"].to_pylist(), strict=True)))
    named = judgements.select(col("document_id").alias("id")).union(judgements.select(col("query_id").alias("id"))).distinct()
    found = documents.join(named, "id", "left_semi").toArrow()  # the documents that pairs name
    position = dict(zip(found["id"].to_pylist(), found["position"].to_pylist(), strict=True))
    exclude = {query: {position[query]} if query in position else set() for query in pairs.queries}
    for query, document in pairs.pairs:
        exclude[query].add(position[document])
    asked = picked(queries.join(named, "id", "left_semi").toArrow(), pairs.queries)
    positives = vectors(picked(found, pairs.positives), projection)
    return Task(
        projection.transform(vectors(asked, projection)),
        positives if isinstance(positives, np.ndarray) else projection.transform(positives),
        pairs,
        [sorted(positions) for positions in exclude.values()],
        projection,
        options,
    )


def ids_of(documents: DataFrame, part: Part) -> dict[int, str]:
    """The ids of the negatives, by position."""
    wanted = documents.sparkSession.createDataFrame(pa.table({"position": np.unique(part.tensors["position"])}))
    found = documents.select("position", "id").join(wanted, "position", "left_semi").toArrow()
    return dict(zip(found["position"].to_pylist(), found["id"].to_pylist(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("projection")
    parser.add_argument("--rule", default="dual")
    args = parser.parse_args()
    spark = SparkSession.builder.getOrCreate()
    documents, queries, judgements = (spark.read.parquet(f"{args.folder}/{name}.parquet") for name in ("documents", "queries", "judgements"))
    task = task_of(documents, queries, judgements, Projection.load(args.projection), Options(rule=args.rule))
    part = mine(documents, task)
    for line in lines(part, task.pairs.pairs, ids_of(documents, part).__getitem__):
        print(line)


if __name__ == "__main__":
    main()
