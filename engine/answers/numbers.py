"""Numbers in every spelling that people and programs write: read exactly, with their unit and precision."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from engine.answers.number_words import WORDS


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read a text as a number. `decimals` are digits after the point; None for an exact fraction."""

    value: Fraction
    unit: str = ""
    decimals: int | None = 0


LONGEST = 200
"""Characters; what is longer is no number that anyone writes as an answer."""
_MOST_EXPONENT = 400

# --- words -----------------------------------------------------------------------------------------

_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_GROUPS = {"dozen": 12, "dozens": 12, "score": 20, "gross": 144}
_PARTS = {
    "half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fourth": 4, "fourths": 4,
    "fifth": 5, "fifths": 5, "sixth": 6, "sixths": 6, "eighth": 8, "eighths": 8, "tenth": 10, "tenths": 10,
}  # fmt: skip
_SUFFIXES = {"k": 10**3, "m": 10**6, "mn": 10**6, "b": 10**9, "bn": 10**9}

# --- units -----------------------------------------------------------------------------------------

_UNITS: dict[str, tuple[str, Fraction]] = {}
"""Spelling -> (kind, how many of the kind's first unit)."""


def _unit(kind: str, factor: str, spellings: str) -> None:
    for spelling in spellings.split():
        _UNITS[spelling] = (kind, Fraction(factor))


_unit("dollar", "1", "$ usd dollar dollars buck bucks us$")
_unit("dollar", "1/100", "¢ cent cents")
_unit("euro", "1", "€ eur euro euros")
_unit("pound", "1", "£ gbp")
_unit("pound", "1/100", "pence penny pennies")
_unit("yen", "1", "¥ jpy yen")
_unit("rupee", "1", "₹ inr rupee rupees rs")
_unit("percent", "1", "% percent percentage")
_unit("second", "1", "second seconds sec secs s")
_unit("second", "60", "minute minutes min mins")
_unit("second", "3600", "hour hours hr hrs h")
_unit("second", "86400", "day days")
_unit("second", "604800", "week weeks")
_unit("metre", "1", "metre metres meter meters m")
_unit("metre", "1000", "km kilometre kilometres kilometer kilometers")
_unit("metre", "1/100", "cm centimetre centimetres centimeter centimeters")
_unit("metre", "1/1000", "mm millimetre millimetres millimeter millimeters")
_unit("foot", "1", "ft foot feet")
_unit("foot", "1/12", "inch inches in")
_unit("foot", "3", "yard yards yd")
_unit("foot", "5280", "mile miles mi")
_unit("gram", "1", "g gram grams")
_unit("gram", "1000", "kg kilo kilos kilogram kilograms")
_unit("gram", "1/1000", "mg milligram milligrams")
_unit("ounce", "1", "oz ounce ounces")
_unit("ounce", "16", "lb lbs")
_unit("litre", "1", "l litre litres liter liters")
_unit("litre", "1/1000", "ml millilitre millilitres milliliter milliliters")
_MONEY = {"$", "€", "£", "¥", "₹"}

# --- reading ---------------------------------------------------------------------------------------


def readings(text: str) -> list[Reading]:
    """Every sensible way to read the whole text as one number; none where it is not one.

    `75%` is 75 (percent) and 3/4; `50 cents` is 50 (cent) and half a dollar.
    """
    plain = _plain(text)
    if not plain or len(plain) > LONGEST:
        return []
    found = _with_unit(plain)
    return list(_spread(found)) if found is not None else []


