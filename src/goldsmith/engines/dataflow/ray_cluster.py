"""Parts mapped on a Ray cluster. Pieces travel to the workers and parts come back: no shared file system is needed."""

import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from goldsmith.types.errors import GoldsmithError, Unavailable

Task = TypeVar("Task")
Result = TypeVar("Result")
_WAITING_PER_CPU = 2
_ANSWERS_WITHIN_S = 10


@dataclass(frozen=True, slots=True)
class RayCluster:
    """The cluster at `address`, else at `RAY_ADDRESS`, else one started on this machine for the run.

    Every node needs the same version of goldsmith. Ray's usage statistics are switched off.
    """

    address: str | None = None

    def map(self, function: Callable[[Any, Task], Result], shared: object, tasks: Iterable[Task]) -> Iterator[Result]:
        """As `Engine.map`. Errors also: Unavailable without the extra, or where no cluster answers."""
        with self.connected() as ray:
            yield from _mapped(ray, function, shared, tasks)

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """The module `ray` with the cluster behind it; one that was connected before stays so. Errors: Unavailable
        without the extra, or where no cluster answers."""
        ray = _ray()
        own = not ray.is_initialized()
        if own:
            self._connect(ray)
        try:
            yield ray
        finally:
            if own:
                ray.shutdown()

    def _connect(self, ray: Any) -> None:
        address = self.address or os.environ.get("RAY_ADDRESS")
        try:
            _require_answer(address)
            if address is None:
                ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
            else:
                ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (OSError, RuntimeError, ValueError) as error:
            raise Unavailable(
                "the Ray cluster does not answer",
                where=address or "a cluster on this machine",
                found=str(error).splitlines()[0] if str(error) else type(error).__name__,
                next_step="check the address (RAY_ADDRESS, or `ray_address` in the recipe), or use --engine local",
            ) from error


def _require_answer(address: str | None) -> None:
    """Fail within seconds where nobody listens; Ray itself would try for many minutes. Errors: OSError."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWERS_WITHIN_S):
            pass


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise Unavailable(
            "--engine ray needs Ray, which is not installed",
            found=error,
            next_step="pip install 'goldsmith[ray]', or use --engine local",
        ) from error
    return ray


def _mapped(
    ray: Any, function: Callable[[Any, Task], Result], shared: object, tasks: Iterable[Task]
) -> Iterator[Result]:
    apply = ray.remote(function)
    known = ray.put(shared)
    most = max(4, _WAITING_PER_CPU * int(ray.cluster_resources().get("CPU", 1)))
    waiting: deque[Any] = deque()
    for task in tasks:
        waiting.append(apply.remote(known, task))
        if len(waiting) >= most:
            yield _got(ray, waiting.popleft())
    while waiting:
        yield _got(ray, waiting.popleft())


def _got(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, GoldsmithError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise Unavailable(
            "the Ray cluster lost a part's work",
            found=str(error).splitlines()[0],
            next_step="run the same command again: finished parts are kept",
        ) from error
