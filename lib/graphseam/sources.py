"""Inspect input files before Spark reads them: their format, their columns, and clear errors if they cannot work."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from graphseam.columns import OPTIONAL
from graphseam.errors import InputError, nearest
from graphseam.files import is_remote, local_files, local_path
from graphseam.sections import InputConfig

WHITESPACE = r"\s+"  # as a delimiter: any run of blanks and tabs
GML = re.compile(r"graph\s*\[|graph$|creator\s+\"", re.I)
JSON = re.compile(r"[{\[]\s*(\"|\{|\[|$)")  # an id may begin with a bracket, as GUIDs in braces and [deleted] do
NETWORKX_DATA = re.compile(r"^\S+[\s,]+\S+[\s,]+\{\s*['\"]")  # 1 2 {'weight': 0.5}; an empty {} loses nothing
MATRIX_MARKET = "%%matrixmarket matrix coordinate"
OPENERS: dict[str, Callable[..., IO[str]]] = {".gz": gzip.open, ".bz2": bz2.open}  # what Spark opens too


@dataclass(frozen=True)
class Source:
    """One inspected input: what Spark needs in order to read it."""

    name: str  # edges, nodes, labels or pairs
    path: str
    format: str  # parquet, csv or delta
    columns: tuple[str, ...]  # of a csv: the header's names, or "0", "1", … where there is none
    delimiter: str = ""  # of a csv; WHITESPACE or one character
    header: str | None = None  # the header line itself
    size_line: str | None = None  # of a MatrixMarket file: rows, columns and entries, which are no edge

    def column(self, wanted: str, key: str) -> str:
        """`wanted` if the source has it, once; otherwise InputError with the nearest name."""
        if self.columns.count(wanted) == 1:
            return wanted
        if wanted in self.columns:
            raise InputError(
                f"{self.path} has {self.columns.count(wanted)} columns {wanted!r} ({key}); name them apart"
                + (", or give a position from 0 and set input.header = false" if self.format == "csv" else "")
            )
        missing = f"{self.path} has no column {wanted!r} ({key})."
        known = nearest(wanted, self.columns)
        if self.format != "csv":
            raise InputError(missing + known)
        if self.header is None:
            raise InputError(f"{missing} The file has no header: give a position from 0.{known}")
        raise InputError(f"{missing}{known} If these are no names but data, set input.header = false.")


def find_format(path: str, files: list[Path], key: str) -> str:
    """parquet, csv or delta, by the content of the files rather than their names."""
    if Path(local_path(path), "_delta_log").is_dir():
        return "delta"
    try:
        with files[0].open("rb") as stream:
            start = stream.read(4096)
    except OSError as error:
        raise InputError(f"{files[0]} ({key}) cannot be read: {error.strerror}") from None
    if start[:4] == b"PAR1":
        return "parquet"
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{files[0]} ({key}) is UTF-16 text; convert it, as by: iconv -f UTF-16 -t UTF-8")
    if files[0].suffix not in OPENERS and b"\0" in start:
        raise InputError(f"{files[0]} ({key}) is neither Parquet nor text; give Parquet, CSV, TSV or a Delta table")
    return "csv"


def parquet_columns(file: Path, key: str) -> tuple[str, ...]:
    try:
        return tuple(pq.read_schema(file).names)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{file} ({key}) is not a readable Parquet file: {_first_line(error)}") from None


def first_text_lines(file: Path, key: str, comment: str, count: int = 5, encoding: str = "utf-8") -> list[str]:
    """The first lines that are neither blank nor comments: lines that begin with a character of `comment`.

    Errors: InputError if they cannot be read, or are not text in the encoding.
    """
    opener = OPENERS.get(file.suffix, open)
    lines: list[str] = []
    try:
        with opener(file, "rt", encoding=python_encoding(encoding)) as stream:
            for line in stream:
                if line.strip() and not line.startswith(tuple(comment)):
                    lines.append(line.rstrip("\r\n"))
                if len(lines) == count:
                    break
    except UnicodeDecodeError as error:
        found = error.object[max(0, error.start - 20) : error.start + 20]
        raise InputError(
            f"{file} ({key}) is not {encoding} text: {found!r} holds the byte 0x{error.object[error.start]:02x}; set "
            'input.encoding to what it is, as "windows-1252" for most files of Windows in Western Europe, or convert it'
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{file} ({key}) cannot be read: {_first_line(error)}") from None
    if not lines:
        raise InputError(f"{file} ({key}) holds no data line, only blank lines and comments (input.comment)")
    return lines


def python_encoding(encoding: str) -> str:
    """Python's name of input.encoding, which leaves out a mark at the beginning of the file."""
    return "utf-8-sig" if encoding == "utf-8" else encoding


def likely_encoding(file: Path) -> str:
    """utf-8, if the first megabyte of a text file is or cannot be read, which `inspect` tells; else windows-1252."""
    opener: Callable[..., IO[bytes]] = OPENERS.get(file.suffix, open)
    try:
        with opener(file, "rb") as stream:
            start = stream.read(1 << 20)
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return "windows-1252"
    except (OSError, EOFError, zlib.error):
        pass
    return "utf-8"


