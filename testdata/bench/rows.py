"""The rows of the table that peers.py prints: what each measures, beside whom, and what it is to reach."""
import os
import statistics
from dataclasses import dataclass, field
from functools import partial

from measure import QUARRY, Failed, Run, figure, run, spread

RULES = ("dual", "topk", "margin", "perc", "capped")
SHARDS = 60


@dataclass
class Shape:
    """Of the data: documents, pairs, columns of all models, components of the projection."""

    documents: int
    pairs: int
    columns: int
    components: int


@dataclass
class Row:
    """A row. Samples are runs, by "rival", "wasm" and "native"; those of a round stand at the same place."""

    name: str
    work: str
    rival: str
    wasm_target: tuple = ()  # ratios to reach, one after the other
    native_target: tuple = ()
    samples: dict = field(default_factory=dict)
    operations: float = 0.0  # multiply-adds of the work where nothing is left out, in billions
    bytes: float = 0.0  # of vectors that have to be read, in billions
    kernel: str = "project"  # the kernel that the work is counted by: of float32; "screen" is of pairs of 16-bit numbers
    of: str = "seconds"  # or "mib"
    most: bool = False  # targets are the most that quarry may take, as a multiple of the rival; otherwise how many times faster it has to be
    answer: str = ""
    wrong: bool = False

    def values(self, who):
        return [getattr(r, self.of) for r in self.samples.get(who, [])]

    def median(self, who):
        return statistics.median(v) if (v := self.values(who)) else None

    def ratio(self, who):
        """The median of the rounds' ratios."""
        ratios = [o / r if self.most else r / o for r, o in zip(self.values("rival"), self.values(who))]
        return statistics.median(ratios) if ratios else None

    def cells(self):
        cells = [spread(v) if (v := self.values("rival")) else "-"]
        for who, targets in (("wasm", self.wasm_target), ("native", self.native_target)):
            ratio = self.ratio(who)
            cells.append(spread(v) if (v := self.values(who)) else "-")
            cells.append("-" if ratio is None else f"{ratio:.2f}x{self.reached(ratio, targets)}")
        return cells

    def reached(self, ratio, targets):
        met = [ratio <= t if self.most else ratio >= t for t in targets]
        return "" if all(met) else " (the first target)" if met[0] else " (short)"

    def target(self):
        text = [", then ".join(f"{t:g}x" for t in targets) or "-" for targets in (self.wasm_target, self.native_target)]
        return ("at most " if self.most else "") + "; ".join(text)

    def memory(self):
        return ", ".join(figure(max(r.mib for r in v)) if (v := self.samples.get(who)) else "-" for who in ("rival", "wasm", "native"))

    def data(self):
        return {"name": self.name, "work": self.work, "rival": self.rival, "of": self.of, "wasm_target": self.wasm_target, "native_target": self.native_target,
                "most": self.most, "seconds": {who: [r.seconds for r in v] for who, v in self.samples.items()},
                "mib": {who: [r.mib for r in v] for who, v in self.samples.items()}, "ratios": {who: self.ratio(who) for who in ("wasm", "native")},
                "multiply_adds_billions": self.operations, "gigabytes": self.bytes, "answer": self.answer, "wrong": self.wrong}


@dataclass
class Turns:
    """What came of contenders that ran in turn."""

    samples: dict  # runs, by contender
    best: dict = field(default_factory=dict)  # of a contender that has several ways: the name of the one that went on
    ways: dict = field(default_factory=dict)  # the same for people, with what the others took
    errors: dict = field(default_factory=dict)  # what ended a contender

    def of(self, rival):
        """The samples of a row with that rival, and its errors."""
        name = lambda d: {("rival" if who == rival else who): d[who] for who in d if who in (rival, "wasm", "native")}
        return name(self.samples), name(self.errors)


