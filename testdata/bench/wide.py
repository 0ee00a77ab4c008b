#!/usr/bin/env python3
"""Makes a folder with wide vectors from one with real ones, for fits of many columns.

    make.py SOURCE DESTINATION --columns 12800 [--noise 0.1] [--seed 1]

Every model of SOURCE is copied as often as it takes, in turn; each copy is rotated by a random orthogonal matrix of its own, has noise of
that share of its norm added, and is stored as float16. The last copy is cut to make the columns come out. Rotated copies multiply the
spectrum of the real vectors by the number of copies; the noise is a flat floor under it. Texts and judgements are linked.
"""
import argparse
import itertools
import os
from pathlib import Path

import numpy as np


def rotation(rng, width):
    q, r = np.linalg.qr(rng.standard_normal((width, width)))
    return (q * np.sign(np.diag(r))).astype(np.float32)


def write(path, source, turn, columns, noise, seed):
    x = np.load(source, mmap_mode="r")
    rng = np.random.default_rng(seed)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(len(x), columns))
    for at in range(0, len(x), 4096):
        rows = x[at : at + 4096].astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows @ turn
        rows += noise / np.sqrt(rows.shape[1]) * rng.standard_normal(rows.shape, dtype=np.float32)
        out[at : at + len(rows)] = rows[:, :columns]
    out.flush()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("source", type=Path)
    p.add_argument("destination", type=Path)
    p.add_argument("--columns", type=int, required=True)
    p.add_argument("--noise", type=float, default=0.1)
    p.add_argument("--seed", type=int, default=1)
    o = p.parse_args()
    o.destination.mkdir(parents=True)
    for entry in o.source.iterdir():
        if entry.name != "vectors":
            os.symlink(entry.resolve(), o.destination / entry.name)
    models = sorted(m for m in (o.source / "vectors").iterdir() if m.is_dir())
    left = o.columns
    for i, model in enumerate(itertools.cycle(models)):
        if left == 0:
            break
        width = np.load(model / "docs.npy", mmap_mode="r").shape[1]
        take = min(width, left)
        left -= take
        turn = rotation(np.random.default_rng([o.seed, i]), width)
        folder = o.destination / "vectors" / f"copy{i:02d}-{model.name}"
        folder.mkdir(parents=True)
        for side, name in enumerate(("docs.npy", "queries.npy")):
            write(folder / name, model / name, turn, take, o.noise, [o.seed, i, side])


if __name__ == "__main__":
    main()
