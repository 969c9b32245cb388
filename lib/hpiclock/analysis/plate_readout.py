"""What predictions say about a new plate: curves per treatment, wells, controls, external validation."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from hpiclock import tables
from hpiclock.analysis.clustered import one_way_anova
from hpiclock.analysis.detection import detection_times
from hpiclock.analysis.evaluate import metrics_by_split
from hpiclock.analysis.units import MIN_GROUPS
from hpiclock.analysis.windows import metrics_by_window
from hpiclock.config.schema import StudyConfig, WindowsConfig
from hpiclock.tables import table_of

NO_REPLICATES = "no treatment has two wells, or there is one treatment"
GIVEN = ("condition", "moi", "compound", "dose", "dose_unit")  # what makes a treatment
WELL = ["plate", "well"]


def with_treatments(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with ``treatment`` in words and ``order`` among the treatments: mock first, doses upwards.

    Columns of :data:`GIVEN` that are missing are added empty.
    """
    blank = {"moi": np.nan, "compound": "", "dose": np.nan, "dose_unit": ""}
    rows = rows.assign(**{name: value for name, value in blank.items() if name not in rows.columns})
    texts = ["compound", "dose_unit"]
    rows[texts] = rows[texts].fillna("").astype(str)
    kinds = rows[list(GIVEN)].drop_duplicates().copy()
    place = {name: number for number, name in enumerate(("mock", tables.UNKNOWN, "infected"))}
    kinds["place"] = kinds["condition"].map(place)
    kinds = kinds.sort_values(["place", "compound", "dose", "moi"], na_position="first").drop(columns="place")
    words = [_words(kind) for kind in kinds.to_dict("records")]
    kinds = kinds.assign(treatment=words, order=range(len(kinds)))
    return rows.merge(kinds, on=list(GIVEN), how="left")


def _words(kind: dict[str, object]) -> str:
    moi, dose = kind["moi"], kind["dose"]
    first = f"MOI {moi:g}" if kind["condition"] == "infected" and pd.notna(moi) else str(kind["condition"])
    amount = f"{dose:g} {kind['dose_unit']}".strip() if pd.notna(dose) else ""
    more = " ".join(word for word in (str(kind["compound"]), amount) if word)
    return more if more and first == tables.UNKNOWN else ", ".join(word for word in (first, more) if word)


def treatment_curves(rows: pd.DataFrame, *, threshold: float, level: float) -> pd.DataFrame:
    """Return curves over hours since start, one per treatment and quantity.

    Quantities: ``p_infected``, ``called`` (share of fields called infected) and ``time_pred`` (hours).
    Columns: ``treatment order condition moi quantity hours value low high n_wells n_stacks``; the band is
    missing with fewer than three wells. Hours are those of the frames, rounded to the usual interval.

    Args:
        rows: predictions with :func:`with_treatments`.
        threshold: from which a frame is called infected.
        level: of the bands.
    """
    called = (rows["p_infected"] >= threshold).astype(float).where(rows["p_infected"].notna())
    rows = rows.assign(called=called, hours=_on_raster(rows))
    parts = []
    for quantity in ("p_infected", "called", "time_pred"):
        key = ["treatment", "order", "condition", "moi", "hours"]
        known = rows[rows[quantity].notna()]
        wells = known.groupby([*key, *WELL], dropna=False)[quantity].agg(["mean", "size"]).reset_index()
        wells["named"] = wells["well"].ne("")
        table = wells.groupby(key, dropna=False).agg(
            value=("mean", "mean"), sd=("mean", "std"), n_wells=("named", "sum"), n_stacks=("size", "sum")
        )
        table = table.reset_index().assign(quantity=quantity)
        n = table["n_wells"].to_numpy(float)
        error = table.pop("sd").to_numpy(float) / np.sqrt(np.maximum(n, 1))
        half = stdtrit(np.maximum(n - 1, 1), (1 + level) / 2) * error
        half = np.where(n >= MIN_GROUPS, half, np.nan)
        limits = (-np.inf, np.inf) if quantity == "time_pred" else (0.0, 1.0)
        low, high = ((table["value"] + side * half).clip(*limits) for side in (-1, 1))
        parts.append(table.assign(low=low, high=high))
    columns = ["treatment", "order", "condition", "moi", "quantity", "hours", "value", "low", "high"]
    return pd.concat(parts, ignore_index=True)[[*columns, "n_wells", "n_stacks"]]


