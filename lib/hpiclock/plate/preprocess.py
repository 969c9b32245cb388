"""From a raw plane to the uint8 image that the model sees, or that people look at; of a new plate, too.

A new plate is read as a model was trained: what is carried over, what is adapted, what cannot be matched.
"""

from collections.abc import Callable, Iterable
from itertools import chain

import numpy as np
import pandas as pd
from PIL import Image

from hpiclock.acquisition import acquisition_settings, counted, differing
from hpiclock.config.schema import DataConfig, ImageConfig
from hpiclock.errors import InputError
from hpiclock.plate.readers import Stack, open_stack

SAME_SIZE = 0.02  # sizes and intervals that differ by less than this share are the same
MIN_IMAGE_PX = 16  # side of the smallest image that image.size allows
MIN_FIELD_RATIO = 0.5  # of the training field: less of it is not what the model was trained on
EMPTY = 0.999  # share of pixels of one grey level from which a frame holds no picture
SAMPLE = 4  # limits of a whole stack are taken from every 4th pixel of every 4th row


def prepare_image(plane: np.ndarray, limits: tuple[float, float], image: ImageConfig) -> np.ndarray:
    """Crop, scale to uint8 and resize with antialiasing: (height, width) any dtype -> (size, size) uint8.

    The arguments are those of :func:`scale_to_uint8`.
    """
    return _resized(scale_to_uint8(plane, limits, image), image)


def _resized(grey: np.ndarray, image: ImageConfig) -> np.ndarray:
    size = (image.size, image.size)
    return np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR))


def scale_to_uint8(plane: np.ndarray, limits: tuple[float, float], image: ImageConfig) -> np.ndarray:
    """Crop and scale to uint8: (height, width) any dtype -> (height, width) less the border, uint8.

    Args:
        plane: one frame.
        limits: grey levels that become 0 and 255; values beyond them are clipped. Equal limits (a constant
            frame) give a black image.
        image: border.
    """
    low, high = limits
    grey = crop(plane, image.crop_border).astype(np.float64)  # float32 would round some levels the other way
    grey -= low
    grey /= high - low if high > low else np.inf
    grey *= 255.0
    np.clip(grey, 0.0, 255.0, out=grey)
    return np.rint(grey).astype(np.uint8)


def one_level(plane: np.ndarray) -> float:
    """Return the share of pixels at the median grey level of a plane (height, width): 1 = no picture."""
    return float((plane == np.median(plane[::SAMPLE, ::SAMPLE])).mean())


