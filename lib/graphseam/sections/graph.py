"""Sections for the input, the output, and the run as a whole."""

from __future__ import annotations

import re
from dataclasses import dataclass

from graphseam.errors import ConfigError
from graphseam.sections.checks import check_run_id, duration, point_in_time, require, require_name

ENCODINGS = ("utf-8", "iso-8859-1", "windows-1252")
FORMATS = ("auto", "parquet", "csv", "delta")
ID_TYPES = ("auto", "integer", "string")
CATALOG = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}(\.[A-Za-z_][A-Za-z0-9_]{0,127}){0,1}")


@dataclass(frozen=True, kw_only=True)
class InputConfig:
    graphframe: str = ""  # directory with `edges` and `vertices`, as a GraphFrame is saved; replaces edges, nodes
    edges: str = ""  # file, directory or glob; any address Spark can read
    format: str = "auto"  # parquet, csv (any delimiter, gzip, SNAP comments), delta; auto detects it
    src: str = "src"  # column of one end; in a file without header, its position from 0
    dst: str = "dst"  # column of the other end
    weight: str = ""  # column of the weight; empty: every edge weighs 1
    split: str = ""  # column that separates held-out edges (evaluate.held_out) from those to embed; empty: none
    time: str = ""  # column with the time of each edge: a timestamp, a date, or a number, such as seconds since 1970
    until: str = ""  # edges after this time are left out, as 2026-11-29; empty: none, and ages count from the newest
    window: str = ""  # edges older than this are left out: 90d, 12h, or a number in the unit of the column; empty: none
    half_life: str = ""  # weights halve with each such age, as 30d; empty: they do not fade
    directed: bool = False  # true keeps src -> dst in `edges`; deepwalk, node2vec, line follow it, all else ignores it
    header: str = "auto"  # csv only: true, false, or auto (a header is a first line that names src and dst)
    comment: str = "#%"  # csv only: lines that begin with one of these characters are skipped; empty: none
    delimiter: str = ""  # csv only; empty: detected from the first line
    encoding: str = "utf-8"  # csv only: utf-8, iso-8859-1 (Latin-1) or windows-1252; rows that are not are set aside
    multiline: bool = False  # csv only: quoted fields may hold line breaks; a file is then read by a single task
    id_type: str = "auto"  # integer, string, or auto (integer when at least 9 of 10 ids are, none like 00042)
    nodes: str = ""  # optional table of nodes, for those without an edge
    node: str = "node"  # its id column, and that of `labels`
    labels: str = ""  # optional table of labels: one row per label of a node
    label: str = "label"  # its label column
    node_type: str = ""  # a column of `nodes` with the type of each node, such as user or item
    pairs: str = ""  # optional table of pairs (columns `src` and `dst`) to predict links for

    def __post_init__(self) -> None:
        self._take_graphframe()
        require_name(self.format, "input.format", FORMATS)
        require_name(self.id_type, "input.id_type", ID_TYPES)
        require_name(self.header, "input.header", ("auto", "true", "false"))
        encoding = self.encoding.lower()
        object.__setattr__(self, "encoding", {"latin-1": "iso-8859-1", "utf8": "utf-8"}.get(encoding, encoding))
        require_name(self.encoding, "input.encoding", ENCODINGS)
        require(self.src != self.dst, "input.dst", self.dst, "give another column than input.src, or edges are loops")
        require(
            not (self.multiline and self.delimiter == r"\s+"),
            "input.multiline",
            self.multiline,
            "give input.delimiter a character: between blanks nothing is quoted",
        )
        require(
            len(self.delimiter) <= 1 or self.delimiter == r"\s+",
            "input.delimiter",
            self.delimiter,
            r'give one character ("\t" in quotes for a tab), or "\\s+" for any blanks',
        )
        require(
            self.delimiter not in ('"', "\\", "\r", "\n"),
            "input.delimiter",
            self.delimiter,
            "give a character that neither quotes nor ends a line",
        )
        for key, read in (("until", point_in_time), ("window", duration), ("half_life", duration)):
            if getattr(self, key):
                read(f"input.{key}", getattr(self, key))
                require(bool(self.time), f"input.{key}", getattr(self, key), "give input.time too, the column of times")

    @property
    def weighted(self) -> bool:
        """Whether edges weigh differently."""
        return bool(self.weight or self.half_life)

    def _take_graphframe(self) -> None:
        """Fill in the keys that `graphframe` implies; they may already be filled in, as in the record of a run."""
        if not self.graphframe:
            return
        folder = self.graphframe.rstrip("/")
        for name, value in (("edges", f"{folder}/edges"), ("nodes", f"{folder}/vertices")):
            given = getattr(self, name)
            require(given in ("", value), f"input.{name}", given, f"leave it out, as input.graphframe gives {value!r}")
            object.__setattr__(self, name, value)
        if self.node == "node":
            object.__setattr__(self, "node", "id")


@dataclass(frozen=True, kw_only=True)
class OutputConfig:
    root: str = ""  # directory that holds one Delta table per name
    catalog: str = ""  # or a catalog's schema, such as "prod.graphs", instead of a directory
    report: bool = True  # write a page about each run, root/reports/<run id>.html; none where a catalog has the tables

    def __post_init__(self) -> None:
        if self.root and self.catalog:
            raise ConfigError("output.root and output.catalog are both set; give one of them")
        if self.catalog:
            require(
                CATALOG.fullmatch(self.catalog) is not None,
                "output.catalog",
                self.catalog,
                "give a schema as `name` or `catalog.name`, in letters, digits and underscores",
            )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    seed: int = 0  # any 64-bit integer
    base: str = ""  # bring the vectors into the frame of this published run; "auto": of the newest that fits
    incremental: bool = False  # keep the base's subgraphs and update its vectors where the graph has changed
    check_disk: bool = True  # refuse, on one machine, steps that are forecast to need more disk than is free
    in_one_task: bool = True  # on one machine, let one task ingest a graph that it can hold, find links, keep a base
    executors_within_s: int = 1800  # on a cluster: give up if no executor has accepted the request by then
    task_memory_mb: int = 0  # of one task, checked against forecasts; 0: 4096 on a cluster, locally what can be spared

    def __post_init__(self) -> None:
        if self.base:
            check_run_id(self.base)
        require(
            bool(self.base) or not self.incremental, "run.incremental", self.incremental, 'give run.base too, as "auto"'
        )
        require(-(1 << 63) <= self.seed < 1 << 63, "run.seed", self.seed, "give a whole number of 64 bits")
        require(self.executors_within_s > 0, "run.executors_within_s", self.executors_within_s, "give seconds above 0")
        require(
            self.task_memory_mb == 0 or self.task_memory_mb >= 64,
            "run.task_memory_mb",
            self.task_memory_mb,
            "give 0 (automatic) or at least 64",
        )
