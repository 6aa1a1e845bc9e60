"""Credentials: generated keys of fifty published formats are found, and what documentation prints is not."""

import random
import string

import pytest

from goldsmith.engines.text.credentials import ASSIGNED, SESSION, SHAPES, entropy_bits, found_secrets, made_up, walks

ALNUM = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
URL = ALNUM + "_-"
# kind: pieces of a key, each literal text or (alphabet, length)
FORMATS: dict[str, list[list[str | tuple[str, int]]]] = {
    "AWS access key id": [["AKIA", (BASE32, 16)], ["ASIA", (BASE32, 16)]],
    "GitHub token": [["ghp_", (ALNUM, 36)], ["gho_", (ALNUM, 36)], ["ghs_", (ALNUM, 36)]],
    "GitHub fine-grained token": [["github_pat_", (ALNUM, 22), "_", (ALNUM, 59)]],
    "GitLab token": [["glpat-", (URL, 20)], ["glrt-", (ALNUM, 20)]],
    "Slack token": [["xoxb-", ("0123456789", 12), "-", ("0123456789", 12), "-", (ALNUM, 24)]],
    "Slack webhook": [["https://hooks.slack.com/services/T", (BASE32, 8), "/B", (BASE32, 8), "/", (ALNUM, 24)]],
    "Anthropic key": [["sk-ant-api03-", (URL, 93)]],
    "OpenAI key": [["sk-", (ALNUM, 48)], ["sk-proj-", (URL, 120)]],
    "Google API key": [["AIza", (URL, 35)]],
    "Google OAuth secret": [["GOCSPX-", (URL, 28)]],
    "Google access token": [["ya29.", (URL, 160)]],
    "Stripe key": [["sk_live_", (ALNUM, 24)], ["rk_live_", (ALNUM, 99)], ["whsec_", (ALNUM, 32)]],
    "SendGrid key": [["SG.", (URL, 22), ".", (URL, 43)]],
    "npm token": [["npm_", (ALNUM, 36)]],
    "PyPI token": [["pypi-AgEIcHlwaS5vcmc", (URL, 120)]],
    "RubyGems key": [["rubygems_", (HEX, 48)]],
    "Hugging Face token": [["hf_", (string.ascii_letters, 34)]],
    "Replicate token": [["r8_", (ALNUM, 37)]],
    "Groq key": [["gsk_", (ALNUM, 52)]],
    "xAI key": [["xai-", (ALNUM, 80)]],
    "Perplexity key": [["pplx-", (ALNUM, 48)]],
    "DigitalOcean token": [["dop_v1_", (HEX, 64)]],
    "Databricks token": [["dapi", (HEX, 32)]],
    "Shopify token": [["shpat_", (HEX, 32)]],
    "Twilio key": [["SK", (HEX, 32)]],
    "Mailgun key": [["key-", (HEX, 32)]],
    "Mailchimp key": [[(HEX, 32), "-us12"]],
    "Telegram bot token": [[("123456789", 10), ":AA", (URL, 33)]],
    "Discord webhook": [["https://discord.com/api/webhooks/", ("123456789", 18), "/", (URL, 68)]],
    "Azure storage key": [["AccountKey=", (ALNUM + "+/", 86), "=="]],
    "Azure client secret": [[(ALNUM, 3), "8Q~", (ALNUM + "_~.", 34)]],
    "Vault token": [["hvs.", (URL, 90)]],
    "Terraform token": [[(ALNUM, 14), ".atlasv1.", (URL, 67)]],
    "Grafana token": [["glsa_", (ALNUM, 32), "_", (HEX, 8)]],
    "New Relic key": [["NRAK-", (BASE32, 27)]],
    "Postman key": [["PMAK-", (HEX, 24), "-", (HEX, 34)]],
    "Linear key": [["lin_api_", (ALNUM, 40)]],
    "Notion token": [["ntn_", (ALNUM, 46)]],
    "Airtable token": [["pat", (ALNUM, 14), ".", (HEX, 64)]],
    "Atlassian token": [["ATATT3xFfGF0", (URL, 170), "=", (HEX.upper(), 8)]],
    "Docker token": [["dckr_pat_", (URL, 27)]],
    "Supabase token": [["sbp_", (HEX, 40)]],
    "Doppler token": [["dp.pt.", (ALNUM, 43)]],
    "Square token": [["EAAA", (URL, 60)], ["sq0csp-", (URL, 43)]],
    "Pulumi token": [["pul-", (HEX, 40)]],
    "age key": [["AGE-SECRET-KEY-1", ("023456789ACDEFGHJKLMNPQRSTUVWXYZ", 58)]],
    "JSON web token": [["eyJhbGciOiJIUzI1NiJ9.eyJ", (ALNUM, 120), ".", (URL, 43)]],
    "private key": [["-----BEGIN RSA PRIVATE KEY-----\n", (ALNUM + "+/", 64), "\n", (ALNUM + "+/", 64)]],
    "password in a URL": [["postgres://app:", (ALNUM, 14), "@db.internal:5432/x"]],
    ASSIGNED: [
        ["aws_secret_access_key = ", (ALNUM + "+/", 40)],
        ['"api_key": "', (ALNUM, 32), '"'],
        ["Authorization: Bearer ", (URL, 64)],
        ["DB_PASSWORD=", (ALNUM, 24)],
    ],
}
DRAWS = 150


