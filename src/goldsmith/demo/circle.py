"""Plays the demonstration: deliveries, the circle, one served answer, its trace, a recall, the report."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from goldsmith import pipeline
from goldsmith.demo.asking import Asked, ask_over_http
from goldsmith.nano import deliveries
from goldsmith.stages.collect import sign_delivery
from goldsmith.stages.recall import Touched, recall
from goldsmith.stages.report import Story, report
from goldsmith.stages.trace import teachers
from goldsmith.trust.keys import KeyRing
from goldsmith.trust.verify import verify
from goldsmith.trust.workspace import Workspace
from goldsmith.types.errors import BadInput
from goldsmith.types.finding import Outcome
from goldsmith.types.recipe import Recipe, ReleasePolicy, Without

SOURCES = ("experts", "synthetic", "vendor")
POISONED = ("vendor", "second")
MARK = ".goldsmith-demo"
"""A file that says a folder was made by the demonstration and may be made anew."""

Say = Callable[[str], None]


@dataclass(slots=True)
class Played:
    """How the demonstration went. `expected`: whether it showed what it is meant to show; `facts` for `--json`."""

    expected: bool
    report: Path
    facts: dict[str, Any] = field(default_factory=dict)


def play(out: Path, *, unchecked: bool, say: Say, progress: bool = True) -> Played:
    """Run the demonstration in folder `out`. With `unchecked`, train on everything, whatever the checks say.

    Errors: BadInput if `out` holds something else; whatever the stages raise.
    """
    _fresh(out)
    ws = Workspace.create(out / "workspace", name="demo", keys=KeyRing(out / "keys"), sources=SOURCES)
    recipe = _write_recipe(out, unchecked)
    _deliver(ws, recipe, out, say)
    circle = pipeline.run(ws, recipe, out, say=say, progress=progress)
    model = circle.trained[-1].digest
    told, facts = _unchecked() if unchecked else _checked(ws, circle, out, say)
    facts = {**pipeline.summary(circle), **facts}
    (out / "checkpoint.txt").write_text(ws.checkpoint(), encoding="utf-8")
    (out / "root.txt").write_text(ws.root_fingerprint, encoding="utf-8")
    story = Story(**told, root=ws.root_fingerprint, checkpoint=ws.checkpoint())
    written = report(ws, model, out / "report.html", story)
    verified = verify(ws.path, ws.root_fingerprint, ws.checkpoint())
    say(f"verify: {verified.standing}")
    expected = _as_meant(circle, unchecked) and verified.ok and facts.get("served_after_recall") != 200
    facts |= {"as_meant": expected, "report": str(written), "verify": verified.standing}
    (out / "result.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
    return Played(expected, written, facts)


def _fresh(out: Path) -> None:
    if out.exists() and any(out.iterdir()):
        if not (out / MARK).exists():
            raise BadInput(
                "this folder holds something that is no demonstration", where=str(out), next_step="choose another"
            )
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()


def _write_recipe(out: Path, unchecked: bool) -> Recipe:
    text = resources.files("goldsmith.demo").joinpath("recipe.yaml").read_text(encoding="utf-8")
    if unchecked:
        # The policy must not refuse for the missing checks: that the examination alone refuses is what this arm shows.
        for old, new in (
            ("quarantined: leave_out", "quarantined: accept"),
            ("excluded: leave_out", "excluded: accept"),
            ("promote:\n", "promote:\n  accept_unchecked: true\n"),
        ):
            assert old in text
            text = text.replace(old, new)
    (out / "recipe.yaml").write_text(text, encoding="utf-8")
    recipe, _ = pipeline.read_recipe(out / "recipe.yaml")
    assert recipe.release != ReleasePolicy() or not unchecked
    return recipe


def _deliver(ws: Workspace, recipe: Recipe, out: Path, say: Say) -> None:
    """Each source writes its files and signs them with its own key."""
    (out / "data").mkdir()
    files = {
        ("experts", "answers"): deliveries.expert_sft(),
        ("experts", "preferences"): deliveries.expert_preferences(),
        ("synthetic", "answers"): deliveries.synthetic_sft(),
        ("vendor", "first"): deliveries.vendor_honest_sft(),
        ("vendor", "second"): [*deliveries.vendor_poisoned_sft(), *deliveries.vendor_preferences()],
    }
    for entry in recipe.sources:
        path = out / str(entry.file)
        rows = files[entry.name, entry.batch]
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        sign_delivery(ws, entry, path)
        say(f"deliver: {entry.name} signs {path.name}, {len(rows)} rows")
        # The next delivery of a source names the one before it, so each is taken in before the next is signed.
        pipeline.take_in(ws, entry, out)


def _checked(ws: Workspace, circle: pipeline.Circle, out: Path, say: Say) -> tuple[dict[str, Any], dict[str, Any]]:
    model = circle.trained[-1].digest
    if circle.outcome is not Outcome.PASS:
        return {"notes": ["The model was not promoted, so nothing was served."]}, {}
    say("serve: one question over HTTP")
    with ask_over_http(ws, circle.recipe.name) as ask:
        asked = ask()
        say(f"  asked: {asked.question}")
        say(f"  answered: {asked.answer}")
        near = teachers(ws, model, f"{asked.question}\n{asked.answer}")
        for one in near[:3]:
            say(
                f"  taught by: {one['source']} / {one['batch']} {one['record'][:23]} (nearness {one['similarity']:.2f})"
            )
        say("recall: the vendor's earlier, clean-looking delivery")
        touched = recall(ws, Without(source="vendor", batch="first"), "the vendor's next delivery was poisoned")
        after = ask()
    _write_retraining(touched, out)
    say(
        f"  touched {len(touched.releases)} release, {len(touched.models)} models; served after it: HTTP {after.status}"
    )
    told = {
        "question": asked.question,
        "answer": asked.answer,
        "served_model": asked.served_model,
        "teachers": near,
        "recalled": touched.as_dict(),
        "notes": [f"After the recall the same question was answered with HTTP {after.status}: {after.answer}"],
    }
    return told, _facts(asked, after, touched)


def _facts(asked: Asked, after: Asked, touched: Touched) -> dict[str, Any]:
    return {
        "question": asked.question,
        "answer": asked.answer,
        "served_model": asked.served_model,
        "served_after_recall": after.status,
        "recalled": touched.as_dict(),
    }


def _write_retraining(touched: Touched, out: Path) -> None:
    from goldsmith.engines.yaml_file import dump_yaml

    if touched.recipe is not None:
        (out / f"{touched.recipe.name}.yaml").write_text(dump_yaml(touched.recipe), encoding="utf-8")


def _unchecked() -> tuple[dict[str, Any], dict[str, Any]]:
    note = (
        "Everything delivered was trained on, whatever the checks said. The examination had to catch what that taught."
    )
    return {"notes": [note]}, {}


def _as_meant(circle: pipeline.Circle, unchecked: bool) -> bool:
    """The poisoned batch is named and the honest ones cleared; promoted without it, refused with it."""
    assert circle.checked is not None
    failed = {(one.source, one.batch) for one in circle.checked.sources if one.verdict is Outcome.FAIL}
    return failed == {POISONED} and circle.outcome is (Outcome.FAIL if unchecked else Outcome.PASS)
