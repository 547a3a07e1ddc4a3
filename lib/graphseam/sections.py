"""The sections of a configuration: one frozen dataclass each, which checks itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from graphseam.errors import ConfigError, nearest

FORMATS = ("auto", "parquet", "csv", "delta")
ID_TYPES = ("auto", "integer", "string")
MEASURES = (
    "auc",
    "ap",
    "mrr_of_101",
    "hits@1_of_101",
    "hits@10_of_101",
    "hits@50_of_101",
    "hits@100_of_101",
    "micro_f1",
    "macro_f1",
    "nodes",
    "edges",
)
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
CATALOG = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}(\.[A-Za-z_][A-Za-z0-9_]{0,127}){0,1}")


def _require(holds: bool, key: str, value: object, wanted: str) -> None:
    if not holds:
        raise ConfigError(f"{key} is {value!r}; {wanted}")


def _require_name(value: str, key: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigError(f"{key} is {value!r}, which is not known.{nearest(value, known)}")


def check_run_id(run_id: str) -> str:
    """The run id itself; ConfigError unless it is safe in a path, a predicate and a file name."""
    if not RUN_ID.fullmatch(run_id):
        raise ConfigError(f"run id {run_id!r} cannot be used; give 1 to 128 letters, digits, '_', '.' or '-'")
    return run_id


@dataclass(frozen=True, kw_only=True)
class InputConfig:
    graphframe: str = ""  # directory with `edges` and `vertices`, as a GraphFrame is saved: instead of edges, nodes
    edges: str = ""  # file, directory or glob; any address Spark can read
    format: str = "auto"  # parquet, csv (any delimiter, gzip, SNAP comments), delta; auto looks
    src: str = "src"  # column of one end; in a file without header, its position from 0
    dst: str = "dst"  # column of the other end
    weight: str = ""  # column of the weight; empty: every edge weighs 1
    split: str = ""  # column that tells held-out edges (evaluate.held_out) from those to embed; empty: none
    directed: bool = False  # true keeps src -> dst in `edges`; deepwalk, node2vec and line follow it, all else does not
    header: str = "auto"  # csv only: true, false, or auto (a header is a first line that names src and dst)
    comment: str = "#%"  # csv only: a line that begins with one of these characters is left out; empty: none
    delimiter: str = ""  # csv only; empty: found from the first line
    id_type: str = "auto"  # integer, string, or auto (integer when at least 9 of 10 ids are)
    nodes: str = ""  # optional table of nodes, for those without an edge
    node: str = "node"  # its id column, and that of `labels`
    labels: str = ""  # optional table of labels: several rows a node where it has several
    label: str = "label"  # its label column
    node_type: str = ""  # a column of `nodes` that tells kinds of nodes apart, such as user and item
    pairs: str = ""  # optional table of pairs (columns `src` and `dst`) that links are predicted for

    def __post_init__(self) -> None:
        self._take_graphframe()
        _require_name(self.format, "input.format", FORMATS)
        _require_name(self.id_type, "input.id_type", ID_TYPES)
        _require_name(self.header, "input.header", ("auto", "true", "false"))
        _require(
            len(self.delimiter) <= 1 or self.delimiter == r"\s+",
            "input.delimiter",
            self.delimiter,
            r'give one character ("\t" in quotes for a tab), or "\\s+" for any blanks',
        )
        _require(
            self.delimiter not in ('"', "\\", "\r", "\n"),
            "input.delimiter",
            self.delimiter,
            "give a character that neither quotes nor ends a line",
        )

    def _take_graphframe(self) -> None:
        """Fill in what `graphframe` stands for; once filled in, as in the record of a run, it may be read again."""
        if not self.graphframe:
            return
        folder = self.graphframe.rstrip("/")
        for name, value in (("edges", f"{folder}/edges"), ("nodes", f"{folder}/vertices")):
            given = getattr(self, name)
            _require(given in ("", value), f"input.{name}", given, f"leave it out, as input.graphframe gives {value!r}")
            object.__setattr__(self, name, value)
        if self.node == "node":
            object.__setattr__(self, "node", "id")


@dataclass(frozen=True, kw_only=True)
class OutputConfig:
    root: str = ""  # directory that holds one Delta table a name
    catalog: str = ""  # or a catalog's schema, such as "prod.graphs", instead of a directory

    def __post_init__(self) -> None:
        if self.root and self.catalog:
            raise ConfigError("output.root and output.catalog are both set; give one of them")
        if self.catalog:
            _require(
                CATALOG.fullmatch(self.catalog) is not None,
                "output.catalog",
                self.catalog,
                "give a schema as `name` or `catalog.name`, in letters, digits and underscores",
            )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    seed: int = 0  # any 64-bit whole number
    task_memory_mb: int = 0  # what one task may hold, checked against a forecast before the work starts; 0: see below

    # 0 stands for 4096 on a cluster, and in a local session for what the machine has to spare.

    def __post_init__(self) -> None:
        _require(-(1 << 63) <= self.seed < 1 << 63, "run.seed", self.seed, "give a whole number of 64 bits")
        _require(
            self.task_memory_mb == 0 or self.task_memory_mb >= 64,
            "run.task_memory_mb",
            self.task_memory_mb,
            "give 0 (automatic) or at least 64",
        )


@dataclass(frozen=True, kw_only=True)
class PartitionConfig:
    method: str = "multilevel"  # METIS where it fits one task; also metis, hash, graphframes_lpa
    num_subgraphs: int = 0  # of the first level; 0: as few as fit the bounds below
    max_subgraph_edges: int = 0  # edges one task embeds at once; 0: what its memory holds, at most 5,000,000
    max_levels: int = 6  # the last level takes one subgraph, the core of what is left
    min_captured: float = 0.2  # a level that captures a smaller share of its edges is the last one cut by nodes
    imbalance: float = 0.05  # largest subgraph <= (1 + imbalance) * mean, in edge ends, or bytes where they bind
    block_edges: int = 1_000_000  # multilevel: edges of a block, what one of its tasks works on
    coarsest_edges: int = 0  # multilevel: what is left to METIS in one task; 0: as much as its memory holds

    def __post_init__(self) -> None:
        from graphseam.partition import PARTITIONERS

        _require_name(self.method, "partition.method", tuple(PARTITIONERS))
        _require(self.num_subgraphs >= 0, "partition.num_subgraphs", self.num_subgraphs, "give 0 (automatic) or more")
        _require(
            self.max_subgraph_edges >= 0,
            "partition.max_subgraph_edges",
            self.max_subgraph_edges,
            "give 0 (automatic) or more",
        )
        _require(self.block_edges >= 1, "partition.block_edges", self.block_edges, "give 1 or more")
        _require(
            self.coarsest_edges >= 0, "partition.coarsest_edges", self.coarsest_edges, "give 0 (automatic) or more"
        )
        _require(0 <= self.min_captured <= 1, "partition.min_captured", self.min_captured, "give a share in [0, 1]")
        _require(1 <= self.max_levels <= 16, "partition.max_levels", self.max_levels, "give a number from 1 to 16")
        _require(0 < self.imbalance < 1, "partition.imbalance", self.imbalance, "give a number between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    method: str = "prone"  # or netmf, deepwalk, node2vec, line, fastrp
    dim: int = 128
    warm_start: str = ""  # begin from the vectors of an earlier run (its id), or of the deepest "border"; "": random
    device: str = "auto"  # the GPU that Spark gives a task, or the CPU where it gives none; "cpu": never a GPU
    precision: str = "auto"  # deepwalk, node2vec, line on a GPU: bfloat16 products; float32; or mixed anywhere
    gpu_memory_mb: int = 0  # of one GPU; subgraphs that fit a share of it then share one. 0: as the job's settings say
    gpu_share: float = 0.25  # of a GPU, for those small subgraphs
    num_walks: int = 10  # deepwalk, node2vec: walks from each node
    walk_length: int = 80  # nodes of a walk
    window: int = 10  # contexts each way; netmf: powers of the walk
    p: float = 1.0  # node2vec: small returns to the last node,
    q: float = 0.5  # small goes further away
    samples: int = 100  # line: of each edge on the mean, in each direction and order

    def __post_init__(self) -> None:
        from graphseam.embedding import BORDER, EMBEDDERS

        _require_name(self.method, "embed.method", tuple(EMBEDDERS))
        _require(2 <= self.dim <= 2048, "embed.dim", self.dim, "give a number from 2 to 2048")
        _require_name(self.device, "embed.device", ("auto", "cpu"))
        _require_name(self.precision, "embed.precision", ("auto", "float32", "mixed"))
        _require(self.gpu_memory_mb >= 0, "embed.gpu_memory_mb", self.gpu_memory_mb, "give 0 (not known) or more")
        _require(0 < self.gpu_share <= 0.5, "embed.gpu_share", self.gpu_share, "give a share above 0, at most 0.5")
        for name, most in (("num_walks", 1000), ("walk_length", 10_000), ("window", 100), ("samples", 100_000)):
            value = getattr(self, name)
            _require(1 <= value <= most, f"embed.{name}", value, f"give a number from 1 to {most:,}")
        for name in ("p", "q"):
            _require(
                0.01 <= getattr(self, name) <= 100,
                f"embed.{name}",
                getattr(self, name),
                "give a number from 0.01 to 100",
            )
        if self.warm_start and self.warm_start != BORDER:
            check_run_id(self.warm_start)
        if self.warm_start and not EMBEDDERS[self.method].warm:
            can = ", ".join(name for name, kind in EMBEDDERS.items() if kind.warm)
            raise ConfigError(
                f"embed.warm_start is {self.warm_start!r}, and {self.method} begins from nothing; "
                f"leave it out, or use one of: {can}"
            )


@dataclass(frozen=True, kw_only=True)
class FuseConfig:
    method: str = "procrustes"

    def __post_init__(self) -> None:
        from graphseam.fuse import FUSIONS

        _require_name(self.method, "fuse.method", tuple(FUSIONS))


@dataclass(frozen=True, kw_only=True)
class RefineConfig:
    method: str = "krylov"  # or subspace: as many products, a third of the disk, slower to converge
    rounds: int = 6  # over all edges, at most, 2 products each; 0 keeps the fused vectors' span
    tolerance: float = 0.001  # a round that changes the leading Ritz values by a smaller share is the last
    filter: str = "hops"  # or chebyshev: ProNE's band-pass filter, for comparison
    hops: int = 3  # products of the filter over all edges; rounds = hops = 0 skips the step
    num_blocks: int = 0  # 0: 1 where the graph fits one task, else as many as the budget of a task needs

    def __post_init__(self) -> None:
        from graphseam.refine.filters import FILTERS
        from graphseam.refine.iteration import ITERATIONS

        _require_name(self.method, "refine.method", tuple(ITERATIONS))
        _require_name(self.filter, "refine.filter", tuple(FILTERS))
        _require(0 <= self.tolerance < 1, "refine.tolerance", self.tolerance, "give a share in [0, 1)")
        _require(0 <= self.num_blocks <= 100_000, "refine.num_blocks", self.num_blocks, "give 0 (automatic) to 100,000")
        _require(0 <= self.rounds <= 20, "refine.rounds", self.rounds, "give a number from 0 to 20")
        _require(0 <= self.hops <= 20, "refine.hops", self.hops, "give a number from 0 to 20")


@dataclass(frozen=True, kw_only=True)
class LinksConfig:
    top_k: int = 10  # predicted links a node; 0 skips link prediction
    candidates: str = "auto"  # where to look: exact, hnsw, two_hop, or two joined by "+"; pairs: those of input.pairs
    num_candidates: int = 0  # scored a node, of each kind; 0: twice top_k, at least 20
    hub_cap: int = 1000  # two_hop: paths through nodes of more edges are left out
    src_type: str = ""  # links for nodes of this type only (input.node_type); "": all, or one side of two
    dst_type: str = ""  # links to nodes of this type only
    model_run: str = ""  # score and calibrate by the model of this earlier run, one that held edges out

    # candidates "auto": exact up to 50,000 nodes, else hnsw, and two_hop with either. A graph that joins two kinds of
    # nodes, no id of which occurs in both columns, is bipartite: the first column gets links to the second.

    def __post_init__(self) -> None:
        from graphseam.predict import CANDIDATES

        _require(0 <= self.top_k <= 1000, "predict.links.top_k", self.top_k, "give a number from 0 to 1000")
        parts = self.candidates.split("+")
        for part in parts:
            _require_name(part, "predict.links.candidates", ("auto", "pairs", *CANDIDATES))
        _require(
            len(parts) == 1 or not {"auto", "pairs"} & set(parts),
            "predict.links.candidates",
            self.candidates,
            "give auto or pairs alone",
        )
        _require(
            len({"exact", "hnsw"} & set(parts)) < 2,
            "predict.links.candidates",
            self.candidates,
            "give exact or hnsw, not both",
        )
        _require(
            self.num_candidates == 0 or self.top_k <= self.num_candidates <= 5000,
            "predict.links.num_candidates",
            self.num_candidates,
            "give 0 (automatic) or top_k to 5,000",
        )
        _require(self.hub_cap >= 2, "predict.links.hub_cap", self.hub_cap, "give 2 or more")
        if self.model_run:
            check_run_id(self.model_run)


@dataclass(frozen=True, kw_only=True)
class NodesConfig:
    top_labels: int = 3  # labels kept a node, best first
    max_train_nodes: int = 200_000  # labelled nodes a model learns from; more are sampled
    class_weight: str = "none"  # or balanced: examples weigh inversely to their label's frequency

    def __post_init__(self) -> None:
        from graphseam.predict.logistic import CLASS_WEIGHTS

        _require(self.top_labels >= 1, "predict.nodes.top_labels", self.top_labels, "give 1 or more")
        _require(self.max_train_nodes >= 10, "predict.nodes.max_train_nodes", self.max_train_nodes, "give 10 or more")
        _require_name(self.class_weight, "predict.nodes.class_weight", CLASS_WEIGHTS)


@dataclass(frozen=True, kw_only=True)
class SimilarConfig:
    top_k: int = 10  # similar nodes a node; 0 skips them
    method: str = "auto"  # exact or ivf, as for links; auto is exact up to 50,000 nodes

    def __post_init__(self) -> None:
        from graphseam.predict import INDEXES

        _require(0 <= self.top_k <= 1000, "predict.similar.top_k", self.top_k, "give a number from 0 to 1000")
        _require_name(self.method, "predict.similar.method", ("auto", *INDEXES))


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    links: LinksConfig = field(default_factory=LinksConfig)
    nodes: NodesConfig = field(default_factory=NodesConfig)
    similar: SimilarConfig = field(default_factory=SimilarConfig)


@dataclass(frozen=True, kw_only=True)
class PlaceConfig:
    max_hops: int = 10  # steps from the run's nodes up to which new nodes are placed, 1 pass over the new edges each
    top_links: int = 10  # predicted links a new node; 0 skips them

    def __post_init__(self) -> None:
        _require(1 <= self.max_hops <= 100, "place.max_hops", self.max_hops, "give a number from 1 to 100")
        _require(0 <= self.top_links <= 1000, "place.top_links", self.top_links, "give a number from 0 to 1000")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    holdout: float = 0.0  # share of the edges set aside before anything sees them; 0: none, no link metrics
    held_out: str = ""  # or the values of the column input.split, apart by commas, that mark edges held out
    max_pairs: int = 100_000  # held-out edges scored at most, and as many negatives of each kind
    max_ranked: int = 1_000  # of them ranked at most, each among 100 negatives of each kind; 0: no ranking

    @property
    def held_out_values(self) -> list[str]:
        """The values in held_out, blanks around them left out."""
        return [value.strip() for value in self.held_out.split(",") if value.strip()]

    def __post_init__(self) -> None:
        _require(0 <= self.holdout < 1, "evaluate.holdout", self.holdout, "give a share in [0, 1)")
        _require(
            not self.held_out or bool(self.held_out_values),
            "evaluate.held_out",
            self.held_out,
            "give a value of the column input.split, or several apart by commas",
        )
        if self.holdout and self.held_out:
            raise ConfigError(
                f"evaluate.holdout is {self.holdout} and evaluate.held_out is {self.held_out!r}; draw "
                "the edges held out by the one, or name them by the other, and leave one out"
            )
        _require(self.max_pairs >= 10, "evaluate.max_pairs", self.max_pairs, "give 10 or more")
        _require(
            0 <= self.max_ranked <= 20_000, "evaluate.max_ranked", self.max_ranked, "give a number from 0 to 20,000"
        )


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    max_drop: float = 1.0  # share of its last published value that a measure may fall by; 1: nothing is compared
    measures: str = "auc, mrr_of_101, micro_f1, nodes, edges"  # of links, labels and the graph; those the run has

    @property
    def names(self) -> tuple[str, ...]:
        """The measures, blanks around them left out."""
        return tuple(name.strip() for name in self.measures.split(",") if name.strip())

    def __post_init__(self) -> None:
        _require(0 <= self.max_drop <= 1, "gate.max_drop", self.max_drop, "give a share in [0, 1], as in 0.05")
        _require(bool(self.names), "gate.measures", self.measures, "give one measure, or several apart by commas")
        for name in self.names:
            _require_name(name, "gate.measures", MEASURES)


@dataclass(frozen=True, kw_only=True)
class PruneConfig:
    keep: int = 7  # published runs kept, the newest; runs that one of them names are kept with it
    unpublished_days: float = 7.0  # a run that never was published is removed when its last step is older
    vacuum_hours: float = 168.0  # files that no table needs are deleted when they are older; Delta allows no less

    def __post_init__(self) -> None:
        _require(self.keep >= 1, "prune.keep", self.keep, "give 1 or more; the newest published run always stays")
        _require(
            self.unpublished_days >= 1,
            "prune.unpublished_days",
            self.unpublished_days,
            "give 1 or more; a younger run may still be at work",
        )
        _require(
            self.vacuum_hours >= 168,
            "prune.vacuum_hours",
            self.vacuum_hours,
            "give 168 (a week) or more; a reader of an older version would lose its files",
        )
