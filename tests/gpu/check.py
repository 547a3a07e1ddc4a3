"""The check on a real GPU, section by section: `tests/gpu/check.sh` runs it, docs/gpu.md says what it measures.

    python3 -m gpu.check [part1 | part2 | all] [--again] [--only SECTION ...]

Every section is a process of its own with seconds to spend: one that hangs, or that CUDA has ended, costs the others
nothing, and what it had measured is kept. A section that is done on this kind of device is not repeated.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from gpu.inputs import sizes_for
from gpu.machine import Machine, this_machine
from gpu.results import DONE, FAILED, OUT_OF_TIME, RUNNING, WHOLE, Results, open_results, read_json, told, write_json
from graphseam.version import __version__

KEPT = Path("build/gpu-results")


@dataclass(frozen=True)
class Section:
    """function: "module:name" of what measures it. budget_s: then it is ended."""

    function: str
    budget_s: int


PARTS = {
    "part1": {  # 470 s in all, of the ten minutes that one command may take
        "facts": Section("gpu.facts:run", 30),
        "tests": Section("gpu.facts:run_tests", 60),
        "nearest": Section("gpu.nearest:run", 25),
        "embedders": Section("gpu.embedders:run", 130),
        "throughput": Section("gpu.throughput:run", 105),
        "refinement": Section("gpu.refinement:run", 85),
        "products": Section("gpu.products:run", 35),
    },
    "part2": {"spark": Section("gpu.on_spark:run", 300)},
}
SECTIONS = {name: section for part in PARTS.values() for name, section in part.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", default="part1", choices=[*PARTS, "all"])
    parser.add_argument("--again", action="store_true", help="forget what earlier tries have measured")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="these sections alone")
    parser.add_argument(
        "--measure", nargs=4, metavar=("SECTION", "DEVICE", "NAME", "CORES"), help="for the check itself"
    )
    arguments = parser.parse_args()
    if arguments.measure:
        name, device, device_name, cores = arguments.measure
        sys.exit(measure(name, Machine(device, device_name, int(cores))))
    parts = PARTS if arguments.part == "all" else [arguments.part]
    names = arguments.only or [name for part in parts for name in PARTS[part]]
    machine = this_machine()
    print(f"{machine.name}, {machine.cores} cores" + (": a dry run on the CPU" if machine.dry_run else ""), flush=True)
    with graphs_in_the_background(machine, names):
        for name in names:
            one_section(name, machine, arguments.again)
    whole = collected(machine)
    for folder in {KEPT, Path(os.environ.get("OUT", KEPT))}:
        write_json(folder / WHOLE, whole)
    print_summary(whole)
    sys.exit(any(whole["sections"].get(name, {}).get("status") != DONE for name in names))


@contextlib.contextmanager
def graphs_in_the_background(machine: Machine, names: list[str]) -> Iterator[None]:
    """One core makes the large graphs while the first sections run; sections that need them wait."""
    command = [sys.executable, "-m", "gpu.inputs", *(["tiny"] if machine.dry_run else [])]
    maker = None
    if {"throughput", "refinement"} & set(names):
        maker = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        yield
    finally:
        if maker is not None:
            maker.kill()
            maker.wait()


def one_section(name: str, machine: Machine, again: bool) -> None:
    """Run it in a process group of its own, for as long as it may take, and record how it ended."""
    results = open_results(KEPT, name, machine.name, machine.dry_run)
    if again:
        results.cells, results.status = {}, RUNNING
    if results.status == DONE:
        print(f"{name}: done before, in {results.seconds:.0f} s", flush=True)
        return
    print(f"{name}: at most {SECTIONS[name].budget_s} s", flush=True)
    results.status = RUNNING
    results.save()
    began = time.monotonic()
    command = [sys.executable, "-m", "gpu.check", "--measure", name, machine.device, machine.name, str(machine.cores)]
    threads = {"OMP_NUM_THREADS": str(machine.threads)}
    process = subprocess.Popen(command, start_new_session=True, env={**os.environ, **threads})
    try:
        status = DONE if process.wait(SECTIONS[name].budget_s) == 0 else FAILED
    except subprocess.TimeoutExpired:
        status = OUT_OF_TIME
    finally:
        with contextlib.suppress(ProcessLookupError):  # its own processes, also where it has ended before them
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    results = open_results(KEPT, name, machine.name, machine.dry_run)
    results.status, results.seconds = status, time.monotonic() - began
    results.save()
    print(f"{name}: {status} after {results.seconds:.1f} s", flush=True)


def measure(name: str, machine: Machine) -> int:
    """In the section's process: 0 if every cell of it was measured."""
    results: Results = open_results(KEPT, name, machine.name, machine.dry_run)
    module, _, function = SECTIONS[name].function.partition(":")
    getattr(import_module(module), function)(results, machine, sizes_for(machine.dry_run))
    return int(any("error" in cell for cell in results.cells.values()))


def collected(machine: Machine) -> dict[str, Any]:
    """Everything that is known of this kind of device, for docs/gpu.md and for a later try on another machine."""
    sections = {name: read_json(KEPT / f"{name}.json") for name in SECTIONS}
    earlier = (read_json(KEPT / WHOLE) or {}).get("sections", {})
    sections = {name: found or earlier.get(name) for name, found in sections.items()}
    found = {name: one for name, one in sections.items() if one and one["device"] == machine.name}
    return {
        "device": machine.name,
        "dry_run": machine.dry_run,
        "version": __version__,
        "sizes": asdict(sizes_for(machine.dry_run)),
        "sections": found,
    }


def print_summary(whole: dict[str, Any]) -> None:
    """Cells with an error, rows of comparisons, and how each section ended: last, as only the end may be seen."""
    width = shutil.get_terminal_size((160, 24)).columns
    for name, section in whole["sections"].items():
        for cell, found in section["cells"].items():
            if cell.endswith("compared") or "error" in found or name in ("refinement", "nearest", "spark"):
                print(f"{name}: {cell}: {told(found)}"[: 4 * width])
    for name, section in whole["sections"].items():
        print(f"{name}: {section['status']}, {section['seconds']:.1f} s, {len(section['cells'])} cells")
    if whole["dry_run"]:
        print("A dry run without a GPU: it shows that the check works, and no figure of it says anything about one.")


if __name__ == "__main__":
    main()
