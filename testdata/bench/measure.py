"""Runs programs and measures them from outside, says what machine this is, and prints tables. It needs Python alone, and must stay
small: for a moment a child counts as large as the process that started it."""
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
QUARRY = ROOT / "bin" / "quarry"
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


class Failed(Exception):
    """A program ended with an error. Its text is what the program said last."""


@dataclass
class Run:
    """What was seen of one run of a program."""

    seconds: float  # of the wall clock, from the start of the process to its end
    mib: float  # the largest resident size that the system saw
    text: str  # what it printed

    @property
    def said(self):
        """The JSON object that it printed; an empty one where it printed something else."""
        return json.loads(self.text) if self.text.lstrip().startswith("{") else {}

    def by_itself(self):
        """The run with the seconds that the program says, of a part of what it did."""
        return replace(self, seconds=self.said["seconds"])


def run(*command, env=None):
    """Runs a program to its end."""
    with tempfile.TemporaryFile() as errors:
        began = time.monotonic()
        p = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=errors, text=True, env=env)
        text = p.stdout.read()
        _, status, usage = os.wait4(p.pid, 0)
        seconds = time.monotonic() - began
        p.returncode = os.waitstatus_to_exitcode(status)
        if p.returncode:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise Failed(f"{Path(command[0]).name} {Path(command[1]).name} ended with {p.returncode}: {lines[-1]}")
    return Run(seconds, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10), text)


def row(*cells):
    print("| " + " | ".join(str(c) for c in cells) + " |", flush=True)


def header(*cells):
    row(*cells)
    row(*["---"] * len(cells))


def figure(x):
    """A number with three digits that count."""
    return f"{x:,.0f}" if abs(x) >= 99.95 else f"{x:#.3g}"


def spread(values):
    """Median, and least to largest where there are several."""
    if len(values) == 1:
        return figure(values[0])
    return f"{figure(statistics.median(values))} ({figure(min(values))}–{figure(max(values))})"


def machine(threads):
    """One line: the processor, its cores, its vector extensions."""
    model, flags = platform.machine(), ""
    if Path("/proc/cpuinfo").exists():
        text = Path("/proc/cpuinfo").read_text()
        found = re.search(r"^model name\s*: (.*)$", text, re.M)
        model = found[1] if found else model
        found = re.search(r"^(?:flags|Features)\s*: (.*)$", text, re.M)
        flags = found[1] if found else flags
    extensions = [f for f in flags.split() if re.fullmatch(r"sse4_2|avx|avx2|fma|f16c|avx_vnni|avx512\w*|amx_\w+|asimd\w*|sve\w*", f)]
    return f"{model}, {CORES} cores, {threads} threads; {' '.join(extensions) or 'vector extensions unknown'}; {platform.system()} {platform.release()}"


def has_extension(name):
    return Path("/proc/cpuinfo").exists() and re.search(rf"\b{name}\b", Path("/proc/cpuinfo").read_text()) is not None


def versions(*packages):
    """One line: quarry, Python, and packages of this environment."""
    said = subprocess.run([QUARRY, "version"], capture_output=True, text=True).stdout.split("\n")[0]
    return ", ".join([said, f"Python {platform.python_version()}", *(f"{p} {metadata.version(p)}" for p in packages)])
