"""What was mined, as lines of negatives.jsonl and as triplets for a trainer."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from .mining import Mined

if TYPE_CHECKING:
    from datasets import Dataset


def lines(mined: Iterable[Mined], pairs: Iterable[tuple[str, str]], document_id: Callable[[int], str]) -> Iterator[str]:
    """The lines of negatives.jsonl as the command line writes them, to the byte, with no line break.

    `pairs` are the ids of query and positive; `document_id` gives the id of a position.
    """
    for found, (query, positive) in zip(mined, pairs, strict=True):
        negatives = ",".join(
            f'{{"id":{_string(document_id(n.position))},"rank":{n.rank},"d_q_d":{_number(1 - n.s_q_d)},"d_pd_d":{_number(1 - n.s_pd_d)}}}'
            for n in found.negatives
        )
        line = f'{{"query_id":{_string(query)},"positive_id":{_string(positive)},"d_q_pd":{_number(1 - found.s_q_pd)},"negatives":[{negatives}]'
        if found.none:
            line += f',"none":"{found.none}"'
        if found.in_window is not None:
            line += f',"in_window":{found.in_window},"candidates":{found.candidates}'
        yield line + "}"


def triplets(
    mined: Iterable[Mined], pairs: Iterable[tuple[str, str]], query: Callable[[str], str], document: Callable[[str], str],
    document_id: Callable[[int], str],
) -> "Dataset":  # fmt: skip
    """A `Dataset` of anchor, positive and negative, a row for each negative, as sentence-transformers trains with it.

    `query` and `document` give the text of an id. It needs the package datasets.
    """
    from datasets import Dataset

    rows = [
        (query(query_id), document(positive_id), document(document_id(n.position)))
        for found, (query_id, positive_id) in zip(mined, pairs, strict=True)
        for n in found.negatives
    ]
    columns = ("anchor", "positive", "negative")
    return Dataset.from_dict({name: [row[i] for row in rows] for i, name in enumerate(columns)})


def _number(x: float) -> str:
    """The shortest decimal that parses back, in the command line's notation."""
    if x != 0 and abs(x) < 1e-6:
        return repr(x).replace("e-0", "e-")
    return np.format_float_positional(x, trim="-")


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
