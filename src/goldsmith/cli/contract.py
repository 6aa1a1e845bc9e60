"""`goldsmith contract`: hold deliveries against a vendor's contract."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from goldsmith.cli.options import Commands, json_option, open_workspace, print_json, safe, say, workspace_option

if TYPE_CHECKING:
    from goldsmith.engines.acceptance.delivered import Delivered
    from goldsmith.stages.check import Checked
    from goldsmith.types.contract import ClauseResult
    from goldsmith.types.finding import Outcome

EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 3}
SHOWN = 10
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@dataclass(frozen=True)
class Held:
    """A delivery held against a contract."""

    name: str
    outcome: "Outcome"
    clauses: Sequence["ClauseResult"]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        clauses = [{**one.model_dump(mode="json"), "low": one.low, "high": one.high} for one in self.clauses]
        return {"name": self.name, "outcome": self.outcome.value, "clauses": clauses}

    def tell(self) -> None:
        """Clause by clause, for people."""
        click.echo(f"contract {self.name}")
        for one in self.clauses:
            click.echo(f"  {one.outcome.value:<13}{safe(one.clause)}: {safe(one.figure)}{_interval(one)}")
            click.echo(f"  {'':<13}required: {safe(one.required)}")
            if one.lines and one.outcome.value != "pass":
                shown = ", ".join(map(str, one.lines[:SHOWN]))
                click.echo(f"  {'':<13}lines {shown}" + (" ..." if len(one.lines) > SHOWN else ""))
        click.echo({"pass": "accepted", "fail": "not accepted"}.get(self.outcome.value, "not accepted: could not tell"))


def _interval(one: "ClauseResult") -> str:
    if one.low is None or one.low == one.high:
        return ""
    return f" [{one.low:.3f}, {one.high:.3f}]" if one.high is not None else f" [{one.low:.3f} or more]"


def hold_file(
    contract: Path,
    checked: "Checked",
    off: Sequence[str],
    votes: Path | None,
    inspected: Path | None,
    power: Path | None,
    since: Path | None,
) -> Held:
    """What `goldsmith check FILE --contract` adds: nothing is signed."""
    from goldsmith.stages.acceptance import held_against, read_contract

    terms = read_contract(contract)
    told = _delivered(checked, off, votes, inspected, power, since)
    outcome, clauses = held_against(terms, told)
    return Held(terms.name, outcome, clauses)


def _delivered(
    checked: "Checked",
    off: Sequence[str],
    votes: Path | None,
    inspected: Path | None,
    power: Path | None,
    since: Path | None = None,
) -> "Delivered":
    from goldsmith import plugins
    from goldsmith.engines.acceptance.delivered import Delivered
    from goldsmith.engines.acceptance.sheet import read_sheet
    from goldsmith.engines.text.projection import project
    from goldsmith.engines.votes import read_votes
    from goldsmith.stages.acceptance import contents_of, read_coverage
    from goldsmith.trust import clock

    return Delivered(
        project(checked.rows),
        checked.findings,
        checked.sources,
        checked.screening.inconclusive,
        frozenset(plugins.names("checks")) - set(off),
        clock.now(),
        faulty=sum(len(one.lines) for one in checked.findings if one.check == "faulty_row"),
        votes=read_votes(votes) if votes else (),
        coverage=read_coverage(power) if power else None,
        sheet=read_sheet(inspected) if inspected else None,
        before=contents_of(_rows(since)) if since else None,
    )


def _rows(path: Path) -> Any:
    from goldsmith import plugins
    from goldsmith.engines.reading.read import read

    return read(path, plugins.build_all("sources")).rows  # type: ignore[arg-type]


@click.group("contract", cls=Commands)
def command() -> None:
    """Hold deliveries against a vendor's contract (YAML).

    Without a workspace: `goldsmith check FILE --contract CONTRACT`, and `sample`. In a workspace the decision, the
    vendor's objection, the answer and the redelivery are signed and stand in the ledger.
    """


@command.command("sample")
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option("--contract", "contract", type=FILE, required=True)
@click.option("--since", type=FILE, default=None, help="The rejected delivery: only new or changed records are drawn.")
@click.option("--seed", default=None, help="Draw the same sample again [default: a fresh random one].")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Where the sheet goes.")
def sample_command(file: Path, contract: Path, since: Path | None, seed: str | None, out: Path) -> None:
    """Draw the random sample that people have to inspect, by the contract's sampling plan.

    The sheet is JSON Lines: set `defective` to true or false for every line, say why, and hand it in with
    `--inspected`.
    """
    from goldsmith.stages.acceptance import contents_of, read_contract, sample

    before = contents_of(_rows(since)) if since else None
    plan, text = sample(read_contract(contract), _rows(file), seed or secrets.token_hex(16), before)
    out.write_text(text, encoding="utf-8")
    click.echo(f"inspect {plan.size} of {plan.lot} records; accept with {plan.accept} bad ones at most: {out}")
    if plan.producer_risk is not None and plan.consumer_risk is not None:
        click.echo(
            f"a good lot is refused with {plan.producer_risk:.2%}, a bad one accepted with {plan.consumer_risk:.2%}"
        )


@command.command("sign")
@click.argument("contract", type=FILE)
@click.option("--vendor", is_flag=True, help="Sign as the vendor, with its source key.")
@workspace_option
def sign_command(contract: Path, vendor: bool, workspace: Path, keys: Path | None) -> None:
    """State CONTRACT in the ledger: as the buyer, or as the vendor."""
    from goldsmith.stages.acceptance import read_contract, sign_contract

    terms = read_contract(contract)
    with open_workspace(workspace, keys) as ws:
        statement = sign_contract(ws, terms, vendor=vendor)
    click.echo(f"{terms.name} {statement.subjects['contract'][7:19]} signed as {statement.role.value}")


@command.command("decide")
@click.argument("delivery")
@click.option("--contract", "contract", type=FILE, required=True)
@click.option("--votes", type=FILE, default=None, help="Annotator votes.")
@click.option("--inspected", type=FILE, default=None, help="The sheet that people filled in.")
@click.option("--power", type=FILE, default=None, help="What goldsmith drill --json measured.")
@click.option("--evals", multiple=True, type=click.Path(path_type=Path, exists=True), help="An eval set (repeatable).")
@click.option("--reject", default=None, help="Reject all the same, with this reason.")
@workspace_option
@json_option
def decide_command(
    delivery: str,
    contract: Path,
    votes: Path | None,
    inspected: Path | None,
    power: Path | None,
    evals: tuple[Path, ...],
    reject: str | None,
    workspace: Path,
    keys: Path | None,
    as_json: bool,
) -> None:
    """Hold CONTRACT against DELIVERY (SOURCE/BATCH, or a collection's digest), and sign accept or reject.

    What could not be told is not accepted: nothing is signed then, unless you --reject.
    """
    from goldsmith.engines.evidence import find_collection
    from goldsmith.engines.votes import read_votes
    from goldsmith.stages.acceptance import decide, read_contract
    from goldsmith.stages.check import check_collections, eval_texts
    from goldsmith.types.recipe import CheckEntry

    terms = read_contract(contract)
    given = read_votes(votes) if votes else ()
    with open_workspace(workspace, keys) as ws:
        digest, _ = find_collection(ws, delivery)
        texts = [pair for one in evals for pair in eval_texts(one)]
        checked = check_collections(ws, [digest], CheckEntry(), texts, given)
        told = _delivered(checked, (), votes, inspected, power)
        evidence = [path for path in (votes, inspected, power) if path]
        made = decide(ws, digest, terms, told, evidence=evidence, reject=reject)
    held = Held(terms.name, made.outcome, made.clauses)
    if as_json:
        signed = None if made.statement is None else made.statement.predicate_type
        print_json({**held.as_dict(), "decision": made.digest, "signed": signed})
    else:
        held.tell()
        if made.statement is not None and made.digest is not None:
            click.echo(f"{made.statement.predicate_type} signed: decision {made.digest[7:19]}")
        else:
            say("nothing was signed: hand in what is missing, or --reject with a reason")
    raise SystemExit(1 if reject is not None else EXIT_CODES[made.outcome.value])


@command.command("dispute")
@click.argument("decision")
@click.option("--clause", "clauses", multiple=True, required=True, help="The clause objected to (repeatable).")
@click.option("--line", "lines", multiple=True, type=int, help="Only these lines of it (repeatable).")
@click.option("--reason", required=True)
@workspace_option
def dispute_command(
    decision: str, clauses: tuple[str, ...], lines: tuple[int, ...], reason: str, workspace: Path, keys: Path | None
) -> None:
    """The vendor objects to clauses of a rejection; signed with its source key."""
    from goldsmith.stages.acceptance import dispute

    with open_workspace(workspace, keys) as ws:
        click.echo(f"objection {dispute(ws, decision, clauses, reason, lines=lines).digest[7:19]}")


@command.command("answer")
@click.argument("objection")
@click.option("--uphold/--refuse", "upheld", default=None, required=True, help="Is the vendor right?")
@click.option("--reason", required=True)
@workspace_option
def answer_command(objection: str, upheld: bool, reason: str, workspace: Path, keys: Path | None) -> None:
    """The buyer answers an objection. Upheld, its lines no longer count: decide again."""
    from goldsmith.stages.acceptance import answer

    with open_workspace(workspace, keys) as ws:
        answer(ws, objection, upheld=upheld, reason=reason)
    click.echo("upheld: decide again" if upheld else "refused: the rejection stands")


@command.command("redeliver")
@click.argument("delivery")
@click.option("--of", "decision", required=True, help="The rejection that it answers.")
@workspace_option
def redeliver_command(delivery: str, decision: str, workspace: Path, keys: Path | None) -> None:
    """The vendor states that DELIVERY answers a rejected one: only what is new or changed is inspected again."""
    from goldsmith.engines.evidence import find_collection
    from goldsmith.stages.acceptance import redeliver

    with open_workspace(workspace, keys) as ws:
        digest, held = find_collection(ws, delivery)
        redeliver(ws, digest, decision)
    click.echo(f"{safe(held.source)} / {safe(held.batch)} answers {decision}")


@command.command("status")
@click.argument("vendor", required=False)
@workspace_option
@json_option
def status_command(vendor: str | None, workspace: Path, keys: Path | None, as_json: bool) -> None:
    """Every contract, decision, objection, answer and redelivery (of one VENDOR)."""
    from goldsmith.stages.acceptance import status

    with open_workspace(workspace, keys) as ws:
        told = status(ws, vendor)
    if as_json:
        print_json(told)
        return
    for one in told:
        about = one.get("outcome") or one.get("reason") or one.get("name") or ""
        click.echo(
            f"{one['at']}  {one['kind']:<11}{one['id'][7:19]}  {safe(str(one['vendor'] or ''))}  {safe(str(about))}"
        )
