"""`goldsmith verify`: every byte, signature and link of a workspace, or of a report handed to somebody; offline."""

from pathlib import Path

import click

from goldsmith.cli.options import json_option, print_json, say
from goldsmith.types.errors import IntegrityFailure

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command("verify")
@click.argument("folder", metavar="FOLDER|REPORT", type=click.Path(path_type=Path, exists=True), default=".goldsmith")
@click.option("--root", "fingerprint", default=None, help="The trust root's fingerprint, kept outside the folder.")
@click.option("--checkpoint", type=FILE, default=None, help="A checkpoint file kept outside the folder.")
@click.option("--proof", type=FILE, default=None, help="Of a report: its proof [default: REPORT.proof.json beside it].")
@click.option("--page", type=FILE, default=None, help="Of a report: the HTML page that was signed with it.")
@json_option
def command(
    folder: Path,
    fingerprint: str | None,
    checkpoint: Path | None,
    proof: Path | None,
    page: Path | None,
    as_json: bool,
) -> None:
    """Check every byte, signature and link of a workspace; works on a copy, without keys or network.

    With a due-diligence report (REPORT.json) in place of the folder: check that report against its proof.
    """
    if folder.is_file():
        _report(folder, fingerprint, proof, page, as_json=as_json)
        return
    from goldsmith.trust.verify import verify

    if proof or page:
        raise click.UsageError("--proof and --page are about a report; give the report's JSON file")
    report = verify(folder, fingerprint, checkpoint.read_text(encoding="utf-8") if checkpoint else None)
    if not as_json:
        click.echo(str(report))
        report.raise_if_failed()
        return
    print_json(report.model_dump(mode="json"))  # the one document: a failure is in it, and in words on stderr
    try:
        report.raise_if_failed()
    except IntegrityFailure as error:
        say(f"{type(error).__name__}: {error}")
        raise SystemExit(error.exit_code) from error


def _report(path: Path, fingerprint: str | None, proof: Path | None, page: Path | None, *, as_json: bool) -> None:
    from goldsmith.trust.diligence import check

    beside = path.with_name(path.stem + ".proof.json")
    proof = proof or (beside if beside.is_file() else None)
    standing = check(
        path.read_bytes(),
        proof.read_bytes() if proof else None,
        fingerprint=fingerprint,
        page=page.read_bytes() if page else None,
    )
    if as_json:
        print_json(standing.model_dump(mode="json"))
    else:
        click.echo(str(standing))
