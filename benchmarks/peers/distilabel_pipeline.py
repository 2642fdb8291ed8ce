"""distilabel: rows from memory, a text-generation task that parses its JSON."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import work
from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts, StepResources
from distilabel.steps.tasks import TextGeneration

RAY = {"num_cpus": 8, "include_dashboard": False, "object_store_memory": 200 << 20, "log_to_driver": False}


class Problems(TextGeneration):  # type: ignore[misc]
    @property
    def outputs(self) -> list[str]:
        return ["generation", "ok", "model_name"]

    def format_output(self, output: str | None, input: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = json.loads(output or "")
            return {"generation": output, "ok": input is not None and work.good(input["number"], answer)}
        except (ValueError, KeyError, TypeError):
            return {"generation": None, "ok": False}


def main() -> None:
    options = work.arguments()
    began = time.time()
    rows = [{"number": number, "instruction": work.prompt(number)} for number in range(options.n)]
    with Pipeline(name="bench", cache_dir=str(Path(options.folder) / "cache")) as pipeline:
        load = LoadDataFromDicts(data=rows, batch_size=options.c)
        model = OpenAILLM(
            model="gpt-4o-mini", base_url=work.BASE_URL, api_key="sk-x",
            generation_kwargs={"max_new_tokens": 512, "temperature": 0.8},
        )  # fmt: skip
        replicas = max(1, options.on_ray)
        batch = options.c // replicas  # what a step asks for at once
        load >> Problems(
            llm=model, input_batch_size=batch, add_raw_output=False, add_raw_input=False,
            resources=StepResources(replicas=replicas, cpus=1 if options.on_ray else None),
        )  # fmt: skip
    try:
        way = pipeline.ray(ray_init_kwargs=RAY) if options.on_ray else pipeline
        made = way.run(use_cache=True)["default"]["train"]
        work.told(len(made), sum(bool(row["ok"]) for row in made), began)
    except BaseException as error:
        work.told(0, 0, began, error)


if __name__ == "__main__":
    main()