def in_turn(bench, contenders):
    """Runs contenders in turn, in rounds. A contender is a function that gives a Run, or several by name, which are ways to do the same: all run in
    the first round, and the fastest goes on."""
    turns, going = Turns({who: [] for who in contenders}), dict(contenders)
    for _ in range(bench.rounds):
        for who in list(going):
            try:
                if isinstance(going[who], dict):
                    going[who] = first_round(bench, turns, who, going[who])
                else:
                    turns.samples[who].append(going[who]())
            except Failed as e:
                turns.errors[who] = str(e)
                del going[who]
    return turns


def first_round(bench, turns, who, ways):
    """Runs all ways, and returns the fastest."""
    tried = {}
    for name, start in ways.items():
        try:
            tried[name] = start()
        except Failed as e:
            bench.notes.append(f"{who}, {name}: {e}")
    if not tried:
        raise Failed("none of the ways to do it went through")
    best = min(tried, key=lambda name: tried[name].seconds)
    turns.samples[who].append(tried[best])
    turns.best[who] = best
    turns.ways[who] = best + "".join(f"; {name} took {figure(r.seconds)} s" for name, r in tried.items() if name != best)
    return ways[best]


def checked(r, errors, check):
    """Sets a row's answer: what the check says, and what went wrong."""
    try:
        answer = check()
        r.answer, r.wrong = answer["text"], not answer["good"]
    except (Failed, OSError, IndexError) as e:  # there is nothing to compare where one of the two has failed
        r.answer, r.wrong = f"not compared: {e}", True
    for who, error in errors.items():
        r.answer, r.wrong = f"{r.answer}; {who} failed: {error}", True
    return r


def same_bytes(bench, r, samples):
    """Adds to a row's answer where the engines' negatives differ."""
    if samples.get("wasm") and samples.get("native") and not bench.same_negatives():
        r.answer, r.wrong = f"{r.answer}; Wasm and native DIFFER", True
    return r


# ---------------------------------------------------------------- vectors on disk to negatives


def whole(bench):
    s, pairs = bench.shape, bench.pairs(bench.data)
    start = lambda scan, name, env: lambda: bench.rival(f"whole-{name}", "whole", bench.data, pairs, "--scan", scan, env=env)
    turns = in_turn(bench, {
        "faiss": {name: start("faiss", name, env) for name, env in bench.faiss_environments().items()}, "numpy": start("numpy", "numpy", bench.env),
        "wasm": lambda: bench.mine(bench.data, "wasm"), "native": lambda: bench.mine(bench.data, "native")})
    operations = (s.documents * s.columns * (s.columns + 1) / 2 + (s.documents + s.pairs) * s.columns * s.components
                  + s.documents * s.pairs * s.components) / 1e9
    size = sum(f.stat().st_size for f in bench.data.glob("vectors/*/*.npy")) / 1e9
    found = []
    for rival, work, name, wasm, native in (
            ("faiss", "vectors on disk to negatives, whole process", f"scikit-learn + FAISS ({turns.ways.get('faiss')})", (1, 1.3), (2,)),
            ("numpy", "the same", "scikit-learn + NumPy", (1.5, 2), (4,))):
        samples, errors = turns.of(rival)
        r = Row(f"whole-{rival}", work, name, wasm, native, samples, operations, size)
        found.append(same_bytes(bench, checked(r, errors, partial(whole_check, bench, samples, turns.best.get(rival, rival))), samples))
    found.append(Row("whole-memory", "the same, peak memory in MiB", name, (0.35,), (0.35,), samples, of="mib", most=True))
    return found


def whole_check(bench, samples, rival):
    answer = negatives_check(bench, bench.projected, bench.data, f"whole-{rival}")
    k = samples["wasm"][0].said["projection"]["components"], samples["rival"][0].said["components"]
    return {"good": answer["good"] and k[0] == k[1], "text": f"k {k[0]}, rival {k[1]}; {answer['text']}"}


def negatives_check(bench, projected, folder, rival, *flags):
    return bench.python("answers.py", "negatives", projected, bench.pairs(folder), bench.negatives("wasm"), bench.found(rival), *flags).said


# ---------------------------------------------------------------- projected vectors in memory


