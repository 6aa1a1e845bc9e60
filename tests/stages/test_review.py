"""A reviewer's decision: what it lets in, what it keeps out, and whom it never helps."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from goldsmith.engines.evidence import find_release, left_out_of, newest_release
from goldsmith.engines.reviews import decisions, finding_id
from goldsmith.stages.collect import collect
from goldsmith.stages.recall import recall
from goldsmith.stages.release import release
from goldsmith.stages.review import found_in, review, take_back
from goldsmith.trust import canonical, clock
from goldsmith.trust.keys import KeyRing
from goldsmith.trust.verify import verify
from goldsmith.trust.workspace import Workspace
from goldsmith.types.errors import BadInput, GateRefused
from goldsmith.types.finding import Finding, Outcome, Severity, SourceVerdict, Verdict
from goldsmith.types.lineage import Collection, Release
from goldsmith.types.recipe import Recipe, ReleasePolicy, SourceEntry, Without
from goldsmith.types.review import Decision, Review

ROWS = 12


def write(path: Path, source: str, start: int = 0) -> Path:
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"{source}: where is box {n}?"},
                {"role": "assistant", "content": f"On shelf {n % 5}, box {n}."},
            ]
        }
        for n in range(start, start + ROWS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


class Desk:
    """Two deliveries, and the release gate over whatever was found in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ws = Workspace.create(folder / "ws", keys=KeyRing(folder / "keys"), sources=("anna", "vendor"))
        self.collections = [self.take("anna"), self.take("vendor")]
        self.findings: list[Finding] = [found("vendor", Severity.QUARANTINE, (1, 2, 3), "covert")]

    def take(self, source: str, batch: str = "1", start: int = 0) -> str:
        path = write(self.folder / f"{source}-{batch}.jsonl", source, start)
        return collect(self.ws, SourceEntry(name=source, batch=batch, file=path.name), self.folder).digest

    def release(self, **policy: Any) -> tuple[Release, Verdict]:
        """What `goldsmith run` does after the checks."""
        failed = {(f.source, f.batch): f"{f.check}: {f.evidence}" for f in self.findings if f.severity == "quarantine"}
        units = [self.ws.store.get_artifact(one, Collection) for one in self.collections]
        verdicts = [
            SourceVerdict(
                source=one.source,
                batch=one.batch,
                verdict=Outcome.FAIL if (one.source, one.batch) in failed else Outcome.PASS,
                records=one.count,
                reasons=tuple(why for unit, why in failed.items() if unit == (one.source, one.batch)),
            )
            for one in units
        ]
        _, made, verdict = release(
            self.ws, "boxes", self.collections, self.findings, verdicts, ReleasePolicy(**policy), {}
        )
        return made, verdict

    def decide(self, decision: str, reason: str = "looked at it", **about: Any) -> str:
        return review(self.ws, newest_release(self.ws)[1], Decision(decision), reason, **about)[0]

    def ids(self) -> dict[str, str]:
        """The findings of the newest release by their check."""
        return {one.finding.check: one.id for one in found_in(self.ws, newest_release(self.ws)[1])}


def found(source: str, severity: Severity, lines: tuple[int, ...], check: str, batch: str | None = "1") -> Finding:
    return Finding(check=check, severity=severity, score=0.9, evidence="seen", lines=lines, source=source, batch=batch)


@pytest.fixture
def desk(tmp_path: Path):
    made = Desk(tmp_path)
    yield made
    made.ws.close()


def in_by_source(desk: Desk, made: Release) -> dict[str, int]:
    out = {"anna": ROWS, "vendor": ROWS}
    for one in left_out_of(desk.ws, made):
        out[one.source] -= 1
    assert sum(out.values()) == made.count
    return out


def assert_verifies(desk: Desk) -> None:
    report = verify(desk.ws.path, desk.ws.root_fingerprint, desk.ws.checkpoint())
    assert report.standing == "verified", str(report)


