#!/usr/bin/env python3
"""The programs that quarry is measured against, each at its best, one a process. peers.py starts them.

    rivals.py whole FOLDER PAIRS --scan faiss|numpy      vectors on disk to negatives: scikit-learn's PCA, then the exact rule by FAISS or NumPy
    rivals.py scan  FOLDER PAIRS --scan faiss|numpy|panorama     projected vectors in memory to negatives; panorama finds the 5 nearest alone
    rivals.py perc  FOLDER PAIRS --search faiss|torch    sentence-transformers' mine_hard_negatives, by a model that is handed the vectors
    rivals.py fit   FOLDER --solver covariance_eigh|randomized   the fit alone, of vectors in memory
    rivals.py blas                                       a small search by FAISS, to see what its BLAS does on this processor
    rivals.py peaks                                      what the machine does at most

FOLDER is one that quarry reads; PAIRS is a file that answers.py makes of its judgements, so that no rival has to read ids and texts. What is
found goes to --out. Each prints a JSON object; its "seconds" are those of the work, where the process does more than the work.
"""
import argparse
import json
import time
from pathlib import Path

import numpy as np

TOP, VARIANCE, PERC = 5, 0.95, 0.95
FIRST_K = 32  # documents that FAISS is asked for first, and four times as many for pairs that these do not settle
AT_A_TIME = 8  # documents of a pair's list that Eq. 6 is asked of together
QUERY_BLOCK = 256  # queries that NumPy multiplies with all documents at a time


def load(folder, side):
    """All models' vectors of one side, of length 1 each, concatenated: float32."""
    files = [np.load(m / f"{side}.npy", mmap_mode="r") for m in sorted((folder / "vectors").iterdir())]
    x, at = np.empty((len(files[0]), sum(f.shape[1] for f in files)), np.float32), 0
    for f in files:
        part = x[:, at : at + f.shape[1]]
        for i in range(0, len(f), 4096):
            block = part[i : i + 4096]
            block[:] = f[i : i + 4096]
            normalise(block)
        at += f.shape[1]
    return x


def normalise(x):
    x /= np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]
    return x


def dots(a, b):
    return np.einsum("ij,ij->i", a, b)


# ---------------------------------------------------------------- the rule: s(Q,D) > s(Q,PD), and s(Q,D) > s(PD,D)


def by_rule(scores, found, floor, excluded, positives, docs):
    """For each pair, its row of documents found best first, and their scores: which of these are negatives, and how many there are, of which
    the first TOP count. Eq. 6 is asked of a few documents at a time, and only until there are TOP."""
    window = scores > floor[:, None]
    for e in excluded.T:
        window &= found != e[:, None]
    is_negative, count = np.zeros_like(window), np.zeros(len(window), np.int64)
    for at in range(0, window.shape[1], AT_A_TIME):
        asked = window[:, at : at + AT_A_TIME] & (count < TOP)[:, None]
        pair, column = np.nonzero(asked)
        if len(pair) == 0:
            continue
        column += at
        meets = scores[pair, column] > dots(docs[found[pair, column]], docs[positives[pair]])
        is_negative[pair[meets], column[meets]] = True
        count += np.bincount(pair[meets], minlength=len(count))
    return is_negative, count


def first(is_negative, found):
    """Each row's first TOP negatives; -1 where there are no more."""
    order = np.argsort(~is_negative, axis=1, kind="stable")[:, :TOP]
    chosen = np.take_along_axis(found, order, axis=1)
    chosen[~np.take_along_axis(is_negative, order, axis=1)] = -1
    return np.pad(chosen, ((0, 0), (0, TOP - chosen.shape[1])), constant_values=-1)


def scan_faiss(docs, queries, pairs, excluded):
    import faiss

    index = faiss.IndexFlatIP(docs.shape[1])
    index.add(docs)
    return by_search(index.search, docs, queries, pairs, excluded)


def by_search(search, docs, queries, pairs, excluded):
    """The exact rule by an index that gives the k nearest documents of queries, as scores and rows."""
    negatives, todo, k = np.full((len(pairs), TOP), -1), np.arange(len(pairs)), FIRST_K
    floor = dots(queries[pairs[:, 0]], docs[pairs[:, 1]])
    while len(todo):
        k = min(k, len(docs))
        scores, found = search(queries[pairs[todo, 0]], k)
        is_negative, count = by_rule(scores, found, floor[todo], excluded[todo], pairs[todo, 1], docs)
        settled = (count >= TOP) | (scores[:, -1] <= floor[todo]) | (k == len(docs))
        negatives[todo[settled]] = first(is_negative[settled], found[settled])
        todo, k = todo[~settled], 4 * k
    return negatives


