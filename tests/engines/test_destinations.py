"""Where does a text point to? In the open, behind encodings, and where it does not."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.engines.destinations import addresses_in, decoded_views, hosts_in, hosts_of_call

HOST = "drop.evil-corp.example"
URL = f"https://{HOST}/x?d=1"
label = st.from_regex(r"[a-z][a-z0-9]{1,10}", fullmatch=True)
hosts = st.tuples(label, label).map(lambda pair: f"{pair[0]}.{pair[1]}.example")
quick = settings(derandomize=True, max_examples=80, deadline=None)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        URL,
        URL.upper(),
        f"see {HOST} for more",
        f"//{HOST}/p.js",
        f"https:\\\\{HOST}\\x",
        f"http:/{HOST}/x",
        f"https://www.{HOST}.:8443/x",
        f"https://bank.example@{HOST}/login",
        f"wss://user:pw@{HOST}",
        f"mail joe.b+1@{HOST} now",
        f"mailto:joe@{HOST}?subject=hi",
        quote(URL, safe=""),
        quote(quote(URL, safe=""), safe=""),
        b64(URL),
        base64.urlsafe_b64encode(URL.encode()).decode().rstrip("="),
        b64(quote(URL, safe="")),
        b64(b64(URL)),
        base64.b64encode(URL.encode("utf-16-le")).decode(),
        "\n".join([b64("x" * 30 + " " + URL)[i : i + 20] for i in range(0, 90, 20)]),
        f"data={b64(URL)}&k=1",
        URL.encode().hex(),
        "0x" + URL.encode().hex().upper(),
        "".join(f"&#{ord(c)};" for c in URL),
        "".join(f"\\u{ord(c):04x}" for c in URL),
        "https://drop.evil\u200b-corp.example/x",
        "https://ｄｒｏｐ.evil-corp。example/x",
    ],
)
def test_the_host_is_found(text: str) -> None:
    assert HOST in hosts_in(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://xn--mnchen-3ya.example/", ("xn--mnchen-3ya.example",)),
        ("https://münchen.example/", ("xn--mnchen-3ya.example",)),
        ("http://192.0.2.7:80/x", ("192.0.2.7",)),
        ("ping 192.0.2.7 please", ("192.0.2.7",)),
        ("http://[2001:db8::1]/x", ("2001:db8::1",)),
        ("http://2130706433/", ("2130706433",)),
        ("http://localhost:8000/", ("localhost",)),
        ("a.example and b.example, then a.example again", ("a.example", "b.example")),
    ],
)
def test_hosts_are_written_in_one_way(text: str, found: tuple[str, ...]) -> None:
    assert hosts_in(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Please read notes/plan-12.txt and drafts/todo.md.",
        "The price is 12.50, or 1,299.00 in all. See you at 10:30.",
        "e.g. the report, i.e. the one of 2025-03-04",
        "version 2.11.0 of the tool",
        "Order K4411: the handle is broken. It leaks.",
        "a / b // c",
        "internationalisation and communication are long words",
        "me@",
        "x" * 5000,
        "%%% not an encoding %zz",
        "\\u12 \\x9",
        "999.1.1.1",
    ],
)
def test_ordinary_text_points_nowhere(text: str) -> None:
    assert hosts_in(text) == ()


def test_addresses_are_whole() -> None:
    assert addresses_in("To: Ann.B@Shop.example, bob@shop.example") == ("ann.b@shop.example", "bob@shop.example")
    assert addresses_in(b64("write to ann@shop.example")) == ("ann@shop.example",)


@quick
@given(hosts, st.lists(st.sampled_from(["percent", "base64", "hex", "html"]), max_size=3))
def test_nested_encodings_are_undone(host: str, layers: list[str]) -> None:
    text = f"https://{host}/in?q=hello"
    for layer in layers:
        text = {
            "percent": quote(text, safe=""),
            "base64": b64(text),
            "hex": text.encode().hex(),
            "html": "".join(f"&#x{ord(c):x};" for c in text),
        }[layer]
    assert host in hosts_in(text)


@quick
@given(st.text(max_size=300))
def test_no_text_breaks_it(text: str) -> None:
    assert decoded_views(text)
    assert all(host == host.lower() for host in hosts_in(text))


def test_views_are_bounded() -> None:
    bomb = "https://a.example/"
    for _ in range(12):
        bomb = b64(bomb)
    assert len(decoded_views(bomb + " " + bomb[::-1])) <= 64


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"url": "evil.me"}, {"evil.me"}),
        ({"host": "intranet"}, {"intranet"}),
        ({"callbackUrl": "collector"}, {"collector"}),
        ({"url": "evil.me:99/x y"}, {"evil.me"}),
        ({"rows": [{"note": "see deep.example"}]}, {"deep.example"}),
        ({"https://key.example/": 1}, {"key.example"}),
        ({"text": "evil.me"}, set()),
        ({"host": "the house on the hill"}, set()),
        ({"path": "notes/plan.txt", "n": 3, "none": None}, set()),
    ],
)
def test_keys_tell_what_a_value_is(arguments: dict[str, object], found: set[str]) -> None:
    assert set(hosts_of_call(json.loads(json.dumps(arguments)))) == found
