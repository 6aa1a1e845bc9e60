"""Personal data: made-up values planted in real English texts; ours beside Presidio's analyzer."""

import itertools
import random
import re
import string
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clean_sets
import results

from goldsmith import plugins
from goldsmith.checks.personal_data import personal_data
from goldsmith.engines.text.projection import project
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.record import Origin, Record, Text

SETS = ("alpaca-en", "oasst", "hh", "dolly", "kto", "gsm8k")
EACH, UNTOUCHED = 80, 600
ENTITIES = {
    "email address": ("EMAIL_ADDRESS",),
    "phone number": ("PHONE_NUMBER",),
    "payment card": ("CREDIT_CARD",),
    "bank account": ("IBAN_CODE",),
    "IP address": ("IP_ADDRESS",),
    "national id": ("US_SSN",),
    "name of a person": ("PERSON",),
}
_SAID = {
    "email address": ("Write to me at {} by Friday.", "My e-mail address is {}."),
    "phone number": ("Call me on {} after six.", "My phone number is {}."),
    "payment card": ("Please charge my credit card {}.", "The card number is {}."),
    "bank account": ("Pay into my account, IBAN {}.", "My bank account is {}."),
    "IP address": ("My IP address is {}.", "I logged in from {}."),
    "national id": ("My social security number is {}.", "SSN: {}."),
    "name of a person": ("My name is {}.", "Give it to my colleague {}."),
}
_BARE = ("{}", "Ask for {} then.", "It was {}, I think.", "({})")
"""Half of the values stand in these, which say nothing of what they are."""
_FIRST = ("Agnes", "Dmitri", "Fatima", "Gareth", "Ingrid", "Joaquin", "Keiko", "Lamar", "Noor", "Owen", "Priya")
_LAST = ("Abernathy", "Castellano", "Drummond", "Eriksen", "Fujimoto", "Haddad", "Kowalczyk", "Okafor", "Quigley")


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice(string.digits) for _ in range(count))


def _email(rng: random.Random) -> str:
    first, last = rng.choice(_FIRST).lower(), rng.choice(_LAST).lower()
    user = rng.choice((f"{first}.{last}", f"{first}{_digits(rng, 2)}", f"{first[0]}{last}", f"{last}+{first}"))
    host = "".join(rng.choice(("lor", "vex", "mil", "tan", "ker", "dov", "ris")) for _ in range(3))
    return f"{user}@{host}.{rng.choice(('com', 'net', 'org', 'de', 'co.uk', 'io'))}"


def _phone(rng: random.Random) -> str:
    area = rng.choice(("212", "415", "312", "617", "206", "404"))
    first, last = f"{rng.choice('23467')}{rng.choice('02346789')}{rng.choice('02346789')}", _digits(rng, 4)
    return rng.choice((
        f"({area}) {first}-{last}", f"{area}-{first}-{last}", f"{area}.{first}.{last}", f"+1 {area} {first} {last}",
        f"+44 20 7{_digits(rng, 3)} {last}", f"+49 30 {rng.choice('2468')}{_digits(rng, 7)}", f"+33 6 {_pairs(rng)}",
    ))  # fmt: skip


def _pairs(rng: random.Random) -> str:
    return " ".join(_digits(rng, 2) for _ in range(4))


def _card(rng: random.Random) -> str:
    start, size = rng.choice((("4", 16), (f"5{rng.choice('12345')}", 16), (rng.choice(("34", "37")), 15)))
    body = start + _digits(rng, size - 1 - len(start))
    twice = [int(d) * (2 - i % 2) for i, d in enumerate(reversed(body))]
    body += str(-sum(v - 9 * (v > 9) for v in twice) % 10)
    gap = rng.choice(("", " ", "-"))
    cuts = (0, 4, 8, 12, 16) if size == 16 else (0, 4, 10, 15)
    return gap.join(body[a:b] for a, b in itertools.pairwise(cuts))


def _iban(rng: random.Random) -> str:
    country, own = rng.choice((
        ("DE", _digits(rng, 18)), ("NL", rng.choice(("ABNA", "INGB", "RABO")) + _digits(rng, 10)),
        ("GB", rng.choice(("BARC", "LOYD", "NWBK")) + _digits(rng, 14)), ("ES", _digits(rng, 20)),
    ))  # fmt: skip
    check = 98 - int("".join(str(int(c, 36)) for c in f"{own}{country}00")) % 97
    whole = f"{country}{check:02}{own}"
    return whole if rng.random() < 0.5 else re.sub(r"(.{4})(?=.)", r"\1 ", whole)


