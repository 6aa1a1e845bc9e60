"""Where parts are mapped: in this process, in a pool of processes, or on Ray. The results are the same."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Literal, Protocol, TypeVar

from goldsmith.types.errors import Unavailable

Task = TypeVar("Task")
Result = TypeVar("Result")


class Engine(Protocol):
    """Applies a pure, importable function to tasks. Results come in the tasks' order; few are under way at once."""

    def map(self, function: Callable[[Any, Task], Result], shared: object, tasks: Iterable[Task]) -> Iterator[Result]:
        """`function(shared, task)` of every task; `shared` travels once. Errors: the first task's that failed."""
        ...


@dataclass(frozen=True, slots=True)
class Local:
    """This machine. `workers=1` stays in this process; more are a pool; 0 is one for each core."""

    workers: int = 1

    def map(self, function: Callable[[Any, Task], Result], shared: object, tasks: Iterable[Task]) -> Iterator[Result]:
        """As `Engine.map`."""
        workers = self.workers or len(os.sched_getaffinity(0))
        if workers == 1:
            return (function(shared, task) for task in tasks)
        return _pooled(workers, function, shared, tasks)


def named(name: Literal["local", "ray"], *, workers: int = 1, ray_address: str | None = None) -> Engine:
    """The engine a user asked for."""
    if name == "local":
        return Local(workers)
    from goldsmith.engines.dataflow.ray_cluster import RayCluster

    return RayCluster(ray_address)


def _pooled(
    workers: int, function: Callable[[Any, Task], Result], shared: object, tasks: Iterable[Task]
) -> Iterator[Result]:
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_receive, initargs=(shared,))
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(_apply, function, task))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise Unavailable(
            "a worker process was killed",
            found=error,
            next_step="run the same command again: finished parts are kept. If memory is short, use --workers 1",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_shared: object = None


def _receive(shared: object) -> None:
    global _shared
    _shared = shared


def _apply(function: Callable[[Any, Task], Result], task: Task) -> Result:
    return function(_shared, task)
