"""Machines: the GPUs people have, as their makers state them, and this one."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Machine:
    """`memory`: bytes of one device; `tflops`: bfloat16 matrix products without sparsity, float32 on a CPU; None where
    it is not known. `source`: who says so."""

    name: str
    device: Literal["cpu", "cuda"]
    memory: int
    tflops: float | None
    source: str


def _gpu(name: str, gib: float, tflops: float, source: str) -> Machine:
    return Machine(name, "cuda", int(gib * GIB), tflops, source)


GPUS = (
    _gpu("RTX 3090", 24, 71, "NVIDIA GA102 whitepaper, table 5"),
    _gpu("RTX 4090", 24, 165, "NVIDIA Ada whitepaper, appendix A"),
    _gpu("RTX 5090", 32, 210, "NVIDIA RTX Blackwell whitepaper, appendix A"),
    _gpu("A10", 24, 125, "NVIDIA A10 datasheet"),
    _gpu("L4", 24, 121, "NVIDIA L4 datasheet (242 with sparsity)"),
    _gpu("RTX A6000", 48, 155, "NVIDIA RTX A6000 datasheet (310 with sparsity)"),
    _gpu("L40S", 48, 362, "NVIDIA L40S datasheet"),
    _gpu("A100 40 GB", 40, 312, "NVIDIA A100 datasheet"),
    _gpu("A100 80 GB", 80, 312, "NVIDIA A100 datasheet"),
    _gpu("H100 SXM 80 GB", 80, 989, "NVIDIA H100 datasheet (1,979 with sparsity)"),
    _gpu("H200 141 GB", 141, 989, "NVIDIA H200 datasheet (1,979 with sparsity)"),
    _gpu("B200 180 GB", 180, 2250, "NVIDIA DGX B200 datasheet (36 PFLOPS for 8, with sparsity)"),
    _gpu("MI300X", 192, 1307, "AMD MI300X data sheet"),
)
"""What the makers state. Cards that have no bfloat16 (T4, V100) are left out."""


def detect() -> list[Machine]:
    """This machine: its GPUs, and its CPU with the memory that this process may use."""
    found: list[Machine] = []
    try:
        import torch

        for place in range(torch.cuda.device_count()):
            held = torch.cuda.get_device_properties(place)
            known = next((g for g in GPUS if g.name.split()[0] in held.name), None)
            found.append(Machine(held.name, "cuda", held.total_memory, known.tflops if known else None, "this machine"))
    except (ImportError, RuntimeError):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    name = f"{platform.processor() or platform.machine()} CPU, {cores} cores"
    return [*found, Machine(name, "cpu", memory_here(), None, "this machine")]


def memory_here() -> int:
    """Bytes this process may use: the machine's, or its control group's where that is less."""
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(file).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            whole = min(whole, int(text))
    return whole


def cpu_tflops(seconds: float = 0.3) -> float:
    """float32 TFLOPS of matrix products here, measured in CPU time so that a busy machine does not hide them."""
    import time

    import torch

    a = torch.randn(512, 512)
    a @ a
    start, done = time.process_time(), 0
    while time.process_time() - start < seconds:
        a @ a
        done += 1
    used = time.process_time() - start
    return 2 * 512**3 * done / used * torch.get_num_threads() / 1e12
