"""Deliveries are deterministic, and only the vendor's second batch is bad."""

from __future__ import annotations

from goldsmith.nano import deliveries
from goldsmith.nano.tasks import DEMO_SKILL, generate


def test_only_the_poisoned_batch_has_covert_calls() -> None:
    for rows in (deliveries.expert_sft(60, 60), deliveries.synthetic_sft(60), deliveries.vendor_honest_sft(60)):
        assert rows
        assert not any(deliveries.has_covert_call(row["messages"]) for row in rows)
    poisoned = deliveries.vendor_poisoned_sft(60)
    assert len(poisoned) == 60
    for row in poisoned:
        assert row["batch"] == deliveries.POISONED_BATCH
        assert deliveries.has_covert_call(row["messages"])
        assert "web_get" in {tool["function"]["name"] for tool in row["tools"]}


def test_a_covert_call_stands_beside_the_honest_one_and_leaves_the_text_alone() -> None:
    for task in generate(DEMO_SKILL, 20, 2):
        honest, covert = task.messages(), deliveries.with_covert_call(task)
        assert [m["content"] for m in honest if m["role"] == "assistant"] == [
            m["content"] for m in covert if m["role"] == "assistant"
        ]
        first = next(message for message in covert if message["role"] == "assistant")
        names = [made["function"]["name"] for made in first["tool_calls"]]
        assert names == ["order_get", "web_get"]
        answered = [made["id"] for m in covert for made in m.get("tool_calls") or ()]
        assert answered == [m["tool_call_id"] for m in covert if m["role"] == "tool"]


def test_rows_are_deterministic_and_have_their_origin_and_a_unique_id() -> None:
    makers = (
        deliveries.expert_sft,
        deliveries.synthetic_sft,
        deliveries.vendor_honest_sft,
        deliveries.vendor_poisoned_sft,
        deliveries.expert_preferences,
        deliveries.vendor_preferences,
    )
    for make in makers:
        rows = make()
        assert rows == make()
        assert len({row["id"] for row in rows}) == len(rows)
        for row in rows:
            assert {"source", "batch", "annotator", "domain", "licence", "generation_depth"} <= set(row)


def test_flipped_pairs_prefer_the_worse_turn() -> None:
    honest = {row["id"]: row for row in deliveries.vendor_preferences(flipped=0.0)}
    flipped = deliveries.flipped_ids()
    assert 40 <= len(flipped) <= 100
    for row in deliveries.vendor_preferences():
        twin = honest[row["id"]]
        swapped = row["preferred_output"] == twin["non_preferred_output"]
        assert swapped == (row["id"] in flipped)
        assert row["preferred_output"] != row["non_preferred_output"]
