"""Which device, how many threads, which precision."""

import pytest
import torch
from torch import nn

from hpiclock.config.schema import ModelConfig, TrainConfig
from hpiclock.errors import InputError
from hpiclock.training import device
from hpiclock.training.device import (
    autocast,
    device_facts,
    in_halves_on_memory_error,
    pick_device,
    pick_precision,
    place_model,
)
from hpiclock.training.model import build_model

CPU = torch.device("cpu")
DENSE = nn.Conv2d(4, 4, 3)
DEPTHWISE = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, groups=4))


def test_the_cpu_can_be_asked_for():
    assert pick_device(TrainConfig(device="cpu")) == CPU


def test_auto_takes_what_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for there, kind in ((True, "mps"), (False, "cpu")):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda there=there: there)
        assert pick_device(TrainConfig()).type == kind
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device(TrainConfig()).type == "cuda"


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", "", "cpu:x"])
def test_a_device_that_is_not_there_is_one_line(name):
    with pytest.raises(InputError, match=f"^train.device: {name} is not to be had here; take auto or cpu"):
        pick_device(TrainConfig(device=name))


def small_model():
    return build_model(ModelConfig(backbone="shufflenet_v2_x0_5", hidden_dim=8))


def test_threads_are_set_when_the_config_names_a_number():
    for train in (TrainConfig(device="cpu", threads=2), TrainConfig(device="cpu")):
        place_model(small_model(), train)
        assert torch.get_num_threads() == 2


def test_provenance_tells_device_precision_and_threads():
    model = place_model(small_model(), TrainConfig(device="cpu", threads=1, precision="bf16"))
    assert model.precision == torch.bfloat16
    facts = {"device": "cpu", "precision": "bfloat16", "threads": 1}
    assert device_facts(model) == facts
    assert device_facts(model, processes=2) == facts | {"processes": 2}


@pytest.mark.parametrize(
    ("units", "model", "expected"),
    [
        ({"avx512_bf16": True}, DENSE, torch.bfloat16),
        ({"avx512_bf16": True}, DEPTHWISE, torch.float32),
        ({"avx512_bf16": False, "avx2": True}, DENSE, torch.float32),
        ({"sve_bf16": True}, DENSE, torch.bfloat16),
    ],
)
def test_auto_takes_bfloat16_where_it_pays(monkeypatch, units, model, expected):
    monkeypatch.delenv("HPICLOCK_PRECISION", raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units, raising=False)
    assert pick_precision(TrainConfig(), model, CPU) == expected
    assert pick_precision(TrainConfig(precision="bf16"), model, CPU) == torch.bfloat16
    assert pick_precision(TrainConfig(precision="fp32"), model, CPU) == torch.float32


def test_a_torch_that_cannot_say_takes_float32(monkeypatch):
    monkeypatch.delenv("HPICLOCK_PRECISION", raising=False)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert pick_precision(TrainConfig(), DENSE, CPU) == torch.float32


@pytest.mark.parametrize(("meant", "expected"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_the_environment_says_what_auto_means(monkeypatch, meant, expected):
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"avx512_bf16": meant == "fp32"}, raising=False
    )
    monkeypatch.setenv("HPICLOCK_PRECISION", meant)
    assert pick_precision(TrainConfig(), DENSE, CPU) == expected
    assert pick_precision(TrainConfig(precision="fp32"), DENSE, CPU) == torch.float32
    assert pick_precision(TrainConfig(precision="bf16"), DENSE, CPU) == torch.bfloat16


def test_a_precision_that_is_none_is_one_line(monkeypatch):
    monkeypatch.setenv("HPICLOCK_PRECISION", "fp16")
    with pytest.raises(InputError, match="HPICLOCK_PRECISION=fp16: no such precision; take fp32 or bf16"):
        pick_precision(TrainConfig(), DENSE, CPU)


def test_bfloat16_says_nearly_the_same():
    torch.manual_seed(0)
    layer, images = nn.Conv2d(1, 8, 3), torch.randn(2, 1, 16, 16)
    with torch.inference_mode():
        exact = layer(images)
        with autocast(CPU, torch.bfloat16):
            rough = layer(images)
        with autocast(CPU, torch.float32):
            assert torch.equal(layer(images), exact)
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).abs().max() < 0.05
    assert not torch.equal(rough.float(), exact)


def test_a_device_without_memory_for_a_batch_reads_it_in_parts():
    images, seen = torch.arange(11.0)[:, None], []

    def read(part):
        seen.append(len(part))
        if len(part) > 3:
            raise torch.OutOfMemoryError("no memory")
        return part * 2

    assert torch.equal(in_halves_on_memory_error(read, images), images * 2)
    assert max(seen) == 11
    assert sum(n for n in seen if n <= 3) == 11
    with pytest.raises(torch.OutOfMemoryError):
        in_halves_on_memory_error(lambda part: read(part.new_zeros(4)), images)


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({4: 1.0, 2: 2.0, 1: 4.0}, 4),
        ({4: 8.0, 2: 3.0, 1: 4.0}, 2),  # two busy neighbours
        ({4: 8.0, 2: 9.0, 1: 4.0}, 1),
        ({4: 1.25, 2: 1.0, 1: 1.5}, 4),  # not by much: sums are to round as ever
    ],
)
def test_as_many_threads_compute_as_are_quickest_now(monkeypatch, seconds, chosen):
    now, threads, steps = [0.0], [4], []
    monkeypatch.setattr(device.torch, "set_num_threads", lambda n: threads.append(n))
    monkeypatch.setattr(device.time, "perf_counter", lambda: now[0])

    def step():
        steps.append(threads[-1])
        now[0] += seconds[threads[-1]]

    assert device.quickest_threads(step, 4) == (chosen, seconds)
    assert threads[-1] == chosen
    assert [steps.count(n) for n in (4, 2, 1)] == [4, 4, 4]
