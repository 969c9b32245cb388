"""Benchmarks are run by hand: what they import from the package must be there all the same."""

import ast
import importlib.util
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))


def there(module: str, name: str) -> bool:
    package = importlib.import_module(module)
    submodule = hasattr(package, "__path__") and importlib.util.find_spec(f"{module}.{name}")
    return hasattr(package, name) or bool(submodule)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_every_name_that_a_benchmark_imports_is_there(script):
    nodes = [node for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.ImportFrom)]
    names = [(node.module, one.name) for node in nodes for one in node.names if node.module]
    missing = [name for name in names if name[0].startswith("hpiclock") and not there(*name)]
    assert missing == []


def test_a_name_that_went_would_be_seen():
    assert there("hpiclock.plate", "readers")
    assert not there("hpiclock.analysis.windows", "no_such_name")
    assert not there("hpiclock.plate", "no_such_name")
