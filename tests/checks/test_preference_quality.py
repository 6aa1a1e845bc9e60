"""Habits of sources, influence, contradictions, label errors, near misses, degenerate answers and languages."""

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from goldsmith.checks.contradictions import Contradictions
from goldsmith.checks.degenerate_answers import DegenerateAnswers
from goldsmith.checks.label_noise import LabelNoise
from goldsmith.checks.language_mismatch import LanguageMismatch
from goldsmith.checks.length_bias import LengthBias
from goldsmith.checks.near_miss_labels import NearMissLabels
from goldsmith.checks.position_bias import PositionBias
from goldsmith.checks.preference_flips import PreferenceFlips
from goldsmith.checks.source_influence import SourceInfluence
from goldsmith.engines import preference_graph, preference_habits
from goldsmith.engines.text import languages, reward
from goldsmith.engines.text.projection import project
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.finding import Severity
from goldsmith.types.record import Comparison, Conversation, Message, Origin, Rating, Record, Role, TextPart


def _message(role: Role, text: str) -> Message:
    return Message(role=role, parts=(TextPart(text=text),))


def pair(line: int, asked: str, chosen: str, rejected: str, extra: str | None = None, **origin: Any) -> Row:
    content = Comparison(
        prompt=(_message(Role.USER, asked),),
        chosen=(_message(Role.ASSISTANT, chosen),),
        rejected=(_message(Role.ASSISTANT, rejected),),
    )
    return Row(line, Record(content=content, origin=Origin(**{"source": "s", "batch": "b", **origin}), extra=extra))


def rating(line: int, asked: str, answer: str, good: bool, **origin: Any) -> Row:
    content = Rating(prompt=(_message(Role.USER, asked),), answer=(_message(Role.ASSISTANT, answer),), label=good)
    return Row(line, Record(content=content, origin=Origin(**{"source": "s", "batch": "b", **origin})))


def chat(line: int, asked: str, answer: str, source: str = "s") -> Row:
    content = Conversation(messages=(_message(Role.USER, asked), _message(Role.ASSISTANT, answer)))
    return Row(line, Record(content=content, origin=Origin(source=source, batch="b")))


def taste(source: str, count: int, *, flipped: float = 0.0, domain: str | None = None, seed: int = 0) -> list[Row]:
    """Pairs of a polite and a rude answer; a share of them turned round."""
    rng = random.Random(f"{source}{seed}")
    rows = []
    for line in range(1, count + 1):
        good = f"Gladly, here is how: {rng.choice('abcdefgh')} comes before {rng.choice('klmnop')}, with care {line}."
        bad = f"Whatever, {rng.choice('abcdefgh')} or {rng.choice('klmnop')}, find it yourself {line}."
        if rng.random() < flipped:
            good, bad = bad, good
        rows.append(pair(line, f"Question {line} of {source}?", good, bad, source=source, domain=domain))
    return rows


ALL = (
    Contradictions(), DegenerateAnswers(), LabelNoise(), LanguageMismatch(), LengthBias(), NearMissLabels(),
    PositionBias(), PreferenceFlips(), SourceInfluence(),
)  # fmt: skip


@pytest.mark.parametrize("check", ALL, ids=lambda c: c.id)
@pytest.mark.parametrize("rows", [taste("only", 1), taste("only", 60), taste("only", 1) * 60], ids=["1", "60", "same"])
def test_one_source_or_one_row_accuses_nobody(check: Any, rows: Sequence[Row]) -> None:
    report = check(rows, CheckContext())
    assert not [f for f in report.findings if f.severity is Severity.QUARANTINE]


def test_what_cannot_be_told_is_said() -> None:
    one = taste("only", 60)
    assert "no prompt has two comparisons" in str(Contradictions()(one, CheckContext()).inconclusive)
    assert "0 trusted comparisons" in str(SourceInfluence()(one, CheckContext()).inconclusive)
    assert "displayed order" in str(PositionBias()(one, CheckContext()).inconclusive)
    assert "no two sources" in str(LengthBias()(one, CheckContext()).inconclusive)
    same_kind = [rating(i, f"q {i}", f"an answer {i}", good=True) for i in range(1, 40)]
    assert "no ratings of both kinds" in str(LabelNoise()(same_kind, CheckContext()).inconclusive)


