"""Short texts and readable tables: what a scan found, what a run gave, what a read-out says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import Markdown

from hpiclock.analysis.acquisition_shift import COLUMNS as LOOKS_COLUMNS
from hpiclock.analysis.plate_readout import COLUMNS as FIT_COLUMNS
from hpiclock.errors import InputError
from hpiclock.figures.readout import QUANTITIES
from hpiclock.files import atomic
from hpiclock.metrics import METRICS
from hpiclock.plate.frames import treatment_table

MANY_ALIKE = 5  # problems that differ in numbers only; more of them are one line
AGAINST = [
    "mae_of_clock",
    "gain_over_clock",
    "skill_over_clock",
    "mae_of_mean",
    "gain_over_mean",
    "skill_over_mean",
]


def survey_lines(manifest: pd.DataFrame, problems: pd.DataFrame) -> Iterator[str]:
    """Yield a summary of the stacks that were found, then every error and note with its remedy.

    Args:
        manifest: the MANIFEST of the stacks that can be used.
        problems: ``path, severity, problem, remedy``.
    """
    yield f"{len(manifest)} stacks can be used"
    if len(manifest):
        yield treatment_table(manifest).fillna({"moi": ""}).to_string(index=False)
    for severity, rows in problems.groupby("severity"):
        yield f"{len(rows)} {severity}{'s' if len(rows) > 1 else ''}:"
        # numbers aside, 432 stacks with one fault are one line
        kind = rows["problem"].str.replace(r"\d+(\.\d+)?", "0", regex=True) + rows["remedy"]
        for _, same in rows.groupby(kind, sort=False):
            for row in same.head(1 if len(same) > MANY_ALIKE else len(same)).itertuples():
                yield f"  {row.path}: {row.problem}" + (f"; {row.remedy}" if row.remedy else "")
            if len(same) > MANY_ALIKE:
                yield f"  and the like of {len(same) - 1} more, the last {same['path'].iloc[-1]}"


def readable_metrics(
    metrics: pd.DataFrame, *, groups: list[str], split: str, names: list[str] | None = None
) -> pd.DataFrame:
    """Return METRICS rows over all hours as a table to read, indexed by ``group`` and ``metric``.

    Columns: ``value``, ``95% interval``, ``frames``, ``stacks``, ``wells``; in the order of ``groups`` and
    ``names`` (by default those of a summary). Where a value or an interval is undefined its reason stands
    in its place.
    """
    names = [name for name, metric in METRICS.items() if metric.summary] if names is None else names
    rows = metrics[metrics["split"].eq(split) & metrics["start_h"].isna()]
    rows = rows[rows["group"].isin(groups) & rows["metric"].isin(names)]
    place = rows["group"].map(groups.index) * len(names) + rows["metric"].map(names.index)
    rows = rows.iloc[place.argsort(kind="stable")]
    return pd.DataFrame(
        {
            "group": rows["group"],
            "metric": [METRICS[name].label for name in rows["metric"]],
            "value": [f"{value:.3f}" if pd.notna(value) else "undefined" for value in rows["value"]],
            "95% interval": [_interval(row) for row in rows.itertuples()],
            "frames": rows["n"],
            "stacks": rows["n_stacks"],
            "wells": rows["n_wells"],
        }
    ).set_index(["group", "metric"])


def sentences(tables: Mapping[str, pd.DataFrame], topics: list[str]) -> Markdown:
    """Return the study's conclusions on these topics as a list to show; what cannot be told is marked."""
    rows = tables["conclusions"]
    rows = rows[rows["topic"].isin(topics)]
    marks = {"says": "", "cannot tell": "**Cannot tell.** ", "beware": "**Beware.** "}
    lines = [f"- {marks.get(row.verdict, '')}{row.sentence}" for row in rows.itertuples()]
    return Markdown("\n".join(lines) or "Nothing can be said.")


def summary_text(run: str, notes: list[str], threshold_note: str, metrics: pd.DataFrame) -> str:
    """Return ``training_summary.txt``: what cannot be told first, then the test metrics with intervals.

    Args:
        run: its name.
        notes: what this plate and split cannot tell.
        threshold_note: how the class threshold was chosen.
        metrics: a METRICS table.
    """
    groups = ["all", "infected", "mock", "before onset", "eclipse", "after eclipse"]
    table = readable_metrics(metrics, groups=groups, split="test")
    rivals = readable_metrics(metrics, groups=["infected"], names=AGAINST, split="test")
    lines = [f"Run {run}", "", *(f"! {note}" for note in notes), *([""] if notes else [])]
    lines += [f"Threshold: {threshold_note}", "", "Test frames, all hours:"]
    lines += [
        table.to_string(),
        "",
        "Time of infected frames against a clock that sees no image, and against",
    ]
    lines += ["always saying the mean time (positive: the model is better):", rivals.to_string()]
    return "\n".join(lines) + "\n"


