"""How much each record of a release is trusted, from what the checks found in it."""

from goldsmith.engines import reviews
from goldsmith.engines.evidence import findings_of, lines_of, record_lines
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest
from goldsmith.types.finding import Severity
from goldsmith.types.lineage import Collection, Release


def trust_of(ws: Workspace, release: Release) -> dict[Digest, float]:
    """By record digest, 1 - the highest score of the findings that name the record's line; only records below 1.

    A release keeps its findings, signed with it, and no score of every row: a row in which no check found anything
    counts in full. Only findings about one delivery name lines. Notes inform and do not count; neither does what a
    reviewer has cleared since.
    """
    collections = {digest: ws.store.get_artifact(digest, Collection) for digest in release.collections}
    standings = {digest: reviews.standing(ws, digest) for digest in collections}
    counted = reviews.cleared(collections, standings, list(findings_of(ws, release)))
    worst: dict[tuple[str | None, str | None, int], float] = {}
    for finding in counted:
        if finding.severity is not Severity.NOTE:
            for line in finding.lines:
                place = (finding.source, finding.batch, line)
                worst[place] = max(worst.get(place, 0.0), float(finding.score))
    found: dict[Digest, float] = {}
    for collection in collections.values():
        places = zip(lines_of(ws, collection), record_lines(ws, collection.records), strict=True)
        for line, (_, record) in places:
            score = worst.get((collection.source, collection.batch, line), 0.0)
            if score > 0:
                found[record] = min(found.get(record, 1.0), 1.0 - score)
    return found
