"""A run's folder: created or taken up again, written atomically, with its config and where it comes from."""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
import math
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from hpiclock import tables
from hpiclock.audit import summary_line
from hpiclock.config.load import PATH_KEYS, dump_config, load_config, read_yaml
from hpiclock.config.schema import WHERE_KEYS, Config, flat, iterate_keys
from hpiclock.errors import InputError
from hpiclock.files import (
    atomic,
    cannot_write,
    check_output_folder,
    is_leftover,
    make_folder,
    safe_name,
    sweep,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


CONFIG = "config.yaml"
PROVENANCE = "provenance.json"
NOTES = "notes.json"
VERDICT = "verdict.csv"
DESIGN = "design_verdict.csv"  # what the design alone decides, known before any training
VERDICTS = {VERDICT: "Confound audit.", DESIGN: "The design, before the confound audit."}
VERDICT_COLUMNS = "question verdict evidence"
LOG = "run.log"
LOGGED = {
    "hpiclock": logging.INFO,
    "papermill": logging.WARNING,
}  # whose lines it takes

PUT_BACK = "put the file back as it was, or train again"
# what a finished run is read from; pages, figures and what an audit adds may be made anew
SEALED = (
    "*.csv",
    "*.parquet",
    "split.json",
    NOTES,
    "results.json",
    "temporal_metrics.json",
    "tables/*",
    "checkpoints/looks.csv",
)
NOT_SEALED = (VERDICT, DESIGN)

Say = Callable[[str], None]
State = Literal["new", "training", "done"]


class Kept(dict[str, Any]):
    """What a file of a run says; a key that is not there is an :class:`InputError` that names the file."""

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self._path = path

    def __missing__(self, key: str) -> Any:
        raise InputError(f"{self._path}: {key} is missing; {PUT_BACK}")


@dataclass(frozen=True)
class Run:
    """One run: its folder and its resolved config. The folder is made by :meth:`create`."""

    folder: Path
    cfg: Config

    @classmethod
    def start(cls, cfg: Config, run_dir: str | Path | None = None) -> Run:
        """Return a run that is new, or that is there with the same config; nothing is written yet.

        Args:
            cfg: the resolved config.
            run_dir: the folder; empty or None = ``<reports_dir>/<experiment>/<seed and fold>``.

        Raises:
            InputError: the folder holds another config (the line lists up to three keys that differ), or
                files that are no run.
        """
        folder = Path(os.path.abspath(run_dir or default_folder(cfg)))
        stored = folder / CONFIG
        if stored.is_file():
            _refuse_other(folder, load_config(stored), cfg)
            cls(folder, cfg)._refuse_altered()
        elif folder.is_file() or (folder.is_dir() and not all(map(is_leftover, folder.iterdir()))):
            raise InputError(f"{folder}: is there and is no run's folder (no {CONFIG}); name a new folder")
        else:
            check_output_folder(folder)
        return cls(folder, cfg)

    @classmethod
    def create(cls, cfg: Config, run_dir: str | Path | None) -> Run:
        """Make the folder of a run, or take it up again; arguments and errors as in :meth:`start`."""
        run = cls.start(cfg, run_dir)
        make_folder(run.folder)
        sweep(run.folder)
        if not run.path(CONFIG).is_file():
            run.save_text(CONFIG, dump_config(cfg, run.folder))
        run.record()
        return run

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Open a run that is there.

        Raises:
            InputError: no run in this folder, or a finished one whose settings or manifest changed since.
        """
        folder = Path(os.path.abspath(folder))
        if not (folder / CONFIG).is_file():
            raise InputError(f"{folder}: no run here ({CONFIG} is missing); hpiclock train or run makes one")
        run = cls(folder, load_config(folder / CONFIG))
        run._refuse_altered()
        return run

    @property
    def name(self) -> str:
        """The name that the tables carry in the column ``run``: experiment/folder."""
        return f"{self.cfg.experiment}/{self.folder.name}"

    @property
    def state(self) -> State:
        """How far the run is, as its files tell: no checkpoint, a checkpoint, results of the test."""
        if self.path("results.json").is_file() and self.path("predictions.parquet").is_file():
            return "done"
        return "training" if self.path("checkpoints", "last.pt").is_file() else "new"

    @property
    def notes(self) -> list[str]:
        """The sentences that every report repeats: what this plate and split cannot tell, and the audit's."""
        kept = list(self.read_json(NOTES)) if self.path(NOTES).is_file() else []
        for name, opening in VERDICTS.items():
            if self.path(name).is_file():
                return [
                    *kept,
                    summary_line(tables.read_any(self.path(name), VERDICT_COLUMNS), opening=opening),
                ]
        return kept

    @property
    def by_hand(self) -> dict[str, str]:
        """What was changed by hand when the run was begun: digests by part; empty if nothing."""
        kept = self.read_json(PROVENANCE) if self.path(PROVENANCE).is_file() else {}
        return dict(kept.get("by_hand", {}))

    @property
    def kept_manifest(self) -> pd.DataFrame | None:
        """The MANIFEST of a finished run; None before."""
        return self.read_table("manifest.csv", tables.MANIFEST) if self.state == "done" else None

    def path(self, *parts: str) -> Path:
        """Return the path of a file of this run, there or not."""
        return self.folder.joinpath(*parts)

    def record(self, **facts: Any) -> None:
        """Write ``provenance.json``: software, seed, hashes, and the facts given here (such as ``device``).

        When a run goes on with other software than it began with, the change is added under ``taken_up``.
        """
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        here = software()
        old = self.read_json(PROVENANCE) if self.path(PROVENANCE).is_file() else {"created": now, **here}
        began = old | (old["taken_up"][-1] if old.get("taken_up") else {})
        changed = {key: value for key, value in here.items() if began.get(key) != value}
        if changed:
            old["taken_up"] = [*old.get("taken_up", []), {"when": now, **changed}]
        self.save_json(PROVENANCE, old | {"seed": self.cfg.seed} | self._hashes() | facts)

    def _hashes(self) -> dict[str, str]:
        """Digests of the files that say what was trained on what."""
        found = {
            f"{file.partition('.')[0]}_sha256": sha256(self.path(file))
            for file in (CONFIG, "manifest.csv")
            if self.path(file).is_file()
        }
        if "config_sha256" in found:
            found["settings_sha256"] = settings_sha256(self.path(CONFIG))
        return found

    def _refuse_altered(self) -> None:
        """Refuse a finished run whose settings or manifest are not those with which it was made."""
        if self.state != "done":
            return
        made = self.read_json(PROVENANCE)
        kept = {CONFIG: made.get("settings_sha256"), "manifest.csv": made.get("manifest_sha256")}
        for name, digest in (kept | made.get("files_sha256", {})).items():
            path = self.path(name)
            if digest and not path.is_file():
                raise InputError(f"{path}: is gone; {PUT_BACK}")
            if digest and digest != (settings_sha256 if name == CONFIG else sha256)(path):
                raise InputError(f"{path}: was changed since this run was made; {PUT_BACK}")

    def seal(self) -> None:
        """Keep digests of a finished run's results: one that was changed is seen when the run is opened."""
        files = {path for pattern in SEALED for path in self.folder.glob(pattern) if not is_leftover(path)}
        names = sorted(path.relative_to(self.folder).as_posix() for path in files)
        digests = {name: sha256(self.path(name)) for name in names if name not in NOT_SEALED}
        self.record(files_sha256=digests)

    def refuse_unfinished(self) -> None:
        """Refuse to use a run whose training or test is not over.

        Raises:
            InputError: it names its state and how to go on.
        """
        if self.state != "done":
            raise InputError(
                f"{self.folder}: is not finished (state: {self.state}); go on with hpiclock train --resume"
            )

    def save_json(self, name: str, data: Any) -> Path:
        """Write valid JSON: NaN and infinity become null, numpy numbers and arrays plain ones."""
        return self.save_text(name, json.dumps(plain(data), indent=2, allow_nan=False) + "\n")

    def read_json(self, name: str) -> Any:
        """Read a JSON file of this run: notes are a list, all others are keys; a key that is gone is named.

        Raises:
            InputError: no such file in this run, or not what a run writes there.
        """
        path = self._there(name)
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: is not JSON ({error}); {PUT_BACK}") from None
        if not isinstance(kept, list if name == NOTES else dict):
            raise InputError(f"{path}: holds {type(kept).__name__}, not what a run writes there; {PUT_BACK}")
        return kept if isinstance(kept, list) else Kept(path, kept)

    def save_table(self, name: str, table: tables.Table, data: pd.DataFrame) -> Path:
        """Check and write one of the project's tables, e.g. ``("metrics.csv", tables.METRICS, metrics)``."""
        return tables.write(table, data, self.path(name))

    def read_table(self, name: str, table: tables.Table) -> pd.DataFrame:
        """Read and check one of the project's tables.

        Raises:
            InputError: no such file in this run, or rows that fail the check.
        """
        return tables.read(table, self._there(name))

    @contextmanager
    def logged(self, say: Say = print, *, opening: str = "") -> Iterator[Say]:
        """While inside, what the loggers of hpiclock say, and papermill's warnings, go to ``run.log`` too.

        Gives a function that takes a line for ``say`` and, with these words before it, for the log.
        """
        try:
            handler = logging.FileHandler(self.path(LOG), encoding="utf-8")
        except OSError as error:
            raise cannot_write(self.path(LOG), error) from None
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        levels = {logging.getLogger(name): level for name, level in LOGGED.items()}
        before = {logger: logger.level for logger in levels}

        def tell(line: str) -> None:
            say(line)
            logging.getLogger("hpiclock").info("%s%s", opening, line)

        for logger, level in levels.items():
            logger.addHandler(handler)
            logger.setLevel(level)
        try:
            yield tell
        finally:
            for logger, level in before.items():
                logger.removeHandler(handler)
                logger.setLevel(level)
            handler.close()

    def __str__(self) -> str:
        return f"run {self.name}, {self.state}"

    def _there(self, name: str) -> Path:
        if not self.path(name).is_file():
            why = PUT_BACK if self.state == "done" else f"this run is not so far (state: {self.state})"
            raise InputError(f"{self.path(name)}: no such file; {why}")
        return self.path(name)

    def save_text(self, name: str, text: str) -> Path:
        """Write a text file of this run."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as partial:
            partial.write_text(text, encoding="utf-8")
        return path


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
        with suppress(metadata.PackageNotFoundError):  # an extra that is not installed here
            versions[name] = metadata.version(name)
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


def settings_sha256(path: Path) -> str:
    """Return the SHA-256 of what a config file says, without where things lie, which may move."""
    kept = [[key, value] for key, value in flat(read_yaml(path) or {}) if key not in PATH_KEYS]
    return hashlib.sha256(json.dumps(sorted(kept, key=str), default=str).encode()).hexdigest()


def _git(folder: Path, *arguments: str) -> str:
    # git status would write what it found into the repository's index
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return done.stdout.strip() if done.returncode == 0 else ""


def write_figure(figure: Figure | Axes, path: Path) -> None:
    """Write a figure (or the figure of an Axes) as PNG, PDF or SVG, with its alternative text inside.

    No date and no random ids go in: the same figure is the same file.
    """
    import matplotlib as mpl  # here, so that opening a run stays quick

    from hpiclock.figures.style import alt_text, figure_of

    whole = figure_of(figure)
    about: dict[str, Any] = {"Description": alt_text(whole)}
    if path.suffix == ".svg":
        about["Date"] = None
    if path.suffix == ".pdf":
        about = {"Subject": about["Description"], "CreationDate": None}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as partial, mpl.rc_context({"svg.hashsalt": "hpiclock"}):
        margin = 0.1 if path.suffix == ".png" else 0.0  # in print the width is that of a column
        whole.savefig(partial, dpi=150, bbox_inches="tight", pad_inches=margin, metadata=about)


def write_figures(
    drawn: Mapping[str, Figure | Axes], folder: Path, suffixes: Sequence[str] = (".png", ".svg")
) -> list[Path]:
    """Write figures by name (any text) into a folder, each in every format; return the files."""
    paths: dict[Path, Figure | Axes] = {}
    taken: set[str] = set()
    for name, figure in drawn.items():
        stem = safe_name(name, taken)
        taken.add(stem.lower())
        paths |= {folder / f"{stem}{suffix}": figure for suffix in suffixes}
    for path, figure in paths.items():
        write_figure(figure, path)
    return list(paths)


def outputs_of(marker: str) -> Callable[[Path], bool]:
    """Return what says whether a folder holds a command's outputs: this file, and no run."""
    return lambda folder: (folder / marker).is_file() and not (folder / CONFIG).is_file()


def default_folder(cfg: Config) -> Path:
    """Return ``<reports_dir>/<experiment>/seed<seed>``, with the fold or the plate that is left out."""
    name = f"seed{cfg.seed}"
    if cfg.split.folds:
        name += f"_fold{cfg.split.fold}"
    if cfg.split.leave_out_plate:
        name += "_without_" + safe_name(re.sub(r"[^A-Za-z0-9.-]+", "-", cfg.split.leave_out_plate))
    return Path(cfg.reports_dir) / cfg.experiment / name


def plain(value: Any) -> Any:
    """Return ``value`` in JSON's own kinds: NaN, infinity and missing are None, arrays are lists."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _refuse_other(folder: Path, old: Config, new: Config) -> None:
    before, now = dict(iterate_keys(old)), dict(iterate_keys(new))
    keys = [key for key in [*now, *(before.keys() - now.keys())] if before.get(key) != now.get(key)]
    keys = [key for key in keys if key not in WHERE_KEYS]
    if not keys:
        return
    shown = "; ".join(f"{key} was {before.get(key)!r}, now {now.get(key)!r}" for key in keys[:3])
    more = f"; and {len(keys) - 3} more" if len(keys) > 3 else ""
    repair = "give another run folder, or remove this one"
    raise InputError(f"{folder}: holds a run with another config ({shown}{more}); {repair}")
