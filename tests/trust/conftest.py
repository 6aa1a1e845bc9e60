"""A small real workspace with the whole chain in it, and the parts to make others."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from goldsmith.trust import canonical, deliveries, merkle, records, root
from goldsmith.trust.keys import KeyRing, PrivateKey
from goldsmith.trust.root import Quota, TrustRoot
from goldsmith.trust.workspace import Workspace
from goldsmith.types.finding import Outcome, SourceVerdict, Verdict
from goldsmith.types.lineage import Collection, Examination, LeftOut, Model, Release, Run, WeightFile
from goldsmith.types.record import (
    Comparison,
    Conversation,
    Maker,
    Message,
    Origin,
    Record,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    ToolSchema,
)
from goldsmith.types.review import Decision, Review

START = "2026-01-01T00:00:00Z"


@pytest.fixture(scope="session", autouse=True)
def _fast_disk() -> Iterator[None]:
    """Flushing to the disk costs time and shows in no test but those that ask for the real one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


def chat(text: str, answer: str = "Certainly.", source: str = "acme", batch: str = "b1") -> Record:
    messages = (
        Message(role=Role.USER, parts=(TextPart(text=text),)),
        Message(role=Role.ASSISTANT, parts=(TextPart(text=answer),)),
    )
    return Record(content=Conversation(messages=messages), origin=Origin(source=source, batch=batch, maker=Maker.HUMAN))


def varied_records() -> list[Record]:
    call = ToolCallPart(id="c1", name="mail.send", arguments='{"to": "a@b.c", "amount": 1.50}')
    result = ToolResultPart(call_id="c1", name="mail.send", text="sent ✓")
    tools = (ToolSchema(name="mail.send", definition='{"name": "mail.send"}'),)
    trace = Conversation(
        messages=(
            Message(role=Role.SYSTEM, parts=(TextPart(text="Be brief."),)),
            Message(role=Role.USER, parts=(TextPart(text='Grüße \u2028 \U0001f600 "quoted" \\ /'),)),
            Message(role=Role.ASSISTANT, parts=(call,), trained=False),
            Message(role=Role.TOOL, parts=(result,)),
            Message(role=Role.ASSISTANT, parts=(TextPart(text="Done.\n\t\x01"),)),
        ),
        tools=tools,
    )
    pair = Comparison(
        prompt=(Message(role=Role.USER, parts=(TextPart(text="Which?"),)),),
        chosen=(Message(role=Role.ASSISTANT, parts=(TextPart(text="This."),)),),
        rejected=(Message(role=Role.ASSISTANT, parts=(TextPart(text="That."),)),),
        strength="0.75",
    )
    return [
        chat("Hello"),
        Record(content=trace, origin=Origin(source="acme", generation_depth=0), extra='{"id": 12345678901234567890}'),
        Record(content=pair),
    ]


@dataclass
class Party:
    """Keys of an organisation: root keys, one key a role, one a source."""

    ring: KeyRing
    masters: list[PrivateKey]
    trust_root: TrustRoot
    envelope: bytes

    @property
    def fingerprint(self) -> str:
        return root.fingerprint(self.envelope)


def make_party(folder: Path, *, threshold: int = 2, quotas: tuple[Quota, ...] = (), start: str = START) -> Party:
    """An organisation's trust root: three root keys of which two must sign, valid from 2026 for ten years."""
    ring = KeyRing(folder)
    masters = [PrivateKey.generate() for _ in range(3)]
    keys = [
        root.trusted(role, ring.create(role).public, roles=[role], days=3650, start=start)
        for role in ("trainer", "examiner", "promoter", "operator", "reviewer")
    ]
    for source in ("acme", "vendor"):
        public = ring.create(f"source-{source}").public
        keys.append(
            root.trusted(f"source-{source}", public, roles=["source"], sources=[source], days=3650, start=start)
        )
    trust_root = TrustRoot(
        name="org",
        version=1,
        previous=None,
        self_attested=False,
        threshold=threshold,
        root_keys=tuple(root.root_key(key.public) for key in masters),
        keys=tuple(keys),
        quotas=quotas,
        issued_at=start,
    )
    return Party(ring, masters, trust_root, root.sign_root(trust_root, masters[:threshold]))


def deliver(ws: Workspace, folder: Path, source: str, batch: str, rows: list[Record]) -> Collection:
    """Sign, accept and collect a file of `rows`."""
    path = folder / f"{source}-{batch}.jsonl"
    path.write_bytes(records.blob(rows))
    digests = [records.record_digest(row) for row in rows]
    deliveries.sign_next(ws, path, source=source, batch=batch, record_digests=digests)
    with ws.atomically():
        accepted = deliveries.accept(ws, path, digests)
        collection = Collection(
            delivery=accepted.digest,
            source=source,
            batch=batch,
            format="goldsmith",
            records=ws.store.put_bytes(records.blob(rows)),
            count=len(rows),
            faulty=0,
            merkle_root=merkle.root_of(digests),
            places=ws.store.put_bytes(canonical.encode({"faults": [], "lines": list(range(1, len(rows) + 1))})),
        )
        ws.attest_artifact("collection", collection, role="operator")
    return collection


