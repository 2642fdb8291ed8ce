"""Secrets that this process knows: whatever it writes, shows or sends on holds their names in place of them.

What knows a secret (a config, an endpoint) says so once, with `hide`. Everything that leaves the process passes
`veiled`: the journal, the files of a run, the log, the terminal. So it does not matter who brought the secret:
a reply that echoes its request, an exception of a package, a plugin's record.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

UNNAMED = "(secret)"
SHORTEST = 8
"""Characters. A shorter value, such as 'x' as the key of a local server, is part of many words."""
_forms: list[tuple[str, str]] = []
"""Each way in which a secret may be spelled, and its name; the longest first. Of the process, like its environment."""


def hide(value: str, name: str = UNNAMED) -> None:
    """From now on, `name` stands for this value. A value of fewer than SHORTEST characters is not looked for."""
    value = value.strip()
    known = {form for form, _ in _forms}
    if len(value) < SHORTEST or value in known:
        return
    _forms.extend((form, name) for form in dict.fromkeys(spellings(value)) if form not in known)
    _forms.sort(key=lambda each: -len(each[0]))


def forget() -> None:
    """Knows no secret any more."""
    _forms.clear()


def veiled(text: str) -> str:
    """The text with each known secret's name in its place."""
    for form, name in _forms:
        if form in text:
            text = text.replace(form, name)
    return text


def spellings(value: str) -> Iterator[str]:
    """The value itself; in a URL, in JSON, in HTML; in base64, alone or with something before and after it."""
    yield value
    for escaped in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield escaped
        yield _lower_hex(escaped)
    for ascii_only in (True, False):
        written = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        yield written
        yield written.replace("/", "\\/")
    yield html.escape(value)
    yield from _in_base64(value.encode("utf-8", "replace"))


def _lower_hex(quoted: str) -> str:
    parts = quoted.split("%")
    return "%".join([parts[0], *(part[:2].lower() + part[2:] for part in parts[1:])])


def _in_base64(value: bytes) -> Iterator[str]:
    """What is the same of it wherever it stands: at each of three offsets, the characters that it alone decides."""
    for offset in range(3):
        padded = b"\0" * offset + value
        whole = len(padded) // 3 * 4
        first = (offset * 8 + 5) // 6
        written = base64.b64encode(padded).decode()[first:whole]
        for spelled in (written, written.translate(_URL_SAFE)):
            if len(spelled) >= SHORTEST:
                yield spelled


_URL_SAFE = str.maketrans("+/", "-_")
