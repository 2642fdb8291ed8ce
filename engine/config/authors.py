"""Translates configs of the code of arXiv 2406.18966, and explains the outcome for each of their keys.

Their code is https://github.com/HowieHwong/UniGen; the notes on its keys hold for its published versions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

SECTIONS = (
    "api_settings", "generation_settings", "generation_hint", "dataset_configuration", "efficiency_configuration",
)  # fmt: skip
IGNORED = {
    "generation_settings.label_ratio": ("it was never read", "a constraint label_ratio"),
    "generation_settings.label_constraint": ("it was never read", "nothing more than label_ratio"),
    "generation_settings.fixed_example": ("it was never read", "nothing"),
    "generation_settings.temperature": ("requests took a function's default, 0.8", "generate.temperature"),
    "api_settings.openai_chat_model": ("the model's name stood in the code", "model.name"),
    "api_settings.base_url": ("it was commented out", "model.base_url"),
    "efficiency_configuration.learn_from_mistake": ("it was never read", "generate.learn_from_mistakes"),
    "efficiency_configuration.learn_from_human_feedback": (
        "nothing called it, and it answered itself with 'good'", "generate.feedback: human",
    ),
    "efficiency_configuration.feedback_iteration": (
        "it belongs to learn_from_human_feedback", "nothing: review as often as you like",
    ),
}  # fmt: skip
"""Keys that had no effect in their code: the reason, and what replaces them here."""
_GPT = "gpt-4-0125-preview"
_CLAUDE = "claude-3-opus-20240229"
_LLAMA = "meta-llama/Meta-Llama-3-70B-Instruct"
_LLAMA_HOST = "https://api.deepinfra.com/v1/openai"
_OPENAI = "https://api.openai.com/v1"
_EXTRACTED = 50
"""Number of examples that attributes are extracted from."""


@dataclass
class Translation:
    """Our settings, and a note for each of their keys that needs one. Mutable while it is built."""

    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Theirs:
    """Their settings, read key by key. Mutable state: the keys that have been read, and the notes."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = {name: part if isinstance(part, Mapping) else {} for name, part in raw.items()}
        if "generation_hint" not in self._raw:
            self._raw["generation_hint"] = self._raw.get("dataset_configuration", {})
        self._seen: set[str] = set()
        self.notes: list[str] = []

    def get(self, section: str, *names: str) -> Any:
        """The value of the first of these keys that is set; a placeholder counts as not set."""
        found_value = None
        for name in names:
            self._seen.add(f"{section}.{name}")
            value = self._raw.get(section, {}).get(name)
            if found_value is None and value is not None and not _placeholder(value):
                found_value = value
        return found_value

    def flag(self, section: str, *names: str) -> bool:
        return bool(self.get(section, *names))

    def note(self, key: str, said: str) -> None:
        self.notes.append(f"{key}: {said}")

    def finished(self) -> Iterator[str]:
        """The notes, then a note for each key that had no effect in their code and for each unknown key."""
        yield from self.notes
        for section in SECTIONS:
            for name, value in self._raw.get(section, {}).items():
                key = f"{section}.{name}"
                if key in IGNORED and value not in (None, False) and not _placeholder(value):
                    why, here = IGNORED[key]
                    yield f"{key}: had no effect in the authors' code ({why}); here it is {here}"
                elif key not in self._seen and section != "dataset_configuration":
                    yield f"{key}: not known; left out"


def _placeholder(value: Any) -> bool:
    return isinstance(value, str) and value.strip().casefold().replace("_", "-").startswith(
        ("your-", "https://your-")
    )


def is_theirs(raw: Any) -> bool:
    """Whether a config has the format of the authors' code."""
    return (
        isinstance(raw, dict)
        and "dataset" not in raw
        and "generation_settings" in raw
        and ("generation_hint" in raw or "dataset_configuration" in raw)
    )


