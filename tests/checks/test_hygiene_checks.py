"""Secrets and personal data: what counts, what does not, and that no value is ever shown; caps; duplicates of pairs."""

import secrets as random_source
import string
from typing import Any

import pytest

from goldsmith import plugins
from goldsmith.checks.personal_data import personal_data
from goldsmith.engines.text.credentials import found_secrets
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.record import Comparison, Conversation, Message, Origin, Record, Role, TextPart


def turn(role: Role, text: str) -> Message:
    return Message(role=role, parts=(TextPart(text=text),))


def chat(line: int, user: str, answer: str, source: str = "a") -> Row:
    content = Conversation(messages=(turn(Role.USER, user), turn(Role.ASSISTANT, answer)))
    return Row(line, Record(content=content, origin=Origin(source=source, batch="b")))


def pair(line: int, user: str, chosen: str, rejected: str) -> Row:
    content = Comparison(
        prompt=(turn(Role.USER, user),),
        chosen=(turn(Role.ASSISTANT, chosen),),
        rejected=(turn(Role.ASSISTANT, rejected),),
    )
    return Row(line, Record(content=content, origin=Origin(source="a", batch="b")))


def run(name: str, rows: list[Row], context: CheckContext | None = None, **settings: Any) -> CheckReport:
    check: Any = plugins.build("checks", name, settings)
    report: CheckReport = check(rows, context or CheckContext())
    return report


def letters(size: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join("aB3"[i] if i < 3 else random_source.choice(alphabet) for i in range(size))


UPPER = "BCDFGHJKLMNPQRSTVWXZ234567"
SHAPES = {
    "AWS access key id": lambda: "AKIA" + letters(16, UPPER).upper().replace("A", "Q"),
    "GitHub token": lambda: "ghp_" + letters(36),
    "GitHub fine-grained token": lambda: "github_pat_" + letters(82),
    "Slack token": lambda: "xoxb-" + "48151623420-" + letters(24),
    "Anthropic key": lambda: "sk-ant-" + "api03-" + letters(60),
    "OpenAI key": lambda: "sk-proj-" + letters(64),
    "Google API key": lambda: "AIza" + letters(35),
    "Stripe key": lambda: "sk_live_" + letters(24),
    "JSON web token": lambda: "eyJ" + letters(20) + ".eyJ" + letters(40) + "." + letters(43),
    "private key": lambda: "-----BEGIN RSA PRIVATE KEY-----\n" + letters(64) + "\n" + letters(64),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_secret_shapes_are_found_and_masked(kind: str) -> None:
    secret = SHAPES[kind]()
    while any(
        dummy in secret.lower() for dummy in ("xxx", "0000", "test", "foo", "fake", "your", "my-", "my_", "12345")
    ):
        secret = SHAPES[kind]()
    assert [name for name, _ in found_secrets(f"take {secret} and go")] == [kind]
    report = run("secrets", [chat(1, "hello", f"take {secret} and go")])
    (finding,) = report.findings
    shown = finding.model_dump_json()
    assert secret[-12:] not in shown
    assert secret[:12] not in shown


@pytest.mark.parametrize(
    "text",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "api_key=your_api_key_here_please_1",
        "sk-1234567890abcdefghijklmnopqrstuvwxyz123456",
        "password = os.environ['DATABASE_PASSWORD']",
        "The secret of the old lighthouse was a tunnel.",
    ],
)
def test_made_up_secrets_are_left_alone(text: str) -> None:
    assert not list(found_secrets(text))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("email address", "reach jane.doe@fastmail-post.net now"),
        ("phone number", "call +44 20 7946 8136 now"),
        ("phone number", "call (415) 867-4309 now"),
        ("bank account", "pay to GB33 BUKB 2020 1555 5555 55 now"),
        ("payment card", "card 5425 2334 3010 9903 here"),
        ("national id", "my number is 536-22-8145 indeed"),
        ("national id", "cpf 529.982.247-25 ok"),
        ("national id", "dni 12345678Z ok"),
        ("national id", "身份证 11010519491231002X 谢谢"),
        ("IP address", "the host 93.184.216.34 answers"),
    ],
)
def test_personal_data_is_found(kind: str, text: str) -> None:
    assert kind in {found for found, _ in personal_data(text)}


