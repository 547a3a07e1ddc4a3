"""Arrays of a block that stay in place between supersteps: only what blocks send each other moves."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from graphseam.errors import ConfigError
from graphseam.scratch import scratch_folder

HEADER_BYTES = 128
COMMON = -1  # in place of a block: an array of all of them


class Store(Protocol):
    """Arrays by block and name. A stored array is never changed; a repeated `put` stores the same values.

    `put` costs a write of the array, `get` a read of the rows from start to stop. `drop` also drops what lies beneath a
    name, as "walks/ends" does beneath "walks". `fill` stores some rows of an array of `num_rows` that all blocks have
    in common, to be read as that of the block COMMON once all of them have; other blocks may fill other rows meanwhile.
    """

    def put(self, block: int, name: str, values: np.ndarray) -> None: ...

    def get(self, block: int, name: str, start: int = 0, stop: int | None = None) -> np.ndarray: ...

    def fill(self, name: str, num_rows: int, at: np.ndarray, values: np.ndarray) -> None: ...

    def drop(self, *names: str) -> None: ...

    def remove(self) -> None: ...


@dataclass(frozen=True)
class MemoryStore:
    """In this process: for a graph that fits in one task."""

    arrays: dict[tuple[int, str], np.ndarray] = field(default_factory=dict)

    def put(self, block: int, name: str, values: np.ndarray) -> None:
        self.arrays[block, name] = values

    def get(self, block: int, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        return self.arrays[block, name][start:stop]

    def fill(self, name: str, num_rows: int, at: np.ndarray, values: np.ndarray) -> None:
        self.arrays.setdefault((COMMON, name), np.zeros((num_rows, *values.shape[1:]), values.dtype))[at] = values

    def drop(self, *names: str) -> None:
        beneath = tuple(f"{name}/" for name in names)
        for key in [key for key in self.arrays if key[1] in names or key[1].startswith(beneath)]:
            del self.arrays[key]

    def remove(self) -> None:
        self.arrays.clear()


@dataclass(frozen=True)
class FileStore:
    """One .npy file per array, in a folder that every executor can reach; it outlives executors.

    folder: a path on this machine, for a session that is one process, or a URI that pyarrow can open (file, s3, gs,
    abfs, hdfs). Local files above 1 MB are memory-mapped: an array costs memory only for the pages that are read.
    Writes are atomic: a task that runs twice, or is killed, leaves no partial file.
    Errors: ConfigError if pyarrow cannot open the folder.
    """

    folder: str

    @staticmethod
    def temporary() -> FileStore:
        """A store in this process's temporary folder, for a local session."""
        return FileStore(tempfile.mkdtemp(prefix="blocks-", dir=scratch_folder()))

    def put(self, block: int, name: str, values: np.ndarray) -> None:
        path = f"{name}/{block}.npy"
        if self._is_local:
            target = Path(self.folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = target.with_name(f".{block}.{uuid.uuid4().hex}.npy")
            np.save(draft, values, allow_pickle=False)
            os.replace(draft, target)
            return
        system, folder = self._opened()
        header = io.BytesIO()
        values = np.ascontiguousarray(values)
        np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(values))
        in_place = system.type_name in ("s3", "gcs", "abfs")  # an object becomes visible only once it is complete
        draft_path = path if in_place else f"{name}/.{block}.{uuid.uuid4().hex}.npy"
        system.create_dir(f"{folder}/{name}", recursive=True)
        with system.open_output_stream(f"{folder}/{draft_path}") as stream:
            stream.write(header.getvalue())
            stream.write(values.tobytes())
        if not in_place:
            system.move(f"{folder}/{draft_path}", f"{folder}/{path}")

    @contextmanager
    def growing(self, block: int, name: str, kind: np.dtype[Any]) -> Iterator[Callable[[np.ndarray], None]]:
        """A function that adds to the end of a new array of one dimension, stored when the `with` block ends; for
        arrays that memory does not hold, in a folder of this machine."""
        assert self._is_local
        target = Path(self.folder, name, f"{block}.npy")
        target.parent.mkdir(parents=True, exist_ok=True)
        draft, count = target.with_name(f".{block}.{uuid.uuid4().hex}.npy"), 0
        with draft.open("wb") as file:

            def add(values: np.ndarray) -> None:
                nonlocal count
                values.astype(kind, copy=False).tofile(file)
                count += len(values)

            file.write(_header(kind, 0))
            yield add
            file.seek(0)
            file.write(_header(kind, count))
        os.replace(draft, target)

    def get(self, block: int, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """The array, or its rows from start to stop; to be treated as read-only."""
        if self._is_local:
            path = Path(self.folder, name, f"{block}.npy")
            array = np.load(path, mmap_mode="r" if path.stat().st_size > 1 << 20 else None, allow_pickle=False)
            return np.asarray(array[start:stop])
        system, folder = self._opened()
        with system.open_input_file(f"{folder}/{name}/{block}.npy") as stream:
            np.lib.format.read_magic(stream)
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
            start, stop, _ = slice(start, stop).indices(shape[0])
            row_bytes = dtype.itemsize * int(np.prod(shape[1:]))
            stream.seek(stream.tell() + start * row_bytes)
            return np.frombuffer(stream.read_buffer(max(0, stop - start) * row_bytes), dtype).reshape(-1, *shape[1:])

    def fill(self, name: str, num_rows: int, at: np.ndarray, values: np.ndarray) -> None:
        """In a folder of this machine only. The room is reserved first: mapped memory that finds no disk ends the
        process without a word. OSError if there is none."""
        path = Path(self.folder, name, f"{COMMON}.npy")
        if not path.exists():
            _reserve(path, (num_rows, *values.shape[1:]), values.dtype)
        np.load(path, mmap_mode="r+", allow_pickle=False)[at] = values

    def drop(self, *names: str) -> None:
        for name in names:
            if self._is_local:
                shutil.rmtree(Path(self.folder, name), ignore_errors=True)
            else:
                system, folder = self._opened()
                system.delete_dir_contents(f"{folder}/{name}", missing_dir_ok=True)

    def remove(self) -> None:
        if self._is_local:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            system, folder = self._opened()
            system.delete_dir_contents(folder, missing_dir_ok=True)

    @property
    def _is_local(self) -> bool:
        return "://" not in self.folder and not self.folder.startswith("file:")

    def _opened(self) -> tuple[Any, str]:
        return _opened(self.folder)


def _reserve(path: Path, shape: tuple[int, ...], kind: np.dtype[Any]) -> None:
    """Make an array of zeros, unless another process does so first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{uuid.uuid4().hex}.npy")
    try:
        with draft.open("wb") as file:
            header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            file.flush()
            os.posix_fallocate(file.fileno(), 0, file.tell() + kind.itemsize * int(np.prod(shape)))
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _header(kind: np.dtype[Any], count: int) -> bytes:
    """Of a .npy file of so many values, always of the same length."""
    told = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": (count,)}
    text = f"{told!r}".ljust(HEADER_BYTES - 11) + "\n"
    return np.lib.format.magic(1, 0) + len(text).to_bytes(2, "little") + text.encode("ascii")


@cache
def _opened(folder: str) -> tuple[Any, str]:
    """(file system, path in it); one client per process."""
    from pyarrow.fs import FileSystem

    address = folder.replace("s3a://", "s3://", 1).replace("s3n://", "s3://", 1)
    try:
        system, path = FileSystem.from_uri(address)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"refinement keeps its blocks' vectors under {folder!r}, which pyarrow cannot open ({error}); set "
            "spark.checkpoint.dir to a folder that all executors can reach: a shared mount, s3, gs, abfs or hdfs"
        ) from None
    return system, path
