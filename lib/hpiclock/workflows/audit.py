"""Checks of a plate before anything is run on it, and the confound audit of a run.

A plate is checked for its stacks, its design and its passport; the audit's verdict stands at the top of a
run's report, with every table behind it.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from threadpoolctl import threadpool_limits

from hpiclock.acquisition import EMPTY_FRAMES, empty_frames
from hpiclock.audit import BACKGROUND, PLAIN, Evidence, baselines, controls, is_current, random_stream
from hpiclock.audit import verdict as checks
from hpiclock.audit.clocks import onset_shift_table, score_over_time
from hpiclock.audit.design import N_EMPTY, design_table
from hpiclock.audit.leakage import with_split_and_well
from hpiclock.audit.verdict import design_verdict
from hpiclock.config.schema import Config
from hpiclock.errors import InputError
from hpiclock.files import check_output, check_output_folder, make_folder, up_to_date, write_csv
from hpiclock.plate.duplicates import burned_in_marks, load_fields, overlapping_fields
from hpiclock.plate.manifest.sources import write_quarantine
from hpiclock.plate.manifest.survey import survey, without_failed
from hpiclock.plate.quality import KINDS, cached_statistics, frame_statistics, passport, quarantine_rows
from hpiclock.plate.timeline import expand_frames
from hpiclock.report.methods import METHODS, write_methods
from hpiclock.report.text import passport_lines, survey_lines
from hpiclock.runs.run import CONFIG, VERDICT, VERDICT_COLUMNS, Run, Say, outputs_of
from hpiclock.tables import (
    CONDITIONS,
    FRAMES,
    MANIFEST,
    NEW_MANIFEST,
    PREDICTIONS,
    has_columns,
    read_any,
    under_true_clock,
    write,
)
from hpiclock.targets import hpi
from hpiclock.workflows.baselines import simulated_truth
from hpiclock.workflows.identity import check_identity, training_cache
from hpiclock.workflows.predict import trained_model

FOLDER = "audit"
# fmt: off
TABLES = (
    "design", "before_onset", "controls", "baselines", "probes", "sampling", "permutations", "over_time",
    "changes", "onset", "pairs", "marks",
)
# fmt: on
MOST_FRAMES = 3000  # with features of their own: every n-th frame of a larger run is taken
MOST_PAIRS = 20_000  # of stacks that are laid over each other
VISIBLE = 0.05  # share of cells with signs from which the truth of a simulated plate counts as visible


class DesignAudit(NamedTuple):
    """The rows of the verdict that the design decides, and the table ``aspect value detail`` behind them."""

    verdict: pd.DataFrame
    table: pd.DataFrame


def design_audit(manifest: pd.DataFrame, used: pd.DataFrame | None = None) -> DesignAudit:
    """Say what a plate, and the test in it, can and cannot show, whatever model is trained on it.

    Args:
        manifest: a MANIFEST table.
        used: FRAMES with their split; None before there is one.
    """
    frames = undropped_frames(manifest)
    if used is not None:
        frames["split"] = frames["stack_id"].map(used.groupby("stack_id")["split"].first())
    return DesignAudit(design_verdict(frames), design_table(frames))


def undropped_frames(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return every frame of a manifest with identity, ``frame hours hpi`` and how its stack was acquired."""
    facts = manifest.columns.difference(expand_frames(manifest.head(0)).columns)
    frames = expand_frames(manifest).join(manifest.set_index("stack_id")[facts], on="stack_id")
    since = hpi(frames["hours"], frames["onset_h"])
    n_empty = {stack: len(numbers) for stack, numbers in empty_frames(manifest).items()}
    counts = {N_EMPTY: frames["stack_id"].map(n_empty)} if n_empty else {}
    return frames.assign(hpi=since.where(frames["condition"].eq("infected")), **counts)


