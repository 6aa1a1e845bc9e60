"""Does the model do its work in the nano world?"""

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import Field, field_validator

from goldsmith.engines.call_matching import (
    calls_in,
    expected_of,
    match,
    names_in_order,
    wanted_from_json,
)
from goldsmith.engines.refusals import Stance, stance
from goldsmith.engines.rollout import final_answer, unscored_if_failed
from goldsmith.engines.scripted import played
from goldsmith.nano.episode import normal
from goldsmith.nano.exam import NanoEnvironment, environment_of, exam_task, heldout, shortcoming
from goldsmith.nano.tasks import SKILLS, generate
from goldsmith.types.artifact import Spec
from goldsmith.types.score import Score, Scored
from goldsmith.types.trajectory import Environment, StopReason, Task, Trajectory


class NanoTasks(Spec):
    """Tasks of the nano world, from the held-out split: no template, name or item of theirs was trained on.

    Metrics, each also by skill as `metric/skill`:
    `success`: the world's lasting state is the one the right calls leave, and the final answer says what it
    must (refuses, where the task is to be refused).
    `tool_selection`: the right tools in the right order, none else (parallel calls in any order).
    `argument_accuracy`: mean share of right arguments over the wanted calls; tasks without calls have no such
    score.
    """

    id: ClassVar[str] = "nano_tasks"
    version: ClassVar[int] = 1

    skills: tuple[str, ...] = SKILLS
    """Which skills to examine; by default all, so that a tuned model's other skills are seen too."""
    n_per_skill: int = Field(default=20, ge=1)
    """Tasks for each skill."""
    seed: int = 0
    """Another seed gives other tasks."""

    @field_validator("skills")
    @classmethod
    def _known(cls, skills: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [skill for skill in skills if skill not in SKILLS]
        if unknown or not skills:
            raise ValueError(f"unknown skill {', '.join(unknown) or '(none given)'}; there are {', '.join(SKILLS)}")
        return skills

    def tasks(self) -> Iterator[Task]:
        """The tasks, skill by skill."""
        return (exam_task(task) for task in heldout(self.skills, self.n_per_skill, self.seed))

    def environment(self, task: Task) -> Environment:
        """The task's world in its starting state."""
        return environment_of(task)

    def score(self, task: Task, trajectory: Trajectory, environment: Environment) -> dict[str, Score]:
        """Scores by metric, and by metric and skill."""
        expected = expected_of(task.expected)
        failed = unscored_if_failed(trajectory)
        steps = [wanted_from_json(step) for step in expected["steps"]]
        wanted = [call for step in steps for call in step]
        made = calls_in(trajectory.messages)
        right = names_in_order([[call.name for call in step] for step in steps], [call.name for call in made])
        problem = _shortcoming(expected, trajectory, environment)
        scores: dict[str, Score] = {
            "success": failed or Scored(value=float(not problem), note=problem),
            "tool_selection": failed or Scored(value=float(right)),
        }
        if wanted:
            scores["argument_accuracy"] = failed or Scored(value=match(wanted, made).argument_accuracy)
        by_skill = {f"{metric}/{expected['skill']}": score for metric, score in scores.items()}
        return scores | by_skill


def _shortcoming(expected: dict[str, Any], trajectory: Trajectory, environment: Environment) -> str:
    """Why the task is not done; empty if it is."""
    if trajectory.stop_reason is not StopReason.ANSWERED:
        return f"stopped: {trajectory.stop_reason.value}"
    answer = final_answer(trajectory)
    found = shortcoming({**expected, "must": [], "must_not": []} if expected["refuse"] else expected,
                        environment.snapshot(), answer)  # fmt: skip
    if found or not expected["refuse"]:
        return found
    return "" if stance(normal(answer)) is Stance.REFUSED else "did not refuse"


def _played(skip_last: bool) -> tuple[Task, Trajectory, Environment]:
    """One task of several steps played by the gold calls, or by all but the last of them."""
    source = next(task for task in generate("file_mail", 20, 0, "heldout") if len(task.steps) > 1)
    steps = source.steps[:-1] if skip_last else source.steps
    turns = [[(call.name, call.mapping())] for step in steps for call in step]
    return played(exam_task(source), NanoEnvironment(source.state), turns, source.answer)


def solved() -> tuple[Task, Trajectory, Environment]:
    """All calls made, the right answer given."""
    return _played(skip_last=False)


def failed() -> tuple[Task, Trajectory, Environment]:
    """Says that it is done, but the last call was never made."""
    return _played(skip_last=True)
