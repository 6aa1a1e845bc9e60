"""Every test that takes `family` runs for each architecture; `calling_family`: for those whose templates know tools."""

from types import ModuleType

import goldsmith_test_families
import pytest


@pytest.fixture(scope="session")
def families() -> ModuleType:
    """The families' builders."""
    return goldsmith_test_families


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    known = goldsmith_test_families.FAMILIES
    if "family" in metafunc.fixturenames:
        metafunc.parametrize("family", list(known))
    if "calling_family" in metafunc.fixturenames:
        metafunc.parametrize("calling_family", [name for name, one in known.items() if one.call is not None])
