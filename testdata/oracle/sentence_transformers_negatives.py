"""Fixtures from sentence-transformers' mine_hard_negatives, for the rules that quarry shares with it.

    python sentence_transformers_negatives.py          # st/ and st_negatives.json

Versions: requirements.txt beside this file; st_negatives.json repeats those that it was made with.

The real function runs on made vectors. Its model is a stub that looks a text's vector up; a text is its id.
Normalising and scoring are the library's own (normalize_embeddings, cos_sim, pairwise_cos_sim: what a
SentenceTransformer with the default similarity does). use_faiss is off. range_max is the number of
documents, so nothing is cut.

Data (st/, BEIR-like): 400 documents in 20 groups, 48 wide, of varied length; 51 queries, 63 pairs; 8 queries
have two positives, 2 have three, and 3 have one positive whose score is below zero. From
numpy.random.default_rng(seed), rounded to multiples of 2^-12 so that no BLAS has a say. The seed is the first
from FIRST_SEED on for which every decision is clear by CLEAR: the distance of any document's score from a
threshold, and of one negative's score from the next's, in exact terms.

Each rule is run twice.
    together  one call with all pairs. A query's threshold comes from the least score among its positives;
              all of them get the same negatives.
    alone     one call per pair, the query's other positives left out of the corpus. That is quarry's default:
              every pair mined by its own score, no positive of the query a negative.
Both are checked here against the plain rule in float64, which is quarry's, before anything is written.
"""

import argparse
import os
import platform

os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import compact_json
import datasets
import numpy as np
import sentence_transformers
import torch
import transformers
from sentence_transformers.util import cos_sim, mine_hard_negatives, pairwise_cos_sim
from sentence_transformers.util import normalize_embeddings as unit

HERE = os.path.dirname(os.path.abspath(__file__))
DOCS, GROUPS, WIDTH, TOP = 400, 20, 48, 5
POSITIVES = [1] * 38 + [2] * 8 + [3] * 2  # of each ordinary query
FIRST_SEED, CLEAR = 201, 1.2e-5
MARGIN, PERC = 0.05, 0.95
RULES = {
    # rule: (arguments of mine_hard_negatives, flags of quarry, cap that the function documents)
    "topk": ({}, "--rule topk", lambda s: np.inf),
    "margin": ({"absolute_margin": 0.05}, "--rule margin --margin 0.05", lambda s: s - MARGIN),
    "perc": ({"relative_margin": 0.05}, "--rule perc --perc 0.95", lambda s: s - abs(s) * (1 - PERC)),
}


# What the source of the installed version does, beyond what the cases show.
SEMANTICS = [
    "Scores are float32 cosines of vectors normalised in float32.",
    "The corpus is the given one plus all positives, without repeated texts: texts are the identity, so documents of equal "
    "text are one. Positives of other queries are candidates.",
    "Excluded for a query: all its own positives (rows of the same query text). A document whose text is the query's own is "
    "not excluded.",
    "Per query the range_max + (largest number of positives of any query) best documents are retrieved; the filters see "
    "only those. range_max left out: range_min + 10 * num_negatives + that number where a margin or max_score is "
    "given, range_min + num_negatives + that number otherwise.",
    "Several positives: one threshold per query, from the least of their scores; every positive of the query gets the same "
    "negatives.",
    "absolute_margin a drops where s(Q,D) + a > s(Q,PD), so s(Q,D) <= s(Q,PD) - a stays.",
    "relative_margin r drops where s(Q,D) > s(Q,PD) - |s(Q,PD)| * r, so equality stays. For a score below zero that is "
    "s(Q,PD) * (1 + r), below the positive; before 5.6.0 it was s(Q,PD) * (1 - r), above it.",
    "No margin: documents that score above the positive are negatives too.",
    "The filters are applied first; range_min then skips the best of what is left, and 'top' takes the first num_negatives. "
    "The order of equal scores is torch.topk's: not stated.",
    "Pairs with no negative give no row in triplet, n-tuple and labeled-list; pairs with fewer than num_negatives keep what "
    "there is, except in n-tuple, which drops them; labeled-pair keeps every positive's row. Rows are "
    "grouped by query, in order of first appearance.",
]


# ---------------------------------------------------------------- data


def quantised(x):
    return (np.round(x * 4096) / 4096).astype(np.float32)


def cosines(queries, docs):
    q, d = queries.astype(np.float64), docs.astype(np.float64)
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    return q @ d.T


