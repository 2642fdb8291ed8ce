"""What can be told without a model: whether an answer stands in its quote, whether a question stands by itself."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from engine.answers.number_words import WORDS
from engine.answers.quotes import folded

_NUMBER = re.compile(r"(?<![\w.])[-+\u2212]?\d(?:[\d.,\u00a0\u202f' ]*\d)?(?!\w)")
_CAPITAL = re.compile(r"(?<![\w'’-])[^\W\d_][\w'’-]*")
_A_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*'?")
_SENTENCE_END = re.compile(r"[.!?:;\u3002]\s*$")
_COMMON = frozenset(
    "a an and are as at because both but by each either for from he her his how i if in is it its no not none of on or "
    "she so some such than that the their then there these they this those to we what when where which who why will "
    "with yes you all any only use using after before during".split()
)
_DOCUMENT = (
    r"(?:passage|text|excerpt|extract|paragraph|snippet|context|article|document|section|chapter|source|material|"
    r"author|narrator|table|figure|list|example|quote|sentence|information)s?"
)
_SURELY = re.compile(
    r"\b(?:according to|based on|as (?:stated|mentioned|described|given|shown|listed|explained) in|in|from|per) "
    rf"(?:the|this|these|that) (?:(?:given|provided|above|following|preceding|quoted) )?{_DOCUMENT}\b"
    r"(?! (?:of|for|that|called|named|which|editor|file|mode|window|field|format|area|box)\b)"
    rf"|\b(?:this|given|provided|above|quoted) {_DOCUMENT}\b"
    r"|\bthe (?:passage|excerpt|snippet)s?\b"
    rf"|\b(?:the|this) {_DOCUMENT} (?:above|below|provided|given|says?|states?|mentions?|describes?|explains?)\b"
    r"|\b(?:mentioned|stated|described|listed|shown|given|as) (?:above|below|here|earlier)\b"
    r"|\blaut (?:dem |diesem )?(?:text|abschnitt|dokument|artikel)\b|\bin (?:diesem|dem obigen) (?:text|abschnitt)\b"
    r"|\b(?:selon|d'après) (?:le|ce) (?:texte|passage|document|paragraphe)\b"
    r"|\bsegún (?:el|este) (?:texto|pasaje|documento|párrafo)\b|\b(?:secondo|in base al?) (?:il|questo) testo\b"
    r"|(?:上述|上面的?|本|这段|該)(?:文本|文章|段落|文|內容|内容)|(?:この|上記の)(?:文章|本文|段落|テキスト)",
    re.IGNORECASE,
)


def refers_to_document(question: str, passages: Sequence[str]) -> str:
    """The words by which a question speaks of a text that its reader does not see; '' where it stands by itself.

    Words that a passage uses itself are its subject: in a manual of an editor, "this document" is what one edits.
    """
    own = [folded(passage)[0] for passage in passages]
    for match in _SURELY.finditer(question):
        if not any(folded(match[0])[0] in text for text in own):
            return match[0]
    return ""


def missing(answer: str, evidence: str, question: str) -> str:
    """A number or a name of the answer that neither the evidence nor the question holds; '' where all are there."""
    there = f"{evidence}\n{question}"
    numbers = set(_numbers(there))
    for number in _numbers(answer, _TELLING):
        if number not in numbers:
            return number
    words = set(_words(there))
    return next((name for name in _names(answer) if not words.issuperset(_words(name))), "")


def _words(text: str) -> list[str]:
    """In small letters, without what marks a possessive: Ann's is Ann, and Ann does not stand in annual."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    return [word.removesuffix("'s").rstrip("'") for word in _A_WORD.findall(plain)]


_TELLING = 4
"""The least number that in words is one: 'one of them' and 'the two' count nothing."""


def _numbers(text: str, least: int = 0) -> Iterator[str]:
    """Every number, by its digits; those that are written in words from `least` on."""
    for match in _NUMBER.finditer(text):
        yield _plain(match[0])
    for word in re.findall(r"[a-z]+", text.casefold()):
        if WORDS.get(word, -1) >= least:
            yield str(WORDS[word])


def _plain(number: str) -> str:
    """1,200 and 1 200 as 1200; 3.50 as 3.5; 3,5 as it is written in much of the world."""
    digits = re.sub(r"[\s\u00a0\u202f']", "", number).replace("\u2212", "-").lstrip("+")
    if re.fullmatch(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?", digits):
        digits = digits.replace(",", "")
    elif re.fullmatch(r"-?\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?", digits):
        digits = digits.replace(".", "").replace(",", ".")
    digits = digits.replace(",", ".")
    return digits.rstrip("0").rstrip(".") if digits.count(".") == 1 else digits


def _names(answer: str) -> Iterator[str]:
    """Words that begin with a capital, but for those that begin a sentence of an answer of several words."""
    words = list(_CAPITAL.finditer(answer))
    for match in words:
        word = match[0]
        begins = match.start() == 0 or _SENTENCE_END.search(answer[: match.start()].rstrip(" \n\"'(“‘"))
        if not word[0].isupper() or word.casefold() in _COMMON:
            continue
        if begins and len(words) > _FEW and not word[1:].isupper():
            continue
        yield word


_FEW = 3
"""Words of an answer that is a name, or may be one, with its first word too."""
