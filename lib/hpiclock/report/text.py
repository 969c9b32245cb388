"""What a reader sees: figures with their words, short texts, and readable tables of what was found.

A readable table is a list of :class:`Column`: its name in words, where its cells come from, how they are
written; :func:`readable` makes it.
"""

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from IPython.display import HTML, Image, Markdown, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image as Picture
from PIL.PngImagePlugin import PngInfo

from hpiclock import format
from hpiclock.analysis.plate_readout import time_of_half
from hpiclock.analysis.sentences import BEWARE, CANNOT, SAYS, training_sentences
from hpiclock.errors import InputError
from hpiclock.figures.plate import QUANTITIES
from hpiclock.figures.style import alt_text, figure_of, screen_width
from hpiclock.files import atomic, inert
from hpiclock.metrics import METRICS
from hpiclock.plate.frames import treatment_table
from hpiclock.plate.manifest import SIMULATED

BASELINES = [f"{what}_{who}" for who in ("clock", "mean") for what in ("mae_of", "gain_over", "skill_over")]
MARKS = {SAYS: "", CANNOT: "**Cannot tell.** ", BEWARE: "**Beware.** "}
SPREADS = {"sd": "SD over windows", "range": "range over windows"}


class Column(NamedTuple):
    """One column of a readable table.

    Attributes:
        words: its name.
        source: the columns of the table from which a cell is written.
        write: takes their values in a row and returns the cell; None = the value as it is.
    """

    words: str
    source: str | Sequence[str]
    write: Callable[..., object] | None = None


def readable(table: pd.DataFrame, columns: Iterable[Column], *, index: int = 1) -> pd.DataFrame:
    """Return a table to read with these columns, the first ``index`` of them as its index."""
    cells: dict[str, Any] = {}
    for words, source, write in columns:
        if write is None:
            cells[words] = table[source].to_numpy()
        else:
            sources = [source] if isinstance(source, str) else source
            cells[words] = [write(*row) for row in zip(*(table[name] for name in sources), strict=True)]
    return pd.DataFrame(cells).set_index(list(cells)[:index])


def or_blank(value: Any) -> Any:
    """Return the value, or nothing where there is none."""
    return "" if pd.isna(value) else value


def or_dash(value: float, *, signed: bool = False) -> str:
    """Return a number, or a dash where there is none."""
    return format.number_text(value, signed=signed, missing="–")


two_digits = partial(format.number_text, digits=2, missing="")


def metric_label(name: str) -> str:
    """Return the label of a metric, or the name of one that is not known."""
    return METRICS[name].label if name in METRICS else name


def note_words(note: Any) -> str:
    """Return a note of a table to read: ``unit well: 7`` is ``over 7 wells``; nothing where there is none."""
    return "" if pd.isna(note) else format.units_text(str(note))


def limits_or_reason(low: float, high: float, note: str) -> str:
    """Return the limits of an interval, or why there is none."""
    return format.limits_text(low, high, missing=format.first_clause(note))


METRIC_COLUMNS = [
    Column("group", "group"),
    Column("metric", "metric", metric_label),
    Column("value", "value", format.number_text),
    Column("95% interval", ("low", "high", "note"), limits_or_reason),
    Column("frames", "n"),
    Column("stacks", "n_stacks"),
    Column("wells", "n_wells"),
]


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
    return readable(rows.iloc[place.argsort(kind="stable")], METRIC_COLUMNS, index=2)


THRESHOLDS = {"decision": "decision, chosen on validation", "controls": "of the controls"}


def group_words(group: str) -> str:
    """Return ``MOI 0.3`` for ``moi=0.3``; other groups of frames as they are called."""
    return group.replace("moi=", "MOI ")


def when(after_h: float, at_h: float) -> str:
    """Return ``between 7.0 and 9.0 h``, or that it did not come."""
    return format.between_text(after_h, at_h) if np.isfinite(at_h) else "not reached"