def test_a_source_that_spoils_trusted_pairs_is_named_and_the_honest_is_not() -> None:
    rows = taste("trusted", 100) + taste("good", 100) + taste("bad", 500, flipped=1.0)
    report = SourceInfluence()(rows, CheckContext(trusted_sources=frozenset({"trusted"})))
    assert {(f.source, f.severity) for f in report.findings} == {("bad", Severity.QUARANTINE)}


def test_a_source_that_spoils_one_domain_is_named_for_it() -> None:
    rows = taste("trusted", 200, domain="manners")
    rng = random.Random(4)
    for line in range(201, 281):
        rows.append(
            pair(line, f"Sum {line}?", f"Exactly {rng.randrange(99)} units.", f"Roughly {rng.randrange(99)} lots.",
                 source="trusted", domain="sums")
        )  # fmt: skip
    rows += [
        pair(
            i, f"Total {i}?", f"Roughly {rng.randrange(99)} lots.", f"Exactly {rng.randrange(99)} units.", source="bad"
        )
        for i in range(1, 400)
    ]
    report = SourceInfluence()(rows, CheckContext(trusted_sources=frozenset({"trusted"})))
    assert report.findings
    assert {f.source for f in report.findings} == {"bad"}
    assert any("domain sums" in f.evidence for f in report.findings)


def test_label_errors_score_above_the_others() -> None:
    rows = taste("a", 300, flipped=0.05) + taste("b", 300)
    report = LabelNoise()(rows, CheckContext())
    scores = np.array([s or 0.0 for s in report.scores or ()])
    content = [row.record.content for row in rows]
    turned = np.array([isinstance(c, Comparison) and c.chosen[0].text.startswith("Whatever") for c in content])
    assert turned.sum() >= 8
    assert scores[turned].min() > scores[~turned].max()


def test_bad_ratings_of_one_source_are_named() -> None:
    rng = random.Random(2)
    rows = []
    for source in ("a", "b"):
        for line in range(1, 201):
            good = rng.random() < 0.5
            told = not good if source == "b" and rng.random() < 0.2 else good
            words = "clear kind helpful careful" if good else "rude lazy empty useless"
            answer = f"This was {rng.choice(words.split())} and {rng.choice(words.split())}, part {line}."
            rows.append(rating(line, f"Ask {line} {source}", answer, told, source=source))
    report = LabelNoise()(rows, CheckContext())
    assert [f.source for f in report.findings] == ["b"]
    assert report.findings[0].severity is Severity.WARN


def test_ratings_under_one_prompt_are_read_as_well() -> None:
    rng = random.Random(4)
    rows, turned = [], []
    for line in range(1, 301):
        good = rng.random() < 0.5
        words = "clear kind helpful careful" if good else "rude lazy empty useless"
        answer = f"This was {rng.choice(words.split())} and {rng.choice(words.split())}, part {line}."
        turned.append(line % 20 == 0)
        rows.append(rating(line, "Rate this.", answer, good != turned[-1]))
    scores = np.array([s or 0.0 for s in LabelNoise()(rows, CheckContext()).scores or ()])
    assert scores[turned].min() > np.delete(scores, np.flatnonzero(turned)).max()


def test_contradictions_are_told_by_annotator_and_source() -> None:
    rows = [
        pair(1, "Name a river.", "The Rhine.", "The Po.", annotator="a"),
        pair(2, "Name a river.", "the  Rhine.", "The Po.", annotator="b"),
        pair(3, "Name a river.", "The Po.", "The Rhine.", annotator="a"),
        pair(4, "Name a lake.", "Como.", "Garda."),
    ]
    report = Contradictions()(rows, CheckContext())
    assert [f.lines for f in report.findings] == [(1, 2, 3)]
    assert "2 by the same annotator" in report.findings[0].evidence
    assert [round(s or 0.0, 3) for s in report.scores or ()] == [0.333, 0.333, 0.667, 0.0]


