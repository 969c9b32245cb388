"""The tables of an audit in words: numbers with their intervals, columns that say what they are."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from hpiclock.study.audit_rows import STATISTIC_WORDS, range_words

PROBES = {
    "stack": "names the stack (share right)",
    "well": "names the well (share right)",
    "time": "reads the hour (mean error, h)",
}
MAP_CHECKS = {
    "weights drawn anew": "like the map of a model with weights drawn anew (rank correlation)",
    "labels shuffled": "like that of one that learnt shuffled labels",
    "deletion": "deleting by the map does more than at random (class: P; time: h)",
    "border": "share of the weight on the border",
}
LABELS = {"uninfected": "uninfected frames", "infected": "infected frames"}


def readable_audit(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return one table of an audit to read, indexed by what its rows are of.

    Args:
        table: of an :class:`hpiclock.report.audit.Audit`.
        name: which one, a key of :data:`WORDED`.
    """
    return WORDED[name](table)


def onset_claims(onset: pd.DataFrame) -> pd.DataFrame:
    """Return what is claimed (rows) under each shift of the onset (columns), with whether it stands."""
    stands = onset["stands"].map({True: "stands", False: "falls"}).fillna("no interval")
    cells = [f"{value}: {said}" for value, said in zip(_ranges(onset, "value"), stands, strict=True)]
    columns = [f"onset {shift:+g} h" if shift else "as given" for shift in onset["shift_h"]]
    order = list(dict.fromkeys(columns))
    wide = onset.assign(cell=cells, column=columns).pivot_table(
        index="claim", columns="column", values="cell", aggfunc="first", sort=False
    )
    return wide[order].rename_axis(columns=None)


def readable_maps(checks: pd.DataFrame) -> pd.DataFrame:
    """Return what checks the maps of where the model looks, a row for each head and method.

    Args:
        checks: of :class:`hpiclock.report.explaining.Explained`.
    """
    deepest = checks["depth"].isin(["", checks["depth"].replace("", pd.NA).dropna().iloc[-1:].squeeze()])
    rows = checks[deepest]
    cells = rows.assign(cell=_ranges(rows, "value"), check=rows["check"].map(MAP_CHECKS))
    wide = cells.pivot_table(
        index=["head", "method"], columns="check", values="cell", aggfunc="first", sort=False
    )
    named = wide.reindex(columns=[name for name in MAP_CHECKS.values() if name in wide])
    area = checks.loc[checks["check"].eq("border"), "chance"]
    return named.rename_axis(columns=None).assign(
        **({"area of the border": f"{area.iloc[0]:.2f}"} if len(area) else {})
    )


def _design(table: pd.DataFrame) -> pd.DataFrame:
    value = ["not defined" if pd.isna(value) else f"{value:.3g}" for value in table["value"]]
    words = {"value": value, "detail": table["detail"].fillna("").to_numpy()}
    return pd.DataFrame(words, index=pd.Index(table["aspect"], name="aspect"))


def _before_onset(table: pd.DataFrame) -> pd.DataFrame:
    words = {
        "differs most": table["statistic"].replace(STATISTIC_WORDS),
        "AUC (95% interval)": _ranges(table, "auc"),
        "difference (SD between wells)": table["difference"].round(2), "p": _p(table["p"]),
        "smallest p": _p(table["floor"]), "infected wells": table["n_infected"],
        "mock wells": table["n_mock"],
    }  # fmt: skip
    return _indexed(words, table["question"], "question")


def _controls(table: pd.DataFrame) -> pd.DataFrame:
    rows = table[table["what"].ne("window")]
    hours = [_hours(start, end) for start, end in rows[["start_h", "end_h"]].to_numpy(float)]
    words = {
        "hours after onset": hours, "AUC (95% interval)": _ranges(rows, "auc"), "frames": rows["n"],
        "note": rows["note"].fillna(""),
    }  # fmt: skip
    return _indexed(words, rows["what"], "where")


def _baselines(table: pd.DataFrame) -> pd.DataFrame:
    words = {
        "AUC at equal hours (95% interval)": _ranges(table, "auc"), "AUC, all hours": _two(table["auc_all"]),
        "AUC before the onset": _two(table["auc_before"]),
        "time error, infected (MAE, h)": _two(table["mae"]), "frames": table["n"], "wells": table["n_wells"],
    }  # fmt: skip
    return _indexed(words, table["source"], "sees")


def _probes(table: pd.DataFrame) -> pd.DataFrame:
    words = {
        "value (95% interval)": _ranges(table, "value"), "chance": _two(table["chance"]),
        "wells": table["n_groups"], "note": table["note"].fillna(""),
    }  # fmt: skip
    return _indexed(words, table["probe"].map(PROBES), "probe")


def _permutations(table: pd.DataFrame) -> pd.DataFrame:
    words = {
        "AUC (95% interval)": _ranges(table, "auc"), "shuffled": table["unit"] + "s", "p": _p(table["p"]),
        "smallest p": _p(table["floor"]), "smallest p of wells": _p(table["well_floor"]),
        "infected wells": table["n_infected"], "mock wells": table["n_mock"],
    }  # fmt: skip
    return _indexed(words, table["frames"], "frames")


def _over_time(table: pd.DataFrame) -> pd.DataFrame:
    words = {
        "rank correlation with the hour (95% interval)": _ranges(table, "rho"), "p": _p(table["p"]),
        "smallest p": _p(table["floor"]), "stacks": table["n_stacks"], "wells": table["n_wells"],
    }  # fmt: skip
    return _indexed(words, table["label"].map(LABELS), "at a given label")


WORDED: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "design": _design,
    "before_onset": _before_onset,
    "controls": _controls,
    "baselines": _baselines,
    "probes": _probes,
    "permutations": _permutations,
    "over_time": _over_time,
}


def _indexed(words: dict[str, object], index: pd.Series, name: str) -> pd.DataFrame:
    return pd.DataFrame(words).set_index(pd.Index(index, name=name))


def _hours(start_h: float, end_h: float) -> str:
    if pd.isna(start_h):
        return ""
    return f"{start_h:g}" if start_h == end_h else f"{start_h:g} to {end_h:g}"


def _ranges(table: pd.DataFrame, column: str) -> list[str]:
    numbers = table[[column, "low", "high"]].astype(float).to_numpy()
    return ["" if not pd.notna(value) else range_words(value, low, high) for value, low, high in numbers]


def _two(numbers: pd.Series) -> list[str]:
    return ["" if pd.isna(number) else f"{number:.2f}" for number in numbers]


def _p(numbers: pd.Series) -> list[str]:
    return ["" if pd.isna(number) else f"{number:.2g}" for number in numbers]