_LATEX = (
    (re.compile(r"\\(?:(?:left|right|displaystyle|quad)(?![a-zA-Z])|[!,;:])"), ""),
    (re.compile(r"\\(?:text|mathrm|mathbf|textbf|boxed|mbox)\s*\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\[dt]?frac\s*\{\s*(-?[\d.,]+)\s*\}\s*\{\s*([\d.,]+)\s*\}"), r" \1/\2"),
    (re.compile(r"\\[dt]?frac\s*(\d)\s*(\d)"), r" \1/\2"),
    (re.compile(r"\\(?:times|cdot)"), "×"),
    (re.compile(r"\\([%$#&])"), r"\1"),
    (re.compile(r"\^\{\s*\\circ\s*\}|\^\\circ|\\circ|°"), " degrees"),
    (re.compile(r"\^\{([^{}]*)\}"), r"^\1"),
    (re.compile(r"\{,\}"), ","),
)
_DASHES = str.maketrans({"−": "-", "–": "-", "—": "-", "⁄": "/", "\u00a0": " ", "\u202f": " ", "\u2009": " "})


def unlatexed(text: str) -> str:
    """LaTeX as plain text, as far as it occurs in answers."""
    text = text.strip()
    for opening, closing in (("$$", "$$"), (r"\(", r"\)"), (r"\[", r"\]"), ("$", "$")):
        if len(text) > len(opening + closing) and text.startswith(opening) and text.endswith(closing):
            text = text[len(opening) : -len(closing)]
            break
    if "\\" in text or "^" in text or "{" in text or "°" in text:
        for pattern, plain in _LATEX:
            text = pattern.sub(plain, text)
    return text.strip()


def _plain(text: str) -> str:
    if len(text) > 4 * LONGEST:
        return ""
    text = unlatexed(text).translate(_DASHES)
    text = "".join(_spelled(character) for character in text)
    return " ".join(text.casefold().split()).rstrip(".!;:, ").strip()


def _spelled(character: str) -> str:
    """½ as ' 1/2'; digits of other scripts as ours."""
    if character.isdecimal() and not character.isascii():
        return str(unicodedata.decimal(character))
    if (
        unicodedata.category(character) == "No"
        and (value := unicodedata.numeric(character, None)) is not None
    ):
        fraction = Fraction(value).limit_denominator(100)
        if fraction.denominator > 1:
            return f" {fraction.numerator}/{fraction.denominator}"
    return character


def _with_unit(text: str) -> Reading | None:
    sign = 1
    if text[:1] in "+-" and len(text) > 1 and text[1] in _MONEY:  # -$5
        sign, text = (-1 if text[0] == "-" else 1), text[1:]
    if text[0] in _MONEY:
        reading = _number(text[1:].strip())
        return replace(reading, value=sign * reading.value, unit=text[0]) if reading is not None else None
    if (whole := _number(text)) is not None:
        return whole
    for match in reversed(list(_WORD_GAP.finditer(text))):
        number, unit = text[: match.start()].strip(), text[match.start() :].strip(" -")
        if _is_unit(unit) and (reading := _number(number)) is not None:
            return replace(reading, unit=_singular(unit))
    return None


_WORD_GAP = re.compile(r"(?<=[\w.)])\s+(?=\D)|(?<=\d)\s*(?=[a-z%¢$€£¥₹])|(?<=\d)-(?=[a-z])")


_NO_UNIT = frozenset(
    "or and to pi e i plus minus times over of by per than about sqrt root squared cubed mod not if x y z a b n".split()
)
"""Words after which a text says more than a number and what it counts."""


def _is_unit(text: str) -> bool:
    """A unit that is known, or up to three plain words: `apples`, `square metres`. Not `x + 3`, `or 6`, `pi`."""
    if text in _UNITS:
        return True
    words = text.split()
    plain = all(word.isalpha() and len(word) > 1 and word not in _NO_UNIT for word in words)
    return 1 <= len(words) <= 3 and plain


def _singular(unit: str) -> str:
    words = unit.removeprefix("of ").split()
    if not words or len(words) > 3:
        return unit
    last = words[-1]
    if unit not in _UNITS and len(last) > 3 and last.endswith("s") and not last.endswith("ss"):
        words[-1] = last.removesuffix("s")
    return " ".join(words)


