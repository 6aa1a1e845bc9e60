"""Whether a model can be trained, merged and served here: the tests of this house on somebody's real weights."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from goldsmith.engines.chat import Chat, open_chat
from goldsmith.engines.exporting.merged import export_merged
from goldsmith.engines.sampler import LocalAnswerer
from goldsmith.engines.sampling.loading import Backbone
from goldsmith.engines.training.data.batches import flat_batch
from goldsmith.engines.training.data.rows import Row, from_comparison, from_conversation
from goldsmith.engines.training.guards.self_test import choose_way
from goldsmith.engines.training.model.policy import Policy, open_policy
from goldsmith.engines.training.model.saving import save
from goldsmith.engines.training.settings import AdapterSettings, TrainingSettings
from goldsmith.types.errors import GoldsmithError
from goldsmith.types.record import Comparison, Conversation, Message, Role, TextPart

Verdict = Literal["pass", "fail", "could not tell"]
EXCHANGES = (
    ("What is two plus two?", "Two plus two is four."),
    ("Name the capital of France.", "The capital of France is Paris."),
    ("Say good morning to Ann.", "Good morning, Ann!"),
)
"""Asked and answered; no word of a question may be trained, every word of an answer must."""
LEARNING_RATE = 1e-3
NEW_TOKENS = 48
TIE = 1e-3
"""Two next tokens whose logits are closer than this may come out either way."""


@dataclass(frozen=True, slots=True)
class Result:
    """One test's verdict, with what was found."""

    name: str
    verdict: Verdict
    detail: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass
class Subject:
    """A model under test; loaded when first needed."""

    folder: Path
    device: str = "cpu"
    facts: dict[str, str] = field(default_factory=dict)

    @cached_property
    def chat(self) -> Chat:
        return open_chat(self.folder)

    @cached_property
    def policy(self) -> Policy:
        settings = TrainingSettings(adapter=AdapterSettings(kind="lora", rank=8))
        return open_policy(str(self.folder), self.chat, settings, seed=0, device=self.device)

    @cached_property
    def rows(self) -> list[Row]:
        """Conversations, and two answers to one prompt."""
        found = [
            from_conversation(self.chat.encode_conversation(_conversation(q, a)), f"row {i}", f"row {i}")
            for i, (q, a) in enumerate(EXCHANGES)
        ]
        pair = Comparison(
            prompt=(_said(Role.USER, EXCHANGES[0][0]),),
            chosen=(_said(Role.ASSISTANT, EXCHANGES[0][1]),),
            rejected=(_said(Role.ASSISTANT, "Maybe five, or six."),),
        )
        return [*found, from_comparison(self.chat.encode_comparison(pair), "pair", "pair")]


def _said(role: Role, text: str) -> Message:
    return Message(role=role, parts=(TextPart(text=text),))


def _conversation(asked: str, answered: str) -> Conversation:
    return Conversation(messages=(_said(Role.USER, asked), _said(Role.ASSISTANT, answered)))


def _template(subject: Subject) -> tuple[Verdict, str]:
    chat = subject.chat
    ids = chat.encode_prompt([_said(Role.USER, EXCHANGES[0][0])])
    text = chat.tokenizer.decode(ids.tolist())
    if EXCHANGES[0][0] not in text:
        return "fail", f"the question is not in what the template writes: {text[:80]!r}"
    if chat.facts["template"] != "own":
        return "could not tell", "the model brings no chat template; ChatML is used, which it may never have seen"
    told = ", ".join(f"{k.removeprefix('template_')}={v}" for k, v in chat.facts.items() if k.startswith("template_"))
    return "pass", f"its own, {len(ids)} tokens for a question; calls: {chat.form}" + (f"; told {told}" if told else "")


def _mask(subject: Subject) -> tuple[Verdict, str]:
    chat = subject.chat
    for asked, answered in EXCHANGES:
        encoded = chat.encode_conversation(_conversation(asked, answered))
        trained = chat.tokenizer.decode(encoded.input_ids[encoded.trained].tolist())
        masked = chat.tokenizer.decode(encoded.input_ids[~encoded.trained].tolist())
        if answered not in trained or answered in masked:
            return "fail", f"trained is {trained[:60]!r} where the answer is {answered!r}"
        if asked in trained or asked not in masked:
            return "fail", f"the question is trained too: {trained[:80]!r}"
    (q1, a1), (q2, a2) = EXCHANGES[:2]
    both = Conversation(messages=(*_conversation(q1, a1).messages, *_conversation(q2, a2).messages))
    try:
        encoded = chat.encode_conversation(both)
    except GoldsmithError as error:
        return "pass", f"answers and nothing else; of a conversation only the last answer ({error.what})"
    trained = chat.tokenizer.decode(encoded.input_ids[encoded.trained].tolist())
    if a1 not in trained or a2 not in trained or q2 in trained:
        return "fail", f"of a conversation of two turns, trained is {trained[:80]!r}"
    return "pass", "answers and nothing else, in one turn and in two"


def _stop(subject: Subject) -> tuple[Verdict, str]:
    from transformers import GenerationConfig

    chat = subject.chat
    encoded = chat.encode_conversation(_conversation(*EXCHANGES[0]))
    last = int(encoded.input_ids[np.flatnonzero(encoded.trained)[-1]])
    name = repr(chat.tokenizer.convert_ids_to_tokens(last))
    if last not in chat.stop_ids:
        return "fail", f"an answer's last trained token is {name}, at which nothing stops"
    try:
        eos = GenerationConfig.from_pretrained(str(subject.folder)).eos_token_id
    except OSError:
        eos = None
    told = eos if isinstance(eos, list) else [] if eos is None else [eos]
    where = (
        "in the generation config too" if last in told else "not in the generation config; models trained here have it"
    )
    return "pass", f"{name} ends every answer and is trained; {where}"


