"""NeMo Data Designer: a seed column, a structured LLM column."""

from __future__ import annotations

import json
import time
from pathlib import Path

import data_designer.config as settings
import pandas
import work
from data_designer.interface import DataDesigner
from pydantic import create_model

options = work.arguments()
Answer = create_model("Answer", **{name: (kind, ...) for name, kind in work.FIELDS.items()})  # type: ignore[call-overload]
folder = Path(options.folder)
seed = folder / f"seed-{options.n}.parquet"
if not seed.exists():
    pandas.DataFrame({"number": [f"{number:08d}" for number in range(options.n)]}).to_parquet(seed)

began = time.time()
try:
    provider = settings.ModelProvider(
        name="own", endpoint=work.BASE_URL, provider_type="openai", api_key="sk-x"
    )
    designer = DataDesigner(artifact_path=str(folder), model_providers=[provider])
    # The smallest buffer that is not slower: what is in it is what a kill costs.
    designer.set_run_config(
        settings.RunConfig(otel_metrics_port=None, buffer_size=1000, max_conversation_correction_steps=0,
                           disable_early_shutdown=True)
    )  # fmt: skip
    model = settings.ModelConfig(
        alias="m", model="gpt-4o-mini", provider="own", skip_health_check=True,
        inference_parameters=settings.ChatCompletionInferenceParams(temperature=0.8, max_parallel_requests=options.c),
    )  # fmt: skip
    builder = settings.DataDesignerConfigBuilder(model_configs=[model])
    builder.with_seed_dataset(settings.LocalFileSeedSource(path=str(seed)))
    builder.add_column(
        settings.LLMStructuredColumnConfig(
            name="answer", model_alias="m", prompt="ITEM-{{ number }} " + work.TEXT, output_format=Answer
        )
    )
    made = designer.create(
        builder, num_records=options.n, dataset_name="made", resume=settings.ResumeMode.IF_POSSIBLE
    ).load_dataset()
    ok = 0
    for number, answer in zip(made["number"], made["answer"], strict=True):
        try:
            ok += work.good(int(number), json.loads(answer) if isinstance(answer, str) else answer)
        except (ValueError, TypeError, KeyError):
            continue
    work.told(len(made), ok, began)
except Exception as error:
    work.told(0, 0, began, error)
