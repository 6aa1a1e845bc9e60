"""Model -> where it comes from: sources, records, release, run, model, verdict, each by digest."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from goldsmith.engines.evidence import promotion_of, records_of
from goldsmith.engines.lineage import Ancestor, ancestry
from goldsmith.engines.nearest import nearest
from goldsmith.engines.reviews import decisions
from goldsmith.trust import merkle, records
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest
from goldsmith.types.lineage import Collection, Release


@dataclass(frozen=True, slots=True)
class Trace:
    """`steps`: the model and its ancestors, newest first, each as plain data for printing or JSON."""

    model: Digest
    name: str
    standing: str
    steps: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        return {"model": self.model, "name": self.name, "standing": self.standing, "steps": self.steps}


def trace(ws: Workspace, digest: Digest) -> Trace:
    """Follow a model back to the deliveries that taught it. Errors: Tampered if any link does not hold."""
    steps = [_step(ws, one) for one in ancestry(ws, digest)]
    first = steps[0]
    return Trace(digest, first["name"], first["standing"], steps)


def _step(ws: Workspace, one: Ancestor) -> dict[str, Any]:
    standing, statement = promotion_of(ws, one.digest)
    step: dict[str, Any] = {
        "model": one.digest,
        "name": one.model.name,
        "form": one.model.form,
        "standing": standing,
        "verdicts": [
            {
                "verdict": s.subjects["verdict"],
                "outcome": s.predicate.get("outcome"),
                "signed_at": s.issued_at,
            }
            for s in ws.about(one.digest, "verdict")
        ],
        "signed_by": statement.role if statement else None,
    }
    if one.run is not None and one.model.run is not None:
        step["run"] = {
            "digest": one.model.run,
            "method": one.run.method,
            "seed": one.run.seed,
            "steps": one.run.steps,
            "records_used": one.run.records_used,
            "withdrawn": ws.withdrawn(one.model.run) is not None,
        }
        step["release"] = _release(ws, one.run.release)
    return step


def _release(ws: Workspace, digest: Digest) -> dict[str, Any]:
    release = ws.store.get_artifact(digest, Release)
    used = Counter((r.origin.source, r.origin.batch) for r in records_of(ws, release))
    sources = []
    for collection_digest in release.collections:
        collection = ws.store.get_artifact(collection_digest, Collection)
        unit = (collection.source, collection.batch)
        sources.append(
            {
                "source": unit[0],
                "batch": unit[1],
                "collection": collection_digest,
                "delivery": collection.delivery,
                "delivered": collection.count,
                "used": used.get(unit, 0),
                "withdrawn": ws.withdrawn(collection_digest) is not None,
                "decisions": [
                    {"review": d.digest, "decision": d.review.decision.value, "reason": d.review.reason, "void": d.void}
                    for d in decisions(ws, collection_digest)
                ],
            }
        )
    return {
        "digest": digest,
        "name": release.name,
        "records": release.count,
        "left_out": release.left_out_count,
        "merkle_root": release.merkle_root,
        "withdrawn": ws.withdrawn(digest) is not None,
        "sources": sources,
    }


def teachers(ws: Workspace, digest: Digest, text: str, count: int = 5) -> list[dict[str, Any]]:
    """The training records nearest in wording to `text` (a question and its answer), over all of the model's releases,
    each with the proof that it is in its release.

    Nearness of wording is a pointer for a reader, not a measurement of causal influence.
    """
    found: list[dict[str, Any]] = []
    seen: set[Digest] = set()
    for step in trace(ws, digest).steps:
        if "release" not in step or step["release"]["digest"] in seen:
            continue
        seen.add(step["release"]["digest"])
        release = ws.store.get_artifact(step["release"]["digest"], Release)
        held = list(records_of(ws, release))
        leaves = sorted(records.record_digest(record) for record in held)
        for place, similarity in nearest(held, text, count):
            record = held[place]
            proof = merkle.record_proof(leaves, records.record_digest(record))
            found.append(
                {
                    "record": proof.record,
                    "source": record.origin.source,
                    "batch": record.origin.batch,
                    "annotator": record.origin.annotator,
                    "similarity": round(similarity, 3),
                    "release": step["release"]["digest"],
                    "inclusion": proof.model_dump(mode="json"),
                    "text": _excerpt(record),
                }
            )
    found.sort(key=lambda one: (-one["similarity"], one["record"]))
    return found[:count]


def _excerpt(record: Any) -> str:
    from goldsmith.engines.nearest import text_of

    return text_of(record)[:240]
