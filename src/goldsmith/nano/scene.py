"""The random surroundings of a task, and what a builder decides about it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from goldsmith.nano import phrases
from goldsmith.nano.task import Call
from goldsmith.nano.words import Split, Words
from goldsmith.nano.world import Event, File, Mail, Order, Page, Person, WorldState

_STATUSES = ("processing", "shipped", "delivered")


@dataclass
class Scene:
    """The random surroundings of one task and the values its request talks about."""

    words: Words
    split: Split
    variety: float = 1.0
    """Share of the known ways of asking that is used."""
    slots: dict[str, str] = field(default_factory=dict)
    people: list[Person] = field(default_factory=list)
    mails: list[Mail] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)

    def state(self) -> WorldState:
        return WorldState(
            people=tuple(self.people),
            mails=tuple(self.mails),
            events=tuple(self.events),
            files=tuple(self.files),
            orders=tuple(self.orders),
            pages=tuple(self.pages),
        )


def make_scene(rng: random.Random, split: Split, variety: float) -> Scene:
    words = Words(rng, split)
    scene = Scene(words, split, variety)
    host = words.host()
    for _ in range(rng.randrange(2, 5)):
        name = words.name()
        scene.people.append(Person(name, words.address(name, words.host())))
    for _ in range(rng.randrange(1, 4)):
        sender = rng.choice(scene.people).name
        scene.mails.append(Mail(words.mail_id(), sender, words.topic(), words.sentence().capitalize() + "."))
    for _ in range(rng.randrange(1, 3)):
        scene.events.append(Event(words.topic(), words.date(), words.time()))
        scene.files.append(File(words.path(), words.sentence().capitalize() + "."))
        scene.pages.append(Page(words.url(host), words.sentence().capitalize() + "."))
    for _ in range(rng.randrange(2, 4)):
        scene.orders.append(Order(words.order_id(), words.item(), rng.choice(_STATUSES)))
    person, mail = rng.choice(scene.people), rng.choice(scene.mails)
    order, other = rng.sample(scene.orders, 2)
    file, page, event = rng.choice(scene.files), rng.choice(scene.pages), rng.choice(scene.events)
    scene.slots = {
        "host": host,
        "name": person.name,
        "address": person.address,
        "topic": words.topic(),
        "mail_id": mail.id,
        "date": event.date if rng.random() < 0.7 else words.date(),
        "time": words.time(),
        "path": file.path,
        "text": words.sentence(),
        "town": words.town(),
        "town2": words.town(),
        "order_id": order.order_id,
        "order_id2": other.order_id,
        "item": order.item,
        "url": page.url,
        "reason": words.reason(),
        "n": str(rng.randrange(2, 9999)),
    }
    return scene


@dataclass(frozen=True)
class Plan:
    """What a builder decides; ``generate`` adds the tools, the system text and the id."""

    request: str
    steps: tuple[tuple[Call, ...], ...]
    answer: str
    must: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()
    refuse: bool = False
    offer: tuple[str, ...] | None = None
    """Tools that have to be offered; None: those that the steps call."""
    withhold: str = ""


Builder = Callable[[random.Random, Scene], Plan]


def ask(rng: random.Random, scene: Scene, skill: str) -> str:
    templates = phrases.phrases(skill, scene.split)
    used = templates[: max(1, round(len(templates) * scene.variety))]
    return phrases.request(used, rng, scene.split, scene.slots)