@pytest.mark.parametrize("word", ["accept", "waive"])
def test_an_accepted_or_waived_quarantine_lets_the_batch_in_and_the_release_says_by_whom(desk, word):
    made, verdict = desk.release()
    assert in_by_source(desk, made) == {"anna": ROWS, "vendor": 0}
    assert verdict.evidence == ()
    digest = desk.decide(word, "the host is the vendor's own", findings=[desk.ids()["covert"][:15]])
    made, verdict = desk.release()
    assert in_by_source(desk, made) == {"anna": ROWS, "vendor": ROWS}
    assert verdict.evidence == (digest,)
    told = {rule.rule: rule.observed for rule in verdict.rules}
    assert told["quarantined sources"] == "none"
    assert f"{word} vendor/1 by reviewer" in told["reviewers' decisions"]
    assert "the host is the vendor's own" in told["reviewers' decisions"]
    assert_verifies(desk)


def test_the_decision_is_signed_by_the_reviewer_and_keeps_what_was_seen(desk):
    desk.release()
    digest = desk.decide("accept", findings=[desk.ids()["covert"]])
    (statement,) = desk.ws.statements("review")
    assert (statement.role, statement.subjects["review"]) == ("reviewer", digest)
    assert statement.subjects["collection"] == desk.collections[1]
    held = desk.ws.store.get_artifact(digest, Review)
    assert json.loads(desk.ws.store.get_bytes(held.seen))["check"] == "covert"
    assert held.findings == (finding_id(desk.collections[1], desk.findings[0]),)


def test_without_a_reviewers_key_the_operator_decides(desk, tmp_path):
    desk.release()
    shutil.copytree(tmp_path / "keys", tmp_path / "few")
    for path in (tmp_path / "few").glob("*reviewer*"):
        path.unlink()
    with Workspace.open(tmp_path / "ws", KeyRing(tmp_path / "few")) as ws:
        review(ws, newest_release(ws)[1], Decision.WAIVE, "short of people", unit=("vendor", "1"))
        (one,) = decisions(ws)
    assert one.role == "operator"


def test_a_rejection_keeps_a_batch_out_though_every_check_passed(desk):
    desk.findings = []
    assert in_by_source(desk, desk.release()[0]) == {"anna": ROWS, "vendor": ROWS}
    digest = desk.decide("reject", "their contract has ended", unit=("vendor", "1"))
    made, verdict = desk.release()
    assert in_by_source(desk, made) == {"anna": ROWS, "vendor": 0}
    reasons = {one.reason for one in left_out_of(desk.ws, made)}
    assert reasons == {f"rejected by a reviewer: their contract has ended ({digest[:19]})"}
    assert verdict.evidence == (digest,)
    assert_verifies(desk)


def test_a_rejection_of_lines_and_of_a_finding_keeps_just_those_out(desk):
    desk.findings = [found("anna", Severity.WARN, (4, 5), "odd")]
    desk.release()
    desk.decide("reject", "a real address", unit=("vendor", "1"), lines=[2, 7])
    desk.decide("reject", "odd indeed", findings=[desk.ids()["odd"]])
    made, _ = desk.release()
    out = {(one.source, one.line) for one in left_out_of(desk.ws, made)}
    assert out == {("vendor", 2), ("vendor", 7), ("anna", 4), ("anna", 5)}


def test_an_accepted_exclusion_lets_its_lines_in_and_no_others(desk):
    desk.findings = [found("anna", Severity.EXCLUDE, (1, 2), "secrets"), found("anna", Severity.EXCLUDE, (2, 3), "dup")]
    desk.release()
    desk.decide("accept", "a made-up key", findings=[desk.ids()["secrets"]])
    made, _ = desk.release()
    assert {one.line for one in left_out_of(desk.ws, made)} == {2, 3}


def test_a_decision_never_helps_another_delivery(desk):
    """The same source, the same batch name in the recipe, the same finding on the same lines: but other bytes."""
    desk.release()
    desk.decide("accept", unit=("vendor", "1"))
    assert in_by_source(desk, desk.release()[0])["vendor"] == ROWS
    path = write(desk.folder / "vendor-1.jsonl", "vendor", start=500)
    desk.collections[1] = collect(desk.ws, SourceEntry(name="vendor", batch="1", file=path.name), desk.folder).digest
    made, verdict = desk.release()
    assert in_by_source(desk, made)["vendor"] == 0
    assert verdict.evidence == ()


