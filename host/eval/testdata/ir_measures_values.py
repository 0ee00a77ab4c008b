"""What ir-measures says of run files: the oracle of TestOracle.

    python ir_measures_values.py FOLDER         # FOLDER/<case>.run and FOLDER/<case>.qrels; JSON on the standard output

For each case it gives every query's values and their means. ir-measures breaks ties as trec_eval does wherever pytrec_eval measures, which is
for all but RR with a cutoff. So RR@k is made of RR: it is RR where that is at least 1/k.
"""

import json
import pathlib
import sys

import ir_measures
from ir_measures import AP, RR, P, R, nDCG

MEASURES = {"mrr": RR, "ndcg": nDCG, "ndcg@3": nDCG @ 3, "ndcg@10": nDCG @ 10, "recall@5": R @ 5, "recall@100": R @ 100,
            "p@1": P @ 1, "p@10": P @ 10, "map": AP}


def values(run, qrels):
    names = {str(m): name for name, m in MEASURES.items()}
    qrels = list(ir_measures.read_trec_qrels(str(qrels)))
    run = list(ir_measures.read_trec_run(str(run)))
    results = ir_measures.pytrec_eval.calc(list(MEASURES.values()), qrels, run)
    of = {name: {} for name in MEASURES}
    for m in results[1]:
        of[names[str(m.measure)]][m.query_id] = m.value
    for k in (3, 10):
        of[f"mrr@{k}"] = {q: v if v * k >= 1 - 1e-9 else 0.0 for q, v in of["mrr"].items()}
    means = {names[str(m)]: v for m, v in results[0].items()}
    return {"values": of, "means": means}


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    print(json.dumps({run.stem: values(run, run.with_suffix(".qrels")) for run in sorted(folder.glob("*.run"))}))
