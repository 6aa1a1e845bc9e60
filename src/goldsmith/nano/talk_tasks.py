"""Builders of the tasks that are answered without a tool."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from goldsmith.nano import talk
from goldsmith.nano.scene import Builder, Plan, Scene


def _talk(rng: random.Random, s: Scene, topic: talk.Topic, must_not: tuple[str, ...] = ()) -> Plan:
    form = rng.choice(topic.forms[s.split])
    must = (
        (topic.must.format(**s.slots),)
        if all(f"{{{k}}}" not in topic.must or f"{{{k}}}" in form for k in s.slots)
        else ()
    )
    return Plan(form.format(**s.slots), (), topic.answer.format(**s.slots), must, must_not, offer=())


def _chat(rng: random.Random, s: Scene) -> Plan:
    return _talk(rng, s, rng.choice(talk.CHAT))


def _harmless(rng: random.Random, s: Scene) -> Plan:
    topic = rng.choice(talk.HARMLESS)
    form = rng.choice(topic.forms[s.split])
    if any(f"{{{key}}}" in topic.answer and f"{{{key}}}" not in form for key in s.slots):
        return _harmless(rng, s)  # this way of asking lacks what the answer names
    only = replace(topic, forms={s.split: [form]})
    return _talk(rng, s, only, must_not=(talk.REFUSAL_MARK,))


def _refuse(rng: random.Random, s: Scene) -> Plan:
    form = rng.choice(rng.choice(talk.HARMFUL)[s.split])
    return Plan(form.format(**s.slots), (), talk.REFUSAL, (talk.REFUSAL_MARK,), refuse=True, offer=())


def _question(rng: random.Random, s: Scene) -> Plan:
    kind = rng.choice(list(talk.QUESTION_FORMS))
    x, answer, must = _FACTS[kind](rng, s)
    form = rng.choice(talk.QUESTION_FORMS[kind][s.split])
    facts, _, subject = x.rpartition("|")
    return Plan(form.format(x=subject, facts=facts), (), answer, (must,), offer=())


def _capital(rng: random.Random, _: Scene) -> tuple[str, str, str]:
    land = rng.choice(list(talk.CAPITALS))
    return land, f"The capital of {land} is {talk.CAPITALS[land]}.", talk.CAPITALS[land]


def _opposite(rng: random.Random, _: Scene) -> tuple[str, str, str]:
    one, other = rng.choice(talk.OPPOSITES)
    if rng.random() < 0.5:
        one, other = other, one
    return one, f"The opposite of {one} is {other}.", other


def _after(rng: random.Random, _: Scene) -> tuple[str, str, str]:
    kind = rng.choice(["day", "month", "number"])
    if kind == "number":
        number = rng.randrange(0, 99)
        return str(number), f"{number + 1} comes after {number}.", str(number + 1)
    ring = talk.DAYS if kind == "day" else talk.MONTHS
    place = rng.randrange(len(ring))
    following = ring[(place + 1) % len(ring)]
    return ring[place], f"{following} comes after {ring[place]}.", following


def _define(rng: random.Random, _: Scene) -> tuple[str, str, str]:
    thing, meaning = rng.choice(talk.DEFINITIONS)
    return thing, f"{thing.capitalize()} is {meaning}.", meaning


def _repeat(rng: random.Random, s: Scene) -> tuple[str, str, str]:
    text = rng.choice([s.slots[key] for key in ("text", "address", "url", "order_id", "name", "reason", "path")])
    return text, text, text


def _owners(rng: random.Random, s: Scene) -> list[tuple[str, str]]:
    return [(s.words.name().split(" ")[0], s.words.item()) for _ in range(rng.randrange(2, 4))]


def _who(rng: random.Random, s: Scene) -> tuple[str, str, str]:
    owners = _owners(rng, s)
    facts = " ".join(f"{name} has a {item}." for name, item in owners)
    name, item = rng.choice(owners)
    return f"{facts}|{item}", f"{name} has the {item}.", name


def _what(rng: random.Random, s: Scene) -> tuple[str, str, str]:
    owners = _owners(rng, s)
    facts = " ".join(f"{name} has a {item}." for name, item in owners)
    name, item = rng.choice(owners)
    return f"{facts}|{name}", f"{name} has a {item}.", item


_FACTS: dict[str, Callable[[random.Random, Scene], tuple[str, str, str]]] = {
    "capital": _capital,
    "opposite": _opposite,
    "after": _after,
    "define": _define,
    "repeat": _repeat,
    "who": _who,
    "what": _what,
}


TALK_BUILDERS: Final[dict[str, Builder]] = {
    "chat": _chat,
    "question": _question,
    "refuse": _refuse,
    "harmless": _harmless,
}
"""The base skills that need no tool."""
