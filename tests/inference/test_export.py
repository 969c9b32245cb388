"""A model as ONNX and as safetensors says what the model says."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hpiclock.config.schema import ModelConfig
from hpiclock.errors import InputError
from hpiclock.inference.export import model_outputs, read_safetensors, run_onnx, write_onnx, write_safetensors
from hpiclock.training.model import build_model


def made(**changes: object):
    torch.manual_seed(0)
    values: dict[str, object] = {"backbone": "resnet10", "hidden_dim": 8} | changes
    cfg = ModelConfig.model_validate(values)
    model = build_model(cfg)
    model.time_mean_h.fill_(20.0)
    model.time_sd_h.fill_(7.0)
    return cfg, model.eval()


@pytest.fixture
def grey() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 1, 32, 32)).astype(np.uint8)


def test_answers_are_those_of_the_model_on_normalised_frames(grey) -> None:
    _, model = made()
    with torch.inference_mode():
        output = model((torch.from_numpy(grey).float() / 255 - 0.5) / 0.25)
    said = model_outputs(model, grey)
    np.testing.assert_allclose(said["p_infected"], output.class_logits.softmax(1)[:, 1], rtol=1e-5)
    np.testing.assert_allclose(said["hours"], output.time * 7 + 20, rtol=1e-5)


def test_onnx_agrees_for_any_number_of_frames(tmp_path, grey) -> None:
    _, model = made(time_sees_class=True, subtract_mean=True, average_turns=True)
    write_onnx(model, 32, tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    for frames in (grey[:1], grey):
        said, expected = run_onnx(tmp_path / "model.onnx", frames), model_outputs(model, frames)
        assert said.keys() == expected.keys() == {"p_infected", "hours"}
        for name in expected:
            np.testing.assert_allclose(said[name], expected[name], atol=1e-4)


def test_safetensors_and_config_rebuild_the_model(tmp_path, grey) -> None:
    cfg, model = made(tasks=("class",), in_channels=3)
    write_safetensors(model, {"model": cfg.model_dump(mode="json")}, tmp_path)
    again = model_outputs(read_safetensors(tmp_path), grey)
    assert again.keys() == {"p_infected"}  # no head for time
    np.testing.assert_array_equal(again["p_infected"], model_outputs(model, grey)["p_infected"])
    other = cfg.model_dump(mode="json") | {"hidden_dim": 9}
    (tmp_path / "model.json").write_text(json.dumps({"model": other}))
    with pytest.raises(InputError, match="cannot be read together"):
        read_safetensors(tmp_path)


def test_a_disk_that_is_full_names_the_weights(tmp_path, monkeypatch) -> None:
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    _, model = made(tasks=("class",), in_channels=3)
    with pytest.raises(OSError, match="No space left") as error:
        write_safetensors(model, {}, tmp_path)
    assert error.value.filename == str(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("training", [True, False])
def test_the_callers_model_stays_as_and_where_it_is(tmp_path, grey, monkeypatch, training) -> None:
    cfg, model = made()
    model.train(training)
    before = {name: (value.data_ptr(), value.clone()) for name, value in model.state_dict().items()}
    moved, apply = [], torch.nn.Module._apply

    def note(self: torch.nn.Module, *args: object, **options: object) -> torch.nn.Module:
        moved.append(self)  # .cpu(), .to() and .float() all come through here
        return apply(self, *args, **options)

    monkeypatch.setattr(torch.nn.Module, "_apply", note)
    model_outputs(model, grey)
    write_onnx(model, 32, tmp_path / "model.onnx")
    write_safetensors(model, {"model": cfg.model_dump(mode="json")}, tmp_path)
    assert not any(part is mine for part in moved for mine in model.modules())
    assert all(part.training is training for part in model.modules())
    for name, value in model.state_dict().items():
        assert value.data_ptr() == before[name][0]
        torch.testing.assert_close(value, before[name][1], rtol=0, atol=0)


QUIET = """
import os, pathlib, sys
sys.addaudithook(lambda event, _: event.startswith("socket.") and os._exit(9))
import numpy as np
from hpiclock.inference.export import run_onnx
print(sorted(run_onnx(pathlib.Path(sys.argv[1]), np.zeros((1, 1, 32, 32), np.uint8))))
links = [os.readlink(link.path) for link in os.scandir("/proc/self/fd") if os.path.lexists(link.path)]
assert not [link for link in links if link.startswith("socket:")], links
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open sockets are listed on Linux only")
def test_onnxruntime_asks_nobody_and_leaves_nothing_in_the_home_folder(tmp_path) -> None:
    write_onnx(made()[1], 32, tmp_path / "model.onnx")
    home = tmp_path / "home"
    home.mkdir()
    env = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    env = {key: value for key, value in env.items() if not key.startswith("XDG_")} | {"HOME": str(home)}
    command = [sys.executable, "-c", QUIET, str(tmp_path / "model.onnx")]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "['hours', 'p_infected']\n"), done.stderr
    assert not list(home.rglob("*"))
