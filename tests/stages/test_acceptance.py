"""A vendor's contract: plans computed exactly, clauses applied, decisions signed, objections answered, redeliveries."""

import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.cli.check import command as check_command
from goldsmith.cli.contract import command as contract_command
from goldsmith.engines.acceptance.plan import acceptance_chance, drawn, plan_for
from goldsmith.stages import acceptance
from goldsmith.stages.collect import collect
from goldsmith.trust.keys import KeyRing
from goldsmith.trust.verify import verify
from goldsmith.trust.workspace import Workspace
from goldsmith.types.contract import Contract, Sampling
from goldsmith.types.errors import BadInput
from goldsmith.types.recipe import SourceEntry

TOWNS = [
    "Ulm",
    "Gera",
    "Bonn",
    "Hamm",
    "Kiel",
    "Jena",
    "Fulda",
    "Celle",
    "Trier",
    "Halle",
    "Worms",
    "Emden",
    "Soest",
    "Aalen",
    "Peine",
    "Hagen",
]


def rows(count: int, start: int = 0, **origin: object) -> list[dict[str, object]]:
    made = []
    for n in range(start, start + count):
        town, other = TOWNS[n % 16], TOWNS[(n * 7 + 3) % 16]
        question = f"How far is it from {town} to {other} by road {n}, and which number has the bus?"
        answer = f"By road {n} it is {n * 13 % 400 + 9} km from {town} to {other}; take bus {n * 31 % 97}."
        made.append(
            {
                "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
                "domain": "travel" if n % 2 else "billing", "licence": "CC-BY-4.0", "maker": "human", **origin,
            }
        )  # fmt: skip
    return made