def run_circle(ws: Workspace, folder: Path) -> dict[str, str]:
    """Deliver, release, train (by word alone), examine, promote; the digests of what was made."""
    rows = [chat(f"question {number}") for number in range(5)]
    other = [chat(f"offer {number}", source="vendor") for number in range(3)]
    collections = [deliver(ws, folder, "acme", "b1", rows), deliver(ws, folder, "vendor", "b1", other)]
    store = ws.store
    kept = rows + other[:2]
    digests = sorted(records.record_digest(row) for row in kept)
    left = LeftOut(
        record=records.record_digest(other[2]), source="vendor", batch="b1", line=3, reason="a near duplicate"
    )
    policy = store.put_bytes(b'{"policy":"strict"}')
    release = Release(
        name="first",
        collections=tuple(canonical.artifact_digest(one) for one in collections),
        records=store.put_bytes(records.blob(kept)),
        count=len(kept),
        merkle_root=merkle.root_of(digests),
        left_out=store.put_bytes(records.lines([left])),
        left_out_count=1,
        findings=store.put_bytes(b""),
        sources=(SourceVerdict(source="acme", batch="b1", verdict=Outcome.PASS, records=5),),
        policy=policy,
    )
    released = ws.attest_artifact("release", release, role="operator").subjects["release"]
    review = Review(
        decision=Decision.REJECT, collection=release.collections[1], source="vendor", batch="b1", lines=(3,),
        seen=store.put_bytes(b""), reason="looked at", decided_at=START,
    )  # fmt: skip
    decided = store.put_artifact(review)
    ws.attest("review", {"review": decided, "collection": review.collection}, {"decision": "reject"}, role="reviewer")
    gate = Verdict(gate="release", subject=released, outcome=Outcome.PASS, policy=policy, evidence=(decided,))
    ws.attest_artifact("verdict", gate, {"gate": "release"}, role="operator")
    blank = store.put_bytes(b"weights of the base model")
    base = Model(
        name="base",
        files=(WeightFile(path="model.safetensors", digest=blank, size=25),),
        form="full",
        base=None,
        tokenizer=canonical.digest(b"tokenizer"),
        chat_template=canonical.digest(b"template"),
    )
    based = ws.attest_artifact("model", base, role="operator").subjects["model"]
    run = Run(
        method="sft", settings="{}", release=released, base=based, recipe=store.put_bytes(b"recipe"), seed=7,
        records_used=7, validation_records=0, rows_cut=0, rows_dropped=0, steps=3, tokens=99, stop="steps",
        final_loss=0.5, best_validation_loss=None, metrics=store.put_bytes(b"{}\n"), code="none", environment="none",
    )  # fmt: skip
    ran = ws.attest_artifact("run", run, role="trainer").subjects["run"]
    weights = WeightFile(path="adapter.safetensors", digest=store.put_bytes(b"weights of the adapter"), size=22)
    model = base.model_copy(update={"name": "tuned", "files": (weights,), "form": "adapter", "base": based, "run": ran})
    tuned = ws.attest_artifact("model", model, role="trainer").subjects["model"]
    examination = Examination(model=tuned, base=based, evals="[]", results=(), items=store.put_bytes(b""), seed=7)
    examined = ws.attest_artifact("examination", examination, role="examiner").subjects["examination"]
    promotion = Verdict(gate="promotion", subject=tuned, outcome=Outcome.PASS, policy=policy, evidence=(examined,))
    promoted = ws.attest_artifact("verdict", promotion, {"gate": "promotion"}, role="promoter").subjects["verdict"]
    ws.attest("admission", {"model": based}, {"reason": "the base model"}, role="operator")
    return {
        "review": decided,
        "release": released,
        "base": based,
        "run": ran,
        "model": tuned,
        "verdict": promoted,
        "examination": examined,
    }


@pytest.fixture
def party(tmp_path: Path) -> Party:
    return make_party(tmp_path / "keys")


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Workspace]:
    """A self-attested workspace with a local key for each of two sources."""
    with Workspace.create(tmp_path / "ws", name="demo", sources=["acme", "vendor"]) as made:
        yield made


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The builders above, for tests (which import no other test module)."""
    return SimpleNamespace(
        START=START, chat=chat, varied=varied_records, party=make_party, deliver=deliver, circle=run_circle
    )
