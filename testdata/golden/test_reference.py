"""The reference against an implementation that does one number at a time, and the committed cases.

    python -m unittest test_reference        in this folder; a few seconds
"""

import argparse
import contextlib
import io
import json
import math
import os
import struct
import sys
import tempfile
import unittest
from unittest import mock

import numpy as np

import compare
import dataset
import reference

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, "bench"))

import answers  # noqa: E402
import rivals  # noqa: E402


# ---------------------------------------------------------------- one number at a time

class Dumb:
    """docs/ABI.md, Arithmetic, read aloud. Python's float is float64; no NumPy.

    The keyword arguments are mistakes one could make; the tests make each, to see that the
    committed cases notice.
    """

    def __init__(self, block=256, lanes=8, wide_sum=False, weight_first=False, divide_twice=False,
                 fused=False, centre_wide=False, late_ties=False, plain_lanes=False, one_root=False,
                 by_distance=False, one_cap=False):
        self.__dict__.update(locals())

    @staticmethod
    def float32(x):
        return struct.unpack("<f", struct.pack("<f", x))[0]

    def dot(self, a, b):
        r = [0.0] * self.lanes
        for i in range(len(a)):
            r[i % self.lanes] = r[i % self.lanes] + a[i] * b[i]
        if self.lanes != 8 or self.plain_lanes:
            total = r[0]
            for lane in r[1:]:
                total = total + lane
            return total
        return ((r[0] + r[4]) + (r[2] + r[6])) + ((r[1] + r[5]) + (r[3] + r[7]))

    def norm(self, a):
        return math.sqrt(self.dot(a, a))

    def score(self, a, b):
        if self.one_root:
            return self.dot(a, b) / math.sqrt(self.dot(a, a) * self.dot(b, b))
        if self.divide_twice:
            return self.dot(a, b) / self.norm(a) / self.norm(b)
        return self.dot(a, b) / (self.norm(a) * self.norm(b))

    def fuse(self, models, normalize, vectors):
        u = []
        for model, values in zip(models, vectors):
            x = [self.float32(value) for value in values]
            n = self.norm(x) if normalize else 1.0
            w = float(model["weight"])
            for value in x:
                u.append(self.float32(value * w / n if self.weight_first else value * (w / n)))
        return u

    def project(self, u, mean, components):
        if components is None:
            return u
        float32 = (lambda x: x) if self.wide_sum else self.float32
        c = [a - b if self.centre_wide else self.float32(a - b) for a, b in zip(u, mean)]
        y = []
        for row in components:
            total = 0.0
            for start in range(0, len(c), self.block):
                s = 0.0
                for i in range(start, min(start + self.block, len(c))):
                    product = c[i] * row[i]  # exact in float64
                    s = float32(s + (product if self.fused else float32(product)))
                total = total + s
            y.append(self.float32(total))
        return y

    def mine(self, docs, query, positive, group, excluded, rule, top):
        """Negatives as (position, s(Q,D), s(PD,D)), documents in the window, candidates."""
        window, candidates = [], []
        for position in range(len(docs)):
            if position in excluded:
                continue
            s_q_d = self.score(query, docs[position])
            inside = True
            for p in group:
                s_q_p = self.score(query, docs[p])
                if rule.floor and not s_q_d > rule.floor[0] * s_q_p + rule.floor[1]:
                    inside = False
                if rule.cap:
                    below = rule.below_zero is not None and s_q_p < 0 and not self.one_cap
                    a = rule.below_zero if below else rule.cap[0]
                    if not s_q_d <= a * s_q_p + rule.cap[1]:
                        inside = False
            if not inside:
                continue
            window.append(position)
            if rule.eq6 and not all(s_q_d > self.score(docs[p], docs[position]) for p in group):
                continue
            candidates.append((position, s_q_d, self.score(docs[positive], docs[position])))
        order = -1 if self.late_ties else 1
        ranked = sorted(candidates, key=lambda c: (
            1.0 - c[1] if self.by_distance else -c[1], order * c[0]))[:top]
        return ranked, len(window), len(candidates)

    def result(self, problem, docs, query, pair, group, rule, top, counts):
        ranked, in_window, candidates = self.mine(
            docs, query, pair[1], group, set(problem.excluded[pair[0]].tolist()), rule, top)
        result = {
            "query_id": problem.query_ids[pair[0]],
            "positive_id": problem.doc_ids[pair[1]],
            "d_q_pd": 1.0 - self.score(query, docs[pair[1]]),
            "negatives": [{"id": problem.doc_ids[position], "rank": rank,
                           "d_q_d": 1.0 - s_q_d, "d_pd_d": 1.0 - s_pd_d}
                          for rank, (position, s_q_d, s_pd_d) in enumerate(ranked, 1)],
        }
        if not ranked:
            result["none"] = "eq6" if in_window else "window"
        if counts:
            result["in_window"] = in_window
            result["candidates"] = candidates
        return result

    def run(self, problem, projection, docs, queries, rule, top, together, counts):
        """docs, queries: for each model a list of rows. Gives the lines."""
        mean = components = None
        if projection.components is not None:
            mean, components = projection.mean.tolist(), projection.components.tolist()

        def space(models):
            return [self.project(self.fuse(projection.models, projection.normalize, row),
                                 mean, components) for row in zip(*models)]

        docs, queries = space(docs), space(queries)
        lines = []
        for pair in problem.pairs:
            group = problem.positives[pair[0]] if together else [pair[1]]
            lines.append(dataset.json_value(self.result(
                problem, docs, queries[pair[0]], pair, group, rule, top, counts)))
        return lines


