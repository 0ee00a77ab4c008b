"""Mines the pairs of a folder with the package, and writes negatives.jsonl as the command line does.

    python mine.py FOLDER projection.safetensors [--split all] [--rule capped] [--how select] > negatives.jsonl
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from folder import Folder, read
from quarry_plugin import Array, Mined, Miner, Options, Projection, lines, select


def rows(vectors: dict[str, Array], order: list[str], wanted: list[str]) -> dict[str, Array]:
    """The rows of ids, of each model."""
    place = {name: row for row, name in enumerate(order)}
    picked = [place[name] for name in wanted]
    return {model: array[picked] for model, array in vectors.items()}


def mine(data: Folder, projection: Projection, how: str, options: Options) -> Iterable[Mined]:
    """Projects everything once, then mines it: pair by pair by `select`, or all pairs in one stream by a `Miner`."""
    documents = projection.transform(data.document_vectors)
    queries = projection.transform(rows(data.query_vectors, data.queries, data.pairs.queries))
    positives = projection.transform(rows(data.document_vectors, data.documents, data.pairs.positives))
    if how == "select":
        return [
            select(queries[q], positives[p], documents, exclude=data.exclude[q], projection=projection, **options)
            for q, p in data.pairs.index.tolist()
        ]
    miner = Miner(queries, positives, data.pairs.index, exclude=data.exclude, projection=projection, **options)
    for first in range(0, len(documents), 100):  # as from a stream: any blocks give the same
        miner.push(documents[first : first + 100])
    return miner.finish()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("projection", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--rule", default="dual")
    parser.add_argument("--how", default="push", choices=["push", "select"])
    args = parser.parse_args()
    data = read(args.folder, args.split)
    found = mine(data, Projection.load(args.projection), args.how, Options(rule=args.rule))
    for line in lines(found, data.pairs.pairs, data.documents.__getitem__):
        print(line)


if __name__ == "__main__":
    main()
