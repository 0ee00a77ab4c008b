"""Mines hard negatives of vectors in PostgreSQL, by pgvector's columns, into tables (schema.sql).

    python mine.py postgresql://user@host/database projection.safetensors --rule capped
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from pgvector.psycopg import register_vector
from psycopg.sql import SQL, Composable, Identifier
from quarry_plugin import Array, Mined, Miner, Options, Pairs, Part, Projection, select

Connection = psycopg.Connection[tuple[Any, ...]]

BLOCK = 2048  # documents in memory at once

# A document's position is its place in the order of the ids. It breaks ties, so the same tables give the same negatives.
POSITIONS = """
    create temp table positions on commit drop as
        select id, row_number() over (order by id collate "C") - 1 as position from documents;
    alter table positions add primary key (position);
    create unique index on positions (id);
    analyze positions"""

# A document judged relevant to a query is not its negative, and neither is a document that is the query itself.
EXCLUDED = """
    select query_id, array_agg(distinct position) from (
        select query_id, position from judgements join positions on id = document_id where score > 0
        union all select id, position from queries join positions using (id)
    ) as excluded group by query_id"""


def connect(url: str) -> Connection:
    """A connection that knows pgvector's type."""
    connection = psycopg.connect(url, autocommit=True)  # so that a transaction below is one of the database's
    register_vector(connection)
    return connection


def columns(models: Sequence[str]) -> Composable:
    return SQL(", ").join(map(Identifier, models))


def arrays(rows: list[tuple[Any, ...]], models: Sequence[str]) -> dict[str, Array]:
    """Rows of vectors, a column for each model, as one array for each model."""
    return {model: np.stack([row[i].to_numpy() for row in rows]) for i, model in enumerate(models)}


def picked(connection: Connection, table: str, models: Sequence[str], ids: list[str]) -> dict[str, Array]:
    """The vectors of some ids, in their order."""
    query = SQL("select {} from unnest(%s::text[]) with ordinality as wanted (id, n) join {} using (id) order by wanted.n")
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(query.format(columns(models), Identifier(table)), [ids]).fetchall()
    if len(rows) != len(ids):
        raise LookupError(f"{len(ids) - len(rows)} ids of judgements are not in {table}")
    return arrays(rows, models)


def streamed(connection: Connection, models: Sequence[str]) -> Iterator[dict[str, Array]]:
    """The vectors of all documents by position, a block at a time, through a cursor on the server."""
    with connection.cursor(name="documents", binary=True) as cursor:
        cursor.execute(SQL('select {} from documents order by id collate "C"').format(columns(models)))
        while rows := cursor.fetchmany(BLOCK):
            yield arrays(rows, models)


def mine(connection: Connection, projection: Projection, options: Options) -> int:
    """Mines all judged pairs against all documents, writes the tables, and returns how many negatives there are."""
    models = [model.name for model in projection.models]
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read")  # all queries see the same tables
        connection.execute(POSITIONS)
        judged = connection.execute("select n, query_id, document_id from judgements where score > 0 order by n").fetchall()
        pairs = Pairs([(query, document) for _, query, document in judged])
        excluded: dict[str, list[int]] = dict(connection.execute(EXCLUDED).fetchall())
        miner = Miner(
            picked(connection, "queries", models, pairs.queries),
            picked(connection, "documents", models, pairs.positives),
            pairs.index,
            exclude=[sorted(excluded.get(query, [])) for query in pairs.queries],
            projection=projection,
            **options,
        )
        for block in streamed(connection, models):
            miner.push(block)
        return write(connection, judged, miner.finish())


def write(connection: Connection, judged: list[tuple[Any, ...]], part: Part) -> int:
    """Replaces the rows of pairs and negatives."""
    connection.execute("truncate pairs, negatives")
    found = part.tensors["position"].tolist()
    names: dict[int, str] = dict(connection.execute("select position, id from positions where position = any(%s)", [found]).fetchall())
    with connection.cursor() as cursor:
        with cursor.copy("copy pairs from stdin") as copy:
            for (n, query, positive), mined in zip(judged, part, strict=True):
                copy.write_row((n, query, positive, mined.s_q_pd, mined.none))
        with cursor.copy("copy negatives from stdin") as copy:
            for (n, _, _), mined in zip(judged, part, strict=True):
                for negative in mined.negatives:
                    copy.write_row((n, negative.rank, names[negative.position], negative.s_q_d, negative.s_pd_d))
    return len(found)


def index(connection: Connection, projection: Projection) -> None:
    """Projects all documents once, into a table that `live` searches. Where there are many, it should have an index of pgvector's."""
    models = [model.name for model in projection.models]
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("set transaction isolation level repeatable read")
        cursor.execute(SQL("create table projected (id text primary key, vector vector({}))").format(projection.components))
        ids = iter(cursor.execute('select id from documents order by id collate "C"').fetchall())
        for block in streamed(connection, models):
            with cursor.copy("copy projected from stdin (format binary)") as copy:
                copy.set_types(["text", "vector"])
                for vector in projection.transform(block):
                    copy.write_row((*next(ids), vector))


def live(connection: Connection, query: Array, query_id: str, positive_id: str, hits: int, options: Options) -> tuple[Mined, list[str]]:
    """The negatives among the nearest documents of one projected query, and the ids of these hits, by position in the answer."""
    with connection.cursor(binary=True) as cursor:
        [(positive,)] = cursor.execute("select vector from projected where id = %s", [positive_id]).fetchall()
        nearest = cursor.execute("select id, vector from projected order by vector <=> %s limit %s", [query, hits]).fetchall()
        judged = cursor.execute("select document_id from judgements where query_id = %s and score > 0", [query_id]).fetchall()
    ids = [name for name, _ in nearest]
    out = {query_id, *(name for (name,) in judged)}
    vectors = np.stack([vector.to_numpy() for _, vector in nearest])
    return select(query, positive.to_numpy(), vectors, exclude=[i for i, name in enumerate(ids) if name in out], **options), ids


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database")
    parser.add_argument("projection", type=Path)
    parser.add_argument("--rule", default="dual")
    parser.add_argument("--top", type=int, default=5)
    args = parser.parse_args()
    with connect(args.database) as connection:
        print(mine(connection, Projection.load(args.projection), Options(rule=args.rule, top=args.top)), "negatives")


if __name__ == "__main__":
    main()
