"""Mines the example and measures the module from Python, on wasmtime-py and on Extism's SDK: a line of JSON for each (docs/HOSTS.md).

    python measure.py bin/examples/case
"""

import argparse
import importlib.metadata
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import extism
import numpy as np
from folder import read
from mine import mine
from quarry_plugin import Array, Instance, Options, PluginError, Projection, lines, mining, module
from quarry_plugin.message import Layout


class ExtismInstance(Instance):
    """The package's instance on Extism's SDK instead. The package does without it, since wasmtime measures better (README.md)."""

    def __init__(self) -> None:
        self._plugin = extism.Plugin({"wasm": [{"data": module.module_bytes()}]})

    def send(self, operation: str, tensors: Mapping[str, Array], options: Mapping[str, str]) -> bytes:
        layout = Layout(tensors, options)
        message = np.empty(layout.size, np.uint8)
        layout.write(message)
        return self.send_bytes(operation, message.tobytes())

    def send_bytes(self, operation: str, message: bytes) -> bytes:
        try:
            return bytes(self._plugin.call(operation, message))
        except extism.Error as error:
            raise PluginError(**json.loads(str(error))) from None


HOSTS: dict[str, tuple[str, str, type[Instance]]] = {
    "wasmtime": ("Python, wasmtime-py", "wasmtime", Instance),
    "extism": ("Python, Extism's SDK", "extism", ExtismInstance),
}


def percentiles(call: Callable[[], bytes], expected: bytes) -> tuple[dict[str, float], bool]:
    """Milliseconds of 200 calls after 20, and whether all gave what was expected."""
    times, equal = [], True
    for i in range(220):
        begin = time.perf_counter()
        answer = call()
        if i >= 20:
            times.append(1e3 * (time.perf_counter() - begin))
        equal = equal and answer == expected
    times.sort()
    return {"median": round(statistics.median(times), 2), "p99": round(times[197], 2)}, equal


def mined(case: Path) -> bool:
    """Whether the package's negatives are the command line's, by both rules, by select and by a Miner."""
    data, projection = read(case / "data", "all"), Projection.load(case / "projection.safetensors")
    equal = True
    for rule, name in (("dual", "negatives.jsonl"), ("capped", "negatives-capped.jsonl")):
        for how in ("push", "select"):
            found = mine(data, projection, how, Options(rule=rule))  # type: ignore[typeddict-item]
            text = "".join(line + "\n" for line in lines(found, data.pairs.pairs, data.documents.__getitem__))
            equal = equal and text == (case / name).read_text(encoding="utf-8")
    return equal


def measure(host: str, case: Path) -> dict[str, object]:
    """The line of a host."""
    name, package, kind = HOSTS[host]
    for user in (module, mining):
        setattr(user, "Instance", kind)
    command = [sys.executable, __file__, str(case), "--start", host]
    starts = [float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) for _ in range(6)]
    messages = {file.name: file.read_bytes() for file in (case / "bench").iterdir()}
    instance = kind()
    instance.send_bytes("load_projection", messages["projection.safetensors"])
    selects = [
        percentiles(lambda: instance.send_bytes("select", messages[f"select-{form}.safetensors"]), messages["select.part"])
        for form in ("raw", "projected")
    ]
    equal, speeds = mined(case) and all(equal for _, equal in selects), []
    for _ in range(10):
        instance.send_bytes("begin", messages["begin.safetensors"])
        begin = time.perf_counter()
        instance.send_bytes("push", messages["push.safetensors"])
        speeds.append(len(messages["push.safetensors"]) / (time.perf_counter() - begin) / 1e6)
        equal = equal and instance.send_bytes("finish", b"") == messages["push.part"]
    return {
        "host": name,
        "version": f"{importlib.metadata.version(package)} on CPython {platform.python_version()}",
        "start_ms": round(statistics.median(starts[1:]), 1),  # the first may have compiled the module
        "in_mb_s": round(statistics.median(speeds)),
        "select_raw_ms": selects[0][0],
        "select_projected_ms": selects[1][0],
        "equal": equal,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("case", type=Path)
    parser.add_argument("--start", choices=list(HOSTS))
    args = parser.parse_args()
    if args.start:  # a process of its own
        begin = time.perf_counter()
        HOSTS[args.start][2]().send_bytes("info", b"")
        print(1e3 * (time.perf_counter() - begin))
        return
    results = [measure(host, args.case) for host in HOSTS]
    for result in results:
        print(json.dumps(result))
    sys.exit(not all(result["equal"] for result in results))


if __name__ == "__main__":
    main()
