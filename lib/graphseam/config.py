"""Configuration: its sections, read once on the driver from TOML and `--set` overrides."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from graphseam.errors import ConfigError, nearest
from graphseam.sections import (
    EmbedConfig,
    EvaluateConfig,
    FuseConfig,
    GateConfig,
    InputConfig,
    OutputConfig,
    PartitionConfig,
    PlaceConfig,
    PredictConfig,
    PruneConfig,
    RefineConfig,
    RunConfig,
    check_run_id,
)

__all__ = ["Config", "check_run_id", "load_config"]

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True, kw_only=True)
class Config:
    input: InputConfig = field(default_factory=InputConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    run: RunConfig = field(default_factory=RunConfig)
    partition: PartitionConfig = field(default_factory=PartitionConfig)
    embed: EmbedConfig = field(default_factory=EmbedConfig)
    fuse: FuseConfig = field(default_factory=FuseConfig)
    refine: RefineConfig = field(default_factory=RefineConfig)
    predict: PredictConfig = field(default_factory=PredictConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    place: PlaceConfig = field(default_factory=PlaceConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    prune: PruneConfig = field(default_factory=PruneConfig)

    def __post_init__(self) -> None:
        if not self.input.edges:
            raise ConfigError("input.edges is not set; give the file or directory of the edges (or input.graphframe)")
        if not (self.output.root or self.output.catalog):
            raise ConfigError("output.root is not set; give the directory for the tables (or output.catalog)")
        if bool(self.input.split) != bool(self.evaluate.held_out):
            there, missing = (
                ("input.split", "evaluate.held_out") if self.input.split else ("evaluate.held_out", "input.split")
            )
            raise ConfigError(
                f"{there} is set and {missing} is not; give both, the column and the values in it that "
                "mark held-out edges, or neither"
            )
        self._check_links()

    def _check_links(self) -> None:
        links = self.predict.links
        if (links.candidates == "pairs") != bool(self.input.pairs):
            raise ConfigError(
                'predict.links.candidates = "pairs" and input.pairs belong together; one of them is not set'
            )
        if self.input.node_type and not self.input.nodes:
            raise ConfigError("input.node_type is set, and input.nodes is not; give the table that has the column")
        if (links.src_type or links.dst_type) and not self.input.node_type:
            raise ConfigError(
                "predict.links.src_type or dst_type is set, and input.node_type is not; give the column "
                "of input.nodes that holds the types"
            )

    @property
    def holds_out(self) -> bool:
        """Whether edges are set aside, drawn or given, so that link prediction can be measured."""
        return bool(self.evaluate.holdout or self.evaluate.held_out)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


# Keys of text whose values TOML may read as numbers or dates.
UNQUOTED = {
    f"input.{key}" for key in ("src", "dst", "weight", "split", "header", "time", "until", "window", "half_life")
}
UNQUOTED.add("evaluate.held_out")
PASSWORD = re.compile(r"://[^/@\s:]*:[^/@\s]*@")


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration in a TOML file, with `section.key=value` overrides applied.

    An override's value is read as TOML or, if that fails, as plain text. Errors: ConfigError names the key.
    """
    try:
        tree = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration file {str(path)!r}; see conf/demo.toml for one") from None
    except IsADirectoryError:
        raise ConfigError(f"{str(path)!r} is a directory; give a TOML file, such as conf/demo.toml") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    except (OSError, ValueError) as error:  # no permission, or a name that is too long or has a NUL in it
        raise ConfigError(
            f"the configuration file {str(path)[:200]!r} cannot be opened: {getattr(error, 'strerror', None) or error}"
        ) from None
    for override in overrides:
        _apply(tree, override)
    config: Config = _build(Config, tree, prefix="")
    _refuse_passwords(config)
    return config


def _refuse_passwords(config: Config) -> None:
    """ConfigError for an address with a password in it: tables, plans and logs keep addresses."""
    places = {f"input.{key}": getattr(config.input, key) for key in ("graphframe", "edges", "nodes", "labels", "pairs")}
    for key, address in {**places, "output.root": config.output.root}.items():
        if PASSWORD.search(address):
            raise ConfigError(
                f"{key} is {PASSWORD.sub('://***@', address)!r}, with a password in it, which tables and logs would "
                "keep; leave it out, and give it to Spark, as in spark.hadoop.fs.s3a.secret.key"
            )


def config_of(tree: dict[str, Any], overrides: Sequence[str] = ()) -> Config:
    """The configuration of a tree {section: {key: value}}, as `to_json` writes it, with overrides applied."""
    for override in overrides:
        _apply(tree, override)
    return _build(Config, tree, prefix="")


def _apply(tree: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    section, dot, name = key.strip().rpartition(".")
    if not (separator and dot and section and name):
        raise ConfigError(f"--set {override!r} cannot be read; write section.key=value, as in embed.dim=64")
    try:
        value: object = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    put(tree, section, name, value, f"--set {override!r}")


def put(tree: dict[str, Any], section: str, name: str, value: object, told: str) -> None:
    """Set a key of a tree, creating missing sections. told: how an error message begins."""
    for part in section.split("."):
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{told}: {part} is a value, not a section")
    tree[name] = value


def _build(section: type, tree: object, prefix: str) -> Any:
    name = prefix.rstrip(".") or "the file"
    if not isinstance(tree, dict):
        raise ConfigError(f"{name} is {tree!r}; write a section, [{name}]")
    types = get_type_hints(section)
    for key in tree:
        if key not in types:
            raise ConfigError(f"unknown key {prefix + key!r} in the configuration.{nearest(key, types)}")
    values = {key: _value(types[key], value, prefix + key) for key, value in tree.items()}
    return section(**values)


def _value(wanted: type, value: Any, key: str) -> Any:
    if dataclasses.is_dataclass(wanted):
        return _build(wanted, value, prefix=key + ".")
    if get_origin(wanted) is dict:  # a section whose keys are not known here; the enclosing section checks them
        if not isinstance(value, dict):
            raise ConfigError(f"{key} is {value!r}; write a section, [{key}]")
        return copy.deepcopy(value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted is str and isinstance(value, (int, bool)) and key in UNQUOTED:
        return str(value).lower()  # a column's position, or header = true, needs no quotes
    if wanted is str and isinstance(value, (datetime.date, float)) and key in UNQUOTED:
        return value.isoformat() if isinstance(value, datetime.date) else str(value)
    if type(value) is not wanted:
        kinds = {str: "text in quotes", int: "a whole number", float: "a number", bool: "true or false"}
        raise ConfigError(f"{key} is {value!r}; give {kinds[wanted]}")
    return value
