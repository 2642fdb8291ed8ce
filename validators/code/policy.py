"""What the answers of several programs say of a label: pure decisions.

confirm  keep the label where an independent program agrees; after a disagreement, whichever answer leads
         by `margin` votes, the label itself having one; else reject
vote     the answer most programs give, whatever the label says; a tie rejects
relabel  the first program's answer, as in arXiv 2406.18966
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from validators.ballot import LABEL

PolicyName = Literal["confirm", "vote", "relabel"]


class Step(StrEnum):
    """What to do next."""

    ASK = "ask"
    ACCEPT = "accept"
    RELABEL = "relabel"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Policy:
    """`max_programs` that run to an end are asked for at most.

    `agree`: programs that must give the label's answer where none gives another. `margin`: votes by which an
    answer must lead once programs disagree; 0 for a relabelling margin never relabels.
    """

    name: PolicyName = "confirm"
    max_programs: int = 3
    agree: int = 1
    margin: int = 1
    relabel_margin: int = 0

    def step(self, votes: Sequence[int], asked: int) -> tuple[Step, int]:
        """What to do, and which answer is the right one.

        `votes[i]` counts the programs that gave answer i; answer 0 is the label's. `asked` counts all
        programs so far, those without an answer too.
        """
        decided = _DECIDE[self.name](self, votes, asked >= self.max_programs)
        if decided is None:
            return (Step.ASK, LABEL) if asked < self.max_programs else (Step.REJECT, LABEL)
        return (Step.ACCEPT if decided == LABEL else Step.RELABEL), decided


def _confirm(policy: Policy, votes: Sequence[int], last: bool) -> int | None:
    support, others = votes[LABEL], votes[1:]
    if not any(others):
        return LABEL if support >= policy.agree else None
    if support - max(others) >= policy.margin and support >= policy.agree:
        return LABEL
    best = max(range(1, len(votes)), key=lambda place: votes[place])
    rivals = [count + (place == LABEL) for place, count in enumerate(votes) if place != best]
    if policy.relabel_margin and votes[best] - max(rivals) >= policy.relabel_margin:
        return best
    return None


def _vote(policy: Policy, votes: Sequence[int], last: bool) -> int | None:
    ranked = sorted(votes, reverse=True)
    lead = ranked[0] - (ranked[1] if len(ranked) > 1 else 0)
    out_of_reach = ranked[0] * 2 > policy.max_programs
    return votes.index(ranked[0]) if (last or out_of_reach) and lead > 0 else None


def _relabel(policy: Policy, votes: Sequence[int], last: bool) -> int | None:
    return next((place for place, count in enumerate(votes) if count), None)


_DECIDE = {"confirm": _confirm, "vote": _vote, "relabel": _relabel}