@dataclass(frozen=True)
class Checked:
    """A plate that was looked at.

    Attributes:
        manifest: a NEW_MANIFEST of the stacks that can be used.
        problems: ``path, severity, problem, remedy``.
        passport: one row per stack; None where only files were opened.
    """

    manifest: pd.DataFrame
    problems: pd.DataFrame
    passport: pd.DataFrame | None

    @property
    def errors(self) -> int:
        """How many problems would stop a run."""
        return int(self.problems["severity"].eq("error").sum())

    @property
    def looked_at(self) -> pd.DataFrame:
        """The manifest with the frames that the passport found to be of one grey level."""
        if self.passport is None:
            return self.manifest
        found = self.passport.set_index("path")[EMPTY_FRAMES]
        return self.manifest.assign(**{EMPTY_FRAMES: self.manifest["path"].map(found)})

    def write(
        self, manifest: Path | None, passport: Path | None, quarantine: Path | None, *, suspects: bool
    ) -> Iterator[str]:
        """Write what has a path, and yield a line about each file.

        The manifest is written when nothing is wrong, or what is wrong goes onto the quarantine list.

        Raises:
            InputError: a passport is asked for and no frame was read, or a place that cannot be written.
        """
        if passport or quarantine:
            table = self._passport()
        if passport:
            make_folder(passport.parent)
            write_csv(table, passport)
            yield f"{passport}: the passport, {len(table)} stacks"
        if quarantine:
            left_out = quarantine_rows(table, ("failed", "suspect") if suspects else ("failed",))
            write_quarantine(left_out, quarantine)
            yield (
                f"{quarantine}: {len(left_out)} stacks to leave out; read it, change it, and name it in a "
                "config as data.quarantine"
            )
        if manifest and (quarantine or not self.errors):
            known = self.manifest["condition"].isin(CONDITIONS).all()
            write(MANIFEST if known else NEW_MANIFEST, self.manifest, manifest)
            yield f"{manifest}: the manifest, {len(self.manifest)} stacks"

    def _passport(self) -> pd.DataFrame:
        if self.passport is None:
            raise InputError("--no-frames: no frame is read, so there is no passport to write; leave it away")
        return self.passport


def check_places(
    source: str | Path, manifest: Path | None, passport: Path | None, quarantine: Path | None
) -> None:
    """Refuse places for what :meth:`Checked.write` writes, before the plate is read.

    Raises:
        InputError: as :func:`hpiclock.files.check_output` says.
    """
    over: list[str | Path] = [source]
    columns = (("n_frames", "interval_h"), ("status", "findings"), ("path", "reason"))
    for path, names in zip((manifest, passport, quarantine), columns, strict=True):
        if path:
            suffixes = (".csv", ".parquet") if path == manifest else (".csv",)
            own = partial(_is_ours, names=names)
            check_output(path, over=over, suffixes=suffixes, own=own)
            over.append(path)


def _is_ours(path: Path, names: Sequence[str]) -> bool:
    return has_columns(path, names) and not (path.parent / CONFIG).is_file()  # a run's manifest is not


def check_plate(cfg: Config, *, read_frames: bool, say: Say) -> Checked:
    """Find and open the stacks of a source, read every frame, and say what stands out.

    Args:
        cfg: ``data``, ``quality`` and the onset that is assumed.
        read_frames: False only opens the files.
        say: takes each line.

    Raises:
        InputError: the source itself is missing, empty or cannot be read.
    """
    found, table = survey(cfg.data, cfg.targets.onset_h, blind=True), None
    if read_frames:
        table = passport(found.manifest, found.problems, cfg.data, cfg.quality)
        found = without_failed(found, table)
    for line in survey_lines(found.manifest, found.problems):
        say(line)
    unknown = found.manifest["condition"].isin(CONDITIONS).eq(False).sum()
    if unknown:
        say(f"{unknown} stacks are of wells of which nothing is said: they can be predicted, not trained on")
    if table is not None:
        for line in passport_lines(table):
            say(line)
    return Checked(found.manifest, found.problems, table)