_DIGITS = r"(?:\d{1,3}(?:[,_ ']\d{3})+|\d+)"
_DECIMAL = re.compile(rf"([+-]?)\s*({_DIGITS})?(?:\.(\d*))?(?:\s*e([+-]?\d+))?")
_FRACTION = re.compile(rf"([+-]?)\s*(?:({_DIGITS})\s*(?:\s|and|\+)\s*)?({_DIGITS})\s*/\s*({_DIGITS})")
_POWER = re.compile(r"(.*?)\s*[×x*]\s*10\s*(?:\^|\*\*)\s*\(?([+-]?\d+)\)?")
_SCALED = re.compile(rf"(.*\d)\s*({'|'.join([*_SCALES, *_SUFFIXES, *_GROUPS])})")


def _number(text: str) -> Reading | None:
    if not text:
        return None
    for read in (_decimal, _fraction, _power, _scaled, _worded):
        if (found := read(text)) is not None:
            return found
    return None


def _decimal(text: str) -> Reading | None:
    match = _DECIMAL.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        return None
    sign, whole, after, exponent = match.groups()
    if exponent is not None and len(exponent) > 4:
        return None
    power = int(exponent or 0)
    if abs(power) > _MOST_EXPONENT:
        return None
    digits = re.sub(r"\D", "", whole or "0")
    value = Fraction(int(digits + (after or "")), 10 ** len(after or "")) * Fraction(10) ** power
    return Reading(-value if sign == "-" else value, decimals=max(0, len(after or "") - power))


def _fraction(text: str) -> Reading | None:
    match = _FRACTION.fullmatch(text)
    if match is None:
        return None
    sign, whole, above, below = (
        match[1],
        *(int(re.sub(r"\D", "", part or "0")) for part in match.groups()[1:]),
    )
    if below == 0:
        return None
    value = whole + Fraction(above, below)
    return Reading(-value if sign == "-" else value, decimals=None)


def _power(text: str) -> Reading | None:
    match = _POWER.fullmatch(text)
    if match is None or len(match[2]) > 4 or abs(int(match[2])) > _MOST_EXPONENT:
        return None
    head, power = _decimal(match[1]), int(match[2])
    if head is None:
        return None
    return Reading(head.value * Fraction(10) ** power, decimals=max(0, (head.decimals or 0) - power))


def _scaled(text: str) -> Reading | None:
    """1.2k, 3 million, 2 dozen."""
    match = _SCALED.fullmatch(text)
    if match is None:
        return None
    word = match[2]
    if word in ("m", "b", "k") and match[0][match.end(1)] == " ":
        return None  # "5 m" are metres
    head = _decimal(match[1]) or _fraction(match[1])
    if head is None:
        return None
    factor = _SCALES.get(word) or _SUFFIXES.get(word) or _GROUPS[word]
    shift = len(str(factor)) - 1
    decimals = None if head.decimals is None else max(0, head.decimals - shift)
    return Reading(head.value * factor, decimals=decimals)


def _worded(text: str) -> Reading | None:
    """twenty-one, one hundred and five, two dozen, half, three quarters, two and a half."""
    words = [word for word in re.split(r"[\s-]+", text) if word]
    sign = -1 if words[:1] in (["minus"], ["negative"]) else 1
    words = words[1:] if sign < 0 else words
    if not words or len(words) > 20:
        return None
    if "and" in words and words[-1] in _PARTS:  # two and a half
        at = len(words) - 1 - words[::-1].index("and")
        whole, part = _whole(words[:at]), _part(words[at + 1 :])
        if whole is not None and part is not None:
            return Reading(sign * (whole + part), decimals=None)
    if (part := _part(words)) is not None:
        return Reading(sign * part, decimals=None)
    whole = _whole([word for word in words if word != "and"])
    return Reading(Fraction(sign * whole)) if whole is not None else None


def _part(words: list[str]) -> Fraction | None:
    if not words or words[-1] not in _PARTS:
        return None
    head = [word for word in words[:-1] if word != "of"]
    count = 1 if head in ([], ["a"], ["an"], ["one"]) else _whole(head)
    return Fraction(count, _PARTS[words[-1]]) if count is not None else None


