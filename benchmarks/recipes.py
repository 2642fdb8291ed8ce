"""What 10,000 items of each recipe cost, by `datagen plan`: the table of the README. No call is made.

python -m benchmarks.recipes
"""

from __future__ import annotations

from pathlib import Path

from engine.analysis.recipes import recipes
from engine.config import RunConfig
from engine.runs.estimate import Plan
from engine.runs.estimate_rows import plan_for
from engine.runs.modes import mode_for

ITEMS = 10_000
FOLDER = Path(__file__).resolve().parent.parent / "examples" / "recipes"


def plan_of_recipe(name: str) -> tuple[Plan, float]:
    """The plan, and by what its figures are multiplied: a recipe over rows is planned over those that it brings."""
    path = FOLDER / f"{name}.yaml"
    config = RunConfig.load(path)
    if config.map is not None:
        config = config.changed(map=config.map.model_copy(update={"reuse": False}))
        found = plan_for(mode_for(config).load(config))
        return found, ITEMS / found.left
    config = RunConfig.load(path, {"generate.target": ITEMS, "limits.budget_usd": None})
    return plan_for(mode_for(config).load(config)), 1.0


def main() -> None:
    """Prints the table."""
    print("| recipe | what it makes | calls | likely | at least to at most |")
    print("|---|---|---|---|---|")
    for name, said in recipes().items():
        found, factor = plan_of_recipe(name)
        dollars = found.dollars
        assert dollars is not None
        low, likely, high = (each * factor for each in dollars)
        what = said.split(":", 1)[0].rstrip(".")
        print(
            f"| `{name}` | {what} | {found.calls.likely * factor:,.0f} | ${likely:,.2f} | ${low:,.2f} to ${high:,.2f} |"
        )


if __name__ == "__main__":
    main()
