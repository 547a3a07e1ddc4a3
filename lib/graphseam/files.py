"""Addresses and local files, without Spark: what can be checked before a session starts."""

from __future__ import annotations

import glob
import math
import re
from pathlib import Path

from graphseam.errors import InputError, nearest


def is_remote(path: str) -> bool:
    """Whether only Spark can open the address."""
    return re.match(r"^[a-z][a-z0-9+.-]*:/", path, re.IGNORECASE) is not None and not path.startswith("file:")


def local_path(path: str) -> str:
    """A local address without its `file:` scheme."""
    return path.removeprefix("file://").removeprefix("file:")


def absolute(root: str) -> str:
    """The root, independent of the working directory: an address unchanged, a directory as an absolute path."""
    root = root.rstrip("/")
    return root if re.match(r"^[a-z][a-z0-9+.-]*:/", root, re.IGNORECASE) else str(Path(root).resolve())


def has_table(root: str, name: str = "runs") -> bool:
    """Whether a directory holds that table; true for an address that only Spark can open."""
    return is_remote(root) or Path(local_path(root), name, "_delta_log").is_dir()


def size_of(root: str) -> float:
    """Bytes of all files below a local directory; infinite for an address that only Spark can open."""
    if is_remote(root):
        return math.inf
    return sum(file.stat().st_size for file in Path(local_path(root)).rglob("*") if file.is_file())


def size_told(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:,.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"


def local_files(path: str, key: str) -> list[Path]:
    """The files behind a local path, directory or glob; InputError if there are none, or they cannot be opened."""
    try:
        return _local_files(path, key)
    except OSError as error:  # a name that is too long, or no permission for a directory
        raise InputError(f"{path[:200]!r} ({key}) cannot be opened: {error.strerror}") from None


def _local_files(path: str, key: str) -> list[Path]:
    plain = local_path(path)
    found = [Path(name) for name in sorted(glob.glob(plain))] if re.search(r"[*?\[]", plain) else [Path(plain)]
    if not found or not found[0].exists():
        beside = [entry.name for entry in Path(plain).parent.glob("*")] if Path(plain).parent.is_dir() else []
        hint = nearest(Path(plain).name, beside[:1000]).split(" Known:")[0]
        raise InputError(f"there is no file or directory {path!r} ({key}).{hint}")
    files = [
        file
        for place in found
        for file in (sorted(place.rglob("*")) if place.is_dir() else [place])
        if file.is_file() and not any(part.startswith(("_", ".")) for part in file.relative_to(place).parts)
    ]
    if not files:
        raise InputError(f"the directory {path!r} ({key}) holds no data file")
    if all(file.stat().st_size == 0 for file in files):
        raise InputError(f"{path!r} ({key}) is empty (0 bytes)")
    return [file for file in files if file.stat().st_size > 0]
