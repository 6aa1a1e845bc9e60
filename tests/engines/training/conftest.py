"""Every test that takes `family` runs for each architecture; `calling_family`: for those whose templates know tools."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

_here = Path(__file__).resolve().parent


def _load(path: Path) -> ModuleType:
    """A module beside the tests, importable as `goldsmith_test_NAME`."""
    spec = importlib.util.spec_from_file_location(f"goldsmith_test_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


_module = _load(_here.parent / "families.py")
_load(_here / "processes.py")


@pytest.fixture(scope="session")
def families() -> ModuleType:
    """The families' builders."""
    return _module


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "family" in metafunc.fixturenames:
        metafunc.parametrize("family", list(_module.FAMILIES))
    if "calling_family" in metafunc.fixturenames:
        metafunc.parametrize("calling_family", [name for name, one in _module.FAMILIES.items() if one.call is not None])