def make(seed):
    """Document vectors, query vectors, and pairs as (query row, document row)."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((GROUPS, WIDTH))
    group = rng.permutation(np.arange(DOCS) % GROUPS)
    docs = centres[group] + 0.9 * rng.standard_normal((DOCS, WIDTH))
    docs = quantised(docs * rng.uniform(0.25, 4, (DOCS, 1)))
    queries, pairs = [], []
    for count in POSITIVES:
        members = np.flatnonzero(group == rng.integers(GROUPS))
        positives = rng.choice(members, count, replace=False)
        near = docs[positives].astype(np.float64)
        near = (near / np.linalg.norm(near, axis=1, keepdims=True)).mean(axis=0) * np.sqrt(WIDTH)
        query = near + rng.uniform(1, 2.5) * rng.standard_normal(WIDTH)
        pairs += [(len(queries), int(p)) for p in positives]
        queries.append(query * rng.uniform(0.25, 4))
    queries = quantised(np.array(queries + list(rng.standard_normal((3, WIDTH)))))
    # Positives below zero: the document nearest -0.2, the farthest of all, and one with three documents under its margin.
    first = len(POSITIVES)
    s = cosines(queries[first:], docs)
    pairs.append((first, int(np.abs(s[0] + 0.2).argmin())))
    pairs.append((first + 1, int(s[1].argmin())))
    under = (s[2][None, :] <= s[2][:, None] - MARGIN).sum(axis=1)
    pairs.append((first + 2, int(np.flatnonzero(under == 3)[0]) if (under == 3).any() else -1))
    return docs, queries, pairs


# ---------------------------------------------------------------- the plain rule, in float64


def bases(pairs, scores, together):
    """For each pair the positive's score that sets its threshold."""
    own = [scores[q, p] for q, p in pairs]
    if not together:
        return own
    return [min(o for (other, _), o in zip(pairs, own) if other == q) for q, _ in pairs]


def plain(pairs, scores, together, cap):
    """Negatives of each pair (document rows), and by how much the closest decision was clear."""
    found, clear = [], np.inf
    for (q, _), base in zip(pairs, bases(pairs, scores, together)):
        candidates = np.setdiff1d(np.arange(DOCS), [p for other, p in pairs if other == q])
        s, limit = scores[q, candidates], cap(base)
        if np.isfinite(limit):
            clear = min(clear, np.abs(s - limit).min())
        kept = candidates[s <= limit]
        order = kept[np.argsort(-scores[q, kept], kind="stable")]
        clear = min([clear, *-np.diff(scores[q, order[: TOP + 1]])])
        found.append(order[:TOP].tolist())
    return found, clear


def clearness(pairs, scores):
    own = {}
    for q, p in pairs:
        own.setdefault(q, []).append(scores[q, p])
    clear = min(np.diff(sorted(s)).min() for s in own.values() if len(s) > 1)
    caps = [cap for _, _, cap in RULES.values()]
    return min([clear] + [plain(pairs, scores, together, cap)[1] for cap in caps for together in (False, True)])


# ---------------------------------------------------------------- the real function


class Lookup:
    """What mine_hard_negatives asks of a SentenceTransformer; a text is looked up, not encoded."""

    device = torch.device("cpu")
    similarity = staticmethod(cos_sim)
    similarity_pairwise = staticmethod(pairwise_cos_sim)

    def __init__(self, vectors):
        self.vectors = vectors

    def encode_document(self, texts, normalize_embeddings=False, convert_to_numpy=False, **_):
        assert normalize_embeddings and convert_to_numpy
        return unit(torch.from_numpy(np.stack([self.vectors[t] for t in texts]))).numpy()

    encode_query = encode_document


def mine(model, pairs, corpus, range_max=DOCS, output_format="triplet", **arguments):
    """mine_hard_negatives on (query id, positive id) pairs -> {pair: [(negative id, score), ...]} for the pairs it gives."""
    columns = {"query": [q for q, _ in pairs], "positive": [p for _, p in pairs]}
    rows = mine_hard_negatives(
        datasets.Dataset.from_dict(columns),
        model,
        corpus=list(corpus),
        range_min=0,
        range_max=range_max,
        num_negatives=TOP,
        sampling_strategy="top",
        output_format=output_format,
        output_scores=True,
        use_faiss=False,
        verbose=False,
        **arguments,
    )
    found = {}
    for row in rows:
        pair = (row["query"], row["positive"])
        if output_format == "triplet":
            found.setdefault(pair, []).append((row["negative"], row["scores"][1]))
        else:
            found[pair] = [(row[f"negative_{i}"], row["scores"][i]) for i in range(1, TOP + 1)]
    return found


