#!/usr/bin/env python3
"""Makes a folder of vectors that are like real ones, where there are none, and random ones that nothing can be known of.

    made.py like    DESTINATION [--documents 36871] [--queries 5250] [--widths 384,384,768] [--seed 1]
    made.py random  DESTINATION [--documents 36871] [--queries 5250] [--widths 654] [--seed 1]

There are ids and judgements, and no texts. A query has one positive document. The same arguments give the same files.

like: variances fall as those of sentence encoders do, v(i) ~ exp(-i/256) / (i + 6). Documents share a part of their vectors with all others,
with those of their subject, of their section, and of their page, as the sections of manuals do. Three models of 1,536 columns together have
95 % of their variance in 668 components, and half of the pairs have a negative by dual.

random: every direction varies alike, so that a part of a vector says nothing about the rest. A query's positive is the farthest of 1,000
documents, so that a floor rules out nothing either.
"""
import argparse
from pathlib import Path

import numpy as np

BLOCK = 4096
# How many documents share a part, and the part's share of the variance. What is left is a document's own.
SHARED = ((1 << 40, 0.15), (500, 0.15), (50, 0.12), (4, 0.12))
# How much of its positive's own part a query asks for. The less, the more other documents are nearer.
ASKED = 0.05


def like(rng, documents, queries, positives, width):
    """Vectors of one model, of length 1: blocks of documents, then those of the queries."""
    i = np.arange(width)
    scale = np.exp(-i / 512) / np.sqrt(i + 6)
    draw = lambda n: (rng.standard_normal((n, width), dtype=np.float32) * (scale / np.linalg.norm(scale))).astype(np.float32)
    parts = [(size, np.sqrt(share) * draw(-(-documents // size))) for size, share in SHARED]
    own = np.sqrt(1 - sum(share for _, share in SHARED))
    turn = np.linalg.qr(rng.standard_normal((width, width)))[0].astype(np.float32)
    cosine = np.clip(0.7 + 0.16 * np.random.default_rng(queries).standard_normal(queries), 0.05, 0.95)[:, None].astype(np.float32)
    kept = np.empty((queries, width), np.float32)

    def blocks():
        for at in range(0, documents, BLOCK):
            rows = np.arange(at, min(at + BLOCK, documents))
            shared, alone = sum(part[rows // size] for size, part in parts), own * draw(len(rows))
            here = np.flatnonzero((positives >= at) & (positives < at + BLOCK))
            kept[here] = unit((shared + ASKED * alone)[positives[here] - at])
            yield unit(shared + alone) @ turn
        yield unit(cosine * kept + np.sqrt(1 - cosine**2) * unit(draw(queries))) @ turn

    return blocks()


def random(rng, documents, queries, positives, width):
    """As like, and sets the positives."""
    x = unit(rng.standard_normal((documents, width), dtype=np.float32))
    q = unit(rng.standard_normal((queries, width), dtype=np.float32))
    for i in range(queries):
        some = rng.integers(documents, size=min(1000, documents))
        positives[i] = some[np.argmin(x[some] @ q[i])]
    yield from (x[at : at + BLOCK] for at in range(0, documents, BLOCK))
    yield q


def unit(x):
    return x / np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]


def write_model(folder, blocks, documents, width, dtype):
    folder.mkdir(parents=True)
    out = np.lib.format.open_memmap(folder / "docs.npy", mode="w+", dtype=dtype, shape=(documents, width))
    at = 0
    for block in blocks:
        if at == documents:
            np.save(folder / "queries.npy", block.astype(dtype))
            break
        out[at : at + len(block)] = block
        at += len(block)
    out.flush()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("kind", choices=("like", "random"))
    p.add_argument("destination", type=Path)
    p.add_argument("--documents", type=int, default=36871)
    p.add_argument("--queries", type=int, default=5250)
    p.add_argument("--widths", default=None)
    p.add_argument("--seed", type=int, default=1)
    o = p.parse_args()
    kind, dtype, widths = {"like": (like, np.float16, "384,384,768"), "random": (random, np.float32, "654")}[o.kind]
    positives = np.random.default_rng([o.seed, o.documents]).permutation(o.documents)[: o.queries]
    for i, width in enumerate(map(int, (o.widths or widths).split(","))):
        blocks = kind(np.random.default_rng([o.seed, i]), o.documents, o.queries, positives, width)
        write_model(o.destination / "vectors" / f"made{i}", blocks, o.documents, width, dtype)
    (o.destination / "docs.ids").write_text("".join(f"d{i}\n" for i in range(o.documents)))
    (o.destination / "queries.ids").write_text("".join(f"q{i}\n" for i in range(o.queries)))
    (o.destination / "qrels").mkdir()
    lines = [f"q{i}\td{p}\t1\n" for i, p in enumerate(positives)]
    (o.destination / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))


if __name__ == "__main__":
    main()
