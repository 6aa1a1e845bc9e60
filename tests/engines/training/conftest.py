"""Every test that takes `family` runs for each architecture; `calling_family`: for those whose templates know tools."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

_path = Path(__file__).resolve().parents[1] / "families.py"
_spec = importlib.util.spec_from_file_location("goldsmith_test_families", _path)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _module  # dataclasses look their module up
_spec.loader.exec_module(_module)


@pytest.fixture(scope="session")
def families() -> ModuleType:
    """The families' builders."""
    return _module


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "family" in metafunc.fixturenames:
        metafunc.parametrize("family", list(_module.FAMILIES))
    if "calling_family" in metafunc.fixturenames:
        metafunc.parametrize("calling_family", [name for name, one in _module.FAMILIES.items() if one.call is not None])
