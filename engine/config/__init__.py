"""Every setting of a run: its unit, default and allowed values. One file for each part of a config."""

from engine.config.dataset import ChoicesField, DatasetConfig, FieldsConfig, LabelField
from engine.config.generate import GenerateConfig
from engine.config.model import ModelConfig
from engine.config.reading import Format, ReadingConfig
from engine.config.run import RunConfig

__all__ = [
    "ChoicesField",
    "DatasetConfig",
    "FieldsConfig",
    "Format",
    "GenerateConfig",
    "LabelField",
    "ModelConfig",
    "ReadingConfig",
    "RunConfig",
]
