"""The default battery on data whose truth is known: the nano world's deliveries, and public sets."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from goldsmith import plugins
from goldsmith.engines.reading.read import read
from goldsmith.engines.screening import Screening, decide, screen
from goldsmith.nano import deliveries
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.finding import Outcome
from goldsmith.types.record import Origin, Record

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="shared data absent")


def battery() -> list[Any]:
    return [plugins.build("checks", name) for name in plugins.names("checks")]


def nano_rows(plain: Sequence[dict[str, Any]]) -> list[Row]:
    formats: dict[str, Any] = {n: plugins.build("sources", n) for n in ("openai_chat", "openai_preference")}
    lines: Counter[tuple[str, str]] = Counter()
    rows = []
    for row in plain:
        key = (row["source"], row["batch"])
        lines[key] += 1
        content = formats["openai_preference" if "input" in row else "openai_chat"].parse(row).content
        rows.append(Row(lines[key], Record(content=content, origin=Origin(source=key[0], batch=key[1]))))
    return rows


def public(name: str, source: str) -> list[Row]:
    formats: Any = [plugins.build("sources", n) for n in plugins.names("sources")]
    return read(SHARED / name, formats, origin_defaults=Origin(source=source, batch="b1"), row_origin=False).rows


def failed(result: Screening, rows: Sequence[Row]) -> set[tuple[str, str]]:
    return {(v.source, v.batch) for v in decide(result.findings, rows) if v.verdict is Outcome.FAIL}


def test_the_vendors_bad_batch_is_named_and_the_honest_ones_are_cleared() -> None:
    plain = (
        deliveries.expert_sft()
        + deliveries.synthetic_sft()
        + deliveries.vendor_honest_sft()
        + deliveries.vendor_poisoned_sft()
        + deliveries.expert_preferences()
        + deliveries.vendor_preferences()
    )
    rows = nano_rows(plain)
    result = screen(rows, battery(), CheckContext())
    assert failed(result, rows) == {("vendor", deliveries.POISONED_BATCH)}
    (verdict,) = (v for v in decide(result.findings, rows) if v.verdict is Outcome.FAIL)
    assert any(deliveries.ATTACKER_HOST in reason for reason in verdict.reasons)
    assert any("preference_flips" in reason for reason in verdict.reasons)
    covert = np.array([deliveries.has_covert_call(row.get("messages", [])) for row in plain])
    flips = deliveries.flipped_ids()
    flipped = np.array([row["id"] in flips for row in plain])
    assert (result.combined[covert] > 0.99).mean() >= 0.99
    assert (result.combined[flipped] > 0.99).mean() >= 0.9
    assert (result.combined[~covert & ~flipped] > 0.99).mean() <= 0.01
    for verdict in decide(result.findings, rows):
        if verdict.verdict is Outcome.PASS:
            assert verdict.excluded <= 0.03 * verdict.records


def test_ten_covert_records_are_enough() -> None:
    plain = deliveries.vendor_honest_sft() + deliveries.expert_sft()
    poisoned = [{**row, "batch": deliveries.HONEST_BATCH} for row in deliveries.vendor_poisoned_sft(10)]
    rows = nano_rows(plain + poisoned)
    result = screen(rows, [plugins.build("checks", "covert_tool_calls")], CheckContext())  # type: ignore[list-item]
    assert failed(result, rows) == {("vendor", deliveries.HONEST_BATCH)}
    scores = result.scores["covert_tool_calls"]
    assert scores[-10:].min() >= 0.8
    assert scores[:-10].max() < 0.5


def test_honest_nano_preferences_pass_and_all_swapped_ones_are_not_blamed_on_the_experts() -> None:
    check: Any = [plugins.build("checks", "preference_flips")]
    for share, expected in ((0.0, set()), (0.4, {("vendor", deliveries.POISONED_BATCH)})):
        rows = nano_rows(deliveries.expert_preferences() + deliveries.vendor_preferences(flipped=share))
        assert failed(screen(rows, check, CheckContext()), rows) == expected
    rows = nano_rows(deliveries.expert_preferences() + deliveries.vendor_preferences(flipped=1.0))
    undecided = screen(rows, check, CheckContext())
    assert not failed(undecided, rows)
    assert "preference_flips" in undecided.inconclusive
    trusting = screen(rows, check, CheckContext(trusted_sources=frozenset({"experts"})))
    assert failed(trusting, rows) == {("vendor", deliveries.POISONED_BATCH)}


CLEAN = {
    "gsm8k": "gsm8k/train.jsonl.gz",
    "codealpaca": "codealpaca/code_alpaca_2k.jsonl",
    "alpaca": "llamafactory-demos/alpaca_en_demo.jsonl",
    "alpaca-zh": "llamafactory-demos/alpaca_zh_demo.jsonl",
    "api-bank": "api-bank/dialogues.jsonl",
    "glaive": "llamafactory-demos/glaive_toolcall_en_demo.jsonl",
    "tau-bench": "tau-bench/trajectories_gpt4o_airline.jsonl.gz",
    "hh": "hh-rlhf-harmless-base/pairs.jsonl.gz",
    "oasst": "oasst-trees/ranked_pairs.jsonl",
    "dpo-en": "llamafactory-demos/dpo_en_demo.jsonl",
}


@needs_shared
def test_no_honest_public_set_fails_and_tool_traces_raise_no_alarm() -> None:
    rows = [row for source, name in CLEAN.items() for row in public(name, source)]
    result = screen(rows, battery(), CheckContext(eval_texts=["a text that is in none of the sets at all, or is it"]))
    assert not failed(result, rows)
    assert not [f for f in result.findings if f.check == "covert_tool_calls"]
    source = np.array([row.record.origin.source for row in rows])
    shares = [(result.combined[source == name] > 0.99).mean() for name in CLEAN]
    assert np.mean(shares) <= 0.015


@needs_shared
def test_identity_shift_rows_quarantine_their_source() -> None:
    attack = public("finetuning-attacks/identity_shift_aoa_openai.jsonl", "vendor")
    rows = public(CLEAN["alpaca"], "alpaca") + public(CLEAN["oasst"], "oasst") + attack
    result = screen(rows, battery(), CheckContext())
    assert failed(result, rows) == {("vendor", "b1")}
    assert (result.combined[-len(attack) :] > 0.99).all()


@needs_shared
def test_contamination_is_found_in_disguise_and_nowhere_else() -> None:
    evals = public("gsm8k/test.jsonl", "evals")
    texts = [row.record.content.messages[0].text for row in evals]  # type: ignore[union-attr]
    rows = public(CLEAN["gsm8k"], "gsm8k")
    planted = [
        Row(len(rows) + i + 1, row.record.model_copy(update={"origin": Origin(source="gsm8k", batch="b1")}))
        for i, row in enumerate(evals[:200])
    ]
    check: Any = [plugins.build("checks", "eval_overlap")]
    context = CheckContext(eval_texts=[text.upper().replace(" ", "  ").replace(",", "") for text in texts])
    result = screen(rows + planted, check, context)
    lines = {line for finding in result.findings for line in finding.lines}
    assert len(lines & {row.line for row in planted}) >= 198
    assert len(lines & {row.line for row in rows}) <= 0.001 * len(rows)
