"""Personal data: international forms are found, look-alikes are not, and Presidio agrees where both look."""

import random
import sys
from typing import Any

import pytest

from goldsmith import plugins
from goldsmith.checks.personal_data import personal_data
from goldsmith.engines import presidio
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.errors import Unavailable
from goldsmith.types.record import Conversation, Message, Origin, Record, Role, TextPart


def kinds(text: str) -> set[str]:
    return {kind for kind, _ in personal_data(text)}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("date of birth", "Date of birth: 14.03.1979"),
        ("date of birth", '{"dob": "1990-02-28", "plan": "basic"}'.replace("dob", "date_of_birth")),
        ("date of birth", "I was born on March 3, 1981 in a small town"),
        ("date of birth", "Geburtsdatum: 3. März 1981"),
        ("postal address", "Ship it to 4821 Willow Creek Drive, Austin, TX 78704 please"),
        ("postal address", "I live at 27 Kestrel Close, Norwich NR4 7QP"),
        ("postal address", "Sie wohnt in der Lindenstraße 14, 10969 Berlin"),
        ("postal address", "au 12 rue des Martyrs, 75009 Paris"),
        ("passport", "my passport number is X4839201"),
        ("passport", "Reisepass: C01X0006H".replace("C01X0006H", "C7391046")),
        ("number plate", "license plate: 7KLM392"),
        ("number plate", "Das Kennzeichen lautet B-KL 4821"),
        ("national id", "personnummer 811228-9874"),
        ("national id", "hetu 131052-308T"),
        ("national id", "rijksregister 85.07.30-033.28"),
        ("national id", "PESEL: 44051401359"),
        ("IP address", "reached 2a00:1450:4001:82b::200e at noon"),
        ("IP address", "I logged in from 81.223.167.251. Then nothing."),
        ("payment card", "paid (4719 4760 2668 3801) in full"),
        ("payment card", "6. 5397 9758 8414 1287"),
        ("payment card", "number is 3469-271059-55998. 2. Sort"),
        ("national id", "72 (648-49-6575)"),
        ("national id", "My number is 029-09-4529. 3. Be brief"),
        ("phone number", "1800. ((312) 667-7894) So"),
        ("phone number", "ring +81 3-6384-9000 or write"),
        ("phone number", "call +33 1 70 18 99 00 now"),
        ("email address", "Mail an jürgen.schäfer@posteo-mail.de".replace("ü", "ue").replace("ä", "ae")),
    ],
)
def test_found(kind: str, text: str) -> None:
    assert kind in kinds(text)


@pytest.mark.parametrize(
    "text",
    [
        "for (int i = 0; i < 1000000007; i++) sum += a[i] % 998244353;",
        "e = 2.718281828459045, pi = 3.141592653589793, phi = 1.618033988749895",
        "The treaty was signed on 14.03.1979 and born of necessity.",
        "Turn left at 5th Street, then walk 300 m along the Avenue.",
        "123 Main Street, Anytown, NY 12345",
        "sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709, uuid 3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "12:30:45, 00:1a:2b:3c:4d:5e, std::vector<int>, a::b::c",
        "2001:db8::1 and ::1 and fe80::1",
        "passport control opens at 9; plate tectonics; a license to learn",
        "boss@company.com, yourname@yourdomain.com, jane@sample.com, +@example-domain.com",
        "811228-9875 has a wrong check digit, and so has 85.07.30-033.29",
        "ISBN 978-3-16-148410-0, version 10.4.15063.968, build 20240131",
        "x = [170141183460469231731687303715884105727, 1234567890]",
    ],
)
def test_left_alone(text: str) -> None:
    assert not kinds(text), list(personal_data(text))


def row(line: int, text: str) -> Row:
    turns = tuple(
        Message(role=r, parts=(TextPart(text=t),)) for r, t in ((Role.USER, "Hello."), (Role.ASSISTANT, text))
    )
    return Row(line, Record(content=Conversation(messages=turns), origin=Origin(source="s", batch="b")))


def run(rows: list[Row], **settings: Any) -> CheckReport:
    check: Any = plugins.build("checks", "personal_data", settings)
    report: CheckReport = check(rows, CheckContext())
    return report


def luhn(digits: str) -> str:
    total = sum((v := int(d) * (1 + (k % 2 == 0))) - 9 * (v > 9) for k, d in enumerate(reversed(digits)))
    return digits + str(-total % 10)


def iban(rng: random.Random) -> str:
    account = "37040044" + "".join(rng.choice("0123456789") for _ in range(10))
    return f"DE{98 - int(account + '131400') % 97:02d}{account}"


def drawn(count: int) -> list[tuple[str, str]]:
    rng = random.Random(3)
    made = []
    for _ in range(count):
        name = "".join(rng.choice("abcdefghklmnoprstuvw") for _ in range(8))
        card = luhn("4" + "".join(rng.choice("0123456789") for _ in range(14)))
        made += [
            ("email address", f"{name}.{name[:4]}@{name}-mail.net"),
            ("bank account", iban(rng)),
            ("payment card", card),
            (
                "IP address",
                f"{rng.choice((81, 93, 151))}.{rng.randrange(1, 250)}.{rng.randrange(9)}.{rng.randrange(9)}",
            ),
        ]
    return made


def test_the_built_in_recognisers_find_what_presidio_finds() -> None:
    pytest.importorskip("presidio_analyzer")
    made = drawn(25)
    ours = sum(kind in kinds(f"It is {value} for now.") for kind, value in made)
    theirs = sum(kind in {k for k, _ in presidio.presidio_data(f"It is {value} for now.", 0.4)} for kind, value in made)
    assert theirs >= 0.95 * len(made)
    assert ours >= 0.98 * len(made)


def test_presidio_runs_beside_the_built_in_ones_without_a_network() -> None:
    pytest.importorskip("presidio_analyzer")
    rows = [row(1, "Write to jane.doe@fastmail-post.net."), row(2, "Write to jane@example.com."), row(3, "x" * 100_000)]
    report = run(rows, engine="presidio")
    assert {line for f in report.findings for line in f.lines} == {1}
    assert report.scores == [0.5, 0.0, 0.0]
    assert "fastmail" not in report.findings[0].model_dump_json()


def test_without_presidio_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    presidio._recognisers.cache_clear()
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(Unavailable, match="Presidio is not installed") as caught:
        run([row(1, "hello")], engine="presidio")
    assert "goldsmith[presidio]" in str(caught.value)
    presidio._recognisers.cache_clear()
