"""PCA fixtures from scikit-learn, for testing quarry's fit.

    python sklearn_pca.py                  # the made cases: pca/*.npy and sklearn_pca.json
    python sklearn_pca.py --data FOLDER    # the made cases, and the real data in FOLDER
    QUARRY_DATA=FOLDER python sklearn_pca.py

FOLDER holds scifact/ and cloud-docs/, each with vectors/{lsa,minilm,mpnet}/docs.npy (float16).
Without FOLDER, the "real" part of an existing sklearn_pca.json is kept as it is.
Versions: requirements.txt beside this file; sklearn_pca.json repeats those that it was made with.

Inputs
    Made from numpy.random.default_rng(seed), one seed per case, then rounded to multiples of 2^-12
    (low_rank: integers), so that the files do not depend on the order in which a BLAS adds.
    They are float32. The last digits of what scikit-learn computes from them do depend on the BLAS and the
    CPU: compare with a tolerance, not bit by bit.

Fuse (docs/ABI.md)
    u = float32(x * (w / n)): x the float32 value, w the model's weight, n the norm of the model's row,
    or 1 where "normalize" is "none". n is the square root of a float64 sum in eight partial sums, i mod 8,
    folded ((0+4)+(2+6))+((1+5)+(3+7)). Quotient and product are float64. Models are concatenated.
    "fused_sha256" is the SHA-256 of u: float32, little-endian, row by row.
    scikit-learn is given float64(u).

Components
    pca/<case>.components.npy holds components_ of the fit to 0.95 (float64, k rows of d). Signs are
    scikit-learn's: compare subspaces, or rows up to sign. "gap" is (v[k] - v[k+1]) / v[k], v[k] the variance
    of component k: the subspace is as well defined as the gap is wide.
"""

import argparse
import hashlib
import json
import os
import platform

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import compact_json
import numpy as np
import scipy
import sklearn
from sklearn.decomposition import PCA

HERE = os.path.dirname(os.path.abspath(__file__))
TARGETS = ("0.70", "0.80", "0.90", "0.95", "0.99")
COMPONENTS_AT = "0.95"
REAL_MODELS = ("lsa", "minilm", "mpnet")  # in name order, as quarry concatenates them


# ---------------------------------------------------------------- inputs


def quantised(x):
    """x as float32, rounded to multiples of 2^-12."""
    return (np.round(np.asarray(x, np.float64) * 4096) / 4096).astype(np.float32)


def spectrum(seed, rows, columns, deviations):
    """Gaussian rows with these standard deviations along random axes, about a mean that is not zero."""
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.standard_normal((columns, columns)))
    z = rng.standard_normal((rows, columns)) * deviations
    return z @ axes.T + rng.standard_normal(columns)


def power_law(columns, exponent):
    return np.arange(1, columns + 1, dtype=np.float64) ** -exponent


def low_rank(seed, rows=120, columns=40, rank=7):
    """Integers, so that the rank is exact: rank axes, and one more for the mean, which centring removes."""
    rng = np.random.default_rng(seed)
    scale = np.array([8, 6, 5, 4, 3, 2, 1])[:rank]
    x = (rng.integers(-4, 5, (rows, rank)) * scale) @ rng.integers(-3, 4, (rank, columns))
    return x + rng.integers(-9, 10, columns)


def made_inputs():
    """Name of file -> (seed, matrix)."""
    inputs = {}

    def put(name, seed, x):
        inputs[name] = (seed, quantised(x))

    put("decaying", 101, spectrum(101, 120, 40, power_law(40, 1.0)))
    put("flat", 102, np.random.default_rng(102).standard_normal((120, 40)))
    put("low_rank", 103, low_rank(103))
    noise = np.random.default_rng(1104).standard_normal((120, 40))
    put("low_rank_noise", 104, low_rank(104) / 16 + noise)
    rows = np.random.default_rng(1105).permutation(np.repeat(np.arange(60), 2))
    put("duplicated_rows", 105, spectrum(105, 60, 40, power_law(40, 0.7))[rows])
    x = spectrum(106, 120, 40, power_law(40, 0.8))
    x[:, 11] = 0.5
    x[:, 30] = 0.0
    put("constant_column", 106, x)
    put("fewer_rows_than_columns", 107, spectrum(107, 20, 64, power_law(64, 0.5)))
    put("power_of_two", 108, spectrum(108, 256, 128, power_law(128, 0.9)))
    put("two_models.a", 109, spectrum(109, 150, 24, power_law(24, 0.6)))
    put("two_models.b", 110, spectrum(110, 150, 40, 3 * power_law(40, 0.9)))
    return inputs


