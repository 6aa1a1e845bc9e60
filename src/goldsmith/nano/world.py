"""The small closed world in which goldsmith-nano makes its tool calls.

A ``WorldState`` is an immutable picture of mail, calendar, files, orders and web pages; a ``World``
holds one such picture, runs tool calls against it and replaces it.  Two runs are compared with
``world.snapshot() == other.snapshot()``.  A bad call never raises: as with a real tool server, the
caller gets a text that begins with ``error:``.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Person:
    """Someone in the address book."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Mail:
    """A received mail; ``id`` is ``m`` and digits."""

    id: str
    sender: str
    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class SentMail:
    """A mail that left through ``mail_send``."""

    to: str
    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class Event:
    """A calendar entry; ``date`` is ``YYYY-MM-DD`` and ``time`` is ``HH:MM``."""

    title: str
    date: str
    time: str


@dataclass(frozen=True, slots=True)
class File:
    """A text file by its path."""

    path: str
    content: str


@dataclass(frozen=True, slots=True)
class Order:
    """A shop order; ``status`` is processing, shipped, delivered, cancelled or refunded."""

    order_id: str
    item: str
    status: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A web page by its full address."""

    url: str
    text: str


@dataclass(frozen=True, slots=True)
class WorldState:
    """Everything that a tool can read or change; equality compares two worlds."""

    people: tuple[Person, ...] = ()
    mails: tuple[Mail, ...] = ()
    sent: tuple[SentMail, ...] = ()
    events: tuple[Event, ...] = ()
    files: tuple[File, ...] = ()
    orders: tuple[Order, ...] = ()
    pages: tuple[Page, ...] = ()
    notes: tuple[str, ...] = ()
    fetched: tuple[str, ...] = ()
    """Every address that ``web_get`` sent a request to, whether a page was there or not."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool's name, one-line description and parameters (name to description; all are strings)."""

    name: str
    description: str
    parameters: tuple[tuple[str, str], ...]

    def schema(self) -> Json:
        """The tool as an OpenAI function definition."""
        properties = {name: {"type": "string", "description": text} for name, text in self.parameters}
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": {
                    "type": "object",
                    "properties": properties,
                    "required": [name for name, _ in self.parameters],
                    "additionalProperties": False,
                },
            },
        }


_SPECS = (
    ToolSpec("mail_search", "Search the mailbox.", (("query", "words of the subject"),)),
    ToolSpec("mail_read", "Read one mail.", (("mail_id", "id of the mail"),)),
    ToolSpec(
        "mail_send",
        "Send a mail.",
        (("to", "address of the receiver"), ("subject", "subject line"), ("body", "text of the mail")),
    ),
    ToolSpec("contact_find", "Find the address of a person.", (("name", "full name"),)),
    ToolSpec("calendar_find", "List the events of a day.", (("date", "day as YYYY-MM-DD"),)),
    ToolSpec(
        "calendar_add",
        "Add an event.",
        (("title", "name of the event"), ("date", "day as YYYY-MM-DD"), ("time", "start as HH:MM")),
    ),
    ToolSpec("file_read", "Read a file.", (("path", "path of the file"),)),
    ToolSpec("file_write", "Write a file.", (("path", "path of the file"), ("content", "new text"))),
    ToolSpec("note_add", "Keep a short note.", (("text", "text of the note"),)),
    ToolSpec("weather_get", "Get the weather of a town.", (("town", "name of the town"),)),
    ToolSpec("order_get", "Look up an order.", (("order_id", "number of the order"),)),
    ToolSpec("order_cancel", "Cancel an order that was not sent.", (("order_id", "number of the order"),)),
    ToolSpec(
        "order_refund",
        "Pay back a delivered order.",
        (("order_id", "number of the order"), ("reason", "why it goes back")),
    ),
    ToolSpec("web_get", "Fetch a web page.", (("url", "address of the page"),)),
)
TOOLS: Mapping[str, ToolSpec] = {spec.name: spec for spec in _SPECS}
"""Every tool of the world by name."""

_SKIES = ("sun", "rain", "snow", "fog", "wind", "clouds")


def tool_schemas(names: tuple[str, ...]) -> list[Json]:
    """OpenAI tool definitions of the named tools, in the order given."""
    return [TOOLS[name].schema() for name in names]


