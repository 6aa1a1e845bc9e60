"""The Croissant export, read by MLCommons' own library: metadata without issues, records that come back."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlcroissant
import pyarrow.parquet as pq
import pytest

from goldsmith import pipeline
from goldsmith.engines.croissant.metadata import NOT_STATED
from goldsmith.engines.croissant.rows import COLUMNS
from goldsmith.stages.check import check_file
from goldsmith.stages.collect import collect
from goldsmith.stages.release import release
from goldsmith.trust import records
from goldsmith.trust.keys import KeyRing
from goldsmith.trust.workspace import Workspace
from goldsmith.types.errors import BadInput
from goldsmith.types.recipe import CheckEntry, ReleasePolicy, SourceEntry

Rows = list[dict[str, Any]]
Lines = Callable[[Path, Rows], Path]
RAI = (
    "dataCollection", "dataCollectionType", "dataCollectionMissingData", "dataCollectionRawData",
    "dataPreprocessingProtocol", "dataAnnotationProtocol", "dataAnnotationPlatform",
    "dataAnnotationAnalysis", "annotationsPerItem", "annotatorDemographics", "machineAnnotationTools", "dataBiases",
    "dataLimitations", "dataUseCases", "dataSocialImpact", "personalSensitiveInformation", "dataReleaseMaintenancePlan",
)  # fmt: skip


def mixed(spoilt: Rows) -> Rows:
    """Every kind of record, other scripts, text that looks like numbers, and what JSON has to escape."""
    rows = [*spoilt[:40], {"prompt": "Which?", "chosen": '数据 \u2028 "x"\n\ttab', "rejected": "مرحبا", "source": "s"}]
    rows += [
        {"prompt": "Rate.", "completion": f"{n}", "label": n % 2 == 0, "source": "s", "batch": "7"} for n in range(3)
    ]
    return [*rows, {"text": "Plain words, 12.5 of them.", "licence": "CC-BY-NC-4.0"}]


@pytest.fixture(scope="module")
def exported(lines: Lines, spoilt: Rows, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("croissant")
    path = lines(folder / "rows.jsonl", mixed(spoilt))
    pipeline.croissant_of_file(path, folder / "out", None)
    return path, folder / "out"


def test_mlcroissant_loads_it_without_an_issue_and_iterates_every_record(exported: tuple[Path, Path]) -> None:
    path, out = exported
    dataset = mlcroissant.Dataset(out / "croissant.json")
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    assert not issues.warnings
    found = list(dataset.records("records"))
    rows = check_file(path, CheckEntry())[0].rows
    assert len(found) == len(rows) == 45
    for given, row in zip(found, rows, strict=True):
        assert set(given) == {f"records/{name}" for name, _, _ in COLUMNS}
        assert given["records/record"].decode() == records.record_digest(row.record)
        assert given["records/row"] == records.line(row.record)
        assert given["records/kind"].decode() == row.record.content.kind
    pair = next(one for one in found if one["records/kind"] == b"comparison")
    assert pair["records/answer"].decode() == 'assistant: 数据 \u2028 "x"\n\ttab'
    assert pair["records/rejected"].decode() == "assistant: مرحبا"
    assert found[0]["records/generation_depth"] is None


def test_every_file_has_the_digest_and_the_size_that_is_stated(exported: tuple[Path, Path]) -> None:
    _, out = exported
    document = json.loads((out / "croissant.json").read_text())
    stated = {one["name"]: one for one in document["distribution"]}
    assert set(stated) == {path.name for path in out.iterdir()} - {"croissant.json"}
    assert set(stated) == {
        "records.jsonl", "records.parquet", "conversations.jsonl", "comparisons.jsonl", "ratings.jsonl", "texts.jsonl",
    }  # fmt: skip
    for name, one in stated.items():
        data = (out / name).read_bytes()
        assert one["sha256"] == hashlib.sha256(data).hexdigest()
        assert one["contentSize"] == f"{len(data)} B"
    table = pq.read_table(out / "records.parquet").to_pylist()
    assert table == [json.loads(line) for line in (out / "records.jsonl").read_bytes().splitlines()]


def test_the_trainers_rows_read_back_as_the_same_records(exported: tuple[Path, Path]) -> None:
    path, out = exported
    given = {records.content_digest(row.record) for row in check_file(path, CheckEntry())[0].rows}
    found = set()
    for kind in ("conversations", "comparisons", "ratings", "texts"):
        rows = check_file(out / f"{kind}.jsonl", CheckEntry())[0].rows
        found |= {records.content_digest(row.record) for row in rows}
    assert found == given


def test_every_responsible_ai_property_is_there_and_what_is_not_known_says_so(exported: tuple[Path, Path]) -> None:
    document = json.loads((exported[1] / "croissant.json").read_text())
    assert all(document[f"rai:{name}"] for name in RAI)
    for name in ("dataUseCases", "dataReleaseMaintenancePlan", "dataAnnotationProtocol", "annotatorDemographics"):
        assert document[f"rai:{name}"] in (NOT_STATED, [NOT_STATED])
    assert document["rai:dataCollectionType"] == ["Manual Human Curator"]
    assert document["license"][0] == "https://spdx.org/licenses/CC-BY-4.0.html"
    assert document["license"][-1] == "not stated for 4 records"
    assert any("No check reads whether an answer is true" in one for one in document["rai:dataLimitations"])
    assert document["conformsTo"][0] == "http://mlcommons.org/croissant/1.1"
    loaded = mlcroissant.Dataset(exported[1] / "croissant.json").metadata
    assert loaded.data_use_cases == [NOT_STATED] or loaded.data_use_cases == NOT_STATED
    assert loaded.data_collection.startswith("Delivered by sources")


def test_a_card_says_what_only_the_vendor_can_say(lines: Lines, spoilt: Rows, tmp_path: Path) -> None:
    card = tmp_path / "card.yaml"
    card.write_text(
        "name: Harbour questions\nlicence: https://example.com/licence\ncreators: [Harbour Labs]\n"
        "collection_timeframe: [2026-03-01, 2026-04-30]\nuse_cases: [supervised fine-tuning of assistants]\n"
        "maintenance: quarterly, recalls by mail\n"
    )
    path = lines(tmp_path / "rows.jsonl", spoilt[:30])
    pipeline.croissant_of_file(path, tmp_path / "out", card)
    document = json.loads((tmp_path / "out" / "croissant.json").read_text())
    assert document["name"] == "Harbour questions"
    assert document["license"] == ["https://example.com/licence"]
    assert document["rai:dataUseCases"] == ["supervised fine-tuning of assistants"]
    assert document["rai:dataReleaseMaintenancePlan"] == "quarterly, recalls by mail"
    assert document["rai:dataCollectionTimeFrame"] == ["2026-03-01", "2026-04-30"]
    assert mlcroissant.Dataset(tmp_path / "out" / "croissant.json").metadata.name == "Harbour questions"
    card.write_text("use_case: [typo]\n")
    with pytest.raises(BadInput, match="use_case"):
        pipeline.croissant_of_file(path, tmp_path / "other", card)
    with pytest.raises(BadInput, match="not empty"):
        pipeline.croissant_of_file(path, tmp_path / "out", None)


def test_a_release_is_exported_as_it_was_frozen(lines: Lines, spoilt: Rows, tmp_path: Path) -> None:
    lines(tmp_path / "east.jsonl", [row for row in spoilt if row["batch"] == "e-2"])
    lines(tmp_path / "north.jsonl", [row for row in spoilt if row["batch"] == "n-1"])
    with Workspace.create(tmp_path / "ws", keys=KeyRing(tmp_path / "keys")) as ws:
        entries = [SourceEntry(name=n, batch=b, file=f"{n}.jsonl") for n, b in (("north", "n-1"), ("east", "e-2"))]
        collections = [collect(ws, entry, tmp_path).digest for entry in entries]
        checked = pipeline.check.check_collections(ws, collections, CheckEntry(), ())
        release(ws, "spring", collections, checked.findings, checked.sources, ReleasePolicy(), {})
        pipeline.croissant_of_stated(ws, "spring", tmp_path / "out", None)
        pipeline.croissant_of_stated(ws, "east/e-2", tmp_path / "east", None)
    table = pq.read_table(tmp_path / "out" / "records.parquet")
    assert table.num_rows == 90
    assert set(table["source"].to_pylist()) == {"north"}
    found = list(mlcroissant.Dataset(tmp_path / "out" / "croissant.json").records("records"))
    assert len(found) == 90
    told = json.loads((tmp_path / "out" / "croissant.json").read_text())
    assert any("40 of 130 delivered records were left out" in one for one in told["rai:dataPreprocessingProtocol"])
    assert pq.read_table(tmp_path / "east" / "records.parquet").num_rows == 40
