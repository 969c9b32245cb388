"""What the long steps say stands in the log of the run, and nothing stands in a run that is only read."""

import pandas as pd
import pytest

from hpiclock.config.load import load_config
from hpiclock.runs.run import LOG, Run
from hpiclock.workflows import audit as auditing


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run whose audit takes no time."""

    def examine(run, *, say):  # noqa: ARG001
        say("controls")
        return auditing.Audit(pd.DataFrame({"question": ["Infection or well?"], "verdict": ["shown"]}))

    monkeypatch.setattr(auditing, "compute_audit", examine)
    config = tmp_path / "plate.yaml"
    config.write_text("experiment: plate\nreports_dir: reports\ndata: {source: stacks}\n")
    return Run.create(load_config(config), "")


def test_the_steps_of_an_audit_are_said_and_logged(run):
    said = []
    auditing.audit_run(run, say=said.append)
    assert said == ["controls"]
    lines = run.path(LOG).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1
    assert lines[0].endswith("INFO audit: controls")


def test_an_audit_that_is_written_elsewhere_leaves_the_run_alone(run, tmp_path):
    before = sorted(path.name for path in run.folder.iterdir())
    auditing.audit_run(run, tmp_path / "elsewhere", say=str)
    assert (tmp_path / "elsewhere" / "verdict.csv").is_file()
    assert sorted(path.name for path in run.folder.iterdir()) == before