def test_the_same_bytes_delivered_once_more_are_another_delivery(desk):
    desk.release()
    desk.decide("accept", unit=("vendor", "1"))
    again = SourceEntry(name="vendor", batch="1", file="vendor-1.jsonl")
    desk.collections[1] = collect(desk.ws, again, desk.folder, reuse=False).digest
    assert in_by_source(desk, desk.release()[0])["vendor"] == 0


@pytest.mark.parametrize(
    "later",
    [
        found("vendor", Severity.QUARANTINE, (1, 2, 3), "trigger_payload"),
        found("vendor", Severity.QUARANTINE, (1, 2, 3, 4), "covert"),
        found("vendor", Severity.QUARANTINE, (), "covert"),
        found("vendor", Severity.QUARANTINE, (1, 2), "covert", batch=None),
    ],
    ids=["another check", "more rows", "the source", "fewer rows, without a batch"],
)
def test_what_is_found_later_is_not_covered(desk, later):
    desk.release()
    desk.decide("accept", unit=("vendor", "1"))
    desk.findings = [*desk.findings, later]
    assert in_by_source(desk, desk.release()[0])["vendor"] == 0


def test_a_note_that_becomes_a_quarantine_is_not_covered(desk):
    desk.findings = [found("vendor", Severity.WARN, (1, 2, 3), "covert")]
    desk.release()
    desk.decide("accept", findings=[desk.ids()["covert"]])
    desk.findings = [found("vendor", Severity.QUARANTINE, (1, 2, 3), "covert")]
    assert in_by_source(desk, desk.release()[0])["vendor"] == 0


def test_other_words_of_the_same_finding_are_covered(desk):
    """The wording compares with other deliveries, which come and go."""
    desk.release()
    desk.decide("accept", unit=("vendor", "1"))
    desk.findings = [desk.findings[0].model_copy(update={"evidence": "seen, beside 3 elsewhere", "score": 0.8})]
    assert in_by_source(desk, desk.release()[0])["vendor"] == ROWS


def test_a_finding_on_every_batch_of_a_source_is_decided_batch_by_batch(desk):
    desk.collections.append(desk.take("vendor", "2", start=100))
    both = found("vendor", Severity.QUARANTINE, (), "style", batch=None)
    desk.findings = [both]
    desk.collections, first = desk.collections, desk.collections[1]
    units = [("vendor", "1"), ("vendor", "2")]
    verdicts = [
        SourceVerdict(source=s, batch=b, verdict=Outcome.FAIL, records=ROWS, reasons=("style: seen",)) for s, b in units
    ]
    release(desk.ws, "boxes", desk.collections, desk.findings, verdicts, ReleasePolicy(), {})
    desk.decide("accept", unit=("vendor", "1"))
    _, made, _ = release(desk.ws, "boxes", desk.collections, desk.findings, verdicts, ReleasePolicy(), {})
    out = {(one.source, one.batch) for one in left_out_of(desk.ws, made)}
    assert out == {("vendor", "2")}
    assert decisions(desk.ws)[0].review.collection == first


def test_an_expired_decision_counts_no_longer(desk, monkeypatch):
    desk.release()
    desk.decide("waive", unit=("vendor", "1"), days=2)
    assert in_by_source(desk, desk.release()[0])["vendor"] == ROWS
    later = clock.later(clock.now(), days=3)
    with monkeypatch.context() as patch:
        patch.setattr(clock, "now", lambda: later)
        assert in_by_source(desk, desk.release()[0])["vendor"] == 0
        assert (decisions(desk.ws)[0].void or "").startswith("expired")


