"""Hard negatives in NumPy, to the last bit: docs/ABI.md, section Arithmetic, and nothing else.

NumPy's sum, dot and matrix product add in an order of their own and may fuse a product with an
addition, so no canonical number here comes from them. Loops run over columns in the order the page
gives; each step of a loop is one elementwise operation on all rows and outputs at once, which NumPy
rounds on its own. On large folders the float64 matrix product does rule out documents that are more
than 1e-9 away from every decision; what is left is decided by canonical numbers.

    python reference.py DIR --projection FILE [options]     writes negatives.jsonl
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass

import numpy as np
from safetensors import safe_open

from dataset import json_value, open_vectors, read_problem

COLUMN_BLOCK = 256    # columns that share one float32 sum
LANES = 8             # interleaved float64 partial sums
TOLERANCE = 1e-9      # the matrix product decides nothing that is nearer than this
SCREEN_FROM = 200_000  # pairs x documents from which the matrix product is worth its setup
PAIR_BLOCK = 64       # pairs screened at once
ROW_BLOCK = 64        # rows projected at once: few enough that the running sums stay in cache
READ_BLOCK = 2048     # rows read and fused at once


# ---------------------------------------------------------------- projection file

@dataclass
class Projection:
    models: list      # {"name": ..., "width": ..., "weight": ...}, in order of concatenation
    normalize: bool   # each model's vector is divided by its norm before it is weighted
    mean: np.ndarray = None        # float32 [d]; None without PCA
    components: np.ndarray = None  # float32 [k, d]; None without PCA


def load_projection(path):
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    if metadata["format"] != "quarry.projection.v1":
        raise ValueError(f"{path}: format {metadata['format']!r}")
    models = json.loads(metadata["models"])
    normalize = {"l2": True, "none": False}[metadata["normalize"]]
    if metadata["pca"] == "none":
        return Projection(models, normalize)
    mean, components = tensors["mean"], tensors["components"]
    width = sum(model["width"] for model in models)
    if mean.dtype != np.float32 or components.dtype != np.float32:
        raise ValueError(f"{path}: mean and components must be float32")
    if mean.shape != (width,) or components.shape[1:] != (width,):
        raise ValueError(f"{path}: mean and components do not fit the models' widths")
    return Projection(models, normalize, mean, components)


# ---------------------------------------------------------------- score

def dot(a, b):
    """Dot products of float32 rows: a is [n, k], b is [n, k] or one row [k]. Float64 [n].

    Lane j of the eight holds columns j, j + 8, j + 16, ...: one step of the loop adds to each lane
    once, so every lane's additions are in ascending order of columns.
    """
    width = a.shape[1]
    lanes = np.zeros((len(a), LANES))
    for start in range(0, width, LANES):
        stop = min(start + LANES, width)
        product = a[:, start:stop].astype(np.float64) * b[..., start:stop].astype(np.float64)
        lanes[:, : stop - start] += product
    r = lanes.T
    return ((r[0] + r[4]) + (r[2] + r[6])) + ((r[1] + r[5]) + (r[3] + r[7]))


def norm(a):
    return np.sqrt(dot(a, a))


def score(a, b, norm_a, norm_b):
    return dot(a, b) / (norm_a * norm_b)


# ---------------------------------------------------------------- fuse and project

def fuse(projection, vectors):
    """vectors: one array [n, width] for each model. Gives float32 [n, d]."""
    parts = []
    for model, raw in zip(projection.models, vectors, strict=True):
        with np.errstate(over="ignore"):
            x = np.asarray(raw).astype(np.float32)
        if not np.isfinite(x).all():
            raise ValueError(f"{model['name']}: a value that is not finite in float32")
        length = norm(x)
        if (length == 0).any():
            raise ValueError(f"{model['name']}: a vector of zeros")
        if not projection.normalize:
            length = np.ones_like(length)
        factor = float(model["weight"]) / length
        with np.errstate(over="ignore"):
            parts.append((x.astype(np.float64) * factor[:, None]).astype(np.float32))
    return np.concatenate(parts, axis=1)


def project(projection, fused):
    """float32 [n, d] to float32 [n, k]."""
    if projection.components is None:
        projected = fused
    else:
        by_column = np.ascontiguousarray(projection.components.T)  # [d, k]
        projected = np.empty((len(fused), by_column.shape[1]), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(fused), ROW_BLOCK):
                rows = slice(start, start + ROW_BLOCK)
                projected[rows] = project_rows(fused[rows] - projection.mean, by_column)
    if not np.isfinite(projected).all():
        raise ValueError("an output that is not finite")
    if (projected == 0).all(axis=1).any():
        raise ValueError("a vector of zeros after projection")
    return projected


def project_rows(centred, by_column):
    """All outputs of a few rows: [n, d] and [d, k] to [n, k]."""
    columns = np.ascontiguousarray(centred.T)[:, :, None]  # [d, n, 1]
    shape = len(centred), by_column.shape[1]
    total = np.zeros(shape, np.float64)
    product = np.empty(shape, np.float32)
    for first in range(0, len(by_column), COLUMN_BLOCK):
        s = np.zeros(shape, np.float32)
        for i in range(first, min(first + COLUMN_BLOCK, len(by_column))):
            np.multiply(columns[i], by_column[i], out=product)
            np.add(s, product, out=s)
        total += s
    return total.astype(np.float32)


def read_space(folder, projection, kind, count, rows=None):
    """The folder's documents or queries (or only some rows of them), fused and projected."""
    files = [open_vectors(folder, model["name"], kind, count, model["width"])
             for model in projection.models]
    rows = np.arange(count) if rows is None else rows
    blocks = []
    for start in range(0, len(rows), READ_BLOCK):
        chosen = rows[start : start + READ_BLOCK]
        blocks.append(project(projection, fuse(projection, [file[chosen] for file in files])))
    return np.concatenate(blocks)


