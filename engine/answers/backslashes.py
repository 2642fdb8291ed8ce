"""Restores the backslashes of LaTeX commands that JSON has read as control characters, and names the others.

A model that writes `"$\\frac{1}{2}$"` into JSON without doubling the backslash has written a form feed and `rac`:
valid JSON, and never what was meant. JSON has five such escapes: \\b, \\f, \\n, \\r and \\t.
"""

from __future__ import annotations

import re

#  read as          restored before                                  never restored before
#  form feed, \f    any letter (\frac, \forall, \flat)               anything else
#  backspace, \b    any letter (\beta, \begin, \binom)               anything else
#  return, \r       a lower-case letter, \rVert and the like         a capital: the end of a line
#  tab, \t          the rest of a known command (\times, \text)      other words
#  newline, \n      the rest of a known command (\neq, \nabla)       other words
# The rest of a short command is also a word, or its beginning: it counts only where the text is mathematics.

_LONG = {
    "\t": (
        "ag|anh|au|binom|cfrac|ext|extbf|extit|extrm|extsf|extstyle|exttt|extnormal|extsc|frac|herefore|heta"
        "|hickapprox|hicksim|ilde|imes|riangle|riangledown|riangleleft|riangleq|riangleright|widdle"
    ),
    "\n": (
        "abla|atural|earrow|eg|eq|exists|eqq|geq|geqslant|gtr|leq|leqslant|less|mid|olimits|otag|otin|parallel|prec|sim"
        "|subseteq|succ|supseteq|warrow|Leftrightarrow|Rightarrow|ewline|onumber|rightarrow|leftarrow|ormalsize"
    ),
    "\r": "Vert|Rightarrow",
}
_SHORT = {"\t": "an|o|op|t|iny|hinspace|ableofcontents", "\n": "e|i|ot|u|cong|eqsim"}
_LETTERS = {"\f": "f", "\b": "b", "\r": "r", "\t": "t", "\n": "n"}
_LOST = re.compile(
    rf"(?P<free>[\f\b])(?=[A-Za-z])|(?P<cr>\r)(?=[a-z]|(?:{_LONG[chr(13)]})(?![A-Za-z]))"
    rf"|(?P<tab>\t)(?=(?:{_LONG[chr(9)]})(?![A-Za-z]))|(?P<line>\n)(?=(?:{_LONG[chr(10)]})(?![A-Za-z]))"
    rf"|(?P<short>\t(?=(?:{_SHORT[chr(9)]})(?![A-Za-z]))|\n(?=(?:{_SHORT[chr(10)]})(?![A-Za-z])))"
)
_MATHEMATICS = re.compile(r"(?<!\\)\$|\\[\(\[]")
_CLOSED = re.compile(r"\\[\)\]]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f]")
_NAMES = (
    "NUL SOH STX ETX EOT ENQ ACK BEL BS HT LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC FS GS RS US"
).split()


def restored(text: str) -> str:
    """The text with the backslashes that were meant, and with line breaks as `\\n` alone."""
    if text.isprintable():
        return text
    if not _CONTROL.search(text) and "\t" not in text and "\n" not in text:
        return text
    whole = _LOST.sub(_backslash, text)
    return whole.replace("\r\n", "\n").replace("\r", "\n")


def _backslash(match: re.Match[str]) -> str:
    if match["short"] is not None and not _within_mathematics(match.string, match.start()):
        return match[0]
    return "\\" + _LETTERS[match[0]]


def _within_mathematics(text: str, place: int) -> bool:
    """Whether a formula is open at this place: after an odd number of `$`, or an unclosed `\\(` or `\\[`."""
    before = text[:place]
    openings = _MATHEMATICS.findall(before)
    dollars = openings.count("$")
    return dollars % 2 == 1 or len(openings) - dollars > len(_CLOSED.findall(before))


def control_character(text: str) -> str | None:
    """The name of the first control character that no text has, such as 'ESC (U+001B)'; None without one."""
    match = None if text.isprintable() else _CONTROL.search(text)
    if match is None:
        return None
    code = ord(match[0])
    name = _NAMES[code] if code < len(_NAMES) else "DEL" if code == 0x7F else "a control character"
    return f"{name} (U+{code:04X})"
