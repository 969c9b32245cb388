"""Attribution maps of a run's model, their sanity checks, and the map of its features, kept with the run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import expit

from hpiclock.analysis import saliency_maps as saliency
from hpiclock.analysis.curves import frames_to_list
from hpiclock.analysis.detection import choose_threshold
from hpiclock.analysis.linear_probe import project_features
from hpiclock.analysis.units import choose_resampling_unit
from hpiclock.audit.permutation import mean_over_wells
from hpiclock.files import atomic, make_folder, up_to_date, write_csv
from hpiclock.plate.cache import FrameCache
from hpiclock.runs import results
from hpiclock.runs.run import Run, Say
from hpiclock.tables import FRAMES, PREDICTIONS, n_wells, read_any
from hpiclock.workflows.audit import thin_frames
from hpiclock.workflows.identity import training_cache
from hpiclock.workflows.predict import trained_model

if TYPE_CHECKING:
    from hpiclock.inference.attribution import Images
    from hpiclock.training.model import TwoHeads

RANDOM = "random order"
CURVE = ["head", "method", "removed", "value", "low", "high", "n", "n_wells"]


def attribution_maps(model: TwoHeads, images: Images, methods: tuple[str, ...] = ()) -> results.Maps:
    """Return the map of every head by every method, or by these."""
    from hpiclock.inference.attribution import attribution_map, heads_of, methods_for

    wanted = methods or methods_for(model, images.shape[-1])
    return {
        (head, method): attribution_map(model, images, head=head, method=method).numpy()
        for head in heads_of(model)
        for method in wanted
    }


def randomization_rows(
    model: TwoHeads, images: Images, maps: results.Maps, rows: pd.DataFrame, *, level: float, seed: int
) -> pd.DataFrame:
    """Return how similar the maps are to those of a model whose weights are drawn anew, ever deeper."""
    from hpiclock.inference.attribution import DEPTHS, INTEGRATED, cascading_randomization

    found = []
    methods = tuple(dict.fromkeys(method for _, method in maps))
    quick = tuple(method for method in methods if method != INTEGRATED)  # it costs as much as all else
    for depth, other in cascading_randomization(model, seed=seed):
        theirs = attribution_maps(other, images, methods if depth == DEPTHS[-1] else quick)
        found += similarity_rows("weights drawn anew", maps, theirs, rows, level=level, depth=depth)
    return pd.DataFrame(found)


def similarity_rows(
    check: str, maps: results.Maps, theirs: results.Maps, rows: pd.DataFrame, *, level: float, **about: str
) -> list[dict[str, object]]:
    """Return the rank correlation of maps with those of another model, a row for each head and method."""
    similar = {key: saliency.rank_correlation(maps[key], other) for key, other in theirs.items()}
    return [_row(check, key, found, rows, level=level, **about) for key, found in similar.items()]


def border_rows(maps: results.Maps, rows: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """Return the share of each map's weight, whatever its sign, that lies on the border of the picture."""
    ring = saliency.border_mask(next(iter(maps.values())).shape[-1])
    inside = {key: saliency.share_inside(np.abs(found), ring) for key, found in maps.items()}
    chance = float(ring.mean())
    found = [_row("border", key, shares, rows, level=level, chance=chance) for key, shares in inside.items()]
    return pd.DataFrame(found)


