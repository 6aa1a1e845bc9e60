"""Skips are written to a file, so that CI can refuse those nobody allowed."""

import os
from pathlib import Path

import pytest

_skips: list[str] = []


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