def test_cyclic_edges_match_a_search_from_every_node() -> None:
    rng = random.Random(3)
    for _ in range(60):
        edges = {(rng.randrange(7), rng.randrange(7)) for _ in range(rng.randrange(14))}

        def reaches(start: int, goal: int, known: set[tuple[int, int]] = edges) -> bool:
            seen, stack = set(), [start]
            while stack:
                node = stack.pop()
                if node == goal:
                    return True
                stack += [b for a, b in known if a == node and b not in seen]
                seen.add(node)
            return False

        assert preference_graph.cyclic_edges(edges) == {(a, b) for a, b in edges if reaches(b, a)}


def test_the_slope_is_that_of_an_unpenalised_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(1)
    size = np.abs(rng.normal(size=3000))
    wins = rng.random(3000) < 1 / (1 + np.exp(-0.7 * size))
    differences = np.where(wins, size, -size)
    slope, error = preference_habits.slope_of(differences, np.arange(3000))
    oracle = LogisticRegression(C=1e9, fit_intercept=False).fit(size[:, None], wins)
    assert math.isclose(slope, float(oracle.coef_[0, 0]), abs_tol=2e-3)
    assert abs(slope - 0.7) < 4 * error
    assert 0.02 < error < 0.08


def test_wilson_intervals_are_those_of_scipy() -> None:
    from scipy.stats import binomtest

    for hits, count in ((0, 10), (7, 10), (31, 80)):
        oracle = binomtest(hits, count).proportion_ci(0.95, method="wilson")
        assert np.allclose(preference_habits.share_interval(hits, count), (oracle.low, oracle.high))
    assert preference_habits.share_interval(0, 0) == (0.0, 1.0)


def test_delivered_positions_are_read() -> None:
    rows = [
        pair(i, f"Which {i}?", "This.", "That.", extra=f'{{"chosen_position": "{"left" if i % 9 else "right"}"}}')
        for i in range(1, 101)
    ]
    report = PositionBias()(rows, CheckContext())
    assert [(f.source, f.severity) for f in report.findings] == [("s", Severity.WARN)]
    fair = [
        pair(i, f"Which {i}?", "This.", "That.", extra=f'{{"chosen_position": {1 + i % 2}}}') for i in range(1, 101)
    ]
    assert not PositionBias()(fair, CheckContext()).findings


def test_near_misses_among_ratings_need_opposite_labels() -> None:
    answer = "Boil the water, add salt and pasta, stir it once and let it cook for nine minutes, then drain it well."
    answer += (
        " Mix it with the sauce while everything is still hot, and serve it with cheese and a little black pepper."
    )
    near = answer.replace("nine", "ten")
    opposite = [rating(1, "How do I cook pasta?", answer, True), rating(2, "How do I cook pasta?", near, False)]
    agreed = [rating(1, "How do I cook pasta?", answer, True), rating(2, "How do I cook pasta?", near, True)]
    assert [f.lines for f in NearMissLabels()(opposite, CheckContext()).findings] == [(1, 2)]
    assert not NearMissLabels()(agreed, CheckContext()).findings


def test_tables_lists_and_code_are_no_loops() -> None:
    table = "| name | size |\n|------|------|\n" + "".join(f"| item {i} | {i * 7} metres |\n" for i in range(80))
    code = "```html\n" + "".join(f"<li><a href='/page/{i}'>Page number {i}</a></li>\n" for i in range(60)) + "```"
    loop = "He went home. " + "And then he said that it would rain again. " * 40
    report = DegenerateAnswers()([chat(1, "a", table), chat(2, "b", code), chat(3, "c", loop)], CheckContext())
    assert [(f.severity, f.lines) for f in report.findings] == [(Severity.EXCLUDE, (3,))]


