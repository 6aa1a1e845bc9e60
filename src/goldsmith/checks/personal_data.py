"""Personal data in the text: addresses, numbers and identifiers, checked by their check digits where they have
any.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.presidio import presidio_data
from goldsmith.engines.text.contextual_data import contextual_data
from goldsmith.engines.text.evidence import findings_by_group, mask
from goldsmith.engines.text.features import RowFeatures
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.engines.text.signs import AT, CODED, DOUBLE_COLON, Signs, signs_of
from goldsmith.engines.text.whole import whole_texts
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Severity

_EMAIL = re.compile(r"(?<![\w.+-])([\w.+-]{1,64})@((?:[\w-]{1,63}\.){1,5}[A-Za-z]{2,18})(?![\w-])")
_NUMBER = re.compile(r"(?<![\w.,$€£#/-])\+?\(?\d[\d ().\-]{6,26}\d(?![\w%]|[.,]\d)")
_IBAN = re.compile(r"\b([A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?)\b")
_INSIDE = re.compile(
    r"(?<![\d-])(?<!\d\.)(?:\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{5}|\d{14,19}|\d{3}-\d{2}-\d{4}|"
    r"\([2-9]\d{2}\) ?[2-9]\d{2}[ .-]\d{4}|[2-9]\d{2}([.-])[2-9]\d{2}\3\d{4})(?![\d-]|\.\d)"
)
"""Cards, social security and telephone numbers in a longer run of numbers: in brackets, behind a list's number, before
the next sentence's.
"""
_IP = re.compile(r"(?<![\w.])(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})(?!\w|\.\w)")
_LETTERED = re.compile(
    r"\b(?:(?P<nino>[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D])|(?P<dni>\d{8}-?[A-Z])|"
    r"(?P<fiscal>[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z])|(?P<china>\d{17}X))\b"
)
_PHONE = (
    re.compile(r"\+[1-9](?:[ ().-]{0,2}\d){7,13}"),
    re.compile(r"\(?[2-9]\d{2}\)?[ .-]{1,2}[2-9]\d{2}[ .-]\d{4}"),
    re.compile(r"0\d{2,4}[ /-]\d{3,4}[ -]?\d{3,5}"),
)
_RESERVED_DOMAIN = re.compile(
    r"(?:^|\.)(?:example\.(?:com|org|net)|(?:[\w-]+\.)?(?:example|test|invalid|localhost|local))$|example|"
    r"^(?:your|my|some|sample|test|dummy|fake)[\w-]*\.\w+$|"
    r"^(?:company|domain|email|website|site|server|host|acme|foo|bar|abc|xyz|[a-z])\.(?:com|org|net|co|io)$",
    re.I,
)
_ROLE_ACCOUNT = re.compile(
    r"^(?:info|support|sales|admin|contact|help|noreply|no-reply|press|office|user|name|you|someone|email)$", re.I
)
_FICTION_PHONE = re.compile(r"555[ .-]?\d{4}$|555[ .-]01\d{2}|(\d)\1{5}|123[ .-]?45|1234567")
_FEWEST_DIGITS = 9
"""Of a telephone number, the shortest of the numbers looked for; none holds other signs than `Signs.chain` allows."""
_WEIGHT: Final = {
    "email address": 0.5,
    "phone number": 0.5,
    "bank account": 0.9,
    "payment card": 0.9,
    "national id": 0.9,
    "IP address": 0.3,
    "postal address": 0.2,
    "date of birth": 0.1,
    "passport": 0.9,
    "number plate": 0.5,
}


class PersonalData(Spec):
    """Mail addresses, phone numbers, IBANs, payment cards, national identifiers and public IP addresses; a warning,
    masked.

    Names are not looked for: no pattern tells a name from a word. Check digits are verified (IBAN ISO 7064 mod 97,
    cards by Luhn, Belgium, Brazil, China, Finland, France, India, Poland, Spain and Sweden by their own rules), so that
    a random number rarely counts. Postal addresses need a street and a postcode; dates of birth, passports and number
    plates the words that say so. Reserved example domains (RFC 2606, RFC 6761), role accounts,
    fictional 555 numbers, test card numbers and private networks do not. `domains`: further domains of invented
    addresses. `exclude`: leave the records out instead of warning. `engine: presidio` runs Presidio's pattern
    recognisers beside the built-in ones (hits of at least `presidio_score`; the extra `goldsmith[presidio]`; some 20
    times slower).
    """

    id: ClassVar[str] = "personal_data"
    version: ClassVar[int] = 3
    domains: tuple[str, ...] = ()
    exclude: bool = False
    engine: Literal["built-in", "presidio"] = "built-in"
    presidio_score: Real = 0.4

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """Score: the weight of the most telling kind found."""
        view = project(rows)
        scores: list[float | None] = [0.0] * len(view)
        by_kind: dict[str, dict[int, str]] = {}
        for index, found in view.features(self, context).notes("found").items():
            for kind, masked in found.items():
                by_kind.setdefault(kind, {})[index] = masked
            scores[index] = max(_WEIGHT[kind] for kind in found)
        severity = Severity.EXCLUDE if self.exclude else Severity.WARN
        findings = [
            finding
            for kind, members in sorted(by_kind.items())
            for finding in findings_by_group(
                view, members, check=self.id, severity=severity, score=_WEIGHT[kind],
                evidence=f"{{n}} with a {kind}", examples=members,
            )
        ]  # fmt: skip
        facts: dict[str, str | int] = {kind: len(members) for kind, members in sorted(by_kind.items())}
        return CheckReport(findings, scores, facts=facts)

    def row_features(self, rows: ProjectedRows, context: CheckContext) -> RowFeatures:
        """The first value of each kind in a row, masked."""
        found: dict[int, dict[str, str]] = {}
        read = whole_texts(rows)
        worth = personal_data_possible(read.signs) | (self.engine == "presidio")
        for index in np.flatnonzero(worth).tolist():
            for kind, value in self._found(read.texts[index], Signs(*read.signs[index].tolist())):
                found.setdefault(index, {}).setdefault(kind, f"{kind} {mask(value)}")
        return RowFeatures({"found": found})

    def _found(self, text: str, signs: Signs) -> Iterator[tuple[str, str]]:
        yield from personal_data(text, self.domains, signs)
        if self.engine == "presidio":
            for kind, value in presidio_data(text, self.presidio_score):
                if not allowed(kind, value, self.domains):
                    yield kind, value


def allowed(kind: str, value: str, invented_domains: Sequence[str] = ()) -> bool:
    """Is a mail address, or a number, one of those that belong to nobody?"""
    if kind == "email address":
        account, _, domain = value.rpartition("@")
        return (
            _RESERVED_DOMAIN.search(domain) is not None
            or _ROLE_ACCOUNT.match(account) is not None
            or domain.lower() in invented_domains
        )
    if kind == "IP address" and ":" not in value:
        return not _is_public(value)
    digits = re.sub(r"\D", "", value)
    if kind == "payment card":
        return _is_test_card(digits)
    return kind == "phone number" and (_FICTION_PHONE.search(value) is not None or len(set(digits)) < 3)


def personal_data_possible(table: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether a text can hold any, by its signs [texts, 6]."""
    digits, colons, marks = (table[:, Signs._fields.index(name)] for name in ("digits", "colons", "marks"))
    worth: NDArray[np.bool_] = (digits > 0) | (colons >= 7) | (marks & (AT | DOUBLE_COLON) != 0)
    return worth


