"""How a dataset's fields map to the parts of an item: the config's names, and what the rows have shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.config import FieldsConfig
from engine.dataset.chats import ChatStyle
from engine.dataset.labels import LabelStyle
from engine.dataset.pairs import PairStyle
from engine.dataset.shape import Shape
from engine.schema.columns import Schema


@dataclass(frozen=True)
class Mapped:
    """What reading and writing items of a dataset go by."""

    config: FieldsConfig
    style: LabelStyle = field(default_factory=LabelStyle)
    shape: Shape = field(default_factory=Shape)
    schema: Schema = field(default_factory=Schema)
    chat: ChatStyle = field(default_factory=ChatStyle)
    pair: PairStyle = field(default_factory=PairStyle)
    several: frozenset[str] = frozenset()
    """Names of the labels that are lists."""
    spoken: Mapping[str, str] = field(default_factory=dict)
    """Text parts that are lists of one message, and whose it is."""