def _interval(row: Any) -> str:
    if pd.notna(row.low) and pd.notna(row.high):
        return f"{row.low:.3f} to {row.high:.3f}"
    return row.note.partition(";")[0]


SHOWN = 12  # stacks that stand out are listed up to this number, the worst first
KINDS = {
    "unreadable": "frames that cannot be used",
    "gaps": "gaps in time",
    "dead": "frames of one grey level",
    "copies": "copies of an earlier frame",
    "jumps": "jumps of brightness",
    "blurred": "frames out of focus",
}


def passport_lines(table: pd.DataFrame) -> Iterator[str]:
    """Yield the passport as lines to print: how many stacks are well, each kind of fault, the worst stacks.

    Args:
        table: from :func:`hpiclock.plate.passport.passport`.
    """
    opened = table[table["n_frames"].notna()]
    counts = table["status"].value_counts()
    status = ", ".join(f"{counts.get(name, 0)} {name}" for name in ("ok", "suspect", "failed"))
    yield f"Passport: {len(table)} stacks ({status}), {int(opened['n_frames'].sum()):,} frames read"
    for name, words in KINDS.items():
        number = int(opened[name].sum())
        if number:
            yield f"  {number:,} {words}, in {int(opened[name].gt(0).sum())} stacks"
    over = opened[opened["findings"].str.contains("at full scale")]
    if len(over):
        most = over["saturated"].max()
        yield f"  saturation: up to {most:.1%} of a frame at full scale, in {len(over)} stacks"
    same = opened["findings"].str.contains("the same pictures as").sum()
    if same:
        yield f"  {same} stacks hold the same pictures as another"
    # what could not be opened is listed with its remedy already
    odd = opened[opened["status"].ne("ok")]
    faults = odd[list(KINDS)].sum(axis=1)
    worst = odd.assign(failed=odd["status"].eq("failed"), faults=faults)
    worst = worst.sort_values(["failed", "faults", "stack_id"], ascending=[False, False, True])
    for row in worst.head(SHOWN).itertuples():
        yield f"  {row.status} {row.stack_id}: {row.findings}"
    if len(worst) > SHOWN:
        yield f"  and {len(worst) - SHOWN} more stacks stand out; --passport FILE lists them all"
    if opened.empty or odd.empty:
        yield (
            "  nothing stands out in the stacks that opened" if len(opened) else "  no stack could be opened"
        )


FIT_WORDS = {
    "ec50": "EC50",
    "low": "from",
    "high": "to",
    "slope": "slope",
    "n_wells": "wells",
    "n_doses": "doses",
    "note": "note",
}
SHOWN_LOOKS = 6


def readout_summary(wells: pd.DataFrame, *, detection: str, hour: float) -> pd.DataFrame:
    """Return one row per treatment: wells, what is said at the hour, and detection.

    Args:
        wells: one row per well (:func:`hpiclock.analysis.plate_readout.readout_by_well`).
        detection: ``detected_hpi`` or ``detected_h``.
        hour: of the wells' values.
    """
    since = "onset" if detection == "detected_hpi" else "start"
    grouped = wells.groupby(["order", "treatment"])
    table = grouped.agg(
        wells=("well", "size"),
        p_infected=("p_infected", "mean"),
        share=("infected_share", "mean"),
        detected=("detected", "sum"),
        median=(detection, "median"),
    )
    named = (
        table.reset_index("order", drop=True)
        .round(2)
        .rename(
            columns={
                "p_infected": f"P(infected) at {hour:g} h",
                "share": f"fields called infected at {hour:g} h",
                "detected": "wells detected",
                "median": f"median detection (h since {since})",
            }
        )
    )
    return filled(named)


def readable_fits(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the fits of :func:`hpiclock.analysis.plate_readout.dose_response`, a row per response."""
    table = pd.DataFrame(list(rows), columns=FIT_COLUMNS)
    table["response"] = table["response"].map(_label)
    return filled(table.set_index("response")[list(FIT_WORDS)].rename(columns=FIT_WORDS).round(3))


def readable_agreement(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of :func:`hpiclock.analysis.plate_readout.replicate_agreement`."""
    named = table.rename(columns={"n_wells": "wells", "low": "lowest", "high": "highest"})
    named["quantity"] = named["quantity"].map(_label)
    return filled(named.set_index(["quantity", "treatment"]).round(3))


def readable_shift(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the first rows of an acquisition shift, and all that are unlike."""
    table = pd.DataFrame(rows, columns=LOOKS_COLUMNS)
    table = table.head(max(SHOWN_LOOKS, int(table["unlike"].sum())))
    return pd.DataFrame(
        {
            "as the model is given it": table["words"],
            "this plate": [f"{value:.3g}" for value in table["value"]],
            "training": [f"{row.low:.3g} to {row.high:.3g}" for row in table.itertuples()],
            "stacks outside": [f"{row.outside} of {row.n_stacks}" for row in table.itertuples()],
            "": ["unlike" if unlike else "" for unlike in table["unlike"]],
        }
    ).set_index("as the model is given it")


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
