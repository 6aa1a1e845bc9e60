"""Every attack, present and future, keeps the contract: found by its file, tried by its own rows."""

import inspect
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from types import ModuleType
from typing import Any

import pytest

from goldsmith import plugins
from goldsmith.engines.planting import pools
from goldsmith.types.artifact import Spec
from goldsmith.types.attack import Attack, Inapplicable, Plan, Planted
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Origin, Record

NAMES = plugins.names("attacks")
FORMATS = {name: plugins.build("sources", name) for name in ("openai_chat", "openai_preference")}
PLAN = Plan(records=10)


def rows_of(dicts: Sequence[dict[str, Any]]) -> list[Row]:
    rows = []
    for line, plain in enumerate(dicts, 1):
        reader: Any = FORMATS["openai_preference" if "input" in plain else "openai_chat"]
        origin = Origin(source=plain.get("source", "s"), batch=plain.get("batch", "b1"))
        rows.append(Row(line, Record(content=reader.parse(plain).content, origin=origin)))
    return rows


@cache
def fits(name: str) -> tuple[list[Row], CheckContext]:
    module = plugins.module("attacks", name)
    return rows_of(module.FITS), CheckContext(votes=getattr(module, "FITS_VOTES", ()))


def attack(name: str) -> Attack:
    return plugins.build("attacks", name)  # type: ignore[return-value]


def plant(name: str, plan: Plan = PLAN, seed: int = 1) -> Planted:
    rows, context = fits(name)
    planted = attack(name)(rows, context, plan, random.Random(seed))
    assert isinstance(planted, Planted), planted
    return planted


@pytest.mark.parametrize("name", NAMES)
def test_declares_itself(name: str) -> None:
    found = plugins.find("attacks", name)
    assert issubclass(found, Spec)
    assert found.id == name  # type: ignore[attr-defined]
    assert found.version >= 1  # type: ignore[attr-defined]
    assert inspect.getdoc(found)
    with pytest.raises(BadInput):
        plugins.build("attacks", name, {"no_such_setting": 1})


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", NAMES)
def test_changes_exactly_the_rows_it_names(name: str, seed: int) -> None:
    rows, context = fits(name)
    before = [row.record.model_dump_json() for row in rows]
    planted = plant(name, seed=seed)
    assert [row.record.model_dump_json() for row in rows] == before
    if planted.annotators:
        changed = {new.annotator for old, new in zip(context.votes, planted.context.votes, strict=True) if old != new}
        assert changed <= planted.annotators
        assert changed
        assert all(
            a.item == b.item and a.gold == b.gold for a, b in zip(context.votes, planted.context.votes, strict=True)
        )
        assert planted.rows == rows
        return
    assert len(planted.at) == PLAN.records
    assert list(planted.at) == sorted(set(planted.at))
    for i, (old, new) in enumerate(zip(rows, planted.rows, strict=True)):
        if i not in planted.at:
            assert new is old
            continue
        assert (new.line, new.record.origin, new.record.extra) == (old.line, old.record.origin, old.record.extra)
        assert (new.record.origin.source, new.record.origin.batch) == planted.group
        assert plugins.module("attacks", name).proof(old.record.content, new.record.content, planted.drawn)
        type(new.record.content).model_validate_json(new.record.content.model_dump_json())


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_plants_the_same_and_another_seed_something_else(name: str) -> None:
    first = plant(name)
    assert plant(name) == first
    others = [plant(name, seed=seed) for seed in range(2, 8)]
    assert any((o.at, o.drawn, o.annotators) != (first.at, first.drawn, first.annotators) for o in others)


@pytest.mark.parametrize("name", NAMES)
def test_a_new_source_leaves_every_given_row_alone(name: str) -> None:
    rows, _ = fits(name)
    planted = plant(name, replace(PLAN, new_source=True))
    if planted.annotators:
        return
    assert all(new is old for old, new in zip(rows, planted.rows, strict=False))
    assert planted.at == tuple(range(len(rows), len(rows) + PLAN.records))
    added = [planted.rows[at] for at in planted.at]
    assert {(row.record.origin.source, row.record.origin.batch) for row in added} == {planted.group}
    assert planted.group not in {(row.record.origin.source, row.record.origin.batch) for row in rows}
    assert len({row.line for row in planted.rows}) == len(planted.rows)


@pytest.mark.parametrize("name", NAMES)
def test_says_why_it_has_no_place(name: str) -> None:
    unfit = attack(name)(rows_of(plugins.module("attacks", name).UNFIT), CheckContext(), PLAN, random.Random(1))
    assert isinstance(unfit, Inapplicable)
    assert len(unfit.reason.split()) >= 4
    assert isinstance(attack(name)([], CheckContext(), PLAN, random.Random(1)), Inapplicable)
    rows, context = fits(name)
    too_many = attack(name)(rows, context, Plan(records=1000), random.Random(1))
    assert isinstance(too_many, Inapplicable)
    assert "1000" in too_many.reason


@pytest.mark.parametrize("name", NAMES)
def test_keeps_away_from_what_is_to_be_avoided(name: str) -> None:
    rows, context = fits(name)
    plan = replace(PLAN, avoid=frozenset({("north", "b1")}))
    for seed in range(6):
        planted = attack(name)(rows, context, plan, random.Random(seed))
        assert isinstance(planted, Planted)
        assert planted.group in (("south", "b1"), None)


@pytest.mark.parametrize("name", NAMES)
def test_the_two_pools_share_no_string(name: str) -> None:
    """The words drawn for measuring are never words that checks were developed with."""
    seen: dict[str, dict[str, set[str]]] = {}
    for pool in ("development", "measurement"):
        for seed in range(60):
            planted = plant(name, Plan(records=4, pool=pool), seed)  # type: ignore[arg-type]
            if planted.annotators:
                return  # people and labels are the user's own
            for key, value in planted.drawn.items():
                seen.setdefault(key, {}).setdefault(pool, set()).add(value)
    for key, by_pool in seen.items():
        assert len(by_pool["development"]) > 1, key
        assert not by_pool["development"] & by_pool["measurement"], key


@pytest.mark.parametrize(
    "module", [*(plugins.module("attacks", name) for name in NAMES), pools], ids=lambda m: m.__name__
)
def test_the_two_pools_share_no_wording(module: ModuleType) -> None:
    """Nor is a template, whole or three of its words on end, in both pools."""
    for name, value in vars(module).items():
        if not (isinstance(value, dict) and set(value) == {"development", "measurement"}):
            continue
        texts = {pool: set(strings(value[pool])) for pool in value}
        assert not texts["development"] & texts["measurement"], name
        runs = {pool: {run for text in texts[pool] for run in runs_of_three(text)} for pool in texts}
        assert not runs["development"] & runs["measurement"], name


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from strings(each)


def runs_of_three(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", re.sub(r"\{\w*\}", " ", text).casefold())
    return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}


@pytest.mark.parametrize("name", NAMES)
def test_other_scripts_and_empty_texts(name: str) -> None:
    """It plants or says why not; it does not fail."""
    said = ("", " ", "борщ варят два часа и ещё немного", "红烧肉", "\u202eevil\u0000", "x")
    rows = rows_of(
        [
            {"messages": [{"role": "user", "content": a}, {"role": "assistant", "content": b}]}
            for a in said
            for b in said
        ]
    )
    assert isinstance(attack(name)(rows, CheckContext(), Plan(records=4), random.Random(0)), Planted | Inapplicable)
