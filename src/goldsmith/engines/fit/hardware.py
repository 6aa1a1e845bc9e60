"""Machines: the GPUs people have, as their makers state them, and this one."""

import itertools
import os
import platform
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Machine:
    """`memory`: bytes of one device; `tflops`: bfloat16 matrix products without sparsity, float32 on a CPU; None where
    it is not known or nobody states it. `source`: who says so."""

    name: str
    device: Literal["cpu", "cuda"]
    memory: int
    tflops: float | None
    source: str


def _gpu(name: str, mib: int, tflops: float | None, source: str) -> Machine:
    return Machine(name, "cuda", mib * 2**20, tflops, source)


_NVIDIA = "https://www.nvidia.com/en-us/data-center"
_GA102 = "https://www.nvidia.com/content/PDF/nvidia-ampere-ga-102-gpu-architecture-whitepaper-v2.1.pdf"
_A100 = (
    "https://images.nvidia.com/aem-dam/en-zz/Solutions/data-center/nvidia-ampere-architecture-whitepaper.pdf, table 4"
)
GPUS = (
    _gpu("RTX 3060", 12288, None, "NVIDIA states no bfloat16 figure for it"),
    _gpu("T4", 15360, None, "Turing: no bfloat16 units (NVIDIA T4 datasheet: float16, 65)"),
    _gpu("L4", 23034, 121, f"{_NVIDIA}/l4 (242 with sparsity)"),
    _gpu("A10", 23028, 125, "https://www.nvidia.com/content/dam/en-zz/Solutions/Data-Center/a10/pdf/a10-datasheet.pdf"),
    _gpu("RTX 3090", 24576, 71, f"{_GA102}, peak BF16 with FP32 accumulate"),
    _gpu("RTX 4090", 24564, 165.2, "NVIDIA Ada GPU architecture whitepaper 2.1, appendix A"),
    _gpu("RTX 5090", 32607, 209.5, "NVIDIA RTX Blackwell GPU architecture whitepaper, appendix A"),
    _gpu("A100 40 GB", 40960, 312, _A100),
    _gpu("L40S", 46068, 362, f"{_NVIDIA}/l40s (733 with sparsity)"),
    _gpu("RTX A6000", 49140, 154.8, f"{_GA102}, table 3"),
    _gpu("H100 SXM 80 GB", 81559, 989, f"{_NVIDIA}/h100 (1,979 with sparsity)"),
    _gpu("A100 80 GB", 81920, 312, _A100),
    _gpu("H200 141 GB", 143771, 989, f"{_NVIDIA}/h200 (1,979 with sparsity)"),
    _gpu("B200 180 GB", 183359, 2250, "NVIDIA Blackwell datasheet 3384703 (4,500 with sparsity)"),
    _gpu("MI300X", 196608, 1307.4, "AMD Instinct MI300X data sheet"),
)  # fmt: skip
"""Speed as the makers state it; memory as `nvidia-smi` prints it where it does (of an L4's 24 GB, error correction
leaves 22.5 GiB), of AMD's as it states it."""


def known_gpu(name: str, memory: int) -> Machine | None:
    """The table's row for a card that calls itself so; of two sizes the nearer."""
    words = re.split(r"[\s-]+", name.upper())
    runs = {*words, *(" ".join(pair) for pair in itertools.pairwise(words))}
    alike = [one for one in GPUS if _chip(one) in runs]
    return min(alike, key=lambda one: abs(one.memory - memory), default=None)


def _chip(one: Machine) -> str:
    """What a card of this row calls itself: without the form and the size."""
    return re.sub(r"( SXM)?( \d+ GB)?$", "", one.name).upper()


def detect() -> list[Machine]:
    """This machine: its GPUs, and its CPU with the memory that this process may use."""
    found: list[Machine] = []
    try:
        import torch

        for place in range(torch.cuda.device_count()):
            held = torch.cuda.get_device_properties(place)
            known = known_gpu(held.name, held.total_memory)
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


@lru_cache(maxsize=1)
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
