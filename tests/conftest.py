"""What all rooms' tests share: one thread per process, and small simulated plates made once per session."""

import os

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before numpy is imported; kernels and subprocesses inherit it
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("HPICLOCK_PROGRESS", "off")

from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import pytest  # noqa: E402

from hpiclock import tables  # noqa: E402
from hpiclock.config.load import config_of, dump_config  # noqa: E402
from hpiclock.runs.run import Run  # noqa: E402
from hpiclock.simulate.design import design  # noqa: E402
from hpiclock.simulate.write import synthesize  # noqa: E402

Settings = dict[str, object]
QUICK: Settings = {
    "image.size": 32,
    "model.backbone": "shufflenet_v2_x0_5",
    "model.hidden_dim": 8,
    "split.train": 0.5,
    "split.val": 0.25,
    "split.test": 0.25,
    "train.epochs": 1,
    "train.batch_size": 16,
    "train.threads": 1,
    "train.device": "cpu",
    "study.resamples": 100,
}


@pytest.fixture
def special_file(tmp_path: Path) -> Callable[..., Path]:
    """Make what is no plain file: a fifo, a folder, a link to itself (loop), a device, a long name."""

    def make(kind: str, name: str = "file") -> Path:
        path = tmp_path / name
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "loop":
            path.symlink_to(path)
        elif kind in ("device", "long"):
            path = Path("/dev/zero") if kind == "device" else tmp_path / ("x" * 300)
        else:
            raise ValueError(kind)
        return path

    return make


@pytest.fixture(scope="session")
def tiny_plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plate map of 4 mock and 4 infected wells, one field of 64 px each, 13 frames over 48 h."""
    folder = tmp_path_factory.mktemp("plates") / "tiny"
    return synthesize(folder, design=design("tiny"), seed=0, workers=1)


@pytest.fixture(scope="session")
def demo_settings(tiny_plate: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """What makes ``configs/demo.yaml`` a run of seconds, its files in a folder of their own."""
    folder = tmp_path_factory.mktemp("demo_run")
    return {
        "data.source": str(tiny_plate),
        "data.cache_dir": str(folder / "cache"),
        "reports_dir": str(folder / "reports"),
        "image.size": 32,
        "train.epochs": 1,
        "study.resamples": 100,
    }


@pytest.fixture(scope="session")
def quick_settings(tiny_plate: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Settings]:
    """Make the settings of a training of seconds, its cache and reports in a folder of its own.

    Arguments: config keys to change; ``folder`` to put the files into another one.
    """

    def make(changes: Settings | None = None, *, folder: Path | None = None) -> Settings:
        folder = folder or tmp_path_factory.mktemp("quick")
        files = {"data.cache_dir": str(folder / "cache"), "reports_dir": str(folder / "reports")}
        return {"data.source": str(tiny_plate)} | files | QUICK | (changes or {})

    return make


@pytest.fixture(scope="session")
def quick_config(quick_settings: Callable[..., Settings]) -> Callable[..., Path]:
    """Write :func:`quick_settings` as a config file into a folder and return its path."""

    def make(changes: Settings | None = None, *, folder: Path) -> Path:
        path = folder / "config.yaml"
        path.write_text(
            dump_config(config_of(quick_settings(changes, folder=folder)), folder), encoding="utf-8"
        )
        return path

    return make


@pytest.fixture(scope="session")
def quick_run(quick_settings: Callable[..., Settings]) -> Callable[..., Run]:
    """Train with :func:`quick_settings` and return the finished run."""

    def make(changes: Settings | None = None, *, folder: Path | None = None) -> Run:
        from hpiclock.workflows.train import train

        return train(config_of(quick_settings(changes, folder=folder)), None, say=lambda _: None)

    return make


@pytest.fixture(scope="session")
def demo_layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plate map of the demo plate, every well and frame of it, with fields of 32 px."""
    whole = design("demo")
    small = whole.model_copy(update={"microscope": whole.microscope.model_copy(update={"size_px": 32})})
    folder = tmp_path_factory.mktemp("plates") / "demo"
    return synthesize(folder, design=small, seed=0, workers=1)


@pytest.fixture
def scored_plate() -> pd.DataFrame:
    """Predictions of a mock well, a well of MOI 1 and one of MOI 5 (onset 3 h), two positions each."""
    rows = []
    for well, moi in (("A01", np.nan), ("A02", 1.0), ("B10", 5.0)):
        for position in ("1", "2"):
            for frame, hours in enumerate([0.0, 3.0, 6.0, 9.0]):
                infected = moi > 0
                rows.append(
                    {
                        "stack_id": f"{well}p{position}",
                        "path": "",
                        "plate": "P",
                        "well": well,
                        "position": position,
                        "condition": "infected" if infected else "mock",
                        "moi": moi,
                        "onset_h": 3.0 if infected else np.nan,
                        "frame": frame,
                        "hours": hours,
                        "hpi": hours - 3.0 if infected else np.nan,
                        "label": pd.NA if infected and hours < 3 else int(infected),
                        "clock": "infection" if infected else "experiment",
                        "time_target": hours - 3.0 if infected else hours,
                        "split": "test",
                        "fold": 0,
                        "run": "r",
                        "seed": 0,
                        "p_infected": 0.1 * frame,
                        "time_pred": hours + 1.0,
                    }
                )
    return tables.check(tables.PREDICTIONS, pd.DataFrame(rows))


@pytest.fixture
def made_windows() -> Callable[..., pd.DataFrame]:
    """The function that makes METRICS rows of windows from their values."""
    return _windows


def _windows(values: list[float], *, group: str = "all", metric: str = "auc", note: str = "") -> pd.DataFrame:
    """One METRICS row per window of 6 h every 3 h, in which infected frames are one third."""
    n = len(values)
    return tables.check(
        tables.METRICS,
        pd.DataFrame(
            {
                "run": "r",
                "split": "test",
                "group": group,
                "start_h": 3.0 * np.arange(n),
                "end_h": 3.0 * np.arange(n) + 6,
                "metric": metric,
                "value": values,
                "low": np.array(values) - 0.1,
                "high": np.array(values) + 0.1,
                "n": 30,
                "n_stacks": 6,
                "n_wells": 3,
                "n_infected": 10,
                "note": [note if np.isnan(v) else "" for v in values],
            }
        ),
    )