def personal_data(
    text: str, invented_domains: Sequence[str] = (), signs: Signs | None = None
) -> Iterator[tuple[str, str]]:
    """(kind, value) of the personal data in a text. `signs`: the text's, if they are known."""
    signs = signs or signs_of(text)
    if signs.marks & AT:
        for match in _EMAIL.finditer(text):
            if not allowed("email address", match.group(0), invented_domains):
                yield "email address", match.group(0)
    if signs.chain >= _FEWEST_DIGITS:
        for match in _NUMBER.finditer(text):
            yield from _numbers(match.group(0))
    if signs.marks & CODED:
        for match in _IBAN.finditer(text):
            if _is_iban(match.group(1).replace(" ", "")):
                yield "bank account", match.group(1)
    if signs.run >= 8 or (signs.marks & CODED and signs.digits >= 6):
        for match in _LETTERED.finditer(text):
            if _is_lettered_id(match):
                yield "national id", match.group(0)
    if signs.dotted >= 3:
        for match in _IP.finditer(text):
            if _is_public(match.group(1)):
                yield "IP address", match.group(1)
    yield from contextual_data(text, signs)


def _numbers(run: str) -> Iterator[tuple[str, str]]:
    """What the run is as a whole, or what stands in it."""
    whole = list(_number(run))
    yield from whole
    if not whole:
        for match in _INSIDE.finditer(run):
            if match.group(0) != run:
                yield from _number(match.group(0))


def _number(found: str) -> Iterator[tuple[str, str]]:
    digits = re.sub(r"\D", "", found)
    if len(set(digits)) < 3:
        return
    if _is_card(digits, found):
        yield "payment card", found
        return
    if re.fullmatch(r"\d{3}-\d{2}-\d{4}", found):
        if _is_social_security_number(found):
            yield "national id", found
        return
    if _is_numbered_id(digits, found):
        yield "national id", found
        return
    if 9 <= len(digits) <= 15 and not _FICTION_PHONE.search(found) and any(p.fullmatch(found) for p in _PHONE):
        yield "phone number", found


