"""A model as one GGUF file for llama.cpp, read back and compared with the model it was made from."""

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from goldsmith.engines.chat import open_chat
from goldsmith.engines.exporting.gguf_forms import Metadata, form_of, metadata_of, tensors_of
from goldsmith.engines.exporting.gguf_tokenizer import tokenizer_metadata
from goldsmith.engines.training.model.loading import load_model
from goldsmith.trust.durable import storage_errors
from goldsmith.types.errors import BadInput, GateRefused, Unavailable

Kind = Literal["f32", "f16", "bf16", "q8_0"]
FILE_TYPES: dict[Kind, int] = {"f32": 0, "f16": 1, "bf16": 32, "q8_0": 7}
"""llama.cpp's numbers for what most tensors of a file are."""
BLOCK = 32
"""Weights that share a scale in Q8_0."""


@dataclass(frozen=True, slots=True)
class Written:
    """`notes`: what llama.cpp will do otherwise, or must be told."""

    path: Path
    arch: str
    kind: Kind
    tensors: int
    size: int
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "architecture": self.arch,
            "kind": self.kind,
            "tensors": self.tensors,
            "bytes": self.size,
            "notes": list(self.notes),
        }


def require_package() -> Any:
    """llama.cpp's `gguf`. Raises Unavailable naming the extra."""
    try:
        import gguf
    except ImportError as error:
        raise Unavailable(
            "GGUF files are written by llama.cpp's package gguf, which is not installed",
            next_step="pip install 'goldsmith[gguf]'",
        ) from error
    return gguf


def export_gguf(folder: Path, out: Path, *, kind: Kind = "f16", name: str = "", split: str | None = None) -> Written:
    """Write the whole model in `folder` to the file `out`.

    Every tensor and key is read back and compared. What only llama.cpp can tell (that it computes the same) is not
    checked here.

    Raises:
        BadInput: an architecture or tokenizer that is not written, or a file that is there.
        GateRefused: what was read back is not what was to be written; no file is left.
        Unavailable: no gguf package, no model there, a full disk.
    """
    gguf = require_package()
    if out.exists():
        raise BadInput("there is a file already", where=str(out), next_step="name a new one")
    model = load_model(folder)
    form = form_of(model.config)
    arch = gguf.MODEL_ARCH_NAMES[getattr(gguf.MODEL_ARCH, form.arch)]
    notes: list[str] = []
    rows = int(model.get_input_embeddings().weight.shape[0])
    keys: Metadata = {
        "general.name": name or folder.name,
        "general.file_type": FILE_TYPES[kind],
        "general.quantization_version": gguf.GGML_QUANT_VERSION,
    }
    keys |= metadata_of(model.config, arch, notes) | tokenizer_metadata(open_chat(folder), rows, notes, split)
    partial = out.with_name(f".{out.name}.{secrets.token_hex(4)}.partial")
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(gguf, partial, arch, keys, _encoded(gguf, tensors_of(model, form), kind))
            count = _verify(gguf, partial, arch, keys, tensors_of(model, form))
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(partial, out)
        finally:
            partial.unlink(missing_ok=True)
    return Written(out, arch, kind, count, out.stat().st_size, tuple(notes))


def _type(gguf: Any, name: str, tensor: torch.Tensor, kind: Kind) -> Any:
    """Vectors, norms and routers stay float32, as llama.cpp wants them; a row that is no whole block, float16."""
    kinds = gguf.GGMLQuantizationType
    if tensor.ndim < 2 or "_norm" in name or "ffn_gate_inp" in name or kind == "f32":
        return kinds.F32
    if kind == "q8_0":
        return kinds.Q8_0 if tensor.shape[-1] % BLOCK == 0 else kinds.F16
    return kinds.F16 if kind == "f16" else kinds.BF16


def _encoded(gguf: Any, tensors: Iterator[tuple[str, torch.Tensor]], kind: Kind) -> Iterator[tuple[str, Any, Any]]:
    for name, tensor in tensors:
        values = np.ascontiguousarray(tensor.detach().float().cpu().numpy())
        wanted = _type(gguf, name, tensor, kind)
        if wanted == gguf.GGMLQuantizationType.F16 and np.abs(values).max(initial=0) > np.finfo(np.float16).max:
            raise BadInput("a weight is too large for float16", found=name, next_step="write bf16 or f32")
        yield name, gguf.quants.quantize(values, wanted), wanted


def _write(gguf: Any, path: Path, arch: str, keys: Metadata, tensors: Iterator[tuple[str, Any, Any]]) -> None:
    writer = gguf.GGUFWriter(path, arch, use_temp_file=False)
    try:
        for key, value in keys.items():
            _add(writer, key, value)
        for name, data, wanted in tensors:
            writer.add_tensor(name, data, raw_dtype=wanted)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _add(writer: Any, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


# ---- reading back ------------------------------------------------------------------------------------------------


def _verify(gguf: Any, path: Path, arch: str, keys: Metadata, tensors: Iterator[tuple[str, torch.Tensor]]) -> int:
    """How many tensors the file holds, all of them right.

    Raises:
        GateRefused: naming the first key or tensor that is not.
    """
    reader = gguf.GGUFReader(path)
    for key, value in {"general.architecture": arch, **keys}.items():
        field = reader.get_field(key)
        found = None if field is None else field.contents()
        if not _same(found, value):
            raise _wrong(f"the key {key}", repr(found)[:80], repr(value)[:80])
    there = {tensor.name: tensor for tensor in reader.tensors}
    count = 0
    for name, tensor in tensors:
        count += 1
        if name not in there:
            raise _wrong(f"the tensor {name}", "nothing", str(tuple(tensor.shape)))
        found = gguf.quants.dequantize(there[name].data, there[name].tensor_type)
        _require_equal(name, found, tensor.detach().float().cpu().numpy(), there[name].tensor_type.name)
    if count != len(there):
        raise _wrong("the tensors", f"{len(there)}", f"{count}")
    return count


def _same(found: Any, value: Any) -> bool:
    if isinstance(value, float):
        return isinstance(found, float) and np.float32(found) == np.float32(value)
    if isinstance(value, list) and value and isinstance(value[0], float):
        return bool(np.array_equal(np.array(found, np.float32), np.array(value, np.float32)))
    return bool(found == value) and isinstance(found, bool) == isinstance(value, bool)


def _require_equal(name: str, found: np.ndarray, wanted: np.ndarray, kind: str) -> None:
    if found.shape != wanted.shape:
        raise _wrong(f"the tensor {name}", str(found.shape), str(wanted.shape))
    if kind == "F32":
        right = np.array_equal(found, wanted)
    elif kind == "F16":
        right = np.array_equal(found, wanted.astype(np.float16).astype(np.float32))
    elif kind == "BF16":
        right = np.array_equal(found, torch.from_numpy(wanted).to(torch.bfloat16).float().numpy())
    else:  # a block's step is its largest weight / 127, kept in float16; rounding costs half a step
        blocks = np.abs(wanted.reshape(-1, BLOCK))
        off = np.abs(found - wanted).reshape(-1, BLOCK).max(1)
        right = bool((off <= blocks.max(1) * (0.5 / 127 + 1e-3) + 1e-7).all())
    if not right:
        raise _wrong(f"the tensor {name} ({kind})", f"differs by {np.abs(found - wanted).max():.2e}", "equal values")


def _wrong(what: str, found: str, wanted: str) -> GateRefused:
    return GateRefused(
        f"{what} did not come back from the file as it was written",
        found=found,
        allowed=wanted,
        next_step="report this: no file was left",
    )
