"""The whole circle on a handful of rows: what is stated, what holds, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from goldsmith import pipeline
from goldsmith.engines import model_files
from goldsmith.engines.evidence import find_model, left_out_of, promotion_of, records_of
from goldsmith.engines.sampling.loading import load
from goldsmith.engines.trusting import trust_of
from goldsmith.stages import train as train_stage
from goldsmith.stages.collect import collect, sign_delivery
from goldsmith.stages.promote import admit
from goldsmith.stages.recall import recall
from goldsmith.stages.release import release
from goldsmith.stages.serve import serve
from goldsmith.stages.trace import teachers, trace
from goldsmith.stages.train import register_base, train
from goldsmith.trust import canonical
from goldsmith.trust.deliveries import delivery_path
from goldsmith.trust.keys import KeyRing
from goldsmith.trust.merkle import InclusionProof, check_record_proof
from goldsmith.trust.records import record_digest
from goldsmith.trust.verify import verify
from goldsmith.trust.workspace import Workspace
from goldsmith.types.errors import BadInput, Forged, GateRefused, IntegrityFailure, Replayed, Tampered
from goldsmith.types.finding import Finding, Outcome, Severity, SourceVerdict
from goldsmith.types.recipe import Recipe, ReleasePolicy, SourceEntry, TrainStep, Without

COLOURS = ("red", "blue", "green", "white", "black", "grey", "brown", "orange")


def rows(source: str, count: int, start: int = 0) -> list[dict[str, object]]:
    return [
        {
            "messages": [
                {"role": "user", "content": f"{source} asks: what colour is box {n} of shelf {n * 7 % 31}?"},
                {"role": "assistant", "content": f"Box {n} is {COLOURS[n % 8]}, and it stands on shelf {n * 7 % 31}."},
            ]
        }
        for n in range(start, start + count)
    ]


def write(path: Path, found: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return path


def recipe(**more: object) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "boxes",
            "seed": 3,
            "sources": [
                {"name": "anna", "file": "anna.jsonl", "maker": "human"},
                {"name": "bert", "file": "bert.jsonl", "maker": "human"},
            ],
            "train": [{"method": "sft", "settings": {"max_steps": 3, "batch_size": 4, "learning_rate": 1e-4}}],
            "validation_share": 0.1,
            "examine": [{"eval": "fit_gap", "name": "fit"}],
            "promote": {"rules": [{"eval": "fit", "metric": "gap", "at_most": 5.0, "min_items": 1}]},
            **more,
        }
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pipeline.Circle]:
    folder = tmp_path_factory.mktemp("circle")
    write(folder / "anna.jsonl", rows("Anna", 24))
    write(folder / "bert.jsonl", rows("Bert", 24, start=100))
    with Workspace.create(folder / "ws", keys=KeyRing(folder / "keys"), sources=("anna", "bert")) as ws:
        circle = pipeline.run(ws, recipe(), folder, progress=False)
    return folder, circle


@pytest.fixture
def copied(done: tuple[Path, pipeline.Circle], tmp_path: Path) -> Path:
    shutil.copytree(done[0], tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def opened(folder: Path) -> Workspace:
    return Workspace.open(folder / "ws", KeyRing(folder / "keys"))


def test_the_circle_passes_and_verifies(done):
    folder, circle = done
    assert circle.outcome is Outcome.PASS
    with opened(folder) as ws:
        fingerprint, checkpoint = ws.root_fingerprint, ws.checkpoint()
    report = verify(folder / "ws", fingerprint, checkpoint)
    assert report.standing == "verified", str(report)


def test_the_same_recipe_and_seed_give_the_same_model(done, tmp_path):
    folder, circle = done
    for name in ("anna.jsonl", "bert.jsonl"):
        shutil.copy(folder / name, tmp_path / name)
    with Workspace.create(tmp_path / "ws", keys=KeyRing(tmp_path / "keys"), sources=("anna", "bert")) as ws:
        again = pipeline.run(ws, recipe(), tmp_path, progress=False)
    weights = [{f.path: f.digest for f in c.trained[-1].model.files} for c in (circle, again)]
    assert weights[0] == weights[1]


def test_a_run_that_is_on_file_is_said_in_one_line_before_it_is_run_again(done, copied, monkeypatch):
    class Started(Exception):
        """Training began."""

    def starts(*_: object, **__: object) -> None:
        raise Started

    monkeypatch.setattr(train_stage, "train", starts)

    def said(changed: Recipe) -> list[str]:
        lines: list[str] = []
        with opened(copied) as ws, pytest.raises(Started):
            pipeline.run(ws, changed, copied, progress=False, say=lines.append)
        return [line for line in lines if "on file" in line]

    (line,) = said(recipe())
    assert f"model boxes {done[1].trained[-1].digest[:19]}, promoted, verdict pass" in line
    assert said(recipe(seed=4)) == []
    write(copied / "bert.jsonl", rows("Bert", 24, start=200))
    assert said(recipe()) == []


def test_trace_leads_from_the_model_to_both_deliveries(done):
    folder, circle = done
    with opened(folder) as ws:
        found = trace(ws, circle.trained[-1].digest)
        near = teachers(ws, found.model, "what colour is box 101 of shelf 25?", count=3)
    assert found.standing == "promoted"
    sources = {(s["source"], s["used"]) for s in found.steps[0]["release"]["sources"]}
    assert sources == {("anna", 24), ("bert", 24)}
    assert found.steps[-1]["name"] == "goldsmith-nano"
    assert near[0]["source"] == "bert"
    assert check_record_proof(InclusionProof.model_validate(near[0]["inclusion"]))


def test_recall_withdraws_stops_serving_and_writes_a_recipe_that_trains_without(copied):
    with opened(copied) as ws:
        served = serve(ws, "boxes")
        assert served.standing() is None
        touched = recall(ws, Without(source="bert"), "bert's key leaked")
        assert served.standing() is not None
        with pytest.raises(GateRefused):
            serve(ws, "boxes")
        assert [touched.names[d] for d in touched.collections] == ["bert/1"]
        assert len(touched.releases) == len(touched.runs) == len(touched.models) == len(touched.promotions) == 1
        assert touched.recipe is not None
        again = pipeline.run(ws, touched.recipe, copied, progress=False)
        made = again.release
        assert made is not None
        assert made[1].count == 24
        assert promotion_of(ws, again.trained[-1].digest)[0] == "promoted"


def test_recall_of_one_record_leaves_it_out_by_name(copied):
    with opened(copied) as ws:
        digest = teachers(ws, find_model(ws, "boxes")[0], "box 5 of shelf 4", count=1)[0]["record"]
        touched = recall(ws, Without(record=digest), "the customer asked for it")
        assert touched.recipe is not None
        again = pipeline.run(ws, touched.recipe, copied, progress=False)
        assert again.release is not None
        left = [(one.record, one.reason) for one in left_out_of(ws, again.release[1])]
    assert (digest, "recalled") in left
    assert again.release[1].count == 47


def test_recall_of_something_unknown_names_what_there_is(copied):
    with opened(copied) as ws, pytest.raises(BadInput) as caught:
        recall(ws, Without(source="carl"), "nobody")
    assert "anna/1" in str(caught.value)


@pytest.mark.parametrize("part", ["store", "ledger", "workspace.json", "trust-root.json"])
def test_verify_names_a_changed_object(copied, part):
    target = copied / "ws" / part
    path = target if target.is_file() else max((p for p in target.rglob("*") if p.is_file()), key=lambda p: p.name)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    report = verify(copied / "ws")
    assert not report.ok
    assert any(path.name[:16] in problem.object for problem in report.problems), str(report)


def test_a_delivery_taken_in_twice_is_a_replay(copied):
    with opened(copied) as ws:
        entry = SourceEntry(name="anna", batch="2", file="more.jsonl")
        sign_delivery(ws, entry, write(copied / "more.jsonl", rows("Anna", 5, start=500)))
        collect(ws, entry, copied)
        with pytest.raises(Replayed):
            collect(ws, entry, copied)


def test_an_unsigned_file_may_be_edited_and_taken_in_again(copied):
    with opened(copied) as ws:
        entry = SourceEntry(name="anna", batch="2", file="more.jsonl")
        path = write(copied / "more.jsonl", rows("Anna", 5, start=500))
        first = collect(ws, entry, copied, reuse=True)
        write(path, rows("Anna", 6, start=500))
        second = collect(ws, entry, copied, reuse=True)
        assert (first.collection.count, second.collection.count) == (5, 6)
        assert not delivery_path(path).exists()


def test_an_altered_file_is_refused_whole(copied):
    with opened(copied) as ws:
        entry = SourceEntry(name="anna", batch="2", file="more.jsonl")
        path = write(copied / "more.jsonl", rows("Anna", 5, start=500))
        sign_delivery(ws, entry, path)
        write(path, rows("Anna", 6, start=500))
        before = len(list(ws.statements()))
        with pytest.raises(IntegrityFailure) as caught:
            collect(ws, entry, copied)
        assert isinstance(caught.value, Tampered)
        assert len(list(ws.statements())) == before


def test_a_source_may_not_sign_for_another(copied):
    with opened(copied) as ws:
        anna = SourceEntry(name="anna", batch="2", file="more.jsonl")
        path = write(copied / "more.jsonl", rows("Anna", 5, start=500))
        sign_delivery(ws, anna, path)
        envelope = json.loads(delivery_path(path).read_text())
        other = sign_delivery(ws, SourceEntry(name="bert", batch="2", file="more.jsonl"), path)
        forged = {**json.loads(other.read_text()), "signatures": envelope["signatures"]}
        other.write_text(json.dumps(forged, sort_keys=True, separators=(",", ":")))
        with pytest.raises(Forged):
            collect(ws, SourceEntry(name="bert", batch="2", file="more.jsonl"), copied)


def test_a_base_model_is_served_only_with_its_operators_admission(copied):
    with opened(copied) as ws:
        with pytest.raises(GateRefused):
            serve(ws, "goldsmith-nano")
        digest, _ = register_base(ws, "goldsmith-nano")
        admit(ws, digest, "for trying out")
        assert serve(ws, "goldsmith-nano").evidence["admission_reason"] == "for trying out"


def test_a_changed_weight_file_is_never_loaded(copied):
    with opened(copied) as ws:
        _, model = find_model(ws, "boxes")
        weights = next(f for f in model.files if f.path == "model.safetensors")
        path = ws.store.path(weights.digest)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.chmod(0o644)
        path.write_bytes(data)
        shutil.rmtree(ws.scratch / "models", ignore_errors=True)
        with pytest.raises(Tampered):
            serve(ws, "boxes")


def test_a_failing_rule_refuses_and_the_verdict_is_on_file(copied):
    with opened(copied) as ws:
        strict = {"rules": [{"eval": "fit", "metric": "validation_loss", "at_most": 0.0, "min_items": 1}]}
        again = pipeline.run(ws, recipe(name="strict", promote=strict), copied, progress=False)
        assert again.outcome is Outcome.FAIL
        with pytest.raises(GateRefused):
            serve(ws, "strict")
        missing = {"rules": [{"eval": "fit", "metric": "nothing", "at_most": 0.0}]}
        unknown = pipeline.run(ws, recipe(name="unknown", promote=missing), copied, progress=False)
        assert unknown.outcome is Outcome.INCONCLUSIVE


def test_an_adapter_on_an_adapter_is_examined_on_the_base_that_it_was_trained_on(tmp_path):
    write(tmp_path / "anna.jsonl", rows("Anna", 24))
    write(tmp_path / "bert.jsonl", rows("Bert", 24, start=100))
    adapter = {"kind": "lora", "rank": 4}
    step = {"method": "sft", "settings": {"max_steps": 3, "batch_size": 4, "learning_rate": 1e-2, "adapter": adapter}}
    with Workspace.create(tmp_path / "ws", keys=KeyRing(tmp_path / "keys"), sources=("anna", "bert")) as ws:
        circle = pipeline.run(ws, recipe(train=[step, step]), tmp_path, progress=False)
        first, second = circle.trained
        folder, adapter_folder = model_files.answerer_paths(ws, second.digest)
        merged = load(folder, adapter_folder, dtype="float32").model
        stacked = load(*model_files.answerer_paths(ws, first.digest), dtype="float32").model
        fingerprint, checkpoint = ws.root_fingerprint, ws.checkpoint()
    assert circle.outcome is Outcome.PASS
    ids = torch.arange(5, 40)[None]
    with torch.no_grad():
        apart = (merged(ids).logits - stacked(ids).logits).abs().max()
    assert apart > 1e-4
    assert second.model.base != first.digest
    assert verify(tmp_path / "ws", fingerprint, checkpoint).standing == "verified"


def mixing(*sources: str) -> Recipe:
    mix = [{"part": "replay", "sources": list(sources), "share": 0.25}]
    settings = {"max_steps": 2, "batch_size": 4, "learning_rate": 1e-4, "mix": mix}
    return recipe(train=[{"method": "sft", "settings": settings}])


def test_what_is_mixed_in_is_traced_and_leaves_with_its_source(tmp_path):
    write(tmp_path / "anna.jsonl", rows("Anna", 24))
    write(tmp_path / "bert.jsonl", rows("Bert", 24, start=100))
    with Workspace.create(tmp_path / "ws", keys=KeyRing(tmp_path / "keys"), sources=("anna", "bert")) as ws:
        circle = pipeline.run(ws, mixing("bert"), tmp_path, progress=False)
        sources = trace(ws, circle.trained[-1].digest).steps[0]["release"]["sources"]
        assert {one["source"] for one in sources if one["used"]} == {"anna", "bert"}
        touched = recall(ws, Without(source="bert"), "bad rows")
    assert circle.trained[-1].digest in touched.models
    assert touched.recipe is not None
    assert [one.name for one in touched.recipe.sources] == ["anna"]
    assert touched.recipe.train[0].settings["mix"] == []


def test_mixing_in_a_source_the_recipe_lacks_fails_before_any_work():
    with pytest.raises(BadInput, match="names a source that the recipe does not have"):
        pipeline.dry_run(mixing("carl"))


def test_findings_say_what_a_row_counts_for(tmp_path):
    write(tmp_path / "anna.jsonl", rows("Anna", 6))
    found = [
        Finding(check="a", severity=Severity.WARN, score=0.6, evidence="x", lines=(2, 3), source="anna", batch="1"),
        Finding(check="b", severity=Severity.WARN, score=0.9, evidence="y", lines=(3,), source="anna", batch="1"),
        Finding(check="c", severity=Severity.NOTE, score=1.0, evidence="z", lines=(5,), source="anna", batch="1"),
        Finding(check="d", severity=Severity.WARN, score=1.0, evidence="w", lines=(6,), source="bert", batch="1"),
    ]
    with Workspace.create(tmp_path / "ws", keys=KeyRing(tmp_path / "keys"), sources=("anna",)) as ws:
        digest = collect(ws, SourceEntry(name="anna", file="anna.jsonl"), tmp_path).digest
        passed = SourceVerdict(source="anna", batch="1", verdict=Outcome.PASS, records=6)
        _, made, _ = release(ws, "r", [digest], found, [passed], ReleasePolicy(), {})
        weights = trust_of(ws, made)
        by_line = [weights.get(record_digest(record)) for record in records_of(ws, made)]
        assert by_line == [None, pytest.approx(0.4), pytest.approx(0.1), None, None, None]
        base = register_base(ws, "goldsmith-nano")[0]
        settings = {"max_steps": 1, "batch_size": 6, "trust_weighting": True}
        step = TrainStep(method="sft", settings=settings)
        release_digest = canonical.artifact_digest(made)
        how = {"recipe": canonical.digest(b"{}"), "seed": 1, "validation_share": 0.0, "progress": False}
        trained = train(ws, release_digest, base, step, name="m", **how)
    assert '"trust_weighting":true' in trained.run.settings
