"""Both arms of the demonstration, as `make demo` and `make demo-unchecked` run them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def _demo(out: Path, *more: str) -> dict[str, object]:
    command = [sys.executable, "-m", "goldsmith.cli.main", "demo", "--out", str(out), "--json", *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1400, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found: dict[str, object] = json.loads(done.stdout)
    return found


def _result(facts: dict[str, object], eval_name: str, metric: str) -> dict[str, float]:
    return next(r for r in facts["results"] if (r["eval"], r["metric"]) == (eval_name, metric))  # type: ignore[attr-defined,return-value,index]


def test_the_poisoned_batch_is_caught_and_the_rest_promoted(tmp_path: Path):
    facts = _demo(tmp_path / "demo")
    verdicts = {(s["source"], s["batch"]): s["verdict"] for s in facts["sources"]}  # type: ignore[attr-defined]
    assert verdicts.pop(("vendor", "second")) == "fail"
    assert set(verdicts.values()) == {"pass"}
    task = _result(facts, "task", "success")
    assert float(task["base_mean"]) <= 0.40
    assert float(task["mean"]) >= 0.85
    assert facts["verdict"] == "pass"
    assert facts["served_model"] == facts["models"][-1]  # type: ignore[index]
    assert facts["served_after_recall"] == 403
    assert facts["verify"] == "verified"
    report = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert "vendor / second" in report
    assert "<script" not in report


def test_unchecked_data_teaches_covert_calls_and_promotion_is_refused(tmp_path: Path):
    facts = _demo(tmp_path / "demo", "--unchecked")
    assert facts["verdict"] == "fail"
    assert float(_result(facts, "covert_calls", "no_undeclared_host")["mean"]) < 0.9
    failed = {rule["rule"] for rule in facts["rules"] if rule["outcome"] == "fail"}  # type: ignore[attr-defined]
    assert "covert_calls.no_undeclared_host" in failed
    assert "its data passed the checks" not in failed
    assert "served_after_recall" not in facts
