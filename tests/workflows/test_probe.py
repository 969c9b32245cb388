"""Sweeps in frozen mode: every point from features that are computed once, and said to be a probe."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from hpiclock import figures
from hpiclock.config.sweep import load_sweep
from hpiclock.errors import InputError
from hpiclock.runs.run import Run
from hpiclock.training.model import make_backbone
from hpiclock.workflows.sweep import probe, probe_sweep, run_sweep, sweep_figures
from hpiclock.workflows.sweep.probe import PROBE

HOURS = {"start_h": 0, "until_h": [2, 24, 48]}


def write(folder: Path, plate: Path, **said: object) -> Path:
    base = {
        "data": {"source": str(plate), "cache_dir": str(folder / "cache")},
        "image": {"size": 32}, "reports_dir": str(folder / "reports"), "targets": {"before_onset": "drop"},
        "model": {"backbone": "shufflenet_v2_x0_5", "hidden_dim": 8}, "train": {"device": "cpu"},
    }  # fmt: skip
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    whole = {"name": "p", "base": "base.yaml", "frozen": {}, "hours": HOURS} | said
    (folder / "probe.yaml").write_text(yaml.safe_dump(whole))
    return folder / "probe.yaml"


@pytest.fixture(scope="module")
def probed(tmp_path_factory, tiny_plate):
    """A probe over four folds, and the lines it said."""
    folder = tmp_path_factory.mktemp("probe")
    said = {"set": {"split.folds": 4}, "grid": {"split.fold": [0, 1, 2, 3]}}
    plan = load_sweep(write(folder, tiny_plate, **said))
    lines: list[str] = []
    return folder, plan, probe_sweep(plan, say=lines.append), lines


def test_it_says_that_it_is_a_probe_and_keeps_its_tables(probed):
    _, plan, swept, lines = probed
    assert lines[0] == PROBE
    kept = pd.read_csv(plan.folder / "summary.csv")
    assert kept["value"].tolist() == pytest.approx(swept.summary["value"].tolist(), nan_ok=True)


def test_features_are_computed_once_for_all_points(probed):
    folder, *_ = probed
    assert len(list((folder / "cache" / "features").glob("*.npy"))) == 1


def test_every_fold_is_in_every_point(probed):
    _, _, swept, _ = probed
    table = swept.summary.query("metric == 'auc' and group == 'all' and end_h == 48")
    assert len(table) == 4  # two modes, two kinds of controls
    assert table["n_folds"].eq(4).all()
    assert table["n_wells"].eq(8).all()


def test_all_hours_asked_of_a_model_of_all_hours_is_the_same_in_both_modes(probed):
    _, _, swept, _ = probed
    table = swept.summary.query("metric == 'auc' and group == 'all' and end_h == 48 and controls == 'full'")
    one, other = table["value"]
    assert one == pytest.approx(other)


def test_a_point_without_infected_frames_is_listed_and_stops_no_other(probed):
    _, _, swept, lines = probed
    assert set(swept.failed) >= {f"fold{fold}_0-2h_full" for fold in range(4)}
    assert any("fold0_0-2h_full failed: " in line for line in lines)
    asked = swept.summary[swept.summary["mode"].eq("train-test")]
    assert set(asked["end_h"]) == {24, 48}


def test_the_figure_names_bands_counts_and_the_probe(probed):
    _, plan, swept, _ = probed
    (figure,) = sweep_figures(plan, swept.summary).values()
    text = figure.get_suptitle()
    assert "95% intervals over wells" in text
    assert "probe" in text
    assert "AUC over plates and hours, trained in all hours, controls of the same hours" in figures.alt_text(
        figure
    )


def test_features_of_a_trained_run_keep_its_split(tmp_path, tiny_plate):
    path = write(tmp_path, tiny_plate, frozen={"run": "reports/trained"}, set={"split.seed": 7})
    trained = load_sweep(write(tmp_path, tiny_plate)).configs["run"]
    Run.create(trained, tmp_path / "reports" / "trained")
    path = write(tmp_path, tiny_plate, frozen={"run": "reports/trained"}, set={"split.seed": 7})
    with pytest.raises(
        InputError, match=r"was trained with another split than run_0-2h_full has.*know its training"
    ):
        list(run_sweep(path, {}, workers=1, report=False, say=str))


def weights_file(path: Path, seed: int) -> str:
    """Weights that look trained: BatchNorm has seen something."""
    torch.manual_seed(seed)
    state = make_backbone("shufflenet_v2_x0_5").state_dict()
    torch.save({k: v / 2 if k.endswith("running_var") else v for k, v in state.items()}, path)
    return str(path)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("model.backbone", ["shufflenet_v2_x0_5", "resnet10"]),
        ("model.weights", ["a.pt", "b.pt"]),
        ("model.in_channels", [1, 3]),
        ("seed", [0, 1]),
        ("train.precision", ["fp32", "bf16"]),
        ("image.size", [32, 48]),
        ("split.seed", [0, 3]),
        ("targets.before_onset", ["drop", "uninfected"]),
        ("frames.test.infected.stride", [1, 2]),
    ],
)
def test_a_point_of_a_grid_has_the_features_that_it_has_alone(tmp_path, tiny_plate, monkeypatch, key, values):
    if key == "model.weights":
        values = [weights_file(tmp_path / name, seed) for seed, name in enumerate(values)]
    fitted, fit = [], probe.linear_probe

    def note(frames, z, **options):
        fitted.append(z)
        return fit(frames, z, **options)

    monkeypatch.setattr(probe, "linear_probe", note)

    def features(**said: object) -> list[np.ndarray]:
        fitted.clear()
        hours = {"start_h": 0, "until_h": [48]}
        probe_sweep(load_sweep(write(tmp_path, tiny_plate, hours=hours, **said)), say=str)
        return list(fitted)

    alone = [z for value in values for z in features(name="alone", set={key: value})]
    together = features(name="grid", grid={key: values})
    assert len(together) == len(alone) > 0
    for one in alone:
        assert any(one.shape == other.shape and np.array_equal(one, other) for other in together), key
    first, second = alone[0], alone[len(alone) // 2]
    assert first.shape != second.shape or not np.array_equal(first, second) or key.startswith("targets")


@pytest.mark.parametrize(("key", "values"), [("train.lr", [1e-3, 1e-2]), ("model.hidden_dim", [8, 16])])
def test_features_are_computed_once_where_they_do_not_depend_on_the_key(tmp_path, tiny_plate, key, values):
    hours = {"start_h": 0, "until_h": [48]}
    probe_sweep(load_sweep(write(tmp_path, tiny_plate, hours=hours, grid={key: values})), say=str)
    assert len(list((tmp_path / "cache" / "features").glob("*.npy"))) == 1
