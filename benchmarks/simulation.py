"""What the simulation studies share: their command line, a pool of workers, rates, tables and files."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from hpiclock.files import atomic

ROOT = Path(__file__).parents[1]
PAGES, DOCS = Path("reports") / "benchmarks", Path("docs")


def command_line(doc: str | None) -> argparse.ArgumentParser:
    """A parser with what every study takes: ``--workers`` and ``--out``, the folder of reports/ and docs/."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--out", type=Path, default=ROOT, help="it gets reports/benchmarks/ and docs/")
    return parser


def in_pool(work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], workers: int) -> Iterator[Any]:
    """Yield ``work(*job)`` of every job, in their order, from so many processes."""
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(work, *zip(*jobs, strict=True)) if jobs else ()


def rate(hits: int, n: int) -> tuple[float, float, float]:
    """A share with its 95% interval (Wilson)."""
    limits = binomtest(hits, n).proportion_ci(method="wilson")
    return hits / n, limits.low, limits.high


def markdown(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """A table of a page."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def write_files(texts: dict[Path, str]) -> None:
    """Write each text whole or not at all, and print its path."""
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as partial:
            partial.write_text(text, encoding="utf-8")
        print(path)
