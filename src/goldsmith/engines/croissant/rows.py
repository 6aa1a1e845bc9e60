"""Records as one flat table (JSON lines and Parquet, the same columns), and as the rows that trainers read."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

from goldsmith.engines.reading.write import render_lines
from goldsmith.trust import records
from goldsmith.trust.durable import storage_errors
from goldsmith.types.record import Comparison, Conversation, Message, Rating, Record, Role, Text
from goldsmith.types.row_format import RowFormat

COLUMNS: Final = (
    ("record", "text", "SHA-256 of the record: content, origin, extra fields; the leaf of the data set's Merkle tree"),
    ("kind", "text", "conversation, comparison, rating or text"),
    ("source", "text", "who delivered it"),
    ("batch", "text", "the source's batch"),
    ("licence", "text", "the licence its source states"),
    ("maker", "text", "who wrote it, as its source states: human, model, mixed or unknown"),
    ("generator", "text", "the model that wrote it, where one did and it is told"),
    ("generation_depth", "integer", "synthetic generations since the last human text"),
    ("domain", "text", "what it is about, as its source states"),
    ("language", "text", "its language, as its source states"),
    ("annotator", "text", "the pseudonym of who judged it"),
    ("prompt", "text", "everything before the answer, one turn a paragraph, each with its role"),
    ("answer", "text", "the answer; of a comparison the better one"),
    ("rejected", "text", "of a comparison the worse answer"),
    ("label", "text", "of a rating good or bad, or its score"),
    ("row", "text", "the whole record as canonical JSON, tool calls and extra fields included"),
)  # fmt: skip
"""The flat table: column, type, what it holds."""
FORMATS: Final = {
    "conversation": ("openai_chat", "rows of the OpenAI chat format, for supervised fine-tuning"),
    "comparison": ("trl", "rows of TRL's preference format: prompt, chosen, rejected"),
    "rating": ("trl", "rows of TRL's unpaired preference format: prompt, completion, label"),
    "text": ("plain_text", "rows with plain text"),
}
"""The rows that trainers read, by kind of record."""
_CHUNK = 2048


@dataclass(frozen=True, slots=True)
class Written:
    """A file of the export. `form`: its MIME type; `told`: what it holds; `rows`: how many."""

    name: str
    form: str
    told: str
    rows: int
    size: int
    sha256: str


def flat(record: Record) -> dict[str, Any]:
    """A record as a row of the flat table."""
    content, origin = record.content, record.origin
    prompt, answer, rejected, label = _sides(content)
    return {
        "record": records.record_digest(record), "kind": content.kind, "source": origin.source, "batch": origin.batch,
        "licence": origin.licence, "maker": origin.maker.value, "generator": origin.generator,
        "generation_depth": origin.generation_depth, "domain": origin.domain, "language": origin.language,
        "annotator": origin.annotator, "prompt": prompt, "answer": answer, "rejected": rejected, "label": label,
        "row": records.line(record).decode(),
    }  # fmt: skip


def _sides(content: Conversation | Comparison | Rating | Text) -> tuple[str, str, str | None, str | None]:
    if isinstance(content, Text):
        return "", content.text, None, None
    if isinstance(content, Conversation):
        turns = content.messages
        last = turns[-1] if turns and turns[-1].role is Role.ASSISTANT else None
        return _said(turns[:-1] if last else turns), last.text if last else "", None, None
    if isinstance(content, Comparison):
        return _said(content.prompt), _said(content.chosen), _said(content.rejected), None
    label = content.score if content.label is None else "good" if content.label else "bad"
    return _said(content.prompt), _said(content.answer), None, label


def _said(turns: Iterable[Message]) -> str:
    return "\n\n".join(f"{turn.role.value}: {turn.text}" for turn in turns)


def export(found: Iterable[Record], folder: Path, formats: Mapping[str, RowFormat]) -> list[Written]:
    """Write the flat table twice and each kind's trainers' rows; streaming, in the records' order.

    `formats`: the row formats by name. Errors: BadInput for a record that its format has no way of saying;
    Unavailable where the folder cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.int64() if kind == "integer" else pa.string()) for name, kind, _ in COLUMNS])
    rest = iter(found)
    with storage_errors(folder), ExitStack() as stack:
        lines = _Counted(folder / "records.jsonl", stack)
        parquet = stack.enter_context(pq.ParquetWriter(folder / "records.parquet", schema, compression="zstd"))
        kinds: dict[str, _Counted] = {}
        while chunk := list(islice(rest, _CHUNK)):
            rows = [flat(record) for record in chunk]
            lines.write((json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows), len(rows))
            parquet.write_table(pa.Table.from_pylist(rows, schema=schema))
            for kind in sorted({row["kind"] for row in rows}):
                if kind not in kinds:
                    kinds[kind] = _Counted(folder / f"{kind}s.jsonl", stack)
                own = [record for record in chunk if record.content.kind == kind]
                kinds[kind].write(render_lines(own, formats[FORMATS[kind][0]]), len(own))
    out = [lines.told("the records as a flat table, one JSON object a line")]
    out.append(_parquet(folder / "records.parquet", lines.rows))
    return out + [kinds[kind].told(FORMATS[kind][1]) for kind in sorted(kinds)]


class _Counted:
    """A file of lines, hashed while it is written."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.path, self.rows, self.size = path, 0, 0
        self._hash = hashlib.sha256()
        self._stream: BinaryIO = stack.enter_context(path.open("wb"))

    def write(self, lines: Iterator[bytes], rows: int) -> None:
        for line in lines:
            self._stream.write(line)
            self._hash.update(line)
            self.size += len(line)
        self.rows += rows

    def told(self, what: str) -> Written:
        digest = self._hash.hexdigest()
        return Written(self.path.name, "application/jsonlines", what, self.rows, self.size, digest)


def _parquet(path: Path, rows: int) -> Written:
    state = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            state.update(piece)
    told = "the same flat table as Parquet"
    return Written(path.name, "application/vnd.apache.parquet", told, rows, path.stat().st_size, state.hexdigest())
