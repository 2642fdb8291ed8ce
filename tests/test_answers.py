"""A value written another way is equal; a changed value is not; what only a reader can tell is left to one."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.answers.numbers import readings
from engine.answers.same import letter_of, same
from engine.answers.scoring import same_label

EQUAL = [
    ("1,200", "1200"), ("$1.20k", "1200"), ("3/4", "0.75"), ("75%", "0.75"), ("75%", "3/4"), ("1e3", "1000"),
    ("two dozen", "24"), ("5 km", "5000 m"), (r"\frac{3}{4}", "0.75"), (r"$\dfrac{1}{2}$", "0.5"), ("1 1/2", "1.5"),
    ("1½", "3/2"), ("3.33", "3.3333333333333335"), ("yes", "True"), ("50 cents", "$0.50"), ("-$5", "-5"),
    ("−7", "-7"), ("twenty-one", "21"), ("one hundred and five", "105"), ("two and a half", "2.5"),
    ("2024-02-29", "February 29, 2024"), ("29th of February 2024", "2024-02-29"), ("42 apples", "42"),
    ("The answer is 42.", "42"), (r"$\boxed{42}$", "42"), ("42.0", "42"), ("1.5 × 10^3", "1500"), ("half", "0.5"),
    ("three quarters", "0.75"), ("a dozen", "12"), ("0.30000000000000004", "0.3"), ("10 dollars", "$10"),
    ("2 hours", "120 minutes"), ("$18.00", "18"), ("3 million", "3000000"), ("Monday", "monday"), ("x = 4", "4"),
    ("1,234,567.5", "1234567.5"), ("12.5%", "0.125"), ("the Eiffel Tower", "Eiffel Tower"), ("5 feet", "60 inches"),
    ("1_000", "1000"), ("+3", "3"), (r"50\%", "50%"), ("3 1/4 cups", "3.25"), ("**42**", "42"),
]  # fmt: skip
UNEQUAL = [
    ("42", "43"), ("3", "3.33"), ("$50", "50 cents"), ("yes", "no"), ("2024-02-29", "2024-02-28"), ("75", "0.75"),
    ("5 km", "5 m"), ("1200", "120"), ("-5", "5"), ("0.75", "0.76"), ("1/2", "1/3"), ("two dozen", "two"),
    ("$1.20k", "1.2"), ("12", "12.4"), ("2 hours", "2 minutes"),
]  # fmt: skip
OPEN = [
    ("Paris", "the capital of France"),
    ("5 apples", "5 oranges"),
    ("02/03/2024", "2024-03-02"),
    ("2√3", "√12"),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_the_same_in_other_words(one: str, other: str) -> None:
    assert same(one, other) is True
    assert same(other, one) is True


@pytest.mark.parametrize(("one", "other"), UNEQUAL)
def test_not_the_same(one: str, other: str) -> None:
    assert same(one, other) is False
    assert same(other, one) is False


@pytest.mark.parametrize(("one", "other"), OPEN)
def test_left_to_a_reader(one: str, other: str) -> None:
    assert same(one, other) is None


def test_nothing_is_not_an_answer() -> None:
    assert same("", "42") is False
    assert same("42", "") is False
    assert same("", "=") is None


whole = st.integers(-(10**9), 10**9)
SPELLINGS = [
    str,
    lambda n: f"{n:,}",
    lambda n: f"{n}.0",
    lambda n: f"{n}.00",
    lambda n: f"${n}" if n >= 0 else f"-${-n}",
    lambda n: f"{n} apples",
    lambda n: f"The answer is {n}.",
    lambda n: rf"\boxed{{{n}}}",
    lambda n: f"{2 * n}/2",
    lambda n: f"{n * 100}%",
    lambda n: f"{n}e0",
    lambda n: f"**{n}**",
]


@given(whole, st.sampled_from(SPELLINGS), st.sampled_from(SPELLINGS))
def test_a_whole_number_respelled_is_equal(number: int, one: object, other: object) -> None:
    texts = one(number), other(number)  # type: ignore[operator]
    if any("$" in text for text in texts) and any("apples" in text for text in texts):
        return  # dollars and apples
    assert same(*texts) is True


@given(whole, st.integers(1, 1000), st.sampled_from(SPELLINGS), st.sampled_from(SPELLINGS))
def test_a_whole_number_changed_is_not(number: int, step: int, one: object, other: object) -> None:
    texts = one(number), other(number + step)  # type: ignore[operator]
    if not any("%" in text for text in texts):  # 75% may also be read as 75
        assert same(*texts) is False


@given(st.integers(-(10**6), 10**6), st.integers(1, 999), st.integers(1, 4))
def test_decimals_and_fractions(numerator: int, denominator: int, places: int) -> None:
    exact = Fraction(numerator, denominator)
    assert same(f"{numerator}/{denominator}", repr(float(exact))) is True
    shown = f"{float(exact):.{places}f}"
    changed = f"{float(exact) + 2 * 10**-places:.{places}f}"
    assert same(shown, changed) is False


@given(st.dates(date(1800, 1, 1), date(2200, 1, 1)), st.integers(1, 400))
def test_days(day: date, step: int) -> None:
    spellings = [day.isoformat(), f"{day:%B} {day.day}, {day.year}", f"{day.day} {day:%b} {day.year}"]
    for one in spellings:
        for other in spellings:
            assert same(one, other) is True
        assert same(one, date.fromordinal(day.toordinal() + step).isoformat()) is False


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_decided_or_left_and_both_ways_agree(one: str, other: str) -> None:
    assert same(one, one) in (True, None)
    if one.strip() and other.strip():
        assert same(one, other) == same(other, one)


@given(st.text(alphabet="0123456789.,/-%$ eE+×^½k", max_size=30))
def test_reading_numbers_never_fails(text: str) -> None:
    for reading in readings(text):
        assert isinstance(reading.value, Fraction)


def test_choices_by_letter_and_by_text() -> None:
    choices = ["Paris", "Lyon", "3/4", "0.5"]
    for answer in ("A", "a", "(A)", "A)", "A. Paris", "Paris", "paris", "option A", "the Paris"):
        assert letter_of(answer, choices) == "A", answer
    assert same("0.75", "C", choices) is True
    assert same("Lyon", "A", choices) is False
    assert same("Rome", "A", choices) is None
    assert same("A. Lyon", "A", choices) is None
    assert same("E", "A", choices) is None
    letters = ["B", "C", "D", "K"]
    assert same("A", "B", letters) is False
    assert same("B", "B", letters) is None  # the second choice, or the first one's text?
    assert same("K", "D", letters) is True


@pytest.mark.parametrize(
    ("one", "other", "labels", "same"),
    [
        (("Cats", "dogs"), ("dogs", "cats"), (), True),
        (("cats",), ("cats", "dogs"), (), False),
        ({"topic": "a", "tone": "Mild."}, {"topic": "A", "tone": "mild"}, (), True),
        ({"topic": "a"}, {"topic": "a", "tone": "x"}, (), False),
        ({"n": "7"}, {"n": "8"}, (), False),
        ({"n": "rather cold"}, {"n": "somewhat chilly"}, (), None),
        ({"n": "rather cold", "m": "7"}, {"n": "somewhat chilly", "m": "8"}, (), False),
        ("7.0", "7", (), True),
        ("It is positive", "positive", ("positive", "negative"), True),
        ("x", ("x",), (), False),
        (None, None, (), True),
        (None, "x", (), False),
    ],
)
def test_labels_of_any_kind_are_compared(one: Any, other: Any, labels: Any, same: bool | None) -> None:
    assert same_label(one, other, (), labels) is same
    if not labels:
        assert same_label(other, one, (), labels) is same
