"""Pictures that stand twice, fields that overlap, and marks burned into images.

Two fields are laid over each other at every shift (cross-correlation by FFT with zero padding, normalised by
what overlaps: Padfield, IEEE Trans. Image Process. 2012). Of the shifts the one with the largest
correlation against that of unrelated fields at that overlap is kept, and it counts only when a second frame
of both stacks says the same shift.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage, stats

from hpiclock.config.schema import DataConfig
from hpiclock.plate.readers import open_stack
from hpiclock.progress import progress
from hpiclock.tables import n_wells, table_of

Array = np.ndarray
FIELD_PX = 96  # px: the side at which fields are compared
COARSE_SIGMA_PX = 4.0  # px: coarser structure (shading, drift) is taken out first
MIN_STRENGTH = 7.0  # standard errors; unrelated fields that agree on a shift reach about 4
MIN_OVERLAP = 0.04  # of a field
SHIFT_TOLERANCE_PX = 2.0  # px: between the two frames of a pair
MIN_COPY = 0.9  # correlation from which single pictures count as copies: cut-out cells share an outline
THUMBNAIL_PX = 16  # px: the side at which fields are looked over for pictures that stand twice
THUMBNAIL_CORRELATION = 0.8  # correlation from which two such small fields are laid over each other
CONSTANT = 0.2  # a burned-in pixel varies this little between stacks, as a share of the usual SD
VARYING = 0.5  # at least, where it is not burned in: the rim of a dark background varies a little
MAX_CHANCE = 0.01  # chance that any pixel of a field without marks would look burned in


class Fields(NamedTuple):
    """Small pictures of stacks: ``stack_id`` and ``images`` (stacks, frames, side, side) float32."""

    stack_id: list[str]
    images: Array


def load_fields(frames: pd.DataFrame, data: DataConfig, *, per_stack: int) -> Fields:
    """Read a few frames of every stack, evenly spread, at :data:`FIELD_PX` px.

    Args:
        frames: rows with ``stack_id path frame``.
        data: channel and plane.
        per_stack: how many frames; a stack with fewer repeats its last one.

    Raises:
        InputError: a stack that cannot be read.
    """
    groups = list(frames.groupby("stack_id", sort=False))
    names, images = [], []
    for name, mine in progress(groups, desc="fields", total=len(groups), leave=False):
        chosen = evenly_spaced(np.sort(mine["frame"].to_numpy()), per_stack)
        with open_stack(mine["path"].iloc[0], channel=data.channel, z=data.z) as stack:
            images.append(np.stack([downscaled(stack.frame(int(frame))) for frame in chosen]))
        names.append(str(name))
    side = min(part.shape[-1] for part in images)  # pictures of different sizes can be compared at the least
    return Fields(names, np.stack([np.stack([_resized(image, side) for image in part]) for part in images]))


def evenly_spaced(values: Array, n: int) -> Array:
    """Return ``n`` of the values, evenly spread over the first half, where fields change little: (n,)."""
    return values[np.linspace(0, (len(values) - 1) // 2, n).round().astype(int)]


def downscaled(image: Array) -> Array:
    """Return a frame at :data:`FIELD_PX` px or its own size if that is smaller: (side, side) float32."""
    return _resized(image, min(FIELD_PX, *image.shape))


def _resized(image: Array, side: int) -> Array:
    if image.shape == (side, side) and image.dtype == np.float32:
        return image
    small = Image.fromarray(image.astype(np.float32)).resize((side, side), Image.Resampling.BOX)
    return np.asarray(small)


def overlapping_fields(fields: Fields, *, groups: Iterable[str], max_pairs: int) -> tuple[pd.DataFrame, int]:
    """Return pairs of stacks that show the same place, and how many pairs were compared.

    The table has ``a b shift_x shift_y overlap correlation strength``. Shifts and the overlap are shares of a
    field; ``correlation`` is that of the overlapping parts; ``strength`` is in standard errors of unrelated
    fields. What all fields of a group share (dust, marks, shading) is taken out first, so it counts for
    nothing.

    Args:
        fields: two frames or more of each stack.
        groups: of each stack: fields of one group may share a pattern (for example plate and condition).
        max_pairs: compare at most so many pairs: of more, those that are similar without a shift, and all
            pairs of some stacks.
    """
    fine = _fine_structure(fields.images[:, :2], np.asarray(list(groups)))
    chosen = _pairs(fine[:, 0], max_pairs)
    used, places = np.unique(chosen, return_inverse=True)
    names, images = [fields.stack_id[i] for i in used], fine[used]
    side = images.shape[-1]
    size = 2 * side
    spectra = np.fft.rfft2(images, (size, size)).astype(np.complex64)
    energy = np.fft.rfft2(images**2, (size, size)).astype(np.complex64)
    mask = np.fft.rfft2(np.ones((side, side), np.float32), (size, size)).astype(np.complex64)
    covered = np.maximum(np.fft.irfft2(mask * mask.conj(), (size, size)), 0)
    grain = _correlated_area(spectra[:, 0], size)
    # a correlation over m grains has a standard error of 1 / sqrt(m)
    weight = np.where(covered >= MIN_OVERLAP * side * side, np.sqrt(covered / grain), 0.0)
    own = np.maximum(np.fft.irfft2(energy * mask.conj(), (size, size)), 1e-6).astype(np.float32)
    other = np.maximum(np.fft.irfft2(mask * energy.conj(), (size, size)), 1e-6).astype(np.float32)
    still = (images[:, 0] == images[:, 1]).all((-2, -1))
    found = []
    for i, j in places.reshape(chosen.shape):
        first = _best(spectra[i, 0], spectra[j, 0], own[i, 0], other[j, 0], weight, size)
        if first.strength < MIN_STRENGTH:
            continue
        second = _best(spectra[i, 1], spectra[j, 1], own[i, 1], other[j, 1], weight, size)
        apart = np.hypot(first.x - second.x, first.y - second.y)
        if second.strength < MIN_STRENGTH or apart > SHIFT_TOLERANCE_PX:
            continue
        if (still[i] or still[j]) and first.correlation < MIN_COPY:  # no second frame can object
            continue
        strength = min(first.strength, second.strength)
        shift_x, shift_y = first.x / side, first.y / side
        overlap = (1 - abs(shift_x)) * (1 - abs(shift_y))
        correlation = min(first.correlation, second.correlation)
        found.append((names[i], names[j], shift_x, shift_y, overlap, correlation, strength))
    return table_of(found, "a b shift_x shift_y overlap correlation strength"), len(chosen)


def _pairs(images: Array, max_pairs: int) -> Array:
    """Return which stacks to compare, first before second: (pairs, 2)."""
    n = len(images)
    if n * (n - 1) // 2 <= max_pairs:
        return np.stack(np.triu_indices(n, 1), axis=1)
    twins = _similar_pairs(images)[: max_pairs // 2]
    some = int((1 + np.sqrt(1 + 8 * (max_pairs - len(twins)))) / 2)
    at = np.linspace(0, n - 1, some).astype(int)
    every = at[np.stack(np.triu_indices(some, 1), axis=1)]
    return np.unique(np.concatenate([twins, every]), axis=0)


def _similar_pairs(images: Array) -> Array:
    """Return pairs of fields that are similar without a shift, the most similar first: (pairs, 2)."""
    step = max(1, images.shape[-1] // THUMBNAIL_PX)
    small = ndimage.uniform_filter(images, (0, step, step))[:, step // 2 :: step, step // 2 :: step]
    flat = small.reshape(len(images), -1)
    flat = flat - flat.mean(1, keepdims=True)
    flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    correlation = np.triu(flat @ flat.T, 1)
    first, second = np.nonzero(correlation > THUMBNAIL_CORRELATION)
    order = np.argsort(-correlation[first, second], kind="stable")
    return np.stack([first[order], second[order]], axis=1)


class _Match(NamedTuple):
    x: float
    y: float
    correlation: float
    strength: float


def _best(a: Array, b: Array, own: Array, other: Array, weight: Array, size: int) -> _Match:
    correlation = np.fft.irfft2(a * b.conj(), (size, size)) / np.sqrt(own * other)
    strength = correlation * weight
    at = int(strength.argmax())
    y, x = (at // size + size // 2) % size - size // 2, (at % size + size // 2) % size - size // 2
    return _Match(float(x), float(y), float(correlation.flat[at]), float(strength.flat[at]))


def _fine_structure(images: Array, groups: Array) -> Array:
    blurred = ndimage.gaussian_filter(images, (0, 0, COARSE_SIGMA_PX, COARSE_SIGMA_PX))
    fine = images - blurred
    fine = fine / np.maximum(fine.std((-2, -1), keepdims=True), 1e-6)
    for group in np.unique(groups):
        mine = groups == group
        if mine.sum() >= 4:
            # the median is what most share; two that are similar do not move it
            fine[mine] -= np.median(fine[mine], axis=0)
    return fine.astype(np.float32)


def _correlated_area(spectra: Array, size: int) -> float:
    """The area (px) of correlated pixels of a field: the integral of its squared correlation."""
    power = np.fft.irfft2((np.abs(spectra) ** 2).mean(0), (size, size))
    return max(1.0, float(((power / power.flat[0]) ** 2).sum()))


def burned_in_marks(fields: Fields, stacks: pd.DataFrame) -> pd.DataFrame:
    """Return how many pixels are constant over all stacks of one condition only, and of both.

    Columns: ``condition`` (infected, mock, both), ``pixels``, ``share`` (of the field), ``n_stacks``,
    ``n_wells``, ``note``. With so few stacks that chance would give a constant pixel the count is missing.

    Args:
        fields: pictures of the stacks.
        stacks: ``plate well condition`` of each, in the order of the fields.
    """
    images, conditions = fields.images, stacks["condition"].to_numpy()
    infected, why_infected = _variation(images[conditions == "infected"])
    mock, why_mock = _variation(images[conditions == "mock"])
    testable = not why_infected and not why_mock
    sets = (
        ("infected", (infected < CONSTANT) & (mock > VARYING), why_infected),
        ("mock", (mock < CONSTANT) & (infected > VARYING), why_mock),
        ("both", (infected < CONSTANT) & (mock < CONSTANT), ""),
    )
    rows = []
    for name, pixels, why in sets:
        mine = stacks if name == "both" else stacks[conditions == name]
        n, share = (float(pixels.sum()), float(pixels.mean())) if testable else (np.nan, np.nan)
        rows.append((name, n, share, len(mine), n_wells(mine), why))
    return table_of(rows, "condition pixels share n_stacks n_wells note")


def _variation(images: Array) -> tuple[Array, str]:
    """Return each pixel's SD over stacks, as a share of the usual one, and why it cannot be used."""
    stacks, _, side, _ = images.shape if len(images) else (0, 0, FIELD_PX, FIELD_PX)
    usual_everywhere = np.ones(images.shape[-2:])
    # chance of so small a variance from stacks that are free of marks, over all pixels
    chance = stats.chi2.cdf((stacks - 1) * CONSTANT**2, stacks - 1) * side * side if stacks > 1 else 1.0
    if chance > MAX_CHANCE:
        return usual_everywhere, f"{stacks} stacks are too few to tell a burned-in mark from chance"
    spread_ = images[:, 0].std(0)
    usual = float(np.median(spread_))
    if usual == 0:
        return usual_everywhere, "the images do not vary"
    return spread_ / usual, ""
