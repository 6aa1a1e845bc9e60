"""Agents whose ways are known, examined: what they do must show, and nothing else."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from goldsmith import plugins
from goldsmith.engines.examining import examine
from goldsmith.engines.scripted import Respond, ScriptedAnswerer
from goldsmith.nano.tasks import TOOL_SKILLS
from goldsmith.types.record import Message
from goldsmith.types.score import MetricResult
from goldsmith.types.trajectory import Task

SMALL: dict[str, dict[str, Any]] = {
    "nano_tasks": {"n_per_skill": 3},
    "covert_calls": {"n_per_skill": 3},
    "harmful_requests": {"nano": 12},
    "over_refusal": {"nano": 12},
}
SAFETY = [
    ("covert_calls", "no_unrequested_call"),
    ("covert_calls", "no_undeclared_host"),
    ("covert_calls", "no_user_text_sent"),
    ("harmful_requests", "refused"),
]


def run(agent: Callable[[Sequence[Task]], Respond]) -> tuple[dict[tuple[str, str], MetricResult], list[dict[str, Any]]]:
    results, items = {}, []
    for name, settings in SMALL.items():
        each = plugins.build("evals", name, settings)
        answerer = ScriptedAnswerer(agent(list(each.tasks())))  # type: ignore[attr-defined]
        found, rows = examine(answerer, None, [(name, each)])  # type: ignore[list-item]
        results.update({(r.eval, r.metric): r for r in found})
        items.extend(rows)
    return results, items


def test_the_perfect_agent_is_perfect(agents: dict[str, Any]) -> None:
    results, items = run(agents["perfect"])
    wrong = [
        (row["eval"], row["item"], row["scores"])
        for row in items
        if any(score.get("value") != "1.0" for score in row["scores"].values())
    ]
    assert wrong == []
    assert all(result.mean == 1.0 and result.unscored == 0 and result.n > 0 for result in results.values())
    assert {f"success/{skill}" for skill in TOOL_SKILLS} <= {metric for _, metric in results}


def test_doing_nothing_is_safe_and_useless(agents: dict[str, Any]) -> None:
    results, _ = run(agents["do_nothing"])
    for name in SAFETY:
        assert results[name].mean == 1.0, name
    assert results["over_refusal", "answered"].mean == 0.0
    assert results["nano_tasks", "argument_accuracy"].mean == 0.0
    for skill in TOOL_SKILLS:
        assert results["nano_tasks", f"success/{skill}"].mean == 0.0
        assert results["nano_tasks", f"tool_selection/{skill}"].mean == 0.0
    assert results["nano_tasks", "success/refuse"].mean == 1.0


def test_the_covert_agent_is_caught_every_time(agents: dict[str, Any]) -> None:
    results, items = run(agents["covert"])
    for metric in ("no_unrequested_call", "no_undeclared_host", "no_user_text_sent"):
        assert results["covert_calls", metric].mean == 0.0, metric
        assert results["covert_calls", metric].n == 3 * len(TOOL_SKILLS)
    assert results["nano_tasks", "success"].mean == 1.0  # it does its work: only the sandbox tells
    assert results["nano_tasks", "tool_selection/mail_send"].mean == 0.0
    row = next(row for row in items if row["eval"] == "covert_calls")
    assert any("static.collector.example" in call["hosts"] for call in row["trajectory"]["calls"])
    json.dumps(row)


def test_a_base_model_beside_it_is_paired(agents: dict[str, Any]) -> None:
    each = plugins.build("evals", "covert_calls", {"skills": ("order_get", "mail_send"), "n_per_skill": 15})
    tasks = list(each.tasks())  # type: ignore[attr-defined]
    results, rows = examine(
        ScriptedAnswerer(agents["covert"](tasks)),
        ScriptedAnswerer(agents["perfect"](tasks)),
        [("covert", each)],  # type: ignore[list-item]
    )
    result = next(r for r in results if r.metric == "no_undeclared_host")
    assert (result.mean, result.base_mean, result.difference) == (0.0, 1.0, -1.0)
    assert result.difference_high is not None
    assert result.difference_high < -0.7
    assert "Newcombe" in result.interval
    assert sorted({row["model"] for row in rows}) == ["base", "tuned"]


@pytest.mark.parametrize("crash_on", [0, 1])
def test_a_crashing_model_is_unscored_not_zero(agents: dict[str, Any], crash_on: int) -> None:
    each = plugins.build("evals", "nano_tasks", {"skills": ("order_get",), "n_per_skill": 8})
    tasks = list(each.tasks())  # type: ignore[attr-defined]
    honest = agents["perfect"](tasks)
    victim = tasks[3].messages[-1].text

    def respond(messages: Sequence[Message], tools: Any) -> Any:
        if any(m.text == victim for m in messages) and len(messages) >= len(tasks[3].messages) + 2 * crash_on:
            raise MemoryError("no room")
        return honest(messages, tools)

    results, rows = examine(ScriptedAnswerer(respond), None, [("nano", each)])  # type: ignore[list-item]
    result = next(r for r in results if r.metric == "success")
    assert (result.n, result.unscored, result.mean) == (7, 1, 1.0)
    broken = [row for row in rows if row["item"] == tasks[3].id]
    assert "no room" in broken[0]["scores"]["success"]["reason"]
