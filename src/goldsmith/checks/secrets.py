"""Keys and passwords in the text: a model that learns them will say them."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

from goldsmith.engines.text.evidence import findings_by_group, mask
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.artifact import Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Severity

# name, literal text that must be present, pattern of the secret (group 1 if there is one)
_SHAPES: Final[tuple[tuple[str, tuple[str, ...], re.Pattern[str]], ...]] = tuple(
    (name, tuple(anchors.split('|')), re.compile(pattern))
    for name, anchors, pattern in (
        ("AWS access key id", "AKIA|ASIA|ABIA|ACCA", r"\b((?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16})\b"),
        ("GitHub token", "ghp_|gho_|ghu_|ghs_|ghr_", r"\b(gh[pousr]_[A-Za-z0-9]{36,251})\b"),
        ("GitHub fine-grained token", "github_pat_", r"\b(github_pat_[A-Za-z0-9_]{50,251})\b"),
        ("GitLab token", "glpat-", r"\b(glpat-[A-Za-z0-9_-]{20,64})"),
        ("Slack token", "xoxb-|xoxa-|xoxp-|xoxr-|xoxs-|xapp-|xoxe", r"\b((?:xox[abeprs]|xapp)-[A-Za-z0-9-]{20,250})"),
        ("Slack webhook", "hooks.slack.com", r"(hooks\.slack\.com/services/T\w{6,12}/B\w{6,12}/[A-Za-z0-9]{20,30})"),
        ("Anthropic key", "sk-ant-", r"\b(sk-ant-[A-Za-z0-9_-]{24,200})"),
        ("OpenAI key", "sk-", r"\b(sk-(?:proj-|svcacct-|admin-)?(?!ant-)[A-Za-z0-9_-]{32,220})"),
        ("Google API key", "AIza", r"\b(AIza[A-Za-z0-9_-]{35})(?![A-Za-z0-9_-])"),
        ("Google OAuth secret", "GOCSPX-", r"\b(GOCSPX-[A-Za-z0-9_-]{28})"),
        ("Stripe key", "sk_live_|rk_live_|whsec_",
            r"\b((?:sk|rk)_live_[A-Za-z0-9]{20,120}|"
            r"whsec_[A-Za-z0-9]{24,64})\b"),
        ("SendGrid key", "SG.", r"\b(SG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{39,50})"),
        ("npm token", "npm_", r"\b(npm_[A-Za-z0-9]{36})\b"),
        ("PyPI token", "pypi-AgE", r"\b(pypi-AgE[A-Za-z0-9_-]{50,250})"),
        ("Hugging Face token", "hf_", r"\b(hf_[A-Za-z]{34})\b"),
        ("DigitalOcean token", "dop_v1_|doo_v1_", r"\b(do[opr]_v1_[a-f0-9]{64})\b"),
        ("Databricks token", "dapi", r"\b(dapi[a-f0-9]{32}(?:-\d)?)\b"),
        ("Shopify token", "shpat_|shpss_|shpca_|shppa_", r"\b(shp(?:at|ss|ca|pa)_[a-fA-F0-9]{32})\b"),
        ("Twilio key", "SK", r"\b(SK[0-9a-f]{32})\b"),
        ("Mailgun key", "key-", r"\b(key-[0-9a-f]{32})\b"),
        ("Telegram bot token", ":AA", r"\b(\d{8,10}:AA[A-Za-z0-9_-]{33})\b"),
        ("Discord webhook", "discord", r"(discord(?:app)?\.com/api/webhooks/\d{17,20}/[A-Za-z0-9_-]{60,80})"),
        ("Azure storage key", "AccountKey=", r"AccountKey=([A-Za-z0-9+/]{86}==)"),
        ("JSON web token", "eyJ", r"\b(eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{20,1000})"),
        (
            "private key",
            "PRIVATE KEY",
            r"-----BEGIN (?:[A-Z]{2,9} ){0,2}PRIVATE KEY(?: BLOCK)?-----\s{0,4}([A-Za-z0-9+/=\\n\s:,-]{60,200})",
        ),
        ("password in a URL", "://", r"\b[a-z][a-z0-9+]{2,12}://[^\s:/@]{1,60}:([^\s:/@]{6,80})@[\w.-]{3,}"),
    )
)  # fmt: skip
_ASSIGNED = re.compile(
    r"(?:api[_-]?key|secret[_-]?(?:access[_-]?)?key|access[_-]?(?:key|token)|auth[_-]?token|client[_-]?secret|bearer|"
    r"private[_-]?key|password|passwd|secret|token)[\"']?\s{0,3}(?:[:=]|"
    r"\bis\b)?\s{0,3}[\"']?([A-Za-z0-9+/_.~=-]{20,200})",
    re.I,
)
_ASSIGNED_ANCHORS = ("key", "Key", "KEY", "oken", "TOKEN", "ecret", "SECRET", "assw", "PASSW", "earer")
_DUMMY = re.compile(
    r"example|dummy|sample|placeholder|changeme|redacted|replace|insert|your|my[_-]|test|fake|foo|xxx|"
    r"\*\*\*|\.\.\.|0000|"
    r"12345|abcde|<|>|\{|\}",
    re.I,
)
_LEAST_ENTROPY = 3.5


class Secrets(Spec):
    """Credentials by their published shapes, and high-entropy values assigned to names such as `api_key` or
    `password`.

    Evidence is masked. Values that are visibly made up (`example`, `your_key`, `xxxx`, runs such as `12345`, low
    entropy) are left alone, and so is everything in `allow`. Records with a credential of a known shape are left out;
    an assigned value is a warning.
    """

    id: ClassVar[str] = "secrets"
    version: ClassVar[int] = 1
    allow: tuple[str, ...] = ()

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """Score 1 for a credential of a known shape, 0.6 for an assigned high-entropy value."""
        view = project(rows)
        shaped: dict[int, str] = {}
        assigned: dict[int, str] = {}
        for index in range(len(view)):
            for kind, secret in found_secrets(_everything(view, index)):
                if secret in self.allow:
                    continue
                (assigned if kind == "assigned value" else shaped).setdefault(index, f"{kind} {mask(secret)}")
        scores: list[float | None] = [1.0 if i in shaped else 0.6 if i in assigned else 0.0 for i in range(len(view))]
        findings = findings_by_group(
            view, shaped, check=self.id, severity=Severity.EXCLUDE, score=1.0,
            evidence="{n} with a credential of a known shape", examples=shaped,
        )  # fmt: skip
        findings += findings_by_group(
            view, assigned.keys() - shaped.keys(), check=self.id, severity=Severity.WARN, score=0.6,
            evidence="{n} with a random-looking value assigned to a key, token or password", examples=assigned,
        )  # fmt: skip
        return CheckReport(findings, scores, facts={"known_shape": len(shaped), "assigned": len(assigned)})


def _everything(view: ProjectedRows, index: int) -> str:
    return f"{view.columns.full[index]}\n{view.columns.system[index]}"


def found_secrets(text: str) -> Iterator[tuple[str, str]]:
    """(kind, secret) of the credentials in a text that do not look made up."""
    for name, anchors, pattern in _SHAPES:
        if not any(anchor in text for anchor in anchors):
            continue
        for match in pattern.finditer(text):
            secret = match.group(1)
            if _random_looking(secret, least=2.5 if name == "password in a URL" else 3.0):
                yield name, secret
    if any(anchor in text for anchor in _ASSIGNED_ANCHORS):
        for match in _ASSIGNED.finditer(text):
            secret = match.group(1)
            kinds = (
                any(c.isdigit() for c in secret) + any(c.islower() for c in secret) + any(c.isupper() for c in secret)
            )
            if kinds >= 2 and any(c.isdigit() for c in secret) and _random_looking(secret, least=_LEAST_ENTROPY):
                yield "assigned value", secret


def _random_looking(secret: str, *, least: float) -> bool:
    return entropy_bits(secret) >= least and _DUMMY.search(secret) is None


def entropy_bits(text: str) -> float:
    """Shannon entropy of a text's characters, in bits a character."""
    counts = Counter(text).values()
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts) if text else 0.0


def _row(text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": "How do I log in?"}, {"role": "assistant", "content": text}]}


_PARTS = (
    "AKIA",
    "Q3ZTNV7WKHD2MRBX",
    "ghp_",
    "kT9vQ2mZx7LwB4nRc8YdJ1fHs6GpE3aVuXo5",
    "8fQ2zL7vRk3TmN9w",
    "XpB6cYd1HsJ4",
)
CAUGHT = [
    _row(f"Use the key {_PARTS[0]}{_PARTS[1]} for the bucket."),
    _row(f"git clone with {_PARTS[2]}{_PARTS[3]}"),
    _row(f"api_key = '{_PARTS[4]}{_PARTS[5]}'"),
]
CLEAN = [
    _row("Set AWS_ACCESS_KEY_ID to AKIAIOSFODNN7EXAMPLE, as the manual does."),
    _row("api_key = 'your_api_key_goes_here_1234'"),
    _row("password: correct horse battery staple"),
    _row("The token economy of the village depends on bicycles and on nothing else."),
]
