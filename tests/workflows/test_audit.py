"""An audit in a folder: what is read back, also of an older version."""

import pandas as pd

from hpiclock.audit import OUTDATED
from hpiclock.config.load import load_config
from hpiclock.files import write_csv
from hpiclock.report.audit_text import readable_audit, verdict_rows
from hpiclock.runs.run import Run
from hpiclock.workflows import audit as auditing
from hpiclock.workflows.audit import read_audit

VERDICT = pd.DataFrame(
    {
        "question": ["Infection or well?"],
        "kind": ["inference"],
        "verdict": ["shown"],
        "evidence": ["AUC"],
        "remedy": [""],
    }
)
PERMUTATION = {
    "frames": "after the eclipse", "unit": "well", "n_infected": 7, "n_mock": 7, "auc": 0.9, "low": 0.8,
    "high": 0.95, "p": 0.01, "floor": 0.001, "well_floor": 0.001,
}  # fmt: skip


def folder_with(tmp_path, **changes):
    write_csv(VERDICT, tmp_path / "verdict.csv")
    (tmp_path / "audit").mkdir()
    write_csv(pd.DataFrame([PERMUTATION | changes]), tmp_path / "audit" / "permutations.csv")
    return read_audit(tmp_path)


def test_the_count_of_frames_stands_beside_the_permutation(tmp_path):
    table = readable_audit(folder_with(tmp_path, n=252).tables["permutations"], "permutations")
    assert table["frames"].item() == 252
    assert table["AUC within plate and hour (95% interval)"].item() == "0.90 (0.80 to 0.95)"


def test_an_audit_of_an_older_version_is_made_anew_and_not_shown(tmp_path, monkeypatch):
    config = tmp_path / "plate.yaml"
    config.write_text("experiment: plate\nreports_dir: reports\ndata: {source: stacks}\n")
    run = Run.create(load_config(config), "")
    run.path("predictions.parquet").touch()
    run.path(auditing.FOLDER).mkdir()
    for name in auditing.TABLES:
        write_csv(VERDICT, run.path(auditing.FOLDER, f"{name}.csv"))
    for old in (VERDICT.assign(verdict="supported"), VERDICT.drop(columns="kind")):
        write_csv(old, run.path("verdict.csv"))
        assert verdict_rows(run) == ([], "")
        assert run.notes == [f"Confound audit. {OUTDATED}"]
        made = []
        monkeypatch.setattr(auditing, "audit_run", lambda run, *, say, made=made: made.append(run))  # noqa: ARG005
        auditing.open_audit(run)
        assert made == [run]
    write_csv(VERDICT, run.path("verdict.csv"))
    assert auditing.open_audit(run).verdict["verdict"].tolist() == ["shown"]
    assert made == [run]