def scan_cost(documents, pairs, columns):
    return documents * pairs * columns / 1e9, 4 * (documents + pairs) * columns / 1e9, "screen"


def quarry_scans(bench, folder, rule="dual"):
    return {engine: partial(bench.scan, folder, engine, rule) for engine in ("wasm", "native")}


def scan(bench):
    s, pairs = bench.shape, bench.pairs(bench.data)
    start = lambda by, name, env: lambda: bench.rival(f"scan-{name}", "scan", bench.projected, pairs, "--scan", by, env=env).by_itself()
    turns = in_turn(bench, {"faiss": {name: start("faiss", name, env) for name, env in bench.faiss_environments().items()},
                            "panorama": start("panorama", "panorama", bench.env)} | quarry_scans(bench, bench.projected))
    cost = scan_cost(s.documents, s.pairs, s.components)
    (samples, errors), (for_panorama, its_errors) = turns.of("faiss"), turns.of("panorama")
    exact = Row("scan-faiss", "exact rule `dual`, top 5, projected vectors in memory", f"FAISS, the exact rule ({turns.ways.get('faiss')})", (4,), (8,), samples, *cost)
    panorama = Row("scan-panorama", "the same", "FAISS IndexFlatIPPanorama, k = 5", (6,), (12,), for_panorama, *cost)
    checked(exact, errors, lambda: negatives_check(bench, bench.projected, bench.data, f"scan-{turns.best.get('faiss')}"))
    checked(panorama, its_errors, lambda: bench.python("answers.py", "nearest", bench.projected, pairs, bench.found("scan-panorama")).said)
    return [same_bytes(bench, exact, samples), panorama]


def perc(bench):
    s, pairs = bench.shape, bench.pairs(bench.data)
    start = lambda search, env: lambda: bench.rival(f"perc-{search}", "perc", bench.projected, pairs, "--search", search, env=env).by_itself()
    fastest = next(iter(bench.faiss_environments().values()))
    turns = in_turn(bench, {"st": {"torch": start("torch", bench.env), "faiss": start("faiss", fastest)}} | quarry_scans(bench, bench.projected, "perc"))
    samples, errors = turns.of("st")
    r = Row("perc", "`perc` 0.95, top 5, the same", f"sentence-transformers mine_hard_negatives, vectors given ({turns.ways.get('st')})", (6,), (15,), samples,
            *scan_cost(s.documents, s.pairs, s.components))
    checked(r, errors, lambda: negatives_check(bench, bench.projected, bench.data, f"perc-{turns.best.get('st')}", "--rule", "perc"))
    return [same_bytes(bench, r, samples)]


def plain(bench):
    """Random vectors, far positives. The product has no scan that looks at all columns of everything, so the rival is the products of one
    alone: what the kernel of each engine takes for them on all threads."""
    said = bench.python("answers.py", "pairs", bench.random, bench.pairs(bench.random)).said
    columns = said["columns"]
    operations, size, kind = scan_cost(said["documents"], said["pairs"], columns)
    turns = in_turn(bench, quarry_scans(bench, bench.random))
    found = []
    for who, in_wasm, target in (("wasm", True, {"wasm_target": (1.15,)}), ("native", False, {"native_target": (1.0,)})):
        speeds = {k: v for k, v in bench.peaks["kernel"].items() if k.startswith(f"{kind}/") and k.endswith("/wat") == in_wasm}
        kernel = max(speeds, key=speeds.get)
        alone = [Run(operations / (bench.threads * speeds[kernel]), 0, "") for _ in turns.samples[who]]
        r = Row(f"plain-{who}", f"no pruning possible (random vectors, far positives), {columns} columns", f"our own plain scan: the products alone, by {kernel}",
                samples={"rival": alone, who: turns.samples[who]}, operations=operations, bytes=size, kernel=kind, most=True, **target)
        r.answer, r.wrong = turns.errors.get(who, ""), who in turns.errors
        found.append(r)
    same_bytes(bench, found[-1], turns.samples)
    return found


# ---------------------------------------------------------------- fits


