"""Checkpoints come back as they were, in the same bytes, or with one clear line."""

import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hpiclock.errors import InputError
from hpiclock.training.checkpoint import Checkpoints, read_checkpoint, write_checkpoint

CPU = torch.device("cpu")


def trained(n=3):
    torch.manual_seed(0)
    layer = nn.Linear(n, 2)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=0.1)
    layer(torch.ones(1, n)).sum().backward()
    optimiser.step()
    return {"model": layer, "optimiser": optimiser}


def states(parts):
    return {name: part.state_dict() for name, part in parts.items()}


def test_everything_comes_back(tmp_path):
    parts = trained()
    extra = {
        "epoch": 3,
        "history": [{"metric": "auc", "value": float("nan")}, {"metric": "mae", "value": 0.1}],
    }
    write_checkpoint(tmp_path / "new" / "last.pt", states(parts), extra)
    fresh = nn.Linear(3, 2)
    other = {"model": fresh, "optimiser": torch.optim.AdamW(fresh.parameters(), lr=1.0)}
    read = read_checkpoint(tmp_path / "new" / "last.pt", other, CPU)
    assert str(read) == str(extra)  # NaN is not equal to itself
    assert torch.equal(fresh.weight, parts["model"].weight)
    assert other["optimiser"].param_groups[0]["lr"] == 0.1
    state = other["optimiser"].state_dict()["state"][0]
    assert torch.equal(state["exp_avg"], parts["optimiser"].state_dict()["state"][0]["exp_avg"])


def test_what_was_read_is_written_again_in_the_same_bytes(tmp_path):
    parts, extra = trained(), {"epoch": 1, "history": [{"split": "train"}]}
    write_checkpoint(tmp_path / "a.pt", states(parts), extra)
    fresh = nn.Linear(3, 2)
    other = {"model": fresh, "optimiser": torch.optim.AdamW(fresh.parameters())}
    read = read_checkpoint(tmp_path / "a.pt", other, CPU)
    write_checkpoint(tmp_path / "another_name.pt", states(other), read)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "another_name.pt").read_bytes()


def test_another_model_is_refused(tmp_path):
    write_checkpoint(tmp_path / "best.pt", states({"model": nn.Linear(3, 2)}), {})
    with pytest.raises(InputError, match=r"best\.pt: does not fit the model of this config") as error:
        read_checkpoint(tmp_path / "best.pt", {"model": nn.Linear(4, 2)}, CPU)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="does not fit"):
        read_checkpoint(tmp_path / "best.pt", {"objective": nn.Linear(3, 2)}, CPU)


@pytest.mark.parametrize("keep", [0, 10, 500])
def test_a_damaged_file_is_one_line(tmp_path, keep):
    write_checkpoint(tmp_path / "last.pt", states(trained()), {})
    (tmp_path / "last.pt").write_bytes((tmp_path / "last.pt").read_bytes()[:keep])
    with pytest.raises(InputError, match=r"last\.pt: cannot be read as a checkpoint .* train anew") as error:
        read_checkpoint(tmp_path / "last.pt", {}, CPU)
    assert "\n" not in str(error.value)


def test_a_changed_byte_of_a_weight_is_seen(tmp_path):
    parts = trained()
    write_checkpoint(tmp_path / "best.pt", states(parts), {})
    content = (tmp_path / "best.pt").read_bytes()
    weight = parts["model"].weight.detach().numpy().tobytes()
    at = content.index(weight) + 5
    (tmp_path / "best.pt").write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    with pytest.raises(InputError, match=r"best\.pt: .* was changed since it was written"):
        read_checkpoint(tmp_path / "best.pt", parts, CPU)


def test_changed_bytes_anywhere_are_bad_input_or_harmless(tmp_path):
    parts, rng = trained(), np.random.default_rng(0)
    write_checkpoint(tmp_path / "best.pt", states(parts), {"epoch": 3})
    content, weight = (tmp_path / "best.pt").read_bytes(), parts["model"].weight.detach().clone()
    for _ in range(200):
        changed = bytearray(content)
        at = int(rng.integers(len(content)))
        changed[at : at + 4] = rng.bytes(4)
        (tmp_path / "best.pt").write_bytes(changed)
        read = trained()
        with suppress(InputError):
            assert read_checkpoint(tmp_path / "best.pt", read, CPU) == {"epoch": 3}
        assert torch.equal(read["model"].weight, weight)  # as before, or as in the whole file


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path, value):
    parts = trained()
    with torch.no_grad():
        parts["model"].weight[0, 0] = value
    write_checkpoint(tmp_path / "best.pt", states(parts), {})
    with pytest.raises(InputError, match=r"best\.pt: holds weights that are no numbers"):
        read_checkpoint(tmp_path / "best.pt", {"model": nn.Linear(3, 2)}, CPU)


def test_a_disk_that_is_full_names_the_checkpoint_and_keeps_the_old_one(tmp_path, monkeypatch):
    write_checkpoint(tmp_path / "best.pt", states(trained()), {"epoch": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left") as error:
        write_checkpoint(tmp_path / "best.pt", states(trained()), {"epoch": 2})
    assert error.value.filename == str(tmp_path / "best.pt")
    assert read_checkpoint(tmp_path / "best.pt", {}, CPU) == {"epoch": 1}
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("kind", "words"), [("fifo", "is a FIFO"), ("folder", "is a folder")])
def test_what_is_no_file_is_said_not_to_be_one(special_file, kind, words):
    with pytest.raises(InputError, match=rf"file: {words}, not a checkpoint; train the run first"):
        read_checkpoint(special_file(kind), {}, CPU)


def test_no_checkpoint_names_the_command(tmp_path):
    with pytest.raises(InputError, match="hpiclock train CONFIG"):
        read_checkpoint(tmp_path / "last.pt", {}, CPU)


def test_checkpoints_are_written_when_it_is_time_and_at_the_end(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    parts, model = trained(), nn.Linear(3, 2)
    checkpoints = Checkpoints(tmp_path, parts, every_s=30)
    best = parts["model"].weight.clone()
    checkpoints.best({"epoch": 1})
    now[0] = 129.9
    checkpoints.last({"epoch": 1})
    assert not list(tmp_path.iterdir())
    nn.init.zeros_(parts["model"].weight)  # the next epoch's weights are not the best
    now[0] = 130.0
    checkpoints.last({"epoch": 2})
    assert read_checkpoint(tmp_path / "best.pt", {"model": model}, CPU) == {"epoch": 1}
    assert torch.equal(model.weight, best)
    assert read_checkpoint(tmp_path / "last.pt", {"model": model}, CPU) == {"epoch": 2}
    assert (model.weight == 0).all()

    now[0] = 159.9  # 30 s count from the last writing
    checkpoints.last({"epoch": 3})
    assert read_checkpoint(tmp_path / "last.pt", {}, CPU) == {"epoch": 2}
    checkpoints.flush()
    assert read_checkpoint(tmp_path / "last.pt", {}, CPU) == {"epoch": 3}
    before = (tmp_path / "best.pt").stat().st_mtime_ns, (tmp_path / "last.pt").stat().st_mtime_ns
    checkpoints.flush()  # nothing new
    assert before == ((tmp_path / "best.pt").stat().st_mtime_ns, (tmp_path / "last.pt").stat().st_mtime_ns)
