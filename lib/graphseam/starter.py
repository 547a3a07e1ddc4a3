"""Look at a file of edges, and write a configuration to start from: `graphseam init`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from graphseam.config import config_of
from graphseam.errors import InputError
from graphseam.explain import toml_value
from graphseam.files import is_remote, local_files
from graphseam.sections import InputConfig
from graphseam.sources import OPENERS, Source, check_inputs, inspect, likely_encoding, python_encoding, split_line

LOOKED_AT = 10_000  # rows
ENDS = (
    ("src", "dst"), ("source", "target"), ("from", "to"), ("src_id", "dst_id"), ("source_id", "target_id"),
    ("from_id", "to_id"), ("fromnodeid", "tonodeid"), ("user", "item"), ("user_id", "item_id"),
    ("follower", "followee"), ("head", "tail"), ("node1", "node2"), ("node_1", "node_2"), ("id_1", "id_2"),
    ("u", "v"), ("a", "b"),
)  # fmt: skip
WEIGHTS = ("weight", "w", "count", "strength", "amount", "score", "value")
TIMES = ("time", "timestamp", "ts", "date", "datetime", "created_at")
NODES = ("node", "node_id", "id", "vertex", "user", "user_id")
LABELS = ("label", "class", "category", "target", "group", "type", "community")
OFFERED = {
    "weight": '# weight = "weight"         # the column of the weights, if edges have some\n',
    "labels": '# labels = "labels.csv"     # a table of node and label: the labels of the other nodes are predicted\n',
}
STARTER = """\
# Written by `graphseam init`; `graphseam config --explain input` explains these settings, and all others alike.

[input]
{found}
{more}# directed = true           # keep the direction: deepwalk, node2vec and line follow it

[output]
root = {root}             # a Delta table per directory, and reports/ with a page about each run

[evaluate]
holdout = 0.1               # a tenth of the edges is set aside to measure with; 0 embeds all of them

# [predict.links]
# top_k = 10                # predicted links per node; 0 saves their time