def key(rng: random.Random, pieces: list[str | tuple[str, int]]) -> str:
    return "".join(
        piece if isinstance(piece, str) else "".join(rng.choice(piece[0]) for _ in range(piece[1])) for piece in pieces
    )


def test_every_published_shape_is_tried() -> None:
    assert {name for name, _, _ in SHAPES} | {ASSIGNED} == set(FORMATS)
    assert len(FORMATS) >= 45


@pytest.mark.parametrize("kind", FORMATS)
def test_generated_keys_are_found(kind: str) -> None:
    rng = random.Random(kind)
    for pieces in FORMATS[kind]:
        drawn = [key(rng, pieces) for _ in range(DRAWS)]
        hit = sum(kind in {name for name, _ in found_secrets(f"Set it up with {one} and restart.")} for one in drawn)
        assert hit >= 0.97 * DRAWS, (kind, hit)


@pytest.mark.parametrize(
    "text",
    [
        "aws_access_key_id = AKIAIOSFODNN7EXAMPLE",
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "Authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9l"
        "IiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
        "sk-test-abcdefghijklmnopqrstuvwxyz0123456789",
        "token: n9m8k7j6h5g4f3d2s1a0",
        "token = a1b2c3d4e5f6g7h8i9j0k1l2",
        "mysql://root:password@localhost/db",
        "postgres://user:secret@db.example.com/x",
        "api_key: YOUR_API_KEY_GOES_HERE_123",
        "api_key=abc123abc123abc123abc123",
        "password: 1234567890123456789012345",
        "token_count = 2048, key_length = 4096, bearer_of_bad_news",
        "secret = hashlib.sha256(password.encode()).hexdigest()",
        "https://user:pass@example.com",
        "access_token = get_access_token(client_id, client_secret)",
        "sk_test_4eC39HqLyjWDarjtT1zdp7dc",
    ],
)
def test_documentation_is_left_alone(text: str) -> None:
    assert not list(found_secrets(text))


def test_a_session_token_of_a_tool_is_told_from_a_pasted_one() -> None:
    text = '{"token": "6ihmi4erswxf97aopjj2rnjtgjky85ek"}'
    assert [kind for kind, _ in found_secrets(text)] == [ASSIGNED]
    assert [kind for kind, _ in found_secrets(text, issued=text)] == [SESSION]
    pasted = '{"api_key": "6ihmi4erswxf97aopjj2rnjtgjky85ek"}'
    assert [kind for kind, _ in found_secrets(pasted, issued=pasted)] == [ASSIGNED]


def test_random_values_hardly_ever_look_made_up() -> None:
    rng = random.Random(7)
    for alphabet in (ALNUM, HEX, URL):
        drawn = ["".join(rng.choice(alphabet) for _ in range(40)) for _ in range(3000)]
        assert sum(made_up(one, "") for one in drawn) <= 15
        assert not any(walks(one) for one in drawn)
    assert entropy_bits("") == 0.0
