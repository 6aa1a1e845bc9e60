"""YAML 1.2 into models: values as the standard has them, errors with line, column and a suggestion."""

from pathlib import Path
from typing import Annotated, Any, Literal

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML

from goldsmith.engines.yaml_file import dump_yaml, parse_yaml, read_yaml
from goldsmith.types.errors import BadInput, Unavailable


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Lora(Closed):
    kind: Literal["lora"] = "lora"
    rank: int = 8


class Full(Closed):
    kind: Literal["full"] = "full"


class Stage(Closed):
    method: str
    learning_rate: float = 1e-4
    adapter: Annotated[Lora | Full, Field(discriminator="kind")] = Lora()


class Recipe(Closed):
    name: str = "demo"
    stages: list[Stage] = []
    by_name: dict[str, Stage] = {}
    best: Stage | None = None
    packing: bool = True
    notes: dict[str, Any] = {}


class Anything(BaseModel):
    value: Any = None


def value(text: str) -> Any:
    return parse_yaml(f"value: {text}\n", Anything).value


def refused(text: str | bytes, model: type[BaseModel] = Recipe) -> BadInput:
    with pytest.raises(BadInput) as caught:
        parse_yaml(text, model, name="recipe.yaml")
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-5", 1e-5), ("1E+3", 1000.0), ("-.5", -0.5), ("1.", 1.0), (".inf", float("inf")), ("-.INF", float("-inf")),
        ("12", 12), ("-0", 0), ("0o17", 15), ("0x1F", 31), ("017", 17), ("1_000", "1_000"), ("1:30", "1:30"),
        ("no", "no"), ("Yes", "Yes"), ("on", "on"), ("true", True), ("FALSE", False), ("True", True), ("tRUE", "tRUE"),
        ("null", None), ("~", None), ("", None), ("2026-01-02", "2026-01-02"), ("'1'", "1"), ('"true"', "true"),
        ("1.2.3", "1.2.3"), ("e5", "e5"), ("1e", "1e"), ("[1, a, {b: no}]", [1, "a", {"b": "no"}]),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_schema_of_yaml_1_2(text: str, expected: Any) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


def test_settings_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(
        b"\xef\xbb\xbfname: no\r\nstages:\r\n  - {method: dpo, learning_rate: 5e-6, adapter: {kind: full}}\r\n"
    )
    recipe = read_yaml(path, Recipe)
    assert recipe == Recipe(name="no", stages=[Stage(method="dpo", learning_rate=5e-6, adapter=Full())])
    with pytest.raises(Unavailable):
        read_yaml(tmp_path / "none.yaml", Recipe)


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("nme: x\n", "1:1", "unknown key 'nme'; did you mean 'name'?"),
        (
            "stages:\n  - method: sft\n    lerning_rate: 1\n",
            "3:5",
            "'stages.0.lerning_rate'; did you mean 'learning_rate'?",
        ),
        ("by_name:\n  a: {method: sft, methd: x}\n", "2:20", "'by_name.a.methd'; did you mean 'method'?"),
        ("best:\n  method: sft\n  adaptor: {}\n", "3:3", "'best.adaptor'; did you mean 'adapter'?"),
        (
            "best:\n  method: sft\n  adapter:\n    kind: lora\n    rnk: 3\n",
            "5:5",
            "'best.adapter.rnk'; did you mean 'rank'?",
        ),
        ("stages:\n  - learning_rate: 1\n", "2:5", "the key 'stages.0.method' is missing"),
        ("name: a\nbest: {method: s, learning_rate: fast}\n", "2:19", "best.learning_rate: "),
        ("name: a\nname: b\n", "2:1", "the key 'name' stands twice"),
        ("best:\n  method: a\n  method: b\n", "3:3", "the key 'method' stands twice"),
        ("a: b: c\n", "1:5", "this is not YAML"),
        ("name: 'x\n", "2:1", "this is not YAML"),
        ("\tname: x\n", "1:1", "this is not YAML"),
        ("? [a]\n: b\n", "1:3", "a key must be plain text"),
        ("- a\n", "1:1", "holds no settings"),
        ("", "1:1", "holds no settings"),
        ("a: 1\n---\nb: 2\n", "2:1", "this is not YAML"),
    ],
)
def test_errors_name_the_place_and_the_key_that_was_meant(text: str, where: str, what: str) -> None:
    error = refused(text)
    assert error.where == f"recipe.yaml:{where}"
    assert what in error.what


def test_all_problems_are_named_in_the_order_of_the_file() -> None:
    error = refused("packng: true\nstages: 3\nnme: x\n")
    assert error.where == "recipe.yaml:1:1"
    assert [line.split()[-1] for line in error.what.splitlines()] == ["'packing'?", "list", "'name'?"]
    assert "recipe.yaml:3:1" in error.what
    assert error.allowed == "best, by_name, name, notes, packing, stages"


@pytest.mark.parametrize(
    "text",
    [
        "name: !!python/object/apply:os.system ['touch owned']\n",
        "name: !!python/name:os.system\n",
        "notes: !custom {a: 1}\n",
        "name: !!str 1\n",
        "notes: !!set {a, b}\n",
    ],
)
def test_no_tag_is_followed(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "tags are not read" in refused(text).what
    assert list(tmp_path.iterdir()) == []


def test_bombs_end_quickly() -> None:
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    assert "too large" in refused(bomb).what
    assert "too large or too deep" in refused("name: &a [*a]\n").what
    assert "nested too deeply" in refused("[" * 20_000).what
    assert "too large" in refused("#" * 5_000_000).what


def test_bytes_that_are_not_utf8_are_named() -> None:
    assert refused("name: a\nbest: für\n".encode("latin-1")).where == "recipe.yaml:2:8"


def test_of_models_only_what_differs_is_written_and_kinds_stay() -> None:
    recipe = Recipe(name="yes", best=Stage(method="sft", adapter=Full()), by_name={"a: b": Stage(method="1")})
    text = dump_yaml(recipe)
    assert text == (
        'name: "yes"\nby_name:\n  "a: b":\n    method: "1"\nbest:\n  method: sft\n  adapter:\n    kind: full\n'
    )
    assert parse_yaml(text, Recipe) == recipe


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
tricky = st.sampled_from(
    ["no", "1e5", "- a", "#", "a: b", "2026-01-02", "|", "&a", "*a", "!x", "%", "0x1", "", " a", "a "]
)
keys = st.text(max_size=5).filter(str.isprintable)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts | tricky,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=10,
)


@settings(derandomize=True, deadline=None, max_examples=120)
@given(plain)
def test_what_is_written_is_read_back_by_us_and_by_ruamel(data: Any) -> None:
    text = dump_yaml({"value": data})
    assert parse_yaml(text, Anything).value == data
    assert YAML(typ="safe", pure=True).load(text) == {"value": data}


def test_only_plain_data_can_be_written() -> None:
    with pytest.raises(BadInput, match="only plain data"):
        dump_yaml({"value": object()})