# [embed]
# dim = 128
"""
INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")  # comes back letter for letter


@dataclass(frozen=True)
class Found:
    """What a file holds. columns: {name, or its position: some of its values as text}. rows: of the whole file."""

    source: Source
    columns: dict[str, list[str]]
    rows: str
    encoding: str = "utf-8"

    def numbers(self, column: str) -> bool:
        return all(_is_number(value) for value in self.columns[column] if value)

    def named(self, known: Sequence[str]) -> str | None:
        """The column with one of the known names, whatever its case."""
        lower = {name.lower(): name for name in self.columns}
        return next((lower[name] for name in known if name in lower), None)


@dataclass(frozen=True)
class Starter:
    """A configuration to start from, and how it was come by. told: sentences for the reader."""

    text: str
    told: list[str]


def starter(edges: str, labels: str | None, root: str) -> Starter:
    """Look at the edges (and labels) and write the TOML that reads them, its choices explained.

    Reads the first 10,000 rows at most. Errors: InputError for a file that cannot be read or has only one column.
    """
    if is_remote(edges):
        raise InputError(f"{edges!r} can be opened by Spark only; copy conf/demo.toml and set input.edges, src and dst")
    found = look_at(edges, "edges")
    src, dst = find_ends(found)
    settings = {"edges": edges}
    told = [f"{edges}: {_kind(found)}, {found.rows}, columns {', '.join(found.columns)}"]
    if (src, dst) not in (("src", "dst"), ("0", "1")):
        settings |= {"src": src, "dst": dst}
    if found.encoding != "utf-8":
        settings["encoding"] = found.encoding
        told.append(f"it is not UTF-8, and read as {found.encoding} (input.encoding); look at a name with accents")
    told.append(f"edges join {_named(found, src)} and {_named(found, dst)}; ids are {_id_kind(found, src, dst)}")
    weight = found.named(WEIGHTS)
    if weight is not None and weight not in (src, dst) and found.numbers(weight):
        settings["weight"] = weight
        told.append(f"{_named(found, weight)} is taken as the weight; leave input.weight out if it is none")
    time = found.named(TIMES)
    if time is not None and time not in (src, dst):
        told.append(
            f"{_named(found, time)} looks like a time, which is not used: all edges count alike. input.time "
            "names it, input.window leaves out edges that are too old, input.half_life lets them fade"
        )
    if labels is not None:
        node, label = find_label_columns(look_at(labels, "labels"))
        settings |= {"labels": labels}
        settings |= {key: name for key, name in (("node", node), ("label", label)) if name not in (key, "0", "1")}
        told.append(f"{labels}: labels in {label!r} of the nodes in {node!r}")
    check_inputs(config_of({"input": settings, "output": {"root": root}}).input)
    return Starter(_toml(settings, root), told)


def look_at(path: str, name: str) -> Found:
    """The columns of a file and its first rows."""
    key = f"input.{name}"
    files = local_files(path, key)
    encoding = likely_encoding(files[0])
    source = inspect(name, path, (), InputConfig(edges=path, encoding=encoding))
    size = sum(file.stat().st_size for file in files)
    if source is None:
        raise InputError(f"{path!r} is a Delta table, which only Spark opens; copy conf/demo.toml and set {key}")
    if source.format == "parquet":
        rows = sum(pq.ParquetFile(file).metadata.num_rows for file in files)
        return Found(source, _parquet_values(files[0]), f"{rows:,} rows")
    fields, row_bytes = _text_values(files[0], source, encoding)
    read = max((len(values) for values in fields.values()), default=0)
    whole = len(files) == 1 and read < LOOKED_AT - 1000  # comments and a header are among the lines looked at
    rows = f"{read:,} rows" if whole else f"about {_rounded(size / max(1.0, row_bytes)):,} rows"
    return Found(source, fields, rows, encoding)


def find_ends(found: Found) -> tuple[str, str]:
    """The columns that hold the two ends of an edge: by usual names, else the first two."""
    if len(found.columns) < 2:
        raise InputError(
            f"{found.source.path!r} has one column, {next(iter(found.columns))!r}; an edge needs two. If "
            "something unusual separates them, write the configuration by hand, with input.delimiter"
        )
    for pair in ENDS:
        ends = found.named(pair[:1]), found.named(pair[1:])
        if ends[0] is not None and ends[1] is not None:
            return ends[0], ends[1]
    first, second = list(found.columns)[:2]
    return first, second


def find_label_columns(found: Found) -> tuple[str, str]:
    """(column of the node, column of its label): by usual names, else the first and the second."""
    columns = list(found.columns)
    if len(columns) < 2:
        raise InputError(f"{found.source.path!r} (labels) has one column; it needs a node and its label in each row")
    node = found.named(NODES) or columns[0]
    others = [name for name in columns if name != node]
    label = found.named([name for name in LABELS if name != node.lower()]) or others[0]
    return node, label


def _parquet_values(file: Path) -> dict[str, list[str]]:
    batch = next(pq.ParquetFile(file).iter_batches(LOOKED_AT), None)
    schema = pq.read_schema(file)
    if batch is None:
        return {name: [] for name in schema.names}
    plain = [at for at, kind in enumerate(batch.schema) if not pa.types.is_nested(kind.type)]
    return {
        batch.schema.names[at]: [str(value) for value in batch.column(at).to_pylist() if value is not None]
        for at in plain
    }


def _text_values(file: Path, source: Source, encoding: str) -> tuple[dict[str, list[str]], float]:
    """({column: values}, mean bytes of a row on disk) of the first rows."""
    opener: Callable[..., object] = OPENERS.get(file.suffix, open)
    with opener(file, "rt", encoding=python_encoding(encoding), errors="replace") as stream:  # type: ignore[attr-defined]
        lines = [line for line in islice(stream, LOOKED_AT) if line.strip() and line[0] not in "#%"]
    if source.header is not None or source.size_line is not None:
        lines = lines[1:]
    packed = 3.0 if file.suffix in OPENERS else 1.0  # a text of ids shrinks to about a third
    row_bytes = sum(len(line.encode()) for line in lines) / max(1, len(lines)) / packed
    rows = [split_line(line.rstrip("\r\n"), source.delimiter) for line in lines]
    return {name: [row[at] for row in rows if at < len(row)] for at, name in enumerate(source.columns)}, row_bytes


def _toml(settings: dict[str, str], root: str) -> str:
    """The file: what was found is set, what one is likely to want next stands there as a comment."""
    found = [f"{key} = {toml_value(value)}" for key, value in settings.items()]
    return STARTER.format(
        found="\n".join(found),
        more="".join(line for key, line in OFFERED.items() if key not in settings),
        root=toml_value(root),
    )


def _kind(found: Found) -> str:
    source = found.source
    if source.format == "parquet":
        return "Parquet"
    marks = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars", r"\s+": "blanks"}
    header = "a header" if source.header is not None else "no header"
    return f"text separated by {marks.get(source.delimiter, repr(source.delimiter))}, {header}"


def _named(found: Found, column: str) -> str:
    return f"column {column}" if found.source.header is None and found.source.format == "csv" else repr(column)


def _id_kind(found: Found, src: str, dst: str) -> str:
    values = [value for column in (src, dst) for value in found.columns[column]]
    whole = sum(bool(INTEGER.fullmatch(value)) for value in values)
    example = next(iter(values), "")
    if not values or whole == len(values):
        return f"whole numbers, such as {example}"
    if whole == 0:
        return f"text, such as {example!r}"
    return f"mixed: {whole:,} of the first {len(values):,} are whole numbers, the others text"


def _is_number(value: str) -> bool:
    try:
        return float(value) >= 0
    except ValueError:
        return False


def _rounded(count: float) -> int:
    """Two digits of a rough count."""
    return int(float(f"{count:.2g}"))


def write_starter(file: str, text: str) -> None:
    """InputError if the file is there already: it may hold someone's work."""
    place = Path(file)
    if place.exists():
        raise InputError(f"{file!r} is there already; give another name by --output")
    try:
        place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file!r} cannot be written: {error.strerror}") from None
