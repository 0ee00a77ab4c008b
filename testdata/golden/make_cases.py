"""Makes the committed cases and what is expected of them.

    python make_cases.py                    makes everything anew
    python make_cases.py --expected-only    keeps the inputs; makes only cases.json and the results

Every case checks that it shows what it is there to show.
"""

import argparse
import os
import shutil

import numpy as np

import reference
from case_files import (write_ids, write_lines, write_projection, write_qrels, write_texts,
                        write_vectors, write_text)
from dataset import json_value

HERE = os.path.dirname(os.path.abspath(__file__))
RULES = {rule: ["--rule", rule] for rule in ("dual", "topk", "margin", "perc", "capped")}


def topical(rng, docs, queries, width, topics, spread=0.8, offset=0.0):
    """Vectors around a few topics. Document i and query i are of topic i mod `topics`."""
    centres = rng.standard_normal((topics, width)) + offset
    def around(count):
        noise = rng.standard_normal((count, width))
        return centres[np.arange(count) % topics] + spread * noise
    return around(docs), around(queries)


def numbered(letter, count):
    return [f"{letter}{number}" for number in range(1, count + 1)]


def simple(folder, splits, docs, queries, models, **options):
    """A case without text. docs, queries: {model: array}."""
    first = models[0][0]
    doc_ids = options.pop("doc_ids", None) or numbered("d", len(docs[first]))
    query_ids = options.pop("query_ids", None) or numbered("q", len(queries[first]))
    write_ids(folder, doc_ids, query_ids)
    write_qrels(folder, splits)
    for name, _, _ in models:
        write_vectors(folder, name, docs[name], queries[name])
    write_projection(folder, models, docs, queries, **options)


# ---------------------------------------------------------------- the cases

def make_text(folder):
    """Texts, compressed and not; ids that JSON and other alphabets make hard; three splits."""
    rng = np.random.default_rng(101)
    doc_ids = numbered("doc-", 48)
    for row, name in {3: "Größe", 7: "文書-7", 11: "a&b", 12: "x<y>z", 20: 'the "best"',
                      21: "back\\slash", 30: "no\u00a0break", 31: "📄", 40: "with space"}.items():
        doc_ids[row] = name
    query_ids = numbered("query-", 10)
    query_ids[2], query_ids[4], query_ids[6] = "où?", "<q&a>", 'q"7"'
    write_qrels(folder, {
        "train": [(query_ids[q], doc_ids[d], s) for q, d, s in [
            (0, 6, 1), (0, 12, 2), (0, 3, 0), (1, 7, 1), (2, 20, 1), (3, 3, 1), (3, 9, -1),
            (4, 22, 1), (4, 40, 1), (4, 16, 1), (5, 11, 1), (6, 30, 1)]],
        "test": [(query_ids[q], doc_ids[d], s) for q, d, s in [
            (7, 31, 1), (8, 2, 1), (0, 30, 1), (9, 21, 1)]],
        "dev": [(query_ids[q], doc_ids[d], s) for q, d, s in [(2, 8, 1), (9, 15, 3), (1, 13, 0)]],
    })
    write_texts(folder, [(i, f"Title {i}", "A text, with \u201cquotes\u201d.") for i in doc_ids],
                [(i, f"What is {i}?") for i in query_ids])
    docs, queries = {}, {}
    for name, width in ("small", 20), ("large", 28):
        d, q = topical(rng, 48, 10, width, 6)
        docs[name], queries[name] = d.astype(np.float16), q.astype(np.float16)
        write_vectors(folder, name, docs[name], queries[name])
    write_projection(folder, [("small", 20, 1), ("large", 28, 1)], docs, queries)


def make_ties(folder):
    """Small whole numbers, no PCA: exact ties, among duplicates and among others."""
    rng = np.random.default_rng(102)
    docs = rng.integers(0, 3, (40, 6))
    docs[docs.sum(axis=1) == 0, 0] = 1
    docs[17] = docs[30] = docs[4]  # copies of a positive
    docs[39] = docs[2]
    queries = rng.integers(0, 3, (6, 6))
    queries[queries.sum(axis=1) == 0, 0] = 1
    queries[3] = docs[9]           # the positive is exactly in the direction of the query
    queries[4], docs[19], docs[25] = [2, 0, 0, 0, 0, 1], [0, 2, 0, 0, 0, 1], [1, 1, 0, 0, 0, 0]
    simple(folder, {"train": [("q1", "d5", 1), ("q2", "d1", 1), ("q3", "d3", 1), ("q4", "d10", 1),
                              ("q5", "d20", 1), ("q6", "d33", 1)]},
           {"int": docs.astype(np.float16)}, {"int": queries.astype(np.float16)},
           [("int", 6, 1)], normalize="none", pca="none", center="none")


