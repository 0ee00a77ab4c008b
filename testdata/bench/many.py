#!/usr/bin/env python3
"""Times quarry mine on many documents, as a whole process, and prints a table for docs/BENCHMARKS.md.

    many.py DATA [--documents 100000,1000000] [--threads N]

Vectors are random, 256 wide, in float16; their principal directions have the deviations of DATA's, a folder that quarry reads. A query lies beside
each of 1,000 documents. They are mined without a projection. Folders are made once and kept in --work.
"""
import argparse
import json
import sys
from pathlib import Path

from measure import CORES, QUARRY, ROOT, figure, header, machine, row, run

WIDTH, PAIRS = 256, 1000


def make(folder, projection, documents):
    import numpy as np  # in a process of its own: one that is started from a large one seems as large for a moment
    from safetensors.numpy import load_file

    scale = np.sqrt(load_file(projection)["variances"][:WIDTH]).astype(np.float32)
    scale /= np.linalg.norm(scale)
    vectors = folder / "vectors" / "made"
    vectors.mkdir(parents=True)
    (folder / "qrels").mkdir()
    rng = np.random.default_rng(documents)
    out = np.lib.format.open_memmap(vectors / "docs.npy", mode="w+", dtype=np.float16, shape=(documents, len(scale)))
    for at in range(0, documents, 1 << 16):
        n = min(1 << 16, documents - at)
        out[at : at + n] = rng.standard_normal((n, len(scale)), dtype=np.float32) * scale
    positives = rng.choice(documents, PAIRS, replace=False)
    queries = out[positives].astype(np.float32) + rng.standard_normal((PAIRS, len(scale)), dtype=np.float32) * scale * 0.7
    np.save(vectors / "queries.npy", queries.astype(np.float16))
    (folder / "docs.ids").write_text("".join(f"d{i}\n" for i in range(documents)))
    (folder / "queries.ids").write_text("".join(f"q{i}\n" for i in range(PAIRS)))
    (folder / "qrels" / "train.tsv").write_text("".join(f"q{i}\td{p}\t1\n" for i, p in enumerate(positives)))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("data", type=Path)
    p.add_argument("--work", type=Path, default=ROOT / "bin" / "bench")
    p.add_argument("--documents", default="100000,1000000")
    p.add_argument("--threads", type=int, default=CORES)
    p.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    o = p.parse_args()
    o.work.mkdir(parents=True, exist_ok=True)
    projection, stats = o.work / "many.safetensors", o.work / "many.json"
    if o.make:
        return make(o.make, projection, int(o.documents))
    print(f"{machine(o.threads)}\n")
    header("documents", "mine: seconds", "microseconds a document", "whole command: seconds", "MiB")
    for documents in map(int, o.documents.split(",")):
        folder = o.work / f"many{documents}"
        if not folder.exists():
            run(QUARRY, "fit", o.data, "-o", projection, "--force", "-q")
            run(sys.executable, __file__, o.data, "--work", o.work, "--make", folder, "--documents", documents)
        whole = run(QUARRY, "mine", folder, "--no-pca", "-o", o.work / "many.jsonl", "--force", "-q", "--stats", stats, "--threads", o.threads)
        mine = json.loads(stats.read_text())["seconds"]["mine"]
        row(f"{documents:,}", figure(mine), figure(mine / documents * 1e6), figure(whole.seconds), figure(whole.mib))


if __name__ == "__main__":
    main()
