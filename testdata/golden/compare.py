"""Compares a negatives.jsonl with the canonical reference, and that with plain NumPy.

    python compare.py DIR --projection FILE --negatives quarry.jsonl [options of reference.py]

mines by reference.py and says whether the lines are the same. It then decides everything anew by
NumPy's float64 matrix product, as a program without canonical arithmetic would, and accounts for
each pair whose negatives differ: which comparisons came out the other way, and how near to equal
their canonical sides are. Exit code 0 where the lines are identical and no such comparison is
further than 1e-12 from equality.
"""

import argparse
import json
import sys
import time
from itertools import combinations, zip_longest

import numpy as np

import reference
from dataset import read_lines

EXPLAINED = 1e-12
SHOWN = 5           # differing lines printed


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


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    reference.add_options(parser)
    parser.add_argument("--negatives", metavar="FILE", required=True, help="the file to compare")
    return compare(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
