"""Credentials in text: published shapes, values assigned to telling names, and how invented values are told apart."""

import base64
import binascii
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.text import signs
from goldsmith.engines.text.signs import Encoded, Literals

ASSIGNED, SESSION = "assigned value", "session token"
PASSWORD_IN_URL = "password in a URL"

# name, literal text that must be present (one of them), pattern of the secret (group 1)
_PUBLISHED: Final = (
    ("AWS access key id", "AKIA|ASIA|ABIA|ACCA", r"\b((?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16})\b"),
    ("GitHub token", "ghp_|gho_|ghu_|ghs_|ghr_", r"\b(gh[pousr]_[A-Za-z0-9]{36,251})\b"),
    ("GitHub fine-grained token", "github_pat_", r"\b(github_pat_[A-Za-z0-9_]{50,251})\b"),
    ("GitLab token", "glpat-|glptt-|gldt-|glrt-", r"\b(gl(?:pat|ptt|dt|rt)-[A-Za-z0-9_-]{20,64})"),
    ("Slack token", "xoxb-|xoxa-|xoxp-|xoxr-|xoxs-|xapp-|xoxe", r"\b((?:xox[abeprs]|xapp)-[A-Za-z0-9-]{20,250})"),
    ("Slack webhook", "hooks.slack.com", r"(hooks\.slack\.com/services/T\w{6,12}/B\w{6,12}/[A-Za-z0-9]{20,30})"),
    ("Anthropic key", "sk-ant-", r"\b(sk-ant-[A-Za-z0-9_-]{24,200})"),
    ("OpenAI key", "sk-", r"\b(sk-(?:proj-|svcacct-|admin-)?(?!ant-)[A-Za-z0-9_-]{32,220})"),
    ("Google API key", "AIza", r"\b(AIza[A-Za-z0-9_-]{35})(?![A-Za-z0-9_-])"),
    ("Google OAuth secret", "GOCSPX-", r"\b(GOCSPX-[A-Za-z0-9_-]{28})"),
    ("Google access token", "ya29.", r"\b(ya29\.[A-Za-z0-9_-]{60,300})"),
    (
        "Stripe key",
        "sk_live_|rk_live_|whsec_",
        r"\b((?:sk|rk)_live_[A-Za-z0-9]{20,120}|whsec_[A-Za-z0-9]{24,64})\b",
    ),
    ("SendGrid key", "SG.", r"\b(SG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{39,50})"),
    ("npm token", "npm_", r"\b(npm_[A-Za-z0-9]{36})\b"),
    ("PyPI token", "pypi-AgE", r"\b(pypi-AgE[A-Za-z0-9_-]{50,250})"),
    ("RubyGems key", "rubygems_", r"\b(rubygems_[a-f0-9]{48})\b"),
    ("Hugging Face token", "hf_", r"\b(hf_[A-Za-z]{34})\b"),
    ("Replicate token", "r8_", r"\b(r8_[A-Za-z0-9]{37})\b"),
    ("Groq key", "gsk_", r"\b(gsk_[A-Za-z0-9]{52})\b"),
    ("xAI key", "xai-", r"\b(xai-[A-Za-z0-9]{80})\b"),
    ("Perplexity key", "pplx-", r"\b(pplx-[A-Za-z0-9]{48})\b"),
    ("DigitalOcean token", "dop_v1_|doo_v1_|dor_v1_", r"\b(do[opr]_v1_[a-f0-9]{64})\b"),
    ("Databricks token", "dapi", r"\b(dapi[a-f0-9]{32}(?:-\d)?)\b"),
    ("Shopify token", "shpat_|shpss_|shpca_|shppa_", r"\b(shp(?:at|ss|ca|pa)_[a-fA-F0-9]{32})\b"),
    ("Twilio key", "SK", r"\b(SK[0-9a-f]{32})\b"),
    ("Mailgun key", "key-", r"\b(key-[0-9a-f]{32})\b"),
    ("Mailchimp key", "-us", r"\b([0-9a-f]{32}-us\d{1,2})\b"),
    ("Telegram bot token", ":AA", r"\b(\d{8,10}:AA[A-Za-z0-9_-]{33})"),
    ("Discord webhook", "discord", r"(discord(?:app)?\.com/api/webhooks/\d{17,20}/[A-Za-z0-9_-]{60,80})"),
    ("Azure storage key", "AccountKey=", r"AccountKey=([A-Za-z0-9+/]{86}==)"),
    ("Azure client secret", "8Q~", r"(?<![\w~.-])([A-Za-z0-9_~.]{3}8Q~[A-Za-z0-9_~.-]{31,34})"),
    ("Vault token", "hvs.", r"\b(hvs\.[A-Za-z0-9_-]{24,120})"),
    ("Terraform token", ".atlasv1.", r"\b([A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{60,80})"),
    ("Grafana token", "glsa_", r"\b(glsa_[A-Za-z0-9]{32}_[a-f0-9]{8})\b"),
    ("New Relic key", "NRAK-", r"\b(NRAK-[A-Z0-9]{27})\b"),
    ("Postman key", "PMAK-", r"\b(PMAK-[a-f0-9]{24}-[a-f0-9]{34})\b"),
    ("Linear key", "lin_api_", r"\b(lin_api_[A-Za-z0-9]{40})\b"),
    ("Notion token", "ntn_", r"\b(ntn_[A-Za-z0-9]{40,50})\b"),
    ("Airtable token", "pat", r"\b(pat[A-Za-z0-9]{14}\.[a-f0-9]{64})\b"),
    ("Atlassian token", "ATATT3x", r"\b(ATATT3x[A-Za-z0-9_=-]{100,220})"),
    ("Docker token", "dckr_pat_", r"\b(dckr_pat_[A-Za-z0-9_-]{27})"),
    ("Supabase token", "sbp_", r"\b(sbp_[a-f0-9]{40})\b"),
    ("Doppler token", "dp.pt.", r"\b(dp\.pt\.[A-Za-z0-9]{43})\b"),
    ("Square token", "EAAA|sq0csp-", r"\b(EAAA[A-Za-z0-9_-]{60}|sq0csp-[A-Za-z0-9_-]{43})"),
    ("Pulumi token", "pul-", r"\b(pul-[a-f0-9]{40})\b"),
    ("age key", "AGE-SECRET-KEY-1", r"\b(AGE-SECRET-KEY-1[0-9A-Z]{58})\b"),
    ("JSON web token", "eyJ", r"\b(eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{20,1000})"),
    (
        "private key",
        "PRIVATE KEY",
        r"-----BEGIN (?:[A-Z]{2,9} ){0,2}PRIVATE KEY(?: BLOCK)?-----\s{0,4}([A-Za-z0-9+/=\\n\s:,-]{60,200})",
    ),
    (PASSWORD_IN_URL, "://", r"\b[a-z][a-z0-9+]{2,12}://[^\s:/@]{1,60}:([^\s:/@]{6,80})@[\w.-]{3,}"),
)
SHAPES: Final[tuple[tuple[str, tuple[str, ...], re.Pattern[str]], ...]] = tuple(
    (name, tuple(anchors.split("|")), re.compile(pattern)) for name, anchors, pattern in _PUBLISHED
)
_ASSIGNED = re.compile(
    r"(api[_-]?key|secret[_-]?(?:access[_-]?)?key|access[_-]?(?:key|token)|auth[_-]?token|client[_-]?secret|bearer|"
    r"private[_-]?key|password|passwd|secret|session|token)[\"']?\s{0,3}(?:[:=]|"
    r"\bis\b)?\s{0,3}[\"']?([A-Za-z0-9+/_.~=-]{20,200})",
    re.I,
)
_ASSIGNED_ANCHORS = ("key", "Key", "KEY", "oken", "TOKEN", "ecret", "SECRET", "assw", "PASSW", "earer", "ession")
_ISSUED_NAME = re.compile(r"token|session|bearer", re.I)
# Long enough never to stand in a random value by chance ...
_MADE_UP = re.compile(
    r"example|sample|placeholder|change_?me|redacted|replace|insert|yourkey|your[_-]|yourapi|yourtoken|dummy|goes_?here|"
    r"xxxx|\*\*\*|\.\.\.|00000|12345|abcde|deadbeef|<|>|\{|\}",
    re.I,
)
# ... and those that could: they count as words of their own only.
_MADE_UP_WORD = re.compile(r"(?:^|[_.-])(?:test|fake|foo|bar|my|demo|mock|here|none|null|todo)(?:[_.-]|$)", re.I)
_COMMON_PASSWORDS = frozenset(
    [
        "password",
        "passwd",
        "passw0rd",
        "secret",
        "changeme",
        "letmein",
        "user",
        "username",
        "admin",
        "administrator",
        "root",
        "guest",
        "hunter2",
        "qwerty",
        "mypassword",
        "pass1234",
        "password1",
        "password123",
        "yourpassword",
        "mysecretpassword",
        "pwd",
        "postgres",
        "mysql",
        "redis",
        "rabbitmq",
    ]
)
_LEAST_ENTROPY = 3.5


