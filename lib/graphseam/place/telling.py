"""What users are shown about a batch of new nodes."""

from __future__ import annotations

from typing import Any

from rich.console import Console

MUCH_NEW = 0.05  # of the run's nodes; as measured in docs/new-nodes.md


def print_batch(details: dict[str, Any]) -> None:
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    console.print(
        f"batch {details['batch']} of run {details['run_id']}: {details['rows']:,} rows, "
        f"{details['edges']:,} edges used, {details['edges_between_known_nodes']:,} between known nodes left "
        f"aside; {details['loops']:,} loops and {details['duplicate_edges']:,} duplicate edges merged"
    )
    if details["rejected"]:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in details["rejected"].items())
        console.print(f"{sum(details['rejected'].values()):,} rows rejected: {reasons}; kept in rejected_rows")
    console.print(
        f"{details['placed']:,} nodes placed, {details['unreachable']:,} unreachable; {details['links']:,} "
        f"links and {details['labels']:,} labels predicted"
    )
    if details["no_model_of"]:
        console.print(f"The run has no model of {' and '.join(details['no_model_of'])}: it predicted none")
    if details["share_of_run"] > MUCH_NEW:
        console.print(
            f"The batch has {details['share_of_run']:.0%} as many nodes as the run; more than {MUCH_NEW:.0%} "
            "is better embedded in a run of its own (docs/new-nodes.md)"
        )