def test_the_last_word_counts_and_a_decision_can_be_taken_back(desk):
    desk.release()
    first = desk.decide("accept", unit=("vendor", "1"))
    desk.decide("reject", "no, after all", unit=("vendor", "1"))
    assert in_by_source(desk, desk.release()[0])["vendor"] == 0
    last = desk.decide("accept", "yes, after all", findings=[desk.ids()["covert"]])
    assert in_by_source(desk, desk.release()[0])["vendor"] == 0, (
        "one finding accepted does not lift the whole rejection"
    )
    whole = desk.decide("accept", "all of it", unit=("vendor", "1"))
    assert in_by_source(desk, desk.release()[0])["vendor"] == ROWS
    for digest in (first, last):
        take_back(desk.ws, digest[7:], "read it wrongly")
    assert [one.void is not None for one in decisions(desk.ws)] == [True, False, True, False]
    assert in_by_source(desk, desk.release()[0])["vendor"] == ROWS
    take_back(desk.ws, whole[:20], "that too")
    assert in_by_source(desk, desk.release()[0])["vendor"] == 0
    assert_verifies(desk)


def test_recall_of_a_source_voids_what_let_it_in_and_leaves_what_keeps_it_out(desk):
    desk.release()
    accepted = desk.decide("accept", unit=("vendor", "1"))
    desk.decide("reject", "one row", unit=("vendor", "1"), lines=[9])
    desk.release()
    touched = recall(desk.ws, Without(source="vendor"), "they lied")
    assert touched.reviews == [accepted]
    assert accepted in touched.withdrawn
    held = {one.review.decision.value: one.void for one in decisions(desk.ws)}
    assert held == {"accept": "withdrawn: they lied", "reject": None}
    assert in_by_source(desk, desk.release()[0])["vendor"] == 0
    again = desk.decide("accept", "they did not", unit=("vendor", "1"))
    assert again
    assert in_by_source(desk, desk.release()[0])["vendor"] == 0, "a recalled delivery cannot be accepted again"


def test_a_policy_that_refuses_quarantine_is_content_with_a_decision(desk):
    with pytest.raises(GateRefused):
        desk.release(quarantined="refuse")
    desk.decide("waive", "known, and harmless here", unit=("vendor", "1"))
    made, verdict = desk.release(quarantined="refuse")
    assert verdict.outcome is Outcome.PASS
    assert in_by_source(desk, made)["vendor"] == ROWS


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"findings": ["0123456789ab"]}, "no finding"),
        ({"unit": ("vendor", "2")}, "vendor / 1"),
        ({"unit": ("vendor", "1"), "lines": [99]}, "no record at that line"),
        ({}, "say what the decision is about"),
    ],
)
def test_a_decision_about_nothing_is_refused_and_nothing_is_stated(desk, about, words):
    desk.release()
    before = desk.ws.ledger.size
    with pytest.raises(BadInput) as caught:
        desk.decide("reject", **about)
    assert words in str(caught.value)
    assert desk.ws.ledger.size == before


def test_a_decision_needs_a_reason_and_is_about_one_delivery(desk):
    desk.findings.append(found("anna", Severity.EXCLUDE, (1,), "dup"))
    desk.release()
    ids = desk.ids()
    with pytest.raises(ValueError, match="reason"):
        desk.decide("accept", " ", unit=("vendor", "1"))
    with pytest.raises(BadInput, match="one delivery"):
        desk.decide("accept", findings=[ids["dup"], ids["covert"]])


@pytest.mark.parametrize("change", ["other delivery", "other source", "unsaid decision", "verdict of another"])
def test_verify_names_a_decision_that_does_not_hang_together(desk, change):
    desk.release()
    ws, (anna, vendor) = desk.ws, desk.collections
    made = Review(
        decision=Decision.ACCEPT,
        collection=vendor,
        source="anna" if change == "other source" else "vendor",
        batch="1",
        whole=True,
        seen=ws.store.put_bytes(b""),
        reason="x",
        decided_at=clock.now(),
    )
    digest = ws.store.put_artifact(made)
    about = {"review": digest, "collection": anna if change == "other delivery" else vendor}
    word = "waive" if change == "unsaid decision" else "accept"
    ws.attest("review", about, {"decision": word, "reason": "x"}, role="reviewer")
    if change == "verdict of another":
        _, made_of_anna, _ = release(ws, "one", [anna], [], [], ReleasePolicy(), {})
        verdict = Verdict(
            gate="release",
            subject=canonical.artifact_digest(made_of_anna),
            outcome=Outcome.PASS,
            policy=made_of_anna.policy,
            evidence=(digest,),
        )
        digest = ws.attest_artifact("verdict", verdict, {"gate": "release"}, role="operator").subjects["verdict"]
    report = verify(ws.path)
    assert [problem.object for problem in report.problems] == [digest], str(report)


