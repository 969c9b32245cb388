"""What the audit says of real data; skipped where the shared folder is not beside the project."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpiclock.audit import CLOCKS, ELAPSED, HOUR, WELL, Evidence
from hpiclock.audit.baselines import sampling_experiments
from hpiclock.audit.leakage import judge_shared_wells
from hpiclock.config.schema import DataConfig, SplitConfig
from hpiclock.plate.manifest.survey import load_manifest
from hpiclock.plate.quality import frame_statistics
from hpiclock.plate.splits import split_wells
from hpiclock.workflows.audit import design_audit, undropped_frames

REAL = Path(__file__).parents[3] / "shared" / "real"

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="no ../shared/real beside the project")


def test_syncytia_cannot_tell_infection_from_well_nor_one_clock_from_the_other() -> None:
    manifest, _ = load_manifest(DataConfig(source=str(REAL / "syncytia")), 0.0, need_both=True)
    rows = design_audit(manifest).verdict.set_index("question")
    assert list(rows.loc[[WELL, CLOCKS, ELAPSED], "verdict"]) == ["not identifiable"] * 3
    assert "1 infected and 1 mock well" in rows.loc[WELL, "evidence"]
    assert "share one onset" in rows.loc[ELAPSED, "evidence"]
    assert HOUR not in rows.index  # both wells were imaged at the same hours


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every frame of 400 cells with its split by slide, and statistics of the pictures."""
    folder = REAL / "malaria_cells"
    labels = pd.read_csv(folder / "labels.csv")
    # slides of infected donors hold cells of both labels
    labels = labels[labels["slide"].isin(labels["slide"].drop_duplicates().iloc[::4])].iloc[:400]
    source = tmp_path_factory.mktemp("cells") / "cells.csv"
    pd.DataFrame(
        {
            "path": [str(folder / name) for name in labels["file"]],
            "condition": labels["label"].map({1: "infected", 0: "mock"}),
            "well": labels["slide"],
        }
    ).to_csv(source, index=False)
    data = DataConfig(source=str(source), channel="green")
    manifest, _ = load_manifest(data, 0.0, need_both=True)
    frames = undropped_frames(manifest)
    split = split_wells(manifest, SplitConfig(train=0.4, val=0.1, test=0.5)).stacks.set_index("stack_id")[
        "split"
    ]
    frames = frames.assign(
        split=frames["stack_id"].map(split),
        label=frames["condition"].eq("infected").astype("Int8"),
        clock="experiment",
    )
    return frames, frame_statistics(frames, data)


def test_stills_are_split_by_slide(cells: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    frames, _ = cells
    assert frames.groupby("well")["split"].nunique().max() == 1
    assert judge_shared_wells(Evidence(frames)).verdict == "shown"


def test_stills_compare_images_at_random_with_whole_slides(cells: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    frames, statistics = cells
    found = sampling_experiments(frames, statistics, level=0.95, seed=0)
    found = found[found["experiment"].eq("split")].set_index("train")
    assert list(found.index) == ["frames at random", "whole wells"]
    assert found["auc"].between(0.5, 1, inclusive="neither").all()
    assert np.isfinite(found.loc["whole wells", ["low", "high"]].astype(float)).all()
