"""Adapters: merged alone, and several over one base in memory."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from goldsmith.engines.sampler import LocalAnswerer
from goldsmith.engines.sampling.loading import load_family
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Message, Role, TextPart

PROMPT: Any = ([Message(role=Role.USER, parts=(TextPart(text="What is two plus two?"),))], ())


def adapter(base: Path, folder: Path, seed: int) -> Path:
    """An adapter that changes what the base writes."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False),
    )
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapters(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("adapters")
    return {name: adapter(tiny_base, root / name, seed) for seed, name in enumerate(("red", "blue"))}


def written(model: LocalAnswerer) -> str:
    with model:
        return model.answer([PROMPT], max_new_tokens=16)[0].text


def test_a_family_writes_what_each_adapter_writes_merged(tiny_base: Path, adapters: dict[str, Path]) -> None:
    base = written(LocalAnswerer(tiny_base))
    merged = {name: written(LocalAnswerer(tiny_base, folder)) for name, folder in adapters.items()}
    assert len({base, *merged.values()}) == 3, "the adapters must change what is written"
    named = written(LocalAnswerer(adapters["red"]))  # the base that the adapter names
    assert named == merged["red"]
    family = LocalAnswerer.family(tiny_base, adapters)
    for _ in range(2):  # switching back and forth leaves nothing behind
        assert {name: model.answer([PROMPT], max_new_tokens=16)[0].text for name, model in family.items()} == merged
    bare = LocalAnswerer(family["red"].backbone)
    assert bare.answer([PROMPT], max_new_tokens=16)[0].text == base
    both = [model.answer([PROMPT] * 2, max_new_tokens=16) for model in family.values()]
    assert [answers[1].text for answers in both] == list(merged.values())
    for model in (*family.values(), bare):
        model.close()


def test_an_adapter_over_the_wrong_base_is_refused(tiny: Any, tiny_base: Path, tmp_path: Path) -> None:
    folder = adapter(tiny_base, tmp_path / "adapter", 0)
    (folder / "goldsmith.json").write_text(json.dumps({"base_digest": "sha256:" + "0" * 64}))
    with pytest.raises(BadInput, match="trained on another base"):
        LocalAnswerer(tiny_base, folder)


def test_an_adapter_with_another_template_cannot_share_a_base(
    tiny: Any, tiny_base: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    folder = adapter(tiny_base, tmp_path / "adapter", 0)
    tiny.tokenizer(tiny.tagged_template).save_pretrained(folder)
    with pytest.raises(BadInput, match="another tokenizer or chat template"):
        load_family(tiny_base, {**adapters, "other": folder})


def test_an_unknown_adapter_name_is_refused(tiny_base: Path, adapters: dict[str, Path]) -> None:
    backbone = load_family(tiny_base, adapters)
    with pytest.raises(BadInput, match="no adapter of this name") as refused:
        LocalAnswerer(backbone, "green")
    assert refused.value.allowed == "blue, red"
