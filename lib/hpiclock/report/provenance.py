"""Where a run comes from: versions, commit, platform and hashes. No host name and no path of the machine."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any


def software() -> dict[str, Any]:
    """Return the Python, the platform, the versions of the declared packages and the commit of the code."""
    return {
        "hpiclock": metadata.version("hpiclock"),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": package_versions(),
        "git": git_state(Path(__file__).parent),
    }


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that hpiclock declares, as far as they are installed."""
    versions = {}
    for requirement in metadata.requires("hpiclock") or []:
        found = re.match(r"[A-Za-z0-9._-]+", requirement)
        name = found[0] if found else requirement
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # an extra that is not installed here
    return dict(sorted(versions.items()))


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return ``{"commit", "dirty"}`` of the repository that tracks ``folder``; None where there is none."""
    # a package installed below somebody's repository is not tracked by it, and its commit would mislead
    if shutil.which("git") is None or not _git(folder, "ls-files", "."):
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain"))} if commit else None


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout.strip() if done.returncode == 0 else ""
