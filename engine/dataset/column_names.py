"""The names that published datasets give their columns, the likeliest first."""

from __future__ import annotations

CHATS = ("messages", "conversations", "conversation", "chat", "dialogue", "dialog", "turns")
TOOLS = ("tools", "functions", "function", "available_tools")
PAIRS = (
    ("chosen", "rejected"),
    ("preferred", "dispreferred"),
    ("preferred_output", "non_preferred_output"),
    ("response_chosen", "response_rejected"),
    ("better", "worse"),
)
TEXTS = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("text_a", "text_b"),
    ("context", "question"),
    ("passage", "question"),
    ("article", "question"),
    ("instruction", "input"),
    ("prompt", "completion"),
    ("question",),
    ("problem",),
    ("prompt",),
    ("instruction",),
    ("query",),
    ("ctx",),
    ("sentence",),
    ("utterance",),
    ("utt",),
    ("review",),
    ("review_text",),
    ("tweet",),
    ("text",),
    ("content",),
    ("body",),
    ("input",),
    ("document",),
    ("article",),
    ("title",),
)
LABELS = (
    "label",
    "labels",
    "answer",
    "answerkey",
    "answer_key",
    "correct_answer",
    "best_answer",
    "correct",
    "answers",
    "gold",
    "gold_label",
    "target",
    "class",
    "intent",
    "sentiment",
    "rating",
    "stars",
    "output",
    "response",
    "completion",
    "solution",
    "summary",
    "translation",
    "category",
)
CHOICES = ("choices", "options", "endings", "answer_choices", "candidates", "mc_options")
CHOICE_COLUMNS = (
    r"option_?(\w|\d+)",
    r"choice_?(\w|\d+)",
    r"ending_?(\d+)",
    r"op([a-e])",
    r"sol(\d+)",
    r"answer_?([a-e1-5])",
    r"([a-e])",
)
SOLUTIONS = ("solution", "rationale", "explanation", "reasoning", "steps", "chain_of_thought", "cot")
KEYS = ("label", "labels", "key", "keys", "letter")
CHOICE_TEXTS = ("text", "texts", "value", "choice")
