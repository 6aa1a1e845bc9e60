"""The `goldsmith` command: each subcommand's module is loaded only when it is called, so that help stays quick."""

import errno
import importlib
import json
import os
import re
import sys
import traceback
import warnings
from typing import NoReturn

import click

from goldsmith import __version__
from goldsmith.cli.options import broken
from goldsmith.types.errors import INTERRUPTED_EXIT_CODE, GoldsmithError, Unavailable

COMMANDS = {
    "demo": "The whole circle in a small world, with a poisoned delivery; ends in a report.",
    "init": "Make a workspace: the folder that holds all evidence.",
    "fit": "Will a training run fit this hardware? Memory by part and time, from the config alone.",
    "sweep": "Try settings of a recipe's training under a budget: quality, memory and cost of each.",
    "import-recipe": "Write a recipe from a configuration of LLaMA-Factory or Axolotl, with an account of every line.",
    "run": "Run the whole circle of a recipe: sources in, verdict out.",
    "sign": "Sign a file as the next delivery of a source.",
    "collect": "Take in the signed deliveries a recipe names.",
    "check": "Look for what would spoil a model in a file of feedback.",
    "drill": "Plant known attacks into a copy of a file, and see what the checks find.",
    "diligence": "Write the report that a buyer of the data reads: what was found, and what could not be seen.",
    "review": "Accept, waive or reject what a check found, signed, with the reason.",
    "export": "Write data (Croissant, Parquet, JSON lines) and models (merged, GGUF) for other people's tools.",
    "contract": "Hold deliveries against a vendor's contract: sign, sample, decide, dispute, answer.",
    "show": "Show records, findings, what was left out, or the capabilities there are.",
    "examine": "Examine a model with a recipe's evals.",
    "promote": "Judge an examined model by a policy file.",
    "admit": "Take responsibility for serving a base model.",
    "serve": "Serve promoted models over an OpenAI-compatible API.",
    "trace": "Show where a model, or one of its answers, comes from.",
    "recall": "Withdraw everything a source, batch or record touched.",
    "report": "Write the report of a model as one HTML file.",
    "verify": "Check every byte, signature and link of a workspace, offline.",
    "verify-model": "Test a model's real weights: template, mask, packing, a training step, merging, answering.",
    "doctor": "Say what this machine has, and what is missing.",
}
"""Every subcommand with its one-line help, in the order of the data's way. The module has the command's name (`_` for
`-`)."""

BUG_EXIT_CODE = 70  # sysexits.h EX_SOFTWARE: not one of the codes that mean something to a pipeline


class _LazyGroup(click.Group):
    """A group whose commands are imported when called; their names and help are known without."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"goldsmith.cli.{name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"There is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="goldsmith")
def cli() -> None:
    """Trustworthy fine-tuning: signed feedback in, checked, trained, examined, promoted on evidence.

    \b
    Exit codes: 0 pass, 1 a gate said no, 2 wrong usage or input, 3 inconclusive,
    4 something is unavailable, 5 integrity failure, 70 a bug, 130 interrupted.
    """


def main() -> None:
    """Run the command line; every failure becomes a message and its exit code."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # What one library still asks of another under its old name is nothing a user can act on.
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
    try:
        code = cli.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        _fail("interrupted", INTERRUPTED_EXIT_CODE)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted", INTERRUPTED_EXIT_CODE)
    except BrokenPipeError:
        sys.stderr.close()  # the reader went away; there is nobody to tell
        sys.exit(0)
    except GoldsmithError as error:
        _refuse(error)
    except OSError as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError) or error.errno in _FULL:
            _refuse(_unavailable(error))
        _bug()
    except Exception:
        _bug()


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _unavailable(error: OSError) -> Unavailable:
    full = error.errno in _FULL
    return Unavailable(
        "the disk is full" if full else "this file cannot be read or written",
        where=None if error.filename is None else str(error.filename),
        found=error.strerror,
        next_step="free some space and run the same command again" if full else "check the path and its permissions",
    )


def _refuse(error: GoldsmithError) -> NoReturn:
    if "--json" in sys.argv:
        print(json.dumps({"error": error.as_dict(), "exit_code": error.exit_code}, ensure_ascii=False))
    _fail(f"{type(error).__name__}: {error}", error.exit_code)


def _fail(message: str, code: int) -> NoReturn:
    print(_fitted(message) if sys.stderr.isatty() else message, file=sys.stderr)
    sys.exit(code)


def _fitted(message: str) -> str:
    """A message broken between words to the terminal's width, each part under where its fact began."""

    def indent(line: str) -> int:
        fact = re.match(r"  (?:where|found|allowed|next|also): +", line)
        return len(fact[0]) if fact else 2

    return broken(message, indent)


def _bug() -> None:
    traceback.print_exc()
    _fail("This is a bug in Goldsmith, not in your input. Please report it with the lines above.", BUG_EXIT_CODE)


if __name__ == "__main__":
    main()