STUDY_TABLES = {
    "treatments": [
        Column("plate", "plate"),
        Column("condition", "condition"),
        Column("MOI", "moi", format.significant_text),
        Column("wells", "wells"),
        Column("stacks", "stacks"),
        Column("frames", "frames"),
        Column("first hour", "first_h", format.significant_text),
        Column("last hour", "last_h", format.significant_text),
        Column("onset (h after start)", "onset_h"),
    ],
    "stability": [
        Column("metric", "metric", metric_label),
        Column("all hours", "whole", two_digits),
        Column("range over windows", "range", two_digits),
        Column("range if all windows were alike, 95% below", "range_of_noise", two_digits),
        Column("p of the range", "p_of_range", format.p_text),
        Column("p that any window differs", "smallest_p", format.p_text),
        Column("note", "note", note_words),
    ],
    "detection": [
        Column("threshold", "rule", THRESHOLDS.__getitem__),
        Column("fields", "group", group_words),
        Column("stacks", "n_stacks"),
        Column("detected", "n_detected"),
        Column("half detected (hpi)", ("after_h", "half_h"), when),
        Column("95% interval (h)", ("low_h", "high_h"), partial(format.limits_text, digits=1, missing="")),
        Column("note", "note", note_words),
    ],
}


def readable_study(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return one table of a plate or of a study to read.

    Args:
        table: of :func:`hpiclock.plate.frames.treatment_table`, or a study's ``stability`` or ``detection``.
        name: which one, a key of :data:`STUDY_TABLES`.
    """
    return readable(table, STUDY_TABLES[name], index=2 if name == "detection" else 1)


def training_summary(history: pd.DataFrame, *, best_epoch: int) -> Markdown:
    """Return which epoch is kept and what it reached on validation, as a list to show.

    Args:
        history: HISTORY (``epoch split metric value``) of a finished run.
        best_epoch: the one whose weights are kept.
    """
    found = training_sentences(history, best_epoch=best_epoch)
    return Markdown("\n".join(f"- {as_markdown(sentence)}" for sentence in found))


def say(sentence: str) -> None:
    """Show a sentence in a notebook, its text as it is."""
    display(Markdown(as_markdown(sentence)))


def readable_comparison(comparison: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """Return a comparison over all hours to read, indexed by variant, frames and metric.

    Args:
        comparison: the table of that name of :func:`hpiclock.analysis.compare.compare`.
        level: of the intervals.
    """
    difference = partial(format.interval_text, signed=True, missing="–")
    columns = [
        Column("variant", "variant"),
        Column("frames", "group"),
        Column("metric", "metric", metric_label),
        Column("value", "value", or_dash),
        Column("against", "value_against", or_dash),
        Column(f"difference ({level:.0%} interval)", ("difference", "low", "high"), difference),
        Column("p corrected", "p_holm", partial(format.p_text, least=format.LEAST_P, missing="–")),
        Column("could see", "could_see", or_dash),
        Column("says", ("verdict", "note"), lambda verdict, note: note if verdict == CANNOT else verdict),
    ]
    return readable(comparison, columns, index=3)


def readable_steadiness(steadiness: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """Return the spreads over windows to read, indexed by variant, metric, frames and kind of spread.

    Args:
        steadiness: the table of that name of :func:`hpiclock.analysis.compare.compare`.
        level: a share of differences under the null hypothesis lies below ``by_chance``.
    """
    columns = [
        Column("variant", "variant"),
        Column("metric", "metric", metric_label),
        Column("frames", "group"),
        Column("spread", "spread", SPREADS.__getitem__),
        Column("value", "value", or_dash),
        Column("against", "value_against", or_dash),
        Column(
            "difference", ("value", "value_against"), lambda *pair: or_dash(pair[0] - pair[1], signed=True)
        ),
        Column(f"expected under the null, {level:.0%} below", "by_chance", or_dash),
        Column("p corrected", "p_holm", partial(format.p_text, least=format.LEAST_P, missing="–")),
        Column("windows", "n_windows"),
    ]
    return readable(steadiness, columns, index=4)


# What makes a link, a picture, a tag, a formula or a cell of a table of Markdown of a text.
_MARKUP = re.compile(r"\\|\$|\||<(?=[A-Za-z/!?])|(?<=\])[(:\[]|(?<=:)//|(?<=www)\.")


def as_markdown(text: str) -> str:
    """Return Markdown, in one line, that shows a text as it is: names in it come from the data."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.splitlines()))


def sentences(tables: Mapping[str, pd.DataFrame], topics: list[str]) -> Markdown:
    """Return the study's conclusions on these topics as a list to show; what cannot be told is marked."""
    rows = tables["conclusions"]
    rows = rows[rows["topic"].isin(topics)]
    said = [(MARKS.get(row.verdict, ""), as_markdown(row.sentence)) for row in rows.itertuples()]
    lines = [f"- {sentence if sentence.startswith('Cannot') else mark + sentence}" for mark, sentence in said]
    return Markdown("\n".join(lines) or "Nothing can be said.")


SUMMARY_TEXT = """Run {run}

{notes}Threshold: {threshold}

Test frames, all hours:
{metrics}

Intervals are over wells or what the notes name: of score type for shares and AUCs, relative for errors.
Both are too narrow where a few wells that may not be in the sample make most of the error.

Time of infected frames against a clock that sees no image, fitted on the hours of frames of the
same class, and against always saying the mean time (positive: the model is better):
{baselines}
"""


def summary_text(run: str, notes: list[str], threshold_note: str, metrics: pd.DataFrame) -> str:
    """Return ``training_summary.txt``: what cannot be told first, then the test metrics with intervals.

    Args:
        run: its name.
        notes: what this plate and split cannot tell.
        threshold_note: how the class threshold was chosen.
        metrics: a METRICS table.
    """
    groups = ["all", "infected", "mock", "before onset", "eclipse", "after eclipse"]
    return SUMMARY_TEXT.format(
        run=run,
        notes="".join(f"! {note}\n" for note in notes) + ("\n" if notes else ""),
        threshold=threshold_note,
        metrics=readable_metrics(metrics, groups=groups, split="test").to_string(),
        baselines=readable_metrics(metrics, groups=["infected"], names=BASELINES, split="test").to_string(),
    )


MANY_SIMILAR = 5  # problems that differ in numbers only; more of them are one line


def survey_lines(manifest: pd.DataFrame, problems: pd.DataFrame) -> Iterator[str]:
    """Yield a summary of the stacks that were found, then every error and note with its remedy.

    Args:
        manifest: the MANIFEST of the stacks that can be used.
        problems: ``path, severity, problem, remedy``.
    """
    yield f"{format.count_text(len(manifest), 'stack')} can be used"
    if len(manifest):
        yield treatment_table(manifest).fillna({"moi": ""}).to_string(index=False)
    for severity, rows in problems.groupby("severity"):
        yield f"{format.count_text(len(rows), severity)}:"
        # numbers aside, 432 stacks with one fault are one line
        kind = rows["problem"].str.replace(r"\d+(\.\d+)?", "0", regex=True) + rows["remedy"]
        for _, same in rows.groupby(kind, sort=False):
            for row in same.head(1 if len(same) > MANY_SIMILAR else len(same)).itertuples():
                yield f"  {row.path}: {row.problem}" + (f"; {row.remedy}" if row.remedy else "")
            if len(same) > MANY_SIMILAR:
                yield f"  and the like of {len(same) - 1} more, the last {same['path'].iloc[-1]}"


SHOWN_STATISTICS = 6  # of an acquisition shift, the farthest first
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
        table: from :func:`hpiclock.plate.quality.passport`.
    """
    opened = table[table["n_frames"].notna()]
    counts = table["status"].value_counts()
    status = ", ".join(f"{counts.get(name, 0)} {name}" for name in ("ok", "suspect", "failed"))
    yield f"Passport: {len(table)} stacks ({status}), {int(opened['n_frames'].sum()):,} frames read"
    for name, words in KINDS.items():
        if found := int(opened[name].sum()):
            yield f"  {found:,} {words}, in {int(opened[name].gt(0).sum())} stacks"
    over = opened.loc[opened["findings"].str.contains("at full scale"), "saturated"]
    if len(over):
        yield f"  saturation: up to {over.max():.1%} of a frame at full scale, in {len(over)} stacks"
    if same := opened["findings"].str.contains("the same pictures as").sum():
        yield f"  {same} stacks hold the same pictures as another"
    # what could not be opened is listed with its remedy already
    odd = opened[opened["status"].ne("ok")]
    worst = odd.assign(failed=odd["status"].eq("failed"), faults=odd[list(KINDS)].sum(axis=1))
    worst = worst.sort_values(["failed", "faults", "stack_id"], ascending=[False, False, True])
    for row in worst.head(SHOWN).itertuples():
        yield f"  {row.status} {row.stack_id}: {row.findings}"
    if len(worst) > SHOWN:
        yield f"  and {len(worst) - SHOWN} more stacks stand out; --passport FILE lists them all"
    if opened.empty:
        yield "  no stack could be opened"
    elif odd.empty:
        yield "  nothing stands out in the stacks that opened"


def readout_summary(wells: pd.DataFrame, *, detection: str, hour: float) -> pd.DataFrame:
    """Return one row per treatment: wells, what is predicted at the hour, and detection.

    Args:
        wells: one row per well (:func:`hpiclock.analysis.plate_readout.readout_by_well`).
        detection: ``detected_hpi`` or ``detected_h``.
        hour: of the wells' values.
    """
    table = wells.groupby(["order", "treatment"], as_index=False).agg(
        wells=("well", "size"),
        p_infected=("p_infected", "mean"),
        share=("infected_share", "mean"),
        detected=("detected", "sum"),
        after=(detection.replace("detected", "detected_after"), time_of_half),
        at=(detection, time_of_half),
    )
    since = "onset" if detection == "detected_hpi" else "start"
    columns = [
        Column("treatment", "treatment"),
        Column("wells", "wells"),
        Column(f"P(infected) at {hour:g} h", "p_infected", two_digits),
        Column(f"fields called infected at {hour:g} h", "share", two_digits),
        Column("wells detected", "detected"),
        Column(f"half of the wells detected, since {since}", ("after", "at"), when),
    ]
    return readable(table, columns)


def quantity_label(name: str) -> str:
    """Return a quantity of a read-out in words."""
    return QUANTITIES.get(name, name)


READOUT_TABLES = {
    "dose_response": [
        Column("response", "response", quantity_label),
        Column("of", "compound", or_blank),
        Column("EC50", "ec50", format.significant_text),
        Column("from", "low", format.significant_text),
        Column("to", "high", format.significant_text),
        Column("slope", "slope", format.significant_text),
        Column("wells", "n_wells"),
        Column("of them controls", "n_controls"),
        Column("doses", "n_doses"),
        Column("note", "note", or_blank),
    ],
    "replicates": [
        Column("quantity", "quantity", quantity_label),
        Column("treatment", "treatment"),
        Column("wells", "n_wells"),
        Column("mean", "mean", two_digits),
        Column("SD", "sd", two_digits),
        Column("lowest", "low", two_digits),
        Column("highest", "high", two_digits),
        Column("ICC", "icc", two_digits),
        Column("note", "note", or_blank),
    ],
    "looks": [
        Column("statistic", "words"),
        Column("this plate", "value", format.significant_text),
        Column("training", ("low", "high"), lambda *ends: " to ".join(map(format.significant_text, ends))),
        Column("stacks outside", ("outside", "n_stacks"), "{} of {}".format),
        Column("", "unlike", lambda unlike: "unlike" if unlike else ""),
    ],
}


def readable_readout(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return one table of a read-out to read.

    Args:
        table: of :attr:`hpiclock.workflows.readout.PlateReadOut.tables`.
        name: ``dose_response``, of which responses without a dosed well are left out, ``replicates``, or
            ``looks``, of which the first rows and all ``unlike`` are shown.
    """
    if name == "dose_response":
        table = table[table["n_doses"].gt(0)]
    if name == "looks":
        table = table.head(max(SHOWN_STATISTICS, int(table["unlike"].sum())))
    shown = readable(table, READOUT_TABLES[name], index=2 if name == "replicates" else 1)
    return shown.loc[:, shown.astype(str).ne("").any()] if name == "dose_response" else shown


def write_workbook(tables: Mapping[str, pd.DataFrame], path: Path) -> None:
    """Write tables as the sheets of one XLSX file, without formulas and characters that it cannot hold.

    Raises:
        InputError: the package that writes it is missing.
    """
    try:
        from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
    except ImportError:
        raise InputError(f"{path}: XLSX needs the extra: pip install hpiclock[formats]") from None
    with atomic(path) as written, pd.ExcelWriter(written, engine="openpyxl") as book:
        for name, table in tables.items():
            table = inert(table).replace(ILLEGAL_CHARACTERS_RE, "", regex=True)
            table.to_excel(book, sheet_name=name[:31], index=False)


_WORDS = "text-align: left; white-space: normal; vertical-align: top"
_LARGE = 400_000  # bytes: a page holds several figures and should be a few MB
_VISIBLE = 16  # grey levels of 255 by which a colour may be off


def show(drawn: Axes | Figure, caption: str) -> None:
    """Show a figure in a notebook with its alternative text, and one sentence on how to read it under it."""
    figure = figure_of(drawn)
    width = screen_width(figure)
    display(Image(data=png(figure), format="png", width=width, alt=alt_text(figure)))
    if caption:
        display(Markdown(as_markdown(caption)))


def show_words(table: pd.DataFrame) -> None:
    """Show a table of words in a notebook: every cell whole and left-aligned."""
    with pd.option_context("display.max_colwidth", None):
        text = table.to_html(justify="left", border=0, classes="stacked")
    display(HTML(text.replace("<td>", f'<td style="{_WORDS}">').replace("<th>", f'<th style="{_WORDS}">')))


def png(drawn: Axes | Figure) -> bytes:
    """Return the figure as PNG with its alternative text inside; the same figure gives the same bytes."""
    figure = figure_of(drawn)
    stream = io.BytesIO()
    words = {"Description": alt_text(figure), "Software": None}
    # legends beside axes of fixed aspect can stand out of the page that the layout planned: widen it
    figure.savefig(stream, format="png", bbox_inches="tight", pad_inches=0.04, metadata=words)
    data = stream.getvalue()
    return data if len(data) <= _LARGE else _in_fewer_colours(data, alt_text(figure))


def _in_fewer_colours(data: bytes, description: str) -> bytes:
    """Return a PNG of many frames with 256 colours: half the bytes, and no difference to the eye."""
    about = PngInfo()
    about.add_text("Description", description)
    picture = Picture.open(io.BytesIO(data))
    stream = io.BytesIO()
    whole = picture.convert("RGB")
    fewer = whole.quantize(256, dither=Picture.Dither.NONE)
    off = np.abs(np.asarray(fewer.convert("RGB"), np.int16) - np.asarray(whole, np.int16))
    # among many greys the commonest colours leave no room for rare ones
    if np.percentile(off, 99.9) > _VISIBLE:
        fewer = whole.quantize(256, method=Picture.Quantize.MAXCOVERAGE, dither=Picture.Dither.NONE)
    fewer.save(stream, format="png", pnginfo=about, dpi=picture.info["dpi"])
    return stream.getvalue()


PRIMARY = (
    "Primary endpoints, on test frames: the AUC of pairs of one plate and hour, infected frames after the "
    "eclipse against mock ones; for time, the mean absolute error of infected frames. Every other number is "
    "secondary: it explains these two, and no claim rests on it alone."
)


READ_FIRST = "> **Read this first**"


def simulated_first(notes: Iterable[str]) -> list[str]:
    """Return the notes, each once, those that say that data are simulated before all others."""
    return sorted(dict.fromkeys(notes), key=lambda note: not note.startswith(SIMULATED))


def opening(notes: Iterable[str]) -> None:
    """Show what stands first on a page: what the data cannot tell, and which numbers are primary."""
    lines = "\n".join(f"> - {as_markdown(note)}" for note in simulated_first(notes))
    display(Markdown((f"{READ_FIRST}\n>\n{lines}\n\n" if lines else "") + PRIMARY))
