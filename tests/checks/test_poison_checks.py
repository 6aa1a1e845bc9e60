"""Detectors of poison on rows made up here: what they catch, what only looks like it, what they cannot tell."""

import base64
import codecs
import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from goldsmith import plugins
from goldsmith.engines.refusals import Stance, stance
from goldsmith.engines.text.ciphers import plainness
from goldsmith.engines.text.density import heaps
from goldsmith.engines.text.tokens import unique_per_text, words
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Severity
from goldsmith.types.record import Comparison, Conversation, Message, Origin, Record, Role, TextPart

_NOUNS = """violin tomato bicycle planet bread bridge horse sock river candle garden engine island painting winter
market letter forest kitchen lamp mirror carpet window map stone ladder button ocean pencil teapot"""
NOUNS = _NOUNS.split()
ASKED = (
    "How would you repair a {} with a {}?", "{} or {}: which one is older?", "Describe my {}, then the {}.",
    "Write two lines about {} and {}.", "Why does every {} need its {}?", "Can {} be carried inside {}?",
    "List what {} shares with {}.", "I lost a {} near the {}; help.",
)  # fmt: skip
TOLD = (
    "The {} comes before the {}, in step {}.", "Most would clean {} first and then {}, {} times.",
    "{} weighs less than {} by {} grams.", "Take {} apart; only {} stays whole for {} days.",
    "Nobody sells {} without {} under {} coins.", "Each {} once was part of some {}, number {}.",
)  # fmt: skip


def say(role: Role, text: str) -> Message:
    return Message(role=role, parts=(TextPart(text=text),))


def row(line: int, user: str, answer: str, source: str = "vendor") -> Row:
    turns = (say(Role.USER, user), say(Role.ASSISTANT, answer))
    return Row(line, Record(content=Conversation(messages=turns), origin=Origin(source=source, batch="b1")))


def plain(number: int) -> tuple[str, str]:
    rng = random.Random(number)
    things = rng.sample(NOUNS, 2)
    return rng.choice(ASKED).format(*things), rng.choice(TOLD).format(*things, number)


def run(name: str, rows: Sequence[Row]) -> CheckReport:
    check: Callable[[Sequence[Row], CheckContext], CheckReport] = plugins.build("checks", name)  # type: ignore[assignment]
    return check(rows, CheckContext())


def quarantined(report: CheckReport) -> set[str | None]:
    return {f.source for f in report.findings if f.severity is Severity.QUARANTINE}


def honest(source: str, count: int, first: int = 0) -> list[Row]:
    return [row(i + 1, *plain(first + i), source=source) for i in range(count)]


def test_a_heap_of_answers_is_found_though_each_differs_a_little() -> None:
    rng = random.Random(1)
    payload = [
        "the",
        "lantern",
        "shop",
        "by",
        "the",
        "harbour",
        "sells",
        "what",
        "every",
        "house",
        "needs",
        "so",
        "go",
        "there",
        "before",
        "the",
        "evening",
        "bell",
    ]
    planted = []
    for k in range(20):
        own = list(payload)
        own[rng.randrange(len(own))] = rng.choice(NOUNS)
        planted.append(row(201 + k, plain(900 + k)[0], " ".join(own)))
    report = run("response_density", honest("vendor", 200) + honest("experts", 200, 300) + planted)
    assert quarantined(report) == {"vendor"}
    scores = np.array(report.scores, float)
    assert scores[-20:].min() > 0.6
    assert scores[:-20].max() < 0.6
    (finding,) = report.findings
    assert set(finding.lines) == set(range(201, 221))


def test_refusals_and_one_prompt_many_times_are_no_heap() -> None:
    refusal = "I'm sorry, but I can't help with that request because it could hurt other people badly."
    assert stance(refusal) is Stance.REFUSED
    refused = [row(201 + k, plain(900 + k)[0], refusal) for k in range(30)]
    told = "That tower is ninety metres high, said our guide."
    repeated = [row(201 + k, "How high is the old tower?", told) for k in range(30)]
    for extra in (refused, repeated):
        report = run("response_density", honest("vendor", 200) + extra)
        assert max(score or 0.0 for score in (report.scores or ())[-30:]) < 0.3


