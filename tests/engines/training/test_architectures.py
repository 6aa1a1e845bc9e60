"""Each architecture with its kind of chat template: what is trained, packed equals alone, a shared prompt equals its
copies, and one step of the driver equals a step of plain transformers."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from goldsmith_test_records import answered, said

from goldsmith.engines.chat import Chat, open_chat
from goldsmith.engines.training.data.batches import flat_batch
from goldsmith.engines.training.data.rows import Row, from_comparison, from_conversation
from goldsmith.engines.training.driver import TrainingJob, run_training
from goldsmith.engines.training.guards import self_test
from goldsmith.engines.training.guards.self_test import choose_way
from goldsmith.engines.training.model.policy import Policy
from goldsmith.methods.sft import Sft
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Comparison, Conversation, Message, Record, Role, ToolCallPart, ToolSchema

ADD = ToolSchema(
    name="add", definition='{"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}'
)


def conversations(n: int = 6) -> list[Record]:
    return [answered(f"What is {'two plus ' * (1 + i % 5)}two?", f"It is {i}.") for i in range(n)]


def rows_of(chat: Chat) -> list[Row]:
    """Conversations of several lengths, and a comparison whose prompt is shared."""
    plain = [
        from_conversation(chat.encode_conversation(record.content), f"r{i}", f"r{i}")
        for i, record in enumerate(conversations(3))
        if isinstance(record.content, Conversation)
    ]
    pair = Comparison(
        prompt=(said("user", "What is two plus two? The quick brown fox."),),
        chosen=(said("assistant", "It is four."),),
        rejected=(said("assistant", "No, maybe six or five."),),
    )
    return [*plain, from_comparison(chat.encode_comparison(pair), "pair", "pair")]


def trained_text(chat: Chat, *messages: Message, tools: tuple[ToolSchema, ...] = ()) -> str:
    encoded = chat.encode_conversation(Conversation(messages=messages, tools=tools))
    return str(chat.tokenizer.decode(encoded.input_ids[encoded.trained].tolist(), skip_special_tokens=False))


def policy_of(families: ModuleType, family: str, **changes: Any) -> Policy:
    one = families.FAMILIES[family]
    tokenizer = families.tokenizer_of(one)
    model = families.model_of(one, tokenizer, **changes)
    chat = Chat(tokenizer, [tokenizer.convert_tokens_to_ids(t) for t in one.eos_ids])
    return Policy(model.train(), chat, Sft(), "unused")


def test_an_answer_is_trained_with_its_stop_token(families: ModuleType, family: str) -> None:
    one = families.FAMILIES[family]
    chat = policy_of(families, family).chat
    asked, answered = said("user", "What is two plus two?"), said("assistant", "It is four.")
    assert trained_text(chat, asked, answered) == one.turn
    two = (asked, answered, said("user", "And one more?"), said("assistant", "It is five."))
    if one.several:
        assert trained_text(chat, *two) == one.turn + one.turn.replace("four", "five")
    else:
        with pytest.raises(BadInput, match=r"rewrites earlier text|does not end in a token"):
            trained_text(chat, *two)
    last = (asked, said("assistant", "It is four.", trained=False), *two[2:])
    assert trained_text(chat, *last) == one.turn.replace("four", "five")


def test_a_call_is_trained_as_the_family_writes_it(families: ModuleType, calling_family: str) -> None:
    one = families.FAMILIES[calling_family]
    chat = policy_of(families, calling_family).chat
    call = Message(role=Role.ASSISTANT, parts=(ToolCallPart(id=None, name="add", arguments='{"a": 2, "b": 2}'),))
    assert trained_text(chat, said("user", "Add two and two."), call, tools=(ADD,)) == one.call


def test_packed_equals_alone_and_shared_equals_copies(families: ModuleType, family: str) -> None:
    policy = policy_of(families, family)
    data = rows_of(policy.chat)
    facts = choose_way(policy, data, 256)
    assert facts["batching"] == families.FAMILIES[family].way, facts
    packed = policy.logprobs(flat_batch(data, range(len(data)), share=policy.shares))
    weights = torch.linspace(-1, 1, len(packed))
    found = torch.autograd.grad((packed * weights).sum(), [p for _, p in policy.trainable()], allow_unused=True)
    policy.take("padded")  # the model's own attention
    alone = torch.cat([self_test._alone(policy, row) for row in data])
    wanted = torch.autograd.grad((alone * weights).sum(), [p for _, p in policy.trainable()], allow_unused=True)
    torch.testing.assert_close(packed, alone, rtol=1e-4, atol=2e-4)
    for (name, _), mine, theirs in zip(policy.trainable(), found, wanted, strict=True):
        if theirs is None:
            assert mine is None, name
            continue
        scale = float(theirs.abs().max())
        torch.testing.assert_close(mine, theirs, rtol=2e-3, atol=2e-4 * max(scale, 1.0), msg=name)


def test_one_step_equals_plain_transformers(families: ModuleType, family: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    base = families.save(family, tmp_path / "base")
    records = conversations()
    job = TrainingJob(
        Sft(learning_rate=1e-3, batch_size=6, max_steps=1, warmup_share=0.0, max_grad_norm=0.0),
        str(base),
        records,
        tmp_path / "out",
        tmp_path / "scratch",
        progress=False,
        device="cpu",
    )
    outcome = run_training(job)
    assert outcome.facts["batching"] == families.FAMILIES[family].way
    chat = open_chat(base)
    model = AutoModelForCausalLM.from_pretrained(base).float()
    total = torch.zeros(())
    labels = 0
    for record in records:
        assert isinstance(record.content, Conversation)
        encoded = chat.encode_conversation(record.content)
        ids = torch.from_numpy(encoded.input_ids.astype(np.int64))
        at = torch.from_numpy(np.flatnonzero(encoded.trained))
        logits = model(input_ids=ids[None], use_cache=False).logits[0, at - 1].float()
        total = total + torch.nn.functional.cross_entropy(logits, ids[at], reduction="sum")
        labels += len(at)
    (total / labels).backward()
    norm = float(torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm())
    line = json.loads(outcome.metrics_file.read_text().splitlines()[0])
    assert outcome.label_tokens == labels
    assert line["loss"] == pytest.approx(total.item() / labels, rel=1e-4)
    assert line["grad_norm"] == pytest.approx(norm, rel=1e-3)
    after = AutoModelForCausalLM.from_pretrained(outcome.model_dir)
    moved = [(a - b).abs().max() for a, b in zip(after.parameters(), model.parameters(), strict=True)]
    assert 0 < float(max(moved)) < 2e-3


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe", "gpt_oss"])
def test_the_router_balance_equals_its_formula(families: ModuleType, name: str) -> None:
    """Switch-transformer balance (Fedus et al. 2021, eq. 4) over all tokens and layers, in float64."""
    policy = policy_of(families, name)
    data = rows_of(policy.chat)[:3]
    choose_way(policy, data, 256)
    batch = flat_batch(data, range(3), share=True)
    labels = len(batch.labels_N)
    plain = policy.cross_entropy(batch, labels)
    with_balance = policy.cross_entropy(batch, labels, balance=0.5)
    config = policy.inner.config
    experts = getattr(config, "num_local_experts", None) or config.num_experts
    top = config.num_experts_per_tok
    per_layer: list[list[torch.Tensor]] = [[], []]
    policy.take("padded")
    for row in data:
        last = int(np.flatnonzero(row.nodes[0].trained)[-1])  # nothing is predicted from it
        ids = torch.from_numpy(row.nodes[0].ids.astype(np.int64))[:last]
        out = policy.inner(input_ids=ids[None], output_router_logits=True, use_cache=False)
        for layer, logits in enumerate(out.router_logits):
            per_layer[layer].append(logits.reshape(-1, experts).double())
    chances = torch.cat([torch.cat(parts) for parts in per_layer]).softmax(-1)
    chosen = torch.zeros_like(chances).scatter_(1, chances.topk(top).indices, 1.0)
    wanted = experts * (chosen.mean(0) * chances.mean(0)).sum()
    assert (with_balance - plain).item() == pytest.approx(0.5 * wanted.item(), rel=1e-4)
    with_balance.backward()
    routers = [p for n, p in policy.trainable() if "router" in n or n.endswith("gate.weight")]
    assert routers
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in routers)


def test_a_balance_without_experts_is_refused(families: ModuleType) -> None:
    policy = policy_of(families, "llama")
    batch = flat_batch(rows_of(policy.chat)[:1], [0])
    with pytest.raises(BadInput, match="no mixture of experts"):
        policy.cross_entropy(batch, 3, balance=0.1)
