"""A read-out of a new plate: every table and figure, and their export for a paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hpiclock import figures
from hpiclock.analysis import plate_readout as analysis
from hpiclock.analysis.acquisition_shift import COLUMNS as SHIFT_COLUMNS
from hpiclock.analysis.acquisition_shift import stack_distances
from hpiclock.analysis.dose_response import COLUMNS, dose_response
from hpiclock.config.schema import Config
from hpiclock.errors import InputError
from hpiclock.files import make_folder, safe_name, write_csv
from hpiclock.report.text import readable_readout, readout_summary, write_workbook
from hpiclock.runs.run import Run, write_figures
from hpiclock.tables import UNKNOWN
from hpiclock.workflows.identity import check_what_was_learnt
from hpiclock.workflows.predict import PlatePredictions, own_test_wells, read_readout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".pdf", ".svg")


@dataclass(frozen=True)
class PlateReadOut:
    """Predictions of a plate and how they are judged: the tables and figures of one read-out.

    Attributes:
        found: the predictions and the notes on them.
        cfg: ``study`` and ``windows`` are used.
        hour: imaging hour of the plate pictures and doses.
        name: of the plate.
    """

    found: PlatePredictions
    cfg: Config
    hour: float
    name: str

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The predictions with the treatment of each well."""
        return analysis.with_treatments(self.found.rows)

    @cached_property
    def wells(self) -> pd.DataFrame:
        """One row per well (:func:`hpiclock.analysis.plate_readout.readout_by_well`)."""
        frames = self.cfg.study.detection_frames
        cut = self.found.threshold
        return analysis.readout_by_well(self.rows, threshold=cut, frames=frames, hour=self.hour)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Curves per treatment (:func:`hpiclock.analysis.plate_readout.treatment_curves`)."""
        level = self.cfg.study.level
        return analysis.treatment_curves(self.rows, threshold=self.found.threshold, level=level)

    @property
    def detection(self) -> str:
        """The time to detection that can be compared: since onset where every infected well has one."""
        infected = self.wells[self.wells["condition"].eq("infected")]
        return "detected_hpi" if len(infected) and infected["onset_h"].notna().all() else "detected_h"

    @property
    def dose(self) -> str:
        """The column of the dose: of a compound where doses differ, else the MOI."""
        return "dose" if len(self.wells.loc[self.wells["dose"].gt(0), "dose"].unique()) > 1 else "moi"

    @property
    def responses(self) -> tuple[str, str, str]:
        """What is laid over the dose."""
        return "p_infected", "infected_share", self.detection

    @cached_property
    def doses(self) -> dict[str, tuple[pd.DataFrame, dict[str, Any], pd.DataFrame]]:
        """Wells, fit and curve of each response to the dose, by compound where there are several."""
        wells, level = self.wells, self.cfg.study.level
        treated = sorted(wells.loc[wells["dose"].gt(0), "compound"].unique()) if self.dose == "dose" else [""]
        found = {}
        for compound in treated:
            mine = wells
            if self.dose == "dose":
                mine = wells[wells["compound"].isin([compound, ""]) | wells["dose"].eq(0)]
            for name in self.responses:
                key = f"{name}_{compound}" if len(treated) > 1 else name
                found[key] = mine, *dose_response(mine, dose=self.dose, response=name, level=level)
        return found

    @property
    def dosed(self) -> list[str]:
        """The names of the responses for which some well has a dose."""
        return [name for name, (_, fit, _) in self.doses.items() if fit["n_doses"]]

    @cached_property
    def external(self) -> tuple[pd.DataFrame, list[str]]:
        """The external validation: METRICS rows, empty without labels, and what cannot be scored."""
        return analysis.external_validation(
            self.found.rows,
            threshold=self.found.threshold,
            windows=self.cfg.windows,
            end_h=self.cfg.window_end_h,
            study=self.cfg.study,
            rng=np.random.default_rng(self.cfg.seed),
        )

    @property
    def controls(self) -> list[str]:
        """What mock wells and wells of a high MOI say, in sentences."""
        return analysis.control_sentences(self.wells)

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table by name."""
        rows, wells = self.found.rows, self.wells
        validation, notes = self.external
        notes = [*self.found.notes, *self.controls, *notes]
        known = wells[wells["treatment"].ne(UNKNOWN)]  # wells of unknown treatment replicate none
        return {
            "wells": wells,
            "curves": self.curves,
            "dose_response": pd.DataFrame([fit for _, fit, _ in self.doses.values()], columns=COLUMNS),
            "replicates": analysis.replicate_agreement(known, self.responses),
            "external_validation": validation,
            "stacks": stack_distances(rows if "distance" in rows.columns else rows.assign(distance=np.nan)),
            "looks": pd.DataFrame(self.found.likeness.get("looks", []), columns=SHIFT_COLUMNS),
            "notes": pd.DataFrame({"note": notes}, dtype=object),
        }

    def summary(self) -> pd.DataFrame:
        """Return one row per treatment to read: wells, what is predicted at the hour, and detection."""
        return readout_summary(self.wells, detection=self.detection, hour=self.hour)

    def readable(self, name: str) -> pd.DataFrame:
        """Return ``dose_response``, ``replicates`` or ``looks`` to read; empty where nothing is known."""
        return readable_readout(self.tables[name], name)

    def figures(self) -> dict[str, Axes | Figure]:
        """Return every figure by name."""
        drawn: dict[str, Axes | Figure] = {
            "curves_p_infected": self.curve("p_infected"),
            "curves_called": self.curve("called"),
            "curves_time": self.curve("time_pred"),
            "detection_by_treatment": figures.wells_by_treatment(self.wells, value=self.detection),
            "infected_by_treatment": figures.wells_by_treatment(self.wells, value="p_infected"),
        }
        for name in self.dosed:
            drawn[f"dose_{name}"] = self.dose_figure(name, level=self.cfg.study.level)
        for plate, (shade, detected) in self.heat_maps().items():
            drawn |= {f"{plate}_p_infected": shade, f"{plate}_detected": detected}
        return drawn | {f"{plate}_wells": grid for plate, grid in self.grids().items()}

    def heat_maps(self) -> dict[str, tuple[Axes, Axes]]:
        """Draw P(infected) at the hour and the time to detection of every well, by plate."""
        return {
            str(plate): (
                figures.plate_heat_map(mine, value="p_infected", hour=self.hour),
                figures.plate_heat_map(mine, value="detected_h", hour=self.hour),
            )
            for plate, mine in self.wells.groupby("plate")
        }

    def grids(self) -> dict[str, Figure]:
        """Draw P(infected) over hours in every well, by plate."""
        plates, cut = self.rows.groupby("plate"), self.found.threshold
        return {str(plate): figures.well_grid_figure(rows, threshold=cut) for plate, rows in plates}

    def curve(self, quantity: str) -> Axes:
        """Draw a quantity over hours per treatment."""
        cut = self.found.threshold if quantity == "p_infected" else None
        level = self.cfg.study.level
        return figures.treatment_curves(self.curves, quantity=quantity, level=level, threshold=cut)

    def dose_figure(self, response: str, *, level: float) -> Axes:
        """Draw a response over the dose with its fit."""
        wells, fit, curve = self.doses[response]
        units = [] if self.dose == "moi" else [unit for unit in wells["dose_unit"].unique() if unit]
        return figures.dose_response(wells, curve, fit, unit=", ".join(units), level=level)

    def export(self, folder: Path) -> list[Path]:
        """Write every figure (PNG, PDF, SVG) and table (CSV, and all in one XLSX); return the files."""
        written = write_figures(self.figures(), folder / "figures", SUFFIXES)
        for name, table in self.tables.items():
            written.append(make_folder(folder / "tables") / f"{name}.csv")
            write_csv(table, written[-1])
        written.append(folder / "read_out.xlsx")
        write_workbook(self.tables, written[-1])
        return written


