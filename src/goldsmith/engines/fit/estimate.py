"""Memory by part and time of a training run, from what the simulation counted. Pure functions; bytes and seconds."""

from collections.abc import Mapping
from dataclasses import dataclass

from goldsmith.engines.fit.hardware import GIB, Machine
from goldsmith.engines.fit.simulate import Counts, Simulated
from goldsmith.engines.training.scale.parallel import BUCKET

CPU_OVERHEAD = {"full": 75 * 2**20, "adapter": 115 * 2**20}
"""What a process on a CPU holds beyond its tensors at the peak: kernels' scratch and small blocks. Measured
(benchmarks/fit.py, the fitted cases)."""
CUDA_CONTEXT = GIB
"""What the driver and its libraries take in a process: 750 to 790 MiB on an H200 (benchmarks/fit.py --device cuda)."""
CUDA_FRAGMENTS = 0.03
"""Share of the tensors' bytes that the allocator holds and nobody uses, in segments that grow: 0 to 5 % on an H100 (the
same)."""
SERVING_FRAGMENTS = 0.10
"""That share where segments do not grow. Not measured while serving."""
MFU = {"cpu": (0.25, 0.7), "cuda": (0.2, 0.45)}
"""Model FLOPs as a share of what matrix products reach alone: of this machine's own 512 x 512 products on a CPU, of
the maker's figure on a GPU. A stated range, not measured here."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by part. `head`: logits in chunks, the head's gradients, and what the backward pass holds in flight.
    `writer`: what an engine beside the trainer takes for itself."""

    weights: int
    optimiser: int
    gradients: int
    activations: int
    head: int
    cache: int
    overhead: int
    writer: int = 0

    @property
    def total(self) -> int:
        return sum(self.parts().values())

    def parts(self) -> dict[str, int]:
        """By name, in order."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Sharing:
    """Several devices that train one model together: each holds it whole, or as one of its `shards` (FSDP2)."""

    devices: int = 1
    shards: bool = False


ALONE = Sharing()


def memory_of(
    run: Simulated, *, device: str, sharing: Sharing = ALONE, sampling: int = 0, reference: int = 0, writer: int = 0
) -> Memory:
    """The worst moment of a run on one device, by part: in a backward pass, or where `sampling` bytes of keys, values
    and logits come on top of weights and optimiser, there. `reference`: a copy of the weights that is kept."""
    rest = max(0, run.peak - run.weights - run.optimiser)
    activations = min(run.activations, rest)
    gradients = min(run.gradients, rest - activations)
    head = rest - activations - gradients
    weights, optimiser = run.weights + reference, run.optimiser
    if sharing.shards:
        share = sharing.devices
        sampling += run.weights - run.weights // share if sampling else 0  # whole while answers are written
        weights, optimiser, gradients = -(-weights // share), -(-optimiser // share), -(-gradients // share)
        # what is gathered: a layer and the next one, what is in none, and their gradients until they are dealt out
        head += 2 * run.layer + run.rest + run.layer_gradients + run.rest_gradients
    elif sharing.devices > 1:
        head = max(head, min(run.gradients, 4 * BUCKET))  # gradients are summed in buckets once activations are gone
    cache = max(0, sampling - activations - gradients - head)
    if cache:
        activations, gradients, head, cache = 0, 0, 0, sampling
    tensors = weights + optimiser + gradients + activations + head + cache
    if device == "cpu":
        overhead = CPU_OVERHEAD["adapter" if run.counts.trained < run.counts.parameters // 2 else "full"]
    else:
        overhead = int(CUDA_FRAGMENTS * tensors) + CUDA_CONTEXT
    return Memory(weights, optimiser, gradients, activations, head, cache, overhead, writer)


def cache_bytes(counts: Counts, tokens: int, *, bytes_each: int = 2) -> int:
    """Keys and values of `tokens` tokens of all layers."""
    return 2 * counts.layers * counts.kv_heads * counts.head_dim * bytes_each * tokens


def serving_bytes(counts: Counts, *, context: int, answers: int, device: str, bits: int = 16) -> int:
    """Weights and the cache of `answers` conversations of `context` tokens; float32 on a CPU, as `goldsmith serve`."""
    each = 4.0 if device == "cpu" else bits / 8
    tensors = counts.parameters * each + cache_bytes(counts, context * answers, bytes_each=4 if device == "cpu" else 2)
    if device == "cpu":
        return int(tensors) + CPU_OVERHEAD["full"]
    return int(tensors * (1 + SERVING_FRAGMENTS)) + CUDA_CONTEXT


def flops_of(
    counts: Counts, *, tokens: int, labels: int, mean_context: float, adapter: bool, checkpointing: bool, extra: int = 0
) -> float:
    """Floating-point operations of training on `tokens` tokens of which `labels` are learned.

    Forward 2, gradients of activations 2, of weights 2 (of a frozen base none) for each weight and token; the head at
    labels alone; attention 4 x hidden x context for each layer and token, thrice with its backward pass. `extra`:
    tokens that are only read (a reference model's).
    """
    body = max(0, counts.active - counts.embeddings)
    passes = (2 + (2 if adapter else 4)) + (2 if checkpointing else 0)
    attention = 4 * counts.hidden * counts.layers * mean_context / 2
    head = counts.vocabulary * counts.hidden
    read = extra * (2 * body + attention)
    return tokens * (passes * body + attention * passes / 2) + labels * head * (4 if adapter else 6) + read


def seconds_of(flops: float, machine: Machine, tflops: float | None = None) -> tuple[float, float] | None:
    """From the best to the worst of the machine's range; None where its speed is not known."""
    speed = machine.tflops if tflops is None else tflops
    if not speed:
        return None
    low, high = MFU[machine.device]
    return flops / (speed * 1e12 * high), flops / (speed * 1e12 * low)


def as_dict(memory: Memory) -> Mapping[str, int]:
    """Parts and total, bytes."""
    return {**memory.parts(), "total": memory.total}
