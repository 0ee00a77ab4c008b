#!/usr/bin/env python3
"""Runs quarry and the programs that people use today in turn, on the same vectors and threads, and prints how many times faster quarry is.

    peers.py [--data FOLDER] [--only whole,scan,perc,plain,fit-1536,fit-5632,fit-12800,job-dual,...] [--rounds 3] [--json FILE] [--tiny]

--data is a folder that quarry reads. Where it is not there, vectors are made (made.py). --only takes the beginnings of names too: fit, job.
--tiny is the whole of it on few and small vectors, to see that it works. docs/BENCHMARKS.md says what each row is.
"""
import argparse
import json
import os
import sys
from pathlib import Path

import rows
from measure import CORES, HERE, QUARRY, ROOT, Failed, figure, has_extension, header, machine, row, run, versions


class Bench:
    """What all rows share: folders, environments, and how rivals, quarry and checks are started."""

    def __init__(self, o):
        self.threads, self.rounds, self.notes = o.threads, o.rounds, []
        self.data = o.data
        made = o.tiny or not o.data.is_dir()
        self.work = o.work / ("tiny" if o.tiny else "made" if made else o.data.name)
        self.out = self.work / "out"
        run("rm", "-rf", self.out)  # nothing of an earlier run may be taken for an answer
        self.out.mkdir(parents=True)
        self.env = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
        self.env |= {k: str(o.threads) for k in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        self.env |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore"}
        small = ("--documents", 800, "--queries", 120) if o.tiny else ()
        if made:
            self.data = self.once("like", lambda to: self.python("made.py", "like", to, *small, *(("--widths", "48,48,96") if o.tiny else ())))
        self.random = self.once("random", lambda to: self.python("made.py", "random", to, *small, *(("--widths", 64) if o.tiny else ())))

    def python(self, script, *arguments, env=None):
        return run(sys.executable, HERE / script, *arguments, env=env or self.env)

    def once(self, name, make):
        """A folder that is made, unless an earlier run has made it."""
        folder = self.work / name
        if not folder.exists():
            print(f"making {folder}", file=sys.stderr)
            part = self.work / f"{name}.part"
            run("rm", "-rf", part)
            make(part)
            part.rename(folder)
        return folder

    def wide(self, columns):
        return self.once(f"wide{columns}", lambda to: self.python("wide.py", self.data, to, "--columns", columns))

    def project(self):
        """Fits and projects the data anew, which also brings the compiled plugin and all files into their caches."""
        self.projection, self.projected = self.out / "projection.safetensors", self.work / "projected"
        fitted = run(QUARRY, "fit", self.data, "-o", self.projection, "--force", "--json").said
        self.projected.mkdir(exist_ok=True)
        for entry in self.data.iterdir():
            if entry.name != "vectors" and not (self.projected / entry.name).exists():
                os.symlink(entry.resolve(), self.projected / entry.name)
        run(QUARRY, "transform", self.data, "--projection", self.projection, "-o", self.projected / "vectors" / "projected", "--force", "-q")
        asked = self.python("answers.py", "pairs", self.data, self.pairs(self.data)).said
        self.shape = rows.Shape(asked["documents"], asked["pairs"], fitted["columns"], fitted["components"])

    def pairs(self, folder):
        """The file of a folder's pairs."""
        return self.out / f"{folder.name}.pairs.npz"

    def quarry(self, command, *arguments, env=None):
        return run(QUARRY, *command.split(), *arguments, "--threads", self.threads, "--json", env=env)

    def mine(self, folder, engine, *flags):
        return self.quarry("mine", folder, "-o", self.negatives(engine), "--force", "--split", "all", "--engine", engine, *flags)

    def scan(self, folder, engine, rule="dual"):
        return run(ROOT / "bin" / "bench-scan", "-engine", engine, "-rule", rule, "-threads", self.threads, "-o", self.negatives(engine), folder).by_itself()

    def negatives(self, engine):
        return self.out / f"{engine}.jsonl"

    def rival(self, name, *arguments, env=None):
        """A run of rivals.py, whose result is in a file of that name."""
        return self.python("rivals.py", *arguments, "--out", self.found(name), env=env)

    def found(self, name):
        return self.out / f"{name}.npy"

    def same_negatives(self):
        """Whether both engines wrote the same bytes."""
        return self.negatives("wasm").read_bytes() == self.negatives("native").read_bytes()

    def faiss_environments(self):
        """faiss-cpu comes with an OpenBLAS that is older than some processors, and takes these for much older ones. Its rows run with the
        setting that is fastest here, and once without any."""
        if hasattr(self, "faiss"):
            return self.faiss
        tries = ["", *(["SkylakeX"] if has_extension("avx512f") else []), *(["Haswell"] if has_extension("avx2") else [])]
        seen = {}
        for core in tries:
            try:
                seen[core] = self.python("rivals.py", "blas", env=self.env | ({"OPENBLAS_CORETYPE": core} if core else {})).said
            except Failed as e:
                self.notes.append(f"FAISS with OPENBLAS_CORETYPE={core!r}: {e}")
        best = min(seen, key=lambda core: seen[core]["seconds"] * (1 if core else 0.9))
        self.faiss = {"as installed": self.env}
        if best:
            self.faiss = {f"OPENBLAS_CORETYPE={best}": self.env | {"OPENBLAS_CORETYPE": best}} | self.faiss
            self.notes.append(f"faiss-cpu's own BLAS is {seen['']['blas']} on this processor. A small search takes {seen['']['seconds']:.2f} s, and "
                              f"{seen[best]['seconds']:.2f} s with OPENBLAS_CORETYPE={best}. Rows of FAISS have whichever is faster.")
        return self.faiss

    def measure_peaks(self):
        """What the machine does at most, in billions a second: of all threads, "matrix product" and "copy"; of a core, each kernel's own
        ("kernel"), and the loop of its instructions alone ("peak")."""
        self.peaks = self.python("rivals.py", "peaks").said | {"kernel": {}, "peak": {}}
        text = run(ROOT / "bin" / "bench-kernels", "-test.run", "^$", "-test.bench", "Kernels", "-test.benchtime", "200ms").text
        for line in text.splitlines():
            if "Gmadd/s" in line:
                cells = line.split()
                said = {unit: float(v) for v, unit in zip(cells[2::2], cells[3::2])}
                name = cells[0].removeprefix("BenchmarkKernels/").rsplit("-", 1)[0]
                self.peaks["kernel"][name] = said["Gmadd/s"]
                self.peaks["peak"][name] = said["Gmadd/s"] / said["share-of-peak"]


def table(found):
    print()
    header("work", "rival", "rival", "quarry, Wasm", "ratio", "native", "ratio", "target: Wasm, native", "peak MiB: rival, Wasm, native", "answers")
    for r in found:
        row(r.work, r.rival, *r.cells(), r.target(), r.memory(), r.answer)


def share(speed, peak):
    return f"{100 * speed / peak:.0f} %" if speed and peak else "-"


def roofline(bench, found):
    """Of each row, what it comes to where nothing is left out, and how much of the machine that would take."""
    product, copy = bench.peaks["matrix product"], bench.peaks["copy"]
    sandbox = bench.threads * max((v for k, v in bench.peaks["peak"].items() if k.endswith("/wat")), default=0)
    own = {kind: bench.threads * max((v for k, v in bench.peaks["peak"].items() if k.startswith(f"{kind}/") and not k.endswith(("/wat", "/go"))), default=0)
           for kind in ("project", "screen")}
    print(f"\nPeaks of {bench.threads} threads, billions a second: {figure(product)} multiply-adds in NumPy's matrix product; in registers alone {figure(sandbox)} in "
          f"Wasm, {figure(own['project'])} by the native kernels' float32 instructions, {figure(own['screen'])} by those on pairs of 16 bits; {figure(copy)} bytes copied.\n")
    header("work", "multiply-adds, billions", "bytes, GB", "rival: billions a second", "share of the matrix product", "Wasm", "share of Wasm's registers", "native",
           "share of its kernel's registers", "bytes: Wasm, share of a copy")
    for r in found:
        if r.operations:
            speeds = [(r.operations / m if (m := r.median(who)) else 0, peak) for who, peak in (("rival", product), ("wasm", sandbox), ("native", own[r.kernel]))]
            cells = [cell for speed, peak in speeds for cell in (figure(speed) if speed else "-", share(speed, peak))]
            row(r.work, figure(r.operations), figure(r.bytes), *cells, share(r.bytes / r.median("wasm"), copy) if r.median("wasm") else "-")
    print("\nKernels on one core, billions of multiply-adds a second, and the share of their instructions' registers:\n")
    header("kernel", "Gmadd/s", "share")
    for name, speed in bench.peaks["kernel"].items():
        row(name, figure(speed), share(speed, bench.peaks["peak"][name]))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=Path, default=Path(os.environ.get("QUARRY_DATA", ROOT.parent / "shared" / "data")) / "cloud-docs")
    p.add_argument("--work", type=Path, default=ROOT / "bin" / "bench", help="where what is made is kept")
    p.add_argument("--only", default="", help="names of rows, or their beginnings, with commas between them")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=CORES)
    p.add_argument("--json", type=Path, help="file to write everything to that was measured")
    p.add_argument("--tiny", action="store_true")
    o = p.parse_args()
    groups = rows.groups(o.tiny)
    only = [w for w in o.only.split(",") if w]
    if unknown := [w for w in only if not any(name.startswith(w) for name in groups)]:
        p.error(f"no row is named {', '.join(unknown)}; there are {', '.join(groups)}")
    about = [machine(o.threads), versions("numpy", "scikit-learn", "faiss-cpu", "sentence-transformers", "torch")]
    print("\n".join(about), flush=True)
    bench = Bench(o)
    print(f"vectors: {bench.data.name}; rounds: {o.rounds}, in turn", flush=True)
    bench.project()
    bench.measure_peaks()
    found = []
    for name, group in groups.items():
        if not only or any(name.startswith(w) for w in only):
            print(name, file=sys.stderr, flush=True)
            try:
                found += group(bench)
            except Failed as e:
                found.append(rows.Row(name, name, "", answer=str(e), wrong=True))
    table(found)
    roofline(bench, found)
    for note in bench.notes:
        print(f"\n{note}")
    if o.json:
        o.json.write_text(json.dumps({"about": about, "vectors": str(bench.data), "peaks": bench.peaks, "rows": [r.data() for r in found], "notes": bench.notes}, indent=1))
    sys.exit(any(r.wrong for r in found))


if __name__ == "__main__":
    main()
