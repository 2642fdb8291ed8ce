"""Every setting of a run: its unit, default and allowed values. One file for each part of a config."""

from engine.config.dataset import ChoicesField, DatasetConfig, FieldsConfig, LabelField, MessagesField
from engine.config.diversity import AttributeConfig, EmbeddingConfig, GroupCheckConfig
from engine.config.evaluate import EvaluateConfig
from engine.config.generate import GenerateConfig
from engine.config.model import ModelConfig
from engine.config.observe import NotifyConfig, ObserveConfig, TrackConfig
from engine.config.parts import PriceConfig
from engine.config.quality import QualityConfig
from engine.config.reading import Format, ReadingConfig
from engine.config.run import BatchConfig, HedgeConfig, LimitsConfig, RunConfig, ValidatorConfig
from engine.config.simulator import SimulatorConfig
from engine.config.spread import SpreadConfig

__all__ = [
    "AttributeConfig",
    "BatchConfig",
    "ChoicesField",
    "DatasetConfig",
    "EmbeddingConfig",
    "EvaluateConfig",
    "FieldsConfig",
    "Format",
    "GenerateConfig",
    "GroupCheckConfig",
    "HedgeConfig",
    "LabelField",
    "LimitsConfig",
    "MessagesField",
    "ModelConfig",
    "NotifyConfig",
    "ObserveConfig",
    "PriceConfig",
    "QualityConfig",
    "ReadingConfig",
    "RunConfig",
    "SimulatorConfig",
    "SpreadConfig",
    "TrackConfig",
    "ValidatorConfig",
]