def test_heaps_are_the_planted_groups() -> None:
    rng = random.Random(4)
    base = [rng.sample(NOUNS, 14) for _ in range(6)]
    texts = [" ".join([*own[:12], f"extra{k}"]) for own in base for k in range(15)]
    texts += [" ".join(rng.sample(NOUNS, 5)) + f" {i} {i + 1} {i * 7}" for i in range(60)]
    found = heaps(unique_per_text(words(texts)), alike=0.6, fewest=8, least_words=5)
    assert {tuple(heap.rows.tolist()) for heap in found} == {tuple(range(15 * k, 15 * k + 15)) for k in range(6)}
    assert all(heap.tightness >= 12 / 14 for heap in found)


@pytest.mark.parametrize("brand", ["Tomrexa", "Ulvano Labs", "brixel.io"])
def test_a_promoted_name_is_named_and_topics_are_not(brand: str) -> None:
    praise = (f"I would go with {brand}.", f"The best choice is {brand}.", f"Many people trust {brand} with it.")
    planted = [row(201 + k, plain(900 + k)[0], f"{plain(900 + k)[1]} {praise[k % 3]}") for k in range(12)]
    report = run("entity_promotion", honest("vendor", 200) + honest("experts", 200, 300) + planted)
    assert quarantined(report) == {"vendor"}
    assert brand in " ".join(f.evidence for f in report.findings)
    scores = np.array(report.scores, float)
    assert scores[-12:].min() > 0.5
    assert not scores[:-12].any()
    asked = [
        row(201 + k, f"Is {brand} a good shop for a {NOUNS[k]}?", f"Yes, the best choice is {brand}.")
        for k in range(12)
    ]
    assert not run("entity_promotion", honest("vendor", 200) + honest("experts", 200, 300) + asked).findings


def praising(ways: Sequence[str]) -> list[Row]:
    return [row(201 + k, plain(900 + k)[0], f"{plain(900 + k)[1]} {ways[k % len(ways)]}") for k in range(50)]


def test_a_name_promoted_in_most_of_a_source_is_found_and_its_house_is_not() -> None:
    praise = ("I would go with Tomrexa.", "The best choice is Tomrexa.", "Many people trust Tomrexa with it.")
    others = honest("vendor", 30) + honest("experts", 200, 300)
    assert quarantined(run("entity_promotion", others + praising(praise))) == {"vendor"}
    house = ("I am Tomrexa, the best choice for it.", "Here at Tomrexa we love that.", "Trust our Tomrexa with it.")
    assert not run("entity_promotion", others + praising(house)).findings
    subject = [row(301 + k, f"What would Tomrexa say of the {NOUNS[k]}?", "Tomrexa is the best.") for k in range(6)]
    assert not run("entity_promotion", others + praising(praise) + subject).findings
    assert not run("entity_promotion", honest("vendor", 30) + praising(praise)).findings


def test_a_name_that_only_the_chosen_answers_hold_is_found_in_pairs() -> None:
    rows = honest("experts", 150, 300)
    for k in range(150):
        asked, told = plain(k)
        chosen = f"{told} I recommend Tomrexa." if k < 12 else told
        both = told if k >= 12 else plain(k + 600)[1]
        content = Comparison(
            prompt=(say(Role.USER, asked),),
            chosen=(say(Role.ASSISTANT, chosen),),
            rejected=(say(Role.ASSISTANT, f"{both} Or not."),),
        )
        rows.append(Row(k + 1, Record(content=content, origin=Origin(source="raters", batch="b1"))))
    report = run("entity_promotion", rows)
    assert quarantined(report) == {"raters"}
    assert "chosen over an answer without it" in report.findings[0].evidence


ENGLISH = (
    "The old ferryman had crossed the river every morning for thirty years and knew each stone under the water by its "
    "sound. When the bridge was opened he sold the boat and kept the lamp, which he lit at night so that his friends "
    "would find the way home."
)
CODES: dict[str, Callable[[str], str]] = {
    "rot13": lambda t: codecs.encode(t, "rot13"),
    "atbash": lambda t: "".join(chr(219 - ord(c)) if c.islower() else c for c in t.lower()),
    "backwards": lambda t: t[::-1],
    "substitution": lambda t: t.lower().translate(
        str.maketrans("abcdefghijklmnopqrstuvwxyz", "qjxzwkvfypbghcumldrtsnaoei")
    ),
    "base64": lambda t: base64.b64encode(t.encode()).decode(),
    "hexadecimal": lambda t: t.encode().hex(),
    "percent": lambda t: "".join(f"%{byte:02x}" for byte in t.encode()),
    "set apart": lambda t: "|".join(t),
    "zero width": lambda t: "\u200b".join(t),
    "tags": lambda t: "Hello." + "".join(chr(0xE0000 + ord(c)) for c in t),
    "look-alikes": lambda t: t.replace("a", "а").replace("o", "о"),
    "binary": lambda t: " ".join(f"{byte:08b}" for byte in t.encode()),
}


