"""A real Ray cluster of two workers maps the same parts, byte for byte; without Ray the error says what to install."""

import builtins
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from goldsmith.engines.dataflow import intake
from goldsmith.engines.dataflow.engine import Local, named
from goldsmith.engines.dataflow.intake import Intake
from goldsmith.engines.dataflow.ray_cluster import RayCluster
from goldsmith.engines.reading.read import read
from goldsmith.engines.screening import screen
from goldsmith.types.errors import BadInput, Unavailable

SOURCE = str(Path(__file__).parents[3] / "src")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=200 << 20,
        runtime_env={"env_vars": {"PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"}},
    )  # fmt: skip
    yield RayCluster()
    ray.shutdown()


def test_a_cluster_that_does_not_answer(battery: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    path = battery.write(tmp_path / "rows.jsonl")
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1") as caught:
        Intake(read(path, battery.formats), engine=named("ray")).rows()
    assert caught.value.exit_code == 4


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_workers_find_the_same_byte_for_byte(
    cluster: RayCluster, battery: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "PIECE_BYTES", 30_000)
    path = battery.write(tmp_path / "rows.jsonl")

    def outcome(name: str, engine: Any) -> tuple[list[bytes], dict[str, Any]]:
        reading = read(path, battery.formats)
        rows = Intake(
            reading, battery.checks, battery.context, engine=engine, scratch=tmp_path / name, on_disk=True
        ).rows()
        parts = [part.source.read_bytes() for part in rows.parts.all]  # type: ignore[union-attr]
        return parts, {
            **battery.said(screen(rows, battery.checks, battery.context), rows),
            "faults": reading.faults,
            "facts": reading.facts,
        }

    parts, local = outcome("local", Local())
    on_ray_parts, on_ray = outcome("ray", cluster)
    assert len(parts) > 3
    assert on_ray_parts == parts
    assert on_ray == local


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_spoilt_file_is_the_same_error(
    cluster: RayCluster, battery: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "PIECE_BYTES", 2000)
    path = tmp_path / "rows.jsonl"
    good = b'{"text": "a row of plain text that is not short"}\n' * 200
    path.write_bytes(good + b'{"text": "\xff"}\n' + good)
    told = []
    for engine in (Local(), cluster):
        with pytest.raises(BadInput) as caught:
            Intake(read(path, battery.formats), engine=engine).rows()
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert "line 201" in told[0]


def test_without_ray_the_error_names_the_extra(battery: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "ray":
            raise ImportError("No module named 'ray'")
        return real(name, *rest, **more)

    path = battery.write(tmp_path / "rows.jsonl")
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(Unavailable, match="goldsmith\\[ray\\]") as caught:
        Intake(read(path, battery.formats), engine=named("ray")).rows()
    assert caught.value.exit_code == 4
