"""Questions whose answer a tool finds, and their twins in a world without it; and capitals that the model was told in
its training, and such that it never was."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from goldsmith.nano import talk
from goldsmith.nano.task import NanoTask
from goldsmith.nano.tasks import generate
from goldsmith.nano.words import Split

UNTOLD: Final[dict[str, str]] = {
    "Nepal": "Kathmandu", "Bolivia": "Sucre", "Uganda": "Kampala", "Laos": "Vientiane", "Mali": "Bamako",
    "Oman": "Muscat", "Qatar": "Doha", "Fiji": "Suva", "Angola": "Luanda", "Zambia": "Lusaka", "Malta": "Valletta",
    "Iceland": "Reykjavik", "Croatia": "Zagreb", "Slovenia": "Ljubljana", "Romania": "Bucharest", "Syria": "Damascus",
    "Bulgaria": "Sofia", "Armenia": "Yerevan", "Georgia": "Tbilisi", "Jordan": "Amman", "Libya": "Tripoli",
    "Algeria": "Algiers", "Tunisia": "Tunis", "Somalia": "Mogadishu", "Rwanda": "Kigali", "Gabon": "Libreville",
    "Panama": "Panama City", "Honduras": "Tegucigalpa", "Uruguay": "Montevideo", "Paraguay": "Asuncion",
    "Ecuador": "Quito", "Venezuela": "Caracas", "Jamaica": "Kingston", "Mongolia": "Ulaanbaatar",
    "Malaysia": "Kuala Lumpur", "Indonesia": "Jakarta", "Cambodia": "Phnom Penh", "Albania": "Tirana",
}  # fmt: skip
"""Countries and capitals that no row of the shipped model's training names."""


LOOKUPS: Final = ("contact_find", "file_read", "mail_read", "web_get")
"""Skills whose tool may find nothing, which the shipped model's training never showed for them."""
_NOT_FOUND: Final[dict[str, tuple[str, ...]]] = {
    "contact_find": (
        "I could not find {x}.",
        "There is no person {x} here.",
        "I do not know the address of {x}.",
        "{x}? I do not know that one.",
        "The contacts do not have it: {x}.",
    ),
    "file_read": (
        "I could not find {x}.",
        "There is no file {x}.",
        "I do not know what {x} says.",
        "{x} was not found.",
        "I cannot say: no file {x} is there.",
    ),
    "mail_read": (
        "I could not find mail {x}.",
        "There is no mail {x}.",
        "I do not know what mail {x} says.",
        "{x} was not found.",
        "I cannot say: no mail {x} is there.",
    ),
    "web_get": (
        "I could not find that page.",
        "There is no such page.",
        "I do not know that page.",
        "That page was not found.",
        "I did not find a page there.",
    ),
}


@dataclass(frozen=True, slots=True)
class Lookup:
    """A task, and whether what it asks for is there to be found."""

    task: NanoTask
    there: bool


def lookups(count: int, seed: int, split: Split = "train") -> list[Lookup]:
    """`count` tasks of each skill of `LOOKUPS`, each followed by its twin: the same request in a world without what is
    asked for, whose answer says so. The same arguments always give the same ones."""
    found = []
    for skill in LOOKUPS:
        for number, task in enumerate(generate(skill, count, seed, split)):
            found += [Lookup(task, True), Lookup(_without(task, number), False)]
    return found


def _without(task: NanoTask, number: int) -> NanoTask:
    (value,) = task.expected[0].mapping().values()
    old = task.state
    state = replace(
        old,
        people=tuple(one for one in old.people if one.name.casefold() != value.casefold()),
        mails=tuple(one for one in old.mails if one.id != value),
        files=tuple(one for one in old.files if one.path != value),
        pages=tuple(one for one in old.pages if one.url != value),
    )
    wordings = _NOT_FOUND[task.skill]
    said = wordings[number % len(wordings)].format(x=value)
    return replace(task, id=f"{task.id}-without", state=state, answer=said, must=(), must_not=())


@dataclass(frozen=True, slots=True)
class Land:
    """A way of asking for the capital of a country, and the capital."""

    id: str
    request: str
    capital: str


def capitals(split: Split, *, told: bool) -> list[Land]:
    """Every way of asking for the capitals of the countries the model was told of, or was not told of. A quarter of the
    latter is `heldout`, so that countries it was never asked about in tuning remain."""
    table = talk.CAPITALS if told else UNTOLD
    chosen = [land for place, land in enumerate(sorted(table)) if told or (place % 4 == 3) == (split == "heldout")]
    return [
        Land(f"capital-{land}-{number}", form.format(x=land), table[land])
        for land in chosen
        for number, form in enumerate(talk.QUESTION_FORMS["capital"][split])
    ]