def refuse_known_formats(lines: list[str], where: str) -> None:
    """InputError if the first lines are of a format that graphs are exchanged in, but not as one edge per line.

    where: the file and its key, for the message.
    """
    start = lines[0].strip()
    found = ""
    if start.lower().startswith(("<?xml", "<graphml", "<gexf")):
        found = "XML, as GraphML and GEXF are"
    elif GML.match(start) and (start.lower() != "graph" or lines[1:2] == ["["]):
        found = "GML"
    elif start.lower().startswith(("*vertices", "*network")):
        found = "a Pajek file"
    elif JSON.match(start):
        found = "JSON"
    if found:
        raise InputError(f"{where} looks like {found}; write it as text, one edge (or node) per line, or as Parquet")
    if any(NETWORKX_DATA.search(line) for line in lines):
        raise InputError(
            f"{where} is an edge list of networkx with data ({lines[0].strip()[:60]!r}); write it by "
            "nx.write_weighted_edgelist, or the weights are lost"
        )


def text_source(name: str, path: str, lines: list[str], wanted: Iterable[str], config: InputConfig) -> Source:
    """What the first lines of a text file show: delimiter, header or none, columns.

    A header is a first line that names one of the `wanted` columns. A first line without a number in its first two
    fields looks like a header that names other columns: it is taken as one, and `Source.column` reports what it lacks.
    """
    delimiter = config.delimiter or _find_delimiter(lines[0])
    fields = split_line(lines[0], delimiter)
    named = any(column in fields for column in wanted if not column.isdigit())  # digits are a position
    looks_named = not any(_is_number(field) for field in fields[:2])
    if config.header == "true" or (config.header == "auto" and (named or looks_named)):
        return Source(name, path, "csv", tuple(fields), delimiter, header=lines[0])
    return Source(name, path, "csv", tuple(str(place) for place in range(len(fields))), delimiter)


def split_line(line: str, delimiter: str) -> list[str]:
    if delimiter == WHITESPACE:
        return line.split()
    try:
        return [field.strip() for field in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]
    except csv.Error:  # a field of more than 131,072 characters
        return line.split(delimiter)


def _find_delimiter(line: str) -> str:
    return next((mark for mark in ("\t", ",", ";", "|") if mark in line), WHITESPACE)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def inspect(name: str, path: str, wanted: Iterable[str], config: InputConfig) -> Source | None:
    """The source at a local path, inspected without Spark; None if only Spark can open it.

    A Delta table's columns are checked when Spark reads them. Errors: InputError names the path and its key.
    """
    key = f"input.{name}"
    if is_remote(path):
        return None
    files = local_files(path, key)
    kind = config.format if config.format != "auto" and name == "edges" else find_format(path, files, key)
    if kind == "delta":
        if not Path(local_path(path), "_delta_log").is_dir():
            raise InputError(f"{path!r} ({key}) is no Delta table: it has no _delta_log directory")
        return None
    if kind == "parquet":
        return Source(name, path, "parquet", parquet_columns(files[0], key))
    lines = first_text_lines(files[0], key, config.comment, encoding=config.encoding)
    refuse_known_formats(lines, f"{files[0]} ({key})")
    if first_text_lines(files[0], key, "", 1, config.encoding)[0].lower().startswith(MATRIX_MARKET):
        return _matrix_market(name, path, lines, config)
    return text_source(name, path, lines, wanted, config)


def _matrix_market(name: str, path: str, lines: list[str], config: InputConfig) -> Source:
    """A coordinate file of MatrixMarket: its first line that is no comment tells the size, and is no edge."""
    if "%" not in config.comment:
        raise InputError(
            f"{path} (input.{name}) is a MatrixMarket file, whose comments begin with %; add % to input.comment"
        )
    fields = lines[1].split() if len(lines) > 1 else ["0", "1"]
    return Source(name, path, "csv", tuple(map(str, range(len(fields)))), WHITESPACE, size_line=lines[0])


def check_inputs(config: InputConfig) -> None:
    """Check everything about the inputs that can be checked before Spark starts.

    Errors: InputError names the path, what it holds, and the key to change.
    """
    for name, path, columns in inputs(config):
        source = inspect(name, path, columns.values(), config)
        if source is not None:
            for key, column in columns.items():
                source.column(positional(source, column, key), f"input.{key}")


def inputs(config: InputConfig) -> list[tuple[str, str, dict[str, str]]]:
    """(name, path, {key: column}) of each input that the configuration names."""
    ends = {"src": config.src, "dst": config.dst}
    others = {key: getattr(config, key) for key in OPTIONAL if getattr(config, key)}
    found = [("edges", config.edges, {**ends, **others})]
    if config.nodes:
        kinds = {"node_type": config.node_type} if config.node_type else {}
        found.append(("nodes", config.nodes, {"node": config.node, **kinds}))
    if config.labels:
        found.append(("labels", config.labels, {"node": config.node, "label": config.label}))
    if config.pairs:
        found.append(("pairs", config.pairs, {"src": config.src, "dst": config.dst}))
    return found


def positional(source: Source, column: str, key: str) -> str:
    """Without a header the default names mean the usual positions: src and node 0, dst and label 1, weight 2."""
    usual = {"src": "0", "node": "0", "dst": "1", "label": "1", "weight": "2"}
    if source.format == "csv" and source.header is None and column == key:
        return usual.get(key, column)
    return column