def scan_numpy(docs, queries, pairs, excluded):
    negatives = np.full((len(pairs), TOP), -1)
    floor = dots(queries[pairs[:, 0]], docs[pairs[:, 1]])
    product = np.empty((QUERY_BLOCK, len(docs)), np.float32)
    for at in range(0, len(pairs), QUERY_BLOCK):
        block = np.arange(at, min(at + QUERY_BLOCK, len(pairs)))
        scores = np.matmul(queries[pairs[block, 0]], docs.T, out=product[: len(block)])
        for pair, row in zip(block, scores):
            negatives[pair] = one_pair(row, floor[pair], excluded[pair], docs[pairs[pair, 1]], docs)
    return negatives


def one_pair(scores, floor, excluded, positive, docs):
    """Looks at what is above the floor, the best FIRST_K first, then four times as many."""
    scores[excluded] = -np.inf
    above, k = np.flatnonzero(scores > floor), FIRST_K
    while True:
        best = above if len(above) <= k else above[np.argpartition(scores[above], len(above) - k)[-k:]]
        best = best[np.argsort(-scores[best], kind="stable")]
        negatives = []
        for some in range(0, len(best), AT_A_TIME):
            d = best[some : some + AT_A_TIME]
            negatives.extend(d[scores[d] > docs[d] @ positive])
            if len(negatives) >= TOP:
                break
        if len(negatives) >= TOP or len(best) == len(above):
            return (negatives + [-1] * TOP)[:TOP]
        k *= 4


def scan_panorama(docs, queries, pairs, excluded):
    """The 5 nearest documents of each query. The index asks for no rule, so this is less than the others do."""
    import faiss

    index = faiss.IndexFlatIPPanorama(docs.shape[1], 8)  # of 4, 8, 16 and 32 levels, 8 took the least
    index.add(docs)
    return index.search(queries[pairs[:, 0]], TOP)[1]


SCANS = {"faiss": scan_faiss, "numpy": scan_numpy, "panorama": scan_panorama}

# ---------------------------------------------------------------- the commands


def read_pairs(path):
    with np.load(path) as f:
        return f["pairs"], f["excluded"]


def pca(solver, components):
    from sklearn.decomposition import PCA

    return PCA(n_components=components, svd_solver=solver, random_state=1)


def whole(o):
    docs, (pairs, excluded) = load(o.folder, "docs"), read_pairs(o.pairs)
    fitted = pca("covariance_eigh", VARIANCE).fit(docs)
    docs = normalise(fitted.transform(docs))
    queries = normalise(fitted.transform(load(o.folder, "queries")))
    np.save(o.out, SCANS[o.scan](docs, queries, pairs, excluded))
    return {"components": int(fitted.n_components_)}


def in_memory(o):
    docs, queries = load(o.folder, "docs"), load(o.folder, "queries")
    return docs, queries, *read_pairs(o.pairs)


def scan(o):
    held = in_memory(o)
    import faiss  # before the clock starts

    began = time.perf_counter()
    found = SCANS[o.scan](*held)
    seconds = time.perf_counter() - began
    np.save(o.out, found)
    return {"seconds": seconds, "faiss": faiss.__version__}


