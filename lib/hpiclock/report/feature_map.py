"""What a run's model sees of held-out frames, on a plane, kept with the run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from hpiclock.files import atomic, make_folder
from hpiclock.plate.cache import open_cache
from hpiclock.report.audit import thinned
from hpiclock.report.explaining import FOLDER
from hpiclock.report.runs import Run
from hpiclock.study.feature_map import flat_map
from hpiclock.tables import FRAMES, MANIFEST, PREDICTIONS, read_any


def feature_map(run: Run, *, method: str = "PCA") -> pd.DataFrame:
    """Return PREDICTIONS of held-out frames with where their features lie: ``x y x_share y_share``.

    Of a large run every n-th frame is taken, as in the audit, whose features are used where they are kept.
    ``explanations/feature_map_pca.parquet`` (or ``_umap``) holds the places; one that is newer than the
    predictions is read as it is.

    Args:
        run: a finished run.
        method: ``PCA``, or ``UMAP`` where umap-learn is installed; see
            :func:`hpiclock.study.feature_map.flat_map`.

    Raises:
        InputError: a run without a checkpoint, stacks that cannot be read, UMAP that is not installed.
    """
    path, given = run.path(FOLDER, f"feature_map_{method.lower()}.parquet"), run.path("predictions.parquet")
    said = run.read_table("predictions.parquet", PREDICTIONS)
    if not path.is_file() or path.stat().st_mtime < given.stat().st_mtime:
        places = flat_map(_features(run), method=method, seed=run.cfg.seed)
        make_folder(path.parent)
        with atomic(path) as partial:
            places.to_parquet(partial, index=False)
    return said.merge(read_any(path), on=["stack_id", "frame"], validate="1:1")


def _features(run: Run) -> pd.DataFrame:
    from hpiclock.clock.asking import open_machine  # torch is loaded only where a model is asked
    from hpiclock.clock.features import embed

    cfg = run.cfg
    frames = thinned(run.read_table("frames.parquet", FRAMES))
    cache = open_cache(run.read_table("manifest.csv", MANIFEST), cfg.data, cfg.image)
    machine = open_machine(cfg, run.path("checkpoints", "best.pt"))
    folder = Path(cfg.data.cache_dir)
    seen = embed(machine, cache, frames, batch_size=cfg.train.batch_size, folder=folder, change="")
    return seen[frames["split"].ne("train").to_numpy()].reset_index(drop=True)
