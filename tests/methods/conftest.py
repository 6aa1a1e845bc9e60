"""The tiny models of the engines' tests."""

import importlib.util
from pathlib import Path

_path = Path(__file__).resolve().parents[1] / "engines" / "conftest.py"
_spec = importlib.util.spec_from_file_location("engines_conftest", _path)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
tiny = _module.tiny
tiny_base = _module.tiny_base
