"""Running, predicting and exporting write nothing outside the named folders and ask nothing of anyone."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

# runs at the start of every Python process, kernels included, and logs what it writes and whom it asks
WATCH = """
import os, sys
log = os.open(os.environ["WATCH_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def watch(event, args):
    writes = event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes and isinstance(args[0], (str, bytes)):
        os.write(log, f"write {os.path.abspath(os.fsdecode(args[0]))}\\n".encode())
    elif event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        os.write(log, f"{event} {args[1:]}\\n".encode())
sys.addaudithook(watch)
"""


def test_run_predict_and_export_write_in_their_folders_and_open_no_socket(
    tmp_path: Path, tiny_plate: Path, quick_config: Callable[..., Path]
) -> None:
    for name in ("home", "site", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(WATCH)
    config, run = quick_config(folder=tmp_path / "work"), tmp_path / "work" / "run"
    kept = {key: text for key, text in os.environ.items() if not key.startswith(("XDG_", "MPLCONFIG", "IPY"))}
    paths = [str(tmp_path / "site"), *sys.path]
    kept |= {"HOME": str(tmp_path / "home"), "WATCH_LOG": str(tmp_path / "log")}
    kept |= {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONDONTWRITEBYTECODE": "1"}
    for command in (
        ["run", config, "--notebooks", "02", "--run-dir", run],
        ["predict", run, tiny_plate, "-o", tmp_path / "work" / "p.parquet"],
        ["export", run, "-o", tmp_path / "work" / "onnx"],
    ):
        ended = subprocess.run(
            [sys.executable, "-m", "hpiclock", *map(str, command)],
            env=kept,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
    assert list((tmp_path / "home").rglob("*")) == []
    said = (tmp_path / "log").read_text().splitlines()
    assert [line for line in said if not line.startswith("write ")] == []
    temporary = os.path.realpath(tempfile.gettempdir())
    places = (str(tmp_path), temporary, "/dev/null")
    compiled = "__pycache__"  # numba's, beside the code
    written = [line.removeprefix("write ") for line in said]
    assert [path for path in written if not path.startswith(places) and compiled not in path] == []