def make_wide(folder):
    """Three models of three widths, types and weights; 600 columns, so three blocks."""
    rng = np.random.default_rng(103)
    docs, queries = {}, {}
    models = [("half", 300, 1), ("single", 130, 0.5), ("double", 170, 2.25)]
    for (name, width, _), dtype in zip(models, (np.float16, np.float32, np.float64)):
        d, q = topical(rng, 40, 8, width, 5, spread=1.5, offset=0.5)
        docs[name], queries[name] = d.astype(dtype), q.astype(dtype)
    docs["double"][:, 0] = 1 + 2.0**-24 * rng.integers(-3, 4, 40)  # halfway between float32s
    docs["single"][31] = docs["single"][6]                         # copy in one model of three
    simple(folder, {"train": [("q1", "d6", 1), ("q2", "d7", 1), ("q3", "d8", 1), ("q4", "d32", 1),
                              ("q5", "d10", 1), ("q6", "d2", 1), ("q7", "d18", 1)],
                    "test": [("q8", "d3", 1), ("q1", "d11", 1)]}, docs, queries, models)


def make_blocks(folder):
    """700 columns, not normalised, far from zero: float32 block sums are rough here."""
    rng = np.random.default_rng(104)
    docs, queries = topical(rng, 18, 5, 700, 3, offset=30.0)
    docs[12] = docs[4]
    simple(folder, {"train": [("q1", "d4", 1), ("q2", "d5", 1), ("q3", "d9", 1), ("q4", "d7", 1),
                              ("q5", "d17", 1)]},
           {"m": docs.astype(np.float32)}, {"m": queries.astype(np.float32)}, [("m", 700, 1)],
           normalize="none", pca="components=11")


def make_column_257(folder):
    """257 columns: the last block has one. Float64 vectors, k = 9."""
    rng = np.random.default_rng(105)
    docs, queries = topical(rng, 16, 4, 257, 3, spread=1.2)
    simple(folder, {"train": [("q1", "d4", 1), ("q2", "d8", 1), ("q3", "d12", 1), ("q4", "d1", 1)]},
           {"m": docs}, {"m": queries}, [("m", 257, 1)], pca="components=9", fit_on="all")


def make_uncentred(folder):
    """512 columns of two models, no centring, k = 8, fitted on a sample."""
    rng = np.random.default_rng(106)
    docs, queries = {}, {}
    for name in "ab":
        d, q = topical(rng, 24, 6, 256, 4, spread=1.2, offset=0.3)
        docs[name], queries[name] = d.astype(np.float16), q.astype(np.float16)
    simple(folder, {"train": [(f"q{i}", f"d{i + 8}", 1) for i in range(1, 7)]}, docs, queries,
           [("a", 256, 1), ("b", 256, 3)], pca="components=8", center="none", fit_on="sample:17",
           seed=7)


def make_one_document(folder):
    rng = np.random.default_rng(107)
    docs, queries = topical(rng, 1, 2, 12, 1)
    simple(folder, {"train": [("q1", "d1", 1)]}, {"m": docs.astype(np.float32)},
           {"m": queries.astype(np.float32)}, [("m", 12, 1)], fit_on="all")


def make_one_component(folder):
    """k = 1: every score is 1 or -1, so all is ties. One query."""
    rng = np.random.default_rng(108)
    docs, queries = topical(rng, 11, 1, 10, 2)
    simple(folder, {"train": [("q1", "d3", 1)]}, {"m": docs.astype(np.float32)},
           {"m": queries.astype(np.float32)}, [("m", 10, 1)], pca="components=1")