def crop(plane: np.ndarray, border: float) -> np.ndarray:
    """Cut the share ``border`` off each side of a plane of shape (height, width); something always stays."""
    rows, columns = (min(round(border * side), (side - 1) // 2) for side in plane.shape)
    return plane[rows : plane.shape[0] - rows, columns : plane.shape[1] - columns]


def frame_limits(plane: np.ndarray, image: ImageConfig) -> tuple[float, float]:
    """Return the grey levels of one frame (height, width), inside the border, that become 0 and 255."""
    return _limits([crop(plane, image.crop_border)], image)


def stack_limits(stack: Stack, image: ImageConfig) -> tuple[float, float]:
    """Return the grey levels of a whole stack, inside the border, that become 0 and 255.

    It is read frame by frame; percentiles come from a sample of the pixels (every 4th in each direction).
    Frames without a picture (:data:`EMPTY`) do not count, unless all are.
    """
    step = SAMPLE if image.intensity == "percentile" else 1
    planes = (crop(stack.frame(i), image.crop_border) for i in range(stack.facts.n_frames))
    seen = (plane[::step, ::step] for plane in planes if one_level(plane) < EMPTY)
    first = next(seen, None)
    return _limits(
        [crop(stack.frame(0), image.crop_border)] if first is None else chain([first], seen), image
    )


def _limits(planes: Iterable[np.ndarray], image: ImageConfig) -> tuple[float, float]:
    # config refuses low and high without each other, and none where they are needed
    limits = (image.low or 0.0, image.high or 0.0)
    if image.intensity == "fixed":
        return limits
    if image.intensity == "minmax":
        extremes = [(float(plane.min()), float(plane.max())) for plane in planes]
        return min(low for low, _ in extremes), max(high for _, high in extremes)
    low, high = np.percentile(np.concatenate([plane.ravel() for plane in planes]), limits)
    return float(low), float(high)


def limits_of(stack: Stack, image: ImageConfig) -> Callable[[np.ndarray], tuple[float, float]]:
    """Return the function that gives the limits of each frame of a stack, as ``image.scope`` says."""
    if image.scope == "frame":
        return lambda plane: frame_limits(plane, image)
    whole = stack_limits(stack, image)
    return lambda _: whole


def stack_images(stack: Stack, image: ImageConfig) -> tuple[np.ndarray, list[int], float]:
    """Return every frame of a stack as the model sees it, which hold no picture, and what the limits cut off.

    A frame holds none where :data:`EMPTY` of its pixels are of one grey level, in the file or after scaling.

    Returns:
        (n_frames, size, size) uint8, indices into it, and the share of the others' pixels beyond the limits.

    Raises:
        InputError: a frame cannot be read, or the settings leave too little of the pictures.
    """
    limits = limits_of(stack, image)
    images = np.empty((stack.facts.n_frames, image.size, image.size), np.uint8)
    shares = np.empty((stack.facts.n_frames, 3))  # of one level in the file, after scaling, beyond the limits
    for i in range(stack.facts.n_frames):
        plane = stack.frame(i)
        low, high = limits(plane)
        grey, inside = scale_to_uint8(plane, (low, high), image), crop(plane, image.crop_border)
        images[i] = _resized(grey, image)
        shares[i] = one_level(inside), one_level(grey), ((inside < low) | (inside > high)).mean()
    _refuse_erased(stack, shares, image)
    clipped = shares[shares[:, 0] < EMPTY, 2]
    empty = np.flatnonzero(shares[:, :2].max(axis=1) >= EMPTY)
    return images, empty.tolist(), float(clipped.mean()) if clipped.size else 0.0


def _refuse_erased(stack: Stack, shares: np.ndarray, image: ImageConfig) -> None:
    pictures = np.flatnonzero(shares[:, 0] < EMPTY)
    if not pictures.size:
        return
    _, flat, clipped = shares[pictures].T
    plane = crop(stack.frame(int(pictures[len(pictures) // 2])), image.crop_border)
    low, high = np.percentile(plane, [1, 99])
    levels = f"its grey levels are {low:.5g} to {high:.5g} (1% and 99% of the pixels)"
    limits = "" if image.low is None else f" {image.low:g} to {image.high:g}"
    remedy = "set image.intensity to percentile with image.low 1 and image.high 99, or limits that fit"
    if clipped.mean() > image.max_clipped:
        lost = f"{clipped.mean():.0%} of its pixels lie beyond image.low and image.high ({image.intensity}"
        more = f"{remedy}; image.max_clipped allows more"
        raise InputError(f"{stack.path}: {lost}{limits}) and would be black or white: {levels}; {more}")
    if (flat >= EMPTY).mean() > 0.5:
        lost = f"image.intensity {image.intensity}{limits} leaves one grey level in most of its frames"
        raise InputError(f"{stack.path}: {lost}: {levels}; {remedy}")


def pick_frames(frames: pd.DataFrame, *, hours: list[float], stacks_per_treatment: int) -> pd.DataFrame:
    """Return frames for film strips: the first stacks of each treatment at the given hours since start.

    A treatment is a condition with an MOI; mock comes first, then MOI upwards. Of each stack the frame
    nearest to each hour is taken, once.
    """
    stacks = frames.drop_duplicates("stack_id").assign(infected=lambda rows: rows["condition"] == "infected")
    order = ["infected", "moi", "stack_id"]
    first = stacks.sort_values(order).groupby(order[:2], dropna=False).head(stacks_per_treatment)
    parts = []
    for stack_id in first["stack_id"]:
        rows = frames[frames["stack_id"] == stack_id]
        nearest = {int((rows["hours"] - hour).abs().argmin()) for hour in hours}
        parts.append(rows.iloc[sorted(nearest)])
    return pd.concat(parts, ignore_index=True)


def frame_images(rows: pd.DataFrame, data: DataConfig, image: ImageConfig, *, size: int) -> np.ndarray:
    """Return the frames of ``rows`` (``path frame``) as the model sees them, but at another size.

    Args:
        rows: the frames; the pictures stand in their order.
        data: channel and plane.
        image: border and intensity.
        size: side of the square picture, px.

    Returns:
        (n, size, size) uint8.
    """
    larger = image.model_copy(update={"size": size})
    images = np.empty((len(rows), size, size), np.uint8)
    for path, mine in rows.reset_index(drop=True).groupby("path"):
        with open_stack(path, channel=data.channel, z=data.z) as stack:
            limits = limits_of(stack, larger)
            for row in mine.itertuples():
                plane = stack.frame(row.frame)
                images[row.Index] = prepare_image(plane, limits(plane), larger)
    return images


def grey_levels(rows: pd.DataFrame, data: DataConfig, image: ImageConfig) -> pd.DataFrame:
    """Return the rows with ``mean`` and ``sd`` of the raw grey levels inside the cropped border.

    8-bit levels stay as they are. Of other kinds the darkest and the brightest level of all rows become 0
    and 255, so that frames can be compared with each other.
    """
    found = pd.DataFrame(index=rows.index, columns=["mean", "sd", "low", "high"], dtype=float)
    kinds = set()
    for path, mine in rows.groupby("path"):
        with open_stack(path, channel=data.channel, z=data.z) as stack:
            kinds.add(stack.facts.dtype)
            for index, frame in mine["frame"].items():
                plane = crop(stack.frame(int(frame)), image.crop_border)
                found.loc[index] = plane.mean(), plane.std(), plane.min(), plane.max()
    low, high = (0.0, 255.0) if kinds == {"uint8"} else (found["low"].min(), found["high"].max())
    scale = 255.0 / (high - low) if high > low else 1.0
    return rows.assign(mean=(found["mean"] - low) * scale, sd=found["sd"] * scale)


def refuse_mixed_levels(manifest: pd.DataFrame, image: ImageConfig) -> None:
    """Refuse fixed limits for stacks whose grey levels do not mean the same.

    Raises:
        InputError: stacks of several pixel types or bit depths.
    """
    settings = differing(acquisition_settings(manifest)) if image.intensity == "fixed" else {}
    for name in {"pixel type", "bit depth"} & settings.keys():
        found = counted(settings[name], "stack")
        remedy = "export all alike, or set image.intensity to percentile"
        raise InputError(f"image.intensity: fixed limits for stacks of another {name}: {found}; {remedy}")


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
    levels = _grey_levels(trained, new, image)
    notes = [
        *_channels(trained, new),
        *_sizes(trained, new, image),
        *levels,
        *_intervals(trained, new, image),
    ]
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


def _grey_levels(trained: pd.DataFrame, new: pd.DataFrame, image: ImageConfig) -> list[str]:
    was, now = (", ".join(sorted(set(table["dtype"]))) for table in (trained, new))
    other = sorted(set(new["dtype"]) - set(trained["dtype"]))
    if image.intensity == "fixed" and other:
        raise InputError(
            f"the run reads grey levels {image.low:g}-{image.high:g} of {was} frames, the new plate has "
            f"{', '.join(other)}: give the same limits in its grey levels, --set image.low=... "
            "--set image.high=..."
        )

    each = "its own" if image.scope == "frame" else "its stack's"
    how = f"each frame is scaled by {each} {image.intensity} limits"
    return [] if was == now else [f"Grey levels are {now}, in training {was}: {how}."]


def _sizes(trained: pd.DataFrame, new: pd.DataFrame, image: ImageConfig) -> list[str]:
    was, now = _size_text(trained), _size_text(new)
    if was == now:
        return []
    note = f"Frames are {now} px, in training {was} px: both are resized to {image.size} x {image.size} px."
    stretched = (new["width"] / new["height"]).median() / (trained["width"] / trained["height"]).median()
    if abs(stretched - 1) > SAME_SIZE:
        note += f" Their shape differs, so cells are stretched by {max(stretched, 1 / stretched):.2f}."
    return [note]


def _intervals(trained: pd.DataFrame, new: pd.DataFrame, image: ImageConfig) -> list[str]:
    notes = []
    alone = (
        "each frame is read alone" if len(image.context_h) == 1 else "earlier frames are found by their hours"
    )
    was, now = (table["interval_h"].dropna().median() for table in (trained, new))
    if pd.notna(was) and pd.notna(now) and abs(now / was - 1) > SAME_SIZE:
        notes.append(
            f"Frames are {now:g} h apart, in training {was:g} h: {alone}, so P(infected) and time do not "
            f"change, but a detection of k frames in a row spans (k - 1) x {now:g} h here."
        )
    both = (trained, new)
    was, now = ((t["start_h"] + (t["n_frames"] - 1) * t["interval_h"].fillna(0)).max() for t in both)
    if now > was * (1 + SAME_SIZE):
        longer = f"Imaging goes on until {now:g} h, in training until {was:g} h"
        notes.append(f"{longer}: what the model says of later frames was never tested.")
    return notes


def _to_scale(trained: pd.DataFrame, new: pd.DataFrame, image: ImageConfig) -> tuple[ImageConfig, list[str]]:
    was, now = _pixel(trained), _pixel(new)
    if was is None or now is None:
        sizes = {"training plate": was, "new plate": now}
        side = "The files of the " + " and of the ".join(name for name, um in sizes.items() if um is None)
        tail = "whether cells are as large as in training cannot be told"
        if _size_text(trained) == _size_text(new):
            tail = "frames of the same size are taken as one magnification"
        return image, [f"{side} do not say how large a pixel is: {tail}."]
    field_was = float(trained["width"].median()) * was * (1 - 2 * image.crop_border)
    field_now = float(new["width"].median()) * now
    ratio = field_now * (1 - 2 * image.crop_border) / field_was
    px = f"A pixel is {now:.3g} um, in training {was:.3g} um"
    if abs(ratio - 1) <= SAME_SIZE:
        same = abs(now / was - 1) <= SAME_SIZE
        return image, [] if same else [f"{px}: the field is as large as in training."]
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
