"""What a run keeps of where its model looks: written once, read without torch, empty where nothing is."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from hpiclock import figures, workbook
from hpiclock.analysis.saliency_maps import border_mask
from hpiclock.errors import InputError
from hpiclock.report.audit_text import feature_reading, readable_maps
from hpiclock.runs.results import KeptExplanations, read_gradcam, read_heat_maps
from hpiclock.runs.run import Run
from hpiclock.tables import PREDICTIONS
from hpiclock.workflows.explain import explain_run, feature_map

METHODS = ["Grad-CAM", "integrated gradients", "saliency"]


# how far answers of the run may lie from those of its maps, which are computed in float32
ANSWERS = {"fp32": 1e-4, "bf16": 5e-3}


@pytest.fixture(scope="module", params=["fp32", "bf16"])
def run(quick_run, request):
    """A finished run of both tasks, trained for one epoch."""
    return quick_run({"model.backbone": "resnet10", "train.precision": request.param})


@pytest.fixture(scope="module")
def found(run):
    return explain_run(run, say=lambda _: None)


def test_training_keeps_maps_of_both_heads_for_frames_from_early_to_late(run):
    kept = read_gradcam(run)
    assert set(kept.maps) == {("class", "Grad-CAM"), ("time", "Grad-CAM")}
    assert set(kept.frames["split"]) == {"test"}
    assert list(kept.frames["condition"].unique()) == ["infected", "mock"]
    for maps in kept.of("Grad-CAM").values():
        assert maps.shape == (len(kept.frames), 8, 8)
        assert np.isfinite(maps).all()


def test_a_frame_has_its_own_map_whatever_the_order_it_is_asked_in(run):
    kept = read_heat_maps(run)
    frames = read_gradcam(run).frames
    forward, backward = kept(frames, "class"), kept(frames.iloc[::-1], "class")
    np.testing.assert_array_equal(forward, backward[::-1])
    assert len(np.unique(forward.reshape(len(forward), -1), axis=0)) == len(frames)
    other = frames.head(2).assign(frame=[frames["frame"].iloc[0], 999])
    np.testing.assert_array_equal(np.isnan(kept(other, "time")).all((1, 2)), [False, True])


def test_notebooks_read_the_maps_without_torch(run):
    program = (
        "import sys\n"
        "from hpiclock.runs.results import read_gradcam\n"
        "from hpiclock.runs.run import Run\n"
        f"assert read_gradcam(Run.open({str(run.folder)!r})).maps\n"
        "assert 'torch' not in sys.modules and 'captum' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_head_and_method_is_checked(found):
    assert set(found.maps) == {(head, method) for head in ("class", "time") for method in METHODS}
    checks = found.checks
    counts = checks.groupby("check").size()
    # two heads; five depths of Grad-CAM and saliency, the deepest of integrated gradients as well
    assert counts.to_dict() == {"weights drawn anew": 22, "deletion": 6, "border": 6, "labels shuffled": 6}
    alike = checks[checks["check"].isin(["weights drawn anew", "labels shuffled"])]
    assert alike["value"].between(-1, 1).all()
    area = checks.loc[checks["check"].eq("border"), "chance"]
    np.testing.assert_allclose(area, border_mask(32).mean())
    assert (checks["n_wells"] == 2).all()
    assert checks["low"].isna().all()  # two wells carry no interval
    table = readable_maps(checks)
    assert table.shape == (6, 5)
    assert not table.isna().any(axis=None)


def test_deletion_begins_with_the_answer_that_the_run_gave(run, found):
    curves, frames = found.deletion, found.frames
    start = curves[curves["removed"].eq(0)].set_index(["head", "method"])["value"]
    called = np.maximum(frames["p_infected"], 1 - frames["p_infected"])
    by_well = called.groupby(frames["well"]).mean().mean()
    assert start["class"].to_numpy() == pytest.approx(by_well, abs=ANSWERS[run.cfg.train.precision])
    assert (start["time"] == 0).all()
    assert curves.groupby(["head", "method"]).size().eq(5).all()
    assert set(curves["method"]) == {*METHODS, "random order"}


def test_the_error_browser_shows_kept_maps_of_the_head_that_erred(run):
    plain = workbook.error_browser(run, heat_maps=lambda rows, _: np.full((len(rows), 8, 8), np.nan))
    explorer = workbook.error_browser(run)
    assert int(explorer.image.height) == int(plain.image.height)
    alt = explorer._repr_mimebundle_()[1]["image/png"]["alt"]
    assert "Below each the map of the time head." in alt
    for reason in ("missed infection", "false alarm"):
        explorer.controls["reason"].value = reason
        if explorer.selection.rank:
            assert "the map of the class head" in explorer._repr_mimebundle_()[1]["image/png"]["alt"]


def test_a_run_without_maps_says_so_and_a_damaged_file_is_named(run, tmp_path):
    empty = Run(tmp_path, run.cfg)
    assert read_heat_maps(empty) is None
    nothing = read_gradcam(empty)
    for figure in (
        figures.attribution_figure(
            nothing.frames, np.empty((0, 8, 8), np.uint8), nothing.maps, method="Grad-CAM"
        ),
        figures.sanity_checks_figure(KeptExplanations().checks, KeptExplanations().deletion),
    ):
        assert "keeps no maps" in figures.alt_text(figure)
    (tmp_path / "explanations").mkdir()
    (tmp_path / "explanations" / "gradcam.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"gradcam.npz: cannot be read .*; remove its folder"):
        read_heat_maps(empty)


def test_the_figures_name_heads_answers_and_checks(found):
    images = np.zeros((len(found.frames), 32, 32), np.uint8)
    figure = figures.attribution_figure(found.frames, images, found.of("saliency"), method="saliency")
    assert "saliency maps of the class and the time head" in figures.alt_text(figure)
    with pytest.raises(InputError, match="give one image and one map"):
        figures.attribution_figure(found.frames, images[1:], found.of("saliency"), method="saliency")
    text = figures.alt_text(figures.sanity_checks_figure(found.checks, found.deletion))
    assert "class head, rank correlation with the maps of a model whose weights are all drawn anew" in text
    assert "time head, change of the predicted time (h) with 50% deleted: random order" in text


def test_the_map_of_features_holds_every_held_out_frame_and_is_read_again(run, monkeypatch):
    places = feature_map(run)
    frames = run.read_table("predictions.parquet", PREDICTIONS)
    assert len(places) == frames["split"].ne("train").sum()
    assert set(places["split"]) == {"val", "test"}
    again = places.sort_values(["stack_id", "frame"]).reset_index(drop=True)

    def remade(*_):
        raise InputError("made anew")

    monkeypatch.setattr("hpiclock.workflows.explain._features", remade)
    later = feature_map(run).sort_values(["stack_id", "frame"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(later, again)
    with pytest.raises(InputError, match="made anew"):
        feature_map(run, method="UMAP")


def test_the_figure_of_features_says_what_the_audit_reads_or_that_there_is_none(run):
    probes = pd.DataFrame({
        "probe": ["stack", "well", "time"], "value": [0.5, np.nan, 3.0], "low": [0.4, np.nan, 2.0],
        "high": [0.6, np.nan, 4.0], "chance": [0.1, np.nan, 9.0],
    })  # fmt: skip
    verdict = pd.DataFrame({"question": ["Infection or well?"], "verdict": ["shown"]})
    reading = feature_reading(verdict, probes)
    assert reading == {
        "Stack named right (share)": "0.50 (0.40 to 0.60), chance 0.10",
        "Hour read from mock frames (mean error, h)": "3.00 (2.00 to 4.00), chance 9.00",
        "Infection or well?": "shown",
    }
    places = feature_map(run)
    figure = figures.feature_map_figure(places, method="PCA", reading=reading)
    assert "Infection or well? shown" in figures.alt_text(figure)
    drawn = " ".join(text.get_text() for text in figure.axes[5].texts)
    assert "chance 0.10" in drawn
    bare = figures.feature_map_figure(places, method="PCA", reading={})
    assert "was not audited" in bare.axes[5].texts[-1].get_text()
    assert "no map" in figures.alt_text(figures.feature_map_figure(places.head(0), method="PCA", reading={}))


def test_what_is_there_is_read_and_what_is_older_than_the_predictions_is_made_anew(run, found, monkeypatch):
    said = []
    again = explain_run(run, say=said.append)
    assert said == []
    pd.testing.assert_frame_equal(again.checks, found.checks)
    np.testing.assert_array_equal(again.maps["time", "saliency"], found.maps["time", "saliency"])

    def remade(*_):
        raise InputError("made anew")

    monkeypatch.setattr("hpiclock.workflows.explain._examine", remade)
    newer = run.path("explanations", "checks.csv").stat().st_mtime + 10
    os.utime(run.path("predictions.parquet"), (newer, newer))
    with pytest.raises(InputError, match="made anew"):
        explain_run(run, say=said.append)
