"""The module under wasmtime, called by its raw exports (docs/ABI.md, Exports)."""

import contextlib
import ctypes
import functools
import hashlib
import importlib.metadata
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, cast

import numpy as np
import wasmtime

from .message import Array, Layout

BLOCK_BYTES = 16 << 20
"""How many bytes of vectors go into the module in one call. No answer depends on it."""

OPERATIONS = ("info", "load_projection", "transform", "begin", "push", "finish", "select", "merge", "reset")


class PluginError(Exception):
    """An error of the module.

    `code` is one of docs/ABI.md, Errors, such as `zero_vector`; `tensor` and `row` (from 0, of that tensor) say where, or are None.
    """

    def __init__(self, code: str, message: str, tensor: str | None = None, row: int | None = None) -> None:
        super().__init__(code, message, tensor, row)  # all of them, so that the error can be pickled
        self.code, self.message, self.tensor, self.row = code, message, tensor, row

    def __str__(self) -> str:
        where = "" if self.tensor is None else f" ({self.tensor}" + (")" if self.row is None else f", row {self.row})")
        return f"{self.code}: {self.message}{where}"


def module_bytes() -> bytes:
    """The module: the one in the package, or the file that the environment variable QUARRY_PLUGIN names."""
    if path := os.environ.get("QUARRY_PLUGIN"):
        return Path(path).read_bytes()
    return (resources.files(__package__) / "plugin.wasm").read_bytes()


@functools.cache
def _compiled() -> tuple[wasmtime.Engine, wasmtime.InstancePre]:
    """The module, compiled once in a process, and with a folder to keep it in once on a machine."""
    engine = wasmtime.Engine()
    module = _kept(engine, module_bytes())
    linker = wasmtime.Linker(engine)
    linker.define_unknown_imports_as_traps(module)  # they are Extism's, and the raw exports call none of them
    return engine, linker.instantiate_pre(module)


def _kept(engine: wasmtime.Engine, wasm: bytes) -> wasmtime.Module:
    """The module from quarry/ in the user's cache folder, or compiled and, where that can be, kept there.

    wasmtime's own cache takes eight times as long to load it. Processes share the pages of this file.
    """
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quarry"
    except RuntimeError:  # the user has no home
        return wasmtime.Module(engine, wasm)
    file = folder / f"{hashlib.sha256(wasm).hexdigest()[:32]}-wasmtime-{importlib.metadata.version('wasmtime')}.cwasm"
    try:
        return wasmtime.Module.deserialize_file(engine, str(file))
    except wasmtime.WasmtimeError:  # it is not there, or is for another processor
        module = wasmtime.Module(engine, wasm)
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:  # the file appears whole or not at all
            (Path(unfinished) / "module").write_bytes(module.serialize())
            os.replace(Path(unfinished) / "module", file)
    return module


_compiling = threading.Lock()


class Instance:
    """One instance of the module: it holds at most one projection and one set of pairs. Use it from one thread at a time.

    `memory_limit` is how many bytes its memory may grow to.
    """

    def __init__(self, memory_limit: int | None = None) -> None:
        with _compiling:
            engine, module = _compiled()
        self._store = wasmtime.Store(engine)
        if memory_limit is not None:
            self._store.set_limits(memory_size=memory_limit)
        exports = module.instantiate(self._store).exports(self._store)
        self._memory = cast(wasmtime.Memory, exports["memory"])
        self._buffer, self._call, self._output, self._fault = (
            cast(wasmtime.Func, exports["quarry_" + name]) for name in ("buffer", "call", "output", "fault")
        )

    def info(self) -> dict[str, Any]:
        """What the module says of itself: `abi`, `operations`, `limits`, `kernels`."""
        return cast(dict[str, Any], json.loads(self.send_bytes("info", b"")))

    def send(self, operation: str, tensors: Mapping[str, Array], options: Mapping[str, str]) -> bytes:
        """Runs an operation on tensors and options, and returns its answer."""
        layout = Layout(tensors, options)
        address = self._room(layout.size)
        layout.write(np.ctypeslib.as_array(self._memory.get_buffer_ptr(self._store, layout.size, address)))
        return self._run(operation, layout.size)

    def send_rows(self, operation: str, tensors: Mapping[str, Array], options: Callable[[int], dict[str, str]]) -> Iterator[bytes]:
        """Runs an operation on rows, a block of at most BLOCK_BYTES a call; `options` gives those of the block that begins at a row."""
        rows = {len(array) for array in tensors.values()}
        if len(rows) != 1:
            raise ValueError(f"{', '.join(tensors)} have {sorted(rows)} rows; expected as many of each model")
        total, row_bytes = rows.pop(), sum(array[:1].nbytes for array in tensors.values())
        step = max(1, BLOCK_BYTES // max(1, row_bytes))
        for first in range(0, total, step):
            try:
                yield self.send(operation, {name: array[first : first + step] for name, array in tensors.items()}, options(first))
            except PluginError as error:  # its row is that of the block
                row = None if error.row is None else error.row + first
                raise PluginError(error.code, error.message, error.tensor, row) from None

    def send_bytes(self, operation: str, message: bytes) -> bytes:
        """Runs an operation on a message that is there already."""
        if message:
            address = self._room(len(message))
            ctypes.memmove(self._memory.get_buffer_ptr(self._store, len(message), address), message, len(message))
        return self._run(operation, len(message))

    def _room(self, size: int) -> int:
        if address := cast(int, self._guarded(self._buffer, size) if size < 1 << 31 else 0):
            return address & 0xFFFFFFFF
        raise PluginError("limit", f"a message of {size} bytes is over the module's limit")

    def _run(self, operation: str, size: int) -> bytes:
        status = self._guarded(self._call, OPERATIONS.index(operation), size)
        answer = self._read(self._guarded(self._output))
        if status:
            raise _error(answer)
        return answer

    def _guarded(self, function: wasmtime.Func, *arguments: int) -> Any:
        """Calls an export. A trap becomes an error of code `internal`; the instance is of no more use then."""
        try:
            return function(self._store, *arguments)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as trap:
            said = self._read(self._fault(self._store))
            raise (_error(said) if said else PluginError("internal", str(trap))) from trap

    def _read(self, place: int) -> bytes:
        address, length = (place >> 32) & 0xFFFFFFFF, place & 0xFFFFFFFF
        return bytes(self._memory.get_buffer_ptr(self._store, length, address)) if length else b""


def _error(answer: bytes) -> PluginError:
    error = json.loads(answer)
    return PluginError(error["code"], error["message"], error.get("tensor"), error.get("row"))


class PerThread(threading.local):
    """An instance for each thread that asks, made when it does. `file` is a projection to load into each, or None."""

    def __init__(self, file: bytes | None) -> None:
        self.instance = Instance()
        self.loaded = {} if file is None else json.loads(self.instance.send_bytes("load_projection", file))