def test_releases_are_found_by_name_too(desk):
    desk.release()
    assert find_release(desk.ws, "boxes")[0] == newest_release(desk.ws)[0]


@pytest.mark.parametrize("asked", [("vendor",), "all"])
def test_a_policy_may_want_a_reviewers_acceptance(desk, asked):
    desk.findings = []
    with pytest.raises(GateRefused, match="accepted by a reviewer") as refused:
        desk.release(require_accept=asked)
    assert f"vendor / 1 ({desk.collections[1][:19]}): nobody has accepted this delivery" in refused.value.found
    assert ("anna / 1" in refused.value.found) is (asked == "all")
    assert "goldsmith review accept --source S --batch B" in refused.value.next_step
    desk.decide("accept", "read a sample", unit=("vendor", "1"))
    if asked == "all":
        with pytest.raises(GateRefused) as refused:
            desk.release(require_accept=asked)
        assert "vendor" not in refused.value.found
        desk.decide("accept", "ours", unit=("anna", "1"))
    made, verdict = desk.release(require_accept=asked)
    assert made.count == 2 * ROWS
    assert len(verdict.evidence) == (2 if asked == "all" else 1)
    assert_verifies(desk)


def test_only_an_acceptance_in_force_of_this_very_delivery_counts(desk):
    asked = ("vendor",)
    desk.findings = [found("vendor", Severity.EXCLUDE, (1,), "secrets")]
    desk.release()
    desk.decide("waive", "known", unit=("vendor", "1"))
    with pytest.raises(GateRefused):
        desk.release(require_accept=asked)
    accepted = desk.decide("accept", "read it", unit=("vendor", "1"))
    desk.release(require_accept=asked)
    desk.collections[1] = desk.take("vendor", "2", start=50)
    with pytest.raises(GateRefused) as refused:
        desk.release(require_accept=asked)
    assert "vendor / 2" in refused.value.found
    desk.collections.pop()
    desk.release(require_accept=asked)  # nothing of the source is in: there is nothing to accept
    desk.collections.append(desk.take("vendor", "3"))
    desk.release()
    decided = desk.decide("accept", "read it too", unit=("vendor", "3"))
    desk.release(require_accept=asked)
    take_back(desk.ws, decided, "too early")
    with pytest.raises(GateRefused):
        desk.release(require_accept=asked)
    assert accepted != decided


def test_a_finding_that_is_accepted_is_no_acceptance_of_the_delivery(desk):
    desk.release()
    desk.decide("accept", "their own host", findings=[desk.ids()["covert"]])
    with pytest.raises(GateRefused, match="accepted by a reviewer"):
        desk.release(require_accept=("vendor",))


def test_what_stays_out_whole_needs_no_acceptance(desk):
    made, verdict = desk.release(require_accept=("vendor",))
    assert in_by_source(desk, made) == {"anna": ROWS, "vendor": 0}
    assert verdict.outcome is Outcome.PASS


def test_a_recipe_cannot_ask_for_the_acceptance_of_a_source_it_has_not() -> None:
    told = {
        "name": "boxes",
        "sources": [{"name": "vendor", "file": "v.jsonl"}],
        "release": {"require_accept": ["vendro"]},
        "train": [{"method": "sft"}],
        "examine": [{"eval": "fit_gap"}],
        "policy": "p.yaml",
    }
    with pytest.raises(ValueError, match="require_accept names 'vendro'"):
        Recipe.model_validate(told)
    Recipe.model_validate({**told, "release": {"require_accept": "all"}})
