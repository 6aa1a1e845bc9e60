"""`goldsmith doctor`: what this machine has."""

import os
import platform
import shutil
from importlib import metadata

import click

from goldsmith.cli.options import json_option, print_json

NEEDED = ("torch", "transformers", "peft", "accelerate", "safetensors", "pydantic", "cryptography", "fastapi")


@click.command("doctor")
@json_option
def command(as_json: bool) -> None:
    """Say what this machine has, and what is missing; exit code 4 if something needed is."""
    facts: dict[str, object] = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "free_disk_gb": round(shutil.disk_usage(".").free / 1e9, 1),
    }
    missing = []
    for name in NEEDED:
        try:
            facts[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    if "torch" not in missing:
        import torch

        facts["device"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"
    facts["missing"] = missing
    if as_json:
        print_json(facts)
    else:
        for name, value in facts.items():
            click.echo(f"{name:<14}{value if value != [] else 'nothing'}")
    raise SystemExit(4 if missing else 0)
