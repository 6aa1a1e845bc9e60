"""Training on several processes that hold the same weights: who computes what, and how it is put together again.

What an update must come to is fixed before it is dealt out (losses are divided by the labels or pairs of the whole
update), so that sums over processes are all there is to do, once an update. In one process nothing here does anything.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist

from goldsmith.engines.training.data.batches import Batch, dealt
from goldsmith.engines.training.scale.launcher import launched, local_rank
from goldsmith.types.errors import BadInput, GoldsmithError, Unavailable

K = TypeVar("K")
T = TypeVar("T")

PATIENCE = timedelta(days=2)
"""How long processes wait for one another: the first one may be writing a large model. Whoever started them notices a
lost one at once."""
BUCKET = 25_000_000
"""Numbers of the gradients that are sent together."""

_control: dict[Any, Any] = {}  # by process group: the one for Python values, which always goes over the CPU
_step: dict[Any, bool] = {}  # by process group: whether its processes keep step, see `keep_step`


class Elsewhere(Unavailable):
    """Another process failed, or is `gone`; its own error says why."""

    gone = False


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process (`rank`, from 0) among the `size` that train together. `in_step`: they hold shards of one model, so
    that no forward is made in one alone."""

    rank: int = 0
    size: int = 1
    in_step: bool = False

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """Every process's value, by rank.

        Raises:
            Elsewhere: a process is gone.
        """
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        try:
            dist.all_gather_object(found, value, group=control())
        except RuntimeError as error:
            raise lost(error) from error
        return found

    def together(self, work: Callable[[], T]) -> T:
        """Do the work; where it fails in one process it fails in all, so that none waits for one that has stopped.

        Raises:
            Elsewhere: it failed in another process, which is named with its error.
        """
        if self.size == 1:
            return work()
        try:
            done = work()
        except Elsewhere:
            raise
        except Exception as error:
            self.gather(f"{type(error).__name__}: {error}"[:1000])
            raise
        for rank, failed in enumerate(self.gather("")):
            if failed:
                raise Elsewhere(f"training process {rank + 1} of {self.size} failed", found=failed)
        return done

    def forwards(self, work: Callable[[], T]) -> T:
        """Do work that is made of forwards; where it fails in one process it fails in all.

        Processes in step wait for one another within every layer, so that one that fails cannot say so: its end is what
        ends the others.

        Raises:
            Elsewhere: it failed in another process, or that is gone.
        """
        if not self.in_step:
            return self.together(work)
        try:
            return work()
        except RuntimeError as error:
            if isinstance(error, dist.DistError) or "gloo" in str(error).lower():
                raise lost(error) from error
            raise

    def first_alone(self, work: Callable[[], None]) -> None:
        """Let the first process do something for all, such as writing; the others wait."""
        self.together(work if self.first else lambda: None)

    def first_before_others(self, work: Callable[[], T]) -> T:
        """Everybody does the work, the first process before the others, which find what it left in a cache."""
        if self.size == 1:
            return work()
        done: list[T] = []
        self.together((lambda: done.append(work())) if self.first else (lambda: None))
        self.together((lambda: None) if self.first else (lambda: done.append(work())))
        return done[0]

    def any(self, flag: bool) -> bool:
        """Whether it holds in some process."""
        return any(self.gather(flag))

    def deal(self, batches: Sequence[Batch]) -> tuple[list[int], list[int]]:
        """Which of an update's forwards are this process's, in their order, and which it makes besides, where processes
        keep step and others have more: they are the lightest one, and do not count."""
        parts = dealt([batch.tokens for batch in batches], self.size)
        mine = parts[self.rank]
        if not self.in_step or not batches:
            return mine, []
        lightest = min(range(len(batches)), key=lambda i: batches[i].tokens)
        return mine, [lightest] * (max(len(part) for part in parts) - len(mine))

    def every_nth(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, bool]]:
        """This process's forwards of a stream, and whether each counts: where processes keep step and the stream does
        not come out even, it ends in one that does not."""
        number, batch = 0, None
        for number, batch in enumerate(batches, 1):
            if (number - 1) % self.size == self.rank:
                yield batch, True
        if self.in_step and batch is not None and 0 < number % self.size <= self.rank:
            yield batch, False

    def merged(self, found: dict[K, T]) -> dict[K, T]:
        """What the processes found between them."""
        return {key: value for part in self.gather(found) for key, value in part.items()}

    def summed(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sums over the processes by name, in the order of ranks, so that all get the same numbers."""
        if self.size == 1:
            return dict(values)
        totals: dict[str, float] = {}
        for part in self.gather(dict(values)):
            for name, value in part.items():
                totals[name] = totals.get(name, 0.0) + value
        return totals

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Add the gradients of all processes up, in buckets. A tensor without a gradient in any has none after it.
        Those of shards are added up already.

        Raises:
            Elsewhere: a process is gone.
        """
        if self.size == 1 or self.in_step:
            return
        mine = np.array([p.grad is not None for p in parameters])
        wanted = np.logical_or.reduce(self.gather(mine))
        grads: list[torch.Tensor] = []
        for parameter, want in zip(parameters, wanted, strict=True):
            if want and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if want and parameter.grad is not None:
                grads.append(parameter.grad)
        for bucket in _buckets(grads):
            flat = torch.cat([grad.reshape(-1) for grad in bucket])
            try:
                dist.all_reduce(flat)
            except RuntimeError as error:
                raise lost(error) from error
            for grad, summed in zip(bucket, torch.split(flat, [grad.numel() for grad in bucket]), strict=True):
                grad.copy_(summed.view_as(grad))

    def require_equal(self, what: str, value: Mapping[str, str]) -> None:
        """Stop where processes that must agree do not.

        Raises:
            BadInput: naming what differs, in all processes.
        """
        every = self.gather(dict(value))
        differing = sorted({key for one in every for key in one if one[key] != every[0].get(key)})
        if differing:
            raise BadInput(
                f"the training processes do not have the same {what}: {', '.join(differing)}",
                found="; ".join(f"process {rank + 1}: {one.get(differing[0])}" for rank, one in enumerate(every))[:500],
                next_step="start all of them with the same recipe, files, packages and kind of device",
            )

    def seed(self, seed: int, step: int) -> None:
        """Where several processes train, what they draw (dropout) follows from seed, step and rank, so that a resumed
        run draws the same. One process keeps the state of its generator instead."""
        if self.size > 1:
            torch.manual_seed(int(np.random.Generator(np.random.PCG64([seed, step, self.rank, 3])).integers(2**62)))


def here() -> Ranks:
    """This process among those it trains with; alone where `join` was not called or found nobody."""
    if not dist.is_available() or not dist.is_initialized():
        return Ranks()
    return Ranks(dist.get_rank(), dist.get_world_size(), _step.get(dist.group.WORLD, False))


def keep_step(flag: bool) -> Ranks:
    """Say whether the processes hold shards of one model from now on, and so make every forward together."""
    _step.clear()
    if dist.is_available() and dist.is_initialized():
        _step[dist.group.WORLD] = flag
    return here()


def join(device: str) -> Ranks:
    """Meet the other processes that a launcher started, once; `device`: `auto`, `cpu` or `cuda`.

    Raises:
        BadInput: the launcher does not say what is needed. Unavailable: there are fewer GPUs than processes on this
            machine, or the others cannot be reached.
    """
    if not launched() or dist.is_initialized():
        return here()
    backend = "gloo"
    if device != "cpu" and torch.cuda.is_available():
        local, beside = local_rank(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        if max(beside, local + 1) > torch.cuda.device_count():
            raise Unavailable(
                "there are fewer GPUs than training processes on this machine",
                found=f"{torch.cuda.device_count()} GPUs, {beside} processes",
                next_step="start as many processes as there are GPUs",
            )
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    try:
        dist.init_process_group(backend, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise Unavailable(
            "the other training processes could not be reached",
            found=str(error)[:300],
            next_step="look at MASTER_ADDR and MASTER_PORT, and at what the launcher says of the other machines",
        ) from error
    return here()


def leave() -> None:
    """Have no more to do with the other processes; `join` would meet them again."""
    _control.clear()
    _step.clear()
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def fingerprint(parameters: Iterable[tuple[str, torch.Tensor]]) -> dict[str, str]:
    """Of each tensor a sum over its bits, which no order of adding changes: equal weights have equal sums."""
    kinds = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return {
        name: str(int(tensor.detach().view(kinds[tensor.element_size()]).sum(dtype=torch.int64)))
        for name, tensor in parameters
    }


def control() -> Any:
    """The group for Python values, which go over the CPU whatever the gradients go over."""
    whole = dist.group.WORLD
    if whole not in _control:
        _control.clear()
        _control[whole] = dist.new_group(backend="gloo", timeout=PATIENCE)
    return _control[whole]


def lost(error: Exception) -> GoldsmithError:
    """What the end of another process looks like from here."""
    found = Elsewhere(
        "another training process is gone",
        found=str(error).splitlines()[0][:200],
        next_step="see what it said last; the last checkpoint is kept, and the same command goes on from it",
    )
    found.gone = True
    return found


def _buckets(tensors: Sequence[torch.Tensor]) -> Iterable[list[torch.Tensor]]:
    bucket: list[torch.Tensor] = []
    for tensor in tensors:
        if bucket and (sum(one.numel() for one in bucket) + tensor.numel() > BUCKET or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
