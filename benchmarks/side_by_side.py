"""Ways of doing the same work, measured in turn in one process, and the table that is committed."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parents[1] / "reports" / "benchmarks"
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
PACKAGES = ("torch", "torchvision", "numpy", "numba", "Pillow", "tifffile", "scikit-learn")


class Row(NamedTuple):
    """One line of the table: how much faster ``ours`` is than ``other``, in items per CPU second."""

    what: str
    other: str
    ratio: float
    lowest: float
    highest: float
    goal: float | None
    ours_per_s: float
    other_per_s: float


def one_thread() -> None:
    """Hold every library to one thread; call it before they are imported."""
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))


def ratio(
    what: str,
    ours: Callable[[], int],
    other: Callable[[], int],
    *,
    against: str,
    goal: float | None,
    repeats: int = 5,
) -> Row:
    """Run both in turn, once unmeasured, and compare what each does in a second of CPU time.

    CPU time of the whole process counts, so that neighbours on the machine do not.

    Args:
        what: the work.
        ours: does it and returns how many items it did.
        other: the same work another way.
        against: the other way's name.
        goal: the ratio that is asked for, if one is.
        repeats: how often.
    """
    ours(), other()
    return row_of(what, against, goal, [(_per_s(ours), _per_s(other)) for _ in range(repeats)])


def row_of(what: str, against: str, goal: float | None, pairs: Sequence[tuple[float, float]]) -> Row:
    """Return the median ratio of pairs (items per second: ours, the other's), its lowest and its highest."""
    ratios = [mine / theirs for mine, theirs in pairs]
    mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    row = Row(what, against, statistics.median(ratios), min(ratios), max(ratios), goal, mine, theirs)
    print(
        f"{what} against {against}: {row.ratio:.3g}x "
        f"({row.lowest:.3g} to {row.highest:.3g}), asked for {_asked(goal)}"
    )
    return row


def write(
    name: str, rows: list[Row], *, notes: Mapping[str, str] | None = None, second: str = "CPU second"
) -> None:
    """Write ``reports/benchmarks/<name>.json`` and ``.md`` with the machine that it ran on."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine(), "rows": [row._asdict() for row in rows], "notes": dict(notes or {})}
    (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    lines = [
        f"| work | against | ratio | lowest - highest | asked for | per {second} |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.what} | {row.other} | {row.ratio:.3g} | {row.lowest:.3g} - {row.highest:.3g} "
        f"| {_asked(row.goal)} | {row.ours_per_s:.3g} : {row.other_per_s:.3g} |"
        for row in rows
    ]
    lines += ["", _machine_line()]
    lines += [f"\n{key}: {value}" for key, value in (notes or {}).items()]
    _page(name, lines)


def _asked(goal: float | None) -> str:
    return "-" if goal is None else f"{goal:g}"


def write_page(name: str, lines: Sequence[str]) -> None:
    """Write ``reports/benchmarks/<name>.md``: these lines, and the machine."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    _page(name, [*lines, "", _machine_line()])


def _page(name: str, lines: Sequence[str]) -> None:
    (FOLDER / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _gather()
    print(f"{FOLDER.name}/{name}.md")


def _machine_line() -> str:
    return "Machine: " + "; ".join(f"{key} {value}" for key, value in machine().items()) + "."


def _gather() -> None:
    """Write every page into one."""
    parts = ["# Measured", "", "`make bench` measures anew, page by page; ratios are within one run each."]
    for path in sorted(FOLDER.glob("*.md")):
        if path.name != "README.md":
            parts += ["", f"## {path.stem.replace('_', ' ')}", "", path.read_text("utf-8").strip()]
    (FOLDER / "README.md").write_text("\n".join(parts) + "\n", encoding="utf-8")


def machine() -> dict[str, str]:
    """Return what the numbers depend on."""
    facts = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "threads": os.environ.get(ONE_THREAD[0], "all"),
    }
    facts |= {"python": platform.python_version()}
    return facts | {name: version(name) for name in PACKAGES}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.is_file() else ""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    names = {key.strip(): value.strip() for key, value in fields.items()}
    wide = [
        kind
        for kind in ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
        if kind in names.get("flags", "").split()
    ]
    return " ".join([names.get("model name", platform.processor() or platform.machine()), *wide])


def _per_s(work: Callable[[], int]) -> float:
    began = time.process_time()
    items = work()
    return items / (time.process_time() - began)
