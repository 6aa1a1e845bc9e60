"""Records and their due-diligence report -> a folder for other people's tools: Croissant, JSON lines, Parquet."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from goldsmith import plugins
from goldsmith.engines.croissant.metadata import describe
from goldsmith.engines.croissant.rows import FORMATS, export
from goldsmith.engines.evidence import records_of, rows_of
from goldsmith.trust.durable import storage_errors
from goldsmith.trust.workspace import Workspace
from goldsmith.types.data_card import DataCard
from goldsmith.types.diligence import Diligence
from goldsmith.types.errors import BadInput
from goldsmith.types.lineage import Collection, Release
from goldsmith.types.record import Record
from goldsmith.types.row_format import RowFormat

DOCUMENT = "croissant.json"


def export_croissant(records: Iterable[Record], report: Diligence, folder: Path, card: DataCard) -> list[Path]:
    """Write the records and their description into `folder`; the paths, the description first. It is written last, so a
    folder that holds it is whole.

    Errors: BadInput if the folder is not empty; Unavailable if it cannot be written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise BadInput("the folder for the export is not empty", where=str(folder), next_step="name another")
    formats = {name: cast(RowFormat, plugins.build("sources", name)) for name in {form for form, _ in FORMATS.values()}}
    written = export(records, folder, formats)
    document = json.dumps(describe(report, written, card), indent=2, ensure_ascii=False, sort_keys=True)
    with storage_errors(folder):
        partial = folder / (DOCUMENT + ".partial")
        partial.write_text(document + "\n", encoding="utf-8")
        partial.replace(folder / DOCUMENT)
    return [folder / DOCUMENT, *(folder / one.name for one in written)]


def stated_records(ws: Workspace, stated: Release | Collection) -> Iterable[Record]:
    """The records of a release, or of a collection as delivered."""
    if isinstance(stated, Release):
        return records_of(ws, stated)
    return (row.record for row in rows_of(ws, stated))