def _on_raster(rows: pd.DataFrame) -> pd.Series:
    """Hours on the usual raster, so that frames of one round meet although each has its own minute."""
    step = tables.frame_interval_h(rows)
    if not step > 0:
        return rows["hours"].round(6)
    return pd.Series(tables.hour_strata(rows) * step, rows.index).round(6)


def hour_of(rows: pd.DataFrame, hour: float | None) -> float:
    """Return the imaging hour nearest to ``hour``, or to the middle of the imaging."""
    raster = _on_raster(rows)
    if hour is None:
        hour = float((raster.min() + raster.max()) / 2)
    return float(raster.iloc[int((raster - hour).abs().to_numpy().argmin())])


def readout_by_well(rows: pd.DataFrame, *, threshold: float, frames: int, hour: float) -> pd.DataFrame:
    """Return one row per well, in the order of treatments.

    Columns: ``plate well treatment order condition moi compound dose dose_unit onset_h n_stacks``; at
    ``hour`` ``p_infected``, ``infected_share`` (of its fields, called infected) and ``time_pred``;
    ``detected`` and ``detected_h``: the hour since start by which half of its fields are detected (the
    first of ``frames`` frames in a row at or above the threshold) and ``detected_after_h``: the frame before
    it, after which that happened; ``detected_hpi`` and ``detected_after_hpi`` the same since onset, where it
    is known, without the frames before it; and ``last_h`` the last hour, until which a well that has no
    ``detected_h`` was watched.
    """
    at = rows[(_on_raster(rows) - hour).abs() < 1e-6]
    at = at.assign(called=(at["p_infected"] >= threshold).astype(float))
    values = at.groupby(WELL).agg(
        p_infected=("p_infected", "mean"), infected_share=("called", "mean"), time_pred=("time_pred", "mean")
    )
    metadata = rows.groupby(WELL).agg(
        **{name: (name, "first") for name in ("treatment", "order", *GIVEN, "onset_h")},
        n_stacks=("stack_id", "nunique"),
        last_h=("hours", "max"),
    )
    # as mock, so that the hours are counted from the start of imaging, whatever was done
    since_start = _half_detected(rows.assign(condition="mock"), threshold, frames, "h")
    infected = rows[rows["condition"].eq("infected") & rows["onset_h"].notna()]
    since_onset = _half_detected(infected, threshold, frames, "hpi")
    table = metadata.join([values, since_start, since_onset]).reset_index()
    table = table.assign(detected=table["detected_h"].notna())
    return table.sort_values(["order", *WELL], ignore_index=True)


def _half_detected(rows: pd.DataFrame, threshold: float, frames: int, unit: str) -> pd.DataFrame:
    times = detection_times(rows, thresholds={"decision": threshold}, frames=frames)
    seen = times[["after_h", "time_h"]].astype(float).where(times["detected"].astype(bool))
    seen = seen.set_axis([f"detected_after_{unit}", f"detected_{unit}"], axis=1)
    wells = times[WELL].join(seen).groupby(WELL)
    return pd.DataFrame({name: wells[name].agg(time_of_half) for name in seen})


