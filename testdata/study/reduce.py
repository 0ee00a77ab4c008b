#!/usr/bin/env python3
"""Mines with UMAP and t-SNE in place of PCA, and compares: the table of docs/EVIDENCE.md.

    pip install -r testdata/study/requirements.txt
    python testdata/study/reduce.py DIR OUT [--quarry bin/quarry] [--only pca,umap-50]

DIR is a folder in BEIR layout with vectors. Each reduction is learnt from the documents, and the queries are mapped afterwards, as quarry fit
and quarry transform do it: the models' vectors, each of length 1, side by side. UMAP and t-SNE have no origin that means anything, so cosines
are taken from the mean of the documents, as with PCA. PCA is quarry's own fit, and its negatives must be those that quarry mine writes.

OUT gets a file of negatives for each reduction and rule, as quarry mine writes it, and table.json, with a row for each reduction and rule. It
prints the tables.
"""
import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "golden"))
from dataset import json_number, json_string, read_problem  # noqa: E402

TOP = 5
RULES = ("dual", "topk", "capped")
PERC = 0.95
NEAREST = 10  # documents of a query that a reduction should keep


# ---------------------------------------------------------------- reductions

def fused(folder, side):
    """The models' vectors, each of length 1, side by side: float32 [n, d]."""
    parts = []
    for model in sorted((folder / "vectors").iterdir()):
        x = np.load(model / f"{side}.npy").astype(np.float64)
        parts.append(x / np.linalg.norm(x, axis=1, keepdims=True))
    return np.concatenate(parts, axis=1).astype(np.float32)


def full(docs, queries, _):
    """No reduction, and no centring: the cosine of the models together."""
    return docs, queries, 0.0, 0.0


def umap(width):
    def reduce(docs, queries, seed):
        from umap import UMAP

        UMAP(n_components=2, metric="cosine", random_state=seed).fit(docs[:500]).transform(queries[:10])  # compiles the library's loops
        u = UMAP(n_components=width, metric="cosine", random_state=seed)  # other settings are the library's defaults
        start = time.perf_counter()
        y = u.fit_transform(docs)
        fitted = time.perf_counter()
        z = u.transform(queries)
        return centred(y, z, fitted - start, time.perf_counter() - fitted)

    return reduce


def tsne(docs, queries, seed):
    from openTSNE import TSNE

    t = TSNE(n_components=2, metric="cosine", random_state=seed, n_jobs=-1)
    start = time.perf_counter()
    y = t.fit(docs)
    fitted = time.perf_counter()
    z = y.transform(queries)
    return centred(np.asarray(y), np.asarray(z), fitted - start, time.perf_counter() - fitted)


def centred(y, z, fit_s, map_s):
    mean = y.mean(axis=0)
    return y - mean, z - mean, fit_s, map_s


def pca(quarry, folder, out):
    """quarry's own fit. Its time is that of the command, with reading the vectors and writing the projection."""
    def reduce(docs, queries, _):
        start = time.perf_counter()
        run(quarry, "fit", folder, "-o", out / "projection.safetensors", "--force")
        fitted = time.perf_counter()
        run(quarry, "transform", folder, "--projection", out / "projection.safetensors", "-o", out / "projected", "--force")
        return np.load(out / "projected/docs.npy"), np.load(out / "projected/queries.npy"), fitted - start, time.perf_counter() - fitted

    return reduce


def run(*command):
    subprocess.run([str(c) for c in command] + ["--quiet"], check=True)


# ---------------------------------------------------------------- mining

class Space:
    """Documents and queries of a reduction, of length 1, in float64: a product is a cosine."""

    def __init__(self, docs, queries):
        unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
        self.docs, self.queries = unit(docs.astype(np.float64)), unit(queries.astype(np.float64))
        self.of_query = self.queries @ self.docs.T
        self.of_positive = {}  # row of a document: its cosines

    def to_positive(self, positive):
        if positive not in self.of_positive:
            self.of_positive[positive] = self.docs @ self.docs[positive]
        return self.of_positive[positive]

    def mine(self, rule, pair, excluded):
        """The rows of a pair's negatives, best first, with s(Q,PD), s(Q,D) and s(PD,D)."""
        query, positive = pair
        s, to_positive = self.of_query[query], self.to_positive(positive)
        keep = np.ones(len(s), bool)
        keep[excluded] = False
        if rule == "dual":
            keep &= s > s[positive]
        if rule == "capped":
            keep &= s <= s[positive] * (PERC if s[positive] >= 0 else 2 - PERC)
        if rule != "topk":
            keep &= s > to_positive
        rows = np.flatnonzero(keep)
        rows = rows[np.lexsort((rows, -s[rows]))[:TOP]]
        return rows, s[positive], s[rows], to_positive[rows]


def mine_all(space, problem, rule):
    return [space.mine(rule, pair, problem.excluded[pair[0]]) for pair in problem.pairs]


def write(path, problem, mined):
    """negatives.jsonl, as quarry mine writes it."""
    with open(path, "w", encoding="utf-8") as file:
        for (query, positive), (rows, s_q_pd, s_q_d, s_pd_d) in zip(problem.pairs, mined):
            negatives = ",".join(
                f'{{"id":{json_string(problem.doc_ids[row])},"rank":{rank},"d_q_d":{json_number(1 - q)},"d_pd_d":{json_number(1 - p)}}}'
                for rank, (row, q, p) in enumerate(zip(rows, s_q_d, s_pd_d), 1))
            line = (f'"query_id":{json_string(problem.query_ids[query])},"positive_id":{json_string(problem.doc_ids[positive])},'
                    f'"d_q_pd":{json_number(1 - s_q_pd)},"negatives":[{negatives}]')
            if len(rows) == 0:
                line += ',"none":"window"'
            file.write(f"{{{line}}}\n")


