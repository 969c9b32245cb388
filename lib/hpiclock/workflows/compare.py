"""Runs on disk, put together as variants and compared: tables, figures, a summary."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from hpiclock import figures
from hpiclock.analysis.compare import compare
from hpiclock.config.schema import WHERE_KEYS, Config, iterate_keys
from hpiclock.errors import InputError
from hpiclock.files import atomic, make_folder, write_csv
from hpiclock.format import count_text
from hpiclock.plate.manifest import SIMULATED
from hpiclock.runs.run import CONFIG, Run, Say, write_figures
from hpiclock.tables import PREDICTIONS, read_any
from hpiclock.wells import letters
from hpiclock.workflows.identity import check_what_was_learnt

# What may differ between runs of one variant; where a run computes changes no more than rounding.
REPEATS = (*WHERE_KEYS, "experiment", "seed", "split.fold", "train.device", "train.threads")
TABLES = ("comparison", "comparison_windows", "steadiness", "conclusions")
LONG_NAME = 24  # characters of a variant; longer ones would fill every row and sentence
SUMMARY = "comparison.txt"
RUNS = "runs.csv"  # in the folder of a sweep: its runs, in order


@dataclass(frozen=True)
class Comparison:
    """Variants, the config by which they are judged, the tables, and the runs that were left out."""

    variants: dict[str, list[Run]]
    cfg: Config
    tables: dict[str, pd.DataFrame]
    left_out: list[str]

    @property
    def notes(self) -> list[str]:
        """What to know before the numbers."""
        of_runs = [note for runs in self.variants.values() for run in runs for note in run.notes]
        simulated = dict.fromkeys(note for note in of_runs if note.startswith(SIMULATED))
        return [*simulated, *self.left_out, *self.tables["notes"]["note"]]


def find_runs(places: Iterable[str | Path]) -> list[Run]:
    """Return the runs in these folders: a run's folder, or a folder that holds runs (a sweep's).

    A name such as ``demo/seed0`` is looked up under ``reports/``, too.

    Raises:
        InputError: nothing there, or a folder without a run.
    """
    runs: dict[Path, Run] = {}
    for place in places:
        folder = next((p for p in (Path(place), Path("reports") / place) if p.is_dir()), None)
        if folder is None:
            raise InputError(
                f"{place}: no such folder; name that of a run or a sweep, or make one (hpiclock sweep)"
            )
        found = [folder] if (folder / CONFIG).is_file() else _in_folder(folder)
        if not found:
            repair = "hpiclock train or sweep makes them"
            raise InputError(f"{place}: holds no run ({CONFIG} is missing); {repair}")
        runs |= {path.resolve(): Run.open(path) for path in found}
    return list(runs.values())


def _in_folder(folder: Path) -> list[Path]:
    """Return the runs of a folder: in the order of their sweep, which names the first variant, or by name."""
    found = sorted(path.parent for path in folder.glob(f"*/{CONFIG}"))
    if not (folder / RUNS).is_file():
        return found
    order = {name: place for place, name in enumerate(read_any(folder / RUNS, "run")["run"])}
    return sorted(found, key=lambda path: order.get(path.name, len(order)))


def compare_runs(runs: Sequence[Run], *, first: str = "", say: Say = print) -> Comparison:
    """Compare runs; those whose configs differ by seed and fold alone are one variant.

    Runs that are not finished are left out, and with them their seed where it would be incomplete; what is
    left out is noted. Windows, thresholds and margins are those of the first run.

    Args:
        runs: finished runs.
        first: the variant that the others are held against; empty = that of the first run.
        say: takes what cannot be told of their plates.

    Raises:
        InputError: runs that cannot be paired or whose labels changed since, an unknown variant.
    """
    done = [run for run in runs if run.state == "done"]
    if not done:
        repair = "hpiclock train --resume RUN goes on with one"
        raise InputError(f"compare: none of these runs is finished; {repair}")
    left_out = [f"{run.name} is not finished and is left out." for run in runs if run.state != "done"]
    variants = by_variant(done)
    if first and first not in variants:
        raise InputError(f"compare: no variant {first}; there are {', '.join(variants)}")
    if first:
        variants = {first: variants[first]} | variants
    variants, gone = _complete(variants)
    check_what_was_learnt(done, say=say)
    cfg = done[0].cfg
    predictions = {
        name: [run.read_table("predictions.parquet", PREDICTIONS) for run in of_variant]
        for name, of_variant in variants.items()
    }
    tables = compare(
        predictions,
        windows=cfg.windows,
        end_h=cfg.window_end_h,
        study=cfg.study,
        settings=cfg.compare,
        seed=cfg.seed,
    )
    return Comparison(variants, cfg, tables, [*left_out, *gone])


def by_variant(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return name -> runs that differ by seed and fold alone.

    A variant is named by its experiment where each has its own, else by the folder of its runs without seed
    and fold, else by the keys that differ. Where a name is long they are A, B, C ...;
    :func:`variants_table` says what each is.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        kept = {key: value for key, value in iterate_keys(run.cfg) if key not in REPEATS}
        groups.setdefault(json.dumps(kept, sort_keys=True, default=str), []).append(run)
    parts = list(groups.values())
    for naming in (lambda run: run.cfg.experiment, _folder):
        names = [{naming(run) for run in part} for part in parts]
        if all(len(name) == 1 and name != {""} for name in names):
            flat = [next(iter(name)) for name in names]
            if len(set(flat)) == len(flat):
                break
    else:
        flat = differing_keys([json.loads(key) for key in groups])
    if max(map(len, flat)) > LONG_NAME:
        flat = [letters(place) for place in range(len(flat))]
    return dict(zip(flat, parts, strict=True))


def write_comparison(found: Comparison, out: Path) -> Path:
    """Write ``comparison.csv`` and the other tables, ``figures/`` and ``comparison.txt``; return the text.

    Raises:
        InputError: a folder that cannot be written.
    """
    make_folder(out)
    for name in TABLES:
        write_csv(found.tables[name], out / f"{name}.csv")
    write_figures(comparison_figures(found), out / "figures")
    with atomic(out / SUMMARY) as partial:
        partial.write_text("\n".join(summary(found)) + "\n", encoding="utf-8")
    return out / SUMMARY


def comparison_figures(found: Comparison) -> dict[str, Figure]:
    """Return the figures of a comparison by name."""
    level, windows = found.cfg.study.level, found.tables["comparison_windows"]
    over_hours = figures.differences_over_time_figure(windows, level=level, clock="hours")
    return {
        "differences": figures.difference_figure(found.tables["comparison"], level=level),
        "differences_over_hours": over_hours,
        "variants_over_hours": figures.variants_over_time_figure(windows, clock="hours"),
    }


def summary(found: Comparison) -> list[str]:
    """Return what was compared and what it says, a line each."""
    lines = ["Compared, on the same test frames:"]
    for row in variants_table(found).itertuples(name=None):
        name, runs, seeds, _, differs = row
        lines.append(f"  {name}: {count_text(runs, 'run')}, {count_text(seeds, 'seed')}; {differs}")
    lines += ["", *(f"! {note}" for note in found.notes), *([""] if found.notes else [])]
    rows = found.tables["conclusions"]
    lines += [f"- {row.sentence}" for row in rows.itertuples() if row.topic != "beware"]
    return lines


def _folder(run: Run) -> str:
    return re.sub(r"_?(seed|fold)\d+", "", run.folder.name).strip("_")


def differing_keys(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return for every config, flat, the keys in which any of them differ, with its own values."""
    keys = [key for key in configs[0] if any(one.get(key) != configs[0][key] for one in configs)]
    return [", ".join(f"{key}={_plain(one.get(key))}" for key in keys) or "as it is" for one in configs]


