"""Run by test_levels in a process of its own, whose Java heap is 1 GB: every method over a graph cut into six levels.

A graph like a social network, dense and with hubs, cuts badly: each level leaves most of its edges to the next. It
has more than 200,000 edges, so that Spark plans anew after each shuffle. Prints one line of JSON: the levels of each
way to cut, the edges, and the largest plan of each step in operators, of the last twenty queries that the step made.
"""

import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ["GRAPHSEAM_DRIVER_MEMORY"] = "1g"
sys.path.insert(0, str(Path(__file__).parent))

import pyarrow as pa
import pyarrow.parquet as pq

from conftest import make_config
from graphs import social
from graphseam.graphframes_jvm import has_graphframes
from graphseam.methods import EMBEDDERS, FUSIONS, ITERATIONS, PARTITIONERS
from graphseam.pipeline import run_step
from graphseam.progress import StepProgress
from graphseam.runs import open_run
from graphseam.session import build_session
from graphseam.steps import STEPS

LEVELS = 6
CUT = {"num_subgraphs": 16, "max_levels": LEVELS, "min_captured": 0.0}
BY_BLOCKS = {"block_edges": 110_000, "coarsest_edges": 150_000}  # else multilevel leaves so small a graph to METIS
QUICK = {"dim": 16, "num_walks": 1, "walk_length": 10, "window": 2, "samples": 2}
SECTIONS = {
    "partition": {**CUT, **BY_BLOCKS},
    "embed": QUICK,
    "evaluate": {"holdout": 0.05},
    "predict": {"links": {"top_k": 2}, "similar": {"top_k": 2}},
}


class Sizes:
    """Runs steps, and keeps the number of operators of the largest plan that each has made."""

    def __init__(self, spark, config):
        self.spark, self.config, self.largest = spark, config, {}
        self.plans = spark._jsparkSession.sharedState().statusStore()

    def step(self, step, **changed):
        sections = {name: replace(getattr(self.config, name), **values) for name, values in changed.items()}
        run = open_run(self.spark, replace(self.config, **sections), "six")
        run_step(run, step, StepProgress(len(STEPS)))
        kept = self.plans.executionsList()
        numbers = [kept.apply(place).executionId() for place in range(kept.size())]
        sizes = [self.plans.planGraph(number).allNodes().size() for number in numbers]
        self.largest[step] = max(self.largest.get(step, 0), *sizes)
        return run.details(step)


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    src, dst = zip(*social(12_000, 220_000, seed=1), strict=True)
    pq.write_table(pa.table({"src": src, "dst": dst}), folder / "edges.parquet")
    config = make_config({"edges": str(folder / "edges.parquet")}, folder / "tables", **SECTIONS)
    spark = build_session("six levels", local=True)
    sizes, levels = Sizes(spark, config), {}
    edges = sizes.step("ingest")["edges"]
    embedders = list(EMBEDDERS)
    for method in (name for name in PARTITIONERS if name != "multilevel"):
        if method == "graphframes_lpa" and not has_graphframes(spark):
            continue
        cut, embedder = {"method": method}, {"method": embedders.pop()}
        levels[method] = sizes.step("partition", partition=cut)["levels"]
        sizes.step("embed", partition=cut, embed=embedder)
        sizes.step("fuse", partition=cut, embed=embedder)
    levels["multilevel"] = sizes.step("partition")["levels"]
    for embedder in reversed(embedders):  # the default comes last
        sizes.step("embed", embed={"method": embedder})
    for fusion in reversed(FUSIONS):
        sizes.step("fuse", fuse={"method": fusion})
    for iteration in reversed(ITERATIONS):
        sizes.step("refine", refine={"method": iteration, "num_blocks": 3, "rounds": 2})
    sizes.step("refine")
    steps = list(STEPS)
    for step in steps[steps.index("refine") + 1 :]:
        told = sizes.step(step)
    print(json.dumps({"levels": levels, "edges": edges, **told, "largest_plans": sizes.largest}))
    spark.stop()


if __name__ == "__main__":
    main()
