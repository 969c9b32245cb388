"""What checks the maps of where a model looks: rows of numbers, with intervals over wells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import expit

from hpiclock.study.audit_scores import mean_over
from hpiclock.study.groups import choose_level
from hpiclock.study.maps import border, largest_first, rank_correlation, share_inside, tiled

if TYPE_CHECKING:
    from hpiclock.clock.explain import Images
    from hpiclock.clock.model import TwoHeads

RANDOM = "random order"
CHECKS = ["check", "head", "method", "depth", "value", "low", "high", "chance", "n", "n_wells", "note"]
CURVE = ["head", "method", "removed", "value", "low", "high", "n", "n_wells"]
Maps = dict[tuple[str, str], np.ndarray]  # (head, method) -> (n, side, side)


def maps_of(model: TwoHeads, images: Images, methods: tuple[str, ...] = ()) -> Maps:
    """Return the map of every head by every method, or by these, see :func:`hpiclock.clock.explain.look`."""
    from hpiclock.clock.explain import heads_of, look, methods_for

    wanted = methods or methods_for(model, images.shape[-1])
    return {
        (head, method): look(model, images, head=head, method=method).numpy()
        for head in heads_of(model)
        for method in wanted
    }


def redrawn_rows(
    model: TwoHeads, images: Images, maps: Maps, rows: pd.DataFrame, *, level: float, seed: int
) -> pd.DataFrame:
    """Return how alike the maps are to those of a model whose weights are drawn anew, ever deeper."""
    from hpiclock.clock.explain import INTEGRATED
    from hpiclock.clock.faithfulness import DEPTHS, redrawn

    found = []
    methods = tuple(dict.fromkeys(method for _, method in maps))
    quick = tuple(method for method in methods if method != INTEGRATED)  # it costs as much as all else
    for depth, other in redrawn(model, seed=seed):
        theirs = maps_of(other, images, methods if depth == DEPTHS[-1] else quick)
        found += alike("weights drawn anew", maps, theirs, rows, level=level, depth=depth)
    return pd.DataFrame(found)


def alike(
    check: str, maps: Maps, theirs: Maps, rows: pd.DataFrame, *, level: float, depth: str = "", note: str = ""
) -> list[dict[str, object]]:
    """Return the rank correlation of maps with those of another model, a row for each head and method."""
    return [
        _row(check, key, rank_correlation(maps[key], other), rows, level=level, depth=depth, note=note)
        for key, other in theirs.items()
    ]


def border_rows(maps: Maps, rows: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """Return the share of each map's weight, whatever its sign, that lies on the border of the picture."""
    side = next(iter(maps.values())).shape[-1]
    ring = border(side)
    return pd.DataFrame(
        _row("border", key, share_inside(np.abs(found), ring), rows, level=level, chance=float(ring.mean()))
        for key, found in maps.items()
    )


def deletion_rows(
    model: TwoHeads, images: Images, maps: Maps, rows: pd.DataFrame, *, level: float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Delete tiles in the order of each map and at random.

    For the class head those tiles go first that speak most for the class that is called, for the time head
    those that move the time most either way.

    Returns:
        The curves (:data:`CURVE`), and a row for each map: how much further than at random its order takes
        the answer, on average over the shares of :data:`~hpiclock.clock.faithfulness.REMOVED`.
    """
    from hpiclock.clock.explain import SALIENCY, answers
    from hpiclock.clock.faithfulness import REMOVED, delete, random_orders
    from hpiclock.clock.features import TILES

    curves, gaps = [], []
    shares = (0.0, *REMOVED)
    for head in dict.fromkeys(head for head, _ in maps):
        before = answers(model, images, head=head)
        sign = np.where(before > 0, 1.0, -1.0)

        def after(order: np.ndarray, head: str = head, before: np.ndarray = before) -> np.ndarray:
            return _taken_away(head, before, delete(model, images, order, head=head))

        by_method = {RANDOM: np.mean([after(order) for order in random_orders(len(images), seed)], axis=0)}
        for method in (method for of, method in maps if of == head):
            found = maps[head, method]
            signed = head == "class" and method != SALIENCY
            weight = found * sign[:, None, None] if signed else np.abs(found)
            by_method[method] = after(largest_first(tiled(weight, TILES)))
            gap = (by_method[method] - by_method[RANDOM])[:, 1:].mean(1)
            further = -gap if head == "class" else gap
            gaps.append(_row("deletion", (head, method), further, rows, level=level))
        curves += [
            {"removed": share} | _row("", (head, method), values, rows, level=level)
            for method, found in by_method.items()
            for share, values in zip(shares, found.T, strict=True)
        ]
    return pd.DataFrame(curves)[CURVE], pd.DataFrame(gaps)


def _taken_away(head: str, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return P of the class that was called, or by how far the hours moved: (images, shares), none first."""
    said = np.column_stack([before, after])
    if head == "class":
        return expit(np.where(before > 0, 1.0, -1.0)[:, None] * said)
    return np.abs(said - before[:, None])


def _row(
    check: str, key: tuple[str, str], values: np.ndarray, rows: pd.DataFrame, *, level: float,
    depth: str = "", chance: float = 0.0, note: str = "",
) -> dict[str, object]:  # fmt: skip
    unit = choose_level(rows)
    value = mean_over(values, unit.codes, level=level)
    return {
        "check": check, "head": key[0], "method": key[1], "depth": depth, "value": value.value,
        "low": value.low, "high": value.high, "chance": chance, "n": int(np.isfinite(values).sum()),
        "n_wells": int(rows["well"].nunique()), "note": note,
    }  # fmt: skip
