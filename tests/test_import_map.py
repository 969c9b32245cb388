"""The rooms and who may use whom: imports go down only, and torch stays in two rooms."""

import ast
import subprocess
import sys
from pathlib import Path

import hpiclock

PACKAGE = Path(hpiclock.__file__).parent
# From the bottom up; "" are the files at the top: errors, files, format, progress, tables, targets, metrics.
# A room may import itself and every room before it, less what its wall keeps out.
ORDER = [
    "",
    "config",
    "plate",
    "simulate",
    "training",
    "inference",
    "analysis",
    "audit",
    "figures",
    "runs",
    "report",
    "workflows",
]
IMAGES_AND_MODELS = {"plate", "simulate", "training", "inference"}
WALLS = {
    "analysis": IMAGES_AND_MODELS,  # a colleague with a predictions file and a laptop can redo every number
    "audit": IMAGES_AND_MODELS,
    "figures": IMAGES_AND_MODELS,  # a table goes in, axes come out
    "simulate": {"training", "inference"},
}
MAY = {room: set(ORDER[: number + 1]) - WALLS.get(room, set()) for number, room in enumerate(ORDER)}
MAY[""] |= {"config"}  # targets.py reads its section
TOP_OF_ALL = {"cli.py", "__main__.py", "workbook.py"}
TORCH_ROOMS = {"training", "inference"}
TORCH = {"torch", "torchvision", "safetensors", "captum"}
# What needs torch as soon as it is imported, outside the two rooms: it trains.
TRAINS = {"hpiclock.workflows.train"}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def room(path):
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def dotted(path):
    return ".".join(["hpiclock", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


def imports(path):
    """Yield every module that a file imports anywhere in it, functions included."""
    package = dotted(path) if path.name == "__init__.py" else dotted(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def room_of_module(name):
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in MAY else ""


def test_every_room_is_on_the_map():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == MAY.keys() - {""}


def test_imports_go_down_only():
    wrong = [
        f"{dotted(path)} imports {name}"
        for path in modules()
        if path.name not in TOP_OF_ALL
        for name in imports(path)
        if name.split(".")[0] == "hpiclock" and room_of_module(name) not in MAY[room(path)]
    ]
    assert wrong == []


def test_torch_lives_in_two_rooms_only():
    wrong = [
        f"{dotted(path)} imports {name}"
        for path in modules()
        if room(path) not in TORCH_ROOMS
        for name in imports(path)
        if name.split(".")[0] in TORCH
    ]
    assert wrong == []


def test_nothing_but_training_loads_torch():
    paths = [path for path in modules() if room(path) not in TORCH_ROOMS and path.name != "__main__.py"]
    light = [name for name in map(dotted, paths) if name not in TRAINS]
    program = (
        "import importlib, sys\n"
        f"for name in {light}:\n"
        "    importlib.import_module(name)\n"
        "    if 'torch' in sys.modules: sys.exit(f'{name} loads torch')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_map_would_see_a_wrong_import(tmp_path, monkeypatch):
    source = (
        "def f():\n    from hpiclock.training import model\n    import torch.nn\nfrom ..plate import cache\n"
    )
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "bad.py").write_text(source)
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    found = set(imports(tmp_path / "analysis" / "bad.py"))
    assert {
        "hpiclock.training",
        "hpiclock.training.model",
        "torch.nn",
        "hpiclock.plate",
        "hpiclock.plate.cache",
    } <= found
    assert room_of_module("hpiclock.training") not in MAY[room(tmp_path / "analysis" / "bad.py")]
