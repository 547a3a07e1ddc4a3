"""Leave out of a jar the native libraries of other systems: python3 -m gpu.slim_jar JAR LIBRARY, which stays."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

NATIVE = (".so", ".dll", ".jnilib", ".dylib")


def keep_one_library(jar: Path, library: str) -> None:
    slim = jar.with_suffix(".slim")
    with zipfile.ZipFile(jar) as whole, zipfile.ZipFile(slim, "w", zipfile.ZIP_DEFLATED) as kept:
        entries = [
            entry for entry in whole.infolist() if not entry.filename.endswith(NATIVE) or entry.filename == library
        ]
        assert any(entry.filename == library for entry in entries), f"{jar.name} has no {library}"
        for entry in entries:
            kept.writestr(entry, whole.read(entry))
    slim.replace(jar)


if __name__ == "__main__":
    keep_one_library(Path(sys.argv[1]), sys.argv[2])