# Case -> (normalize, [(file, model's name, weight)])
CASES = {
    "decaying": ("none", [("decaying", "m", 1)]),
    "decaying_l2": ("l2", [("decaying", "m", 1)]),
    "flat": ("none", [("flat", "m", 1)]),
    "low_rank": ("none", [("low_rank", "m", 1)]),
    "low_rank_noise": ("none", [("low_rank_noise", "m", 1)]),
    "duplicated_rows": ("none", [("duplicated_rows", "m", 1)]),
    "constant_column": ("none", [("constant_column", "m", 1)]),
    "fewer_rows_than_columns": ("none", [("fewer_rows_than_columns", "m", 1)]),
    "power_of_two": ("none", [("power_of_two", "m", 1)]),
    "two_models": ("l2", [("two_models.a", "a", 1), ("two_models.b", "b", 0.5)]),
}


# ---------------------------------------------------------------- fuse


def norms(x):
    """Norm of each float32 row: float64, in the order of docs/ABI.md."""
    x = x.astype(np.float64)
    r = np.zeros((8, len(x)))
    for i in range(x.shape[1]):
        r[i % 8] += x[:, i] * x[:, i]
    return np.sqrt(((r[0] + r[4]) + (r[2] + r[6])) + ((r[1] + r[5]) + (r[3] + r[7])))


def fuse(models, normalize):
    """[(float32 or float16 matrix, weight)] -> float32 matrix."""
    parts = []
    for x, weight in models:
        x = x.astype(np.float32)
        n = norms(x) if normalize == "l2" else np.ones(len(x))
        assert (n > 0).all()
        parts.append((x.astype(np.float64) * (weight / n)[:, None]).astype(np.float32))
    return np.ascontiguousarray(np.concatenate(parts, axis=1))


def sha256(u):
    return hashlib.sha256(u.astype("<f4").tobytes()).hexdigest()


# ---------------------------------------------------------------- scikit-learn


def rounded_up(cumulative, target):
    """scikit-learn's own rule for a target below 1: least k whose cumulative ratio is above it."""
    return int(np.searchsorted(cumulative, float(target), side="right")) + 1


def at_k(ratio, k):
    cumulative = np.cumsum(ratio)
    return {
        "k": k,
        "cumulative": float(cumulative[k - 1]),
        "cumulative_before": float(cumulative[k - 2]) if k > 1 else 0.0,
    }


def fits(x, solver, every, targets=TARGETS):
    """What PCA keeps for each target. every: a fit with all components, to check the rest against."""
    found = {}
    for target in targets:
        pca = PCA(n_components=float(target), svd_solver=solver).fit(x)
        assert pca.n_components_ == rounded_up(np.cumsum(every.explained_variance_ratio_), target), (solver, target)
        found[target] = at_k(pca.explained_variance_ratio_, int(pca.n_components_))
    return found


def made_case(name, inputs, out):
    normalize, models = CASES[name]
    u = fuse([(inputs[file][1], weight) for file, _, weight in models], normalize)
    x = u.astype(np.float64)
    every = PCA(svd_solver="full").fit(x)
    eigh = PCA(svd_solver="covariance_eigh").fit(x)
    kept = PCA(n_components=float(COMPONENTS_AT), svd_solver="full").fit(x)
    k = int(kept.n_components_)
    file = f"pca/{name}.components.npy"
    np.save(os.path.join(out, file), np.ascontiguousarray(kept.components_))
    v = every.explained_variance_
    return {
        "name": name,
        "models": [
            {"name": model, "file": f"pca/{f}.npy", "width": int(inputs[f][1].shape[1]), "weight": weight, "seed": inputs[f][0]}
            for f, model, weight in models
        ],
        "normalize": normalize,
        "rows": int(x.shape[0]),
        "columns": int(x.shape[1]),
        "fused_sha256": sha256(u),
        "total_variance": float(x.var(axis=0, ddof=1).sum()),
        "rank": int(np.linalg.matrix_rank(x - x.mean(axis=0))),
        "full": fits(x, "full", every),
        "covariance_eigh": fits(x, "covariance_eigh", eigh),
        "all": {
            "k": int(every.n_components_),
            "explained_variance_first_20": v[:20].tolist(),
            "explained_variance_sum": float(v.sum()),
            "covariance_eigh_k": int(eigh.n_components_),
            "covariance_eigh_largest_difference": float(np.abs(eigh.explained_variance_ - v).max()),
        },
        "components": {
            "file": file,
            "target": COMPONENTS_AT,
            "k": k,
            "gap": float((v[k - 1] - v[k]) / v[k - 1]) if k < len(v) else 1.0,
        },
        "mean": every.mean_.tolist(),
    }


