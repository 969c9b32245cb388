"""From stacks to frames: one row per frame, then windows, strides, matched controls, targets and splits."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from hpiclock.acquisition import empty_frames
from hpiclock.config.schema import ClassWindow, Config, FramesConfig, SplitFrames
from hpiclock.errors import InputError
from hpiclock.format import count_text
from hpiclock.plate.cache import FrameCache
from hpiclock.plate.manifest.survey import acquisition_times, load_manifest
from hpiclock.plate.preprocess import refuse_mixed_levels
from hpiclock.plate.splits import SplitPlan, split_wells
from hpiclock.plate.timeline import context_note, expand_frames, is_empty
from hpiclock.tables import FRAMES, MANIFEST, SAME_H, SPLITS, check, plate_hour_strata
from hpiclock.targets import add_targets

CLASS_OF = {"infected": "infected", "mock": "uninfected"}  # condition -> section of the config


def select_frames(frames: pd.DataFrame, config: FramesConfig) -> pd.DataFrame:
    """Keep the frames that each split uses: windows, strides, matched controls.

    Frames without a label (before the onset, dropped) leave train; in val and test they stay to be predicted.

    Raises:
        InputError: a window that leaves a class of a split without any frame.
    """
    kept = [_select_split(frames[frames["split"] == name], getattr(config, name), name) for name in SPLITS]
    return pd.concat(kept).sort_values(["stack_id", "frame"], kind="stable").reset_index(drop=True)


def _select_split(frames: pd.DataFrame, config: SplitFrames, split: str) -> pd.DataFrame:
    parts = []
    for condition, section in CLASS_OF.items():
        window: ClassWindow = getattr(config, section)
        rows = frames[frames["condition"] == condition]
        inside = rows[_within(rows, window)]
        if len(rows) and inside.empty:
            raise InputError(
                f"frames.{split}.{section}: no frame lies in {_range(window)}; the stacks hold "
                f"{rows['hours'].min():g}-{rows['hours'].max():g} h"
            )
        parts.append(inside)
    chosen = pd.concat(parts)
    if split == "train":
        chosen = chosen[chosen["label"].notna()]
    return match_controls(chosen) if config.match_controls else chosen


def match_controls(frames: pd.DataFrame) -> pd.DataFrame:
    """Keep a mock frame only where a frame labelled infected is of the same plate and hour.

    These are those of :func:`hpiclock.tables.plate_hour_strata` for the frames given, strides included.
    """
    stratum = plate_hour_strata(frames)
    infected = frames["label"].eq(1).fillna(False).to_numpy(bool)
    return frames[frames["condition"].ne("mock") | np.isin(stratum, stratum[infected])]


def _within(rows: pd.DataFrame, window: ClassWindow) -> pd.Series:
    start_h = -np.inf if window.start_h is None else window.start_h - SAME_H
    end_h = np.inf if window.end_h is None else window.end_h + SAME_H
    inside = rows["hours"].between(start_h, end_h)
    first = rows.loc[inside].groupby("stack_id")["frame"].transform("min")
    inside &= (rows["frame"] - first.reindex(rows.index)) % window.stride == 0
    return inside


def _range(window: ClassWindow) -> str:
    start = "the beginning" if window.start_h is None else f"{window.start_h:g} h"
    end = "the end" if window.end_h is None else f"{window.end_h:g} h"
    return f"{start} to {end}"


class Plate(NamedTuple):
    """A plate: MANIFEST, its frames (all, or those that are used, with targets), wells by split, notes."""

    manifest: pd.DataFrame
    frames: pd.DataFrame
    split: SplitPlan
    notes: tuple[str, ...]


def open_plate(cfg: Config, kept: pd.DataFrame | None = None) -> Plate:
    """Find and check the stacks, list every frame of them, and give each well to a split.

    Args:
        cfg: the experiment.
        kept: the MANIFEST that a finished run keeps; its stacks are then not looked for again.

    Raises:
        InputError: anything wrong with the source or the split, in one line.
    """
    manifest: pd.DataFrame | None = kept
    notes: list[str] = []
    if manifest is None:
        manifest, notes = load_manifest(cfg.data, onset_h=cfg.targets.onset_h, need_both=True)
    manifest = check(MANIFEST, manifest)
    refuse_mixed_levels(manifest, cfg.image)
    split = split_wells(manifest, cfg.split)
    frames = expand_frames(manifest)
    return Plate(manifest, frames, split, (*notes, *split.notes, *context_note(frames, cfg.image.context_h)))


def split_frames(frames: pd.DataFrame, split: SplitPlan, cfg: Config) -> pd.DataFrame:
    """Return FRAMES: the frames that each split uses (``cfg.frames``); a well is on one side only.

    Args:
        frames: every frame, with its targets (:func:`hpiclock.targets.add_targets`).
        split: which stacks are in which split.
        cfg: the experiment.

    Raises:
        InputError: windows outside the data, or a split whose class is left without a frame.
    """
    first, last = frames["hours"].min(), frames["hours"].max()
    if cfg.windows.start_h > last or cfg.window_end_h < first:
        raise InputError(
            f"windows: {cfg.windows.start_h:g}-{cfg.window_end_h:g} h lie outside the data, "
            f"which hold {first:g}-{last:g} h; set windows.start_h and windows.end_h"
        )
    side = split.stacks.set_index("stack_id")["split"]
    frames = frames.assign(split=frames["stack_id"].map(side), fold=cfg.split.fold)
    return check(FRAMES, select_frames(frames, cfg.frames))


def leave_out_empty(plate: Plate, cache: FrameCache, cfg: Config) -> Plate:
    """Return a plate without the frames that hold no picture, of one grey level or saturated throughout.

    Its manifest tells which they are (``empty_frames``), and a note how many.

    Args:
        plate: its frames have their split.
        cache: of its manifest; its build has looked at every frame.
        cfg: the experiment; controls are matched again where they were.
    """
    manifest = cache.find_empty(plate.manifest)
    kept = without_empty(plate.frames, manifest, cfg)
    notes = (*plate.notes, *empty_notes(manifest), *cache.clipped_notes())
    return plate._replace(manifest=manifest, frames=kept, notes=notes)


def without_empty(frames: pd.DataFrame, manifest: pd.DataFrame, cfg: Config) -> pd.DataFrame:
    """Return the frames of a split (FRAMES) that are not ``empty_frames`` of the manifest."""
    gone = is_empty(frames, manifest)
    if not gone.any():
        return frames
    kept = frames[~gone]
    matched = [name for name in SPLITS if getattr(cfg.frames, name).match_controls]
    parts = [match_controls(kept[kept["split"].eq(name)]) for name in matched]
    return pd.concat([kept[~kept["split"].isin(matched)], *parts]).sort_index()


def empty_notes(manifest: pd.DataFrame) -> list[str]:
    """Return the note on frames that hold no picture; none where there are none."""
    found = {stack: numbers for stack, numbers in empty_frames(manifest).items() if numbers}
    if not found:
        return []
    first = next(iter(found))
    counts = count_text(sum(map(len, found.values())), "frame") + f" of {count_text(len(found), 'stack')}"
    return [
        f"{counts} hold no picture (one grey level, or saturated throughout; the first: frame "
        f"{found[first][0]} of {first}): they are left out everywhere, and no answer is given for them."
    ]


def prepare_frames(cfg: Config) -> Plate:
    """Return a plate with the frames that are used: what each is, what its targets are, and its split.

    Raises:
        InputError: anything wrong with the source, the split or the windows, in one line.
    """
    plate = open_plate(cfg)
    frames = split_frames(add_targets(plate.frames, cfg.targets), plate.split, cfg)
    return plate._replace(frames=frames, notes=(*plate.notes, *clamped_targets(frames, cfg)))


def clamped_targets(frames: pd.DataFrame, cfg: Config) -> tuple[str, ...]:
    """Return a note where time targets lie outside ``targets.range_h``; none where all are inside."""
    low, high = cfg.targets.range_h
    infection = frames["clock"].eq("infection")
    hours = frames["hours"].where(~infection, frames["hpi"])
    # clip puts frames before the onset at 0 on purpose
    early = (hours < low) & ~(infection & (frames["hpi"] < 0) & (cfg.targets.before_onset == "clip"))
    n = int(((early | (hours > high)) & frames["time_target"].notna()).sum())
    if n == 0:
        return ()
    return (
        f"{n} of {len(frames)} frames lie outside targets.range_h ({low:g}-{high:g} h): their time target "
        "is its nearest end, so their time error says little.",
    )


def treatment_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return one row per plate, condition and MOI.

    Columns: ``plate condition moi wells stacks frames first_h last_h onset_h`` (onsets as a range).
    """
    elapsed = (manifest["n_frames"] - 1) * manifest["interval_h"].fillna(0.0)
    recorded = {stack: times[-1] for stack, times in acquisition_times(manifest).items()}
    last = manifest["start_h"] + manifest["stack_id"].map(recorded).fillna(elapsed)
    rows = manifest.assign(last_h=last, well=manifest["well"].where(manifest["well"] != ""))
    table = rows.groupby(["plate", "condition", "moi"], dropna=False, as_index=False).agg(
        wells=("well", "nunique"),
        stacks=("stack_id", "nunique"),
        frames=("n_frames", "sum"),
        first_h=("start_h", "min"),
        last_h=("last_h", "max"),
        onset_low=("onset_h", "min"),
        onset_high=("onset_h", "max"),
    )
    onset = [
        "" if pd.isna(low) else f"{low:g}" if low == high else f"{low:g}–{high:g}"
        for low, high in zip(table.pop("onset_low"), table.pop("onset_high"), strict=True)
    ]
    return table.assign(onset_h=onset)
