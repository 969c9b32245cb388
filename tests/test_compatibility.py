"""What version 0.1.0 wrote opens: configs, sweep files, finished runs, their checkpoint and read-outs."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from hpiclock import tables
from hpiclock.audit import OUTDATED
from hpiclock.config.load import dump_config, load_config
from hpiclock.config.sweep import load_sweep
from hpiclock.report.audit_text import verdict_rows
from hpiclock.report.index import write_index
from hpiclock.runs.results import read_gradcam, read_study_tables
from hpiclock.runs.run import Run
from hpiclock.workflows.compare import compare_runs, find_runs
from hpiclock.workflows.export import export
from hpiclock.workflows.predict import predict, read_readout
from hpiclock.workflows.study import study_tables
from hpiclock.workflows.train import train

KEPT = Path(__file__).parent / "data" / "runs_of_0.1.0.tar.xz"  # data/README.md says how it was made


@pytest.fixture
def old(tmp_path):
    """The folder that 0.1.0 left, elsewhere than it was made."""
    with tarfile.open(KEPT) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.fixture
def run(old):
    return Run.open(old / "reports" / "kept" / "seed0")


# within plate and hour on frames that have a counterpart; a clock fitted hour by hour
DEFINED_ANEW = ["auc_stratified", "auc_gap", "mae_of_clock", "gain_over_clock", "skill_over_clock"]


def quiet(_: str) -> None:
    return


def differing(read: object, kept: object, at: str = "") -> list[str]:
    """The keys of ``kept`` that ``read`` lacks or says otherwise; keys that came later are no difference."""
    if isinstance(kept, dict) and isinstance(read, dict):
        return [line for key in kept for line in differing(read.get(key), kept[key], f"{at}.{key}")]
    return [] if read == kept else [f"{at}: was {kept!r}, now {read!r}"]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_every_config_and_sweep_file_is_read_as_before(old):
    kept = json.loads((old / "read_by_0.1.0.json").read_text())
    assert len(kept) == 16
    for name, values in kept.items():
        if "/sweeps/" in name:
            trials = load_sweep(old / name).trials
            assert json.loads(json.dumps([tuple(trial) for trial in trials])) == values, name
        else:
            read = yaml.safe_load(dump_config(load_config(old / name), old / "configs"))
            assert differing(read, values) == [], name


def test_a_key_that_went_would_be_seen(old):
    name = "configs/demo.yaml"
    kept = json.loads((old / "read_by_0.1.0.json").read_text())[name]
    kept["train"]["epochs"], kept["train"]["gone"] = 11, 1
    read = yaml.safe_load(dump_config(load_config(old / name), old / "configs"))
    assert differing(read, kept) == [".train.epochs: was 11, now 10", ".train.gone: was 1, now None"]


def test_a_finished_run_is_done_and_stays_as_it_is(run, old):
    assert (run.name, run.state) == ("kept/seed0", "done")
    assert Path(run.cfg.data.source) == old / "plate"
    assert run.cfg.windows.width_h == 12
    assert run.read_json("provenance.json")["hpiclock"] == "0.1.0"
    before = contents(run.folder)
    lines: list[str] = []
    train(run.cfg, run.folder, say=lines.append)  # the plate itself is not there any more
    assert lines[0].startswith("note: the plate of kept/seed0 was not compared")
    assert lines[1:] == ["kept/seed0 is done; its results are kept"]
    assert contents(run.folder) == before


def test_its_tables_maps_and_verdict_are_read(run):
    for name, table in (
        ("manifest.csv", tables.MANIFEST),
        ("frames.parquet", tables.FRAMES),
        ("history.csv", tables.HISTORY),
        ("predictions.parquet", tables.PREDICTIONS),
        ("metrics.csv", tables.METRICS),
    ):
        assert len(run.read_table(name, table)) > 0
    assert any(note.startswith("One plate") for note in run.notes)
    # its answers meant something else: they are not shown under today's words
    assert any(OUTDATED in note for note in run.notes)
    assert verdict_rows(run) == ([], "")
    assert set(read_gradcam(run).maps) == {("class", "Grad-CAM"), ("time", "Grad-CAM")}


def test_its_study_has_the_same_tables_and_the_same_values_over_all_frames(run):
    kept = read_study_tables(run.folder)
    made = study_tables(run.read_table("predictions.parquet", tables.PREDICTIONS), run.cfg)
    assert set(made) >= set(kept)
    for name, table in kept.items():
        assert set(made[name].columns) >= set(table.columns), name
    keys = ["split", "metric"]
    old, new = (t["metrics"].query("group == 'all'").set_index(keys).sort_index() for t in (kept, made))
    same = old.index[~old.index.get_level_values("metric").isin(DEFINED_ANEW)]
    for column in ("value", "n", "n_stacks", "n_wells"):
        np.testing.assert_allclose(
            new.loc[same, column].astype(float), old.loc[same, column].astype(float), rtol=1e-9
        )
    assert new["low"].isna().all()  # two wells a class: 0.1.0 took their positions for wells


def test_it_stands_in_the_index_and_is_compared_with_another(old):
    page = write_index(old / "reports").read_text()
    assert "kept/seed0" in page
    assert "kept/slower" in page
    assert "cannot be read" not in page.lower()
    found = compare_runs(find_runs([old / "reports" / "kept"]))
    assert len(found.tables["comparison"]) > 0


def test_its_model_predicts_what_it_predicted(run, old):
    kept = read_readout(old / "reports" / "kept" / "readout_of_new_plate.csv")
    made = predict([run], old / "new_plate", old / "again.csv", changes={}, say=quiet)
    assert made.thresholds == kept.thresholds
    both = made.rows.merge(kept.rows, on=["stack_id", "frame"], validate="1:1", suffixes=("", "_kept"))
    assert len(both) == len(kept.rows) == 26
    assert both["p_infected"].std() > 0.05
    np.testing.assert_allclose(both["p_infected"], both["p_infected_kept"], atol=1e-5)
    np.testing.assert_allclose(both["time_pred"], both["time_pred_kept"], atol=1e-3)


def test_its_model_is_exported(run, old):
    pytest.importorskip("onnx")
    lines: list[str] = []
    folder = export(run, old / "model", say=lines.append)
    assert {path.name for path in folder.iterdir()} >= {"model.onnx", "model.safetensors", "MODEL_CARD.md"}
    assert any("model.onnx" in line and "the same as the run" in line for line in lines)
