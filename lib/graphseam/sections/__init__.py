"""The sections of a configuration: one frozen dataclass each, which validates itself."""

from graphseam.sections.checks import RUN_ID, check_run_id
from graphseam.sections.embedding import BORDER, NO_START, EmbedConfig, FuseConfig, PartitionConfig, RefineConfig
from graphseam.sections.graph import InputConfig, OutputConfig, RunConfig
from graphseam.sections.prediction import (
    EvaluateConfig,
    LinksConfig,
    NodesConfig,
    PlaceConfig,
    PredictConfig,
    SimilarConfig,
)
from graphseam.sections.upkeep import GateConfig, PruneConfig

__all__ = [
    "BORDER",
    "NO_START",
    "RUN_ID",
    "EmbedConfig",
    "EvaluateConfig",
    "FuseConfig",
    "GateConfig",
    "InputConfig",
    "LinksConfig",
    "NodesConfig",
    "OutputConfig",
    "PartitionConfig",
    "PlaceConfig",
    "PredictConfig",
    "PruneConfig",
    "RefineConfig",
    "RunConfig",
    "SimilarConfig",
    "check_run_id",
]
