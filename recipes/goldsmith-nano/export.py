"""Writes the finished model where the package ships it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerBase

DIGESTS = "SHA256SUMS"


def export(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
    """Write weights (float32), tokenizer, template and generation settings, and the digests of all files."""
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
        max_new_tokens=160,
    )
    model.eval()
    model.save_pretrained(out)
    tokenizer.padding_side = "right"
    tokenizer.save_pretrained(out)
    settings = out / "tokenizer_config.json"
    # How the tokenizer was loaded for training is of no interest to its users.
    kept = {
        k: v for k, v in json.loads(settings.read_text("utf-8")).items() if k not in ("is_local", "local_files_only")
    }
    settings.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    for file in out.iterdir():
        file.chmod(0o644)
    digest_lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}"
        for file in sorted(out.iterdir())
        if file.is_file() and file.name not in (DIGESTS, "README.md")
    ]
    (out / DIGESTS).write_text("\n".join(digest_lines) + "\n", encoding="utf-8")
