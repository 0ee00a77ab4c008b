"""Compares a negatives.jsonl with the canonical reference, and that with plain NumPy.

    python compare.py DIR --projection FILE --negatives quarry.jsonl [options of reference.py]

mines by reference.py and says whether the lines are the same. It then decides everything anew by
NumPy's float64 matrix product, as a program without canonical arithmetic would, and accounts for
each pair whose negatives differ: which comparisons came out the other way, and how near to equal
their canonical sides are. Exit code 0 where the lines are identical and no such comparison is
further than 1e-12 from equality.

    python compare.py DIR --projection FILE --time-only [options]

times the rule in NumPy alone, at its fastest: float32, blocked, matrix products.
"""

import argparse
import json
import os
import resource
import sys
import time
from itertools import combinations, zip_longest

import numpy as np

import reference
from dataset import open_vectors, read_lines

EXPLAINED = 1e-12
SHOWN = 5           # differing lines printed
READ_BLOCK = 4096   # rows fused and projected at once by --time-only
PAIR_BLOCK = 128    # pairs scanned at once by --time-only
EQ6_BLOCK = 256     # documents that Eq. 6 is asked of first by --time-only


# ---------------------------------------------------------------- lines

def differing_lines(expected, found):
    rows = enumerate(zip_longest(expected, found), 1)
    return [(number, want, got) for number, (want, got) in rows if want != got]


# ---------------------------------------------------------------- the matrix product's decisions

def outcome_of(result):
    """What of a canonical result was decided, as opposed to computed."""
    return ([negative["id"] for negative in result["negatives"]], result.get("none"),
            result.get("in_window"), result.get("candidates"))


class Decisions:
    """One pair's decisions on all documents, from given scores."""

    def __init__(self, rule, allowed, positive_scores, s_q_d, s_pd_d):
        self.s_q_d, self.s_pd_d = s_q_d, s_pd_d
        self.floor, self.cap = rule.bounds(positive_scores)
        self.above_floor = s_q_d > self.floor
        self.below_cap = s_q_d <= self.cap
        self.window = allowed & self.above_floor & self.below_cap
        self.candidate = self.window
        if rule.eq6:
            self.meets = s_q_d > s_pd_d
            self.candidate = self.window & self.meets.all(axis=0)

    def chosen(self, top):
        positions = np.flatnonzero(self.candidate)
        return positions[reference.first_by_score(positions, self.s_q_d[positions], top)]

    def outcome(self, doc_ids, top, counts):
        chosen = self.chosen(top)
        none = None if len(chosen) else ("eq6" if self.window.any() else "window")
        numbers = (self.window.sum(), self.candidate.sum()) if counts else (None, None)
        return [doc_ids[p] for p in chosen], none, *numbers


def flipped_gaps(exact, other, top, allowed, rule):
    """For each comparison that `other` decides differently, how far apart its canonical sides are."""
    gaps = []
    if rule.floor:
        flipped = allowed & (exact.above_floor != other.above_floor)
        gaps.extend(np.abs(exact.s_q_d[flipped] - exact.floor))
    if rule.cap:
        flipped = allowed & (exact.below_cap != other.below_cap)
        gaps.extend(np.abs(exact.s_q_d[flipped] - exact.cap))
    if rule.eq6:
        relevant = exact.window | other.window
        flipped = relevant & (exact.meets != other.meets)
        gaps.extend(np.abs(exact.s_q_d - exact.s_pd_d)[flipped])

    # Order: it is enough to look at documents that either list holds and both allow.
    both = exact.candidate & other.candidate
    listed = [p for p in sorted({*exact.chosen(top), *other.chosen(top)}) if both[p]]
    for low, high in combinations(listed, 2):
        exact_first = exact.s_q_d[low] >= exact.s_q_d[high]
        other_first = other.s_q_d[low] >= other.s_q_d[high]
        if exact_first != other_first:
            gaps.append(abs(exact.s_q_d[low] - exact.s_q_d[high]))
    return gaps


def compare_matrix_product(problem, space, rule, options, canonical):
    """How the matrix product's decisions differ from the canonical results, and whether the
    difference is one of rounding."""
    together = options.positives == "all"
    screen = reference.Screen(problem, space, rule, together)
    everything = np.arange(len(space.docs))
    differing, unexplained, gaps = 0, 0, []
    for number, (pair, result) in enumerate(zip(problem.pairs, canonical, strict=True)):
        group = reference.group_of(problem, pair, together)
        allowed = np.ones(len(space.docs), bool)
        allowed[problem.excluded[pair[0]]] = False
        s_q_d, s_pd_d = screen.scores(number)
        other = Decisions(rule, allowed, s_q_d[group], s_q_d, s_pd_d)
        if other.outcome(problem.doc_ids, options.top, options.counts) == outcome_of(result):
            continue
        differing += 1
        vector, length = space.query(pair[0])
        exact_q = space.scores(vector, length, everything)
        exact_pd = None
        if rule.eq6:
            exact_pd = np.array([space.doc_scores(p, everything) for p in group])
        exact = Decisions(rule, allowed, exact_q[group], exact_q, exact_pd)
        if exact.outcome(problem.doc_ids, options.top, options.counts) != outcome_of(result):
            raise AssertionError(f"pair {number}: screened and full canonical results differ")
        flipped = flipped_gaps(exact, other, options.top, allowed, rule)
        gaps += flipped
        if not flipped or max(flipped) > EXPLAINED:
            unexplained += 1
            print(f"pair {number}: the matrix product differs by more than rounding: {flipped}")
    return {"differing_pairs": differing, "flipped_comparisons": len(gaps),
            "largest_gap": float(max(gaps, default=0)), "unexplained_pairs": unexplained}


