"""This engine at the same work as `datagen map`: a file of prompts, a row for each answer, its fields as columns."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import orjson
import work
import yaml

options = work.arguments()
folder = Path(options.folder)
with (folder / "rows.jsonl").open("wb") as file:
    for number in range(options.n):
        file.write(orjson.dumps({"prompt": work.prompt(number)}) + b"\n")
TYPES = {str: "string", int: "int64"}
settings = {
    "dataset": {"path": str(folder / "rows.jsonl"), "description": "Prompts."},
    "map": {
        "prompt": "{{ prompt }}",
        "columns": {name: TYPES.get(kind, ["string"]) for name, kind in work.FIELDS.items()},
        "max_tokens": 512,
    },
    "model": {"name": "gpt-4o-mini", "base_url": work.BASE_URL, "api_key": "sk-x"},
    "limits": {"concurrency": options.c, "budget_usd": float(os.environ.get("CAP_USD", "100"))},
    "validators": [],
}
(folder / "config.yaml").write_text(yaml.safe_dump(settings))
began = time.time()
sys.argv = [
    "datagen",
    "map",
    str(folder / "rows.jsonl"),
    str(folder / "config.yaml"),
    "-o",
    str(folder / "run"),
]
from engine.cli.__main__ import main  # noqa: E402

try:
    main()
except SystemExit:
    items = orjson.loads((folder / "run" / "report.json").read_bytes())["items"]
    print(json.dumps({"rows": items["accepted"], "ok": items["accepted"], "lost": items["rejected"],
                      "run_s": time.time() - began, "error": ""}))  # fmt: skip
