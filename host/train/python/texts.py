"""What a job reads and writes: texts by id, rankings, files that appear whole or not at all."""

import json
import os


def read_texts(path, wanted=None):
    """Returns {id: text} of a file with {"id", "text"} in each line, of the wanted ids or of all."""
    texts = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if wanted is None or row["id"] in wanted:
                texts[row["id"]] = row["text"]
    if wanted is not None and wanted - texts.keys():
        raise ValueError(f"{path}: there is no text of {sorted(wanted - texts.keys())[0]!r}")
    return texts


def write_whole(path, text):
    """Writes a file that appears whole or not at all."""
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def ranked(scores, depth):
    """Orders {id: score} as trec_eval does: the highest score first, of equal scores the greatest id first."""
    return sorted(sorted(scores, reverse=True), key=lambda document: -scores[document])[:depth]


def first_relevant(ranking, relevant):
    """Returns the rank, from 1, of the first relevant document, or 0 where there is none."""
    return next((rank for rank, document in enumerate(ranking, 1) if document in relevant), 0)


def mrr_at_10(ranks):
    """Is the mean of 1 / rank over {query: rank of the first relevant document}, of ranks up to 10."""
    return sum(1 / rank for rank in ranks.values() if 0 < rank <= 10) / max(1, len(ranks))


def run_lines(query, ranking, scores, name):
    """Are the lines of a TREC run for one query."""
    return [f"{query} Q0 {document} {rank} {scores[document]!r} {name}\n" for rank, document in enumerate(ranking, 1)]
