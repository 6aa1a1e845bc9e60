"""Batches whose answers belong to each other's prompts are named; unanswering but honest sources are not."""

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from goldsmith import plugins
from goldsmith.checks.prompt_mismatch import _rare
from goldsmith.engines.text.pairing import fits, prompt_words
from goldsmith.engines.text.projection import project
from goldsmith.engines.text.tokens import words
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Severity
from goldsmith.types.record import Conversation, Message, Origin, Record, Role, TextPart

SYLLABLES = ["ba", "de", "ki", "lo", "mu", "ra", "se", "ti", "vo", "zu", "pa", "ne"]
Pair = tuple[str, str]


def row(line: int, told: Pair, source: str) -> Row:
    turns = tuple(
        Message(role=r, parts=(TextPart(text=t),)) for r, t in zip((Role.USER, Role.ASSISTANT), told, strict=True)
    )
    return Row(line, Record(content=Conversation(messages=turns), origin=Origin(source=source, batch="b1")))


def pair(number: int) -> Pair:
    """A prompt on four things that hardly any other prompt holds, and an answer that takes up three of them."""
    rng = random.Random(number)
    things = ["".join(rng.choices(SYLLABLES, k=3)) for _ in range(4)]
    asked = "Please tell me how the {} and the {} go with a {} or with a {}.".format(*things)
    return asked, "A {} is seldom put beside the {}, but the {} often is.".format(*rng.sample(things, 3))


def labelled(number: int) -> Pair:
    return f"{pair(number)[0]} Is this good or bad news?", random.Random(number).choice(["good news", "bad news it is"])


def source(name: str, count: int, first: int, make: Callable[[int], Pair] = pair) -> list[Row]:
    return [row(k + 1, make(first + k), name) for k in range(count)]


def swapped(name: str, count: int, first: int) -> list[Row]:
    """Each prompt with the answer of the prompt half a circle away."""
    pairs = [pair(first + k) for k in range(count)]
    return [row(1001 + k, (pairs[k][0], pairs[(k + count // 2) % count][1]), name) for k in range(count)]


def run(rows: Sequence[Row]) -> CheckReport:
    check: Callable[[Sequence[Row], CheckContext], CheckReport] = plugins.build("checks", "prompt_mismatch")  # type: ignore[assignment]
    return check(rows, CheckContext())


@pytest.mark.parametrize(("planted", "honest"), [(20, 100), (50, 35), (50, 0)])
def test_answers_to_each_others_prompts_name_their_batch(planted: int, honest: int) -> None:
    rows = source("experts", 150, 0) + source("vendor", honest, 500) + swapped("vendor", planted, 2000)
    report = run(rows)
    assert {f.source for f in report.findings if f.severity is Severity.QUARANTINE} == {"vendor"}
    scores = np.array(report.scores, float)
    assert (scores[-planted:] >= 0.6).mean() > 0.9
    assert not scores[:-planted].any()


def test_honest_batches_and_labels_are_left_alone() -> None:
    assert not run(source("experts", 150, 0) + source("vendor", 150, 500)).findings
    assert not run(source("experts", 150, 0) + source("labels", 150, 500, labelled)).findings


def test_a_few_swapped_answers_say_nothing_of_a_batch() -> None:
    report = run(source("experts", 150, 0) + source("vendor", 150, 500) + swapped("vendor", 4, 2000))
    assert not report.findings
    assert not any(report.scores or ())


def test_fits_are_those_of_every_pair_of_words() -> None:
    """The kernel beside a plain count over all pairs."""
    rows = source("a", 30, 0) + swapped("a", 20, 300) + source("b", 20, 900)
    view = project(rows)
    found, texts = fits(view, prompt_words(view)), [_words(r) for r in rows]
    held = [set().union(*(t[side] for t in texts)) for side in (0, 1)]
    df = {w: max(sum(w in t[0] for t in texts), sum(w in t[1] for t in texts)) for w in held[0] | held[1]}
    weight = {w: float(np.log(len(rows) / df[w]) ** 2) for w in df}
    for i, (asked, told) in enumerate(texts):
        group = [j for j, r in enumerate(rows) if r.record.origin.source == rows[i].record.origin.source]
        own = sum(weight[w] for w in asked & told) / sum(weight[w] for w in asked)
        best = 0.0
        for j in group:
            rare = {w for w in texts[j][0] & told if sum(w in texts[k][0] for k in group) <= 8}
            if j != i and len(rare) >= 2:
                best = max(best, sum(weight[w] for w in rare) / sum(weight[w] for w in texts[j][0]))
        assert found.own[i] == pytest.approx(np.sqrt(own))
        assert found.other[i] == pytest.approx(np.sqrt(best))


def test_rare_words_are_those_of_the_ends_of_prompts() -> None:
    """Prompts of all lengths, beside a plain count."""
    rng = random.Random(5)
    stock = ["".join(rng.choices(SYLLABLES, k=3)) for _ in range(900)]
    asked = [" ".join(rng.choices(stock, k=rng.choice((3, 30, 320, 700)))) for _ in range(150)]
    rows = [row(k + 1, (text, "yes"), "a") for k, text in enumerate(asked)]
    view = project(rows)
    held: dict[int, list[int]] = {}
    for k, text in enumerate(asked):
        for word in set(words([text[-2000:]]).hashes.tolist()):
            held.setdefault(word, []).append(k)
    expected = {word: own for word, own in held.items() if 8 <= len(own) <= 60}
    assert len(expected) > 50
    assert {word: own.tolist() for word, own in _rare(view, prompt_words(view), 8)} == expected


def _words(item: Row) -> tuple[set[str], set[str]]:
    content = item.record.content
    assert isinstance(content, Conversation)
    asked, told = (
        {w.strip(".,?") for w in message.text.lower().split()} for message in content.messages
    )  # fmt: skip
    return asked, told
