"""This engine at the same work: the same text to the endpoint, one item a call."""

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
template = "{% block system %}Answer with one JSON object.{% endblock %}{% block user %}{{ description }}{% endblock %}"
(folder / "prompt.j2").write_text(template)
settings = {
    "dataset": {"description": work.TEXT, "fields": {"text": "text", "label": "label"}},
    "generate": {
        "target": options.n,
        "batch_size": 1,
        "few_shot": 0,
        "template": "prompt.j2",
        "max_tokens": 512,
    },
    "model": {"name": "gpt-4o-mini", "base_url": work.BASE_URL, "api_key": "sk-x"},
    "limits": {
        "concurrency": options.c,
        "budget_usd": float(os.environ.get("CAP_USD", "100")),
        "requests_per_minute": options.rpm or None,
    },
    "validators": [],
}
(folder / "config.yaml").write_text(yaml.safe_dump(settings))
began = time.time()
sys.argv = ["datagen", "run", str(folder / "config.yaml"), "-o", str(folder / "run")]
if options.on_ray:
    sys.argv += ["--on", "ray", "--workers", str(options.on_ray)]
from engine.cli.__main__ import main  # noqa: E402

try:
    main()
except SystemExit:
    report = orjson.loads((folder / "run" / "report.json").read_bytes())
    items, calls = report["items"], report["calls"]
    lost = calls["failed"] + report["items"]["rejected"]
    print(json.dumps({"rows": items["accepted"], "ok": items["accepted"], "lost": lost, "run_s": time.time() - began,
                      "error": ""}))  # fmt: skip
