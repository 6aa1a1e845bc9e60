"""`goldsmith review` and what shows its decisions, as a reviewer meets them."""

import contextlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from goldsmith.cli.main import main

RECIPE = """\
name: parcels
sources: [{name: anna, file: rows.jsonl, maker: human}]
release: {min_records: 1000}
train: [{method: sft}]
examine: [{eval: fit_gap, name: fit}]
promote: {rules: [{eval: fit, metric: gap, at_most: 9.0}]}
"""


@pytest.fixture
def goldsmith(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """The command in a folder with a refused release: what was found is on file, nothing was trained."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "argv", ["goldsmith", *arguments])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), out.getvalue(), err.getvalue()

    rows = [
        {"messages": [{"role": "user", "content": f"Where is parcel {n}?"}, {"role": "assistant", "content": said}]}
        for n, said in enumerate(["", *(f"Parcel {n} left our house on day {n}." for n in range(1, 20))])
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    code, _, err = call("run", "recipe.yaml")
    assert code == 1, err
    assert "at least 1000" in err
    return call


def shown(goldsmith: Any, what: str) -> list[dict[str, Any]]:
    code, out, err = goldsmith("show", what, "--json")
    assert code == 0, err
    found: list[dict[str, Any]] = json.loads(out)
    return found


def test_a_decision_is_made_shown_and_taken_back(goldsmith):
    (finding,) = [one for one in shown(goldsmith, "findings") if one["state"] == "open"]
    assert (finding["check"], finding["lines"]) == ("well_formed", [1])
    listed = goldsmith("show", "findings", "--open")[1]
    assert listed.startswith(finding["id"][7:19] + " open ")
    code, out, err = goldsmith("review", "waive", finding["id"][7:19], "--reason", "wanted", "--days", "3", "--json")
    assert code == 0, err
    made = json.loads(out)
    assert (made["decision"], made["source"], made["findings"]) == ("waive", "anna", [finding["id"]])
    assert made["expires_at"] > made["decided_at"]
    assert [one["state"] for one in shown(goldsmith, "findings") if one["id"] == finding["id"]] == ["waive"]
    assert goldsmith("show", "findings", "--open")[1] == ""
    goldsmith("run", "recipe.yaml")
    assert goldsmith("show", "left-out", "parcels")[1] == ""
    line = goldsmith("show", "decisions")[1]
    assert f"{made['review'][7:19]} waive anna / 1 until" in line
    assert "wanted (signed as reviewer" in line
    assert goldsmith("review", "take-back", made["review"][7:19], "--reason", "a mistake")[0] == 0
    assert [one["void"] for one in shown(goldsmith, "decisions")] == ["withdrawn: a mistake"]
    goldsmith("run", "recipe.yaml")
    assert "empty_answer" in goldsmith("show", "left-out", "parcels")[1]
    assert goldsmith("verify", ".goldsmith")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("accept", "0123456789ab"), "no finding"),
        (("accept",), "say what the decision is about"),
        (("reject", "--source", "bert"), "anna / 1"),
        (("reject", "--line", "3"), "lines belong to a delivery"),
        (("accept", "--source", "anna", "--line", "3"), "lines can be rejected"),
        (("take-back",), "name the decision"),
        (("take-back", "0123456789ab"), "no decision"),
    ],
)
def test_what_cannot_be_decided_is_said(goldsmith, arguments, words):
    code, _, err = goldsmith("review", *arguments, "--reason", "a test")
    assert code == 2, err
    assert words in err
    assert shown(goldsmith, "decisions") == []


def test_a_reason_is_needed(goldsmith):
    assert goldsmith("review", "reject", "--source", "anna")[0] == 2
    code, _, err = goldsmith("review", "reject", "--source", "anna", "--reason", "  ")
    assert code == 2, err
    assert "a decision needs a reason" in err
