"""Folders that the embedded example is not: judgements with other columns or none named, ids that are numbers, compressed texts, copies."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from folder import judged, read


@pytest.mark.parametrize(
    "text",
    [
        "query-id\tcorpus-id\tscore\nq1\td 1\t1\nq1\td2\t0\n",
        "q1\td 1\t1\r\n\r\nq1\td2\t0",
        "query\tdocument\tScore\nq1\td 1\t2.5\n",
    ],
)
def test_the_first_line_may_name_the_columns(tmp_path: Path, text: str) -> None:
    (tmp_path / "train.tsv").write_bytes(text.encode())
    assert judged(tmp_path / "train.tsv") == [("q1", "d 1")]


def test_judgements_of_trec(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("q1 0 d1 1\nq1\t0\td2\t0\nq2  Q0 d1\t2\n")
    assert judged(tmp_path / "train.tsv") == [("q1", "d1"), ("q2", "d1")]
    (tmp_path / "train.tsv").write_text("q1 0 d1 1\nq1,d1,1\n")
    with pytest.raises(ValueError, match=r"train.tsv:2: expected"):
        judged(tmp_path / "train.tsv")


def test_ids_and_copies(tmp_path: Path) -> None:
    texts = [("a", "x"), ("", ""), ("a", "x"), ("b", "x"), ("", "")]
    lines = [json.dumps({"id": i, "title": title or None, "text": text}) for i, (title, text) in enumerate(texts)]
    (tmp_path / "corpus.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (tmp_path / "queries.jsonl").write_text('\ufeff{"_id":"3","id":"q","text":""}\r\n{"_id":1.50,"text":""}\n', encoding="utf-8")
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels/train.tsv").write_text("3\t0\t1\n1.50\t1\t1\n3\t0\t1\n")
    for model in ("m", "n"):
        (tmp_path / "vectors" / model).mkdir(parents=True)
        documents = np.eye(5, 6, dtype=np.float16)
        if model == "n":
            documents[3] = documents[0]  # in one model alone
        documents[4] = documents[1]
        np.save(tmp_path / "vectors" / model / "docs.npy", documents)
        np.save(tmp_path / "vectors" / model / "queries.npy", documents[:2])
    data = read(tmp_path, "all")
    assert (data.documents, data.queries) == (["0", "1", "2", "3", "4"], ["3", "1.50"])
    assert data.pairs.pairs == [("3", "0"), ("1.50", "1")]
    assert data.exclude == [[0, 2, 3], [1, 4]]  # document 3 is a query's own id, 2 has the text of 0, and 4 the vectors of 1