@dataclass
class Audit:
    """What an audit found: the verdict and its tables by name (:data:`TABLES`)."""

    verdict: pd.DataFrame
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)


def audit_run(run: Run, out: str | Path | None = None, *, say: Say = print) -> pd.DataFrame:
    """Audit a trained run and write ``verdict.csv`` and ``audit/*.csv``; return the verdict.

    Args:
        run: a finished run.
        out: where the files go; empty = the run's folder.
        say: takes a line per step; the run's log has them, too.

    Raises:
        InputError: a run without predictions, or stacks that cannot be read.
    """
    if out and Path(out).resolve() != run.folder.resolve():
        check_output_folder(out, own=outputs_of(VERDICT))
    # a run that may only be read is audited elsewhere
    with nullcontext(say) if out else run.logged(say, opening="audit: ") as tell:
        check_identity(run, say=tell)
        found = compute_audit(run, say=tell)
    folder = Path(out) if out else run.folder
    tables = make_folder(folder / FOLDER)
    for name, table in found.tables.items():
        write_csv(table, tables / f"{name}.csv")
    write_csv(found.verdict, folder / VERDICT)
    if (folder / METHODS).is_file():  # it tells of the audit
        write_methods(run)
    return found.verdict


def open_audit(run: Run, *, say: Say = print) -> Audit:
    """Return the audit of a run: the one in its folder, or a new one.

    It is audited anew where its predictions are newer, or its answers are those of an older version.

    Raises:
        InputError: a run without predictions, or stacks that cannot be read.
    """
    made = [run.path(VERDICT), *(run.path(FOLDER, f"{name}.csv") for name in TABLES)]
    predictions = run.path("predictions.parquet")
    fresh = predictions.is_file() and all(up_to_date(path, predictions) for path in made)
    if fresh and is_current(read_any(run.path(VERDICT), VERDICT_COLUMNS)):
        check_identity(run, say=say)
    else:
        audit_run(run, say=say)
    return read_audit(run.folder)


def read_audit(folder: str | Path) -> Audit:
    """Read what :func:`audit` wrote.

    Raises:
        InputError: no audit in this folder.
    """
    folder = Path(folder)
    verdict = read_any(folder / VERDICT, VERDICT_COLUMNS).fillna({"evidence": "", "remedy": ""})
    paths = {name: folder / FOLDER / f"{name}.csv" for name in TABLES}
    tables = {name: read_any(path) for name, path in paths.items() if path.is_file()}
    return Audit(verdict, tables)


def compute_audit(run: Run, *, say: Say) -> Audit:
    """Compute the verdict and every table of a run, and write nothing."""
    cfg, level = run.cfg, run.cfg.study.level
    manifest, used = run.read_table("manifest.csv", MANIFEST), run.read_table("frames.parquet", FRAMES)
    # every row of the audit compares with models that are told the class
    predictions = under_true_clock(run.read_table("predictions.parquet", PREDICTIONS))
    test = predictions[predictions["split"].eq("test")]
    held_out = predictions[predictions["split"].ne("train")]
    plate = undropped_frames(manifest)
    plate["split"] = plate["stack_id"].map(used.groupby("stack_id")["split"].first())

    say("features of frames, as they are and changed")
    frames, tested = thin_frames(used), thin_frames(test)
    features, sources, changed = _of_model(run, frames, tested)
    with threadpool_limits(1):  # small matrices: more threads take many times longer on a busy machine
        say("fields and marks")
        found = _of_plate(plate, cfg)
        say("controls")
        of_model = baselines.model_and_clock(predictions, level=level)
        shortcuts, scores = baselines.shortcut_baselines(frames, sources, level=level)
        rng = random_stream(cfg.seed, "onsets")
        over_time = score_over_time(held_out, audit=cfg.audit, level=level, rng=rng)
        evidence = Evidence(
            plate,
            predictions,
            **found,
            onset=onset_shift_table(test, study=cfg.study, audit=cfg.audit),
            plain_scores=scores[PLAIN],
            background_scores=pd.concat([scores[name].assign(source=name) for name in BACKGROUND]),
            over_time=over_time,
            changes=baselines.perturbation_effects(tested, changed, level=level),
            margin_h=cfg.compare.margin_h,
            study=cfg.study,
            audit=cfg.audit,
            seed=cfg.seed,
        )
        visible_h = first_visible_hour(manifest)
        negative = controls.negative_controls(test, windows=cfg.windows, study=cfg.study, visible_h=visible_h)
        tables = {
            "design": design_table(plate),
            "before_onset": evidence.nuisance,
            "controls": negative,
            "baselines": pd.concat([of_model, shortcuts], ignore_index=True),
            "probes": baselines.probe_features(frames[frames["split"].ne("train")], features, level=level),
            "sampling": baselines.sampling_experiments(frames, features, level=level, seed=cfg.seed),
            "permutations": controls.permutations_table(controls.well_comparisons(evidence)),
            "over_time": evidence.over_time,
            "changes": evidence.changes,
            "onset": evidence.onset,
            "pairs": evidence.pairs,
            "marks": evidence.marks,
        }
        return Audit(checks.verdict(evidence), tables)