def compare(options):
    begun = time.perf_counter()
    problem = reference.problem_of(options)
    space = reference.load_space(
        options.folder, reference.load_projection(options.projection), problem)
    projected = time.perf_counter()
    rule = reference.named_rule(options.rule, options.margin, options.perc)
    canonical = list(reference.mine(problem, space, rule, options.top,
                                    options.positives == "all", options.counts))
    expected = [reference.json_value(result) for result in canonical]
    mined = time.perf_counter()
    differing = differing_lines(expected, read_lines(options.negatives))
    if not differing:
        print(f"identical: {len(expected)} lines")
    for number, want, got in differing[:SHOWN]:
        print(f"line {number}\n  reference: {want}\n  file:      {got}")
    matrix = compare_matrix_product(problem, space, rule, options, canonical)
    identical = not differing
    print(json.dumps({
        "pairs": len(problem.pairs), "documents": len(space.docs), "identical": identical,
        "differing_lines": len(differing), "matrix_product": matrix,
        "seconds": {"fuse_project": round(projected - begun, 2),
                    "mine": round(mined - projected, 2),
                    "matrix_product": round(time.perf_counter() - mined, 2)},
    }))
    return 0 if identical and not matrix["unexplained_pairs"] else 1


# ---------------------------------------------------------------- NumPy at its fastest

def fast_rows(projection, vectors):
    """Fused, projected and of length 1, in float32."""
    parts = []
    for model, raw in zip(projection.models, vectors, strict=True):
        x = raw.astype(np.float32)
        factor = np.float32(model["weight"])
        if projection.normalize:
            factor = factor / np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]
        x *= factor
        parts.append(x)
    rows = np.concatenate(parts, axis=1)
    if projection.components is not None:
        rows -= projection.mean
        rows = rows @ projection.components.T
    rows /= np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    return rows


def fast_space(options, projection, kind, count, rows=None):
    files = [open_vectors(options.folder, model["name"], kind, count, model["width"])
             for model in projection.models]
    blocks = [slice(start, start + READ_BLOCK) for start in range(0, count, READ_BLOCK)]
    if rows is not None:
        blocks = [rows]
    return np.concatenate([fast_rows(projection, [file[block] for file in files])
                           for block in blocks])


def best_first(positions, scores):
    """Positions in blocks, by score descending; sorts no more than it has to."""
    size = EQ6_BLOCK
    while len(positions) > 4 * size:
        order = np.argpartition(scores, len(scores) - size)
        best, rest = order[-size:], order[:-size]
        best = best[reference.first_by_score(positions[best], scores[best], size)]
        yield positions[best]
        positions, scores, size = positions[rest], scores[rest], 8 * size
    if len(positions):
        yield positions[reference.first_by_score(positions, scores, len(positions))]


def fast_pair(rule, top, docs, group, excluded, scores):
    """Positions of one pair's negatives. Eq. 6 is asked best first, and only until m are found."""
    floor, cap = rule.bounds(scores[group])
    window = scores > floor
    if rule.cap:
        window &= scores <= cap
    window[excluded] = False
    inside = np.flatnonzero(window)
    inside_scores = scores[inside]
    if not rule.eq6:
        if len(inside) > top:
            best = np.argpartition(inside_scores, len(inside) - top)[len(inside) - top :]
            inside, inside_scores = inside[best], inside_scores[best]
        return inside[reference.first_by_score(inside, inside_scores, top)]
    found = []
    for block in best_first(inside, inside_scores):
        meets = (docs[block] @ docs[group].T < scores[block][:, None]).all(axis=1)
        found.extend(block[meets])
        if len(found) >= top:
            break
    return np.array(found[:top], dtype=np.int64)


def fast_mine(problem, docs, queries, used, rule, top, together):
    """Positions of each pair's negatives. `used` has the query rows that `queries` holds, sorted."""
    found = []
    for first in range(0, len(problem.pairs), PAIR_BLOCK):
        pairs = problem.pairs[first : first + PAIR_BLOCK]
        block, row_of_pair = np.unique([query for query, _ in pairs], return_inverse=True)
        by_query = queries[np.searchsorted(used, block)] @ docs.T
        for pair, row in zip(pairs, row_of_pair):
            group = reference.group_of(problem, pair, together)
            found.append(fast_pair(rule, top, docs, group, problem.excluded[pair[0]],
                                   by_query[row]))
    return found


def time_only(options):
    problem = reference.problem_of(options)
    projection = reference.load_projection(options.projection)
    rule = reference.named_rule(options.rule, options.margin, options.perc)
    used = np.unique([query for query, _ in problem.pairs])

    begun = time.perf_counter()
    docs = fast_space(options, projection, "docs", len(problem.doc_ids))
    queries = fast_space(options, projection, "queries", len(problem.query_ids), used)
    projected = time.perf_counter()
    peak_projected = peak_mib()
    found = fast_mine(problem, docs, queries, used, rule, options.top,
                      options.positives == "all")
    scanned = time.perf_counter()
    print(json.dumps({
        "pairs": len(problem.pairs), "documents": len(docs),
        "negatives": sum(map(len, found)),
        "threads": os.environ.get("OPENBLAS_NUM_THREADS", f"default of {os.cpu_count()} cores"),
        "fuse_project": {"seconds": round(projected - begun, 3), "peak_mib": peak_projected},
        "scan": {"seconds": round(scanned - projected, 3), "peak_mib": peak_mib()},
    }))
    return 0


def peak_mib():
    """The process's peak resident set so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    reference.add_options(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--negatives", metavar="FILE", help="the file to compare")
    what.add_argument("--time-only", action="store_true")
    options = parser.parse_args()
    return time_only(options) if options.time_only else compare(options)


if __name__ == "__main__":
    sys.exit(main())
