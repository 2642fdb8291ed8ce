"""Checks whether a folder's run can continue with these inputs; defines what its first start records."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from engine._version import __version__
from engine.diversity.sameness import THRESHOLDS
from engine.errors import ConfigError
from engine.runs.inputs import Inputs
from engine.runs.modes import MODES, Mode
from engine.store.folder import RunFolder
from engine.store.identity import differences, digest, identity
from engine.store.journal import Journal


def check_identity(journal: Journal, mode: Mode, inputs: Inputs, folder: RunFolder) -> None:
    """Raises ConfigError if the folder holds another run."""
    before = journal.fact("identity")
    if before is None:
        return
    there = str(journal.fact("mode") or "run")
    if there not in MODES or MODES[there].family != mode.family:
        raise ConfigError(
            f"{folder.path}: is the folder of another kind of run ({there}); choose another (-o)"
        )
    set_now = inputs.config.model_dump(mode="json", exclude_defaults=True)
    changed = differences(before, identity_of(mode, inputs), set_now, mode.unread)
    if changed:
        raise ConfigError(
            f"{folder.path}: this run was started with other settings: {'; '.join(changed)}. "
            "Put them back, or start a new run in another folder (-o)"
        )


def identity_of(mode: Mode, inputs: Inputs) -> dict[str, Any]:
    """What makes two starts the same run: settings, files by their content, models by their fingerprint."""
    config, group = inputs.config, inputs.config.groupcheck
    template = config.generate.template if "generate" not in mode.unread else None
    contents = {
        "dataset.path": inputs.dataset.sha256,
        "generate.template": digest(template) if template is not None else None,
        **{f"prompts.{purpose}": digest(path) for purpose, path in config.prompts.items()},
    }
    settings = identity(config.without_secrets(), contents)
    if inputs.embedder is not None:
        settings["embedding.model"] = inputs.embedder.fingerprint
    if group is not None:  # as resolved: naming a default changes nothing
        settings["groupcheck.same"] = inputs.same
        settings["groupcheck.threshold"] = group.threshold or THRESHOLDS[inputs.same]
    return {**settings, **mode.identity(inputs)}


def facts_of(mode: Mode, inputs: Inputs) -> dict[str, Any]:
    """The facts about a run that the journal keeps from its first start on."""
    config, dataset = inputs.config, inputs.dataset
    ways = list(config.generate.ways)
    return {
        "identity": identity_of(mode, inputs),
        "mode": mode.name,
        "seed": config.seed,
        "form": {
            "style": asdict(dataset.fields.style),
            "schema": dataset.fields.schema.as_json(),
            "chat": asdict(dataset.fields.chat),
            "pair": asdict(dataset.fields.pair),
            "several": sorted(dataset.fields.several),
            "spoken": dict(dataset.fields.spoken),
        },
        "validators": [validator.name for validator in config.validators],
        "strategies": ways if len(ways) > 1 else [],
        "priced": inputs.prices is not None,
        "model": ", ".join(dict.fromkeys(each.name for each in config.endpoints)),
        "engine_version": __version__,
        "dataset": {
            "rows": dataset.rows,
            "bad_rows": dict(dataset.bad_counts),
            "sha256": dataset.sha256,
        },
    }
