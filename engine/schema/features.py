"""Features of Hugging Face's `datasets`: read from a file's metadata or a repository's card, and written back.

The forms are those that the library writes: JSON under `huggingface` in an Arrow schema
(`Features.to_dict`), and the list under `dataset_info` in a card.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.schema.columns import CLASS_LABEL, Column, Schema
from engine.schema.types import STRING, Type

Features = dict[str, Any]
_DTYPES: Mapping[str, str] = {
    "float64": "double",
    "float32": "float",
    "float16": "halffloat",
    "date32": "date32[day]",
    "date64": "date64[ms]",
}
_NAMES: Mapping[str, str] = {ours: theirs for theirs, ours in _DTYPES.items()}


def with_features(schema: Schema, features: Features | None) -> Schema:
    """The schema with the names of its class labels, and the types that features state."""
    columns = dict(schema.columns)
    for name, feature in (features or {}).items():
        known = columns.get(name)
        type, names = type_of_feature(feature), names_of(feature)
        if known is None or known.type.name == "null":
            columns[name] = Column(type, names=names)
        elif names:
            columns[name] = Column(known.type, known.nullable, names=names)
    return Schema(columns, schema.arrow)


def names_of(feature: Any) -> tuple[str, ...]:
    """The names of a class label, or of a list of them."""
    if isinstance(feature, list) and len(feature) == 1:
        return names_of(feature[0])
    if not isinstance(feature, Mapping):
        return ()
    if feature.get("_type") == CLASS_LABEL:
        return tuple(map(str, feature.get("names") or ()))
    if "feature" in feature and feature.get("_type") in ("List", "Sequence", "LargeList"):
        return names_of(feature["feature"])
    return ()


def type_of_feature(feature: Any) -> Type:
    if isinstance(feature, list) and len(feature) == 1:
        return Type("list", type_of_feature(feature[0]))
    if not isinstance(feature, Mapping):
        return Type("json")
    match feature.get("_type"):
        case "Value":
            dtype = str(feature.get("dtype", "string"))
            return Type(_DTYPES.get(dtype, dtype))
        case "ClassLabel":
            return Type("int64")
        case "List" | "LargeList":
            return Type("list", type_of_feature(feature["feature"]))
        case "Sequence":  # of an object, the older library means an object of lists
            inner = type_of_feature(feature["feature"])
            if inner.name == "struct":
                return Type("struct", None, tuple((name, Type("list", each)) for name, each in inner.fields))
            return Type("list", inner)
        case None:
            return Type("struct", None, tuple((str(n), type_of_feature(i)) for n, i in feature.items()))
    return Type("json")


def from_card(listed: Any) -> Features | None:
    """Features in the form of a card, as those of a file; None where they are in no form that is known."""
    if not isinstance(listed, list):
        return None
    try:
        return {str(each["name"]): _from_card(each) for each in listed}
    except (KeyError, TypeError, ValueError):
        return None


def _from_card(entry: Mapping[str, Any]) -> Any:
    if "struct" in entry:
        return from_card(entry["struct"])
    for key in ("list", "sequence"):
        if key in entry:
            inner = entry[key]
            if isinstance(inner, str):
                inner = {"dtype": inner}
            feature = from_card(inner) if isinstance(inner, list) else _from_card(inner)
            if key == "sequence" and isinstance(inner, list):
                return {name: {"feature": each, "_type": "List"} for name, each in (feature or {}).items()}
            return {"feature": feature, "_type": "List"}
    if "dtype" not in entry and "class_label" in entry:
        entry = {"dtype": {"class_label": entry["class_label"]}}
    dtype = entry["dtype"]
    if isinstance(dtype, Mapping):
        if "class_label" in dtype:
            names = dtype["class_label"]["names"]
            listed = [names[key] for key in sorted(names, key=int)] if isinstance(names, Mapping) else names
            return {"names": list(map(str, listed)), "_type": CLASS_LABEL}
        return _from_card(dtype)
    if dtype == "json":
        return {"_type": "Json"}
    return {"dtype": str(dtype), "_type": "Value"}


def features_of(schema: Schema) -> Features:
    """The features that `datasets` gives to columns of these types."""
    return {name: _feature(column.type, column.names) for name, column in schema.columns.items()}


def _feature(type: Type, names: tuple[str, ...] = ()) -> Any:
    if type.inner is not None:
        return {"feature": _inner_feature(type.inner, names), "_type": "List"}
    if names:
        return {"names": list(names), "_type": CLASS_LABEL}
    if type.name == "struct":
        return {name: _inner_feature(inner) for name, inner in type.fields}
    if type.name == "json":
        return {"_type": "Json"}
    return {"dtype": _NAMES.get(type.name, type.name), "_type": "Value"}


def _inner_feature(type: Type, names: tuple[str, ...] = ()) -> Any:
    """Of a part that is always null, as engine.schema.arrow writes it: text."""
    return _feature(STRING if type.name == "null" and not names else type, names)


def card_form(features: Features) -> list[dict[str, Any]]:
    """Features in the form of a card."""
    return [{"name": name, **_card_entry(feature)} for name, feature in features.items()]


def _card_entry(feature: Any) -> dict[str, Any]:
    match feature.get("_type"):
        case "Value":
            return {"dtype": feature["dtype"]}
        case "ClassLabel":
            return {
                "dtype": {"class_label": {"names": {str(n): each for n, each in enumerate(feature["names"])}}}
            }
        case "List":
            inner = _card_entry(feature["feature"])
            return {"list": inner["dtype"] if inner.keys() == {"dtype"} else inner.get("struct", inner)}
        case "Json":
            return {"dtype": "json"}
    return {"struct": card_form(feature)}