def _plain(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def _complete(variants: dict[str, list[Run]]) -> tuple[dict[str, list[Run]], list[str]]:
    """Keep the seeds that every variant has in every fold; say which are left out."""
    cells = {name: {(run.cfg.seed, run.cfg.split.fold) for run in runs} for name, runs in variants.items()}
    folds = {fold for mine in cells.values() for _, fold in mine}
    if len(folds) < 2:
        return variants, []
    n_folds = [Counter(seed for seed, _ in mine) for mine in cells.values()]
    partly = {seed for counted in n_folds for seed, n in counted.items() if n < len(folds)}
    kept = {name: [run for run in runs if run.cfg.seed not in partly] for name, runs in variants.items()}
    if not partly or any(not runs for runs in kept.values()):
        return variants, []  # the refusal names what differs
    listed = ", ".join(map(str, sorted(partly)))
    return kept, [f"Seed {listed} lacks a fold in one of the variants and is left out."]


def variants_table(found: Comparison) -> pd.DataFrame:
    """Return ``variant runs seeds folds differs``: what was compared and by which keys it differs."""
    configs = [dict(iterate_keys(runs[0].cfg)) for runs in found.variants.values()]
    differs = differing_keys([{k: v for k, v in one.items() if k not in REPEATS} for one in configs])
    runs = found.variants.values()
    columns = {
        "runs": [len(mine) for mine in runs],
        "seeds": [len({run.cfg.seed for run in mine}) for mine in runs],
        "folds": [len({run.cfg.split.fold if run.cfg.split.folds else 0 for run in mine}) for mine in runs],
        "differs in": differs,
    }
    return pd.DataFrame(columns, index=pd.Index(found.variants, name="variant"))