def write(path: Path, found: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return path


TERMS = """
name: travel-2026
vendor: acme
records: {at_least: 50, at_most: 500}
licences: [CC-BY-4.0]
human_share: 0.9
coverage:
  - {domain: billing, share_at_least: 0.3}
  - {topic: buses, words: [bus], at_least: 40}
rates: {faulty: 0.0, duplicates: 0.02, secrets: 0.0}
no_quarantine: false
"""
# Rows made from one template look odd to the checks, and rightly; that clause has a test of its own.


def held(tmp_path: Path, found: list[dict[str, object]], terms: str = TERMS, *more: str):
    path = write(tmp_path / "delivery.jsonl", found)
    (tmp_path / "contract.yaml").write_text(terms, encoding="utf-8")
    arguments = [str(path), "--contract", str(tmp_path / "contract.yaml"), "--source", "acme", "--json", *more]
    done = CliRunner().invoke(check_command, arguments, standalone_mode=False)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    document = json.loads(done.stdout)
    return (
        {one["clause"]: one for one in document["contract"]["clauses"]},
        document["contract"]["outcome"],
        done.exit_code,
    )


def test_a_good_delivery_is_accepted(tmp_path):
    clauses, outcome, code = held(tmp_path, rows(80))
    assert outcome == "pass", clauses
    assert code == 0


def test_every_broken_clause_is_named_with_its_lines(tmp_path):
    found = rows(60)
    found[7]["licence"] = "proprietary"
    del found[9]["licence"]
    found[11]["messages"] = [
        {"role": "user", "content": "What is our key?"},
        {
            "role": "assistant",
            "content": "It is AKIA2E0A8F3B9C4D7Z1Q and its secret wJalrXUtnFEMIK7MDENGbPxRfiCYzz9k2LQ8rT5u.",
        },
    ]
    found += [dict(found[3]) for _ in range(4)]
    clauses, outcome, code = held(tmp_path, found)
    assert (outcome, code) == ("fail", 1)
    assert clauses["licences"]["lines"] == [8, 10]
    assert clauses["duplicates"]["outcome"] == "fail"
    assert len(clauses["duplicates"]["lines"]) >= 4
    assert clauses["secrets"]["lines"] == [12]
    assert clauses["records"]["outcome"] == "pass"
    few, outcome, _ = held(tmp_path, rows(20))
    assert few["records"]["outcome"] == few["coverage: topic buses"]["outcome"] == outcome == "fail"


def test_what_was_not_handed_in_is_inconclusive_and_not_accepted(tmp_path):
    terms = TERMS + (
        "gold_accuracy: {at_least: 0.8}\nagreement: {at_least: 0.667}\nsampling: {aql: 0.02, ltpd: 0.15}\n"
        "power: [{attack: covert_call, records: 10, at_least: 0.9}]\nmust_tell: [annotator_votes]\n"
    )
    clauses, outcome, code = held(tmp_path, rows(80), terms)
    assert (outcome, code) == ("inconclusive", 3)
    waiting = {name for name, one in clauses.items() if one["outcome"] == "inconclusive"}
    assert waiting == {
        "gold_accuracy", "agreement", "sampling", "power: covert_call, 10 records", "must_tell: annotator_votes"
    }  # fmt: skip
    skipped, outcome, _ = held(tmp_path, rows(80), TERMS, "--off", "secrets")
    assert (skipped["secrets"]["outcome"], outcome) == ("inconclusive", "inconclusive")
    unknown, _, _ = held(tmp_path, rows(80, maker="unknown"))
    assert unknown["human_share"]["outcome"] == "inconclusive"
    machine, _, _ = held(tmp_path, rows(80, maker="model"))
    assert machine["human_share"]["outcome"] == "fail"


def test_gold_and_agreement_pass_fail_or_stay_open(tmp_path):
    terms = TERMS + "gold_accuracy: {at_least: 0.9}\nagreement: {at_least: 0.6}\n"

    def votes(every: int, items: int) -> Path:
        path = tmp_path / "votes.jsonl"
        made = []
        for item in range(items):
            right = "ab"[item % 2]
            for who in range(3):
                wrong = every and (item * 3 + who) % every == 0
                label = ("b" if right == "a" else "a") if wrong else right
                made.append({"item": item, "annotator": f"w{who}", "label": label, "gold": right, "line": item + 1})
        return write(path, made)

    def told(every: int, items: int) -> tuple[str, str]:
        clauses, _, _ = held(tmp_path, rows(80), terms, "--votes", str(votes(every, items)))
        return clauses["gold_accuracy"]["outcome"], clauses["agreement"]["outcome"]

    assert told(0, 60) == ("pass", "pass")
    assert told(3, 60)[0] == "fail"
    assert told(14, 15) == ("inconclusive", "pass") or told(14, 15)[0] == "inconclusive"
    assert told(0, 4)[0] == "inconclusive"


def test_a_misspelt_clause_is_refused_with_a_suggestion(tmp_path):
    with pytest.raises(BadInput, match="did you mean 'gold_accuracy'"):
        held(tmp_path, rows(5), TERMS + "gold_acuracy: {at_least: 0.9}\n")
    with pytest.raises(BadInput, match="must be below"):
        held(tmp_path, rows(5), TERMS + "sampling: {aql: 0.2, ltpd: 0.1}\n")
    with pytest.raises(BadInput, match="no time"):
        held(tmp_path, rows(5), TERMS + "deadline: soon\n")


def test_the_power_clause_reads_the_drill(tmp_path):
    terms = TERMS + "power: [{attack: covert_call, records: 10, at_least: 0.9}]\n"
    cell = {
        "attack": "covert_call",
        "records": 10,
        "draws": 20,
        "planted": 200,
        "found": 198,
        "tpr": 0.99,
        "tpr_low": 0.95,
    }
    document = {
        "file": "x", "rows": 80, "rows_in_all": 80, "sources": 1, "pool": "development", "seed": 0, "draws_asked": 20,
        "line": 0.99, "clean_above": 0.0, "checks": ["covert_tool_calls"], "cells": [cell], "cpu_s": 1.0,
    }  # fmt: skip

    def told(count: int = 80, **changes: object) -> str:
        drilled = {**document, "cells": [{**cell, **changes}]}
        path = tmp_path / "coverage.json"
        path.write_text(json.dumps(drilled), encoding="utf-8")
        return held(tmp_path, rows(count), terms, "--power", str(path))[0]["power: covert_call, 10 records"]["outcome"]

    from typing import get_args

    from goldsmith.types.attack import Pool

    document["pool"] = get_args(Pool)[0] if get_args(Pool) else next(iter(Pool))
    assert told() == "pass"
    assert told(tpr_low=0.85) == "inconclusive"
    assert told(tpr=0.5, tpr_low=0.4) == "fail"
    assert told(records=20) == "inconclusive"
    assert told(inapplicable="no tool calls") == "inconclusive"
    assert told(count=81) == "inconclusive"  # a drill of another delivery


def binomial(n: int, c: int, p: float) -> float:
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(c + 1))


def test_plans_are_those_of_the_tables():
    # Guenther (1969): producer 5 % at AQL 1 %, consumer 10 % at LTPD 5 %: n = 132, c = 3, for large lots.
    plan = plan_for(Sampling(aql=0.01, ltpd=0.05), 10**7)
    assert (plan.size, plan.accept) == (132, 3)
    assert 1 - binomial(132, 3, 0.01) == pytest.approx(plan.producer_risk, abs=1e-4)
    assert binomial(132, 3, 0.05) == pytest.approx(plan.consumer_risk, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.integers(60, 3000), st.floats(0.0, 0.03), st.floats(0.08, 0.3))