def open_readout(
    run: Run,
    *,
    predictions: str | Path,
    source: str | Path,
    more_runs: Sequence[str | Path],
    hour: float | None,
) -> PlateReadOut:
    """Return the read-out of a predictions file, of a new plate, or of the run's own test wells.

    Args:
        run: the trained run.
        predictions: a file that ``hpiclock predict`` wrote; empty = none.
        source: a new plate that is predicted first, into the run's folder ``new_plates``; empty = none.
        more_runs: folders of further runs that are taken together with ``run``.
        hour: imaging hour of the plate pictures; None = the middle.

    Raises:
        InputError: both a file and a plate, or one that cannot be read.
    """
    if predictions and source:
        raise InputError("give predictions or source, not both")
    if predictions:
        found, name = read_readout(predictions), Path(predictions).stem
    elif source:
        from hpiclock.workflows.predict import predict

        runs = [run, *(Run.open(folder) for folder in more_runs)]
        name = _name(source)
        output = make_folder(run.path("new_plates")) / f"{safe_name(name)}.parquet"
        found = predict(runs, source, output, changes={}, say=lambda _: None)
    else:
        check_what_was_learnt([run])
        found, name = own_test_wells(run), "own_test_wells"
    return PlateReadOut(found, run.cfg, analysis.hour_of(found.rows, hour), name)


def _name(source: str | Path) -> str:
    """The name of a plate: of its folder where its file has the name that every plate map has."""
    path = Path(source).resolve()
    return path.parent.name if path.stem in ("plate", "manifest") and path.is_file() else path.stem