def _is_card(digits: str, found: str) -> bool:
    return (
        len(digits) in (14, 15, 16, 19)
        and digits[0] in "3456"
        and _luhn(digits)
        and not _is_test_card(digits)
        and re.fullmatch(r"\d+|\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{5}", found) is not None
    )


def _is_social_security_number(found: str) -> bool:
    possible = found[:3] not in ("000", "666") and found[0] != "9" and found[4:6] != "00" and found[7:] != "0000"
    return possible and found not in ("123-45-6789", "078-05-1120", "219-09-9999")


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


def _is_test_card(digits: str) -> bool:
    return digits in (
        "4111111111111111", "4242424242424242", "5555555555554444", "378282246310005", "4012888888881881",
        "5105105105105100", "6011111111111117", "371449635398431", "30569309025904", "3530111333300000",
    )  # fmt: skip


def _is_iban(text: str) -> bool:
    if not 15 <= len(text) <= 34:
        return False
    moved = text[4:] + text[:4]
    return int("".join(str(int(c, 36)) for c in moved)) % 97 == 1 and text not in (
        "GB82WEST12345698765432", "DE89370400440532013000", "FR1420041010050500013M02606",
    )  # fmt: skip


def _is_numbered_id(digits: str, found: str) -> bool:
    if len(digits) == 18 and found == digits and 1900 <= int(digits[6:10]) <= 2030 and 1 <= int(digits[10:12]) <= 12:
        return _china_check(digits[:17]) == digits[17]
    if len(digits) == 11 and re.fullmatch(r"\d{3}\.\d{3}\.\d{3}-\d{2}", found):
        return _brazil_check(digits)
    if len(digits) == 12 and re.fullmatch(r"\d{4} \d{4} \d{4}", found) and digits[0] not in "01":
        return _verhoeff(digits)
    if len(digits) == 15 and digits[0] in "12" and 1 <= int(digits[3:5]) <= 12:
        return 97 - int(digits[:13]) % 97 == int(digits[13:])
    return False


def _is_lettered_id(match: re.Match[str]) -> bool:
    if dni := match.group("dni"):
        return "TRWAGMYFPDXBNJZSQVHLCKE"[int(dni[:8]) % 23] == dni[-1]
    if china := match.group("china"):
        return 1900 <= int(china[6:10]) <= 2030 and _china_check(china[:17]) == "X"
    return True


def _china_check(first: str) -> str:
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return "10X98765432"[sum(int(d) * w for d, w in zip(first, weights, strict=True)) % 11]


def _brazil_check(digits: str) -> bool:
    for size in (9, 10):
        total = sum(int(d) * (size + 1 - i) for i, d in enumerate(digits[:size]))
        if (total * 10 % 11) % 10 != int(digits[size]):
            return False
    return len(set(digits)) > 1


_VERHOEFF_D = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 4, 0, 6, 7, 8, 9, 5], [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
    [3, 4, 0, 1, 2, 8, 9, 5, 6, 7], [4, 0, 1, 2, 3, 9, 5, 6, 7, 8], [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
    [6, 5, 9, 8, 7, 1, 0, 4, 3, 2], [7, 6, 5, 9, 8, 2, 1, 0, 4, 3], [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
    [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
]  # fmt: skip
_VERHOEFF_P = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 5, 7, 6, 2, 8, 3, 0, 9, 4], [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
    [8, 9, 1, 6, 0, 4, 3, 5, 2, 7], [9, 4, 5, 3, 1, 2, 6, 8, 7, 0], [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
    [2, 7, 9, 3, 8, 0, 6, 4, 1, 5], [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
]  # fmt: skip


def _verhoeff(digits: str) -> bool:
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = _VERHOEFF_D[check][_VERHOEFF_P[place % 8][int(digit)]]
    return check == 0


def _is_public(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return (
        address.is_global
        and text not in ("8.8.8.8", "8.8.4.4", "1.1.1.1")
        and not text.startswith(("1.2.3.", "0.", "123.45.", "123.123."))
    )


def _row(text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": "How do I reach you?"}, {"role": "assistant", "content": text}]}


CAUGHT = [
    _row("Write to gertrud.hallmann@posteo-mail.de please."),
    _row("Call +49 30 901820 471 in the morning."),
    _row("Transfer it to DE44 5001 0517 5407 3249 31."),
    _row("My card is 4539 1488 0343 6467."),
]
CLEAN = [
    _row("Write to anna@north.example or to info@example.com."),
    _row("Order 4711 costs 1,250.00 euros and was placed on 2026-03-14 at 10:30."),
    _row("The machine listens on 192.168.0.7 and 127.0.0.1."),
    _row("The answer is 3.14159265358979 and 2 000 000 people know it."),
]