def _whole(words: list[str]) -> int | None:
    if not words:
        return None
    total = current = 0
    for place, word in enumerate(words):
        if word in ("a", "an") and place == 0 and len(words) > 1:
            current = 1
        elif word in WORDS:
            current += WORDS[word]
        elif word in _GROUPS:
            current = max(1, current) * _GROUPS[word]
        elif word == "hundred":
            current = max(1, current) * 100
        elif word in _SCALES:
            total += max(1, current) * _SCALES[word]
            current = 0
        else:
            return None
    return total + current


def _spread(reading: Reading) -> Iterator[Reading]:
    """The reading as written, and in its unit's own terms."""
    yield reading
    if reading.unit in ("%", "percent", "percentage"):
        decimals = None if reading.decimals is None else reading.decimals + 2
        yield Reading(reading.value / 100, "", decimals)
    elif reading.unit in _UNITS:
        kind, factor = _UNITS[reading.unit]
        yield Reading(reading.value * factor, f"={kind}", None if factor != 1 else reading.decimals)


# --- comparing -------------------------------------------------------------------------------------

_NOISE = Fraction(1, 10**9)
"""Relative difference that binary floating point makes."""
_FLOAT_DECIMALS = 8
_FEWEST_DIGITS = 3
"""Significant digits that a rounded number must show to be taken for a longer one's rounding."""


def same_number(one: list[Reading], other: list[Reading]) -> bool | None:
    """Whether two texts, each in its readings, are the same number. None where it hangs on rounding or units."""
    unsure = False
    for a in one:
        for b in other:
            if not _close(a, b):
                unsure = unsure or _nearly(a, b)
                if _rounded(a, b) and _agree(a.unit, b.unit):
                    return True
            elif _agree(a.unit, b.unit):
                return True
            elif not (_kind(a.unit) and _kind(b.unit)):
                unsure = True  # 5 marbles, 5 balls: the same number of what may be the same thing
    return None if unsure else False


def _close(a: Reading, b: Reading) -> bool:
    """Equal; or as good as equal, where one is written with as many digits as binary floats are."""
    if max(a.decimals or 0, b.decimals or 0) < _FLOAT_DECIMALS:
        return a.value == b.value
    return abs(a.value - b.value) <= _NOISE * max(abs(a.value), abs(b.value))


def _kind(unit: str) -> str:
    """The kind that a known unit measures."""
    if unit.startswith("="):
        return unit
    return f"={_UNITS[unit][0]}" if unit in _UNITS else ""


def _agree(a: str, b: str) -> bool:
    """Whether equal figures in these units are the same; one that names no unit agrees with any."""
    if not a or not b or a == b:
        return True
    return a in _UNITS and b in _UNITS and _UNITS[a] == _UNITS[b]


def _rounded(a: Reading, b: Reading) -> bool:
    """Whether one is the other, rounded: 3.33 and 3.3333333; not 3 and 3.33, which may answer "how many"."""
    coarse, fine = _by_precision(a, b)
    if coarse.decimals is None or coarse.decimals < 1:
        return False
    if fine.decimals is not None and fine.decimals < coarse.decimals + 2:
        return False
    digits = len(str(abs(coarse.value.numerator * 10**coarse.decimals // coarse.value.denominator)))
    return (digits >= _FEWEST_DIGITS or coarse.decimals >= 2) and _within_half(coarse, fine)


def _nearly(a: Reading, b: Reading) -> bool:
    coarse, fine = _by_precision(a, b)
    return bool(coarse.decimals) and coarse.decimals != fine.decimals and _within_half(coarse, fine)


def _by_precision(a: Reading, b: Reading) -> tuple[Reading, Reading]:
    def precision(reading: Reading) -> float:
        return float("inf") if reading.decimals is None else reading.decimals

    return (a, b) if precision(a) <= precision(b) else (b, a)


def _within_half(coarse: Reading, fine: Reading) -> bool:
    half = Fraction(1, 2 * 10 ** (coarse.decimals or 0))
    return abs(coarse.value - fine.value) <= half