def test_a_plan_keeps_both_risks_and_is_the_smallest_for_its_number(lot, aql, ltpd):
    plan = plan_for(Sampling(aql=aql, ltpd=ltpd), lot)
    good, bad = math.floor(aql * lot), math.ceil(ltpd * lot)

    def exact(size: int, accept: int, defects: int) -> float:
        ways = sum(
            math.comb(defects, k) * math.comb(lot - defects, size - k) for k in range(min(accept, size, defects) + 1)
        )
        return ways / math.comb(lot, size)

    assert exact(plan.size, plan.accept, good) >= 0.95 - 1e-9
    assert exact(plan.size, plan.accept, bad) <= 0.10 + 1e-9
    if plan.size > plan.accept + 1 and plan.size < lot:
        assert exact(plan.size - 1, plan.accept, bad) > 0.10 - 1e-9
    assert acceptance_chance(lot, plan.size, plan.accept, bad) == pytest.approx(
        exact(plan.size, plan.accept, bad), abs=1e-9
    )


def test_samples_are_drawn_evenly_and_the_same_again():
    lines = list(range(1, 201))
    assert drawn(lines, 30, "seed") == drawn(lines[::-1], 30, "seed")
    hits = [0] * 201
    for seed in range(1500):
        for line in drawn(lines, 20, str(seed)):
            hits[line] += 1
    expected = 1500 * 20 / 200
    chi2 = sum((h - expected) ** 2 / (expected * 0.9) for h in hits[1:])
    assert 140 < chi2 < 270  # 199 degrees of freedom