# ---------------------------------------------------------------- rules and decisions

@dataclass
class Rule:
    """A window on s(Q,D): above the floor, at most the cap; bounds are a * s(Q,PD) + b.

    below_zero is the cap's a where s(Q,PD) < 0; None where it is the same.
    """

    floor: tuple = None
    cap: tuple = None
    eq6: bool = False
    below_zero: float = None

    def bounds(self, s_q_pd):
        """Floor and cap for s(Q,PD) of all positives that must agree, as an array."""
        floor, cap = -np.inf, np.inf
        if self.floor:
            floor = (self.floor[0] * s_q_pd + self.floor[1]).max()
        if self.cap:
            a, b = self.cap
            if self.below_zero is not None:
                a = np.where(s_q_pd < 0, self.below_zero, a)
            cap = (a * s_q_pd + b).min()
        return floor, cap


def named_rule(name, margin=0.05, perc=0.95):
    return {
        "dual": Rule(floor=(1.0, 0.0), eq6=True),
        "topk": Rule(),
        "margin": Rule(cap=(1.0, -margin)),
        "perc": Rule(cap=(perc, 0.0), below_zero=2.0 - perc),
        "capped": Rule(cap=(perc, 0.0), eq6=True, below_zero=2.0 - perc),
    }[name]


def decide(rule, bounds, s_q_d, s_pd_d):
    """Two masks: in the window, and candidate. s_pd_d has a row for each positive."""
    floor, cap = bounds
    window = (s_q_d > floor) & (s_q_d <= cap)
    if not rule.eq6:
        return window, window
    return window, window & (s_q_d > s_pd_d).all(axis=0)


def first_by_score(positions, scores, top):
    """Indices of the first `top` by score descending, then position ascending."""
    return np.lexsort((positions, -scores))[:top]


# ---------------------------------------------------------------- mining

