"""Makes bm25s_top.json: the ten best documents of the embedded demo for each of its queries, by bm25s.

A document's text is its title and its text. bm25s makes lower case and takes terms of two or more letters, digits and underscores, without
stop words and without a stemmer; method "lucene", in float64. Documents of one score are in the order of their positions.

    python testdata/oracle/bm25s_top.py      # with the versions of requirements.txt
"""

import json
import pathlib

import bm25s
import numpy as np

here = pathlib.Path(__file__).parent
demo = here.parent / "demo"


def texts(name):
    lines = [json.loads(line) for line in (demo / name).read_text(encoding="utf-8").splitlines()]
    return [line.get("title", "") + "\n" + line["text"] for line in lines]


def tokens(of):
    return bm25s.tokenize(of, stopwords=None, stemmer=None, return_ids=False, show_progress=False)


corpus, queries = tokens(texts("corpus.jsonl")), tokens(texts("queries.jsonl"))
runs = []
for k1, b in ((1.2, 0.75), (0.9, 0.4)):
    index = bm25s.BM25(method="lucene", k1=k1, b=b, dtype="float64")
    index.index(corpus, show_progress=False)
    top = []
    for query in queries:
        scores = index.get_scores(query)
        best = np.lexsort((np.arange(len(scores)), -scores))[:10]
        top.append([[int(d), float(scores[d])] for d in best if scores[d] > 0])
    runs.append({"k1": k1, "b": b, "top": top})

made = {"versions": {"bm25s": bm25s.__version__, "numpy": np.__version__}, "runs": runs}
(here / "bm25s_top.json").write_text(json.dumps(made, separators=(",", ":")).replace("]],", "]],\n") + "\n")
