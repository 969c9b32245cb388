"""Checking a plate before anything is run on it: its stacks, its design, its passport, a quarantine list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from hpiclock.audit.design import design_table
from hpiclock.audit.verdict import design_verdict
from hpiclock.config.schema import Config
from hpiclock.errors import InputError
from hpiclock.files import make_folder, write_csv
from hpiclock.plate.frames import expand_frames
from hpiclock.plate.manifest.sources import write_quarantine
from hpiclock.plate.manifest.survey import acquisition_times, survey
from hpiclock.plate.quality import passport, quarantine_rows
from hpiclock.report.text import passport_lines, survey_lines
from hpiclock.tables import CONDITIONS, MANIFEST, NEW_MANIFEST, write
from hpiclock.targets import hpi


class DesignAudit(NamedTuple):
    """The rows of the verdict that the design decides, and the table ``aspect value detail`` behind them."""

    verdict: pd.DataFrame
    table: pd.DataFrame


def design_audit(manifest: pd.DataFrame) -> DesignAudit:
    """Say what a plate can and cannot show, whatever model is trained on it.

    Args:
        manifest: a MANIFEST table.
    """
    frames = undropped_frames(manifest)
    return DesignAudit(design_verdict(frames), design_table(frames))


def undropped_frames(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return every frame of a manifest with identity, ``frame hours hpi``; nothing is dropped."""
    frames = expand_frames(manifest, acquisition_times(manifest))
    since = hpi(frames["hours"], frames["onset_h"])
    return frames.assign(hpi=since.where(frames["condition"].eq("infected")))


@dataclass(frozen=True)
class Checked:
    """A plate that was looked at.

    Attributes:
        manifest: a NEW_MANIFEST of the stacks that can be used.
        problems: ``path, severity, problem, remedy``.
        passport: one row per stack; None where only files were opened.
    """

    manifest: pd.DataFrame
    problems: pd.DataFrame
    passport: pd.DataFrame | None

    @property
    def errors(self) -> int:
        """How many problems would stop a run."""
        return int(self.problems["severity"].eq("error").sum())

    def write(
        self, manifest: Path | None, passport: Path | None, quarantine: Path | None, *, suspects: bool
    ) -> Iterator[str]:
        """Write what has a path, and yield a line about each file.

        The manifest is written when nothing is wrong, or what is wrong goes onto the quarantine list.

        Raises:
            InputError: a passport is asked for and no frame was read, or a place that cannot be written.
        """
        if passport or quarantine:
            table = self._passport()
        if passport:
            make_folder(passport.parent)
            write_csv(table, passport)
            yield f"{passport}: the passport, {len(table)} stacks"
        if quarantine:
            left_out = quarantine_rows(table, ("failed", "suspect") if suspects else ("failed",))
            write_quarantine(left_out, quarantine)
            yield (
                f"{quarantine}: {len(left_out)} stacks to leave out; read it, change it, and name it in a "
                "config as data.quarantine"
            )
        if manifest and (quarantine or not self.errors):
            known = self.manifest["condition"].isin(CONDITIONS).all()
            write(MANIFEST if known else NEW_MANIFEST, self.manifest, manifest)
            yield f"{manifest}: the manifest, {len(self.manifest)} stacks"

    def _passport(self) -> pd.DataFrame:
        if self.passport is None:
            raise InputError("--no-frames: no frame is read, so there is no passport to write; leave it away")
        return self.passport


def check_plate(cfg: Config, *, read_frames: bool, say: Callable[[str], None]) -> Checked:
    """Find and open the stacks of a source, read every frame, and say what stands out.

    Args:
        cfg: ``data``, ``quality`` and the onset that is assumed.
        read_frames: False only opens the files.
        say: takes each line.

    Raises:
        InputError: the source itself is missing, empty or cannot be read.
    """
    found = survey(cfg.data, cfg.targets.onset_h, blind=True)
    for line in survey_lines(found.manifest, found.problems):
        say(line)
    unknown = found.manifest["condition"].isin(CONDITIONS).eq(False).sum()
    if unknown:
        say(f"{unknown} stacks are of wells of which nothing is said: they can be predicted, not trained on")
    if not read_frames:
        return Checked(found.manifest, found.problems, None)
    table = passport(found.manifest, found.problems, cfg.data, cfg.quality, show_progress=True)
    for line in passport_lines(table):
        say(line)
    return Checked(found.manifest, found.problems, table)
