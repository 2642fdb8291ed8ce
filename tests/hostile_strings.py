"""A thousand texts that something would act upon: HTML, templates, terminals, SQL, paths, spreadsheets, Unicode."""

from __future__ import annotations

from itertools import product

ACTIONS = {
    "html": [
        "<script>alert(1)</script>", "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "--><b>",
        "<svg/onload=alert(1)>", "]]>", "</textarea><b>", "</style><b>", "&lt;b&gt;&#60;", "javascript:alert(1)",
        "data:text/html,<b>", "' onmouseover='alert(1)", '" onfocus="alert(1)', "<!--", "<iframe src=//x>",
    ],
    "template": [
        "{{ 7 * 7 }}", "{% for x in ().__class__.__base__.__subclasses__() %}x{% endfor %}", "{# gone #}",
        "{{ ''.__class__ }}", "${7*7}", "#{7*7}", "%(x)s", "{0.__class__}", "<%= 7 %>", "{{ shown }}", "{%", "}}",
        "${HOME}", "$(id)", "`id`",
    ],
    "terminal": [
        "\x1b[2J", "\x1b]0;title\x07", "\x1b[31mred\x1b[0m", "\x9b31m", "\x1bc", "\x08\x08\x08", "\r", "\x07",
        "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "\x1bP+q\x1b\\", "\x0e", "\x7f",
    ],
    "sql": ["'; DROP TABLE items; --", '" OR ""="', "1); DELETE FROM calls; --", "\\'; --", "%' ESCAPE '"],
    "path": [
        "../../../etc/passwd", "/dev/full", "..\\..\\x", "file:///etc/passwd", "~root", "CON", "a/b",
        "a\x00b", ".", "-rf",
    ],
    "spreadsheet": [
        "=1+1", "=cmd|' /C calc'!A0", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''=1", "\uff1d1+1",
        "=HYPERLINK(1)",
    ],
    "unicode": [
        "\u202egnp.exe", "\u2066x\u2069", "\u200b", "\ufeff", "\u2028", "\u0000", "\ud800", "\udfff\ud800",
        "\U000e0041",
        "e\u0301" * 50, "\u0644\u0644", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\uffff", "\ufdfd", "A\u030a",
    ],
    "json": [
        '"}]}', "\\u0000", "\\", '{"items": []}', "[[[[", "null", "1e999", "NaN",
        '{"__proto__": 1}', "```json\n{}\n```",
        "<think>", "</think>", "<|im_end|>", "[/INST]", "Human:", "```", "---", "#### 7", "_meta", "%00",
    ],
}  # fmt: skip
"""By what acts upon them."""
AROUND = [
    "{}",
    "What is {} here?",
    "{} at the start",
    "at the end {}",
    "two lines\n{}",
    "{0}{0}",
    '"{}"',
    "  {}  ",
]
AROUND += ["*{}*", "<{}>", "[{}]({})", "{} and {}"]


def hostile_strings(most: int = 1000) -> list[str]:
    """Different texts, all kinds among the first hundred."""
    kinds = [text for group in ACTIONS.values() for text in group]
    texts = [around.replace("{0}", text).replace("{}", text) for around, text in product(AROUND, kinds)]
    return list(dict.fromkeys(texts))[:most]
