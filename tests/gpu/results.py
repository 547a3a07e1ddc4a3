"""Where the check keeps its figures: a file a section, written after every cell, so that what was measured stays."""

from __future__ import annotations

import json
import math
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphseam.version import __version__

WHOLE = "gpu-check.json"
RUNNING, DONE, FAILED, OUT_OF_TIME = "running", "done", "failed", "out of time"


@dataclass
class Results:
    """One section's figures, by the name of what was measured."""

    path: Path
    section: str
    device: str
    dry_run: bool
    status: str = RUNNING
    seconds: float = 0.0
    cells: dict[str, dict[str, Any]] = field(default_factory=dict)

    def cell(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The figures of that name: those of an earlier try, or measured now. An error is kept as {"error": ...}, and
        the other cells go on."""
        if self.has(name):
            return self.cells[name]
        began = time.monotonic()
        try:
            found = measure()
        except Exception as error:
            traceback.print_exc()
            found = failure(error)
        print(f"  {self.section}: {name}: {told(found)} [{time.monotonic() - began:.1f} s]", flush=True)
        return self.put(name, found)

    def has(self, name: str) -> bool:
        return "error" not in self.cells.get(name, {"error": "not measured"})

    def put(self, name: str, found: dict[str, Any]) -> dict[str, Any]:
        self.cells[name] = rounded(found)
        self.save()
        return self.cells[name]

    def save(self) -> None:
        content = {key: value for key, value in vars(self).items() if key != "path"}
        write_json(self.path, {**content, "version": __version__})


def failure(error: BaseException) -> dict[str, Any]:
    return {"error": f"{type(error).__name__}: {error}"[:500]}


def open_results(folder: Path, section: str, device: str, dry_run: bool) -> Results:
    """Those of an earlier try on the same kind of device, or new ones."""
    results = Results(folder / f"{section}.json", section, device, dry_run)
    known = read_json(results.path) or (read_json(folder / WHOLE) or {}).get("sections", {}).get(section)
    if known and (known["device"], known["version"]) == (device, __version__):
        results.cells, results.status, results.seconds = known["cells"], known["status"], known["seconds"]
    return results


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write_json(path: Path, content: Any) -> None:
    """In one piece: the section may be ended at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(content, indent=1), encoding="utf-8")
    beside.replace(path)


def rounded(value: Any) -> Any:
    """Numbers with six digits, for people who read the file; numpy's as Python's."""
    if isinstance(value, dict):
        return {str(key): rounded(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(one) for one in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value


def told(found: dict[str, Any]) -> str:
    """The figures of a cell in one line; long lists and tables are in the file only."""
    return ", ".join(f"{key} {rounded(value)}" for key, value in found.items() if not isinstance(value, (dict, list)))