def lists(path):
    with open(path, encoding="utf-8") as file:
        return [[n["id"] for n in json.loads(line)["negatives"]] for line in file]


# ---------------------------------------------------------------- measures

def overlap(mined, others):
    """Of the others' negatives of a pair, the share that is mined too."""
    same = sum(len(set(a[0]) & set(b[0])) for a, b in zip(mined, others))
    return same / max(1, sum(len(b[0]) for b in others))


def hidden_positives(space, problem, rule, draws, seed):
    """The share of hidden positives that are negatives of one of their query's pairs, for each draw: host/compare's test."""
    shares = []
    for draw in range(draws):
        random = np.random.default_rng([seed, draw])
        taken = hidden = 0
        for query, positives in problem.positives.items():
            if len(positives) < 2:
                continue
            third = max(1, (len(positives) + 1) // 3)
            hide = set(random.permutation(positives)[:third].tolist())
            excluded = [d for d in problem.excluded[query] if d not in hide]
            chosen = set()
            for positive in positives:
                if positive not in hide:
                    chosen |= set(space.mine(rule, (query, positive), excluded)[0].tolist())
            taken, hidden = taken + len(chosen & hide), hidden + third
        shares.append(taken / hidden)
    return shares


def nearest(space, queries, euclidean=False):
    """The nearest documents of each query, by cosine, or by distance."""
    if euclidean:
        docs, rows = space
        s = 2 * rows[queries] @ docs.T - (docs * docs).sum(axis=1)
    else:
        s = space.of_query[queries]
    return np.argpartition(-s, NEAREST, axis=1)[:, :NEAREST]


def recall(found, true):
    return float(np.mean([len(set(f) & set(t)) / NEAREST for f, t in zip(found, true)]))


# ---------------------------------------------------------------- the comparison

def study(o):
    problem = read_problem(str(o.folder), "all")
    docs, queries = fused(o.folder, "docs"), fused(o.folder, "queries")
    used = sorted({query for query, _ in problem.pairs})
    true = nearest(Space(docs, queries), used)
    k = 0
    rows, by_pca = [], {}
    reductions = {"full": full, "pca": pca(o.quarry, o.folder, o.out), "umap-50": umap(50), "umap-2": umap(2), "tsne-2": tsne, "umap-k": None}
    for name in ["pca"] + [n for n in o.only.split(",") if n != "pca"]:
        reduce = reductions[name] or umap(k)
        y, z, fit_s, map_s = reduce(docs, queries, o.seed)
        space = Space(y, z)
        if name == "pca":
            k = y.shape[1]
        shared = {"reduction": name, "width": y.shape[1], "fit_s": fit_s, "map_s": map_s, "recall": recall(nearest(space, used), true),
                  "recall_euclidean": recall(nearest((y.astype(np.float64), z.astype(np.float64)), used, euclidean=True), true)}
        for rule in RULES:
            mined = mine_all(space, problem, rule)
            write(o.out / f"{name}-{rule}.jsonl", problem, mined)
            by_pca.setdefault(rule, mined)
            h = hidden_positives(space, problem, rule, o.draws, o.seed)
            row = {**shared, "rule": rule, "yield": float(np.mean([len(m[0]) > 0 for m in mined])), "a_pair": float(np.mean([len(m[0]) for m in mined])),
                   "overlap": overlap(mined, by_pca[rule]), "taken": float(np.mean(h)), "taken_sd": float(np.std(h, ddof=1))}
            if name == "pca":
                check(o, rule)
            rows.append(row)
            print(json.dumps(row), flush=True)
        (o.out / "table.json").write_text(json.dumps(rows, indent=2) + "\n")
    print_tables(rows)


def check(o, rule):
    """PCA's negatives here are quarry's own."""
    own = o.out / f"quarry-{rule}.jsonl"
    run(o.quarry, "mine", o.folder, "--split", "all", "--rule", rule, "--projection", o.out / "projection.safetensors", "-o", own, "--force")
    ours, theirs = lists(o.out / f"pca-{rule}.jsonl"), lists(own)
    different = sum(a != b for a, b in zip(ours, theirs, strict=True))
    if different:
        sys.exit(f"{rule}: {different} of {len(ours)} pairs have other negatives than those of quarry mine")


def print_tables(rows):
    print("\n| reduction | width | fit, s | queries, s | true ten nearest kept, by cosine | by distance |\n|---|---|---|---|---|---|")
    for r in rows:
        if r["rule"] == RULES[0]:
            print(f"| {r['reduction']} | {r['width']} | {r['fit_s']:.1f} | {r['map_s']:.1f} | {100 * r['recall']:.1f} % | {100 * r['recall_euclidean']:.1f} % |")
    print("\n| reduction | rule | pairs with a negative | negatives a pair | of PCA's negatives, also taken | hidden positives taken | sd |\n|---|---|---|---|---|---|---|")
    for r in rows:
        print(f"| {r['reduction']} | `{r['rule']}` | {100 * r['yield']:.1f} % | {r['a_pair']:.2f} | {100 * r['overlap']:.1f} % | {100 * r['taken']:.1f} % |"
              f" {100 * r['taken_sd']:.1f} |")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("out", type=Path)
    p.add_argument("--quarry", default="bin/quarry")
    p.add_argument("--only", default="umap-50,umap-2,tsne-2,full,umap-k", help="reductions beside PCA")
    p.add_argument("--draws", type=int, default=10, help="how often positives are hidden")
    p.add_argument("--seed", type=int, default=0)
    o = p.parse_args()
    o.out.mkdir(parents=True, exist_ok=True)
    study(o)


if __name__ == "__main__":
    main()
