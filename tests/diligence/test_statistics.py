"""The report's statistics against independent ones, and on data where the answer is known."""

import json
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from goldsmith import plugins
from goldsmith.engines.diligence import agreement, composition, consistency, drift, mapping, sample, scores
from goldsmith.engines.diligence.page import percent
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.check import Row, Vote
from goldsmith.types.diligence import Subject
from goldsmith.types.record import Origin, Record

SUBJECT = Subject(what="file", name="f", digest="sha256:" + "0" * 64, records=0, delivered=0, faulty=0)


def view_of(rows: list[dict[str, Any]]) -> ProjectedRows:
    found = []
    for line, row in enumerate(rows, 1):
        kind = "trl" if "chosen" in row or "completion" in row else "openai_chat"
        origin = {key: row[key] for key in Origin.model_fields if key in row}
        content = plugins.build("sources", kind).parse(row).content  # type: ignore[attr-defined]
        found.append(Row(line, Record(content=content, origin=Origin(**origin))))
    return project(found)


def test_the_area_under_the_curve_is_sklearns_and_its_error_is_that_of_many_draws() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        n, m = rng.integers(5, 60, 2)
        values = np.round(rng.normal(size=n + m), 1)  # ties
        labels = np.concatenate([np.ones(n), np.zeros(m)])
        assert drift.area(values, labels) == pytest.approx(roc_auc_score(labels, values), abs=1e-12)
    labels = np.concatenate([np.ones(60), np.zeros(90)])
    found = [drift.area(np.concatenate([rng.normal(1, 1, 60), rng.normal(0, 1, 90)]), labels) for _ in range(600)]
    assert drift.hanley_mcneil(float(np.mean(found)), 60, 90) == pytest.approx(np.std(found), rel=0.2)


def test_a_classifier_tells_apart_what_differs_and_nothing_else() -> None:
    rng = np.random.default_rng(5)
    labels = np.concatenate([np.ones(200), np.zeros(200)])
    same = rng.normal(size=(400, 20))
    moved = same + np.outer(labels, np.r_[1.2, np.zeros(19)])
    assert 0.4 < drift.told_apart(same, labels) < 0.6
    assert drift.told_apart(moved, labels) > 0.75
    assert drift.told_apart(np.ones((400, 3)), labels) == pytest.approx(0.5, abs=0.02)  # all alike


def test_the_stability_index_is_nothing_for_the_same_and_large_for_another_distribution() -> None:
    rng = np.random.default_rng(1)
    assert drift.stability_index(rng.normal(size=4000), rng.normal(size=4000)) < 0.02
    assert drift.stability_index(rng.normal(size=4000), rng.normal(1, 1, 4000)) > 0.5
    assert math.isfinite(drift.stability_index(np.ones(50), np.zeros(50)))


def test_batches_follow_one_another_by_number() -> None:
    names = [("a", "batch-10"), ("a", "batch-9"), ("b", "batch-1"), ("a", "batch-11")]
    assert drift.predecessors(names) == [1, None, None, 0]


def test_repeated_judgments_are_counted_whichever_way_round_they_stand() -> None:
    def pair(good: str, bad: str, annotator: str) -> dict[str, Any]:
        return {"prompt": "Which?", "chosen": good, "rejected": bad, "annotator": annotator}

    rows = [pair("x", "y", "p1"), pair("y", "x", "p1"), pair("x", "y", "p2"), pair("only", "once", "p1")]
    rows.append({"prompt": "Which?", "completion": "x", "label": True})
    rows.append({"prompt": "Which?", "completion": "x", "label": False})
    together, alone = consistency.consistency(view_of(rows))
    assert (together.part, together.whole) == (1, 4)  # of three pairs of judgments on x|y one agrees; x is good and bad
    assert (alone.part, alone.whole) == (0, 1)
    nothing = consistency.consistency(view_of([pair("x", "y", "p1")]))
    assert [one.value for one in nothing] == [None, None]
    assert "nothing is judged twice" in nothing[0].told


def test_a_vote_does_not_adjudicate_itself() -> None:
    votes = [Vote("i", "p1", "a"), Vote("i", "p2", "b"), Vote("i", "p3", "b")]
    right, _ = agreement.adjudicated(votes)
    # p1 against b, b: wrong. p2 and p3 each see one a and one b: a tie, no label.
    assert right == [0.0]
    assert agreement.adjudicated([Vote("i", "p1", "a"), Vote("i", "p2", "a")]) == ([], [])
    assert agreement.adjudicated([Vote("i", "p1", "a", gold="a")])[0] == [1.0]


