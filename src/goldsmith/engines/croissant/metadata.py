"""A Croissant 1.1 description with RAI 1.0 properties, from a due-diligence report, the exported files and a card.

What is known is said; everything else is "not stated", never guessed and never left out. Specification:
https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html and croissant-rai-spec.html.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlparse

from goldsmith.engines.croissant.rows import COLUMNS, Written
from goldsmith.types.data_card import DataCard
from goldsmith.types.diligence import CheckRun, Diligence, Measure, Tally

NOT_STATED = "not stated"
CONFORMS_TO: Final = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
TABLE = "records"
_TYPES = {"text": "sc:Text", "integer": "sc:Integer"}
_ALIASES = (
    "citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject", "fileSet", "format",
    "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex",
    "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform",
)  # fmt: skip
_COLLECTION_TYPES = {"human": "Manual Human Curator", "model": "Software Collection", "mixed": "Others"}
"""The terms of RAI 1.0 that come nearest."""


def context() -> dict[str, Any]:
    """The JSON-LD context of Croissant 1.1, with the RAI vocabulary."""
    return {
        "@language": "en",
        "@vocab": "https://schema.org/",
        **{name: f"cr:{name}" for name in _ALIASES},
        "conformsTo": "dct:conformsTo",
        "cr": "http://mlcommons.org/croissant/",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "dct": "http://purl.org/dc/terms/",
        "examples": {"@id": "cr:examples", "@type": "@json"},
        "rai": "http://mlcommons.org/croissant/RAI/",
        "sc": "https://schema.org/",
    }


def describe(report: Diligence, files: Sequence[Written], card: DataCard) -> dict[str, Any]:
    """The whole document. The same report, files and card give the same document."""
    subject = report.subject
    name = card.name or subject.name
    told = (
        f"{subject.records:,} records of feedback for fine-tuning, from {len({u.source for u in report.units}):,} "
        f"sources. Due diligence ({report.made_by}): {report.verdict.value}. {report.why}"
    )
    return {
        "@context": context(),
        "@type": "sc:Dataset",
        "name": name,
        "description": card.description or told,
        "conformsTo": list(CONFORMS_TO),
        "identifier": subject.digest,
        "url": card.url or f"urn:{subject.digest}",
        "version": card.version,
        "datePublished": report.made_at[:10],
        "license": licences(report.tallies, card),
        "creator": [{"@type": "sc:Organization", "name": one} for one in card.creators or (NOT_STATED,)],
        "keywords": [*card.keywords] or ["fine-tuning", "feedback"],
        "citeAs": card.cite_as or NOT_STATED,
        "isLiveDataset": False,
        **{f"rai:{key}": value for key, value in rai(report, card).items()},
        "distribution": [_file(one) for one in files],
        "recordSet": [_table(next(one for one in files if one.name == "records.jsonl"))],
    }


def _file(one: Written) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject", "@id": one.name, "name": one.name, "description": f"{one.told}; {one.rows:,} rows",
        "contentUrl": one.name, "encodingFormat": one.form, "contentSize": f"{one.size} B", "sha256": one.sha256,
    }  # fmt: skip


def _table(one: Written) -> dict[str, Any]:
    fields = [
        {
            "@type": "cr:Field", "@id": f"{TABLE}/{column}", "name": column, "description": told,
            "dataType": _TYPES[kind], "source": {"fileObject": {"@id": one.name}, "extract": {"column": column}},
        }
        for column, kind, told in COLUMNS
    ]  # fmt: skip
    return {
        "@type": "cr:RecordSet", "@id": TABLE, "name": TABLE, "description": f"{one.rows:,} records, one a row",
        "key": {"@id": f"{TABLE}/record"}, "field": fields,
    }  # fmt: skip


def licences(tallies: Sequence[Tally], card: DataCard) -> list[str]:
    """The licence of the whole as the vendor states it, else each licence that records state, and whether some state
    none."""
    if card.licence is not None:
        return [card.licence]
    tally = _tally(tallies, "licence")
    named = [one.name for one in tally.counts if one.name is not None]
    silent = sum(one.records for one in tally.counts if one.name is None)
    if silent:
        named.append(f"{NOT_STATED} for {silent:,} records" if named else NOT_STATED)
    return [_licence(name) for name in named] or [NOT_STATED]


def _licence(name: str) -> str:
    plain = name.strip()
    is_spdx = (plain.replace("-", "").replace(".", "").isalnum() and any(c.isdigit() for c in plain)) or plain == "MIT"
    return plain if urlparse(plain).scheme or not is_spdx else f"https://spdx.org/licenses/{plain}.html"


def rai(report: Diligence, card: DataCard) -> dict[str, Any]:
    """The responsible-AI properties; each is there, but for a time frame that nobody stated."""
    makers = [one for one in _tally(report.tallies, "maker").counts if one.name]
    found = {run.check: run for run in report.checks}
    timeframe = [one.isoformat() for one in card.collection_timeframe]
    return {
        "dataCollection": card.collection or _collection(report),
        "dataCollectionType": [*card.collection_types]
        or sorted({_COLLECTION_TYPES.get(str(one.name), "Others") for one in makers})
        or [NOT_STATED],
        "dataCollectionMissingData": card.missing_data or _shares(report.completeness),
        "dataCollectionRawData": card.raw_data or NOT_STATED,
        # Dates alone are legal here, so what is not stated is left out.
        **({"dataCollectionTimeFrame": timeframe} if timeframe else {}),
        "dataPreprocessingProtocol": [*card.preprocessing, *_left_out(report)] or [NOT_STATED],
        "dataAnnotationProtocol": card.annotation_protocol or NOT_STATED,
        "dataAnnotationPlatform": [*card.annotation_platform] or [NOT_STATED],
        "dataAnnotationAnalysis": [_measure(one) for one in (*report.accuracy, *report.agreement.overall)],
        "annotationsPerItem": f"{report.agreement.votes / report.agreement.items:.1f} on average"
        if report.agreement.items
        else NOT_STATED,
        "annotatorDemographics": [*card.annotator_demographics] or [NOT_STATED],
        "machineAnnotationTools": _generators(report.tallies),
        "dataBiases": [*card.biases, *_spread(report.tallies)] or [NOT_STATED],
        "dataLimitations": [*card.limitations, *report.residual],
        "dataUseCases": [*card.use_cases] or [NOT_STATED],
        "dataSocialImpact": card.social_impact or NOT_STATED,
        "personalSensitiveInformation": [
            *card.personal_information,
            _named(found, "personal_data", "personal data"), _named(found, "secrets", "secrets"),
        ],
        "dataReleaseMaintenancePlan": card.maintenance or NOT_STATED,
    }  # fmt: skip


def _tally(tallies: Sequence[Tally], field: str) -> Tally:
    return next(one for one in tallies if one.field == field)


def _collection(report: Diligence) -> str:
    units = "; ".join(f"{unit.source} / {unit.batch}: {unit.used:,} records" for unit in report.units[:40])
    more = f"; and {len(report.units) - 40:,} more batches" if len(report.units) > 40 else ""
    return f"Delivered by sources, batch by batch. {units}{more}. How the sources collected it: {NOT_STATED}."


def _shares(measures: Sequence[Measure]) -> str:
    return "; ".join(_measure(one) for one in measures if one.value is not None) or NOT_STATED


def _measure(one: Measure) -> str:
    if one.value is None:
        return f"{one.name}: {one.told}"
    interval = "" if one.low is None or one.high is None else f" (95 % interval {one.low:.3f} to {one.high:.3f})"
    return f"{one.name}: {one.value:.3f}{interval}"


def _left_out(report: Diligence) -> list[str]:
    subject = report.subject
    told = []
    if subject.left_out:
        told.append(
            f"{subject.left_out:,} of {subject.delivered:,} delivered records were left out, each with its reason."
        )
    if subject.faulty:
        told.append(f"{subject.faulty:,} delivered rows could not be read and are not in it.")
    return told


def _generators(tallies: Sequence[Tally]) -> list[str]:
    named = [one for one in _tally(tallies, "generator").counts if one.name is not None]
    return [f"{one.name}: {one.records:,} records" for one in named] or [NOT_STATED]


def _spread(tallies: Sequence[Tally]) -> list[str]:
    told = []
    for field in ("language", "domain", "maker"):
        tally = _tally(tallies, field)
        total = sum(one.records for one in tally.counts) + tally.others
        parts = [f"{one.name or NOT_STATED} {100 * one.records / total:.1f} %" for one in tally.counts[:8] if total]
        if parts:
            told.append(f"Share of records by {field}: " + ", ".join(parts))
    return told


def _named(found: Mapping[str, CheckRun], check: str, what: str) -> str:
    run = found.get(check)
    if run is None or run.outcome == "left out":
        return f"not searched for {what}"
    if run.outcome == "could not tell":
        return f"searched for {what}, without a result: {run.why}"
    rows = run.excluded + run.warned + run.noted + run.quarantined
    return f"searched for {what} ({check} version {run.version}): {rows:,} delivered rows named"