def thin_frames(frames: pd.DataFrame) -> pd.DataFrame:
    """Return every n-th frame of each stack, so that at most about :data:`MOST_FRAMES` are left."""
    step = -(-len(frames) // MOST_FRAMES)
    return frames[frames.groupby("stack_id").cumcount() % step == 0].reset_index(drop=True)


def first_visible_hour(manifest: pd.DataFrame) -> float:
    """Return the hour after onset from which signs can be seen, where :func:`simulated_truth` says it."""
    truth = simulated_truth(manifest)
    if truth is None:
        return float("nan")
    mine = truth[truth["condition"].eq("infected") & (truth["hpi"] >= 0)]
    share = mine.groupby(mine["hpi"].round(2))["cpe_fraction"].mean()
    seen = share.index[share >= VISIBLE]
    return float(seen.min()) if len(seen) else float("nan")


def _of_plate(plate: pd.DataFrame, cfg: Config) -> dict[str, Any]:
    """Return what raw frames say: ``nuisance``, ``pairs``, ``compared`` and ``marks`` of the evidence."""
    early = controls.before_first_onset(plate)
    raw = frame_statistics(early, cfg.data) if len(early) else early[["stack_id", "frame"]]
    rng = random_stream(cfg.seed, "statistics")
    fields = load_fields(plate, cfg.data, per_stack=2)
    stacks = plate.drop_duplicates("stack_id").set_index("stack_id").loc[fields.stack_id]
    groups = stacks["plate"] + "/" + stacks["condition"]
    pairs, compared = overlapping_fields(fields, groups=groups, max_pairs=MOST_PAIRS)
    level, shuffles = cfg.study.level, cfg.audit.shuffles
    nuisance = controls.nuisance_table(plate, raw, KINDS, shuffles=shuffles, level=level, rng=rng)
    return {
        "nuisance": nuisance,
        "pairs": with_split_and_well(pairs, plate),
        "compared": compared,
        "marks": burned_in_marks(fields, stacks),
    }


def _of_model(
    run: Run, frames: pd.DataFrame, tested: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame], pd.DataFrame]:
    """Return the model's features, features of shortcuts by name, and predictions of changed frames."""
    from hpiclock.inference.perturb import SHORTCUTS, changes_for, predict_perturbed
    from hpiclock.inference.predict import embed

    cfg = run.cfg
    cache = training_cache(run)
    model = trained_model(run)
    folder = Path(cfg.data.cache_dir)
    features, *of_shortcuts = (
        embed(model, cache, frames, folder=folder, change=change) for change in ("", *SHORTCUTS)
    )
    sources = {PLAIN: cached_statistics(cache, frames)} | dict(zip(SHORTCUTS, of_shortcuts, strict=True))
    return features, sources, predict_perturbed(model, cache, tested, changes=changes_for(model.n_frames))
