"""A calibration as a run takes it up: what it says of the labels, and whether it is of the same checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from engine._version import __version__
from engine.config import RunConfig
from engine.quality.figures import Figure, told

FILE = "calibration.json"
UNKNOWN = "how many labels of the accepted items are right is not known; `datagen calibrate` measures it"


@dataclass(frozen=True)
class Calibrated:
    """The content of a calibration.json."""

    data: Mapping[str, Any]

    @staticmethod
    def about(config: RunConfig, same: str | None) -> dict[str, Any]:
        """What a calibration is of: whoever takes it up compares it with its own config."""
        models = config.purpose_models()
        return {
            "engine_version": __version__,
            "seed": config.seed,
            "model": config.main.name,
            "models": {route: model.name for route, model in models.items()},
            "description": config.dataset.description,
            "validators": [spec.model_dump(mode="json", exclude={"workers"}) for spec in config.validators],
            "groupcheck": same,
        }

    @classmethod
    def read(cls, config: RunConfig) -> Calibrated | None:
        """That of the config; None where it names none. Raises ConfigError for a file that is none."""
        path = config.quality.calibration
        if path is None:
            return None
        place = path / FILE if path.is_dir() else path
        try:
            data = orjson.loads(place.read_bytes())
            return cls._whole(data)
        except OSError as error:
            said = f"{place}: cannot be read: {error.strerror}; `datagen calibrate` writes it"
        except (orjson.JSONDecodeError, KeyError, TypeError):
            said = f"{place}: is no calibration; `datagen calibrate` writes one"
        raise config.wrong("quality.calibration", said)

    @classmethod
    def _whole(cls, data: Any) -> Calibrated:
        accepted = data["accepted"]
        for name in ("precision", "yield"):
            _ = accepted[name]["low"], accepted[name]["high"], accepted[name]["of"]
        _ = [each["usd"] for each in data["steps"].values()], data["cases"].items(), accepted["usd_per_item"]
        _ = data["validators"], data["model"], data["rows"], data["raw"]["share"]
        return cls(data)

    @property
    def precision(self) -> Figure:
        """The share of right labels among what the checks accept."""
        return dict(self.data["accepted"]["precision"])

    @property
    def acceptance(self) -> Figure:
        """The share of items that the checks accept."""
        return dict(self.data["accepted"]["yield"])

    @property
    def known(self) -> bool:
        """Whether it says anything of labels."""
        return bool(self.precision["of"])

    def sentence(self) -> str:
        """'labels of the accepted items: 0.91 right (0.87 to 0.94), from 200 items with known labels'."""
        figure = self.precision
        value, _, interval = told(figure).partition(" ")
        return (
            f"labels of the accepted items: {value} right {interval}, from {self.data['rows']:,} items with known "
            "labels"
        )

    def section(self, config: RunConfig) -> dict[str, Any]:
        """The report's section."""
        return {
            "said": self.sentence() if self.known else UNKNOWN,
            "labels_right": self.precision if self.known else None,
            "rows": self.data["rows"],
            "differs": list(self.differences(config)),
        }

    def differences(self, config: RunConfig) -> Iterator[str]:
        """How the config differs from what was calibrated; the figures are of other checks then."""
        now = self.about(config, self.data.get("groupcheck"))
        if now["model"] != self.data["model"]:
            yield f"the model is {now['model']}, and was {self.data['model']}"
        if now["validators"] != self.data["validators"]:
            before = ", ".join(str(each["name"]) for each in self.data["validators"]) or "none"
            yield f"the validators, or their options, differ (they were: {before})"
        if now["models"] != self.data.get("models"):
            yield "other models serve single purposes"


def section_of(config: RunConfig, found: Calibrated | None) -> dict[str, Any]:
    """The report's section of a run that generates: without a calibration it says that nothing is known."""
    if found is not None:
        return found.section(config)
    if config.dataset.fields.label is None and not config.dataset.fields.all_labels:
        return {}
    return {"said": UNKNOWN, "labels_right": None, "rows": 0, "differs": []}
