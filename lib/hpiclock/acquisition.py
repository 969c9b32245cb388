"""How the stacks of a plate were acquired and stored: the settings that should be the same for all.

A model reads a setting that goes with the condition as easily as an infection.
"""

import json

import numpy as np
import pandas as pd

from hpiclock.format import count_text

ALIKE = 1.02  # sizes and intervals up to this factor apart are one setting
OTHER_SCALE = 3.0  # brightest grey levels of first frames this far apart are no matter of cells
NAMED = 4  # values in a sentence
COLUMNS = ("channel_name", "channels", "bit_depth", "grey_max", "pixel_um")  # of a manifest, from the files
EMPTY_FRAMES = "empty_frames"  # of a manifest, after all frames were read: their numbers as JSON


def empty_frames(manifest: pd.DataFrame) -> dict[str, list[int]]:
    """Return the numbers of the frames without a picture by ``stack_id``; empty where none was looked at."""
    if EMPTY_FRAMES not in manifest.columns:
        return {}
    known = manifest[EMPTY_FRAMES].fillna("[]")
    return {stack: json.loads(text) for stack, text in zip(manifest["stack_id"], known, strict=True)}


def acquisition_settings(stacks: pd.DataFrame) -> pd.DataFrame:
    """Return each setting of each stack in words, a column per setting, in the order of ``stacks``.

    Empty where a file does not say it. Numbers up to :data:`ALIKE` apart are one value; so are the brightest
    grey levels of first frames up to :data:`OTHER_SCALE` apart.

    Args:
        stacks: a MANIFEST; the columns :data:`COLUMNS` may be missing.
    """
    known = stacks.reindex(columns=[*stacks.columns, *(name for name in COLUMNS if name not in stacks)])
    texts = {"pixel type": known["dtype"], "channel": known["channel_name"], "channels": known["channels"]}
    return pd.DataFrame(
        {name: column.fillna("").astype(str) for name, column in texts.items()}
        | {
            "bit depth": _in_words(known["bit_depth"], 1.0, "{:.0f} bit"),
            "pixel size": _in_words(known["pixel_um"], ALIKE, "{:.3g} um"),
            "frame size": known["height"].astype(str) + " x " + known["width"].astype(str) + " px",
            "interval": _in_words(known["interval_h"], ALIKE, "{:.3g} h"),
            "number of frames": known["n_frames"].astype(str),
            "brightest grey level at the start": _in_words(known["grey_max"], OTHER_SCALE, "up to {:.5g}"),
        },
        index=stacks.index,
    )


def differing(settings: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the settings that are not the same for all stacks, by name."""
    stated = settings.replace("", "not stated")
    return {str(name): values for name, values in stated.items() if len(values.unique()) > 1}


def counted(values: pd.Series, noun: str) -> str:
    """Return ``uint8 (3 stacks), uint16 (1 stack)``; values beyond :data:`NAMED` are counted only."""
    counts = values.value_counts(sort=False).sort_values(ascending=False, kind="stable")
    shown = [f"{value} ({count_text(n, noun)})" for value, n in counts.head(NAMED).items()]
    return ", ".join(shown + [f"{len(counts) - NAMED} more values"] * (len(counts) > NAMED))


def _in_words(values: pd.Series, alike: float, words: str) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    steps = np.sort(numbers[numbers > 0].unique())
    groups = np.split(steps, np.flatnonzero(steps[1:] > alike * steps[:-1]) + 1)
    names = {value: words.format(group[-1]) for group in groups for value in group}
    return numbers.map(names).fillna("").astype(str)