def _packing(subject: Subject) -> tuple[Verdict, str]:
    facts = choose_way(subject.policy, subject.rows, 1024)
    way = facts["batching"]
    others = [
        f"{k.rpartition('_')[2]}: {v}" for k, v in facts.items() if k.startswith("packed") and not k.endswith(way)
    ]
    found = f"{way}, largest difference of a log-probability {facts[f'packed_equals_alone_{way}']}"
    return "pass", found + (f" ({'; '.join(others)})" if others else "")


def _learns(subject: Subject) -> tuple[Verdict, str]:
    policy = subject.policy
    choose_way(policy, subject.rows, 1024)
    batch = flat_batch(subject.rows, range(len(EXCHANGES)), share=policy.shares)
    labels = int(batch.labels_N.numel())
    optimizer = torch.optim.AdamW([p for _, p in policy.trainable()], lr=LEARNING_RATE)
    losses = []
    for _ in range(3):  # the factors start at nothing: the first step moves one of each pair
        loss = policy.cross_entropy(batch, labels)
        losses.append(float(loss.detach()))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        losses.append(float(policy.cross_entropy(batch, labels)))
    told = f"loss {losses[0]:.4f}, after one step {losses[1]:.4f}, after three {losses[3]:.4f}"
    return ("pass" if losses[1] < losses[0] and losses[3] < losses[1] else "fail"), told


def _merge(subject: Subject) -> tuple[Verdict, str]:
    with tempfile.TemporaryDirectory() as place:
        adapter = Path(place) / "adapter"
        adapter.mkdir()
        save(subject.policy, adapter)
        done = export_merged(adapter, Path(place) / "merged", base=subject.folder, device=subject.device)
    found, moved = done.to_adapter, done.moved
    return (
        "pass",
        f"mean divergence {found.mean_kl:.1e} nats from the adapter, which is {moved.mean_kl:.1e} from the base",
    )


def _answers(subject: Subject) -> tuple[Verdict, str]:
    policy = subject.policy
    policy.take("padded")
    with policy.reference(), LocalAnswerer(Backbone(policy.inner, subject.chat), device=subject.device) as answerer:
        answer = answerer.answer([([_said(Role.USER, EXCHANGES[0][0])], ())], max_new_tokens=NEW_TOKENS)[0]
    said = repr(answer.text[:60])
    if answer.finished:
        return "pass", f"stopped after {answer.completion_tokens} tokens: {said}"
    return "could not tell", f"did not stop within {NEW_TOKENS} tokens (a base model may not): {said}"


def _greedy(subject: Subject) -> tuple[Verdict, str]:
    policy, chat = subject.policy, subject.chat
    policy.take("padded")
    policy.model.eval()
    prompt = chat.encode_prompt([_said(Role.USER, EXCHANGES[1][0])]).tolist()
    with policy.reference():
        with LocalAnswerer(Backbone(policy.inner, chat), device=subject.device) as answerer:
            ours = list(answerer.complete([prompt], max_new_tokens=NEW_TOKENS)[0].token_ids)
        ids = torch.tensor([prompt], device=policy.device)
        out = policy.inner.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
            repetition_penalty=1.0,
            eos_token_id=sorted(chat.stop_ids),
            pad_token_id=chat.pad_id,
        )
        theirs = [int(i) for i in out[0, len(prompt) :]]
        stop = next((i for i, one in enumerate(theirs) if one in chat.stop_ids), len(theirs))
        ours, theirs = [i for i in ours if i not in chat.stop_ids], theirs[:stop]
        if ours == theirs:
            return "pass", f"the same {len(ours)} tokens"
        at = next(
            (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs))
        )
        with torch.no_grad():
            logits = policy.inner(torch.tensor([prompt + ours[:at]], device=policy.device)).logits[0, -1].float()
    top = logits.topk(2).values
    gap = float(top[0] - top[1])
    told = f"the first {at} tokens agree; there the two best next tokens are {gap:.1e} apart"
    return ("could not tell" if gap < TIE else "fail"), told


CHECKS: tuple[tuple[str, Callable[[Subject], tuple[Verdict, str]]], ...] = (
    ("chat template", _template),
    ("loss mask", _mask),
    ("stop token", _stop),
    ("packed equals alone", _packing),
    ("greedy equals transformers", _greedy),
    ("an answer stops", _answers),
    ("a step lowers the loss", _learns),
    ("merge equals adapter", _merge),
)
"""In this order: what needs the base alone comes before its adapter learns."""


def verify_model(folder: Path, *, device: str = "cpu") -> Iterator[Result]:
    """Each test's result as it is known. A test that could not be run is no pass.

    Raises:
        Unavailable: no model there.
    """
    subject = Subject(folder, device)
    _ = subject.chat, subject.policy  # what cannot be loaded is not a model
    for name, check in CHECKS:
        try:
            verdict, detail = check(subject)
        except GoldsmithError as error:
            verdict, detail = "fail", error.what + (f": {error.found}" if error.found else "")
        except (RuntimeError, NotImplementedError, TypeError, AttributeError) as error:
            verdict, detail = "could not tell", f"{type(error).__name__}: {str(error)[:160]}"
        yield Result(name, verdict, detail)
