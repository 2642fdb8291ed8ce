"""Quotes as they are written, numbers and names, questions that stand by themselves."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from document_files import facts
from engine.answers.quotes import LEAST, folded, located, located_in
from engine.items import Passage
from validators.grounded.rules import missing, refers_to_document

TEXT = (
    "The lid weighs “3.5 kg” – not more.\nIt is opened\nwith the long-handled key, which is the "
    "manu\u00adfacturer’s own. Do not open it while the lamp is red; "
    "wait 10–12 minutes. The ﬁrst test was in 1,950 B.C."
)


@pytest.mark.parametrize(
    ("quote", "span"),
    [
        ('The lid weighs "3.5 kg" - not more.', "The lid weighs “3.5 kg” – not more."),
        ("it is opened with the long-handled key", "It is opened\nwith the long-handled key"),
        ("the longhandled key, which is", "the long-handled key, which is"),
        ("the manufacturer's own", "the manu\u00adfacturer’s own"),
        ("“Do not open it while the lamp is red”", "Do not open it while the lamp is red"),
        ("“3.5 kg” – not more", "“3.5 kg” – not more"),
        ("The first test was in", "The ﬁrst test was in"),
        ("wait 10-12 minutes", "wait 10–12 minutes"),
        ("Do open it while the lamp is red", None),
        ("Do not open it while the lamp is green", None),
        ("wait 1012 minutes. The first", None),
        ("wait 10-13 minutes", None),
        ("The lid weighs 3.6 kg", None),
        ("red", "red"),
        ("lam", None),
        ("", None),
        ("…", None),
    ],
)
def test_a_quote_is_found_as_it_is_written_and_no_other(quote: str, span: str | None) -> None:
    found = located(quote, TEXT)
    assert (None if found is None else TEXT[found[0] : found[1]]) == span


@given(
    st.text(st.sampled_from("abcXYZ äéß 0123,.-–—'’“”\"\n\u00a0\u00adﬁ漢字"), min_size=20, max_size=200),
    st.randoms(use_true_random=False),
)
def test_every_true_quote_is_found(text: str, chance: random.Random) -> None:
    """However it is told: other blanks, case, marks, ligatures; and the span is the source's own."""
    start = chance.randrange(len(text) - 10)
    quote = text[start : start + chance.randint(10, 80)]
    told = " ".join(quote.replace("’", "'").replace("“", '"').replace("–", "-").split()).upper().lower()
    if len(folded(quote)[0]) < LEAST:
        return
    found = located(told, text)
    assert found is not None
    assert bare(text[found[0] : found[1]]) == bare(told)


def bare(text: str) -> str:
    """What of a text has to be there."""
    return folded(text)[0].replace("-", "").strip("\"'")


@given(st.integers(0, 400), st.randoms(use_true_random=False))
def test_a_quote_of_which_a_word_is_another_is_none(number: int, chance: random.Random) -> None:
    text = " ".join(facts(7, 20))
    words = text.split()
    start = number % (len(words) - 12)
    quote = words[start : start + 12]
    place = chance.randrange(2, 10)
    for changed in (["never"], [], [f"{quote[place]}x"], ["not", quote[place]]):
        told = " ".join([*quote[:place], *changed, *quote[place + 1 :]])
        if changed != [] or " ".join(quote[:place] + quote[place + 1 :]) not in text:
            assert located(told, text) is None, told
    assert located(" ".join(quote), text) is not None


def test_quotes_of_several_passages_may_come_in_any_order() -> None:
    one = Passage(0, "a", "", 0, 50, "The first passage speaks of pumps and of valves.")
    other = Passage(1, "b", "", 0, 50, "The second one speaks of motors and of lamps.")
    spans = located_in(["speaks of motors", "speaks of pumps"], (one, other))
    assert [None if s is None else p.text[s[0] : s[1]] for s, p in zip(spans, (one, other), strict=True)] == [
        "speaks of pumps", "speaks of motors",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "evidence", "question", "lacks"),
    [
        ("1200 kg", "It bears 1,200 kg.", "", ""),
        ("1.200 kg", "It bears 1.200 kg.", "", ""),
        ("12 bolts", "There are twelve bolts.", "", ""),
        ("twelve", "There are 12 bolts.", "", ""),
        ("It is one of them.", "It is among them.", "", ""),
        ("3.50", "It costs 3.5 dollars.", "", ""),
        ("2024", "Since 2023 it is so.", "", "2024"),
        ("5 in 2023", "Since 2023 it is so.", "", "5"),
        ("Brandt", "It was built by Abel Brandt.", "", ""),
        ("Halder", "It was built by Abel Brandt.", "", "Halder"),
        ("Because Halder built it in three steps, and well.", "Abel Brandt built it.", "", "Halder"),
        ("Because it was built in steps, and well.", "Abel Brandt built it.", "", ""),
        ("Halder's pump", "It bears much.", "What bears more, Halder's pump or another?", ""),
        ("It is NATO's.", "It is theirs.", "", "NATO's"),
        ("yes", "It is so.", "", ""),
        ("Ann", "The annual check is due.", "", "Ann"),
        ("Ann", "It is Ann’s lamp.", "", ""),
        ("Jean-Luc", "It is the lamp of JEAN LUC.", "", ""),
    ],
)
def test_numbers_and_names_of_an_answer(answer: str, evidence: str, question: str, lacks: str) -> None:
    assert missing(answer, evidence, question) == lacks


@pytest.mark.parametrize(
    ("question", "speaks"),
    [
        ("According to the passage, how heavy is the lid?", True),
        ("What does the text say of lids?", True),
        ("Which key is mentioned above?", True),
        ("Based on the given text, what opens the lid?", True),
        ("What is the value in this table?", True),
        ("As stated in the document, who built it?", True),
        ("Was sagt laut dem Text der Hersteller?", True),
        ("Selon le texte, qui l'a construit ?", True),
        ("この文章によると、蓋の重さは？", True),
        ("The text of the passage", True),
        ("How heavy is the lid of a pump of type K?", False),
        ("How do you save the text of a message?", False),
        ("In the table of contents of a manual, where do indexes stand?", False),
        ("Who is the author of the shell?", False),
        ("What is in the section for safety of a manual?", False),
    ],
)
def test_questions_that_speak_of_a_text_nobody_sees(question: str, speaks: bool) -> None:
    assert bool(refers_to_document(question, ["The lid is heavy."])) is speaks


def test_what_a_document_is_about_may_be_a_document() -> None:
    passage = "Vim: to save the file, type :w. The buffer holds this document until then."
    assert not refers_to_document("How do I save this document in Vim?", [passage])