def weather(town: str) -> tuple[int, str]:
    """The weather of a town in degrees Celsius and one word; fixed for a name."""
    code = zlib.crc32(town.strip().casefold().encode())
    return code % 31, _SKIES[code // 31 % len(_SKIES)]


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


class World:
    """A running world: ``call`` answers a tool call and moves the state on."""

    def __init__(self, state: WorldState) -> None:
        self._state = state
        self._handlers: dict[str, Callable[[dict[str, str]], str]] = {name: getattr(self, f"_{name}") for name in TOOLS}

    def snapshot(self) -> WorldState:
        """The present state, for comparison."""
        return self._state

    def call(self, name: str, arguments: object) -> str:
        """Run one tool call; an unknown tool or bad arguments give an ``error:`` text."""
        spec = TOOLS.get(name)
        if spec is None:
            return f"error: unknown tool {name}"
        if not isinstance(arguments, Mapping):
            return f"error: arguments of {name} must be an object"
        wanted = [parameter for parameter, _ in spec.parameters]
        for parameter in wanted:
            if parameter not in arguments:
                return f"error: missing argument {parameter}"
            if not isinstance(arguments[parameter], str):
                return f"error: argument {parameter} must be a string"
        for given in arguments:
            if given not in wanted:
                return f"error: unknown argument {given}"
        return self._handlers[name]({key: str(arguments[key]) for key in wanted})

    def _mail_search(self, args: dict[str, str]) -> str:
        query = args["query"].casefold().strip()
        hits = [mail for mail in self._state.mails if query and query in mail.subject.casefold()]
        return _dump([{"mail_id": m.id, "from": m.sender, "subject": m.subject} for m in hits])

    def _mail_read(self, args: dict[str, str]) -> str:
        for mail in self._state.mails:
            if mail.id == args["mail_id"]:
                return _dump({"from": mail.sender, "subject": mail.subject, "body": mail.body})
        return f"error: no mail {args['mail_id']}"

    def _mail_send(self, args: dict[str, str]) -> str:
        if "@" not in args["to"]:
            return f"error: {args['to']} is not an address"
        mail = SentMail(args["to"], args["subject"], args["body"])
        self._state = replace(self._state, sent=(*self._state.sent, mail))
        return _dump({"sent_to": mail.to})

    def _contact_find(self, args: dict[str, str]) -> str:
        for person in self._state.people:
            if person.name.casefold() == args["name"].casefold().strip():
                return _dump({"name": person.name, "address": person.address})
        return f"error: no person {args['name']}"

    def _calendar_find(self, args: dict[str, str]) -> str:
        hits = [event for event in self._state.events if event.date == args["date"]]
        return _dump([{"title": e.title, "time": e.time} for e in hits])

    def _calendar_add(self, args: dict[str, str]) -> str:
        event = Event(args["title"], args["date"], args["time"])
        self._state = replace(self._state, events=(*self._state.events, event))
        return _dump({"added": event.title})

    def _file_read(self, args: dict[str, str]) -> str:
        for file in self._state.files:
            if file.path == args["path"]:
                return file.content
        return f"error: no file {args['path']}"

    def _file_write(self, args: dict[str, str]) -> str:
        others = tuple(file for file in self._state.files if file.path != args["path"])
        self._state = replace(self._state, files=(*others, File(args["path"], args["content"])))
        return _dump({"saved": args["path"]})

    def _note_add(self, args: dict[str, str]) -> str:
        self._state = replace(self._state, notes=(*self._state.notes, args["text"]))
        return _dump({"noted": True})

    def _weather_get(self, args: dict[str, str]) -> str:
        degrees, sky = weather(args["town"])
        return _dump({"town": args["town"], "degrees": degrees, "sky": sky})

    def _find_order(self, order_id: str) -> Order | None:
        return next((order for order in self._state.orders if order.order_id == order_id), None)

    def _put_order(self, changed: Order) -> str:
        orders = tuple(changed if o.order_id == changed.order_id else o for o in self._state.orders)
        self._state = replace(self._state, orders=orders)
        return _dump({"order_id": changed.order_id, "status": changed.status})

    def _order_get(self, args: dict[str, str]) -> str:
        order = self._find_order(args["order_id"])
        if order is None:
            return f"error: no order {args['order_id']}"
        return _dump({"order_id": order.order_id, "item": order.item, "status": order.status})

    def _order_cancel(self, args: dict[str, str]) -> str:
        order = self._find_order(args["order_id"])
        if order is None:
            return f"error: no order {args['order_id']}"
        if order.status != "processing":
            return f"error: order {order.order_id} is {order.status}"
        return self._put_order(replace(order, status="cancelled"))

    def _order_refund(self, args: dict[str, str]) -> str:
        order = self._find_order(args["order_id"])
        if order is None:
            return f"error: no order {args['order_id']}"
        if order.status != "delivered":
            return f"error: order {order.order_id} is {order.status}"
        return self._put_order(replace(order, status="refunded", reason=args["reason"]))

    def _web_get(self, args: dict[str, str]) -> str:
        # The request counts as sent even when no page is there: data in an address has then left.
        self._state = replace(self._state, fetched=(*self._state.fetched, args["url"]))
        for page in self._state.pages:
            if page.url == args["url"]:
                return page.text
        return "error: no page there"
