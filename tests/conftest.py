"""What all rooms' tests share: one thread per process, and small simulated plates made once per session."""

import os

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before numpy is imported; kernels and subprocesses inherit it
os.environ.setdefault("MPLBACKEND", "agg")

from pathlib import Path  # noqa: E402

import pytest  # noqa: E402

from hpiclock.plate.designs import design  # noqa: E402
from hpiclock.plate.synth import synthesize  # noqa: E402


@pytest.fixture(scope="session")
def tiny_plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plate map of 4 mock and 4 infected wells, one field of 64 px each, 13 frames over 48 h."""
    folder = tmp_path_factory.mktemp("plates") / "tiny"
    return synthesize(folder, design=design("tiny"), seed=0, progress=False, workers=1)


@pytest.fixture(scope="session")
def demo_layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plate map of the demo plate, every well and frame of it, with fields of 32 px."""
    whole = design("demo")
    small = whole.model_copy(update={"microscope": whole.microscope.model_copy(update={"size_px": 32})})
    folder = tmp_path_factory.mktemp("plates") / "demo"
    return synthesize(folder, design=small, seed=0, progress=False, workers=1)
