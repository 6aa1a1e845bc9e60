"""Rows that only ask: enough where the model writes its own answers, nothing to learn from elsewhere."""

import json
from pathlib import Path

import pytest

from goldsmith import pipeline
from goldsmith.stages.show_batch import show_batch
from goldsmith.trust.keys import KeyRing
from goldsmith.trust.workspace import Workspace
from goldsmith.types.errors import GateRefused
from goldsmith.types.recipe import Recipe

THINGS = ("sea", "tree", "house", "dog", "cat", "bird", "hill", "lake", "road", "car", "boat", "moon", "star", "snow")
ONLINE = "{method: grpo, settings: {max_steps: 1, rewards: [{reward: length}]}}"
SFT = "{method: sft, settings: {max_steps: 1}}"


def recipe(folder: Path, steps: str, checks: str = "{}") -> Recipe:
    """Prompts, and one that asks nothing."""
    asked = [f"Say a word about number {number} and the {thing}." for number, thing in enumerate(THINGS)]
    rows = [{"messages": [{"role": "user", "content": text}]} for text in [*asked, "  "]]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "recipe.yaml").write_text(
        f"""\
name: words
base: goldsmith-nano
sources: [{{name: own, file: prompts.jsonl, trusted: true}}]
checks: {checks}
train: [{steps}]
examine: [{{eval: fit_gap, name: fit}}]
promote: {{rules: [{{eval: fit, metric: gap, at_most: 9.0}}]}}
""",
        encoding="utf-8",
    )
    return pipeline.read_recipe(folder / "recipe.yaml")[0]


def released(folder: Path, read: Recipe) -> int:
    with Workspace.create(folder / "ws", keys=KeyRing(folder / "keys"), sources=("own",)) as ws:
        circle = pipeline.Circle(read)
        pipeline.prepare(ws, circle, folder)
        return circle.release[1].count


def test_a_run_that_learns_from_rewards_takes_prompts_alone(tmp_path: Path) -> None:
    read = recipe(tmp_path, ONLINE)
    assert released(tmp_path, read) == len(THINGS), "the one that asks nothing is left out"
    shown = show_batch(read, tmp_path)
    assert shown.left_out == (f"own / 1 line {len(THINGS) + 1}",)


@pytest.mark.parametrize(
    ("steps", "checks"),
    [
        (SFT, "{}"),
        (f"{SFT}, {ONLINE}", "{}"),  # the first step learns from what stands in the rows
        (ONLINE, "{settings: {well_formed: {prompts_alone: false}}}"),
    ],
)
def test_elsewhere_they_are_left_out(tmp_path: Path, steps: str, checks: str) -> None:
    read = recipe(tmp_path, steps, checks)
    with pytest.raises(GateRefused):
        released(tmp_path, read)
