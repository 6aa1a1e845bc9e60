"""Skips are written to a file, so that CI can refuse those nobody allowed; what tests share is importable."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).with_name("shared")))

_skips: list[str] = []


@pytest.fixture(scope="session")
def tiny() -> Any:
    """Builders of models and tokenizers small enough for a test."""
    from goldsmith_test_tiny import Tiny

    return Tiny


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder to train from; read-only."""
    from goldsmith_test_tiny import save_base

    return save_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """A forked child may not use a parent's thread pool, and equal bytes need equal numbers of threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and isinstance(report.longrepr, tuple):
        _skips.append(f"{report.nodeid}: {report.longrepr[2]}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get("CI"):
        out = Path(str(session.config.rootpath)) / "out"
        out.mkdir(exist_ok=True)
        marks = str(session.config.option.markexpr or "all")
        name = "".join(c if c.isalnum() else "-" for c in marks)
        (out / f"skips-{name}.txt").write_text("\n".join(_skips), encoding="utf-8")