def make_self(folder):
    """The queries are documents too, by id and vector; one is judged its own positive."""
    rng = np.random.default_rng(109)
    docs, _ = topical(rng, 20, 1, 16, 4)
    ids = [f"t{number}" for number in range(1, 21)]
    rows = [2, 5, 8, 11, 13]
    simple(folder, {"train": [("t3", "t7", 1), ("t6", "t14", 1), ("t9", "t9", 1), ("t9", "t13", 1),
                              ("t12", "t4", 1), ("t14", "t2", 1)]},
           {"m": docs.astype(np.float16)}, {"m": docs[rows].astype(np.float16)}, [("m", 16, 1)],
           doc_ids=ids, query_ids=[ids[row] for row in rows], pca="variance=0.9")


def make_near_copies(folder):
    """Documents nearer to the query than the positive is, but nearer yet to the positive."""
    rng = np.random.default_rng(110)
    docs, queries = topical(rng, 30, 5, 18, 5, spread=1.0)
    for query, row in (0, 5), (1, 11), (2, 17):
        queries[query] += docs[row]
        for copy in range(1, 4):  # from the positive a little way towards the query
            docs[row + copy] = docs[row] + 0.06 * copy * (queries[query] - docs[row])
    docs[24] = docs[5]            # a plain copy of a positive
    queries[4] = docs[29] + 0.05 * queries[4]  # its positive is the nearest document
    simple(folder, {"train": [("q1", "d6", 1), ("q2", "d12", 1), ("q3", "d18", 1), ("q4", "d21", 1),
                              ("q5", "d30", 1)]},
           {"m": docs.astype(np.float32)}, {"m": queries.astype(np.float32)}, [("m", 18, 1)])


def make_several(folder):
    """Several positives a query, in one split and over two."""
    rng = np.random.default_rng(111)
    docs, queries = topical(rng, 36, 6, 24, 4, spread=0.9)
    simple(folder, {
        "train": [("q1", "d1", 1), ("q1", "d5", 1), ("q1", "d30", 1), ("q2", "d2", 1),
                  ("q2", "d10", 1), ("q3", "d4", 1), ("q4", "d8", 1), ("q4", "d13", 1)],
        "test": [("q3", "d7", 1), ("q3", "d11", 2), ("q5", "d9", 1), ("q4", "d20", 1),
                 ("q5", "d6", 0), ("q6", "d14", 1)]},
        {"m": docs.astype(np.float32)}, {"m": queries.astype(np.float32)}, [("m", 24, 1)])


def make_weights(folder):
    """Weight over norm is taken first. Rows (x, 2x, 2x) have norm 3x, and the weight is 3 t with t
    halfway between two float32s: x (w/n) is t less a float64 rounding, x w / n is t."""
    rng = np.random.default_rng(112)
    halfway = 0.5 - 5 * 2.0**-26
    signs = rng.choice([-1.0, 1.0], (14, 3))
    x = (1 + rng.random((2000, 1))).astype(np.float32).astype(np.float64)
    x = x[x * (3 * halfway / (3 * x)) < halfway][:14, None]
    exact = (signs * x * np.array([1, 2, 2])).astype(np.float32)
    other = rng.standard_normal((14, 7)).astype(np.float32)
    docs = {"exact": exact[:10], "other": other[:10]}
    queries = {"exact": exact[10:], "other": other[10:]}
    simple(folder, {"train": [("q1", "d1", 1), ("q2", "d2", 1), ("q3", "d3", 1), ("q4", "d4", 1)]},
           docs, queries, [("exact", 3, 3 * halfway), ("other", 7, 0.1)],
           pca="none", center="none")


def make_close(folder):
    """Scores that differ, with distances that do not: scores decide, and order. The last document
    is 5e-9 from the positive, which is printed without a leading zero in the exponent."""
    docs = np.array([[1, 0, 0], [1, 0, 1e-9], [1, 0, 2e-9], [1, 0, 0], [-1, 1, 0], [0, 0, 1],
                     [1, 1e-4, 0]])
    queries = np.array([[0.001, 1, 1e-8]])
    simple(folder, {"train": [("q1", "d1", 1)]}, {"m": docs.astype(np.float32)},
           {"m": queries.astype(np.float32)}, [("m", 3, 1)], normalize="none", pca="none",
           center="none")


# ---------------------------------------------------------------- runs, and what they must show

ALL, COUNTS = ["--positives", "all"], ["--counts"]

