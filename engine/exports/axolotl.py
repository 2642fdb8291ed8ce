"""The settings with which Axolotl reads a file, beside it.

The keys are those of the project's docs on conversation datasets and on DPO: https://docs.axolotl.ai
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from engine.files.writing import replacing


def settings(path: Path, kind: str) -> dict[str, Any]:
    """What goes into an Axolotl config to read the file. Its columns `tools` and `system` are known by name alone."""
    dataset = {"path": path.name, "ds_type": "json", "field_messages": "messages"}
    if kind == "preference":
        dataset |= {
            "type": "chat_template.default",
            "field_chosen": "chosen",
            "field_rejected": "rejected",
        }
        return {"rl": "dpo", "datasets": [dataset]}
    return {"datasets": [{**dataset, "type": "chat_template"}]}


def write_config(path: Path, kind: str) -> None:
    """Writes NAME.axolotl.yml beside the file; not for standard output and devices. Raises StoreError."""
    if not path.is_file():
        return
    with replacing(path.with_name(f"{path.stem}.axolotl.yml")) as file:
        file.write(
            "# The part of an Axolotl config that reads this file; complete the path if it lies elsewhere.\n"
        )
        yaml.safe_dump(settings(path, kind), file, sort_keys=False, allow_unicode=True)
