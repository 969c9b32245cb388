"""What conda users, pip users and the lock are told to install is one and the same list."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from rattler import MatchSpec

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
# uv only builds the virtual environment; conda builds its own. The weights extra is a download of its own.
NOT_WITH_CONDA = {"uv"}
EXTRAS_WITHOUT_CONDA = {"weights"}


def wanted(*, extras):
    lines = list(PROJECT["dependencies"])
    for extra, more in PROJECT["optional-dependencies"].items():
        lines += more if extra in extras else []
    return [Requirement(line) for line in lines]


def for_conda():
    extras = PROJECT["optional-dependencies"].keys() - EXTRAS_WITHOUT_CONDA
    return [line for line in wanted(extras=extras) if line.name not in NOT_WITH_CONDA]


def conda_specs():
    return {
        spec.name.normalized: spec
        for spec in (MatchSpec(s, strict=True) for s in CONDA if isinstance(s, str))
    }


def pip_lines():
    return next(part["pip"] for part in CONDA if isinstance(part, dict))


def test_every_dependency_stands_in_the_conda_environment_with_the_same_versions():
    given = {}
    for text in (line for line in CONDA if isinstance(line, str) and " " in line):
        name, _, versions = text.partition(" ")
        given[name] = SpecifierSet(versions)
    given |= {line.name: line.specifier for line in map(Requirement, set(pip_lines()) - {"-e ."})}
    expected = {
        CONDA_NAMES.get(line.name, canonicalize_name(line.name)): line.specifier for line in for_conda()
    }
    assert given == expected | {"python": SpecifierSet(PROJECT["requires-python"])}


def test_conda_reads_every_line_and_installs_this_project_last():
    assert {"python", "pip", "pytorch"} <= conda_specs().keys()
    assert pip_lines()[-1] == "-e ."
    assert CONDA[-1] == {"pip": pip_lines()}


@pytest.fixture(scope="module")
def locked():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    return {
        canonicalize_name(name): Version(version)
        for name, version in re.findall(r"^(\S+?)==([^\s;]+)", text, re.M)
    }


def test_the_lock_holds_every_dependency_in_an_allowed_version(locked):
    for line in wanted(extras=PROJECT["optional-dependencies"].keys()):
        assert locked[canonicalize_name(line.name)] in line.specifier, f"{line}: run make lock"


def test_the_lock_has_hashes_and_no_addresses(locked):
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"://|^-|--(index|extra|find)", text, re.M)
    blocks = re.findall(r"^(\S+)==.*?\\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.M)
    assert len(blocks) >= len(locked)


def test_the_build_needs_nothing_that_is_not_locked(locked):
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    for line in map(Requirement, build):
        assert locked[canonicalize_name(line.name)] in line.specifier
