"""What the package adds to the module: shapes, types, blocks, errors and threads. That its negatives are the command line's, `run` compares."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import wasmtime
from numpy.typing import NDArray
from quarry_plugin import Array, Instance, Miner, Pairs, PluginError, Projection, lines, merge, module, negatives, select, triplets

Random = np.random.Generator


@pytest.fixture
def rng() -> Random:
    return np.random.default_rng(7)


@pytest.fixture
def documents(rng: Random) -> dict[str, Array]:
    return {"a": rng.normal(size=(60, 12)).astype(np.float16), "b": rng.normal(size=(60, 7)) * 3}


@pytest.fixture
def projection(documents: dict[str, Array]) -> Projection:
    return Projection.fit(documents, weights={"b": 0.5}, components=6)


def projected_by_numpy(p: Projection, vectors: dict[str, Array]) -> NDArray[np.float64]:
    from safetensors.numpy import load

    unit = [vectors[m.name] / np.linalg.norm(vectors[m.name].astype(float), axis=1, keepdims=True) * m.weight for m in p.models]
    tensors = load(p.file)
    y: NDArray[np.float64] = (np.hstack(unit) - tensors["mean"]) @ tensors["components"].T.astype(float)
    return y


def test_fit_and_transform(documents: dict[str, Array], projection: Projection, tmp_path: Path) -> None:
    assert [(m.name, m.width, m.weight) for m in projection.models] == [("a", 12, 1.0), ("b", 7, 0.5)]
    y = projection.transform(documents)
    assert y.shape == (60, projection.components) == (60, 6) and y.dtype == np.float32
    np.testing.assert_allclose(y, projected_by_numpy(projection, documents), atol=1e-5)
    variances = y.var(axis=0, ddof=1)
    assert (np.diff(variances) < 0).all()
    projection.save(tmp_path / "p")
    assert Projection.load(tmp_path / "p").fingerprint == projection.fingerprint
    assert pickle.loads(pickle.dumps(projection)).fingerprint == projection.fingerprint


def test_fit_keeps_the_share_of_variance(documents: dict[str, Array]) -> None:
    whole = Projection.fit(documents, variance=1.0)
    variances = whole.transform(documents).var(axis=0, ddof=1)
    share = np.cumsum(variances) / variances.sum()
    assert Projection.fit(documents, variance=0.8).components == int((share < 0.8).sum()) + 1
    with pytest.raises(ValueError, match="only 19"):
        Projection.fit(documents, components=20)
    with pytest.raises(ValueError, match="a, row 3"):
        Projection.fit({"a": np.where(np.arange(8)[:, None] == 3, 0.0, np.eye(8))})


def test_any_layout_of_memory_gives_the_same(documents: dict[str, Array], projection: Projection) -> None:
    y = projection.transform(documents)
    other = {"b": np.asfortranarray(documents["b"]), "a": documents["a"].astype(">f2")[::-1][::-1]}
    np.testing.assert_array_equal(projection.transform(other), y)
    np.testing.assert_array_equal(projection.transform({name: rows[5] for name, rows in documents.items()}), y[5:6])
    assert projection.transform({name: rows[:0] for name, rows in documents.items()}).shape == (0, 6)
    one = Projection.fit({"a": documents["a"]})
    np.testing.assert_array_equal(one.transform(documents["a"]), one.transform({"a": documents["a"]}))
    with pytest.raises(TypeError, match="documents/a is int64"):
        projection.transform({"a": np.ones((1, 12), np.int64), "b": np.ones((1, 7))})
    with pytest.raises(ValueError, match=r"\[1, 2\] rows"):
        projection.transform({"a": np.ones((1, 12)), "b": np.ones((2, 7))})


def test_select_raw_and_projected(documents: dict[str, Array], projection: Projection) -> None:
    y = projection.transform(documents)
    unit = (y / np.linalg.norm(y, axis=1, keepdims=True)).astype(float)
    s_q = unit @ unit[0]
    positive = int(np.argsort(-s_q)[3])
    s_p, cap, out = unit @ unit[positive], 0.9 * s_q[positive], [0, positive]
    expected = [i for i in np.argsort(-s_q) if s_q[i] <= cap and s_q[i] > s_p[i] and i not in out]
    found = select(y[0], y[positive], y, exclude=out, rule="capped", perc=0.9, top=3, counts=True)
    assert [n.position for n in found.negatives] == expected[:3] and found.candidates == len(expected) > 3
    assert [n.rank for n in found.negatives] == [1, 2, 3]
    raw = [{name: rows[i] for name, rows in documents.items()} for i in (0, positive)]
    assert select(raw[0], raw[1], documents, exclude=out, projection=projection, rule="capped", perc=0.9, top=3, counts=True) == found
    without = select(y[0], y[positive], y, exclude=[*out, expected[0]], rule="capped", perc=0.9, top=3)
    assert [n.position for n in without.negatives] == expected[1:4]
    assert select(y[0], y[positive], y, exclude=out, rule="window", cap=(0.9, 0), eq6=True, top=3).negatives == found.negatives
    nothing = {name: rows[:0] for name, rows in documents.items()}
    for hits in (select(y[0], y[positive], y[:0]), select(raw[0], raw[1], nothing, projection=projection)):
        assert (hits.s_q_pd, hits.negatives, hits.none) == (found.s_q_pd, [], "window")


def test_miner_in_blocks_parts_and_threads(documents: dict[str, Array], projection: Projection, monkeypatch: pytest.MonkeyPatch) -> None:
    y = projection.transform(documents)
    pairs = Pairs([("q0", "d4"), ("q1", "d5"), ("q0", "d6")])
    assert pairs.index.tolist() == [[0, 0], [1, 1], [0, 2]] and pairs.positives == ["d4", "d5", "d6"]

    def mine(first: int, end: int, step: int) -> bytes:
        miner = Miner(y[[0, 1]], y[[4, 5, 6]], pairs.index, exclude=[[0, 4, 6], [1, 5]], projection=projection, rule="topk")
        for i in range(first, end, step):
            miner.push({name: rows[i : min(i + step, end)] for name, rows in documents.items()}, first if i == first else None)
        return miner.finish().data

    whole = mine(0, 60, 60)
    assert mine(0, 60, 7) == whole
    monkeypatch.setattr(module, "BLOCK_BYTES", 500)
    assert mine(0, 60, 60) == whole
    with ThreadPoolExecutor(3) as threads:
        parts = list(threads.map(lambda first: mine(first, first + 20, 9), (40, 0, 20)))
        assert all(np.array_equal(threads.submit(projection.transform, documents).result(), y) for _ in range(3))
    merged = merge(parts)
    assert merged.data == whole and len(merged) == 3
    assert merged[0].negatives[0] == merged[:1][0].negatives[0] == select(y[0], y[4], y, exclude=[0, 4, 6], rule="topk").negatives[0]


def test_errors(documents: dict[str, Array], projection: Projection, monkeypatch: pytest.MonkeyPatch) -> None:
    documents["b"][41] = 0
    monkeypatch.setattr(module, "BLOCK_BYTES", 800)  # so that the row lies in a later block
    with pytest.raises(PluginError, match="zero_vector: .*row 41") as error:
        projection.transform(documents)
    assert (error.value.code, error.value.tensor, error.value.row) == ("zero_vector", "documents/b", 41)
    assert pickle.loads(pickle.dumps(error.value)).row == 41
    assert (projection.transform(documents, zero="skip")[41] == 0).all()
    with pytest.raises(PluginError) as error:
        select({"a": np.ones(12)}, {"a": np.ones(12)}, {"a": np.ones(12)})
    assert error.value.code == "no_projection" and error.value.row is None
    y = np.eye(3, dtype=np.float32)
    with pytest.raises(PluginError, match="bad_option"):
        select(y[0], y[1], y, top=0)
    with pytest.raises(PluginError, match="overlap"):
        miner = Miner(y[:1], y[1:2], np.zeros((1, 2), np.int64))
        miner.push(y)
        miner.push(y, first=2)
    with pytest.raises(PluginError):
        Projection(b"no projection")
    for mask in (np.array([True, False, True]), [True, False, True], [0.0, 1.0]):
        with pytest.raises(TypeError, match="exclude is .*flatnonzero"):
            select(y[0], y[1], y, exclude=mask)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="index is float64"):
        Miner(y[:1], y[1:2], np.zeros((1, 2)))  # type: ignore[arg-type]


def test_a_fault_is_an_error() -> None:
    with pytest.raises(PluginError, match="internal: .*memory"):
        Instance(memory_limit=66 << 20).send_bytes("info", bytes(64 << 20))
    assert Instance().info()["abi"].startswith("1.")


def test_the_compiled_module_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(cache: Path) -> int:
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
        engine = wasmtime.Engine()
        module._kept(engine, b"\0asm\1\0\0\0")
        return len(list(cache.glob("quarry/*.cwasm")))

    assert compiled(tmp_path) == 1
    file = next(tmp_path.glob("quarry/*.cwasm"))
    file.write_bytes(b"damaged")
    assert compiled(tmp_path) == 1 and len(file.read_bytes()) > 100
    (tmp_path / "file").touch()
    assert compiled(tmp_path / "file") == 0  # no folder can be made there, and the module works all the same


def test_lines_and_triplets() -> None:
    y = np.array([[1, 0], [0.6, 0.8], [0.999, 0.01], [1, 1e-5]], np.float32)
    found = [select(y[0], y[1], y[2:]), select(y[0], y[3], y[1:2], counts=True)]
    ids = ["\u2028é", "d\t"]
    first, second = lines(found, [("q1", "p1"), ("q1", 'p"2')], ids.__getitem__)
    assert first.startswith('{"query_id":"q1","positive_id":"p1","d_q_pd":0.39999999') and '"id":"d\\t","rank":1' in first and '"id":"\\u2028é"' in first
    assert second.endswith('"negatives":[],"none":"window","in_window":0,"candidates":0}') and '"positive_id":"p\\"2"' in second
    texts = [negatives._number(x) for x in (0.0, 1.0, 5.000000413701855e-11, 1.5e-05, 2.5, 1e-10, -2.220446049250313e-16)]
    assert texts == ["0", "1", "5.000000413701855e-11", "0.000015", "2.5", "1e-10", "-2.220446049250313e-16"]
    pytest.importorskip("datasets")
    rows = triplets(found[:1], [("q1", "p1")], str.upper, str.upper, ["x", "y"].__getitem__)
    assert rows[0] == {"anchor": "Q1", "positive": "P1", "negative": "Y"} and len(rows) == 2
