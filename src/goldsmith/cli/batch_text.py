"""A forward as text for people: coloured on a terminal, with marks elsewhere; hostile text shown, never obeyed."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from goldsmith.cli.options import safe

if TYPE_CHECKING:
    from goldsmith.engines.training.data.preview import Part, Preview, ShownRow, Token

COLOURS = {"trained": "\x1b[32m", "masked": "\x1b[2m", "dropped": "\x1b[9;31m", "stop": "\x1b[1;30;42m"}
MARKS = {"trained": ("[+", "+]"), "masked": ("", ""), "dropped": ("[-", "-]")}
STOP = "[STOP]"
OFF = "\x1b[0m"


def lines(shown: "Preview", *, colour: bool, most_rows: int, bounds: bool) -> Iterator[str]:
    """The forward, line by line. `bounds`: a bar between tokens."""
    yield from head(shown)
    if not shown.answers:
        yield legend(colour)
    for number, row in enumerate(shown.rows[:most_rows], start=1):
        yield ""
        yield _row_head(number, len(shown.rows), row)
        for part in row.parts:
            yield from _part(part, colour, bounds)
    if len(shown.rows) > most_rows:
        yield ""
        what = "prompts in this round" if shown.answers else "rows in this forward"
        yield f"... and {len(shown.rows) - most_rows} more {what} (-n {len(shown.rows)} shows all)"


def head(shown: "Preview") -> Iterator[str]:
    """What is shown, and what became of the other rows."""
    if shown.answers:
        yield f"round {shown.update} of {shown.updates}: {len(shown.rows)} prompts, {shown.tokens} tokens"
        yield f"the model writes {shown.answers} answers to each; it learns from those alone, none is written yet"
    else:
        room = f" of at most {shown.capacity}" if shown.capacity else ""
        where = f"update {shown.update} of {shown.updates}, forward {shown.forward} of {shown.forwards}"
        yield f"{where}: {len(shown.rows)} rows, {shown.tokens} tokens{room}, {shown.labels} trained"
    kept = f"{shown.train_rows} rows to train on"
    if shown.validation_rows:
        kept += f", {shown.validation_rows} to validate on"
    if shown.other_kind:
        kept += f", {shown.other_kind} records of another kind"
    yield kept + f"; template: {shown.facts.get('template', 'own')}"
    if shown.left_out:
        what = f"{len(shown.left_out)} rows hold nothing to learn and are left out, as a run does (check well_formed)"
        yield f"{what}: {_named(shown.left_out)}"
    if shown.too_long:
        named = _named(shown.too_long)
        what = {
            "refuse": "they would stop the run (over_long: refuse); here they are left out",
            "drop": f"{shown.dropped} left out (over_long: drop)",
            "cut_keep_stop": f"{shown.cut} cut, {shown.dropped} left out (over_long: cut_keep_stop)",
        }[shown.over_long]
        yield f"{len(shown.too_long)} rows are longer than max_length {shown.max_length}: {what}: {named}"


def _named(names: Sequence[str]) -> str:
    return ", ".join(safe(name) for name in names[:3]) + (", ..." if len(names) > 3 else "")


def legend(colour: bool) -> str:
    """What the colours or marks mean."""
    if not colour:
        return "[+trained+]  masked  [-cut away-]  [STOP] after a trained end token; rows never see each other"
    named = [("trained", "trained"), ("masked", "masked"), ("dropped", "cut away"), ("stop", "trained end token")]
    return "  ".join(f"{COLOURS[kind]}{text}{OFF}" for kind, text in named) + "; rows never see each other"


def _row_head(number: int, count: int, row: "ShownRow") -> str:
    value = "" if row.value is None else f", value {row.value:g}"
    cut = f", {row.cut} cut away" if row.cut else ""
    return f"--- row {number} of {count}: {safe(row.name)}: {row.tokens} tokens, {row.trained} trained{cut}{value} ---"


def _part(part: "Part", colour: bool, bounds: bool) -> Iterator[str]:
    if part.shared_by > 1:
        yield f"  {part.name} (once, for {part.shared_by} branches):"
    elif part.name != "row":
        yield f"  {part.name}:"
    text = "".join(_run(kind, list(run), colour, bounds) for kind, run in groupby(part.tokens, key=_look))
    for line in text.split("\n"):
        yield f"    {line}"


def _look(token: "Token") -> str:
    return "stop" if token.stop else token.kind


def _run(kind: str, tokens: "list[Token]", colour: bool, bounds: bool) -> str:
    text = ("|" if bounds else "").join(plain(token.text) for token in tokens)
    if colour:
        # Each line is coloured by itself, so that a pager or a cut-off line leaves nothing coloured behind.
        return "\n".join(f"{COLOURS[kind]}{line}{OFF}" if line else "" for line in text.split("\n"))
    if kind == "stop":
        return f"[+{_unmarked(text)}+]{STOP}"
    before, after = MARKS[kind]
    return f"{before}{_unmarked(text)}{after}"


def plain(text: str) -> str:
    """Control and format characters as escapes; line breaks stay."""
    return "\n".join(safe(line) for line in text.split("\n"))


def _unmarked(text: str) -> str:
    """Text that cannot be taken for one of the marks."""
    for mark in ("[+", "+]", "[-", "-]", "[STOP]"):
        text = text.replace(mark, mark[0] + "\\" + mark[1:])
    return text


def document(shown: "Preview", most_rows: int) -> dict[str, Any]:
    """The same for `--json`; neighbouring tokens of one kind as one span."""
    return {
        "update": shown.update,
        "updates": shown.updates,
        "forward": shown.forward,
        "forwards": shown.forwards,
        "tokens": shown.tokens,
        "capacity": shown.capacity or None,
        "labels": shown.labels,
        "rows_in_forward": len(shown.rows),
        "answers_to_each": shown.answers,
        "train_rows": shown.train_rows,
        "validation_rows": shown.validation_rows,
        "other_kind": shown.other_kind,
        "max_length": shown.max_length,
        "over_long": shown.over_long,
        "left_out": list(shown.left_out),
        "too_long": list(shown.too_long),
        "cut": shown.cut,
        "dropped": shown.dropped,
        "stops_the_run": shown.stops_the_run,
        "facts": dict(shown.facts),
        "rows": [_row_document(row) for row in shown.rows[:most_rows]],
    }


def _row_document(row: "ShownRow") -> dict[str, Any]:
    parts = [
        {
            "part": part.name,
            "shared_by": part.shared_by,
            "spans": [
                {"kind": kind, "tokens": [token.text for token in run]} for kind, run in groupby(part.tokens, key=_look)
            ],
        }
        for part in row.parts
    ]
    return {
        "row": row.name,
        "value": row.value,
        "tokens": row.tokens,
        "trained": row.trained,
        "cut": row.cut,
        "parts": parts,
    }