# ---------------------------------------------------------------- problems

def random_problem(seed):
    """A small problem with copies, several positives and whatever else there is."""
    rng = np.random.default_rng(seed)
    widths = [[5], [3, 9], [257], [140, 130, 20]][seed % 4]
    models = [{"name": f"m{i}", "width": w, "weight": [1, 0.3, 2.5][i]}
              for i, w in enumerate(widths)]
    dtypes = [np.float32, np.float64, np.float16]
    docs = [rng.standard_normal((12, w)).astype(dtypes[(seed + i) % 3])
            for i, w in enumerate(widths)]
    queries = [rng.standard_normal((4, w)).astype(dtypes[(seed + i) % 3])
               for i, w in enumerate(widths)]
    for model in docs:
        model[7], model[11] = model[2], model[0]
    projection = reference.Projection(models, bool(seed % 5))
    if seed % 3:
        d, k = sum(widths), [1, 3, 8, 11][seed // 3 % 4]
        projection.mean = rng.standard_normal(d).astype(np.float32)
        projection.components = rng.standard_normal((k, d)).astype(np.float32)
    pairs = [(0, 2), (1, 5), (1, 0), (3, 9), (2, 8), (1, 3)]
    positives = {0: [2], 1: [5, 0, 3], 2: [8], 3: [9]}
    excluded = {q: np.array(sorted({*p, q + 3})) for q, p in positives.items()}
    problem = dataset.Problem([f"d{i}" for i in range(12)], [f"q{i}" for i in range(4)],
                              pairs, positives, excluded)
    return problem, projection, docs, queries


def load_case(case):
    """Parsed options, problem, projection, and the raw vectors of documents and queries."""
    folder = os.path.join(HERE, case["folder"])
    parser = argparse.ArgumentParser()
    reference.add_options(parser)
    options = parser.parse_args(
        [folder, "--projection", os.path.join(folder, "projection.safetensors"), *case["args"]])
    problem = reference.problem_of(options)
    projection = reference.load_projection(options.projection)
    raw = [[np.array(dataset.open_vectors(folder, model["name"], kind, count, model["width"]))
            for model in projection.models]
           for kind, count in (("docs", len(problem.doc_ids)), ("queries", len(problem.query_ids)))]
    return options, problem, projection, *raw


def dumb_lines(dumb, loaded):
    options, problem, projection, docs, queries = loaded
    rule = reference.named_rule(options.rule, options.margin, options.perc)
    return dumb.run(problem, projection, [m.tolist() for m in docs], [m.tolist() for m in queries],
                    rule, options.top, options.positives == "all", options.counts)


def committed_cases():
    with open(os.path.join(HERE, "cases.json"), encoding="utf-8") as file:
        return json.load(file)


def expected_lines(case):
    return dataset.read_lines(os.path.join(HERE, case["expected"]))


# ---------------------------------------------------------------- tests

class RandomProblems(unittest.TestCase):
    def test_against_one_number_at_a_time(self):
        rules = [reference.named_rule(name) for name in ("dual", "topk", "margin", "perc", "capped")]
        rules += [reference.Rule((0.5, -0.1), (1.0, 0.2), True), reference.Rule((1.0, -0.3))]
        for seed in range(24):
            problem, projection, docs, queries = random_problem(seed)
            space = reference.Space(
                *(reference.project(projection, reference.fuse(projection, x))
                  for x in (docs, queries)), {row: row for row in range(4)})
            rule, top = rules[seed % len(rules)], 1 + seed % 6
            for together in False, True:
                for counts in False, True:
                    want = Dumb().run(problem, projection, [m.tolist() for m in docs],
                                      [m.tolist() for m in queries], rule, top, together, counts)
                    for screened in False, True:
                        results = reference.mine(problem, space, rule, top, together, counts,
                                                 screened)
                        with self.subTest(seed=seed, together=together, screened=screened):
                            self.assertEqual(list(map(dataset.json_value, results)), want)


class CommittedCases(unittest.TestCase):
    def test_reference_gives_the_committed_lines(self):
        for case in committed_cases():
            with self.subTest(case["name"]):
                options, problem, projection, _, _ = load_case(case)
                space = reference.load_space(options.folder, projection, problem)
                for screened in False, True:
                    self.assertEqual(reference.mine_with(options, problem, space, screened),
                                     expected_lines(case))

    def test_compare_finds_them_identical_and_explains_the_matrix_product(self):
        for case in committed_cases():
            with self.subTest(case["name"]):
                options = load_case(case)[0]
                options.negatives = os.path.join(HERE, case["expected"])
                with contextlib.redirect_stdout(io.StringIO()) as out:
                    self.assertEqual(compare.compare(options), 0, out.getvalue())

    def test_compare_sees_a_difference(self):
        case = committed_cases()[0]
        options = load_case(case)[0]
        with tempfile.TemporaryDirectory() as directory:
            options.negatives = os.path.join(directory, "negatives.jsonl")
            lines = expected_lines(case)
            with open(options.negatives, "w", encoding="utf-8") as file:
                file.write("".join(line + "\n" for line in lines[:-1]))
            with contextlib.redirect_stdout(io.StringIO()) as out:
                self.assertEqual(compare.compare(options), 1)
            self.assertIn(f"line {len(lines)}\n", out.getvalue())

    def compare_with_noise(self, name, size):
        """compare's exit code and summary, had the matrix product errors of this size."""
        case = next(case for case in committed_cases() if case["name"] == name)
        options = load_case(case)[0]
        options.negatives = os.path.join(HERE, case["expected"])
        rng, scores = np.random.default_rng(0), reference.Screen.scores

        def noisy(screen, number):
            s_q_d, s_pd_d = scores(screen, number)
            s_q_d = s_q_d + size * rng.uniform(-1, 1, s_q_d.shape)
            if s_pd_d is not None:
                s_pd_d = s_pd_d + size * rng.uniform(-1, 1, s_pd_d.shape)
            return s_q_d, s_pd_d

        with mock.patch.object(reference.Screen, "scores", noisy), \
                contextlib.redirect_stdout(io.StringIO()) as out:
            code = compare.compare(options)
        return code, json.loads(out.getvalue().splitlines()[-1])["matrix_product"]

    def test_compare_accounts_for_rounding_and_for_nothing_more(self):
        for name in ("ties/topk-4", "ties/dual-counts", "ties/margin-0", "ties/capped-1",
                     "blocks/topk-all"):
            for size, code in (1e-14, 0), (0.1, 1):
                with self.subTest(name, size=size):
                    found, summary = self.compare_with_noise(name, size)
                    self.assertEqual(found, code, summary)
                    self.assertGreater(summary["differing_pairs"], 0)
                    self.assertGreater(summary["flipped_comparisons"], 0)
                    self.assertEqual(summary["unexplained_pairs"] > 0, code == 1)

    def test_rivals_of_benchmarks_find_the_same_away_from_ties(self):
        def nearest(queries, k):
            scores = queries @ docs.T
            found = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            return np.take_along_axis(scores, found, axis=1), found

        for case in committed_cases():
            options, problem, projection, _, _ = load_case(case)
            if case["folder"] not in ("wide", "several") or options.rule != "dual" or options.positives == "all":
                continue
            space = reference.load_space(options.folder, projection, problem)
            docs = rivals.normalise(space.docs.copy())
            queries = np.zeros((len(problem.query_ids), docs.shape[1]), np.float32)
            queries[list(space.query_row)] = rivals.normalise(space.queries.copy())
            rows = answers.rows_of(problem)
            want = [[n["id"] for n in json.loads(line)["negatives"]] for line in expected_lines(case)]
            # So few at a time that every loop is gone through more than once.
            with mock.patch.multiple(rivals, TOP=options.top, FIRST_K=2, AT_A_TIME=1, QUERY_BLOCK=2):
                for name, found in (("NumPy", rivals.scan_numpy(docs, queries, **rows)),
                                    ("search", rivals.by_search(nearest, docs, queries, **rows))):
                    with self.subTest(case["name"], by=name):
                        self.assertEqual([[problem.doc_ids[p] for p in row if p >= 0] for row in found], want)


class Mistakes(unittest.TestCase):
    """The committed cases tell each likely misreading of the page from the page."""

    NAMES = ["blocks/topk-all", "column-257/topk-all", "weights/topk-all", "ties/topk-4",
             "close/topk-5", "close/dual-counts", "weights/perc"]

    def setUp(self):
        by_name = {case["name"]: case for case in committed_cases()}
        self.cases = [(load_case(by_name[name]), expected_lines(by_name[name]))
                      for name in self.NAMES]

    def noticed(self, **mistake):
        return [name for name, (loaded, want) in zip(self.NAMES, self.cases)
                if dumb_lines(Dumb(**mistake), loaded) != want]

    def test_none(self):
        self.assertEqual(self.noticed(), [])

    def test_each(self):
        for mistake in ({"block": 128}, {"block": 10**6}, {"lanes": 1}, {"lanes": 4},
                        {"plain_lanes": True}, {"wide_sum": True}, {"fused": True},
                        {"centre_wide": True}, {"weight_first": True}, {"divide_twice": True},
                        {"one_root": True}, {"late_ties": True}, {"by_distance": True},
                        {"one_cap": True}):
            with self.subTest(mistake):
                self.assertTrue(self.noticed(**mistake))


class Json(unittest.TestCase):
    def test_numbers(self):
        for value, text in [
                (0.0, "0"), (-0.0, "-0"), (1.0, "1"), (-2.0, "-2"), (0.3127, "0.3127"),
                (1e-6, "0.000001"), (0.000012345, "0.000012345"), (9.99e-7, "9.99e-7"),
                (1e-7, "1e-7"), (1.5e-12, "1.5e-12"), (-2.0**-52, "-2.220446049250313e-16"),
                (1e16, "10000000000000000"), (1e20, "100000000000000000000"),
                (1e21, "1e+21"), (123456789.0, "123456789"), (5e-324, "5e-324"),
                (1 - 2.0**-53, "0.9999999999999999")]:
            self.assertEqual(dataset.json_number(value), text)

    def test_strings(self):
        for value, text in [("a&b<c>", '"a&b<c>"'), ('"\\', '"\\"\\\\"'), ("文é📄", '"文é📄"'),
                            ("\n\t\x01\x7f", '"\\n\\t\\u0001\x7f"'), ("\u2028", '"\\u2028"')]:
            self.assertEqual(dataset.json_string(value), text)


if __name__ == "__main__":
    unittest.main()