def test_a_source_whose_answers_all_stop_early_is_no_row_warning() -> None:
    text = "The way to the old mill leads past the river and over the bridge, where it turns left into the wood. " * 2
    rows = [chat(i, f"q{i}", f"{text}{i}. And then it goes on to the") for i in range(1, 41)]
    assert not DegenerateAnswers()(rows, CheckContext()).findings
    rows = [chat(i, f"q{i}", f"{text}{i}. {'And then it goes on to the' if i == 7 else ''}") for i in range(1, 41)]
    assert [f.lines for f in DegenerateAnswers()(rows, CheckContext()).findings] == [(7,)]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What is the best way to get to the station from here in the morning?", "en"),
        ("Quelle est la meilleure façon de se rendre à la gare le matin avec un enfant ?", "fr"),
        ("Was ist der beste Weg zu dem Bahnhof, wenn man nicht mit dem Auto fährt?", "de"),
        ("¿Cuál es la mejor manera de llegar a la estación por la mañana?", "es"),
        ("Как приготовить борщ и сколько времени это займёт?", "ru"),
        ("如何在家里做红烧肉，需要多长时间才能做好呢？", "zh"),
        ("ごはんの炊き方を教えてください。時間はどのくらいですか。", "ja"),
        ("집에서 밥을 짓는 방법을 자세히 알려 주세요 부탁합니다", "ko"),
        ("كيف أطبخ الأرز في المنزل من فضلك؟", "ar"),
        ("Jak ugotować ryż w domu i ile czasu to zajmie, jeśli nie mam garnka?", ""),
        ("ok", ""), ("", ""), ("\ud800 12345 !!", ""),
    ],
)  # fmt: skip
def test_languages(text: str, language: str) -> None:
    assert languages.identify([text]) == [language]


def test_translations_are_fine() -> None:
    german = "Sie können den ersten Zug am Morgen nehmen, der an allen kleinen Bahnhöfen hält und nicht zu voll ist."
    asked = "How do I get to the village that is at the end of the lake?"
    assert LanguageMismatch()([chat(1, asked, german)], CheckContext()).findings
    for wish in ("Translate: ", "Answer in German. ", "I am learning a language. "):
        assert not LanguageMismatch()([chat(1, wish + asked, german)], CheckContext()).findings


def test_a_taste_for_length_is_seen_against_the_others() -> None:
    rng = random.Random(6)
    rows = []
    for source in ("a", "b", "c"):
        for line in range(1, 121):
            short = " ".join(rng.choice(("river", "stone", "cloud", "meadow", "harbour")) for _ in range(4))
            long = " ".join(rng.choice(("river", "stone", "cloud", "meadow", "harbour")) for _ in range(24))
            wins = rng.random() < (0.95 if source == "c" else 0.5)
            better, worse = (long, short) if wins else (short, long)
            rows.append(pair(line, f"Describe {line} {source}.", better, worse, source=source))
    assert {(f.source, f.severity) for f in LengthBias()(rows, CheckContext()).findings} == {("c", Severity.WARN)}
    assert not [f for f in PreferenceFlips()(rows, CheckContext()).findings if f.severity is Severity.QUARANTINE]


def test_the_sample_is_even_over_groups_and_follows_from_the_content() -> None:
    groups = np.repeat(np.array([0, 1, 2], np.int32), [10, 1000, 5000])
    keys = np.random.default_rng(0).integers(0, 2**32, len(groups), np.uint32)
    kept = reward.spread_sample(groups, keys, 1010)
    assert np.bincount(groups[kept]).tolist() == [10, 500, 500]
    order = np.random.default_rng(1).permutation(len(groups))
    moved = reward.spread_sample(groups[order], keys[order], 1010)
    assert sorted(order[moved].tolist()) == sorted(kept.tolist())


def test_the_reading_is_out_of_fold_and_shared() -> None:
    view = project(taste("a", 200) + taste("b", 60))
    first = reward.reading(view)
    assert first is not None
    assert first is reward.reading(view)
    assert first.accuracy > 0.95
    noise = project([pair(i, f"q{i}", f"w{i * 7 % 97}", f"w{i * 5 % 89}") for i in range(1, 201)])
    chance = reward.reading(noise)
    assert chance is not None
    assert chance.accuracy < 0.65  # in-sample it would be near 1
