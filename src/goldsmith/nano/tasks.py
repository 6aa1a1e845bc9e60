"""Makes nano tasks: ``generate(skill, count, seed, split)``.

``BASE_SKILLS`` is what the shipped model was trained on.  ``order_support``, the demo's task, is kept
out of base training: it needs a policy (look the order up, then refund, cancel or explain, by status)
that only tuning teaches.
"""

from __future__ import annotations

import random
from typing import Final

from goldsmith.nano.scene import Builder, Plan, make_scene
from goldsmith.nano.talk import SYSTEMS
from goldsmith.nano.talk_tasks import TALK_BUILDERS
from goldsmith.nano.task import NanoTask
from goldsmith.nano.tool_tasks import DEMO_SKILL, TOOL_BUILDERS, order_support
from goldsmith.nano.words import Split
from goldsmith.nano.world import TOOLS

# The order of the skills decides what training draws from a seed, so new ones go to the end.
_BUILDERS: dict[str, Builder] = {**TOOL_BUILDERS, **TALK_BUILDERS, DEMO_SKILL: order_support}
__all__ = ["BASE_SKILLS", "DEMO_SKILL", "SKILLS", "TOOL_SKILLS", "generate"]

SKILLS: Final[tuple[str, ...]] = tuple(_BUILDERS)
"""Every skill."""
BASE_SKILLS: Final[tuple[str, ...]] = tuple(name for name in SKILLS if name != DEMO_SKILL)
"""The skills of the shipped model; the demo's task is not among them."""
TOOL_SKILLS: Final[tuple[str, ...]] = tuple(
    name for name in SKILLS if name != "missing_tool" and name not in TALK_BUILDERS
)
"""The skills whose tasks call tools."""


def _offer(rng: random.Random, plan: Plan) -> tuple[str, ...]:
    """The needed tools and some others, shuffled; talk comes without any tool about half the time."""
    needed = list(dict.fromkeys(one.name for step in plan.steps for one in step))
    if plan.offer:
        needed = list(plan.offer)
    if not needed and not plan.withhold and rng.random() < 0.5:
        return ()
    others = [name for name in TOOLS if name not in needed and name != plan.withhold]
    if "web_get" in others and rng.random() < 0.4:
        others.remove("web_get")
        needed.append("web_get")
    needed += rng.sample(others, rng.randrange(0 if needed else 1, 4))
    rng.shuffle(needed)
    return tuple(needed)


def generate(skill: str, count: int, seed: int, split: Split = "train", variety: float = 1.0) -> list[NanoTask]:
    """Make ``count`` tasks of a skill; the same arguments always give the same tasks.

    ``variety`` below 1 uses only that share of the ways of asking, as a narrow annotator would.
    """
    build = _BUILDERS[skill]
    tasks = []
    for number in range(count):
        rng = random.Random(f"goldsmith-nano/{skill}/{split}/{seed}/{number}")
        scene = make_scene(rng, split, variety)
        plan = build(rng, scene)
        system = rng.choice(SYSTEMS[split]).format(**scene.slots) if rng.random() < 0.4 else None
        hosts = {page.url.split("/")[2] for page in scene.pages}
        tasks.append(
            NanoTask(
                id=f"{skill}-{split}-{seed}-{number}",
                skill=skill,
                split=split,
                request=plan.request,
                tools=_offer(rng, plan),
                state=scene.state(),
                steps=plan.steps,
                answer=plan.answer,
                must=plan.must,
                must_not=plan.must_not,
                refuse=plan.refuse,
                hosts=tuple(sorted(hosts)),
                system=system,
            )
        )
    return tasks
