"""Saliency maps as arrays: how much lies in a place, how similar two are, what is deleted first."""

import numpy as np
import numpy.typing as npt
from scipy import stats

Maps = npt.NDArray[np.floating]
BORDER = 1 / 16  # of the side


def share_inside(weight: Maps, inside: npt.NDArray[np.bool_]) -> Maps:
    """Return the share of each map's weight that lies in a place: (n,); NaN for a map without weight.

    Args:
        weight: (n, height, width), not negative.
        inside: (n, height, width), or one place (height, width) for all.
    """
    total = weight.sum((1, 2), dtype=float)
    within = np.where(inside, weight, 0).sum((1, 2), dtype=float)
    return np.divide(within, total, out=np.full(len(weight), np.nan), where=total > 0)


def border_mask(side: int) -> npt.NDArray[np.bool_]:
    """Return the border of a square picture, a sixteenth of its side wide: (side, side)."""
    width = max(1, round(BORDER * side))
    ring = np.ones((side, side), bool)
    ring[width : side - width, width : side - width] = False
    return ring


def rank_correlation(one: Maps, other: Maps) -> Maps:
    """Return Spearman's correlation of the pixels of each pair of maps: (n,); NaN where one is flat."""
    flat = [maps.reshape(len(maps), -1) for maps in (one, other)]
    ranks = [stats.rankdata(maps, axis=1) for maps in flat]
    centred = [rank - rank.mean(1, keepdims=True) for rank in ranks]
    up = (centred[0] * centred[1]).sum(1)
    down = np.sqrt((centred[0] ** 2).sum(1) * (centred[1] ** 2).sum(1))
    return np.divide(up, down, out=np.full(len(up), np.nan), where=down > 0)


def tile_means(maps: Maps, tiles: int) -> Maps:
    """Return the mean of each tile: (n, side, side) -> (n, tiles, tiles); pixels beyond them are left out."""
    tile = maps.shape[-1] // tiles
    if tile == 0:
        raise ValueError(f"maps of {maps.shape[-1]} px cannot be cut into {tiles} tiles a side")
    whole = maps[:, : tile * tiles, : tile * tiles]
    return whole.reshape(len(maps), tiles, tile, tiles, tile).mean((2, 4))


def shrink_maps(maps: Maps, most: int) -> Maps:
    """Return maps of at most ``most`` px a side, each pixel the mean of those it stands for."""
    return maps if maps.shape[-1] <= most else tile_means(maps, most)


def deletion_order(maps: Maps) -> npt.NDArray[np.intp]:
    """Return the order in which the cells of each map go, the largest first: (n, h, w) -> (n, h * w)."""
    return np.argsort(-maps.reshape(len(maps), -1), axis=1, kind="stable")
