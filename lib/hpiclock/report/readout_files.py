"""Predictions of a new plate on disk: the rows, and beside them what must be known to read them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from hpiclock.errors import InputError
from hpiclock.files import atomic
from hpiclock.report.runs import Run, plain
from hpiclock.report.studies import read_study
from hpiclock.tables import MANIFEST, NEW_PREDICTIONS, PREDICTIONS, read, write


@dataclass(frozen=True)
class ReadOut:
    """Predictions of a plate.

    Attributes:
        rows: NEW_PREDICTIONS with what the source says of each stack (compound, dose, ...).
        thresholds: from which P(infected) on a frame is called infected, by rule; ``decision`` is there.
        notes: what must be said wherever these predictions are shown.
        likeness: ``verdict distance sentence n_held_out n_wells``; empty where it was not looked at.
        runs: names of the runs that were asked.
    """

    rows: pd.DataFrame
    thresholds: dict[str, float]
    notes: list[str]
    likeness: dict[str, Any] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)

    @property
    def threshold(self) -> float:
        """The threshold of the decision."""
        return self.thresholds["decision"]

    def save(self, path: Path) -> None:
        """Write the rows and, beside them, ``NAME.json``."""
        write(NEW_PREDICTIONS, self.rows, path)
        about = {
            "runs": self.runs, "thresholds": self.thresholds, "likeness": self.likeness, "notes": self.notes,
        }  # fmt: skip
        with atomic(path.with_suffix(".json")) as partial:
            partial.write_text(json.dumps(plain(about), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_readout(path: str | Path) -> ReadOut:
    """Read what :func:`hpiclock.report.newplate.predict` wrote.

    Raises:
        InputError: no such file, or not such files.
    """
    path = Path(path)
    rows = read(NEW_PREDICTIONS, path)
    beside = path.with_suffix(".json")
    try:
        about = json.loads(beside.read_text(encoding="utf-8"))
        return ReadOut(rows, about["thresholds"], about["notes"], about["likeness"], about["runs"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{beside}: cannot be read ({type(error).__name__}); hpiclock predict writes it with {path.name}"
        ) from None


def own_test_wells(run: Run) -> ReadOut:
    """Return the test wells of a run as if they were a new plate, for a read-out without one."""
    predictions = run.read_table("predictions.parquet", PREDICTIONS)
    rules = read_study(run.folder)["detection_thresholds"].dropna(subset="threshold")
    told = run.read_table("manifest.csv", MANIFEST).set_index("stack_id")
    extra = told[[name for name in ("compound", "dose", "dose_unit", "replicate", "virus") if name in told]]
    rows = predictions[predictions["split"].eq("test")].join(extra, on="stack_id")
    note = "No new plate is given: these are the test wells of the run itself, on its own plate."
    thresholds = {str(row.rule): float(row.threshold) for row in rules.itertuples()}
    return ReadOut(rows.reset_index(drop=True), thresholds, [note, *run.notes], {}, [run.name])
