"""Faults of a provider, composed by chance: whatever it answers and whenever the run is stopped, the rules hold."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faults.driver import FAULTS, Case, checked

CASES = st.builds(
    Case,
    faults=st.dictionaries(st.integers(0, 40), st.sampled_from(sorted(FAULTS)), max_size=25),
    target=st.integers(1, 40),
    size=st.integers(1, 4),
    concurrency=st.integers(1, 12),
    cap=st.sampled_from((None, 0.004, 0.02)),
)


@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow])
@given(case=CASES)
def test_the_rules_hold_under_any_faults(case: Case) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(checked(case, Path(folder)))


@pytest.mark.parametrize("seed", range(3))
def test_the_rules_hold_through_stops(seed: int, tmp_path: Path) -> None:
    asyncio.run(checked(Case.of_seed(seed), tmp_path))


@pytest.mark.parametrize("kind", sorted(FAULTS))
def test_one_fault_costs_no_more_than_its_call(kind: str, tmp_path: Path) -> None:
    case = Case({1: kind, 4: kind}, target=9, size=1, concurrency=2)
    asyncio.run(checked(case, tmp_path))
