#!/usr/bin/env python3
"""Times quarry as whole processes, and NumPy in turn with it, and prints tables for docs/BENCHMARKS.md.

    bench.py mine  DATA [--rounds 3]           mining DATA beside NumPy's matrix products: the whole, and projected vectors alone
    bench.py fit   DATA [--columns 1536,5632,12800] [--exact]   --exact: beside all eigenvalues of the covariance, by NumPy
    bench.py scan  DATA [--documents 100000,1000000]   made vectors with the spectrum of DATA's, 256 wide, float16

DATA is a folder that quarry reads. Seconds are of the wall clock, memory is the largest resident size the system saw. Folders that are made
are kept in --work, and made once.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
QUARRY = ROOT / "bin" / "quarry"


def run(*command):
    """Runs a command; returns its output, seconds and MiB."""
    began = time.monotonic()
    p = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE)
    out = p.stdout.read()
    _, status, usage = os.wait4(p.pid, 0)
    if status:
        sys.exit(f"{' '.join(map(str, command))}: exit {os.waitstatus_to_exitcode(status)}")
    return out, time.monotonic() - began, usage.ru_maxrss / 1024


def row(*cells):
    print("| " + " | ".join(f"{c:.1f}" if isinstance(c, float) else str(c) for c in cells) + " |", flush=True)


def header(*cells):
    row(*cells)
    row(*["---"] * len(cells))


def link(source, destination, but):
    destination.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        if entry.name != but and not (destination / entry.name).exists():
            os.symlink(entry.resolve(), destination / entry.name)


def projection(o):
    path = o.work / "projection.safetensors"
    if not path.exists():
        run(QUARRY, "fit", o.data, "-o", path, "-q")
    return path


def mine_seconds(o, folder, *flags):
    stats = o.work / "stats.json"
    _, seconds, mib = run(QUARRY, "mine", folder, "-o", o.work / "out" / "negatives.jsonl", "--force", "-q", "--stats", stats, *flags)
    return json.loads(stats.read_text())["seconds"]["mine"], seconds, mib


def bench_mine(o):
    p = projection(o)
    projected = o.work / "projected"
    link(o.data, projected, "vectors")
    if not (projected / "vectors").exists():
        run(QUARRY, "transform", o.data, "--projection", p, "-o", projected / "vectors" / "projected", "-q")
    header("split", "rule", "pairs", "quarry: scan of projected", "NumPy: scan", "ratio", "quarry: project and scan", "NumPy: project and scan", "ratio",
           "quarry: whole command", "MiB", "NumPy: MiB")
    for split, rule in (("train", "dual"), ("all", "dual"), ("all", "perc"), ("all", "topk")):
        what = ("--split", split, "--rule", rule)
        rounds = []
        for _ in range(o.rounds):
            scan, _, _ = mine_seconds(o, projected, "--no-pca", *what)
            mine, whole, mib = mine_seconds(o, o.data, "--projection", p, *what)
            n = json.loads(run(sys.executable, ROOT / "testdata/golden/compare.py", o.data, "--projection", p, "--time-only", *what)[0])
            numpy_both = n["fuse_project"]["seconds"] + n["scan"]["seconds"]
            rounds.append((scan, n["scan"]["seconds"], scan / n["scan"]["seconds"], mine, numpy_both, mine / numpy_both, whole, mib, n["scan"]["peak_mib"]))
        row(split, rule, n["pairs"], *(f"{statistics.median(r):.2f}" for r in zip(*rounds)))


def exact(folder, target=0.95):
    """The exact number of components: NumPy's eigenvalues of the covariance."""
    models = [np.load(m / "docs.npy", mmap_mode="r") for m in sorted((folder / "vectors").iterdir())]
    n, d = len(models[0]), sum(m.shape[1] for m in models)
    covariance, total = np.zeros((d, d), np.float32), np.zeros(d)
    for at in range(0, n, 4096):
        rows = [m[at : at + 4096].astype(np.float32) for m in models]
        x = np.concatenate([r / np.linalg.norm(r, axis=1, keepdims=True) for r in rows], axis=1)
        covariance += x.T @ x
        total += x.sum(axis=0, dtype=np.float64)
    covariance -= np.outer(total, total / n).astype(np.float32)
    values = np.linalg.eigvalsh(covariance)[::-1]
    return int(np.searchsorted(np.cumsum(values, dtype=np.float64), target * np.trace(covariance, dtype=np.float64)) + 1)


