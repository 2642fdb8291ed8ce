"""Splits texts as synthetic-data-kit 0.0.5 and ragas 0.4.3 do, in an environment of theirs.

Reads JSON lines {text, headings} on standard input; writes {tool: [chunks]} for each.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable


def kit() -> Callable[[str, list[str]], list[str]] | None:
    try:
        from synthetic_data_kit.utils.text import split_into_chunks
    except ImportError:
        return None
    return lambda text, headings: list(split_into_chunks(text))


def ragas() -> Callable[[str, list[str]], list[str]] | None:
    """Its splitter takes headlines that a language model finds; here it gets the document's own."""
    try:
        from ragas.testset.graph import Node
        from ragas.testset.transforms.splitters import HeadlineSplitter, headline
    except ImportError:
        return None
    try:
        headline.num_tokens_from_string("some words")
    except OSError:  # tiktoken fetches its tables when they are first used
        headline.num_tokens_from_string = lambda text, *more: len(text) // 4

    def split(text: str, headings: list[str]) -> list[str]:
        node = Node(properties={"page_content": text, "headlines": headings})
        nodes, _ = asyncio.run(HeadlineSplitter().split(node))
        return [each.properties["page_content"] for each in nodes]

    return split


def main() -> None:
    tools = {"synthetic-data-kit": kit(), "ragas": ragas()}
    for line in sys.stdin:
        told = json.loads(line)
        made = {
            name: split(told["text"], told["headings"]) for name, split in tools.items() if split is not None
        }
        print(json.dumps(made))


if __name__ == "__main__":
    main()
