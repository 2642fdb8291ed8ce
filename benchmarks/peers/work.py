"""The work that every engine compared does: a prompt of 1.5 KB that differs by its number, a JSON answer, checked."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any

_SENTENCE = (
    "Invent a mathematics word problem for grade school in the manner of the examples, with other people, places, "
    "objects and amounts; it takes between two and eight steps and asks for exactly one number. "
)
TEXT = (_SENTENCE * 12)[:1480]
FIELDS = {
    "id": str, "question": str, "reasoning": str, "answer": str, "label": str, "difficulty": int, "tags": list[str],
}  # fmt: skip


def prompt(number: int) -> str:
    return f"ITEM-{number:08d} {TEXT}"


def good(number: int, answer: dict[str, Any]) -> bool:
    """Whether this is the answer to that prompt, whole."""
    return int(answer["id"]) == number and answer["answer"] == "21.60"


def arguments() -> argparse.Namespace:
    """What each script is told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, required=True)
    parser.add_argument("-c", type=int, required=True)
    parser.add_argument("--rpm", type=float, default=0.0)
    parser.add_argument("--on-ray", type=int, default=0, metavar="N", help="by N workers that Ray places")
    parser.add_argument("--folder", required=True, help="where what can be resumed is kept")
    return parser.parse_args()


def told(rows: int, ok: int, began: float, error: BaseException | None = None) -> None:
    """The script's last line."""
    said = "" if error is None else f"{type(error).__name__}: {error}"[:200]
    sys.stdout.flush()
    print(json.dumps({"rows": rows, "ok": ok, "run_s": time.time() - began, "error": said}), flush=True)


BASE_URL = os.environ.get("BASE_URL", "")