def translated(raw: Mapping[str, Any]) -> Translation:
    """Their settings as ours. Missing settings stay missing: validation of ours reports them."""
    theirs = Theirs(raw)
    generate = _generate(theirs)
    settings = {
        "dataset": _dataset(theirs, generate),
        "generate": generate,
        "model": _model(theirs),
        **_embedding(theirs, generate),
        **_limits(theirs),
        "validators": list(_validators(theirs)),
    }
    for name in ("dataset_name", "save_path"):
        if theirs.get("generation_hint", name) is not None:
            theirs.note(f"generation_hint.{name}", "the run's folder is given on the command line (-o)")
    return Translation(settings, list(theirs.finished()))


# --- sections --------------------------------------------------------------------------------------


def _dataset(theirs: Theirs, generate: dict[str, Any]) -> dict[str, Any]:
    hint = "generation_hint"
    ours: dict[str, Any] = {"description": theirs.get(hint, "dataset_description")}
    if (path := theirs.get(hint, "original_dataset_path")) is not None:
        ours["path"] = path
    fields: dict[str, Any] = {"text": "text"}
    if theirs.get(hint, "with_label") is not False:
        fields["label"] = "label"
    extras = [str(name) for name in theirs.get(hint, "extra_info_keys") or ()]
    key = _attribute(theirs, generate)
    if key is not None and key not in extras:
        extras.append(key)
    if extras:
        fields["extras"] = extras
    ours["fields"] = fields
    constraints: list[Any] = list(theirs.get(hint, "dataset_constraint") or ())
    ratio = theirs.get("generation_settings", "label_ratio")
    if isinstance(ratio, Mapping) and ratio:
        constraints.append({"label_ratio": {str(label): weight for label, weight in ratio.items()}})
    theirs.get("generation_settings", "label_constraint")
    if constraints:
        ours["constraints"] = constraints
    return ours


def _attribute(theirs: Theirs, generate: dict[str, Any]) -> str | None:
    """Adds the attribute that guides generation; returns the field that holds its values, if any."""
    hint = "generation_hint"
    key = theirs.get(hint, "attribute_key", "attr_key")
    with_, add = theirs.flag(hint, "with_attribute", "with_attr"), theirs.flag(hint, "add_attribute")
    if with_:
        if key is None:
            theirs.note(
                f"{hint}.attribute_key", "is missing; with_attribute names no field to take values from"
            )
            return None
        generate["attributes"] = {str(key): {"field": str(key)}}
        return str(key)
    if add:
        name = str(key or "category")
        generate["attributes"] = {name: {"extract": _EXTRACTED}}
        theirs.note(
            f"{hint}.add_attribute", f"keywords for {name!r} are extracted from {_EXTRACTED} examples, once"
        )
    return None


def _generate(theirs: Theirs) -> dict[str, Any]:
    settings = "generation_settings"
    pairs = {
        "target": theirs.get(settings, "generation_number"),
        "batch_size": theirs.get(settings, "batch_size"),
        "few_shot": theirs.get(settings, "few_shot_num"),
        "temperature": theirs.get(settings, "temperature"),
    }
    ours = {name: value for name, value in pairs.items() if value is not None}
    theirs.get(settings, "fixed_example")
    if theirs.get(settings, "random_example") is False and ours.get("few_shot", 5):
        ours["selection"] = "clustered"
    if theirs.flag("efficiency_configuration", "learn_from_mistake"):
        ours["learn_from_mistakes"] = True
    if theirs.flag("efficiency_configuration", "learn_from_human_feedback"):
        ours["feedback"] = "human"
        theirs.note(
            "efficiency_configuration.learn_from_human_feedback", "give feedback with: datagen review RUN_DIR"
        )
    theirs.get("efficiency_configuration", "feedback_iteration")
    return ours