def fit(bench, columns, solvers, wasm_target, native_target):
    folder = bench.data if columns == bench.shape.columns else bench.wide(columns)
    projections = {engine: bench.out / f"fit-{engine}.safetensors" for engine in ("wasm", "native")}

    found = lambda solver: bench.out / f"fit-{solver}.npz"
    rival = lambda solver: bench.python("rivals.py", "fit", folder, "--solver", solver, "--out", found(solver)).by_itself()
    # fit has the fastest products that the processor has. Without AVX2 and AVX-512 these are those of Wasm.
    in_wasm = os.environ | {"GODEBUG": "cpu.avx2=off,cpu.avx512f=off"}
    quarry = {engine: partial(bench.quarry, "fit", folder, "-o", projections[engine], "--force", env=env) for engine, env in (("wasm", in_wasm), ("native", None))}
    turns = in_turn(bench, {"rival": {s: partial(rival, s) for s in solvers}} | quarry)
    samples, errors = turns.of("rival")
    documents = bench.shape.documents
    operations, size = documents * columns * (columns + 1) / 2 / 1e9, 2 * documents * columns / 1e9
    name = f"scikit-learn's {turns.ways.get('rival')}"
    time = Row(f"fit-{columns}", f"fit, {columns:,} wide", name, wasm_target, native_target, samples, operations, size)
    checked(time, errors, lambda: bench.python("answers.py", "fits", projections["wasm"], found(turns.best.get("rival"))).said)
    if not errors and projections["wasm"].read_bytes() != projections["native"].read_bytes():
        time.answer, time.wrong = f"{time.answer}; Wasm and native DIFFER", True
    return [time, Row(f"fit-{columns}-memory", f"fit, {columns:,} wide, peak memory in MiB", name, (0.25,), (0.25,), samples, of="mib", most=True)]


# ---------------------------------------------------------------- jobs


def job(bench, rule):
    bucket, place = bench.out / "bucket", bench.out / "bucket" / "jobs" / "bench"

    def sharded():
        run("rm", "-rf", bucket, f"{bucket}-results")
        bench.quarry("job init", bench.data, "--projection", bench.projection, "--split", "all", "--rule", rule, "--shards", SHARDS, "--bucket", bucket,
                     "--job", "bench")
        return bench.quarry("job run", place)

    turns = in_turn(bench, {"rival": lambda: bench.mine(bench.data, "wasm", "--projection", bench.projection, "--rule", rule), "wasm": sharded})
    samples, errors = turns.of("rival")
    s = bench.shape
    operations = (s.documents * s.columns * s.components + s.documents * s.pairs * s.components) / 1e9
    size = sum(f.stat().st_size for f in bench.data.glob("vectors/*/docs.npy")) / 1e9
    r = Row(f"job-{rule}", f"job of {SHARDS} shards, `{rule}`", "quarry mine of the whole", (1.5,), (), samples, operations, size, most=True)

    def check():
        run(QUARRY, "job", "fetch", place, "-o", bench.negatives("job"), "--force", "-q")
        same = bench.negatives("job").read_bytes() == bench.negatives("wasm").read_bytes()
        return {"good": same, "text": "the same bytes" if same else "other bytes"}

    return [checked(r, errors, check)]


def groups(tiny):
    """What measures the rows, by name."""
    narrow, wide, wider = (192, 2112, 2304) if tiny else (1536, 5632, 12800)
    both = ("covariance_eigh", "randomized")
    return {
        "whole": whole, "scan": scan, "perc": perc, "plain": plain,
        f"fit-{narrow}": partial(fit, columns=narrow, solvers=both[:1], wasm_target=(0.35,), native_target=(0.7,)),
        f"fit-{wide}": partial(fit, columns=wide, solvers=both, wasm_target=(1,), native_target=(3,)),
        f"fit-{wider}": partial(fit, columns=wider, solvers=both, wasm_target=(2.5,), native_target=(6,)),
        **{f"job-{rule}": partial(job, rule=rule) for rule in RULES},
    }
