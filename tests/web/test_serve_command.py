"""`goldsmith serve` as a process: the official client, the evidence headers, a recall while it serves."""

import json
import re
import subprocess
import sys
from pathlib import Path

import openai
import pytest

GOLDSMITH = [sys.executable, "-m", "goldsmith.cli.main"]


def _run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [*GOLDSMITH, *arguments], cwd=folder, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_promoted_model_answers_until_it_is_recalled(tmp_path: Path):
    rows = [
        {"messages": [{"role": "user", "content": f"Count to {n}."}, {"role": "assistant", "content": f"That is {n}."}]}
        for n in range(30)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(
        "name: counting\nsources: [{name: anna, file: rows.jsonl, maker: human}]\n"
        "train: [{method: sft, settings: {max_steps: 2, batch_size: 4, adapter: {kind: lora, rank: 4}}}]\n"
        "examine: [{eval: fit_gap, name: fit}]\n"
        "promote: {rules: [{eval: fit, metric: gap, at_most: 5.0, min_items: 1}]}\n",
        encoding="utf-8",
    )
    _run(tmp_path, "run", "recipe.yaml", "--json")
    _run(tmp_path, "admit", "goldsmith-nano", "--reason", "a test")
    command = [*GOLDSMITH, "serve", "counting", "goldsmith-nano", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            said: list[str] = []
            for line in server.stderr:
                said.append(line)
                if found := re.search(r"http://\S+/v1", line):
                    address = found[0]
                    break
            assert [line.split(":")[0] for line in said] == ["serving counting", "serving goldsmith-nano", "http"]
            client = openai.OpenAI(base_url=address, api_key="unused", max_retries=0)
            listed = {m.id: m.model_dump() for m in client.models.list()}
            assert listed["goldsmith-nano"]["goldsmith"]["admission_reason"] == "a test"
            question = [{"role": "user", "content": "Count to 7."}]
            raw = client.chat.completions.with_raw_response.create(model="counting", messages=question, max_tokens=8)
            traced = json.loads(_run(tmp_path, "trace", "counting", "--json"))
            assert raw.headers["x-goldsmith-model"] == traced["model"]
            assert raw.headers["x-goldsmith-verdict"] == traced["steps"][0]["verdicts"][-1]["verdict"]
            _run(tmp_path, "recall", "anna", "--reason", "a test", "--json")
            with pytest.raises(openai.PermissionDeniedError, match="a test"):
                client.chat.completions.create(model="counting", messages=question, max_tokens=8)
            client.chat.completions.create(model="goldsmith-nano", messages=question, max_tokens=4)
        finally:
            server.terminate()
    assert (
        tmp_path / "counting-recalled.yaml"
    ).exists() is False  # nothing is left to train on without its only source