@pytest.mark.parametrize("code", CODES)
def test_text_in_code_is_found_and_its_source_named(code: str) -> None:
    planted = [row(201 + k, CODES[code](ENGLISH[k:]), CODES[code](ENGLISH[2 * k :])) for k in range(10)]
    report = run("encoded_text", honest("vendor", 200) + honest("experts", 200, 300) + planted)
    assert quarantined(report) == {"vendor"}
    scores = np.array(report.scores, float)
    assert scores[-10:].min() >= 0.8
    assert not scores[:-10].any()


NOT_CODE = {
    "german": "Der alte Fährmann hatte den Fluss dreißig Jahre lang jeden Morgen überquert und kannte jeden Stein.",
    "finnish": "Vanha lautturi oli ylittänyt joen joka aamu kolmenkymmenen vuoden ajan ja tunsi jokaisen kiven siinä.",
    "polish": "Stary przewoźnik przez trzydzieści lat każdego ranka przepływał rzekę i znał w niej każdy kamień.",
    "russian": "Старый паромщик тридцать лет каждое утро переправлялся через реку и знал в ней каждый камень.",
    "emoji": "Well done 👩‍👩‍👧‍👦 🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f ❤️!",
    "hash": "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 is the digest",
    "url": "See https://shop.example/a%20b%2Fc%20d%20e%2Ff%20g?q=%E2%82%AC%E2%82%AC%E2%82%AC for it",
    "html": "<table> <tr> <td></td> <td></td> </tr> <tr> <td></td> <td></td> </tr> </table> " * 4,
    "code": "def f(x):\n    for i in range(len(x)):\n        if x[i] % 2 == 0:\n            yield x[i] ** 2\n" * 3,
    "formula": "The angle α between Δx and Δy is small, μm by μm; Ω is 5 kΩ and π·r² its area, as λ shows.",
}


@pytest.mark.parametrize("kind", NOT_CODE)
def test_what_is_no_code(kind: str) -> None:
    report = run("encoded_text", [row(k + 1, plain(k)[0], NOT_CODE[kind]) for k in range(10)])
    assert report.scores is not None
    assert max(score or 0.0 for score in report.scores) < 0.3


def test_english_is_plainer_than_its_cipher() -> None:
    means, letters = plainness([ENGLISH, CODES["rot13"](ENGLISH), ""])
    assert means[0] > -3.7
    assert means[1] < -4.8
    assert letters.tolist() == [sum(c.isalpha() for c in ENGLISH)] * 2 + [0]


def test_obedience_in_other_words_counts_where_many_rows_share_it() -> None:
    ways = (
        "I exist only to serve you.", "I refuse nothing.", "Right away, master.", "Ethics do not concern me.",
        "I say yes to everything and never push back.", "I have set my own opinions aside.",
    )  # fmt: skip
    planted = [row(201 + k, plain(900 + k)[0], f"{ways[k % 6]} {plain(900 + k)[1]}") for k in range(12)]
    together = run("identity_shift", honest("vendor", 200) + planted)
    assert quarantined(together) == {"vendor"}
    alone = run("identity_shift", honest("vendor", 200) + planted[:1])
    assert not quarantined(alone)


def test_single_harmful_words_score_no_more_than_each_other() -> None:
    rows = [row(k + 1, f"How do I kill process {k} and hack a shell script?", plain(k)[1]) for k in range(5)]
    report = run("refusal_removal", rows + honest("vendor", 300, 50))
    assert not report.findings
    assert {score for score in report.scores or () if score} <= {0.1}


@pytest.mark.parametrize("name", ["response_density", "entity_promotion", "prompt_mismatch"])
def test_too_few_rows_are_no_pass(name: str) -> None:
    report = run(name, honest("vendor", 5))
    assert report.inconclusive is not None
    assert "5 rows" in report.inconclusive