@dataclass
class Space:
    """Projected documents and queries, with their norms."""

    docs: np.ndarray
    queries: np.ndarray
    query_row: dict  # row in the folder's query file -> row of `queries`

    def __post_init__(self):
        self.doc_norm = norm(self.docs)
        self.query_norm = norm(self.queries)

    def query(self, query):
        row = self.query_row[query]
        return self.queries[row], self.query_norm[row]

    def scores(self, vector, length, positions):
        """Canonical scores of one vector against documents."""
        return score(self.docs[positions], vector, self.doc_norm[positions], length)

    def doc_scores(self, position, positions):
        return self.scores(self.docs[position], self.doc_norm[position], positions)


def load_space(folder, projection, problem):
    used = sorted({query for query, _ in problem.pairs})
    docs = read_space(folder, projection, "docs", len(problem.doc_ids))
    queries = read_space(folder, projection, "queries", len(problem.query_ids), np.array(used))
    return Space(docs, queries, {query: row for row, query in enumerate(used)})


def group_of(problem, pair, together):
    """Positives that must satisfy the rule together, the pair's own one first."""
    query, positive = pair
    others = [p for p in problem.positives[query] if p != positive] if together else []
    return [positive] + others


def mine(problem, space, rule, top=5, together=False, counts=False, screened=None):
    """Yields the result of each pair, in order, as a dictionary in the output's key order."""
    count = len(space.docs)
    if screened is None:
        screened = count * len(problem.pairs) >= SCREEN_FROM
    screen = Screen(problem, space, rule, together) if screened else None
    for number, pair in enumerate(problem.pairs):
        query, positive = pair
        group = group_of(problem, pair, together)
        vector, length = space.query(query)
        s_q_pd = space.scores(vector, length, group)
        bounds = rule.bounds(s_q_pd)
        allowed = np.ones(count, bool)
        allowed[problem.excluded[query]] = False
        if screened:
            mask, sure = screen.open_decisions(number, bounds, allowed, top, counts)
        else:
            mask, sure = allowed, (0, 0)

        positions = np.flatnonzero(mask)
        s_q_d = space.scores(vector, length, positions)
        s_pd_d = np.array([space.doc_scores(p, positions) for p in (group if rule.eq6 else [])])
        window, candidate = decide(rule, bounds, s_q_d, s_pd_d)

        chosen = np.flatnonzero(candidate)
        chosen = chosen[first_by_score(positions[chosen], s_q_d[chosen], top)]
        s_pd_chosen = space.doc_scores(positive, positions[chosen])
        result = {
            "query_id": problem.query_ids[query],
            "positive_id": problem.doc_ids[positive],
            "d_q_pd": 1.0 - s_q_pd[0],
            "negatives": [
                {"id": problem.doc_ids[positions[i]], "rank": rank,
                 "d_q_d": 1.0 - s_q_d[i], "d_pd_d": 1.0 - s_pd}
                for rank, (i, s_pd) in enumerate(zip(chosen, s_pd_chosen), 1)
            ],
        }
        in_window = sure[0] + np.count_nonzero(window)
        if len(chosen) == 0:
            result["none"] = "eq6" if in_window else "window"
        if counts:
            result["in_window"] = in_window
            result["candidates"] = sure[1] + np.count_nonzero(candidate)
        yield result


