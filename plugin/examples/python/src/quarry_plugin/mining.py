"""Negatives of one query's hits (`select`), of many pairs in a stream of documents (`Miner`), and of parts put together (`merge`)."""

import functools
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypedDict, TypeVar, Unpack, overload

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from .message import Array, Vectors, vectors
from .module import Instance, PerThread
from .projection import Projection


class Options(TypedDict, total=False):
    """What to mine; docs/ABI.md, Operations, has the defaults. `floor` and `cap` are (a, b): a * s(Q,PD) + b."""

    rule: Literal["dual", "topk", "margin", "perc", "capped", "window"]
    top: int
    margin: float
    perc: float
    floor: tuple[float, float]
    cap: tuple[float, float]
    eq6: bool
    counts: bool
    zero: Literal["error", "skip"]
    pairs_id: str


def _texts(options: Options) -> dict[str, str]:
    def text(value: object) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, tuple):
            return " ".join(repr(float(x)) for x in value)
        return str(value)

    return {name: text(value) for name, value in options.items()}


@dataclass(frozen=True)
class Negative:
    """A hard negative: the position of the document, its rank from 1, s(Q,D) and s(PD,D)."""

    position: int
    rank: int
    s_q_d: float
    s_pd_d: float


@dataclass(frozen=True)
class Mined:
    """What was mined for a pair: s(Q,PD), and the negatives, the nearest to the query first.

    Where there are none, `none` says why: no document lay in the rule's `window`, or none of those met Eq. 6 (`eq6`). `in_window` and
    `candidates` are numbers of documents, with the option `counts` alone.
    """

    s_q_pd: float
    negatives: list[Negative]
    none: Literal["window", "eq6"] | None
    in_window: int | None = None
    candidates: int | None = None


