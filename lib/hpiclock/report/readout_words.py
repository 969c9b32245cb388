"""The tables of a read-out as people read them: words for columns, nothing where there is no number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from hpiclock.errors import InputError
from hpiclock.files import atomic
from hpiclock.report.plots.readout import QUANTITIES
from hpiclock.study.dose import COLUMNS as FIT_COLUMNS
from hpiclock.study.looks import COLUMNS as LOOKS_COLUMNS

FIT_WORDS = {
    "ec50": "EC50", "low": "from", "high": "to", "slope": "slope", "n_wells": "wells", "n_doses": "doses",
    "note": "note",
}  # fmt: skip
SHOWN_LOOKS = 6


def summary(wells: pd.DataFrame, *, detection: str, hour: float) -> pd.DataFrame:
    """Return one row per treatment: wells, what is said at the hour, and detection.

    Args:
        wells: one row per well (:func:`hpiclock.study.readout.by_well`).
        detection: ``detected_hpi`` or ``detected_h``.
        hour: of the wells' values.
    """
    since = "onset" if detection == "detected_hpi" else "start"
    grouped = wells.groupby(["order", "treatment"])
    table = grouped.agg(
        wells=("well", "size"), p_infected=("p_infected", "mean"), share=("infected_share", "mean"),
        detected=("detected", "sum"), median=(detection, "median"),
    )  # fmt: skip
    named = table.reset_index("order", drop=True).round(2).rename(columns={
        "p_infected": f"P(infected) at {hour:g} h", "share": f"fields called infected at {hour:g} h",
        "detected": "wells detected", "median": f"median detection (h since {since})",
    })  # fmt: skip
    return filled(named)


def fits(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the fits of :func:`hpiclock.study.dose.dose_response`, a row per response."""
    table = pd.DataFrame(list(rows), columns=FIT_COLUMNS)
    table["response"] = table["response"].map(_label)
    return filled(table.set_index("response")[list(FIT_WORDS)].rename(columns=FIT_WORDS).round(3))


def agreement(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of :func:`hpiclock.study.readout.replicates`."""
    named = table.rename(columns={"n_wells": "wells", "low": "lowest", "high": "highest"})
    named["quantity"] = named["quantity"].map(_label)
    return filled(named.set_index(["quantity", "treatment"]).round(3))


def looks(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the first rows of :func:`hpiclock.study.looks.compare_looks`, and all that are unlike."""
    table = pd.DataFrame(rows, columns=LOOKS_COLUMNS)
    table = table.head(max(SHOWN_LOOKS, int(table["unlike"].sum())))
    return pd.DataFrame({
        "as the model is given it": table["words"],
        "this plate": [f"{value:.3g}" for value in table["value"]],
        "training": [f"{row.low:.3g} to {row.high:.3g}" for row in table.itertuples()],
        "stacks outside": [f"{row.outside} of {row.n_stacks}" for row in table.itertuples()],
        "": ["unlike" if unlike else "" for unlike in table["unlike"]],
    }).set_index("as the model is given it")  # fmt: skip


def filled(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with nothing where there is no number."""
    return table.astype(object).where(table.notna(), "")


def write_workbook(tables: Mapping[str, pd.DataFrame], path: Path) -> None:
    """Write tables as the sheets of one XLSX file.

    Raises:
        InputError: the package that writes it is missing.
    """
    try:
        import openpyxl  # noqa: F401
    except ImportError:
        raise InputError(f"{path}: XLSX needs the extra: pip install hpiclock[formats]") from None
    with atomic(path) as partial, pd.ExcelWriter(partial, engine="openpyxl") as book:
        for name, table in tables.items():
            table.to_excel(book, sheet_name=name[:31], index=False)


def _label(quantity: str) -> str:
    return QUANTITIES.get(quantity, quantity)