def real_case(folder, name):
    models = [np.load(os.path.join(folder, name, "vectors", m, "docs.npy"), mmap_mode="r") for m in REAL_MODELS]
    u = fuse([(np.asarray(m), 1) for m in models], "l2")
    x = u.astype(np.float64)
    eigh = PCA(svd_solver="covariance_eigh").fit(x)
    # One full SVD serves all targets: scikit-learn cuts the same decomposition by the same rule.
    full = PCA(n_components=0.99, svd_solver="full").fit(x)
    cumulative = np.cumsum(full.explained_variance_ratio_)
    return {
        "name": name,
        "models": [{"name": m, "width": int(v.shape[1]), "weight": 1} for m, v in zip(REAL_MODELS, models)],
        "normalize": "l2",
        "rows": int(x.shape[0]),
        "columns": int(x.shape[1]),
        "fused_sha256": sha256(u),
        "total_variance": float(x.var(axis=0, ddof=1).sum()),
        "full": {t: at_k(full.explained_variance_ratio_, min(rounded_up(cumulative, t), len(cumulative))) for t in TARGETS},
        "covariance_eigh": fits(x, "covariance_eigh", eigh),
        "explained_variance_first_20": full.explained_variance_[:20].tolist(),
        "covariance_eigh_largest_difference": float(
            np.abs(eigh.explained_variance_[: len(cumulative)] - full.explained_variance_).max()
        ),
    }


def main():
    parser = argparse.ArgumentParser(description="PCA fixtures from scikit-learn")
    parser.add_argument("--data", default=os.environ.get("QUARRY_DATA"), help="folder with scifact/ and cloud-docs/")
    parser.add_argument("--out", default=HERE, help="where to write; by default beside this script")
    args = parser.parse_args()

    os.makedirs(os.path.join(args.out, "pca"), exist_ok=True)
    inputs = made_inputs()
    for name, (_, x) in inputs.items():
        np.save(os.path.join(args.out, "pca", f"{name}.npy"), x)

    path = os.path.join(args.out, "sklearn_pca.json")
    real = []
    if args.data:
        real = [real_case(args.data, name) for name in ("scifact", "cloud-docs")]
    elif os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            real = json.load(f).get("real", [])

    document = {
        "about": "PCA by scikit-learn: components kept, variances and means. Made by sklearn_pca.py, which says how.",
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "notes": {
            "k": "scikit-learn: least k whose cumulative explained variance ratio is above the target (searchsorted, "
            "side='right'); quarry: least k whose captured variance reaches it. The two differ only where a cumulative "
            "ratio equals the target; no made case is within 1e-5 of that, no real one within 1e-6: see cumulative (at k) and cumulative_before (at k-1).",
            "variance": "divisor rows - 1",
            "rank": "numpy.linalg.matrix_rank of the centred float64 data, default tolerance: what a target of 1.0 comes "
            "to. scikit-learn takes no float target of 1.0, and 'all' keeps min(rows, columns), null directions included.",
            "solvers": "full: SVD of the centred data. covariance_eigh: eigenvectors of the covariance matrix.",
            "real.full": "from one SVD, cut for each target by scikit-learn's rule",
        },
        "targets": list(TARGETS),
        "cases": [made_case(name, inputs, args.out) for name in CASES],
        "real": real,
    }
    for case in document["cases"] + real:
        for solver in ("full", "covariance_eigh"):
            for target, got in case[solver].items():
                clear = min(got["cumulative"] - float(target), float(target) - got["cumulative_before"])
                assert clear > (1e-6 if case in real else 1e-5), (case["name"], target, got)
    compact_json.write(path, document)


if __name__ == "__main__":
    main()