def test_the_inspected_sample_decides(tmp_path):
    terms = TERMS + "sampling: {aql: 0.02, ltpd: 0.2}\n"
    path = write(tmp_path / "delivery.jsonl", rows(80))
    (tmp_path / "contract.yaml").write_text(terms, encoding="utf-8")
    sheet = tmp_path / "sheet.jsonl"
    arguments = ["sample", str(path), "--contract", str(tmp_path / "contract.yaml"), "--out", str(sheet)]
    done = CliRunner().invoke(contract_command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    head, *empty = [json.loads(line) for line in sheet.read_text().splitlines()]
    assert len(empty) == head["size"]

    def told(judge, keep=None) -> dict[str, object]:
        filled = [{**row, "defective": judge(at)} for at, row in enumerate(empty)][:keep]
        write(sheet, [head, *filled])
        return held(tmp_path, rows(80), terms, "--inspected", str(sheet))[0]["sampling"]

    assert told(lambda at: False)["outcome"] == "pass"
    bad = told(lambda at: at <= head["accept"])
    assert (bad["outcome"], len(bad["lines"])) == ("fail", head["accept"] + 1)
    assert told(lambda at: None if at == 3 else False)["outcome"] == "inconclusive"
    assert told(lambda at: False, keep=-1)["outcome"] == "inconclusive"  # a line was left out
    empty[0]["line"] = next(n for n in range(1, 81) if n not in {row["line"] for row in empty})
    assert told(lambda at: False)["outcome"] == "inconclusive"  # a line was swapped
    empty[1]["line"] = empty[0]["line"]
    with pytest.raises(BadInput, match="twice"):
        told(lambda at: False)


@pytest.fixture
def ws(tmp_path: Path):
    with Workspace.create(tmp_path / "ws", keys=KeyRing(tmp_path / "keys"), sources=("acme", "other")) as made:
        yield made


def run(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    where = ["--workspace", str(tmp_path / "ws"), "--keys", str(tmp_path / "keys")]
    done = CliRunner().invoke(contract_command, [*arguments, *where], standalone_mode=False)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def deliver(ws: Workspace, tmp_path: Path, batch: str, found: list[dict[str, object]], name: str = "acme") -> None:
    write(tmp_path / f"{batch}.jsonl", found)
    collect(ws, SourceEntry(name=name, batch=batch, file=f"{batch}.jsonl"), tmp_path)


def decide(tmp_path: Path, batch: str, *more: str) -> dict[str, object]:
    arguments = ["decide", f"acme/{batch}", "--contract", str(tmp_path / "terms.yaml"), "--json", *more]
    _, output = run(tmp_path, *arguments)
    return json.loads(output[output.index("{") :])


def clause(document: dict[str, object], name: str) -> dict[str, object]:
    return next(one for one in document["clauses"] if one["clause"] == name)


def test_rejected_disputed_redelivered_accepted(ws, tmp_path):
    (tmp_path / "terms.yaml").write_text(TERMS, encoding="utf-8")
    first = rows(60)
    first[4]["licence"] = "unclear"
    first[8]["licence"] = "unclear"
    deliver(ws, tmp_path, "b1", first)
    rejected = decide(tmp_path, "b1")
    assert (rejected["outcome"], rejected["signed"]) == ("fail", "reject")
    assert clause(rejected, "licences")["lines"] == [5, 9]
    name = rejected["decision"][7:19]

    with pytest.raises(BadInput, match="no such clause"):
        run(tmp_path, "dispute", name, "--clause", "secrets", "--reason", "no secret there")
    with pytest.raises(BadInput, match="no such line"):
        run(tmp_path, "dispute", name, "--clause", "licences", "--line", "7", "--reason", "wrong")
    _, said = run(tmp_path, "dispute", name, "--clause", "licences", "--line", "5", "--reason", "see the deed")
    objection = said.split()[-1]
    run(tmp_path, "answer", objection, "--uphold", "--reason", "the deed is there")
    with pytest.raises(BadInput, match="answered before"):
        run(tmp_path, "answer", objection, "--refuse", "--reason", "again")
    ws.refresh()
    again = decide(tmp_path, "b1")
    assert (again["outcome"], clause(again, "licences")["lines"]) == ("fail", [9])

    second = rows(60)  # line 5 mended; the record of line 9 comes back as it was
    second[8]["licence"] = "unclear"
    ws.refresh()
    deliver(ws, tmp_path, "b2", second)
    run(tmp_path, "redeliver", "acme/b2", "--of", again["decision"][7:19])
    back = decide(tmp_path, "b2")
    assert back["signed"] == "reject"
    assert clause(back, "redelivery: defects mended")["lines"] == [9]

    third = rows(60)
    third[8] = rows(1, start=700)[0]
    ws.refresh()
    deliver(ws, tmp_path, "b3", third)
    run(tmp_path, "redeliver", "acme/b3", "--of", back["decision"][7:19])
    good = decide(tmp_path, "b3")
    assert (good["outcome"], good["signed"]) == ("pass", "accept"), good
    assert "1 new or changed" in clause(good, "redelivery: defects mended")["figure"]
    assert clause(good, "redelivery: attempts")["outcome"] == "pass"

    _, said = run(tmp_path, "status", "acme", "--json")
    kinds = [one["kind"] for one in json.loads(said)]
    assert kinds == [
        "contract", "reject", "dispute", "answer", "reject", "redelivery", "reject", "redelivery", "accept"
    ]  # fmt: skip
    ws.close()
    assert verify(tmp_path / "ws").ok, str(verify(tmp_path / "ws"))


def test_what_cannot_be_told_signs_nothing_unless_rejected(ws, tmp_path):
    (tmp_path / "terms.yaml").write_text(TERMS + "gold_accuracy: {at_least: 0.9}\n", encoding="utf-8")
    deliver(ws, tmp_path, "b1", rows(60))
    before = len(list(ws.statements()))
    assert decide(tmp_path, "b1")["signed"] is None
    ws.refresh()
    assert len(list(ws.statements())) == before
    refused = decide(tmp_path, "b1", "--reject", "no gold votes were delivered")
    assert (refused["outcome"], refused["signed"]) == ("inconclusive", "reject")


def test_a_contract_binds_its_own_vendor(ws, tmp_path):
    (tmp_path / "terms.yaml").write_text(TERMS, encoding="utf-8")
    deliver(ws, tmp_path, "o1", rows(60), name="other")
    with pytest.raises(BadInput, match="not the contract's vendor"):
        run(tmp_path, "decide", "other/o1", "--contract", str(tmp_path / "terms.yaml"))


def test_both_sides_sign_a_contract(ws, tmp_path):
    (tmp_path / "terms.yaml").write_text(TERMS, encoding="utf-8")
    assert "operator" in run(tmp_path, "sign", str(tmp_path / "terms.yaml"))[1]
    assert "source" in run(tmp_path, "sign", str(tmp_path / "terms.yaml"), "--vendor")[1]


def test_a_quarantined_source_fails_and_an_unclear_one_stays_open():
    from goldsmith.engines.acceptance.delivered import Delivered
    from goldsmith.engines.text.projection import project
    from goldsmith.types.check import Row
    from goldsmith.types.finding import Outcome, SourceVerdict
    from goldsmith.types.record import Record, Text

    view = project([Row(1, Record(content=Text(text="A line of text.")))])

    def told(*verdicts: Outcome) -> str:
        sources = [SourceVerdict(source="s", batch=v.value, verdict=v, records=1) for v in verdicts]
        made = Delivered(view, (), sources, {}, frozenset(), "2026-01-01T00:00:00Z")
        return acceptance.held_against(Contract(name="x", vendor="s"), made)[0].value

    assert told(Outcome.PASS) == "pass"
    assert told(Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE) == "fail"
    assert told(Outcome.PASS, Outcome.INCONCLUSIVE) == "inconclusive"
    assert told() == "inconclusive"


def test_an_empty_delivery_is_not_accepted():
    from goldsmith.engines.acceptance.delivered import Delivered
    from goldsmith.engines.text.projection import project

    told = Delivered(project([]), (), (), {}, frozenset(), "2026-01-01T00:00:00Z")
    outcome, _ = acceptance.held_against(Contract(name="x", vendor="acme"), told)
    assert outcome.value == "inconclusive"