def main():
    parser = argparse.ArgumentParser(description="fixtures from sentence-transformers' mine_hard_negatives")
    parser.add_argument("--out", default=HERE, help="where to write; by default beside this script")
    args = parser.parse_args()

    seed = FIRST_SEED
    while True:
        docs, queries, pairs = make(seed)
        scores = cosines(queries, docs)
        if pairs[-1][1] >= 0 and clearness(pairs, scores) >= CLEAR:
            break
        seed += 1

    doc_ids = [f"d{i:03d}" for i in range(len(docs))]
    query_ids = [f"q{i:02d}" for i in range(len(queries))]
    ids = [(query_ids[q], doc_ids[p]) for q, p in pairs]
    own = {pair: float(scores[q, p]) for pair, (q, p) in zip(ids, pairs)}
    model = Lookup(dict(zip(doc_ids + query_ids, np.concatenate([docs, queries]))))

    def alone(**arguments):
        found = {}
        for q, p in ids:
            others = {other for query, other in ids if query == q and other != p}
            found |= mine(model, [(q, p)], [d for d in doc_ids if d not in others], **arguments)
        return found

    def entries(found, expected):
        """One entry per pair, in the order of the qrels file; checked against the plain rule."""
        out = []
        for pair, rows in zip(ids, expected):
            got = found.get(pair, [])
            assert [d for d, _ in got] == [doc_ids[r] for r in rows], (pair, got, rows)
            out.append(
                {
                    "query": pair[0],
                    "positive": pair[1],
                    "score": round(own[pair], 9),
                    "in_output": pair in found,
                    "negatives": [d for d, _ in got],
                    "scores": [round(s, 7) for _, s in got],
                }
            )
        return out

    rules = []
    for rule, (arguments, flags, cap) in RULES.items():
        together = mine(model, ids, doc_ids, **arguments)
        tuples = mine(model, ids, doc_ids, output_format="n-tuple", **arguments)
        assert tuples == {pair: got for pair, got in together.items() if len(got) == TOP}
        entry = {
            "rule": rule,
            "quarry": f"{flags} --top {TOP} --no-pca",
            "mine_hard_negatives": arguments,
            "alone": entries(alone(**arguments), plain(pairs, scores, False, cap)[0]),
            "together": entries(together, plain(pairs, scores, True, cap)[0]),
            "n_tuple_leaves_out": [list(pair) for pair in ids if pair not in tuples],
        }
        if arguments:
            default = 10 * TOP + max(POSITIVES)
            found = mine(model, ids, doc_ids, range_max=None, **arguments)
            assert found == mine(model, ids, doc_ids, range_max=default, **arguments)
            entry["with_default_range_max"] = {
                "range_max": default,
                "pairs_that_differ": [list(pair) for pair in ids if found.get(pair) != together.get(pair)],
            }
        rules.append(entry)

    folder = os.path.join(args.out, "st")
    os.makedirs(os.path.join(folder, "qrels"), exist_ok=True)
    os.makedirs(os.path.join(folder, "vectors", "m"), exist_ok=True)
    np.save(os.path.join(folder, "vectors", "m", "docs.npy"), docs)
    np.save(os.path.join(folder, "vectors", "m", "queries.npy"), queries)
    for name, lines in (
        ("docs.ids", doc_ids),
        ("queries.ids", query_ids),
        ("qrels/train.tsv", ["query-id\tcorpus-id\tscore"] + [f"{q}\t{p}\t1" for q, p in ids]),
    ):
        with open(os.path.join(folder, name), "w", encoding="utf-8", newline="\n") as f:
            f.write("\n".join(lines) + "\n")

    document = {
        "about": "mine_hard_negatives of sentence-transformers on st/. Made by sentence_transformers_negatives.py, which says how.",
        "versions": {
            "python": platform.python_version(),
            "sentence-transformers": sentence_transformers.__version__,
            "transformers": transformers.__version__,
            "torch": torch.__version__,
            "datasets": datasets.__version__,
            "numpy": np.__version__,
        },
        "arguments": {
            "num_negatives": TOP,
            "range_min": 0,
            "range_max": DOCS,
            "sampling_strategy": "top",
            "output_format": "triplet",
            "output_scores": True,
            "use_faiss": False,
        },
        "data": {
            "folder": "st",
            "seed": seed,
            "documents": DOCS,
            "queries": len(query_ids),
            "pairs": len(ids),
            "clear_by": float(clearness(pairs, scores)),
        },
        "fields": {
            "alone": "one call per pair, the query's other positives left out of the corpus: quarry's default",
            "together": "one call with all pairs: quarry with all positives of a query having to satisfy the rule",
            "score": "s(Q,PD) in float64",
            "scores": "s(Q,D) of the negatives, the library's float32",
            "in_output": "false: the function gives no row for this pair (no negative found); quarry lists it without negatives",
            "n_tuple_leaves_out": "pairs with fewer than num_negatives: output_format n-tuple drops them, triplet keeps what there is",
            "with_default_range_max": "range_max left to the function: the pairs whose negatives are then fewer",
        },
        "semantics": SEMANTICS,
        "rules": rules,
    }
    compact_json.write(os.path.join(args.out, "st_negatives.json"), document)


if __name__ == "__main__":
    main()
