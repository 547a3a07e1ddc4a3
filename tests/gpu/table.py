"""The tables of docs/gpu.md from a check's JSON: PYTHONPATH=lib:tests python3 -m gpu.table gpu-check.json"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from gpu.results import read_json

MISSING = "-"
SHARES = ("drawing", "making", "training")  # of the seconds on the GPU
Cells = dict[str, dict[str, Any]]


def number(cells: Cells, cell: str, *keys: str) -> str:
    value: Any = cells.get(cell, {})
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if value is None or isinstance(value, str):
        return value or MISSING
    return str(value) if isinstance(value, bool) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def print_table(heads: list[str], rows: list[list[str]]) -> None:
    print("\n| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def embedders(cells: Cells) -> None:
    heads = ["graph, method", "F1: CPU", "GPU", "s: one core", "all cores", "GPU", "MB: peak", "forecast", "repeats to"]
    rows = []
    for name in (cell.removesuffix("/compared") for cell in cells if cell.endswith("/compared")):
        f1 = [number(cells, f"{name}/{where}", "f1") for where in ("one core", "labels")]
        seconds = [number(cells, f"{name}/{where}", "seconds") for where in ("one core", "all cores", "device")]
        held = [number(cells, f"{name}/device", key) for key in ("peak_mb", "forecast_mb", "repeats_to")]
        rows.append([name.replace("/", ", "), *f1, *seconds, *held])
    print_table(heads, rows)


def throughput(cells: Cells) -> None:
    heads = ["method, unit", "a second: one core", "all cores", "GPU", "GPU by all cores", "whole training, s"]
    rows = []
    for method, unit in (("deepwalk", "walks"), ("node2vec", "walks"), ("line", "samples")):
        places = [f"{method}/{place}" for place in ("one core", "all cores", "device")]
        rates = [number(cells, place, f"{unit}_a_second") for place in places]
        times = number(cells, f"{method}/compared", "by_all_cores")
        whole = number(cells, f"{method}/device", "whole_training_s")
        shares = [number(cells, f"{method}/device", "parts", part) for part in SHARES]
        rows.append([f"{method}, {unit}", *rates, times, whole, *shares])
    print_table([*heads, *SHARES], rows)
    places = [f"prone/{place}" for place in ("one core, a tenth", "all cores", "device")]
    print_table(
        ["prone, s: one core, a tenth of the edges", "all cores", "GPU"],
        [[number(cells, place, "seconds") for place in places]],
    )


def by_cell(cells: Cells, keys: list[str]) -> None:
    print_table(["", *keys], [[cell, *[number(cells, cell, key) for key in keys]] for cell in cells])


def main() -> None:
    whole = read_json(Path(sys.argv[1]))
    cells = {name: section["cells"] for name, section in whole["sections"].items()}
    print(f"Device: {whole['device']}; version {whole['version']}" + ("; a DRY RUN" if whole["dry_run"] else ""))
    embedders(cells.get("embedders", {}))
    throughput(cells.get("throughput", {}))
    by_cell(
        cells.get("refinement", {}),
        ["nodes", "edges", "cpu_s", "device_s", "auc_cpu", "auc_device", "cosines_differ_by", "peak_mb"],
    )
    by_cell(cells.get("products", {}), ["cpu_s", "device_s", "int64_s", "int32_s", "float32_s", "tf32_s", "float64_s"])
    by_cell(cells.get("nearest", {}), ["vectors", "cpu_s", "device_s", "same_ids"])
    by_cell(cells.get("tests", {}), ["passed", "failure", "error", "skipped"])
    by_cell(cells.get("spark", {}), ["seconds", "subgraphs", "devices", "gpus", "at_once_on_one_gpu", "gpu_peak_mb"])


if __name__ == "__main__":
    main()
