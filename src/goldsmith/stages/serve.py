"""Promoted model -> something that answers; refused without a passing verdict or its operator's admission."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from goldsmith.engines import model_files
from goldsmith.engines.evidence import find_model, promotion_of
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest
from goldsmith.types.errors import GateRefused

MAY_SERVE = ("promoted", "admitted")


@dataclass(frozen=True, slots=True)
class Servable:
    """A model that may be served now. `standing()` says why it may no longer be, or None; ask before every request."""

    name: str
    digest: Digest
    folder: Path
    adapter: Path | None
    created: str
    evidence: dict[str, str]
    standing: Callable[[], str | None]


def serve(ws: Workspace, name: str) -> Servable:
    """Lay out a model for serving. Errors: GateRefused without a passing verdict or an admission; BadInput for a
    reward model; Tampered."""
    digest, model = find_model(ws, name)
    model_files.require_writer(ws, digest)
    standing, statement = promotion_of(ws, digest)
    if standing not in MAY_SERVE or statement is None:
        raise GateRefused(
            f"the model {model.name!r} may not be served: it is {standing}",
            found=digest,
            allowed="a model with a passing promotion verdict, or a base model its operator has admitted",
            next_step=_next_step(standing, model.name),
        )
    folder, adapter = model_files.answerer_paths(ws, digest)
    lock = threading.Lock()

    def still() -> str | None:
        with lock:  # the ledger's reader is not made for threads
            now, said = promotion_of(ws, digest)
        if now in MAY_SERVE:
            return None
        reason = said.predicate.get("reason") if said is not None else None
        return f"the model is {now}" + (f": {reason}" if reason else "")

    evidence = {"model_digest": digest, "served_as": standing, "signed_at": statement.issued_at}
    if standing == "promoted":
        evidence["verdict_digest"] = statement.subjects["verdict"]
        evidence["outcome"] = str(statement.predicate["outcome"])
    else:
        evidence["admission_digest"] = statement.digest
        evidence["admission_reason"] = str(statement.predicate["reason"])
    evidence["attested"] = "self-attested" if ws.self_attested else "by the trust root's keys"
    return Servable(model.name, digest, folder, adapter, statement.issued_at, evidence, still)


def _next_step(standing: str, name: str) -> str:
    return {
        "unjudged": f"examine and promote it, or, if it is a base model, admit it: goldsmith admit {name} --reason ...",
        "refused": "read why: goldsmith trace " + name,
        "withdrawn": "retrain without what was recalled: the recipe that `goldsmith recall` wrote",
    }.get(standing, "goldsmith trace " + name)
