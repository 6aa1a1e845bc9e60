"""The official client against a real server with a real, tiny model."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from goldsmith.engines.sampler import LocalAnswerer
from goldsmith.types.record import Message, Role, TextPart
from goldsmith.web.openai_api import ServedModel

EVIDENCE = {"model_digest": "sha256:" + "a" * 64, "verdict_digest": "sha256:" + "b" * 64, "outcome": "pass"}
TOKENS = 24
PROMPTS = ["two", "What is two plus two?", "no", "The quick brown fox", "seven eight", "maybe yes maybe no"]


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> Iterator[LocalAnswerer]:
    with LocalAnswerer(tiny_base) as answerer:
        yield answerer


@pytest.fixture(scope="module")
def client(model: LocalAnswerer, running: Any) -> Iterator[openai.OpenAI]:
    served = ServedModel(id="tiny", answerer=model, created=1_700_000_000, owned_by="tests", evidence=EVIDENCE)
    with running({"tiny": served}) as url, openai.OpenAI(base_url=url + "/v1", api_key="any", max_retries=0) as c:
        yield c


def ask(client: openai.OpenAI, prompt: str, **more: Any) -> Any:
    messages = [{"role": "user", "content": prompt}]
    return client.chat.completions.create(model="tiny", messages=messages, max_tokens=TOKENS, **more)  # type: ignore[arg-type]


def direct(model: LocalAnswerer, prompt: str) -> str:
    messages = [Message(role=Role.USER, parts=(TextPart(text=prompt),))]
    return model.answer([(messages, ())], max_new_tokens=TOKENS)[0].text


def test_models_show_their_evidence(client: openai.OpenAI) -> None:
    (listed,) = client.models.list().data
    assert (listed.id, listed.owned_by, listed.created) == ("tiny", "tests", 1_700_000_000)
    assert listed.model_extra is not None
    assert listed.model_extra["goldsmith"] == {**EVIDENCE, "standing": "in force"}
    assert listed.model_extra["context_length"] == 256
    assert client.models.retrieve("tiny") == listed


def test_an_answer_is_what_the_model_writes(client: openai.OpenAI, model: LocalAnswerer) -> None:
    answer = ask(client, "What is two plus two?")
    assert answer.choices[0].message.content == direct(model, "What is two plus two?")
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    prompt = [Message(role=Role.USER, parts=(TextPart(text="What is two plus two?"),))]
    assert answer.usage.prompt_tokens == len(model.encode(prompt))
    assert answer.usage.completion_tokens == TOKENS
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + TOKENS
    assert answer.system_fingerprint == EVIDENCE["model_digest"]


def test_answers_carry_their_evidence_in_headers(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="tiny", messages=[{"role": "user", "content": "two"}], max_tokens=1
    )
    assert raw.headers["x-goldsmith-model"] == EVIDENCE["model_digest"]
    assert raw.headers["x-goldsmith-verdict"] == EVIDENCE["verdict_digest"]
    assert "access-control-allow-origin" not in raw.headers
    with client.chat.completions.with_streaming_response.create(
        model="tiny", messages=[{"role": "user", "content": "two"}], max_tokens=1, stream=True
    ) as streamed:
        assert streamed.headers["x-goldsmith-verdict"] == EVIDENCE["verdict_digest"]


def test_a_stream_joins_to_the_answer_and_counts_at_the_end(client: openai.OpenAI) -> None:
    whole = ask(client, "two")
    chunks = list(ask(client, "two", stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in ask(client, "two", stream=True))


def test_many_at_once_get_what_each_gets_alone(client: openai.OpenAI, model: LocalAnswerer) -> None:
    alone = [direct(model, prompt) for prompt in PROMPTS]
    with ThreadPoolExecutor(len(PROMPTS)) as pool:
        whole = list(pool.map(lambda prompt: ask(client, prompt).choices[0].message.content, PROMPTS))
        streams = pool.map(lambda prompt: list(ask(client, prompt, stream=True)), PROMPTS)
        streamed = ["".join(c.choices[0].delta.content or "" for c in chunks) for chunks in streams]
    assert whole == alone
    assert streamed == alone


def test_seeds_make_sampling_repeatable(client: openai.OpenAI) -> None:
    def three(seed: int) -> list[str | None]:
        answer = ask(client, "two", n=3, seed=seed, temperature=1.5, top_p=0.9)
        assert [choice.index for choice in answer.choices] == [0, 1, 2]
        assert answer.usage.completion_tokens <= 3 * TOKENS
        return [choice.message.content for choice in answer.choices]

    first = three(5)
    assert first == three(5)
    assert len(set(first)) == 3
    assert first != three(-6)


def test_a_stop_text_ends_the_answer(client: openai.OpenAI, model: LocalAnswerer) -> None:
    whole = direct(model, "two")
    stop = whole[6:9]
    answer = ask(client, "two", stop=[stop])
    assert answer.choices[0].message.content == whole[: whole.index(stop)]
    assert answer.choices[0].finish_reason == "stop"


def test_a_conversation_longer_than_the_context_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, "yes no maybe " * 200)
    assert refused.value.code == "context_length_exceeded"
    assert "256 tokens" in refused.value.message
    with pytest.raises(openai.BadRequestError):
        ask(client, "yes no maybe " * 200, stream=True)


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="huge", messages=[{"role": "user", "content": "two"}])
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("huge")


def test_the_built_in_model_calls_tools_over_http(running: Any) -> None:
    """goldsmith-nano, when it is there: its calls arrive as the client's tool calls, streamed or whole."""
    from goldsmith import nano
    from goldsmith.nano import tasks

    if not (nano.model_path() / "model.safetensors").is_file():
        pytest.skip("the built-in model's weights are absent")
    chosen = [task for skill in tasks.BASE_SKILLS[:6] for task in tasks.generate(skill, 1, 3)]
    with LocalAnswerer(nano.model_path()) as model:
        served = ServedModel(id="nano", answerer=model)
        with running({"nano": served}) as url, openai.OpenAI(base_url=url + "/v1", api_key="any") as client:
            called = 0
            for task in chosen:
                asked: Any = {"model": "nano", "messages": task.prompt(), "max_tokens": 100}
                if task.schemas():
                    asked["tools"] = task.schemas()
                whole = client.chat.completions.create(**asked).choices[0]
                calls: dict[int, list[str]] = {}
                content = ""
                for chunk in client.chat.completions.create(**asked, stream=True):
                    delta = chunk.choices[0].delta
                    content += delta.content or ""
                    for call in delta.tool_calls or []:
                        calls.setdefault(call.index, ["", ""])
                        calls[call.index][0] += call.function.name or ""
                        calls[call.index][1] += call.function.arguments or ""
                assert content == (whole.message.content or "")
                wholes = [[c.function.name, c.function.arguments] for c in whole.message.tool_calls or []]
                assert [calls[place] for place in sorted(calls)] == wholes
                assert (whole.finish_reason == "tool_calls") == bool(wholes)
                called += bool(wholes)
            assert called, "a model trained on tool calls makes at least one"
