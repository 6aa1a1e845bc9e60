"""`goldsmith check FILE`: look for what would spoil a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from goldsmith.cli.options import Progress, contract_options, json_option, print_json_list, safe, say

if TYPE_CHECKING:
    from goldsmith.stages.check import Checked

EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 3}
SHOWN = 12


@click.command("check")
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option("--format", "format_name", default=None, help="Override the detected row format.")
@click.option(
    "--scores",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Write line, source, batch, check, score for every row as Parquet.",
)
@click.option(
    "--evals",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="An eval set whose rows must not be in the data (repeatable).",
)
@click.option(
    "--votes",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=None,
    help="Annotator votes: item, annotator, label; if known gold, seconds, position, domain, text, line.",
)
@click.option("--strict", is_flag=True, help="Refuse the file at its first faulty row.")
@click.option("--off", multiple=True, help="Leave a check out (repeatable).")
@click.option("--allow-host", "hosts", multiple=True, help="A host that tool calls may name (repeatable).")
@click.option("--allow-tool", "tools", multiple=True, help="A tool that may be called (repeatable).")
@click.option(
    "--use",
    "uses",
    multiple=True,
    type=click.Choice(["train", "commercial", "research", "redistribution"]),
    help="What the data is wanted for: licences are held against it (repeatable).",
)
@click.option(
    "--previous",
    type=click.Path(path_type=Path, exists=True),
    default=None,
    help="The data set before this one: its human rows may not vanish.",
)
@contract_options
@click.option("--source", default="unknown", help="The source of rows that name none.")
@click.option("--batch", default="unknown", help="The batch of rows that name none.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where rows are read and looked at one by one; ray takes its address from RAY_ADDRESS.",
)
@click.option(
    "--workers", type=click.IntRange(0), default=1, show_default=True, help="Local processes; 0 is one for each core."
)
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Where the parts of a large file lie until the check is done [default: the user's cache folder].",
)
@json_option
def command(
    file: Path,
    format_name: str | None,
    scores: Path | None,
    evals: tuple[Path, ...],
    votes: Path | None,
    strict: bool,
    off: tuple[str, ...],
    hosts: tuple[str, ...],
    tools: tuple[str, ...],
    uses: tuple[Any, ...],
    previous: Path | None,
    contract: Path | None,
    inspected: Path | None,
    power: Path | None,
    since: Path | None,
    source: str,
    batch: str,
    engine: Any,
    workers: int,
    scratch: Path | None,
    as_json: bool,
) -> None:
    """Look for what would spoil a model in FILE; needs no workspace and no keys."""
    from goldsmith.stages.check import check_file
    from goldsmith.types.recipe import CheckEntry
    from goldsmith.types.record import Origin

    entry = CheckEntry(
        off=off, allowed_hosts=hosts or None, allowed_tools=tools or None, use=uses, engine=engine, workers=workers
    )
    checked, reading = check_file(
        file,
        entry,
        format_name=format_name,
        origin=Origin(source=source, batch=batch),
        evals=evals,
        votes=votes,
        strict=strict,
        previous=previous,
        scratch=scratch,
        progress=Progress("parts read"),
    )
    held = None
    if contract is not None:
        from goldsmith.cli.contract import hold_file

        held = hold_file(contract, checked, off, votes, inspected, power, since)
    if scores is not None:
        checked.screening.write_scores(scores)
        say(f"scores: {scores}")
    if as_json:
        _print_document(file, checked, reading.format_counts, {"contract": held.as_dict()} if held else {})
    else:
        _tell(checked, reading.format_counts)
        if held is not None:
            held.tell()
    if held is not None:
        raise SystemExit(EXIT_CODES[held.outcome.value])
    raise SystemExit(EXIT_CODES[checked.verdict.value])


def _print_document(file: Path, checked: "Checked", formats: dict[str, int], more: dict[str, Any]) -> None:
    """The one document on stdout; its findings are written one by one, however many they are."""
    document = {
        "file": str(file),
        "formats": formats,
        "rows": len(checked.rows),
        "verdict": checked.verdict.value,
        "sources": [one.model_dump(mode="json") for one in checked.sources],
        "findings": [],
        "inconclusive": dict(checked.screening.inconclusive),
        **more,
    }
    findings = ({**one.model_dump(mode="json"), "score": one.score} for one in checked.findings)
    print_json_list(document, "findings", findings)


def _tell(checked: "Checked", formats: dict[str, int]) -> None:
    click.echo(f"{len(checked.rows)} rows: " + ", ".join(f"{name} {count}" for name, count in formats.items()))
    for one in checked.sources:
        why = f": {safe('; '.join(one.reasons))}" if one.reasons else ""
        click.echo(f"{one.verdict.value:<13}{safe(one.source)} / {safe(one.batch)}, {one.records} records{why}")
    for finding in checked.findings[:SHOWN]:
        lines = ", ".join(map(str, finding.lines[:8])) + (" ..." if len(finding.lines) > 8 else "")
        where = f"line {lines}" if finding.lines else f"{finding.source} / {finding.batch}"
        click.echo(
            f"  {finding.severity.value:<11}{finding.check} ({finding.score:.2f}) {safe(where)}: "
            f"{safe(finding.evidence)[:300]}"
        )
    if len(checked.findings) > SHOWN:
        click.echo(f"  ... and {len(checked.findings) - SHOWN} more findings: --json lists them all")
    unable: dict[str, list[str]] = {}
    for check, why in sorted(checked.screening.inconclusive.items()):
        unable.setdefault(why, []).append(check)
    for why, names in unable.items():
        click.echo(f"  could not tell: {', '.join(names)}: {safe(why)}")
    click.echo(checked.verdict.value)
