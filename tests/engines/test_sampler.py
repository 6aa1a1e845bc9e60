"""The sampler against transformers' own `generate`, and against itself: alone, in a batch, in a stream, in threads."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from goldsmith_test_records import said
from transformers import AutoModelForCausalLM

from goldsmith.engines.sampler import LocalAnswerer
from goldsmith.engines.sampling.choose import Chooser, choose
from goldsmith.engines.sampling.request import Completion, Event, Failed, Finish, Piece, Sampling
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.record import Message, Role

TOKENS = 24


def asked(text: str) -> list[Message]:
    return [said(Role.USER, text)]


PROMPTS = [
    "two",
    "What is two plus two?",
    "Please send a mail to Ann about the meeting. " * 2,
    "no",
    "The quick brown fox jumps over the lazy dog.",
    "seven eight nine ten",
    "a",
    "yes no maybe " * 6,
]


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> Iterator[LocalAnswerer]:
    with LocalAnswerer(tiny_base, max_batch=4) as answerer:
        yield answerer


@pytest.fixture(scope="module")
def reference(tiny_base: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()


def by_transformers(reference: Any, model: LocalAnswerer, ids: tuple[int, ...], tokens: int = TOKENS) -> list[int]:
    out = reference.generate(
        torch.tensor([ids]),
        max_new_tokens=tokens,
        do_sample=False,
        eos_token_id=sorted(model.chat.stop_ids),
        pad_token_id=model.chat.pad_id,
    )
    written = out[0, len(ids) :].tolist()
    return [token for token in written if token not in model.chat.stop_ids]


def test_a_batch_writes_what_transformers_writes_alone(model: LocalAnswerer, reference: Any) -> None:
    encoded = [model.encode(asked(prompt)) for prompt in PROMPTS]
    assert len({len(ids) for ids in encoded}) > 4
    completions = model.complete(encoded, max_new_tokens=TOKENS)  # two batches' worth: rows leave and join
    for ids, completion in zip(encoded, completions, strict=True):
        assert list(completion.token_ids) == by_transformers(reference, model, ids)
        assert completion.prompt_tokens == len(ids)


def test_one_at_a_time_writes_the_same(model: LocalAnswerer) -> None:
    encoded = [model.encode(asked(prompt)) for prompt in PROMPTS]
    together = model.complete(encoded, max_new_tokens=TOKENS)
    assert together == [model.complete([ids], max_new_tokens=TOKENS)[0] for ids in encoded]


def test_rows_of_different_budgets_leave_when_they_are_done(model: LocalAnswerer, reference: Any) -> None:
    """Rows that leave at different steps and others that join in mid-run keep their places and positions."""
    done: dict[int, Event] = {}
    all_done = threading.Event()
    encoded = [model.encode(asked(prompt)) for prompt in PROMPTS]
    budgets = [3, 17, 5, 24, 9, 2, 13, 21]

    def sink(row: int, event: Event) -> None:
        if not isinstance(event, Piece):
            done[row] = event
            if len(done) == len(encoded):
                all_done.set()

    for row, (ids, budget) in enumerate(zip(encoded, budgets, strict=True)):
        model.submit(ids, lambda event, row=row: sink(row, event), max_new_tokens=budget)  # type: ignore[misc]
    assert all_done.wait(60)
    for row, (ids, budget) in enumerate(zip(encoded, budgets, strict=True)):
        completion = done[row]
        assert isinstance(completion, Completion)
        assert list(completion.token_ids) == by_transformers(reference, model, ids, budget)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("Mistral", {"sliding_window": 8, "num_key_value_heads": 2}),
        ("Qwen2", {"num_key_value_heads": 4}),
        ("Gemma2", {"head_dim": 8, "num_key_value_heads": 2, "sliding_window": 8}),
    ],
)
def test_other_architectures_write_what_transformers_writes(
    family: str, settings: dict[str, Any], tiny: Any, tmp_path: Path
) -> None:
    """A window that slides (Mistral), and windows on every other layer with capped logits (Gemma 2)."""
    import transformers

    torch.manual_seed(1)
    config = getattr(transformers, family + "Config")(
        vocab_size=512,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        initializer_range=0.2,
        eos_token_id=0,
        pad_token_id=3,
        **settings,
    )
    reference = getattr(transformers, family + "ForCausalLM")(config).eval()
    reference.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    with LocalAnswerer(tmp_path) as model:
        encoded = [model.encode(asked(prompt)) for prompt in PROMPTS[:4]]
        completions = model.complete(encoded, max_new_tokens=12)
        for ids, completion in zip(encoded, completions, strict=True):
            assert list(completion.token_ids) == by_transformers(reference, model, ids, 12)


def test_a_recurrent_model_runs_row_by_row(tiny: Any, tmp_path: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(0)
    config = MambaConfig(
        vocab_size=512, hidden_size=16, state_size=4, num_hidden_layers=2, eos_token_id=0, pad_token_id=3
    )
    reference = MambaForCausalLM(config).eval()
    reference.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    with LocalAnswerer(tmp_path) as model:
        encoded = [model.encode(asked(prompt)) for prompt in PROMPTS[:3]]
        completions = model.complete(encoded, max_new_tokens=6)
        for ids, completion in zip(encoded, completions, strict=True):
            assert list(completion.token_ids) == by_transformers(reference, model, ids, 6)


def test_it_stops_at_the_stop_token_and_says_so(model: LocalAnswerer) -> None:
    """The token that the model writes third is made its stop token: exactly two tokens are left."""
    ids = model.encode(asked("two"))
    free = model.complete([ids], max_new_tokens=8)[0].token_ids
    third = next(place for place in range(1, 8) if free[place] not in free[:place])
    kept = model.chat.stop_ids
    try:
        model.chat.stop_ids = kept | {free[third]}
        stopped = model.complete([ids], max_new_tokens=8)[0]
    finally:
        model.chat.stop_ids = kept
    assert stopped.token_ids == free[:third]
    assert stopped.finish is Finish.STOP
    assert stopped.completion_tokens == third + 1  # the stop token was written too
    cut = model.complete([ids], max_new_tokens=third)[0]
    assert cut.finish is Finish.LENGTH
    assert cut.completion_tokens == third


def test_answers_are_parsed_turns(model: LocalAnswerer) -> None:
    answers = model.answer([(asked("two"), ()), (asked("no"), ())], max_new_tokens=5)
    assert [answer.completion_tokens for answer in answers] == [5, 5]
    assert not any(answer.finished for answer in answers)
    assert answers[0].text == model.complete([model.encode(asked("two"))], max_new_tokens=5)[0].text


def test_a_stop_text_ends_the_answer_before_it(model: LocalAnswerer) -> None:
    ids = model.encode(asked("What is two plus two?"))
    free = model.complete([ids], max_new_tokens=TOKENS)[0].text
    stop = free[10:13]
    stopped = model.complete([ids], max_new_tokens=TOKENS, sampling=Sampling(stop=("never there", stop)))[0]
    assert stopped.text == free[: free.index(stop)]
    assert stopped.finish is Finish.STOP
    assert stopped.stopped_at_text
    streamed = "".join(
        model.stream(asked("What is two plus two?"), max_new_tokens=TOKENS, sampling=Sampling(stop=(stop,)))
    )
    assert streamed == stopped.text


def test_a_stream_joins_to_the_answer(model: LocalAnswerer) -> None:
    for prompt in PROMPTS[:4]:
        whole = model.answer([(asked(prompt), ())], max_new_tokens=TOKENS)[0].text
        pieces = list(model.stream(asked(prompt), max_new_tokens=TOKENS))
        assert "".join(pieces) == whole
        assert len(pieces) > 1


def test_closing_a_stream_stops_the_writing(model: LocalAnswerer) -> None:
    stream = model.stream(asked("two"), max_new_tokens=200)
    next(stream)
    stream.close()
    # the one row is gone soon: a full batch of others is admitted at once and ends
    done = model.complete([model.encode(asked("no"))] * 4, max_new_tokens=2)
    assert len(done) == 4


def test_a_cancelled_request_ends_as_cancelled(model: LocalAnswerer) -> None:
    ended: list[Event] = []
    over, begun = threading.Event(), threading.Event()

    def sink(event: Event) -> None:
        begun.set()
        if not isinstance(event, Piece):
            ended.append(event)
            over.set()

    ticket = model.submit(model.encode(asked("two")), sink, max_new_tokens=200)
    assert begun.wait(30)
    ticket.cancel()
    assert over.wait(30)
    assert isinstance(ended[0], Completion)
    assert ended[0].finish is Finish.CANCELLED
    assert ended[0].completion_tokens < 200


def test_threads_get_the_answers_they_would_get_alone(model: LocalAnswerer) -> None:
    alone = [model.answer([(asked(p), ())], max_new_tokens=TOKENS)[0] for p in PROMPTS]
    got: dict[int, Any] = {}

    def ask(row: int) -> None:
        got[row] = model.answer([(asked(PROMPTS[row]), ())], max_new_tokens=TOKENS)[0]

    threads = [threading.Thread(target=ask, args=(row,)) for row in range(len(PROMPTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [got[row] for row in range(len(PROMPTS))] == alone


def test_a_seed_makes_sampling_repeatable_and_independent_of_the_batch(model: LocalAnswerer) -> None:
    sampling = Sampling(temperature=1.5, top_p=0.95, seed=7)
    ids = model.encode(asked("two"))
    one = model.complete([ids], max_new_tokens=TOKENS, sampling=sampling)[0]
    crowd = model.complete(
        [ids, *(model.encode(asked(p)) for p in PROMPTS[1:4])], max_new_tokens=TOKENS, sampling=sampling
    )
    assert crowd[0].token_ids == one.token_ids
    twins = model.complete([ids, ids, ids], max_new_tokens=TOKENS, sampling=sampling)
    assert len({twin.token_ids for twin in twins}) == 3, "each request of a batch draws from a stream of its own"
    other = model.complete([ids], max_new_tokens=TOKENS, sampling=Sampling(temperature=1.5, seed=8))[0]
    assert other.token_ids != one.token_ids
    greedy = model.complete([ids], max_new_tokens=TOKENS)[0]
    assert greedy.token_ids != one.token_ids


def test_sampled_frequencies_follow_the_distribution() -> None:
    """Against the exact nucleus distribution: 4000 draws, chi-squared below its 99.9 % point."""
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -4.0])
    temperature, top_p, draws = 0.8, 0.95, 4000
    exact = torch.softmax(logits.double() / temperature, -1)
    before = torch.cumsum(exact, -1) - exact  # already in descending order
    exact = torch.where(before < top_p, exact, 0.0)
    exact = exact / exact.sum()
    chooser = Chooser(Sampling(temperature=temperature, top_p=top_p, seed=3))
    counts = torch.bincount(torch.tensor([chooser.sample(logits) for _ in range(draws)]), minlength=6)
    inside = exact > 0
    assert int(counts[~inside].sum()) == 0
    chi_squared = float(((counts - exact * draws)[inside] ** 2 / (exact * draws)[inside]).sum())
    assert int(inside.sum()) == 4
    assert chi_squared < 16.27  # 3 degrees of freedom


def test_a_very_small_nucleus_is_greedy() -> None:
    chooser = Chooser(Sampling(temperature=5.0, top_p=1e-9, seed=0))
    assert {chooser.sample(torch.tensor([0.1, 0.3, 0.2])) for _ in range(50)} == {1}


def test_nan_logits_are_an_error_not_an_answer() -> None:
    with pytest.raises(FloatingPointError, match="NaN"):
        choose(torch.tensor([[0.0, float("nan")]]), [Chooser(Sampling())])


def test_logprobs_equal_a_plain_forward_pass(model: LocalAnswerer, reference: Any) -> None:
    items = [
        (asked("two"), [said(Role.ASSISTANT, "four")], ()),
        (asked("What is two plus two?"), [said(Role.ASSISTANT, "It is four. The quick brown fox jumps!")], ()),
        (asked("no"), [said(Role.ASSISTANT, "yes"), said(Role.USER, "no"), said(Role.ASSISTANT, "maybe")], ()),
        (asked("a"), [said(Role.ASSISTANT, "seven eight")], ()),
        (asked("one two three"), [said(Role.ASSISTANT, "lazy dog")], ()),
    ]
    scores = model.logprobs(items)
    for item, score in zip(items, scores, strict=True):
        encoded = model.chat.encode_continuation(*item)
        ids = torch.as_tensor(encoded.input_ids).long()
        with torch.no_grad():
            logprobs = torch.log_softmax(reference(ids[None]).logits[0].double(), -1)
        expected = sum(float(logprobs[place - 1, ids[place]]) for place in range(1, len(ids)) if encoded.trained[place])
        assert score.tokens == int(encoded.trained.sum())
        assert score.logprob == pytest.approx(expected, abs=1e-3)
    assert scores[2].tokens > scores[0].tokens


def test_a_prompt_that_fills_the_context_is_refused_and_a_long_one_cut_short(model: LocalAnswerer) -> None:
    assert model.context_length == 256
    with pytest.raises(BadInput, match="longer than the model's context") as refused:
        model.answer([(asked("yes no maybe " * 200), ())])
    assert refused.value.allowed == "256 tokens"
    near = model.encode(asked("seven " * 200))[:250]
    completion = model.complete([near], max_new_tokens=100)[0]
    assert completion.completion_tokens <= 6
    with pytest.raises(BadInput, match="longer"):
        model.logprobs([(asked("a"), [said(Role.ASSISTANT, "yes no maybe " * 200)], ())])


@pytest.mark.parametrize("bad", [{"temperature": -1.0}, {"temperature": float("nan")}, {"top_p": 0.0}, {"stop": ("",)}])
def test_impossible_sampling_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        Sampling(**bad)


def test_a_failing_pass_reaches_every_waiter_and_the_next_request_works(
    model: LocalAnswerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    forward = model.backbone.model.forward

    def breaks_once(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise MemoryError("out of memory")
        return forward(*args, **kwargs)

    monkeypatch.setattr(model.backbone.model, "forward", breaks_once)
    ids = model.encode(asked("two"))
    with pytest.raises(MemoryError):
        model.complete([ids, ids], max_new_tokens=TOKENS)
    assert model.complete([ids], max_new_tokens=3)[0].completion_tokens == 3


def test_a_broken_listener_stops_only_itself(model: LocalAnswerer) -> None:
    def broken(_: Event) -> None:
        raise ValueError("the listener is gone")

    model.submit(model.encode(asked("two")), broken, max_new_tokens=50)
    assert model.complete([model.encode(asked("no"))], max_new_tokens=3)[0].completion_tokens == 3


def test_a_closed_model_says_so(tiny_base: Path) -> None:
    model = LocalAnswerer(tiny_base)
    ended: list[Event] = []
    model.submit(model.encode(asked("two")), ended.append, max_new_tokens=200)
    model.close()
    model.close()
    assert isinstance(ended[-1], Completion | Failed)
    with pytest.raises(Unavailable, match="closed"):
        model.answer([(asked("two"), ())])


def test_a_damaged_model_is_unavailable(tiny_base: Path, tmp_path: Path) -> None:
    for file in tiny_base.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(Unavailable):
        LocalAnswerer(tmp_path)


def test_a_missing_model_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="could not be"):
        LocalAnswerer(tmp_path / "nothing")