def deletion_rows(
    model: TwoHeads, images: Images, maps: results.Maps, rows: pd.DataFrame, *, level: float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Delete tiles in the order of each map and at random.

    For the class head those tiles go first that speak most for the class that is called, for the time head
    those that move the time most either way.

    Returns:
        The curves (:data:`CURVE`), and a row for each map: how much further than at random its order takes
        the answer, on average over the shares of :data:`~hpiclock.inference.attribution.REMOVED`.
    """
    from hpiclock.inference.attribution import REMOVED, SALIENCY, head_outputs, random_orders
    from hpiclock.inference.perturb import TILES

    curves, gaps = [], []
    shares = (0.0, *REMOVED)
    for head in dict.fromkeys(head for head, _ in maps):
        before = head_outputs(model, images, head=head)
        sign = np.where(before > 0, 1.0, -1.0)
        after = partial(_after_deletion, model, images, head, before)
        by_method = {RANDOM: np.mean([after(order) for order in random_orders(len(images), seed)], axis=0)}
        for method in (method for of, method in maps if of == head):
            found = maps[head, method]
            signed = head == "class" and method != SALIENCY
            weight = found * sign[:, None, None] if signed else np.abs(found)
            by_method[method] = after(saliency.deletion_order(saliency.tile_means(weight, TILES)))
            gap = (by_method[method] - by_method[RANDOM])[:, 1:].mean(1)
            further = -gap if head == "class" else gap
            gaps.append(_row("deletion", (head, method), further, rows, level=level))
        curves += [
            {"removed": share} | _row("", (head, method), values, rows, level=level)
            for method, found in by_method.items()
            for share, values in zip(shares, found.T, strict=True)
        ]
    return pd.DataFrame(curves)[CURVE], pd.DataFrame(gaps)


def _after_deletion(
    model: TwoHeads, images: Images, head: str, before: np.ndarray, order: np.ndarray
) -> np.ndarray:
    """Return P of the class that was called, or by how far the hours moved: (images, shares), none first."""
    from hpiclock.inference.attribution import delete_tiles

    outputs = np.column_stack([before, delete_tiles(model, images, order, head=head)])
    if head == "class":
        return expit(np.where(before > 0, 1.0, -1.0)[:, None] * outputs)
    return np.abs(outputs - before[:, None])


def _row(
    check: str, key: tuple[str, str], values: np.ndarray, rows: pd.DataFrame, *, level: float, **about: object
) -> dict[str, object]:
    head, method = key
    mean = mean_over_wells(values, choose_resampling_unit(rows).codes, level=level)
    found = {"value": mean.value, "low": mean.low, "high": mean.high}
    counts = {"n": int(np.isfinite(values).sum()), "n_wells": n_wells(rows)}
    names = {"check": check, "head": head, "method": method, "depth": "", "chance": 0.0, "note": ""}
    return names | about | found | counts


def keep_gradcam(run: Run, model: TwoHeads, cache: FrameCache, predictions: pd.DataFrame) -> None:
    """Keep Grad-CAM of some test frames in ``explanations/gradcam.npz``, a few hundred kB.

    They are the frames of :func:`read_gradcam` and those that an error browser lists first, with their
    neighbours, each map in the cells of its layer. Nothing is kept where there is no test frame, or no layer
    with a map that is fine enough.
    """
    from hpiclock.inference.attribution import METHODS, coarse_gradcam, heads_of, images_of, methods_for

    test = predictions[predictions["split"].eq("test")]
    threshold = choose_threshold(predictions, rule=run.cfg.study.threshold).value
    rows = pd.concat([results.chosen_frames(test), frames_to_list(test, threshold=threshold)])
    rows = rows.drop_duplicates(["stack_id", "frame"])
    if rows.empty or methods_for(model, run.cfg.image.size) != METHODS:
        return
    images = images_of(model, cache, rows)
    found = {head: coarse_gradcam(model, images, head=head) for head in heads_of(model)}
    maps = {head: coarse.numpy().astype(np.float16) for head, coarse in found.items()}
    make_folder(run.path(results.EXPLANATIONS))
    keys = {"stack_id": rows["stack_id"].to_numpy(str), "frame": rows["frame"].to_numpy(int)}
    results.save_arrays(run.path(results.EXPLANATIONS, "gradcam.npz"), keys | maps)


def explain_run(run: Run, *, say: Say = print) -> results.KeptExplanations:
    """Return maps by every method and what checks them: those in the run's folder, else new ones.

    ``explanations/`` holds ``maps.npz`` (a map of each head and method), ``checks.csv`` (``check head method
    depth value low high chance n n_wells note``) and ``deletion.csv`` (``head method removed value low high n
    n_wells``: P of the class that was called, or the hours by which the time moved). The checks are ``weights
    drawn anew`` and ``labels shuffled`` (rank correlation with the maps of such a model), ``deletion`` (how
    much further deleting by the map takes the answer than deleting at random) and ``border`` (the share of
    the weight there; chance is its area).

    Args:
        run: a finished run.
        say: takes a line per step; the run's log has them, too.

    Raises:
        InputError: a run without a checkpoint, or stacks that cannot be read.
    """
    predictions = run.read_table("predictions.parquet", PREDICTIONS)
    frames = results.chosen_frames(predictions[predictions["split"].eq("test")])
    if frames.empty:
        return results.KeptExplanations()
    made, given = run.path(results.EXPLANATIONS, "checks.csv"), run.path("predictions.parquet")
    if not up_to_date(made, given):
        with run.logged(say, opening="maps: ") as tell:
            _examine(run, predictions, frames, tell)
    maps: results.Maps = {}
    for name, found in results.load_arrays(run.path(results.EXPLANATIONS, "maps.npz")).items():
        head, _, method = name.partition("/")
        maps[head, method] = found
    checks = read_any(made).fillna({"depth": "", "note": ""})
    deletion = read_any(run.path(results.EXPLANATIONS, "deletion.csv"))
    return results.KeptExplanations(frames, maps, checks, deletion)


def _examine(run: Run, predictions: pd.DataFrame, frames: pd.DataFrame, say: Say) -> None:
    from hpiclock.inference import attribution

    cfg = run.cfg
    level, folder = cfg.study.level, make_folder(run.path(results.EXPLANATIONS))
    cache = training_cache(run)
    model = trained_model(run)
    if not (folder / "gradcam.npz").is_file():  # a run that was trained before maps were kept
        keep_gradcam(run, model, cache, predictions)
    say("where the model looks")
    images = attribution.images_of(model, cache, frames)
    maps = attribution_maps(model, images)
    side = results.MOST_SIDE
    named = {f"{head}/{by}": saliency.shrink_maps(found, side) for (head, by), found in maps.items()}
    results.save_arrays(folder / "maps.npz", named)
    say("models with other weights, deleted tiles")
    curves, gaps = deletion_rows(model, images, maps, frames, level=level, seed=cfg.seed)
    anew = randomization_rows(model, images, maps, frames, level=level, seed=cfg.seed)
    border = border_rows(maps, frames, level=level)
    say("a model that learns shuffled labels")
    other = attribution.train_on_shuffled_labels(cfg, cache, run.read_table("frames.parquet", FRAMES))
    note = f"at most {attribution.SHUFFLED_LABEL_STEPS} steps in {attribution.EPOCHS} epochs"
    theirs = attribution_maps(other, images)
    shuffled = similarity_rows("labels shuffled", maps, theirs, frames, level=level, note=note)
    checks = pd.concat([anew, gaps, border, pd.DataFrame(shuffled)], ignore_index=True)
    write_csv(curves, folder / "deletion.csv")
    write_csv(checks[results.CHECKS], folder / "checks.csv")  # last: where they are, all is


def feature_map(run: Run, *, method: str = "PCA") -> pd.DataFrame:
    """Return PREDICTIONS of held-out frames with where their features lie: ``x y x_share y_share``.

    Of a large run every n-th frame is taken, as in the audit, whose features are used where they are kept.
    ``explanations/feature_map_pca.parquet`` (or ``_umap``) holds the places; one that is newer than the
    predictions is read as it is.

    Args:
        run: a finished run.
        method: ``PCA``, or ``UMAP`` where umap-learn is installed; see
            :func:`hpiclock.analysis.linear_probe.project_features`.

    Raises:
        InputError: a run without a checkpoint, stacks that cannot be read, UMAP that is not installed.
    """
    path = run.path(results.EXPLANATIONS, f"feature_map_{method.lower()}.parquet")
    predictions = run.read_table("predictions.parquet", PREDICTIONS)
    if not up_to_date(path, run.path("predictions.parquet")):
        places = project_features(_features(run), method=method, seed=run.cfg.seed)
        make_folder(path.parent)
        with atomic(path) as partial:
            places.to_parquet(partial, index=False)
    return predictions.merge(read_any(path), on=["stack_id", "frame"], validate="1:1")


def _features(run: Run) -> pd.DataFrame:
    from hpiclock.inference.predict import embed

    cfg = run.cfg
    frames = thin_frames(run.read_table("frames.parquet", FRAMES))
    cache = training_cache(run)
    seen = embed(trained_model(run), cache, frames, folder=Path(cfg.data.cache_dir))
    return seen[frames["split"].ne("train").to_numpy()].reset_index(drop=True)
