"""A plug-in for the pytest that runs nbval: cures of three defects of nbval 0.11.0, which is pinned for it.

Loaded with ``-p nbval_patches`` by test_chain.py.
"""

import pytest
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell

OUTPUT_TIMEOUT_S = 120
_FAILED = pytest.StashKey[str]()


def _send(self, cell_input, allow_stdin=None):
    # with nbval's own silent=False, store_history=False a trailing semicolon does not hold back the value
    return self.kc.execute(cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)


def pytest_configure():
    RunningKernel.execute_cell_input = _send


def pytest_collection_modifyitems(items):
    for item in items:
        if isinstance(item, IPyNbCell):
            item.output_timeout = (
                OUTPUT_TIMEOUT_S  # nbval waits 5 s for the first output, whatever it is told
            )


def pytest_runtest_makereport(item, call):
    failed = call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception)
    if failed and isinstance(item, IPyNbCell):
        item.parent.stash.setdefault(_FAILED, item.name)


def pytest_runtest_setup(item):
    first = item.parent.stash.get(_FAILED, None) if isinstance(item, IPyNbCell) else None
    if first:  # nbval goes on, and buries the cause under what follows from it
        pytest.skip(f"an earlier cell failed: {first}")