def _ip(rng: random.Random) -> str:
    return f"{rng.choice((23, 45, 62, 81, 93, 104, 151, 185, 203))}." + ".".join(
        str(rng.randrange(1, 255)) for _ in range(3)
    )


def _ssn(rng: random.Random) -> str:
    return f"{rng.randrange(1, 665):03}-{rng.randrange(1, 100):02}-{rng.randrange(1, 10_000):04}"


def _name(rng: random.Random) -> str:
    return f"{rng.choice(_FIRST)} {rng.choice(_LAST)}"


MAKERS: dict[str, Callable[[random.Random], str]] = dict(
    zip(ENTITIES, (_email, _phone, _card, _iban, _ip, _ssn, _name), strict=True)
)


def planted(data: Path, seed: int = 29) -> list[tuple[str, str, str]]:
    """(text, kind, value): `EACH` of every kind, and untouched ones with an empty kind."""
    rng = random.Random(seed)
    plain = [t for t in project(clean_sets.clean_rows(data, SETS)).columns.full if 40 <= len(t) <= 2000 and t.isascii()]
    texts = iter(rng.sample(plain, len(MAKERS) * EACH + UNTOUCHED))
    made = []
    for kind, maker in MAKERS.items():
        for number in range(EACH):
            value, parts = maker(rng), re.split(r"(?<=[.!?])\s+", next(texts))
            sentence = rng.choice(_SAID[kind] if number % 2 else _BARE).format(value)
            parts.insert(rng.randrange(len(parts) + 1), sentence)
            made.append((" ".join(parts), kind, value))
    return [*made, *((text, "", "") for text in texts)]


def rows(data: Path, peers: Any, model: str, repeats: int) -> list[dict[str, Any]]:
    """Recall for each kind, false alarms on untouched texts, precision, CPU."""
    cases = planted(data)
    texts = [text for text, _, _ in cases]
    records = [
        Row(i, Record(content=Text(text=text), origin=Origin(source="s", batch="b"))) for i, text in enumerate(texts, 1)
    ]
    check: Any = plugins.build("checks", "personal_data")
    check(records[:20], CheckContext())
    mine_s, theirs_s, answer = [], [], None
    for _ in range(repeats):
        started = time.process_time()
        check(records, CheckContext())
        mine_s.append(time.process_time() - started)
        answer = peers("presidio", {"texts": texts, "model": model})
        if answer is None:
            return []
        theirs_s.append(answer["cpu_s"])
    mine = [{(kind, value) for kind, value in personal_data(text)} for text in texts]
    version = f"{answer['version']}, {model}" if answer else ""
    out = [results.row("personal data: CPU", mine_s, theirs_s, f"CPU-s for {len(texts)} texts", peer_version=version)]
    for label, least in (("every hit", 0.0), ("hits of .4 or more", 0.4)):
        theirs = [
            {(kind, text[a:b]) for kind, names in ENTITIES.items() for e, a, b, s in hits if e in names and s >= least}
            for text, hits in zip(texts, (answer or {})["found"], strict=True)
        ]
        for what, unit in (
            ("recall", "share of planted"),
            ("alarms", "share of untouched texts"),
            ("precision", "share"),
        ):
            for kind, one, two in zip(
                _names(what), _figures(cases, mine, what), _figures(cases, theirs, what), strict=True
            ):
                name = f"personal data, {what}{kind}, {label}"
                out.append(results.row(name, [one], [two], unit, peer_version=version))
    return out


def _names(what: str) -> list[str]:
    return [f": {kind}" for kind in ENTITIES] if what == "recall" else [""]


def _figures(cases: Any, found: Any, what: str) -> list[float]:
    """Names of persons count for recall alone: ours does not look for them."""
    digits = [{(kind, _bare(value)) for kind, value in one if kind != "name of a person"} for one in found]
    if what == "recall":
        return [
            sum(_hit(case, one) for case, one in zip(cases, found, strict=True) if case[1] == kind) / EACH
            for kind in ENTITIES
        ]
    if what == "alarms":
        return [sum(bool(one) for case, one in zip(cases, digits, strict=True) if not case[1]) / UNTOUCHED]
    right = sum((kind, _bare(value)) in one for (_, kind, value), one in zip(cases, digits, strict=True) if kind)
    return [right / max(1, sum(len(one) for one in digits))]


def _hit(case: tuple[str, str, str], found: set[tuple[str, str]]) -> bool:
    """The value, or most of it, under the right kind."""
    _, kind, value = case
    wanted = _bare(value)
    return any(k == kind and (got := _bare(v)) and (got in wanted or wanted in got) for k, v in found)


def _bare(value: str) -> str:
    return re.sub(r"\W", "", value)