def time_of_half(times: pd.Series) -> float:
    """Return the time by which half of them have come, missing ones never; NaN if fewer than half do."""
    return float(np.sort(times.to_numpy(float))[(len(times) - 1) // 2])  # NaN sorts last


def replicate_agreement(wells: pd.DataFrame, quantities: Sequence[str]) -> pd.DataFrame:
    """Return how well replicate wells agree: per treatment and quantity, and ``all``.

    Columns: ``treatment quantity n_wells mean sd low high icc note``, with the smallest and largest well.
    ``all`` pools the SD within treatments; ``icc`` is the share of the variance over wells that lies between
    treatments (one-way, Shrout and Fleiss 1979, for groups of unequal size): near 1 replicates agree.
    """
    rows: list[tuple[object, ...]] = []
    for quantity in quantities if len(wells) else ():
        known = wells[wells[quantity].notna()]
        for (_, treatment), part in known.groupby(["order", "treatment"])[quantity]:
            note = "" if len(part) > 1 else "one well: no replicate"
            rows.append((treatment, quantity, *_spread(part), np.nan, note))
        n, mean, _, low, high = _spread(known[quantity])
        k = known["order"].nunique()
        sd, icc, note = np.nan, np.nan, NO_REPLICATES
        if n > k > 1:
            found = one_way_anova(known[quantity].to_numpy(float), known["order"].to_numpy())
            sd, icc = float(np.sqrt(found.within)), float(found.icc)
            note = "no well differs" if np.isnan(icc) else ""
        rows.append(("all", quantity, n, mean, sd, low, high, icc, note))
    return table_of(rows, "treatment quantity n_wells mean sd low high icc note")


def _spread(values: pd.Series) -> tuple[int, float, float, float, float]:
    sd = float(values.std()) if len(values) > 1 else float("nan")
    return len(values), float(values.mean()), sd, float(values.min()), float(values.max())


def control_sentences(wells: pd.DataFrame) -> list[str]:
    """Return what the controls of a plate say, in sentences, and what their absence means."""
    mock, infected = (wells[wells["condition"].eq(name)] for name in ("mock", "infected"))
    if not wells["condition"].isin(tables.CONDITIONS).any():
        return [
            "No well is known to be mock or infected: nothing on this plate says whether the model can be "
            "believed here. Image mock wells and wells of a high MOI on every plate."
        ]
    lines = ["No mock well on this plate: how often the model calls a healthy well infected is unknown."]
    if len(mock):
        wrong = mock[mock["detected"]]
        named = f" ({', '.join(wrong['well'].head(6))})" if len(wrong) else ""
        lines = [f"{len(wrong)} of {len(mock)} mock wells are detected as infected{named}."]
    if infected.empty:
        alone = "No infected well on this plate: whether the model finds an infection here is unknown."
        return [*lines, alone]
    top = infected["moi"].max()
    strong = infected[infected["moi"].eq(top)] if pd.notna(top) else infected
    name = f" of the highest MOI ({top:g})" if pd.notna(top) else ""
    return [*lines, f"{int(strong['detected'].sum())} of {len(strong)} infected wells{name} are detected."]


def external_validation(
    rows: pd.DataFrame,
    *,
    threshold: float,
    windows: WindowsConfig,
    end_h: float,
    study: StudyConfig,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, list[str]]:
    """Return METRICS rows over all hours and per window of hours, and notes on what is not known.

    Without labels the table is empty and the note says that no claim is made. Baselines that need training
    frames are missing: they are of another plate.

    Args:
        rows: predictions of the new plate.
        threshold: of the run, chosen on its own validation wells.
        windows: width, stride and start of the windows.
        end_h: where the last window may end.
        study: how predictions are judged.
        rng: of the resampling.
    """
    empty = pd.DataFrame(columns=list(tables.METRICS.columns))
    known = rows[rows["condition"].isin(tables.CONDITIONS)]
    labelled = known[known["label"].notna()]
    if labelled.empty:
        return empty, ["No well of this plate has a known condition: no claim of accuracy is made."]
    notes = []
    if len(known) < len(rows):
        wells = rows.loc[~rows.index.isin(known.index), ["plate", "well"]].drop_duplicates()
        notes.append(f"{len(wells)} wells of unknown condition are not scored.")
    if labelled["label"].nunique() < 2:
        notes.append("All labelled frames are of one class: telling the classes apart is not tested.")
    known = tables.check(tables.PREDICTIONS, known)
    end_h = min(end_h, float(known["hours"].max()))
    whole = metrics_by_split(known, threshold=threshold, study=study)
    if windows.start_h + windows.width_h > end_h:
        return whole, [*notes, "The plate is shorter than one window of windows.width_h."]
    per_window = metrics_by_window(
        known, windows=windows, end_h=end_h, axis="hours", threshold=threshold, study=study, rng=rng
    )
    return pd.concat([whole, per_window], ignore_index=True), notes