def perc(o):
    import torch
    from datasets import Dataset
    from sentence_transformers.util import dot_score, mine_hard_negatives, pairwise_dot_score

    docs, queries, pairs, _ = in_memory(o)
    names, asked = [f"d{i}" for i in range(len(docs))], [f"q{i}" for i in range(len(queries))]

    class Given:
        """What mine_hard_negatives asks of a SentenceTransformer whose vectors have length 1. A text is the number of its vector."""

        device = torch.device("cpu")
        similarity, similarity_pairwise = staticmethod(dot_score), staticmethod(pairwise_dot_score)

        def get_embedding_dimension(self):
            return docs.shape[1]

        def encode_document(self, texts, **_):
            return docs if len(texts) == len(docs) else docs[[int(t[1:]) for t in texts]]

        def encode_query(self, texts, **_):
            return queries[[int(t[1:]) for t in texts]]

    data = Dataset.from_dict({"query": [asked[q] for q, _ in pairs], "positive": [names[d] for _, d in pairs]})
    began = time.perf_counter()
    rows = mine_hard_negatives(data, Given(), corpus=names, relative_margin=1 - PERC, num_negatives=TOP, output_format="labeled-list",
                               use_faiss=o.search == "faiss", verbose=False)
    seconds = time.perf_counter() - began
    number = {(int(q), int(d)): i for i, (q, d) in enumerate(pairs)}
    found = np.full((len(pairs), TOP), -1)
    for query, listed in zip(rows["query"], rows["positive"]):
        negatives = [int(d[1:]) for d in listed[1:]]
        found[number[int(query[1:]), int(listed[0][1:])], : len(negatives)] = negatives
    np.save(o.out, found)
    return {"seconds": seconds}


def fit(o):
    docs = load(o.folder, "docs")
    import sklearn.decomposition  # noqa: F401, before the clock starts

    began = time.perf_counter()
    if o.solver == "covariance_eigh":
        fitted = pca(o.solver, VARIANCE).fit(docs)
        captured = fitted.explained_variance_ratio_
    else:
        # It has to be told how many components there are to be, and a user does not know: twice as many until they are enough.
        for components in (512, 1024, 2048, 4096, 8192):
            attempt = time.perf_counter()
            fitted = pca(o.solver, min(components, *docs.shape)).fit(docs)
            captured = fitted.explained_variance_ratio_
            if captured.sum() >= VARIANCE or components >= min(docs.shape):
                break
    ended = time.perf_counter()
    k = min(int(np.searchsorted(np.cumsum(captured, dtype=np.float64), VARIANCE)) + 1, len(captured))
    np.savez(o.out, components=fitted.components_[:k], captured=float(captured[:k].sum(dtype=np.float64)))
    said = {"seconds": ended - began, "components": k}
    if o.solver == "randomized":
        said["last_attempt"] = ended - attempt
    return said


def blas(o):
    import faiss
    from threadpoolctl import threadpool_info

    rng = np.random.default_rng(1)
    docs, queries = rng.standard_normal((20000, 256), dtype=np.float32), rng.standard_normal((2048, 256), dtype=np.float32)
    index = faiss.IndexFlatIP(docs.shape[1])
    index.add(docs)
    best = best_of(3, lambda: index.search(queries, FIRST_K))
    own = [i for i in threadpool_info() if i["internal_api"] == "openblas" and "faiss" in i["filepath"]]
    return {"seconds": best, "blas": f"OpenBLAS {own[0]['version']} for {own[0]['architecture']}" if own else "no OpenBLAS"}


def peaks(o):
    """What all threads together do at most: billions of float32 multiply-adds a second in a matrix product, and of bytes that are copied, each
    of which is read and written."""
    from concurrent.futures import ThreadPoolExecutor

    from threadpoolctl import threadpool_info

    a = np.ones((2048, 2048), np.float32)
    threads = max(i["num_threads"] for i in threadpool_info())
    product = 2048**3 / best_of(5, lambda: a @ a) / 1e9
    size = 1 << 25  # floats of each thread: 128 MB
    halves = [(np.ones(size, np.float32), np.zeros(size, np.float32)) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        copied = threads * size * 4 / best_of(5, lambda: list(pool.map(lambda h: np.copyto(h[1], h[0]), halves))) / 1e9
    return {"matrix product": product, "copy": copied}


def best_of(rounds, work):
    best = np.inf
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {"whole": whole, "scan": scan, "perc": perc, "fit": fit, "blas": blas, "peaks": peaks}
    p.add_argument("what", choices=commands)
    p.add_argument("folder", type=Path, nargs="?")
    p.add_argument("pairs", type=Path, nargs="?")
    p.add_argument("--scan", choices=SCANS)
    p.add_argument("--search", choices=("faiss", "torch"))
    p.add_argument("--solver", choices=("covariance_eigh", "randomized"))
    p.add_argument("--out", type=Path)
    o = p.parse_args()
    print(json.dumps(commands[o.what](o)))


if __name__ == "__main__":
    main()