class Part(Sequence[Mined]):
    """The result for ranges of documents: a `Mined` for each pair. `data` is its bytes, which other hosts read and `merge` takes.

    `tensors` are its arrays, as docs/ABI.md names them.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.tensors: dict[str, Array] = load(data)

    def __len__(self) -> int:
        return len(self.tensors["s_q_pd"])

    @overload
    def __getitem__(self, index: int) -> Mined: ...
    @overload
    def __getitem__(self, index: slice) -> list[Mined]: ...
    def __getitem__(self, index: int | slice) -> Mined | list[Mined]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i = range(len(self))[index]
        of = {name: array.tolist() for name, array in self._found(i).items()}
        found = [Negative(p, rank, q, d) for rank, (p, q, d) in enumerate(zip(of["position"], of["s_q_d"], of["s_pd_d"], strict=True), 1)]
        none: Literal["window", "eq6"] = "eq6" if self.tensors["window"][i] else "window"
        counts = [int(self.tensors[name][i]) if name in self.tensors else None for name in ("in_window", "candidates")]
        return Mined(float(self.tensors["s_q_pd"][i]), found, None if found else none, *counts)

    def _found(self, i: int) -> dict[str, Array]:
        first, end = self.tensors["offsets"][i : i + 2]
        return {name: self.tensors[name][first:end] for name in ("position", "s_q_d", "s_pd_d")}


Id = TypeVar("Id", bound=Hashable)


class Pairs(Generic[Id]):
    """Pairs of ids as a `Miner` takes them: `queries` and `positives` have each id once, `index` the rows of both, shape [pairs, 2]."""

    def __init__(self, pairs: Iterable[tuple[Id, Id]]) -> None:
        self.pairs = list(pairs)
        queries = {query: row for row, query in enumerate(dict.fromkeys(query for query, _ in self.pairs))}
        positives = {positive: row for row, positive in enumerate(dict.fromkeys(positive for _, positive in self.pairs))}
        self.queries, self.positives = list(queries), list(positives)
        self.index = np.array([(queries[q], positives[p]) for q, p in self.pairs], np.int64).reshape(-1, 2)


def _integers(name: str, values: Iterable[int]) -> Array:
    """Positions or rows, which a mask or floats are not."""
    given = np.asarray(values if isinstance(values, np.ndarray) else list(values))
    if given.size and given.dtype.kind not in "iu":
        raise TypeError(f"{name} is {given.dtype}; expected integers (np.flatnonzero gives those of a mask)")
    return given.astype(np.int64)


def _lists(name: str, lists: Iterable[Iterable[int]] | None) -> dict[str, Array]:
    """One list of numbers for each query, as a message has them."""
    if lists is None:
        return {}
    rows = [_integers(name, row) for row in lists]
    return {
        f"{name}_offsets": np.cumsum([0] + [len(row) for row in rows], dtype=np.int64),
        name: np.concatenate([np.empty(0, np.int64), *rows]),
    }


def _pairs(
    queries: Vectors, positives: Vectors, index: Array, exclude: Iterable[Iterable[int]] | None, together: Iterable[Iterable[int]] | None
) -> dict[str, Array]:
    return {
        **vectors("queries", queries),
        **vectors("positives", positives),
        "pair_query": _integers("index", index[:, 0]),
        "pair_positive": _integers("index", index[:, 1]),
        **_lists("exclude", exclude),
        **_lists("together", together),
    }


@functools.cache
def _without_projection() -> PerThread:
    return PerThread(None)


_ONE_PAIR = np.zeros((1, 2), np.int64)


def select(
    query: Vectors,
    positive: Vectors,
    candidates: Vectors,
    *,
    exclude: Iterable[int] = (),
    projection: Projection | None = None,
    **options: Unpack[Options],
) -> Mined:
    """The negatives of one (query, positive) pair among candidates, such as the 200 hits of a search.

    `query` and `positive` are one row, `candidates` [rows, components] as `transform` gives them; raw vectors need `projection`, and
    take some twenty times as long. There may be no candidates. `exclude` are rows of `candidates` that are not negatives: the positive
    itself, if it is a hit.
    A negative's position is its row of `candidates`.
    """
    tensors = _pairs(query, positive, _ONE_PAIR, [exclude], None) | vectors("documents", candidates)
    instance = projection.instance() if projection else _without_projection().instance
    return Part(instance.send("select", tensors, _texts(options)))[0]


class Miner:
    """Mines many pairs in a stream of documents, on an instance of its own. Use it from one thread at a time.

    `queries` and `positives` have each row once, projected or raw; raw vectors need `projection`. `index` has the row of both for each
    pair, shape [pairs, 2]. `exclude` has, for each query, the positions of documents that are never its negatives: its positives belong
    there. `together` has, for each query, the rows of `positives` that must all satisfy the rule; one that lists none has each of its
    pairs alone.
    """

    def __init__(
        self,
        queries: Vectors,
        positives: Vectors,
        index: NDArray[np.int64],
        *,
        exclude: Iterable[Iterable[int]] | None = None,
        together: Iterable[Iterable[int]] | None = None,
        projection: Projection | None = None,
        **options: Unpack[Options],
    ) -> None:
        self._instance = Instance()
        if projection is not None:
            self._instance.send_bytes("load_projection", projection.file)
        self._instance.send("begin", _pairs(queries, positives, index, exclude, together), _texts(options))
        self._next = 0

    def push(self, documents: Vectors, first: int | None = None) -> None:
        """Takes documents, any number of them, once each. `first` is the position of the first; by default they follow the last ones."""
        first = self._next if first is None else first
        tensors = vectors("documents", documents)
        for _ in self._instance.send_rows("push", tensors, lambda row: {"first": str(first + row)}):
            pass
        self._next = first + len(next(iter(tensors.values())))

    def finish(self) -> Part:
        """The part for the documents since the last `finish`. The pairs stay, ready for another part."""
        return Part(self._instance.send_bytes("finish", b""))


def merge(parts: Iterable[Part | bytes]) -> Part:
    """Puts parts of the same pairs together. Their order does not matter, and their documents must not overlap."""
    given: list[Any] = [part.data if isinstance(part, Part) else part for part in parts]
    tensors = {f"{i:06}": np.frombuffer(data, np.uint8) for i, data in enumerate(given)}
    return Part(_without_projection().instance.send("merge", tensors, {}))
