"""Several processes train one model as one process does."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from hpiclock.training.distributed import ProcessGroup

# of losses after two epochs, by precision; Adam magnifies what sums over shares round otherwise
TOLERANCE = {"fp32": 0.01, "bf16": 0.02}
HOURS = {"fp32": 0.05, "bf16": 0.2}
LR = 1e-4
WEIGHTS = {"fp32": 5 * LR, "bf16": 0.05}


@pytest.fixture(scope="module", params=["fp32", "bf16"])
def trained(tmp_path_factory, quick_config, request):
    """A run of one process and a run of two, from the same config, and its precision; batches of odd size."""
    folder = tmp_path_factory.mktemp("world")
    changes = {
        "model.backbone": "resnet10", "model.dropout": 0.0, "train.batch_size": 9, "train.epochs": 2,
        "train.lr": LR, "train.best": "loss", "train.precision": request.param,
        "windows.width_h": 24, "windows.stride_h": 24,
    }  # fmt: skip
    config = str(quick_config(changes, folder=folder))
    words = ["hpiclock", "train", config, "--run-dir"]
    alone = subprocess.run([sys.executable, "-m", *words, str(folder / "one")], capture_output=True,
                           text=True, check=False, timeout=300)  # fmt: skip
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    both = subprocess.run([*torchrun, *words, str(folder / "two")], capture_output=True, text=True,
                          check=False, timeout=300)  # fmt: skip
    return folder, alone, both, request.param


def tables(folder, name, read=pd.read_csv):
    return [read(folder / run / name) for run in ("one", "two")]


def test_two_processes_end_well_and_one_of_them_speaks(trained):
    _, alone, both, _ = trained
    assert (alone.returncode, both.returncode) == (0, 0), both.stderr[-3000:]
    assert both.stdout.count("Epoch   1/2") == 1
    assert "2 processes, each on 1 CPU thread" in both.stdout
    assert both.stdout.count("all files of this run") == 1


def test_the_split_is_the_same_and_losses_and_scores_agree(trained):
    folder, *_, precision = trained
    one, two = (json.loads((folder / run / "split.json").read_text()) for run in ("one", "two"))
    assert one == two
    one, two = tables(folder, "history.csv")
    assert one[["epoch", "split", "metric"]].equals(two[["epoch", "split", "metric"]])
    losses = one["metric"].isin(["loss", "class_loss", "time_loss", "mae"])
    np.testing.assert_allclose(one.loc[losses, "value"], two.loc[losses, "value"], rtol=TOLERANCE[precision])


def test_weights_agree(trained):
    folder, *_, precision = trained
    one, two = (torch.load(folder / run / "checkpoints" / "last.pt", weights_only=True)["model"] for run in
                ("one", "two"))  # fmt: skip
    assert one.keys() == two.keys()
    for name, weights in one.items():
        torch.testing.assert_close(weights, two[name], rtol=TOLERANCE[precision], atol=WEIGHTS[precision])


def test_every_frame_is_answered_once_and_alike(trained):
    folder, *_, precision = trained
    one, two = tables(folder, "predictions.parquet", pd.read_parquet)
    keys = ["stack_id", "frame"]
    assert not two.duplicated(keys).any()
    assert one[keys].equals(two[keys])
    np.testing.assert_allclose(one["p_infected"], two["p_infected"], atol=TOLERANCE[precision])
    np.testing.assert_allclose(one["time_pred"], two["time_pred"], atol=HOURS[precision])


def test_bad_input_is_one_line_from_several_processes_too(trained):
    folder, *_ = trained
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    said = subprocess.run([*command, "hpiclock", "train", str(folder / "no.yaml")], capture_output=True,
                          text=True, check=False, timeout=300)  # fmt: skip
    assert said.returncode != 0
    assert sum(line.startswith("hpiclock:") for line in said.stderr.splitlines()) == 1


@pytest.mark.parametrize(("n", "size"), [(7, 2), (5, 5), (10, 3), (2, 4)])
def test_shares_are_all_rows_once_and_even(n, size):
    parts = [list(range(n))[ProcessGroup(rank, size, rank).share(n)] for rank in range(size)]
    assert [row for part in parts for row in part] == list(range(n))
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_batchnorm_over_one_process_is_batchnorm(tmp_path, dtype):
    rtol = {"float32": 1e-4, "bfloat16": 0.05}[dtype]
    code = f"""
import torch
from torch import distributed as dist, nn
from hpiclock.training.distributed import SynchronizedBatchNorm
dist.init_process_group("gloo", init_method="file://{tmp_path}/meet", rank=0, world_size=1)
torch.manual_seed(0)
layer = nn.BatchNorm2d(3)
nn.init.normal_(layer.weight); nn.init.normal_(layer.bias)
mine = SynchronizedBatchNorm.of(layer)
x = torch.randn(4, 3, 5, 5) * 2 + 1
for net in (layer, mine):
    y = x.to(torch.{dtype}).requires_grad_()
    assert net(y).dtype == y.dtype
    (net(y) ** 3).sum().backward()
    net.seen = [y.grad, net.weight.grad, net.bias.grad, net.running_mean, net.running_var, net.eval()(y)]
for one, two in zip(layer.seen, mine.seen):
    torch.testing.assert_close(one, two, rtol={rtol}, atol={rtol})
dist.destroy_process_group()
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