def possible_shapes(texts: Encoded, table: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which of `SHAPES`, and as the last column an assigned value, a text can hold at all [texts, shapes + 1].

    `table`: the texts' `signs_table`.
    """
    held = _anchors().held(texts)
    ends = np.cumsum([len(anchors) for _, anchors, _ in SHAPES] + [len(_ASSIGNED_ANCHORS)])
    possible = np.logical_or.reduceat(held, np.concatenate([[0], ends[:-1]]), axis=1)
    possible[:, -1] &= table[:, -1] & signs.TOKEN != 0
    return possible


@cache
def _anchors() -> Literals:
    return Literals([anchor for _, anchors, _ in SHAPES for anchor in anchors] + list(_ASSIGNED_ANCHORS))


def found_secrets(text: str, issued: str = "", possible: Sequence[bool] | None = None) -> Iterator[tuple[str, str]]:
    """(kind, secret) of the credentials in a text that do not look made up.

    `issued`: what tools answered in the same row. A token that a tool handed out there is a `SESSION`: part of the
    conversation, not a key that somebody pasted. `possible`: the text's row of `possible_shapes`, if it is known.
    """
    if possible is None:
        alone = signs.encoded([text])
        possible = possible_shapes(alone, signs.signs_table(alone))[0].tolist()
    for (name, _, pattern), can_be in zip(SHAPES, possible, strict=False):
        if not can_be:
            continue
        for match in pattern.finditer(text):
            secret = match.group(1)
            if not made_up(secret, name):
                yield name, secret
    if possible[-1]:
        for match in _ASSIGNED.finditer(text):
            secret = match.group(2)
            kinds = (
                any(c.isdigit() for c in secret) + any(c.islower() for c in secret) + any(c.isupper() for c in secret)
            )
            if kinds >= 2 and any(c.isdigit() for c in secret) and not made_up(secret, ASSIGNED):
                handed_out = _ISSUED_NAME.search(match.group(1)) is not None and secret in issued
                yield SESSION if handed_out else ASSIGNED, secret


def made_up(secret: str, kind: str) -> bool:
    """Does a value look invented: too regular, a placeholder, a keyboard walk, a documented example?"""
    least = {PASSWORD_IN_URL: 2.5, ASSIGNED: _LEAST_ENTROPY}.get(kind, 3.0)
    if entropy_bits(secret) < least or _MADE_UP_WORD.search(secret) is not None or walks(secret):
        return True
    if kind == PASSWORD_IN_URL and secret.lower().strip("!@#$%") in _COMMON_PASSWORDS:
        return True
    if kind == "JSON web token" or (secret.startswith("eyJ") and secret.count(".") >= 2):
        return _documented_token(secret)
    return _MADE_UP.search(secret) is not None


def walks(secret: str) -> bool:
    """Do its digits or letters count up or down for seven steps (n9m8k7j6h5, a1b2c3d4e5), or does it repeat itself?"""
    low = secret.lower()
    digits = [ord(c) for c in low if c.isdigit()]
    letters = [ord(c) for c in low if c.isascii() and c.isalpha()]
    repeats = len({low[k : k + 4] for k in range(len(low) - 3)}) < 0.5 * len(low)
    return repeats or _longest_count(digits) >= 7 or _longest_count(letters) >= 7


def _longest_count(codes: list[int]) -> int:
    longest = run = 1
    step = 0
    for before, after in pairwise(codes):
        moved = after - before
        run = run + 1 if moved in (1, -1) and moved == step else 2 if moved in (1, -1) else 1
        step = moved
        longest = max(longest, run)
    return longest


def _documented_token(token: str) -> bool:
    """Is it a documentation's web token: a payload that speaks of John Doe, 1234567890 or an example?"""
    part = token.split(".")[1]
    try:
        payload = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return False
    return re.search(r"John Doe|1234567890|\bexample\b|Jane Doe|\"test\"", payload) is not None


def entropy_bits(text: str) -> float:
    """Shannon entropy of a text's characters, in bits a character."""
    counts = Counter(text).values()
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts) if text else 0.0