def _model(theirs: Theirs) -> dict[str, Any]:
    api = "api_settings"
    kind = str(
        theirs.get("generation_settings", "model_type") or theirs.get(api, "model_type") or "gpt"
    ).casefold()
    theirs.get(api, "model_type")
    keys = {
        "gpt": theirs.get(api, "openai_api_key", "openai_api", "api_key"),
        "claude": theirs.get(api, "claude_api_key", "claude_api", "api_key"),
        "llama3": theirs.get(api, "llama3_api_key", "deepinfra_api", "api_key"),
        "azure": theirs.get(api, "azure_api_key", "azure_openai_api", "api_key"),
    }
    name = theirs.get(api, "openai_chat_model")
    address, version = theirs.get(api, "azure_base_url", "api_base"), theirs.get(api, "azure_version")
    deployment, base_url = theirs.get(api, "azure_model"), theirs.get(api, "base_url", "api_base")
    if theirs.flag(api, "use_azure"):
        ours: dict[str, Any] = {"name": name or deployment or _GPT, "api": "azure"}
        if deployment and deployment != ours["name"]:
            ours["deployment"] = deployment
        if version:
            ours["api_version"] = str(version)
        return {
            **ours,
            "base_url": address or "${AZURE_OPENAI_ENDPOINT}",
            **_key(theirs, keys["azure"], "AZURE_OPENAI_API_KEY"),
        }
    if kind == "claude":
        return {"name": _CLAUDE, "api": "anthropic", **_key(theirs, keys["claude"], "ANTHROPIC_API_KEY")}
    if kind == "llama3":
        return {"name": _LLAMA, "base_url": _LLAMA_HOST, **_key(theirs, keys["llama3"], "DEEPINFRA_API_KEY")}
    if kind != "gpt":
        theirs.note(
            "generation_settings.model_type", f"{kind!r} is not gpt, claude or llama3; gpt is assumed"
        )
    return {
        "name": name or _GPT,
        "base_url": base_url or _OPENAI,
        **_key(theirs, keys["gpt"], "OPENAI_API_KEY"),
    }


def _key(theirs: Theirs, given: Any, variable: str) -> dict[str, str]:
    if not given:
        return {"api_key": f"${{{variable}}}"}
    theirs.note("api_settings", "the key in it is not written out; set DATAGEN_API_KEY to it")
    return {"api_key": str(given)}


def _embedding(theirs: Theirs, generate: Mapping[str, Any]) -> dict[str, Any]:
    """The embedding section: only clustered selection needs it; their vectors come from OpenAI."""
    name = theirs.get("api_settings", "embedding_model")
    if generate.get("selection") != "clustered" or not name:
        return {}
    theirs.note(
        "api_settings.embedding_model",
        "is asked through the model's endpoint; without `embedding`, a local model makes the vectors and costs nothing",
    )
    return {"embedding": {"endpoint": {"name": str(name)}}}


def _limits(theirs: Theirs) -> dict[str, Any]:
    workers = theirs.get("generation_settings", "max_worker")
    if workers is None:
        return {}
    theirs.note(
        "generation_settings.max_worker", "without limits.concurrency, the engine finds how many are worth it"
    )
    return {"limits": {"concurrency": workers}}


def _validators(theirs: Theirs) -> Iterator[Any]:
    efficiency = "efficiency_configuration"
    yield "constraints"
    if theirs.flag(efficiency, "math_eval"):
        theirs.note(
            f"{efficiency}.math_eval", "policy: relabel is the paper's; confirm keeps more labels right"
        )
        yield {"name": "code", "policy": "relabel"}
    if theirs.flag(efficiency, "truthfulness_eval"):
        theirs.note(
            f"{efficiency}.truthfulness_eval",
            "Wikimedia asks who you are: set DATAGEN_CONTACT to a mail address",
        )
        yield {"name": "facts", "source": {"kind": "mediawiki", "contact": "${DATAGEN_CONTACT}"}}
    if theirs.flag(efficiency, "self_reflection"):
        yield "reflection"
