"""The audit in words: sentences and readable tables for the terminal, for notebooks, for the index."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator

import pandas as pd
from IPython.display import Markdown

from hpiclock.analysis.acquisition_shift import STATISTIC_WORDS
from hpiclock.audit import ANSWERS, EARLY, ELAPSED, HOUR, WELL
from hpiclock.format import short_interval
from hpiclock.runs.run import VERDICT, Run
from hpiclock.tables import read_any

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
        table: of an :class:`hpiclock.workflows.audit.Audit`.
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
        checks: of :class:`hpiclock.runs.tables.KeptExplanations`.
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
        "difference (SD between wells)": table["difference"].round(2),
        "p": _p(table["p"]),
        "smallest p": _p(table["floor"]),
        "infected wells": table["n_infected"],
        "mock wells": table["n_mock"],
    }
    return _indexed(words, table["question"], "question")


def _controls(table: pd.DataFrame) -> pd.DataFrame:
    rows = table[table["what"].ne("window")]
    hours = [_hours(start, end) for start, end in rows[["start_h", "end_h"]].to_numpy(float)]
    words = {
        "hours after onset": hours,
        "AUC at equal hours (95% interval)": _ranges(rows, "auc"),
        "frames": rows["n"],
        "note": rows["note"].fillna(""),
    }
    return _indexed(words, rows["what"], "where")


def _baselines(table: pd.DataFrame) -> pd.DataFrame:
    words = {
        "AUC at equal hours (95% interval)": _ranges(table, "auc"),
        "AUC, all hours": _two(table["auc_all"]),
        "AUC before the onset": _two(table["auc_before"]),
        "time error, infected (MAE, h)": _two(table["mae"]),
        "frames": table["n"],
        "wells": table["n_wells"],
    }
    return _indexed(words, table["source"], "sees")


def _probes(table: pd.DataFrame) -> pd.DataFrame:
    words = {
        "value (95% interval)": _ranges(table, "value"),
        "chance": _two(table["chance"]),
        "wells": table["n_groups"],
        "note": table["note"].fillna(""),
    }
    return _indexed(words, table["probe"].map(PROBES), "probe")


def _permutations(table: pd.DataFrame) -> pd.DataFrame:
    words = {
        "AUC at equal hours (95% interval)": _ranges(table, "auc"),
        "frames": table.get("n", "not counted"),  # audits made before frames were counted
        "shuffled": table["unit"] + "s",
        "p": _p(table["p"]),
        "smallest p": _p(table["floor"]),
        "smallest p of wells": _p(table["well_floor"]),
        "infected wells": table["n_infected"],
        "mock wells": table["n_mock"],
    }
    return _indexed(words, table["frames"], "when")


def _over_time(table: pd.DataFrame) -> pd.DataFrame:
    words = {
        "rank correlation with the hour (95% interval)": _ranges(table, "rho"),
        "p": _p(table["p"]),
        "smallest p": _p(table["floor"]),
        "stacks": table["n_stacks"],
        "wells": table["n_wells"],
    }
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
    return ["" if not pd.notna(value) else short_interval(value, low, high) for value, low, high in numbers]


def _two(numbers: pd.Series) -> list[str]:
    return ["" if pd.isna(number) else f"{number:.2f}" for number in numbers]


def _p(numbers: pd.Series) -> list[str]:
    return ["" if pd.isna(number) else f"{number:.2g}" for number in numbers]


MARKS: dict[str, str] = dict(zip(ANSWERS, ("+", "!", "?", "-"), strict=True))
OPENINGS = {"contradicted": "Contradicted", "not identifiable": "Cannot be told"}
# what is compared, and the rows of the sampling table: experiment, train, test
ALL, MATCHED, SPLIT, LATER = "all controls", "matched controls", "split", "later"
GAPS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "Frames dealt at random instead of whole wells held out",
        (SPLIT, "frames at random"),
        (SPLIT, "whole wells"),
    ),
    (
        "Learnt on early hours instead of late ones, asked of late ones",
        (LATER, "early hours"),
        (LATER, "late hours"),
    ),
    (
        "Asked of controls of all hours instead of matched ones",
        ("controls", ALL, ALL),
        ("controls", ALL, MATCHED),
    ),
    (
        "Learnt on controls of all hours instead of matched ones, asked of matched ones",
        ("controls", ALL, MATCHED),
        ("controls", MATCHED, MATCHED),
    ),
)
WIDTH = 96
ON_FEATURES = (WELL, EARLY, HOUR, ELAPSED)  # questions that a map of features lets one see


def verdict_lines(verdict: pd.DataFrame) -> Iterator[str]:
    """Yield the verdict for a terminal: a line per question, then its evidence and its remedy."""
    for row in verdict.fillna({"evidence": "", "remedy": ""}).itertuples():
        yield f"{MARKS[str(row.verdict)]} {row.question} {str(row.verdict).upper()}"
        yield from textwrap.wrap(str(row.evidence), WIDTH, initial_indent="    ", subsequent_indent="    ")
        if row.remedy:
            yield from textwrap.wrap(
                f"what would settle it: {row.remedy}", WIDTH, initial_indent="    ", subsequent_indent="    "
            )


def readable_verdict(verdict: pd.DataFrame) -> pd.DataFrame:
    """Return the verdict as a table to read, indexed by question."""
    rows = verdict.fillna({"evidence": "", "remedy": ""})
    effect = [
        short_interval(row.effect, row.low, row.high) if pd.notna(row.effect) else ""
        for row in rows.itertuples()
    ]
    return pd.DataFrame(
        {
            "verdict": rows["verdict"].to_numpy(),
            "effect (95% interval)": effect,
            "evidence": rows["evidence"].to_numpy(),
            "what would settle it": rows["remedy"].to_numpy(),
        },
        index=pd.Index(rows["question"], name="question"),
    )


def verdict_sentences(verdict: pd.DataFrame) -> Markdown:
    """Return what the verdict says as a list to show: what is contradicted or cannot be told first."""
    rows = verdict.fillna({"evidence": "", "remedy": ""})
    lines = []
    for answer, opening in OPENINGS.items():
        for row in rows[rows["verdict"].eq(answer)].itertuples():
            settle = f" *What would settle it:* {row.remedy}." if row.remedy else ""
            lines.append(f"- **{row.question}** {opening}: {str(row.evidence).rstrip('.')}.{settle}")
    for answer, opening in (("supported", "Nothing speaks against it"), ("not tested", "Not tested")):
        names = list(rows.loc[rows["verdict"].eq(answer), "question"])
        if names:
            lines.append(f"- {opening}: {' '.join(names)}")
    return Markdown("\n".join(lines))


def gap_sentences(sampling: pd.DataFrame) -> Markdown:
    """Return what the choice of frames adds to the AUC, a sentence per experiment that could be made."""
    auc = sampling.set_index(["experiment", "train", "test"])["auc"]
    lines = []
    for words, one, other in GAPS:
        values = [auc[[key[: len(of)] == of for key in auc.index]].dropna() for of in (one, other)]
        if all(len(value) for value in values):
            first, second = (float(value.iloc[0]) for value in values)
            gap = round(first - second, 2) + 0.0  # no -0.00
            lines.append(f"- {words}: {gap:+.2f} ({first:.2f} against {second:.2f}).")
    return Markdown("\n".join(lines) or "No two experiments can be compared: too few wells.")


def feature_reading(verdict: pd.DataFrame, probes: pd.DataFrame) -> dict[str, str]:
    """Return what the audit says of the model's features, by what it asked: probes first, then its verdict.

    Args:
        verdict: of :class:`hpiclock.workflows.audit.Audit`.
        probes: its table of that name.
    """
    said = {}
    for row in probes[probes["value"].notna()].itertuples():
        asked = PROBES[str(row.probe)].capitalize()
        said[asked] = f"{short_interval(row.value, row.low, row.high)}, by chance {row.chance:.2f}"
    answers = verdict.set_index("question")["verdict"]
    return said | {question: answers[question] for question in ON_FEATURES if question in answers}


def verdict_of(run: Run) -> list[dict[str, str]]:
    """Return the verdict of a run's folder as rows of text; empty when it was not audited."""
    if not run.path(VERDICT).is_file():
        return []
    table = readable_verdict(read_any(run.path(VERDICT))).reset_index()
    names = {"effect (95% interval)": "effect", "what would settle it": "remedy"}
    return table.rename(columns=names).astype(str).to_dict("records")
