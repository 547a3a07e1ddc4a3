"""The `place` job under spark-submit."""

from __future__ import annotations

from dataclasses import replace

from graphseam.config import Config, check_run_id, load_config
from graphseam.entry import job_arguments, one_clear_line
from graphseam.place import check_batch, place
from graphseam.place.telling import print_batch
from graphseam.sections import EvaluateConfig, PredictConfig
from graphseam.session import build_session
from graphseam.sources import check_inputs


def for_edges(config: Config, edges: str) -> Config:
    """The run's configuration with `edges` as the only input; the run itself stores its split and predict settings."""
    alone = replace(config.input, edges=edges, nodes="", node_type="", labels="", pairs="", split="")
    return replace(config, input=alone, predict=PredictConfig(), evaluate=EvaluateConfig())


def submit_place() -> None:
    """Read the arguments and place the nodes; on an error, print one clear line and exit with status 1."""
    parser = job_arguments(
        "place: edges of new nodes, embeddings -> placed_nodes, placed_links, placed_labels.",
        "TOML file of the run: its [output], and how to read the edges",
    )
    parser.add_argument("--edges", required=True, help="the new edges, in place of input.edges")
    parser.add_argument("--run-id", help="a published run; the newest where not given")
    parser.add_argument("--batch", help="name of the batch, which is replaced; the file's where not given")
    arguments = parser.parse_args()
    with one_clear_line():
        config = load_config(arguments.config, arguments.set)
        config = for_edges(config, arguments.edges)
        if arguments.run_id is not None:
            check_run_id(arguments.run_id)
        if arguments.batch is not None:
            check_batch(arguments.batch)
        check_inputs(config.input)
        print_batch(place(build_session("graphseam place"), config, arguments.run_id, arguments.batch))
