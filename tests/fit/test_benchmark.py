"""`benchmarks/fit.py`: what it would run on a GPU, tried on tiny models on a CPU."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def fit_gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return pytest.importorskip("fit_gpu")


def test_its_cases_train_and_are_predicted(fit_gpu: Any):
    found = fit_gpu.run("cpu", fit_gpu.TINY, 600.0)["cases"]
    assert [row["method"] for row in found] == ["sft", "dpo", "reward_model"]
    for row in found:
        assert row["way"] == "flat"
        assert len(row["losses"]) == 4
        assert row["tensors"] > row["parts"]["weights"] + row["parts"]["optimiser"]
    assert fit_gpu.run("cpu", fit_gpu.TINY, -1.0)["cases"] == []


def test_every_case_for_a_gpu_can_be_built(fit_gpu: Any):
    from goldsmith.stages.fit import build

    for case in fit_gpu.CASES:
        settings = build(case.method, case.settings)
        assert max(row.longest for row in fit_gpu.make_rows(case)) <= settings.max_length


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_it_says_so():
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "fit.py"), "--device", "cuda"],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "no CUDA device" in done.stderr
