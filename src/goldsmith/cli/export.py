"""`goldsmith export`: data and models for other people's tools."""

from pathlib import Path
from typing import Literal

import click

from goldsmith.cli.options import (
    Commands,
    json_option,
    open_workspace,
    print_json,
    say,
    workspace_for,
    workspace_option,
)


@click.group("export", cls=Commands)
def command() -> None:
    """Write data and models in standard forms, for other people's tools."""


@command.command("croissant")
@click.argument("subject")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="An empty or new folder for the description and the records.",
)
@click.option(
    "--card",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=None,
    help="YAML with what only you can say: description, use cases, protocol, maintenance ...",
)
@click.option("--source", default="unknown", help="The source of a file's rows that name none.")
@click.option("--batch", default="unknown", help="The batch of a file's rows that name none.")
@workspace_option
def croissant(
    subject: str, out: Path, card: Path | None, source: str, batch: str, workspace: Path, keys: Path | None
) -> None:
    """Describe SUBJECT (a file, a release, or a collection) in Croissant 1.1 with RAI, beside its records.

    The data is checked as `goldsmith diligence` does; what is known is said, the rest is "not stated".
    """
    from goldsmith import pipeline
    from goldsmith.types.record import Origin

    if Path(subject).exists():
        written = pipeline.croissant_of_file(Path(subject), out, card, origin=Origin(source=source, batch=batch))
    else:
        written = pipeline.croissant_of_stated(open_workspace(workspace, keys), subject, out, card)
    click.echo(str(written[0]))
    for path in written[1:]:
        say(str(path))


@command.command("merged")
@click.argument("model")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="An empty or new folder for the whole model.",
)
@click.option("--base", default=None, help="The adapter's base, if it is no longer where training found it.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
    help="Precision of the weights that are written.",
)
@click.option("--device", default="cpu", show_default=True, help="Where to compute the comparison.")
@workspace_option
@json_option
def merged(
    model: str,
    out: Path,
    base: str | None,
    dtype: Literal["float32", "bfloat16", "float16"],
    device: str,
    workspace: Path,
    keys: Path | None,
    as_json: bool,
) -> None:
    """Merge an adapter with its base: MODEL is an adapter's folder, or a model's name or digest in the workspace.

    What was written is read back and compared with the adapter; if it computes something else, nothing is left.
    """
    from goldsmith.stages import export_model

    folder, adapter = export_model.locate(workspace_for(model, workspace, keys), model, base)
    done = export_model.merged(folder, adapter, out, dtype=dtype, device=device)
    if as_json:
        print_json(done.as_dict())
        return
    click.echo(str(done.folder))
    say(
        f"against the adapter: mean divergence {done.to_adapter.mean_kl:.1e} nats, largest logit difference "
        f"{done.to_adapter.max_logit_difference:.1e}; the base is {done.moved.mean_kl:.1e} nats away"
    )


@command.command("gguf")
@click.argument("model")
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="A new file.")
@click.option("--base", default=None, help="An adapter's base, if it is no longer where training found it.")
@click.option(
    "--kind",
    type=click.Choice(["f32", "f16", "bf16", "q8_0"]),
    default="f16",
    show_default=True,
    help="How matrices are kept; vectors, norms and routers stay float32.",
)
@click.option(
    "--pre-tokenizer",
    "split",
    default=None,
    help="llama.cpp's name for how the tokenizer splits texts, where it cannot be told.",
)
@workspace_option
@json_option
def gguf(
    model: str,
    out: Path,
    base: str | None,
    kind: Literal["f32", "f16", "bf16", "q8_0"],
    split: str | None,
    workspace: Path,
    keys: Path | None,
    as_json: bool,
) -> None:
    """Write one GGUF file for llama.cpp: MODEL is a folder, a hub id, or a model's name or digest in the workspace.

    An adapter is merged first. Every tensor and key is read back and compared.
    """
    from goldsmith.stages import export_model

    folder, adapter = export_model.locate(workspace_for(model, workspace, keys), model, base)
    done = export_model.gguf(folder, adapter, out, kind=kind, name=Path(model).name, split=split)
    if as_json:
        print_json(done.as_dict())
        return
    click.echo(str(done.path))
    say(f"{done.tensors} tensors as {done.arch}, {done.kind}, {done.size / 1e6:.1f} MB; all read back equal")
    for note in done.notes:
        say(f"note: {note}")