class Screen:
    """The float64 matrix product, used only to set documents aside.

    Its scores and the canonical ones are both within k * 2^-52 or so of the true cosine, far less
    than the tolerance; so what clears a decision by more than the tolerance is decided.
    """

    def __init__(self, problem, space, rule, together):
        self.problem, self.space, self.rule, self.together = problem, space, rule, together
        self.unit_docs = space.docs / space.doc_norm[:, None]  # float64
        self.unit_queries = space.queries / space.query_norm[:, None]
        self.first = self.last = 0

    def scores(self, number):
        """Matrix-product scores of pair `number`: s(Q,D), and s(PD,D) with a row a positive."""
        if not self.first <= number < self.last:
            self.compute(number)
        pair = self.problem.pairs[number]
        group = group_of(self.problem, pair, self.together)
        return (self.by_query[number - self.first],
                self.by_positive[[self.positive_row[p] for p in group]] if self.rule.eq6 else None)

    def compute(self, number):
        self.first, self.last = number, min(number + PAIR_BLOCK, len(self.problem.pairs))
        pairs = self.problem.pairs[self.first : self.last]
        rows = [self.space.query_row[query] for query, _ in pairs]
        self.by_query = self.unit_queries[rows] @ self.unit_docs.T
        if self.rule.eq6:
            needed = sorted({p for pair in pairs
                             for p in group_of(self.problem, pair, self.together)})
            self.positive_row = {p: row for row, p in enumerate(needed)}
            self.by_positive = self.unit_docs[needed] @ self.unit_docs.T

    def open_decisions(self, number, bounds, allowed, top, counts):
        """A mask of the documents that canonical scores must decide, and how many of the others
        are surely in the window and surely candidates."""
        floor, cap = bounds
        s_q_d, s_pd_d = self.scores(number)
        window = allowed & (s_q_d > floor + TOLERANCE) & (s_q_d <= cap - TOLERANCE)
        window_perhaps = allowed & (s_q_d > floor - TOLERANCE) & (s_q_d <= cap + TOLERANCE)
        candidate, perhaps = window, window_perhaps
        if self.rule.eq6:
            lead = (s_q_d - s_pd_d).min(axis=0)
            candidate = window & (lead > TOLERANCE)
            perhaps = window_perhaps & (lead > -TOLERANCE)

        mask = perhaps
        sure_scores = s_q_d[candidate]
        if len(sure_scores) >= top:
            last = np.partition(sure_scores, len(sure_scores) - top)[len(sure_scores) - top]
            mask = perhaps & (s_q_d >= last - 2 * TOLERANCE)
        if counts:
            mask = mask | (window_perhaps & ~window) | (perhaps & ~candidate)
        elif not window.any():
            mask = mask | window_perhaps
        return mask, (np.count_nonzero(window & ~mask), np.count_nonzero(candidate & ~mask))


# ---------------------------------------------------------------- command line

def add_options(parser):
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("--projection", required=True, metavar="FILE")
    parser.add_argument("--split", default="train", help="a qrels file's name, or all")
    parser.add_argument("--rule", default="dual",
                        choices=["dual", "topk", "margin", "perc", "capped"])
    parser.add_argument("--margin", type=float, default=0.05)
    parser.add_argument("--perc", type=float, default=0.95)
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument("--counts", action="store_true")
    parser.add_argument("--self", dest="self_", default="exclude", choices=["exclude", "keep"])
    parser.add_argument("--positives", default="each", choices=["each", "all"])


def problem_of(options):
    return read_problem(options.folder, options.split, options.self_ == "keep")


def mine_with(options, problem, space, screened=None):
    """Lines of negatives.jsonl, without line ends, for parsed options."""
    rule = named_rule(options.rule, options.margin, options.perc)
    results = mine(problem, space, rule, options.top, options.positives == "all",
                   options.counts, screened)
    return [json_value(result) for result in results]


def main():
    parser = argparse.ArgumentParser(description="Canonical hard negatives, in NumPy.")
    add_options(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="standard output by default")
    options = parser.parse_args()
    begun = time.perf_counter()
    problem = problem_of(options)
    space = load_space(options.folder, load_projection(options.projection), problem)
    projected = time.perf_counter()
    text = "".join(line + "\n" for line in mine_with(options, problem, space))
    mined = time.perf_counter()
    if options.output:
        with open(options.output, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
    else:
        sys.stdout.buffer.write(text.encode("utf-8"))
    print(f"{len(space.docs)} documents, {len(problem.pairs)} pairs: fuse and project "
          f"{projected - begun:.1f} s, mine {mined - projected:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