def test_agreement_is_that_of_pairs_and_a_second_vote_of_one_annotator_is_no_pair() -> None:
    votes = [
        Vote("i", "p1", "a"),
        Vote("i", "p1", "b"),
        Vote("i", "p2", "a"),
        Vote("j", "p1", "a"),
        Vote("j", "p2", "b"),
    ]
    told = agreement.agreement(votes, view_of([]))
    assert told.overall[0].value == 0.5
    assert {one.name: one.agreement.value for one in told.annotators} == {"p1": 0.5, "p2": 0.5}
    assert agreement.repeats(votes).value == 0.0
    alone = agreement.agreement([Vote("i", "p1", "a")], view_of([]))
    assert "nobody else saw" in alone.annotators[0].agreement.told
    assert agreement.agreement([], view_of([])).told == "not measured: no votes were given"


def test_agreement_goes_to_the_source_of_the_voted_line() -> None:
    rows = [{"messages": [{"role": "user", "content": str(n)}], "source": "xy"[n % 2], "batch": "1"} for n in range(4)]
    votes = [Vote(f"i{n}", f"p{p}", "a" if n % 2 or p else "b", line=n + 1) for n in range(4) for p in range(2)]
    assert [(one.name, one.value) for one in agreement.by_source(votes, view_of(rows))] == [("x", 0.0), ("y", 1.0)]


def test_every_record_is_in_one_bin_and_the_line_is_a_bins_edge() -> None:
    combined = np.array([0.0, 0.5, 0.989, 0.99, 0.9999, 1.0])
    told = scores.distribution(combined, ["duplicates"])
    assert sum(one.records for one in told.bins) == len(combined)
    assert sum(one.records for one in told.bins if one.high <= 0.01) == told.above.part == 3
    assert told.bins[0].high == 1.0
    assert told.bins[-1].low == 0.0
    assert scores.distribution(np.zeros(0), []).above.value is None


def test_what_is_not_stated_is_counted_apart_and_a_thousand_values_are_summed_up() -> None:
    told = composition.tally("licence", [None, "MIT", "MIT", *(f"own-{n}" for n in range(100))])
    assert told.counts[0].name == "MIT"
    assert told.counts[-1] == type(told.counts[-1])(name=None, records=1)
    assert told.values == 101
    assert sum(one.records for one in told.counts) + told.others == 103


def test_completeness_says_which_share_is_missing() -> None:
    rows = [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "maker": "model"},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}], "licence": "MIT"},
    ]
    told = {one.name: one.value for one in composition.completeness(view_of(rows), SUBJECT)}
    assert told["records with an answer"] == 0.5
    assert told["records that name a licence"] == 0.5
    assert told["model-made records that name the model"] == 0.0
    assert told["rows that could be read"] is None


def test_the_sample_does_not_depend_on_the_order_of_the_rows() -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"question {n}"}], "source": "s", "batch": str(n % 2)}
        for n in range(80)
    ]
    one, other = view_of(rows), view_of(rows[::-1])
    chosen = [{one.columns.full[i] for i in sample.take(one, per_unit=20).rows}]
    chosen.append({other.columns.full[i] for i in sample.take(other, per_unit=20).rows})
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 40


def test_the_words_of_a_cluster_are_its_own() -> None:
    counts = [Counter({"the": 40, "violin": 30}), Counter({"the": 40, "ferry": 30})]
    found = mapping.characteristic(counts, [40, 40])
    assert found[0][0] == "violin"
    assert found[1][0] == "ferry"
    assert "the" not in found[0] + found[1]


def test_percentages_never_claim_all_or_nothing_by_rounding() -> None:
    assert [percent(v) for v in (0.0, 1.0, 0.99996, 0.00001, 0.5, None)] == [
        "0 %", "100 %", "over 99.9 %", "under 0.1 %", "50 %", "–",
    ]  # fmt: skip


def test_identical_texts_give_a_map_and_no_topics_crash() -> None:
    rows = [{"messages": [{"role": "user", "content": "same"}], "source": "s", "batch": "1"} for _ in range(80)]
    view = view_of(rows)
    picked = sample.take(view)
    assert len(mapping.draw_map(view, picked, {}).points) == 80
    topics, _ = mapping.find_topics(view, picked, 1)
    assert sum(sum(topic.by_unit) for topic in topics) == 80
    json.dumps([topic.model_dump() for topic in topics])
