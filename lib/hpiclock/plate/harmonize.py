"""A new plate read as a model was trained: what is carried over, what was adapted, what cannot be matched."""

from __future__ import annotations

import pandas as pd

from hpiclock.config.schema import ImageConfig
from hpiclock.errors import InputError

SAME_SIZE = 0.02  # sizes and intervals that differ by less than this share are the same
MIN_IMAGE_PX = 16  # side of the smallest image that image.size allows
MIN_FIELD_RATIO = 0.5  # of the training field: less of it is not what the model was trained on


def harmonize(trained: pd.DataFrame, new: pd.DataFrame, image: ImageConfig) -> tuple[ImageConfig, list[str]]:
    """Return the image settings for a new plate, and in words how it differs from the training plate.

    Where both files say how large a pixel is, a cell is made as large for the model as in training: of a
    field that shows more, the border is cut; one that shows less becomes a smaller image.

    Args:
        trained: MANIFEST of the stacks the model was trained on.
        new: NEW_MANIFEST of the new plate.
        image: the settings of the training.

    Raises:
        InputError: grey levels that fixed limits do not fit, or fields too small to be shown at the scale
            of training.
    """
    _refuse_grey_levels(trained, new, image)
    notes = [*_channels(trained, new), *_sizes(trained, new, image), *_grey_levels(trained, new, image)]
    notes += _intervals(trained, new)
    image, scale = _to_scale(trained, new, image)
    return image, notes + scale


def _channels(trained: pd.DataFrame, new: pd.DataFrame) -> list[str]:
    was, now = (_names(table) for table in (trained, new))
    if not was or not now or {name.casefold() for name in now} <= {name.casefold() for name in was}:
        return []
    return [
        f"The channel is called {', '.join(now)}, in training {', '.join(was)}: a model reads the contrast "
        "that it was trained on and no other; data.channel picks another channel."
    ]


def _names(table: pd.DataFrame) -> list[str]:
    if "channel_name" not in table.columns:
        return []
    names = table["channel_name"].fillna("").astype(str)
    return sorted(set(names[names.ne("")]))


def _refuse_grey_levels(trained: pd.DataFrame, new: pd.DataFrame, image: ImageConfig) -> None:
    other = sorted(set(new["dtype"]) - set(trained["dtype"]))
    if image.intensity == "fixed" and other:
        was = ", ".join(sorted(set(trained["dtype"])))
        raise InputError(
            f"the run reads grey levels {image.low:g}-{image.high:g} of {was} frames, the new plate has "
            f"{', '.join(other)}: give the same limits in its grey levels, --set image.low=... "
            "--set image.high=..."
        )


def _grey_levels(trained: pd.DataFrame, new: pd.DataFrame, image: ImageConfig) -> list[str]:
    was, now = (", ".join(sorted(set(table["dtype"]))) for table in (trained, new))
    if was == now:
        return []
    each = "its own" if image.scope == "frame" else "its stack's"
    return [
        f"Grey levels are {now}, in training {was}: each frame is scaled by {each} {image.intensity} limits."
    ]


def _sizes(trained: pd.DataFrame, new: pd.DataFrame, image: ImageConfig) -> list[str]:
    was, now = _size_text(trained), _size_text(new)
    if was == now:
        return []
    note = f"Frames are {now} px, in training {was} px: both are resized to {image.size} x {image.size} px."
    stretched = _aspect(new) / _aspect(trained)
    if abs(stretched - 1) > SAME_SIZE:
        note += f" Their shape differs, so cells are stretched by {max(stretched, 1 / stretched):.2f}."
    return [note]


def _intervals(trained: pd.DataFrame, new: pd.DataFrame) -> list[str]:
    notes = []
    was, now = trained["interval_h"].median(), new["interval_h"].median()
    if pd.notna(was) and pd.notna(now) and abs(now / was - 1) > SAME_SIZE:
        notes.append(
            f"Frames are {now:g} h apart, in training {was:g} h: each frame is read alone, so P(infected) "
            f"and time do not change, but a detection of k frames in a row spans (k - 1) x {now:g} h here."
        )
    last = [
        float((t["start_h"] + (t["n_frames"] - 1) * t["interval_h"].fillna(0)).max()) for t in (trained, new)
    ]
    if last[1] > last[0] * (1 + SAME_SIZE):
        notes.append(
            f"Imaging goes on until {last[1]:g} h, in training until {last[0]:g} h: what the model says of "
            "later frames was never tested."
        )
    return notes


def _to_scale(trained: pd.DataFrame, new: pd.DataFrame, image: ImageConfig) -> tuple[ImageConfig, list[str]]:
    was, now = _pixel(trained), _pixel(new)
    if was is None or now is None:
        side = "The files of the " + " and of the ".join(
            name for name, known in (("training plate", was), ("new plate", now)) if known is None
        )
        same_size = _size_text(trained) == _size_text(new)
        tail = (
            "frames of the same size are taken as one magnification"
            if same_size
            else ("whether cells are as large as in training cannot be told")
        )
        return image, [f"{side} do not say how large a pixel is: {tail}."]
    field_was = float(trained["width"].median()) * was * (1 - 2 * image.crop_border)
    field_now = float(new["width"].median()) * now
    ratio = field_now * (1 - 2 * image.crop_border) / field_was
    px = f"A pixel is {now:.3g} um, in training {was:.3g} um"
    if abs(ratio - 1) <= SAME_SIZE:
        return image, [] if abs(now / was - 1) <= SAME_SIZE else [
            f"{px}: the field is as large as in training."
        ]
    if ratio < 1:
        return _smaller(image, ratio, px)
    border = round((1 - field_was / field_now) / 2, 4)
    cut = image.model_copy(update={"crop_border": border})
    return cut, [
        f"{px}: {border:.1%} of each side is cut off ({image.crop_border:.1%} in training), so that cells "
        "are as large to the model as in training; what lies outside is not read."
    ]


def _smaller(image: ImageConfig, ratio: float, px: str) -> tuple[ImageConfig, list[str]]:
    wide = f"the field is {ratio:.2g} times as wide as in training"
    size = round(image.size * ratio)
    if ratio < MIN_FIELD_RATIO or size < MIN_IMAGE_PX:
        raise InputError(
            f"{wide} ({px}): too little of it for this model; image the plate at the training magnification"
        )
    return image.model_copy(update={"size": size}), [
        f"{px}: {wide}, so frames are resized to {size} x {size} px instead of {image.size} x {image.size} "
        "px, and cells are as large to the model as in training."
    ]


def _pixel(table: pd.DataFrame) -> float | None:
    known = table["pixel_um"].dropna() if "pixel_um" in table.columns else pd.Series(dtype=float)
    return float(known.median()) if len(known) else None


def _size_text(table: pd.DataFrame) -> str:
    sizes = (table["height"].astype(str) + " x " + table["width"].astype(str)).drop_duplicates()
    return ", ".join(sizes.head(3)) + (f" and {len(sizes) - 3} more" if len(sizes) > 3 else "")


def _aspect(table: pd.DataFrame) -> float:
    return float((table["width"] / table["height"]).median())