RUNS = {
    "text": {**RULES, "default": [], "test": ["--split", "test"], "dev": ["--split", "dev"],
             "all-splits": ["--split", "all", "--rule", "perc", "--top", "2"],
             "all-positives": ["--split", "all", *ALL, *COUNTS],
             "many": ["--rule", "topk", "--top", "4096", *COUNTS]},
    "ties": {**RULES, "topk-3": ["--rule", "topk", "--top", "3"],
             "topk-4": ["--rule", "topk", "--top", "4", *COUNTS],
             "dual-1": ["--top", "1"], "dual-counts": COUNTS,
             "perc-1": ["--rule", "perc", "--perc", "1", "--top", "8"],
             "margin-0": ["--rule", "margin", "--margin", "0", *COUNTS],
             "capped-1": ["--rule", "capped", "--perc", "1", "--top", "40"]},
    "wide": {**RULES, "all-splits": ["--split", "all", "--top", "3"],
             "capped-counts": ["--rule", "capped", "--perc", "0.8", *COUNTS],
             "margin-counts": ["--rule", "margin", "--margin", "0.2", "--top", "40", *COUNTS]},
    "blocks": {**RULES, "dual-counts": COUNTS, "topk-all": ["--rule", "topk", "--top", "18"]},
    "column-257": {**RULES, "topk-all": ["--rule", "topk", "--top", "16", *COUNTS]},
    "uncentred": {**RULES, "topk-all": ["--rule", "topk", "--top", "100"]},
    "one-document": {**RULES, "counts": COUNTS},
    "one-component": {**RULES, "topk-all": ["--rule", "topk", "--top", "11", *COUNTS],
                      "margin-2": ["--rule", "margin", "--margin", "2", *COUNTS]},
    "self": {**RULES, "keep": ["--self", "keep"], "exclude": ["--self", "exclude"],
             "topk-keep": ["--rule", "topk", "--self", "keep", *COUNTS]},
    "near-copies": {**RULES, "counts": COUNTS, "capped-1": ["--rule", "capped", "--perc", "1"]},
    "several": {"each": COUNTS, "all": [*ALL, *COUNTS], "test-each": ["--split", "test"],
                "test-all": ["--split", "test", *ALL],
                "all-all": ["--split", "all", *ALL, "--top", "2"],
                "margin-all": ["--rule", "margin", *ALL, *COUNTS],
                "perc-all": ["--rule", "perc", *ALL], "topk-all": ["--rule", "topk", *ALL],
                "capped-all": ["--rule", "capped", *ALL, "--split", "all"]},
    "weights": {**RULES, "topk-all": ["--rule", "topk", "--top", "10"]},
    "close": {**RULES, "topk-5": ["--rule", "topk", "--top", "5"], "dual-counts": COUNTS,
              "perc-1": ["--rule", "perc", "--perc", "1"],
              "margin-0": ["--rule", "margin", "--margin", "0"]},
}


