"""`goldsmith review`: a person decides on what the checks found."""

from pathlib import Path

import click

from goldsmith.cli.options import json_option, open_workspace, print_json, safe, workspace_option


@click.command("review")
@click.argument("decision", type=click.Choice(["accept", "waive", "reject", "take-back"]))
@click.argument("ids", nargs=-1)
@click.option("--reason", required=True, help="Why; it is signed with the decision and shown wherever it counts.")
@click.option(
    "--release", "release_name", default=None, help="The release that shows the findings [default: the newest]."
)
@click.option("--source", default=None, help="Decide on a delivery as a whole: its source ...")
@click.option("--batch", default="1", show_default=True, help="... and its batch.")
@click.option("--line", "lines", multiple=True, type=int, help="Reject only this line of the delivery (repeatable).")
@click.option("--days", type=click.IntRange(1), default=None, help="For how many days it is good [default: for ever].")
@workspace_option
@json_option
def command(
    decision: str,
    ids: tuple[str, ...],
    reason: str,
    release_name: str | None,
    source: str | None,
    batch: str,
    lines: tuple[int, ...],
    days: int | None,
    workspace: Path,
    keys: Path | None,
    as_json: bool,
) -> None:
    """Decide on findings (IDS, as `goldsmith show findings` prints them), or on a delivery as a whole.

    `accept`: the finding is mistaken. `waive`: it holds, and the risk is taken. Both let the rows into the next
    release. `reject`: the rows stay out, even where every check passed. `take-back`: an earlier decision no longer
    holds. A decision is about the rows of one delivery, by digest: no other delivery profits from it.
    """
    from goldsmith.engines.evidence import find_release, newest_release
    from goldsmith.stages.review import review, take_back
    from goldsmith.types.errors import BadInput
    from goldsmith.types.review import Decision

    ws = open_workspace(workspace, keys)
    if decision == "take-back":
        if len(ids) != 1:
            raise BadInput("name the decision to take back", allowed="one id, as `goldsmith show decisions` prints it")
        digest = take_back(ws, ids[0], reason)
        print_json({"withdrawn": digest}) if as_json else click.echo(f"taken back: {digest[7:19]}")
        return
    if lines and source is None:
        raise BadInput("lines belong to a delivery", allowed="--source SOURCE --batch BATCH --line LINE")
    _, release = find_release(ws, release_name) if release_name else newest_release(ws)
    unit = (source, batch) if source is not None else None
    digest, made = review(ws, release, Decision(decision), reason, findings=ids, unit=unit, lines=lines, days=days)
    if as_json:
        print_json({"review": digest, **made.model_dump(mode="json")})
        return
    about = f"{len(made.findings)} finding(s)" if made.findings else "lines" if made.lines else "the whole delivery"
    until = f", until {made.expires_at}" if made.expires_at else ""
    click.echo(f"{decision} {safe(made.source)} / {safe(made.batch)}: {about}{until}; decision {digest[7:19]}")
