"""The script that people write: the openai package, a semaphore, gather."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import openai
import work

options = work.arguments()
began = time.time()


async def main() -> None:
    client = openai.AsyncOpenAI(base_url=work.BASE_URL, api_key="sk-x")
    places = asyncio.Semaphore(options.c)
    ok = 0
    with Path(options.folder, "out.jsonl").open("w") as out:  # noqa: ASYNC230 - as people write it

        async def one(number: int) -> None:
            nonlocal ok
            async with places:
                try:
                    reply = await client.chat.completions.create(
                        model="gpt-4o-mini",
                        messages=[{"role": "user", "content": work.prompt(number)}],
                        temperature=0.8,
                    )
                    answer = json.loads(reply.choices[0].message.content or "")
                except (openai.OpenAIError, ValueError):
                    return
                ok += work.good(number, answer)
                out.write(json.dumps(answer) + "\n")

        await asyncio.gather(*(one(number) for number in range(options.n)))
    work.told(ok, ok, began)


asyncio.run(main())
