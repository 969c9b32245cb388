"""What several tests of workflows share."""

import multiprocessing
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def run_script() -> Callable[..., int]:
    """Run a script of this folder in a process of its own, which it may kill; returns its exit code.

    Arguments: the script's name; names that it finds in its globals.
    """
    context = multiprocessing.get_context("forkserver")  # imports torch once for all processes
    context.set_forkserver_preload(
        ["hpiclock.workflows.train", "hpiclock.workflows.predict", "torch._dynamo"]
    )

    def run(script: str, **names: Any) -> int:
        path = Path(__file__).with_name(script)
        process = context.Process(target=runpy.run_path, args=(str(path), names))
        process.start()
        process.join()
        assert process.exitcode is not None
        return process.exitcode

    return run