def bench_fit(o):
    header("columns", "rows", "seconds", "MiB", "components", "captured", *(("exact components", "NumPy: seconds", "MiB") if o.exact else ()))
    for columns in map(int, o.columns.split(",")):
        folder = o.data
        if columns != 1536:
            folder = o.work / f"wide{columns}"
            if not folder.exists():
                run(sys.executable, HERE / "wide.py", o.data, folder, "--columns", columns)
        out, seconds, mib = run(QUARRY, "fit", folder, "-o", o.work / "fit.safetensors", "--force", "--json")
        s = json.loads(out)
        rival = ()
        if o.exact:
            k, numpy_seconds, numpy_mib = run(sys.executable, __file__, "exact", folder)
            rival = (int(k), numpy_seconds, numpy_mib)
        row(columns, s["rows"], seconds, mib, s["components"], f"{100 * s['captured_variance'] / s['total_variance']:.2f} %", *rival)


def make_scan(o, documents):
    """Random vectors whose principal directions have the deviations of DATA's, a query beside each of 1,000 documents."""
    from safetensors.numpy import load_file

    scale = np.sqrt(load_file(projection(o))["variances"][:256]).astype(np.float32)
    scale /= np.linalg.norm(scale)
    folder = o.work / f"scan{documents}"
    vectors = folder / "vectors" / "made"
    vectors.mkdir(parents=True)
    (folder / "qrels").mkdir()
    rng = np.random.default_rng(documents)
    out = np.lib.format.open_memmap(vectors / "docs.npy", mode="w+", dtype=np.float16, shape=(documents, len(scale)))
    for at in range(0, documents, 1 << 16):
        n = min(1 << 16, documents - at)
        out[at : at + n] = rng.standard_normal((n, len(scale)), dtype=np.float32) * scale
    positives = rng.choice(documents, 1000, replace=False)
    queries = out[positives].astype(np.float32) + rng.standard_normal((1000, len(scale)), dtype=np.float32) * scale * 0.7
    np.save(vectors / "queries.npy", queries.astype(np.float16))
    (folder / "docs.ids").write_text("".join(f"d{i}\n" for i in range(documents)))
    (folder / "queries.ids").write_text("".join(f"q{i}\n" for i in range(1000)))
    (folder / "qrels" / "train.tsv").write_text("".join(f"q{i}\td{p}\t1\n" for i, p in enumerate(positives)))


def bench_scan(o):
    header("documents", "mine: seconds", "microseconds a document", "whole command: seconds", "MiB")
    for documents in map(int, o.documents.split(",")):
        folder = o.work / f"scan{documents}"
        if not folder.exists():
            # In a process of its own: one that is started from a large one seems as large for a moment.
            run(sys.executable, __file__, "make", o.data, "--work", o.work, "--documents", documents)
        mine, whole, mib = mine_seconds(o, folder, "--no-pca")
        row(documents, mine, mine / documents * 1e6, whole, mib)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=("mine", "fit", "scan", "exact", "make"))
    p.add_argument("data", type=Path)
    p.add_argument("--work", type=Path, default=ROOT / "bin" / "bench")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--columns", default="1536,5632,12800")
    p.add_argument("--documents", default="100000,1000000")
    p.add_argument("--exact", action="store_true")
    o = p.parse_args()
    if o.what == "exact":
        return print(exact(o.data))
    if o.what == "make":
        return make_scan(o, int(o.documents))
    (o.work / "out").mkdir(parents=True, exist_ok=True)
    {"mine": bench_mine, "fit": bench_fit, "scan": bench_scan}[o.what](o)


if __name__ == "__main__":
    main()
