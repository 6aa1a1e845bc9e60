"""The due-diligence report: of a file, of nearly nothing, and of a workspace; signed, checked, tampered."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from goldsmith import pipeline
from goldsmith.cli.main import cli
from goldsmith.engines.diligence.assemble import assemble
from goldsmith.engines.diligence.material import Material
from goldsmith.engines.diligence.page import render
from goldsmith.engines.reading.identity import digest_of
from goldsmith.engines.screening import screen
from goldsmith.stages.collect import collect
from goldsmith.stages.diligence import sensitive
from goldsmith.stages.release import release
from goldsmith.trust import canonical
from goldsmith.trust.diligence import check
from goldsmith.trust.keys import KeyRing
from goldsmith.trust.verify import verify
from goldsmith.trust.workspace import Workspace
from goldsmith.types.check import CheckContext
from goldsmith.types.coverage import Cell, Coverage
from goldsmith.types.diligence import Diligence, Subject, report_schema
from goldsmith.types.errors import BadInput, Forged, IntegrityFailure, Tampered
from goldsmith.types.finding import Outcome
from goldsmith.types.recipe import CheckEntry, ReleasePolicy, SourceEntry

Rows = list[dict[str, Any]]
Lines = Callable[[Path, Rows], Path]
WANTED = pipeline.Wanted(CheckEntry())


def made(path: Path, out: Path, wanted: pipeline.Wanted = WANTED) -> tuple[Diligence, str]:
    value, written = pipeline.diligence_of_file(path, out, wanted)
    return value, written.page.read_text(encoding="utf-8")


def without_time(report: Path) -> dict[str, Any]:
    return {**json.loads(report.read_text()), "made_at": ""}


@pytest.fixture(scope="module")
def told(lines: Lines, spoilt: Rows, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Diligence, str]:
    folder = tmp_path_factory.mktemp("spoilt")
    path = lines(folder / "feedback.jsonl", [*spoilt, {"messages": 3}])
    return folder, *made(path, folder / "report.html")


def text_of(page: str) -> str:
    pieces: list[str] = []
    parser = HTMLParser()
    parser.handle_data = pieces.append  # type: ignore[method-assign]
    parser.feed(page.split("</style>")[1])
    return " ".join(" ".join(pieces).split())


def test_the_spoilt_batch_fails_with_evidence_and_the_others_do_not(told: tuple[Path, Diligence, str]) -> None:
    _, value, page = told
    assert value.verdict is Outcome.FAIL
    assert [(one.source, one.batch) for one in value.units if one.verdict is Outcome.FAIL] == [("east", "e-2")]
    assert "east / e-2" in value.why
    first = next(one for one in value.units[0].shown if one.check == "covert_tool_calls")
    assert "cdn.measure-it.example" in first.evidence
    assert first.contrast.startswith("100 % of the records here (40 of 40), 0 % elsewhere (0 of 310)")
    assert value.units[0].above == 40
    text = text_of(page)
    for heading in (
        "What could not be seen", "Source by source", "Accuracy, completeness, consistency", "Drift, and where",
        "What it is made of", "Every check that was run", "What this does not prove", "Check it yourself",
    ):  # fmt: skip
        assert heading in text
    assert "✕ FAIL" in text
    assert (value.subject.records, value.subject.faulty) == (350, 1)


def test_without_a_drill_the_first_page_says_so(told: tuple[Path, Diligence, str]) -> None:
    _, value, page = told
    assert value.power == ()
    first = text_of(page).split("Source by source")[0]
    assert "Power not measured: no drill was run on this data" in first
    assert "nothing was found, not that there was nothing to find" in first
    assert "eval overlap : no eval texts were given" in first
    assert "no gold items were given" in first


def test_the_same_file_gives_the_same_bytes_but_for_the_time(told: tuple[Path, Diligence, str], tmp_path: Path) -> None:
    folder, value, page = told
    _, again = made(folder / "feedback.jsonl", tmp_path / "again.html")
    assert without_time(tmp_path / "again.json") == without_time(folder / "report.json")
    assert render(value) == page
    assert len(again) == pytest.approx(len(page), abs=20)


def test_the_report_keeps_to_its_published_schema(told: tuple[Path, Diligence, str]) -> None:
    folder, value, _ = told
    schema = report_schema()
    Draft202012Validator.check_schema(schema)
    document = json.loads((folder / "report.json").read_text())
    Draft202012Validator(schema).validate(document)
    assert canonical.read_artifact((folder / "report.json").read_bytes(), Diligence) == value
    with pytest.raises(Exception, match="verdict"):
        Draft202012Validator(schema).validate({**document, "verdict": "fine"})


def test_secrets_and_personal_data_are_nowhere_in_the_report(lines: Lines, spoilt: Rows, tmp_path: Path) -> None:
    secret = "ghp_" + "kT9vQ2mZx7LwB4nRc8YdJ1fHs6GpE3aVuXo5"
    mail = "gertrud.hallmann@posteo-mail.de"
    rows = [json.loads(json.dumps(row)) for row in spoilt]
    for n in (*range(310, 350), 3, 4):  # every leaking row, and two others
        rows[n]["messages"][0]["content"] += f" My token is {secret}, write to {mail}."
        rows[n]["annotator"] = mail
    rows[5]["generator"] = mail
    votes = [{"item": f"i{n}", "annotator": name, "label": "a"} for n in range(4) for name in (mail, "p2")]
    wanted = pipeline.Wanted(CheckEntry(), votes=lines(tmp_path / "votes.jsonl", votes))
    value, page = made(lines(tmp_path / "rows.jsonl", rows), tmp_path / "report.html", wanted)
    assert {"secrets", "personal_data"} <= {one.check for unit in value.units for one in unit.shown}
    for document in (page, (tmp_path / "report.json").read_text()):
        assert secret not in document
        assert secret[4:20] not in document
        assert "hallmann" not in document
    assert "withheld" in page


def test_a_drills_result_is_told_weakest_first(lines: Lines, spoilt: Rows, tmp_path: Path) -> None:
    def cell(attack: str, records: int, tpr: float, low: float) -> Cell:
        return Cell(attack=attack, records=records, draws=5, planted=5 * records, tpr=tpr, tpr_low=low, named=5)

    cells = (
        cell("covert_tool_calls", 10, 1.0, 0.96), cell("covert_tool_calls", 50, 1.0, 0.98),
        cell("random_flips", 10, 0.02, 0.0), cell("random_flips", 50, 0.05, 0.01),
        cell("entity_promotion", 10, 0.4, 0.3), cell("entity_promotion", 50, 0.95, 0.91),
        Cell(attack="annotator_collusion", records=10, inapplicable="there are no votes"),
    )  # fmt: skip
    coverage = Coverage(
        rows=350, rows_in_all=350, sources=5, pool="measurement", seed=0, draws_asked=5, line=0.99, clean_above=0.01,
        checks=("duplicates",), cells=cells, cpu_s=1.0, data=digest_of(lines(tmp_path / "rows.jsonl", spoilt)),
    )  # fmt: skip
    given = tmp_path / "coverage.json"
    given.write_text(json.dumps({**coverage.model_dump(mode="json"), "remark": "of a drill", "blind_to": []}))
    wanted = pipeline.Wanted(CheckEntry(), coverage=given)
    value, page = made(tmp_path / "rows.jsonl", tmp_path / "report.html", wanted)
    assert "of this very data" in value.power_told
    first = text_of(page).split("Source by source")[0]
    assert "Power not measured" not in first
    assert "random flips (50)" in first
    assert "Entity promotion is found from 50 records on, and missed with 10" in first
    assert "covert tool calls (10)" in first
    assert "no place in this data: there are no votes" in first
    assert "2 of 3" in first  # of three attacks that had a place, two are found in their largest size
    assert first.index("random flips") < first.index("entity promotion") < first.index("annotator collusion")
    lines(tmp_path / "rows.jsonl", spoilt[:200])
    value, page = made(tmp_path / "rows.jsonl", tmp_path / "other.html", wanted)
    assert value.power == ()
    assert "is of other data" in value.power_told
    assert str(coverage.data) in value.power_told
    assert "its figures are not shown" in text_of(page)
    assert "random flips (50)" not in text_of(page)
    given.write_text(json.dumps(coverage.model_copy(update={"data": None}).model_dump(mode="json")))
    value, _ = made(lines(tmp_path / "rows.jsonl", spoilt), tmp_path / "old.html", wanted)
    assert value.power == ()
    assert "data that it does not name" in value.power_told
    given.write_text('{"rows": 3}')
    with pytest.raises(BadInput, match="not a drill's result"):
        made(tmp_path / "rows.jsonl", tmp_path / "bad.html", wanted)


def test_votes_are_told_by_annotator_and_by_source(lines: Lines, spoilt: Rows, votes: Rows, tmp_path: Path) -> None:
    wanted = pipeline.Wanted(CheckEntry(), votes=lines(tmp_path / "votes.jsonl", votes))
    value, page = made(lines(tmp_path / "rows.jsonl", spoilt), tmp_path / "report.html", wanted)
    gold = value.accuracy[0]
    assert gold.whole == 80
    assert gold.value is not None
    assert gold.low is not None
    assert gold.low < gold.value
    assert min(value.agreement.annotators, key=lambda one: one.agreement.value or 0).name == "p3"
    assert [one.name for one in value.agreement.by_source] == ["north"]
    assert "Annotator by annotator" in page
    repeats = next(one for one in value.consistency if "same vote again" in one.name)
    assert repeats.whole == 1


@pytest.mark.parametrize("count", [1, 2, 13])
def test_nearly_nothing_is_said_to_be_nearly_nothing(lines: Lines, spoilt: Rows, tmp_path: Path, count: int) -> None:
    value, page = made(lines(tmp_path / "rows.jsonl", spoilt[:count]), tmp_path / "report.html")
    text = text_of(page)
    assert value.verdict is Outcome.PASS
    assert "records are few" in text
    assert "Drift was not measured: there is one batch only" in text
    assert ("too few to show neighbours" in text) == (count < 12)
    assert "too few to cluster" in text
    assert "not measured: no votes were given" in text
    assert all(one.value is None for one in value.consistency)


def test_no_records_at_all_are_inconclusive_and_never_fine(tmp_path: Path) -> None:
    subject = Subject(what="file", name="none.jsonl", digest="sha256:" + "0" * 64, records=0, delivered=0, faulty=0)
    material = Material(
        rows=[], screening=screen([], [], CheckContext()), findings=(), sources=(), checks=(), subject=subject,
        sensitive=sensitive, made_at="2026-01-01T00:00:00Z",
    )  # fmt: skip
    value = assemble(material)
    assert value.verdict is Outcome.INCONCLUSIVE
    text = text_of(render(value))
    assert "There are no records to judge" in text
    assert "✓ PASS" not in text
    assert np.isfinite(len(text))


def test_a_file_that_cannot_be_read_or_written_is_said_plainly(lines: Lines, spoilt: Rows, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(BadInput):
        made(tmp_path / "empty.jsonl", tmp_path / "report.html")
    with pytest.raises(BadInput, match="both given"):
        made(
            tmp_path / "empty.jsonl", tmp_path / "r.html", pipeline.Wanted(CheckEntry(), coverage=tmp_path, drill=True)
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.jsonl"]


# --- in a workspace


@pytest.fixture(scope="module")
def workspace(
    lines: Lines, spoilt: Rows, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, str], pipeline.Wanted]:
    folder = tmp_path_factory.mktemp("workspace")
    batches: dict[tuple[str, str], Rows] = {}
    for row in spoilt:
        batches.setdefault((row["source"], row["batch"]), []).append(row)
    with Workspace.create(folder / "ws", keys=KeyRing(folder / "keys")) as ws:
        collections = {}
        for (source, batch), rows in batches.items():
            lines(folder / f"{batch}.jsonl", rows)
            entry = SourceEntry(name=source, batch=batch, file=f"{batch}.jsonl")
            collections[batch] = collect(ws, entry, folder).digest
        checked = pipeline.check.check_collections(ws, list(collections.values()), CheckEntry(), ())
        digest, _, _ = release(
            ws, "autumn", list(collections.values()), checked.findings, checked.sources, ReleasePolicy(),
            checked.screening.inconclusive,
        )  # fmt: skip
    return folder, {**collections, "release": digest}, WANTED


def test_a_release_without_the_spoilt_batch_passes_and_its_report_is_signed(
    workspace: tuple[Path, dict[str, str], pipeline.Wanted], tmp_path: Path
) -> None:
    folder, known, wanted = workspace
    with Workspace.open(folder / "ws", KeyRing(folder / "keys")) as ws:
        value, written = pipeline.diligence_of_stated(ws, "autumn", tmp_path / "report.html", wanted)
        fingerprint, checkpoint = ws.root_fingerprint, ws.checkpoint()
    assert value.verdict is Outcome.PASS
    assert value.subject.digest == known["release"]
    assert (value.subject.records, value.subject.left_out) == (310, 40)
    gone = next(unit for unit in value.units if unit.batch == "e-2")
    assert (gone.used, gone.left_out, gone.verdict) == (0, 40, Outcome.FAIL)
    assert "1 that is quarantined was left out" in value.why
    assert all(point.state != "quarantine" for point in value.map.points)
    whole = verify(folder / "ws", fingerprint, checkpoint)
    assert whole.standing == "verified", str(whole)
    assert whole.counts["due-diligence statements"] == 1
    assert written.proof is not None
    report, proof, page = (path.read_bytes() for path in (written.report, written.proof, written.page))
    standing = check(report, proof, fingerprint=fingerprint, page=page)
    assert standing.standing == "verified"
    assert standing.verdict == "pass"
    assert standing.self_attested
    assert check(report, proof).standing == "self-consistent only"
    assert check(report).standing == "unsigned"
    _refuses(report, proof, page, fingerprint)
    _command(written, fingerprint)


def _refuses(report: bytes, proof: bytes, page: bytes, fingerprint: str) -> None:
    other = report.replace(b'"verdict":"pass"', b'"verdict":"fail"')
    assert other != report
    for changed in (other, report.replace(b'"records":310', b'"records":311', 1)):
        with pytest.raises(Tampered, match="another report"):
            check(changed, proof, fingerprint=fingerprint)
    with pytest.raises(Tampered, match="page"):
        check(report, proof, page=page.replace(b"PASS", b"FAIL"))
    with pytest.raises(Forged, match="another trust root"):
        check(report, proof, fingerprint="sha256:" + "0" * 64)
    fields = json.loads(proof)
    envelope = json.loads(fields["statement"])
    envelope["signatures"][0]["sig"] = envelope["signatures"][0]["sig"][::-1][2:] + "=="
    for key, value in (
        ("statement", json.dumps(envelope)),
        ("index", fields["index"] - 1),
        ("inclusion", fields["inclusion"][:-1]),
        ("checkpoint", fields["checkpoint"].replace("\n", "\nx", 1)),
    ):
        with pytest.raises((IntegrityFailure, BadInput)):
            check(report, canonical.encode({**fields, key: value}), fingerprint=fingerprint)
    for place in range(0, len(proof), 97):  # any byte
        changed = proof[:place] + bytes([proof[place] ^ 1]) + proof[place + 1 :]
        with pytest.raises((IntegrityFailure, BadInput)):
            check(report, changed, fingerprint=fingerprint, page=page)
    with pytest.raises(BadInput, match="without the proof"):
        check(report, None, fingerprint=fingerprint)


def _command(written: Any, fingerprint: str) -> None:
    from click.testing import CliRunner

    done = CliRunner().invoke(cli, ["verify", str(written.report), "--root", fingerprint, "--page", str(written.page)])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("verified: due-diligence report, verdict pass")
    done = CliRunner().invoke(cli, ["verify", str(written.report), "--root", "sha256:" + "1" * 64])
    assert isinstance(done.exception, Forged)


def test_a_collection_has_a_report_of_its_own_that_fails(
    workspace: tuple[Path, dict[str, str], pipeline.Wanted], tmp_path: Path
) -> None:
    folder, known, wanted = workspace
    with Workspace.open(folder / "ws", KeyRing(folder / "keys")) as ws:
        value, written = pipeline.diligence_of_stated(ws, "east/e-2", tmp_path / "east.html", wanted)
        assert value.subject.digest == known["e-2"]
        assert value.verdict is Outcome.FAIL
        assert ws.about(known["e-2"], "due-diligence")[-1].predicate["verdict"] == "fail"
        assert written.proof is not None
        with pytest.raises(BadInput, match="no file, no release and no collection"):
            pipeline.diligence_of_stated(ws, "nobody", tmp_path / "none.html", wanted)
        ws.withdraw(known["e-2"], "the vendor leaked", role="operator")
        again, _ = pipeline.diligence_of_stated(ws, known["e-2"], tmp_path / "east.html", wanted)
    assert again.subject.withdrawn == "the vendor leaked"
    assert "Withdrawn: the vendor leaked" in text_of((tmp_path / "east.html").read_text()).replace(" :", ":")


def test_hundreds_of_batches_with_names_alike_are_told_apart_and_the_rest_is_counted(
    lines: Lines, spoilt: Rows, tmp_path: Path
) -> None:
    long = "n" * 120
    rows = [{**row, "source": f"{long}{n}", "batch": long} for n, row in enumerate(spoilt[:300] + spoilt[:150])]
    rows += [row for row in spoilt if row["batch"] == "e-2"]
    off = tuple(name for name in pipeline.check.plugins.names("checks") if name != "covert_tool_calls")
    value, page = made(
        lines(tmp_path / "rows.jsonl", rows), tmp_path / "report.html", pipeline.Wanted(CheckEntry(off=off))
    )
    assert (len(value.units), value.unlisted_units) == (400, 51)
    assert value.units[0].batch == "e-2"
    assert value.verdict is Outcome.FAIL
    assert all(len(topic.by_unit) == 400 for topic in value.topics)
    assert {point.unit for point in value.map.points} <= set(range(400))
    text = text_of(page)
    assert "1 of 451" in text
    assert "and 351 more batches" in text
    assert "Left out on request" in text


def test_a_drill_on_request_fills_the_coverage_matrix(
    lines: Lines, spoilt: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"attacks": ("covert_tool_calls", "annotator_collusion"), "records": (8,), "draws": 1, "most_rows": 400}
    monkeypatch.setattr(pipeline, "DRILL", small)
    off = tuple(name for name in pipeline.check.plugins.names("checks") if name != "covert_tool_calls")
    tools = [{**row, "tools": spoilt[-1]["tools"]} for row in spoilt[:300]]
    wanted = pipeline.Wanted(CheckEntry(off=off), drill=True)
    value, page = made(lines(tmp_path / "rows.jsonl", tools), tmp_path / "report.html", wanted)
    cells = {cell.attack: cell for cell in value.power}
    assert set(cells) == {"covert_tool_calls", "annotator_collusion"}
    assert cells["annotator_collusion"].inapplicable
    assert cells["covert_tool_calls"].inapplicable or cells["covert_tool_calls"].draws == 1
    first = text_of(page).split("Source by source")[0]
    assert "A drill planted known attacks" in first
    assert "Power not measured" not in first


def test_the_command_prints_one_document_and_its_exit_code_is_the_verdict(
    lines: Lines, spoilt: Rows, tmp_path: Path
) -> None:
    from click.testing import CliRunner

    path = lines(tmp_path / "rows.jsonl", spoilt)
    arguments = ["diligence", str(path), "--out", str(tmp_path / "r.html"), "--json"]
    for name in pipeline.check.plugins.names("checks"):
        arguments += [] if name == "covert_tool_calls" else ["--off", name]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 1, done.output
    assert json.loads(done.stdout) == json.loads((tmp_path / "r.json").read_text())
    assert str(tmp_path / "r.html") in done.stderr
