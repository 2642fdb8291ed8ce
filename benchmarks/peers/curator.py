"""Bespoke Curator: one structured completion a row."""

from __future__ import annotations

import os
import time
from pathlib import Path

import work

options = work.arguments()
os.environ["CURATOR_CACHE_DIR"] = str(Path(options.folder) / "cache")
os.environ["OPENAI_BASE_URL"] = work.BASE_URL

from bespokelabs import curator as library  # noqa: E402
from pydantic import create_model  # noqa: E402

Answer = create_model("Answer", **{name: (kind, ...) for name, kind in work.FIELDS.items()})  # type: ignore[call-overload]


class Problems(library.LLM):  # type: ignore[misc]
    response_format = Answer

    def prompt(self, row: dict) -> str:  # type: ignore[type-arg]
        return work.prompt(row["number"])

    def parse(self, row: dict, answer: object) -> dict:  # type: ignore[type-arg]
        return {"number": row["number"], "ok": work.good(row["number"], answer.model_dump())}  # type: ignore[attr-defined]


began = time.time()
try:
    limits = {
        "api_key": "sk-x",
        "max_concurrent_requests": options.c,
        "max_tokens_per_minute": 10**13,
        "max_requests_per_minute": options.rpm or 10**8,
        "require_all_responses": False,
    }
    problems = Problems(
        model_name="gpt-4o-mini",
        backend="openai",
        backend_params=limits,
        generation_params={"temperature": 0.8},
    )
    rows = problems([{"number": number} for number in range(options.n)]).dataset
    work.told(len(rows), sum(rows["ok"]), began)
except Exception as error:
    work.told(0, 0, began, error)
