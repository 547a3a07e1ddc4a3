"""A temporary folder of this process, which only its user can open; what killed processes have left is removed.

A process that ends by itself removes its own. One that is killed cannot, nor can its Java: shuffle files, arrays and
unpacked libraries would stay until somebody wonders who has filled the disk. So each folder has a file that its process
holds locked, and whoever starts next removes the folders that nobody holds.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

PREFIX = "graphseam-scratch-"
LOCK = "held"


@cache
def scratch_folder() -> Path:
    """The folder, under Python's temporary directory (TMPDIR). It exists for as long as this process runs."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))  # mode 700
    draft = folder / "locking"
    handle = os.open(draft, os.O_CREAT | os.O_RDWR, 0o600)  # open, and so locked, until the process ends
    fcntl.flock(handle, fcntl.LOCK_EX)
    draft.rename(folder / LOCK)  # from here on others may try it
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def remove_left_behind() -> None:
    """Remove the folders of this user's processes that have ended without removing theirs."""
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        with suppress(OSError):  # of another user, or gone meanwhile
            handle = os.open(lock, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
            finally:
                os.close(handle)