def make_folder(name):
    folder = os.path.join(HERE, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    globals()["make_" + name.replace("-", "_")](folder)


def options_of(name, arguments):
    parser = argparse.ArgumentParser()
    reference.add_options(parser)
    folder = os.path.join(HERE, name)
    return parser.parse_args(
        [folder, "--projection", os.path.join(folder, "projection.safetensors"), *arguments])


def results_of(name, arguments):
    options = options_of(name, arguments)
    problem = reference.problem_of(options)
    space = reference.load_space(
        options.folder, reference.load_projection(options.projection), problem)
    rule = reference.named_rule(options.rule, options.margin, options.perc)
    together = options.positives == "all"
    screened, full = (list(reference.mine(problem, space, rule, options.top, together,
                                          options.counts, screened)) for screened in (True, False))
    assert screened == full, (name, arguments)
    return full


def all_scores(name):
    """For each pair of the train split: row of the positive, allowed documents, s(Q,D), s(PD,D)."""
    options = options_of(name, [])
    problem = reference.problem_of(options)
    space = reference.load_space(
        options.folder, reference.load_projection(options.projection), problem)
    rows = np.arange(len(space.docs))
    for query, positive in problem.pairs:
        allowed = ~np.isin(rows, problem.excluded[query])
        yield (positive, allowed, space.scores(*space.query(query), rows),
               space.doc_scores(positive, rows))


def nones(results):
    return {result.get("none") for result in results}


def ids(results):
    return [[negative["id"] for negative in result["negatives"]] for result in results]


def check(made):
    """made: {case: {run: results}}. Each line is a thing the cases promise to show."""
    def naive_bytes(name):  # NumPy's own float32 matrix product and norms
        projection = reference.load_projection(os.path.join(HERE, name, "projection.safetensors"))
        options = options_of(name, ["--rule", "topk"])
        problem = reference.problem_of(options)
        rows = {}
        for kind, count in ("docs", len(problem.doc_ids)), ("queries", len(problem.query_ids)):
            fused = reference.fuse(projection, [
                reference.open_vectors(options.folder, model["name"], kind, count, model["width"])
                for model in projection.models])
            y = (fused - projection.mean) @ projection.components.T
            rows[kind] = y / np.linalg.norm(y, axis=1, keepdims=True)
        return [1.0 - float(rows["queries"][q] @ rows["docs"][d]) for q, d in problem.pairs]

    for name in "wide", "blocks", "column-257":
        canonical = [result["d_q_pd"] for result in made[name]["topk"]]
        assert all(map(lambda a, b: json_value(a) != json_value(b), canonical, naive_bytes(name)))

    ties = list(all_scores("ties"))
    assert any((s == s[p])[allowed].any() for p, allowed, s, _ in ties), "tie with the positive"
    assert any((s == t)[allowed & (s > s[p])].any() for p, allowed, s, t in ties), "tie in Eq. 6"
    fourth = [result["negatives"][2:4] for result in made["ties"]["topk-4"]]
    assert any(a["d_q_d"] == b["d_q_d"] for a, b in fourth), "tie at the m-th place"
    tiny = {n["d_pd_d"] for runs in made.values() for results in runs.values()
            for result in results for n in result["negatives"] if abs(n["d_pd_d"]) < 1e-12}
    assert min(tiny) < 0 < max(tiny) and 0 in tiny, "copies of a positive: 0, or a rounding away"
    assert nones(made["ties"]["dual"]) >= {None, "window"}

    below = [result for runs in made.values() for run in ("perc", "capped")
             for result in runs.get(run, []) if result["d_q_pd"] > 1]
    assert below and all(n["d_q_d"] >= result["d_q_pd"] for result in below
                         for n in result["negatives"]), "negative score"
    assert nones(made["one-document"]["topk"]) == {"window"}
    assert {n["d_q_d"] for r in made["one-component"]["topk-all"] for n in r["negatives"]} == {0, 2}
    assert made["one-component"]["margin-2"][0]["in_window"] > 0
    assert ids(made["self"]["dual"]) != ids(made["self"]["keep"])
    assert nones(made["near-copies"]["dual"]) == {None, "eq6", "window"}
    assert made["near-copies"]["dual"][4]["none"] == "window"
    assert ids(made["several"]["each"]) != ids(made["several"]["all"])
    assert ids(made["several"]["margin-all"]) != ids(results_of("several", ["--rule", "margin"]))
    assert nones(made["several"]["all-all"]) >= {None, "window"}
    assert len(made["text"]["many"][0]["negatives"]) > 40
    assert ids(made["close"]["topk-5"]) == [["d5", "d7", "d3", "d2", "d4"]]
    assert len({n["d_q_d"] for n in made["close"]["topk-5"][0]["negatives"][2:]}) == 1
    assert 4e-9 < made["close"]["topk-5"][0]["negatives"][1]["d_pd_d"] < 6e-9
    assert made["close"]["dual-counts"][0]["in_window"] == 4


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--expected-only", action="store_true")
    arguments = parser.parse_args()
    made, entries = {}, []
    for name, runs in RUNS.items():
        if not arguments.expected_only:
            make_folder(name)
        made[name] = {}
        for run, options in runs.items():
            made[name][run] = results_of(name, options)
            expected = f"{name}/expected/{run}.jsonl"
            write_lines(os.path.join(HERE, expected), map(json_value, made[name][run]))
            entries.append(json_value({"name": f"{name}/{run}", "folder": name, "args": options,
                                       "expected": expected}))
    check(made)
    write_text(os.path.join(HERE, "cases.json"), "[\n" + ",\n".join(entries) + "\n]\n")
    print(f"{len(RUNS)} folders, {len(entries)} runs")


if __name__ == "__main__":
    main()
