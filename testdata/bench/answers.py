#!/usr/bin/env python3
"""Compares what quarry and a rival found. peers.py starts it.

    answers.py pairs     FOLDER OUT                      the pairs of a folder's judgements, as rivals.py reads them
    answers.py negatives PROJECTED PAIRS QUARRY RIVAL --rule dual|perc [--within 1e-5]
    answers.py nearest   PROJECTED PAIRS RIVAL           whether the rival's documents are the nearest ones
    answers.py fits      QUARRY RIVAL

QUARRY is a negatives.jsonl or a projection, RIVAL what rivals.py wrote. Two lists of negatives that differ are alike where every decision
between them is as close as float32 rounds: scores of PROJECTED, in float64, that are within --within of each other or of the rule's bounds.
Each prints a JSON object with "good", and with "text" for people.
"""
import argparse
import json
import sys
from itertools import combinations
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "golden"))
from dataset import read_ids, read_lines, read_problem  # noqa: E402
from reference import load_projection, named_rule  # noqa: E402


def rows_of(problem):
    """Pairs, as rows of the query and of its positive, and for each pair the rows of the documents that are no negatives of it."""
    widest = max(len(e) for e in problem.excluded.values())
    excluded = [np.pad(problem.excluded[q], (0, widest - len(problem.excluded[q])), mode="edge") for q, _ in problem.pairs]
    return {"pairs": np.array(problem.pairs), "excluded": np.array(excluded)}


def pairs(o):
    problem = read_problem(str(o.files[0]), "all")
    np.savez(o.files[1], **rows_of(problem))
    columns = sum(np.load(m / "docs.npy", mmap_mode="r").shape[1] for m in (o.files[0] / "vectors").iterdir())
    return {"good": True, "text": f"{len(problem.pairs)} pairs", "pairs": len(problem.pairs), "documents": len(problem.doc_ids), "columns": columns}


def vectors(folder):
    (model,) = (folder / "vectors").iterdir()
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
    return unit(np.load(model / "docs.npy").astype(np.float64)), unit(np.load(model / "queries.npy").astype(np.float64))


class Closeness:
    """How close the decisions were between two lists of one pair: the smallest change of a score that would have made them the same."""

    def __init__(self, docs, queries, rule):
        self.docs, self.queries, self.rule = docs, queries, rule

    def of(self, query, positive, one, other):
        listed = sorted({*one, *other})
        s = dict(zip(listed, self.docs[listed] @ self.queries[query]))
        gaps = [abs(s[d] - s[e]) for d, e in combinations([d for d in one if d in other], 2) if other.index(d) > other.index(e)]
        low, high = self.rule.bounds(np.array([self.docs[positive] @ self.queries[query]]))
        for d in set(one) ^ set(other):
            bounds = [low, high, *(s[e] for e in (one, other)[d in one][-1:])]
            if self.rule.eq6:
                bounds.append(self.docs[d] @ self.docs[positive])
            gaps.append(min(abs(s[d] - b) for b in bounds))
        return max(gaps)


def negatives(o):
    projected, pairs_file, quarry, rival = o.files
    with np.load(pairs_file) as f:
        pairs = f["pairs"]
    row = {name: i for i, name in enumerate(read_ids(str(projected), "corpus", "docs"))}
    ours = [[row[n["id"]] for n in json.loads(line)["negatives"]] for line in read_lines(str(quarry))]
    theirs = [[int(d) for d in found if d >= 0] for found in np.load(rival)]
    close = Closeness(*vectors(projected), named_rule(o.rule))
    same = ties = different = short = 0
    worst = 0.0
    for (query, positive), a, b in zip(pairs, ours, theirs, strict=True):
        if o.rule == "perc" and len(b) < len(a):  # mine_hard_negatives looks at so many documents, and gives what it has
            short, a = short + 1, a[: len(b)]
        if a == b:
            same += 1
            continue
        gap = close.of(query, positive, a, b)
        worst = max(worst, gap)
        if gap <= o.within:
            ties += 1
        else:
            different += 1
    text = f"{same} of {len(pairs)} pairs the same"
    if ties or different:
        text += f", {ties} but for ties, {different} differ (by {worst:.1e})"
    if short:
        text += f"; the rival leaves {short} pairs short"
    return {"good": different == 0, "text": text}


def nearest(o):
    projected, pairs_file, rival = o.files
    docs, queries = vectors(projected)
    with np.load(pairs_file) as f:
        asked = f["pairs"][:500, 0]
    found = np.load(rival)[: len(asked)]
    s = queries[asked] @ docs.T
    best = -np.sort(-s, axis=1)[:, : found.shape[1]]
    off = np.abs(np.take_along_axis(s, found, axis=1) - best).max(axis=1)
    wrong = int((off > o.within).sum())
    return {"good": wrong == 0, "text": f"the nearest 5 of {len(asked) - wrong} in {len(asked)} queries"}


def fits(o):
    ours = load_projection(str(o.files[0])).components
    with np.load(o.files[1]) as f:
        theirs, captured = f["components"], float(f["captured"])
    k = min(len(ours), len(theirs))
    overlap = float(np.linalg.norm(ours.astype(np.float64) @ theirs.T.astype(np.float64)) ** 2 / k)
    good = abs(len(ours) - len(theirs)) <= o.components_within * k and overlap >= o.overlap
    return {"good": good, "text": f"k {len(ours)}, rival {len(theirs)} ({100 * captured:.2f} %); the subspaces share {100 * overlap:.2f} %"}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {"pairs": pairs, "negatives": negatives, "nearest": nearest, "fits": fits}
    p.add_argument("what", choices=commands)
    p.add_argument("files", type=Path, nargs="+")
    p.add_argument("--rule", default="dual")
    p.add_argument("--within", type=float, default=1e-5)
    p.add_argument("--components-within", type=float, default=0.03, help="share of the components by which their numbers may differ")
    p.add_argument("--overlap", type=float, default=0.97, help="least share of one subspace that lies in the other")
    o = p.parse_args()
    print(json.dumps(commands[o.what](o)))


if __name__ == "__main__":
    main()