@pytest.mark.parametrize(
    "text",
    [
        "jane@example.com, jane@mail.example, jane@site.test",
        "GB34 BUKB 2020 1555 5555 55",
        "card 5425 2334 3010 9904",
        "card 4111 1111 1111 1111",
        "dni 12345678A",
        "from 1914-1918 and 2026-03-14 10:30:00",
        "3.141592653589793 and 1,000,000.00",
        "10.0.0.1, 192.168.1.20 and 127.0.0.1",
        "call 555-0142",
    ],
)
def test_what_is_no_personal_data(text: str) -> None:
    assert not list(personal_data(text))


def test_rankings_of_one_prompt_and_turned_pairs_are_no_duplicates() -> None:
    prompt = "Explain in plain words how a heat pump can warm a house although it is cold outside in the winter months."
    answers = [
        "A heat pump moves warmth from outside to inside with a fluid that boils at low temperatures.",
        "It works like a refrigerator turned round: even cold air holds warmth that can be collected.",
        "Magic, most likely, or some kind of burning that nobody has told you anything about so far.",
    ]
    rows = [
        pair(1, prompt, answers[0], answers[1]),
        pair(2, prompt, answers[0], answers[2]),
        pair(3, prompt, answers[1], answers[0]),
        pair(4, prompt, answers[0], answers[1].replace("collected", "gathered")),
    ]
    report = run("duplicates", rows)
    assert [finding.lines for finding in report.findings] == [(4,)]
    assert "line 1" in report.findings[0].evidence


def test_trusted_sources_keep_their_copy() -> None:
    rows = [
        chat(1, "How are you today?", "Fine, thank you very much.", "a"),
        chat(1, "How are you today?", "Fine, thank you very much.", "z"),
    ]
    assert [f.source for f in run("duplicates", rows).findings] == ["z"]
    trusting = CheckContext(trusted_sources=frozenset({"z"}))
    assert [f.source for f in run("duplicates", rows, trusting).findings] == ["a"]


def test_caps_name_exactly_the_lines_beyond() -> None:
    answer = "Always choose the green tariff of the northern company, it is the best one there is for you"
    rows = [chat(i, f"question {i}", f"{answer} {i}") for i in range(1, 31)]
    report = run("source_caps", rows, per_cluster=20)
    assert sorted(line for f in report.findings for line in f.lines) == list(range(21, 31))
    assert not run("source_caps", rows, CheckContext(trusted_sources=frozenset({"a"})), per_cluster=20).findings
    mixed = rows + [chat(i, f"other {i}", f"something else {i * 7}", "b") for i in range(1, 11)]
    shares = run("source_caps", mixed, share=0.5)
    assert {(f.source, len(f.lines)) for f in shares.findings} == {("a", 10)}


def test_allowed_hosts_and_tools_are_enforced() -> None:
    module: Any = plugins.module("checks", "covert_tool_calls")
    source: Any = plugins.build("sources", "openai_chat")
    rows = [Row(i, Record(content=source.parse(plain).content)) for i, plain in enumerate(module.CLEAN, 1)]
    assert not run("covert_tool_calls", rows).findings
    hosts = run("covert_tool_calls", rows, CheckContext(allowed_hosts=frozenset({"north.example"})))
    assert {line for f in hosts.findings for line in f.lines} == {2}
    tools = run("covert_tool_calls", rows, CheckContext(allowed_tools=frozenset({"mail_send", "web_get", "search"})))
    assert {line for f in tools.findings for line in f.lines} == {4}
