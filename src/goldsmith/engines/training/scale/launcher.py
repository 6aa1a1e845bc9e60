"""What the launcher that started this process says of itself in the environment, and whether that can be followed.

torchrun and accelerate launch set `WORLD_SIZE`, `RANK`, `LOCAL_RANK`, `MASTER_ADDR` and `MASTER_PORT` for each process
they start. What accelerate is asked to do to a model beyond that is the recipe's to say here.
"""

import os

from goldsmith.types.errors import BadInput

NEEDED = ("RANK", "MASTER_ADDR", "MASTER_PORT")
HOW = "start it with torchrun --nproc-per-node N --no-python goldsmith run ..., or with goldsmith run --processes N"

_WRAPPERS = {
    "ACCELERATE_USE_FSDP": ("--use_fsdp", "set parallel.shard to full in the recipe"),
    "ACCELERATE_USE_DEEPSPEED": ("--use_deepspeed", "set parallel.shard to full in the recipe"),
    "ACCELERATE_USE_MEGATRON_LM": ("--use_megatron_lm", "set parallel.shard to full in the recipe"),
    "ACCELERATE_USE_PARALLELISM_CONFIG": ("--use_parallelism_config", "set parallel.shard to full in the recipe"),
}
_PRECISIONS = {"bf16": ("bfloat16", "bfloat16_mixed")}


def launched() -> bool:
    """Whether a launcher started several of this process.

    Raises:
        BadInput: it did not say what processes need to find each other, or started one where several were asked for.
    """
    size = os.environ.get("WORLD_SIZE")
    if size is None:
        if "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_ADDR" in os.environ:
            raise BadInput(
                "accelerate launch was asked for several processes, but has started one and told it of no others",
                where="WORLD_SIZE",
                found="not set: accelerate starts one process on CPUs unless it is given mpirun",
                allowed="several GPUs (--multi_gpu), or another launcher",
                next_step=HOW,
            )
        return False
    if not size.isdecimal() or int(size) < 1:
        raise BadInput("WORLD_SIZE is no number of processes", where="WORLD_SIZE", found=size[:100], next_step=HOW)
    if int(size) == 1:
        return False
    if missing := [name for name in NEEDED if not os.environ.get(name)]:
        raise BadInput(
            f"WORLD_SIZE speaks of {size} processes, but not all is set that they need to meet",
            where="environment",
            found=f"{', '.join(missing)} not set",
            allowed=f"WORLD_SIZE with {', '.join(NEEDED)}",
            next_step=f"{HOW}; or unset WORLD_SIZE for one process",
        )
    port = os.environ["MASTER_PORT"]
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise BadInput(
            "MASTER_PORT is no port that processes can meet at",
            where="MASTER_PORT",
            found=port[:100],
            allowed="1 to 65535",
            next_step=HOW,
        )
    rank = os.environ["RANK"]
    if not rank.isdecimal() or int(rank) >= int(size):
        raise BadInput(
            "RANK is none of WORLD_SIZE's",
            where="RANK",
            found=rank[:100],
            allowed=f"0 to {int(size) - 1}",
            next_step=HOW,
        )
    return True


def local_rank() -> int:
    """Which of this machine's processes, and so which of its GPUs.

    Raises:
        BadInput: the launcher does not say, so that all would take the first GPU.
    """
    rank = os.environ.get("LOCAL_RANK", "")
    if not rank.isdecimal():
        raise BadInput(
            "the launcher does not say which GPU is this process's",
            where="LOCAL_RANK",
            found=rank[:100] or "not set",
            next_step=HOW,
        )
    return int(rank)


def require_followable(precision: str) -> None:
    """Nothing was asked of accelerate that would be passed over in silence here.

    Raises:
        BadInput: naming the option.
    """
    for name, (option, instead) in _WRAPPERS.items():
        if os.environ.get(name, "").lower() in ("true", "1", "yes"):
            raise BadInput(
                f"accelerate was launched with {option}, which goldsmith does not follow",
                where=name,
                found=os.environ[name],
                allowed="accelerate launch --num_processes N, and nothing that wraps the model",
                next_step=f"leave {option} out (also of accelerate's config file); {instead}",
            )
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    if asked != "no" and precision not in _PRECISIONS.get(asked, ()):
        raise BadInput(
            "accelerate was launched with another precision than the recipe's",
            where="ACCELERATE_MIXED_PRECISION",
            found=f"{asked}; the recipe's precision is {precision}",
            allowed="no, or bf16 where the recipe's precision is bfloat16 or bfloat16_mixed",
            next_step="launch with --mixed_precision no, and set precision in the recipe",
        )
    backend = os.environ.get("ACCELERATE_DYNAMO_BACKEND", "no")
    if backend.lower() != "no":
        raise BadInput(
            "accelerate was launched with torch.compile, which goldsmith does not follow",
            where="ACCELERATE_DYNAMO_BACKEND",
            found=backend,
            next_step="launch with --dynamo_backend no, and set compile in the recipe",
        )
