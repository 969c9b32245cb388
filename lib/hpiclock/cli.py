"""The command line: thin over the same functions that the notebooks call.

Exit codes: 0 done; 1 a run failed (the report says where); 2 bad input, in one line.
"""

import errno
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from typer import Argument, Option

from hpiclock.errors import InputError, RunFailed
from hpiclock.files import spare_home

MAIN_PROCESS_S = 30.0  # for which other processes of torchrun wait before they end with an error
NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR)

app = typer.Typer(
    help="Is this field infected, for how long, and can I believe the answer?",
    epilog="Exit codes: 0 done; 1 a run failed; 2 bad input, in one line.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain text reads the same in a log
    pretty_exceptions_enable=False,
)
# typer brings its own click, and where it stands differs between versions
UsageError: Any = typer.BadParameter.__mro__[1]

Set = Annotated[list[str] | None, Option("--set", metavar="KEY=VALUE", help="change a config key")]
Yaml = Annotated[Path, Argument(help="a YAML file")]
FinishedRun = Annotated[Path, Argument(help="a finished run's folder")]
OutFolder = Annotated[Path, Option(help="where tables and figures go")]
RunDir = Annotated[str, Option("--run-dir", help="the run's folder; default: reports/EXPERIMENT/RUN")]


@app.command()
def synth(
    folder: Annotated[Path, Argument(help="where the plate is written")],
    design: Annotated[str, Option(help="which plate")] = "demo",
    seed: Annotated[int, Option(min=0, max=2**32, help="the same seed gives the same plate")] = 0,
) -> None:
    """Write a simulated plate: TIFF stacks, plate map and truth.csv."""
    from hpiclock.simulate import design as designs
    from hpiclock.simulate.write import synthesize

    path = synthesize(folder, design=designs.design(design), seed=seed)
    typer.echo(f"{path}: the plate map; truth.csv beside it holds what is true of every frame")


@app.command()
def manifest(
    source: Annotated[str, Argument(help="folder, plate map or manifest CSV")],
    output: Annotated[Path | None, Option("-o", "--output", help="write the manifest here")] = None,
    passport: Annotated[Path | None, Option(help="write the passport (CSV, a row per stack)")] = None,
    quarantine: Annotated[
        Path | None, Option(help="write a list (CSV) of failed stacks for data.quarantine")
    ] = None,
    suspects: Annotated[bool, Option("--suspects", help="suspect stacks go onto that list, too")] = False,
    frames: Annotated[bool, Option(help="read every frame, or only open the files")] = True,
    changes: Set = None,
) -> None:
    """Find, open and check stacks. Print a summary and what stands out: the passport of a plate."""
    from hpiclock.config.load import config_of
    from hpiclock.format import count_text
    from hpiclock.report.audit_text import verdict_lines
    from hpiclock.tables import CONDITIONS
    from hpiclock.workflows.audit import check_places, check_plate, design_audit

    check_places(source, output, passport, quarantine)
    cfg = config_of({"data.source": source, **_changes(changes)})
    checked = check_plate(cfg, read_frames=frames, say=typer.echo)
    if len(checked.manifest) and checked.manifest["condition"].isin(CONDITIONS).all():
        typer.echo("What this design can show:")
        _print(verdict_lines(design_audit(checked.looked_at).verdict))
    _print(checked.write(output, passport, quarantine, suspects=suspects))
    if checked.errors and quarantine is None:
        errors = count_text(checked.errors, "error")
        raise InputError(f"{source}: {errors}, listed above with what to do")


@app.command()
def config(config: Yaml, changes: Set = None) -> None:
    """Print every key of a config. Those that differ from the defaults are marked."""
    from hpiclock.config.schema import as_text, iterate_keys

    cfg = _config(config, changes)
    changed = {key: default for key, _, default in cfg.differences()}
    for key, value in iterate_keys(cfg):
        mark = f"   # default: {as_text(changed[key])}" if key in changed else ""
        typer.echo(f"{'*' if key in changed else ' '} {key}: {as_text(value)}{mark}")


@app.command()
def train(
    config: Annotated[Path | None, Argument(help="a YAML file")] = None,
    changes: Set = None,
    run_dir: RunDir = "",
    resume: Annotated[Path | None, Option(help="a run's folder: go on where it was killed")] = None,
) -> None:
    """Train and test without a notebook. Every output file is written."""
    from hpiclock.runs.run import Run

    if (config is None) == (resume is None):
        raise InputError("train: give a config, or --resume RUN, and not both")
    if resume is not None:
        if changes:
            raise InputError("train: a run goes on with its own config; leave --set away")
        run = Run.open(resume)
        cfg, run_dir = run.cfg, str(resume)
    else:
        assert config is not None
        cfg = _config(config, changes)
    from hpiclock.workflows.train import train as train_run

    run = train_run(cfg, run_dir, say=typer.echo)
    if not _is_main_process():
        return
    typer.echo(run.path("training_summary.txt").read_text(encoding="utf-8"))
    typer.echo(f"{run.folder}: all files of this run")


@app.command()
def run(
    config: Yaml,
    changes: Set = None,
    run_dir: RunDir = "",
    notebooks: Annotated[str, Option(help="which ones, e.g. 01-05 or 01,03")] = "01-05",
) -> None:
    """Run the notebooks with this config. Leave them executed, as pages, and an index."""
    from hpiclock.workflows.notebooks import run_chain

    report = run_chain(config, _changes(changes), run_dir=run_dir, notebooks=notebooks)
    _print(report.pages)
    if report.index:
        typer.echo(f"{report.index}: all runs")


@app.command()
def predict(
    runs: Annotated[list[str], Argument(metavar="RUN... SOURCE", help="trained runs, then the new plate")],
    output: Annotated[Path, Option("-o", "--output", help="Parquet or CSV")] = Path("predictions.parquet"),
    changes: Set = None,
) -> None:
    """Read out a new plate with a trained run, or with several as one. Goes on where it was killed."""
    from hpiclock.format import count_text
    from hpiclock.runs.run import Run
    from hpiclock.workflows.predict import predict as predict_plate

    *folders, source = runs
    if not folders:
        raise InputError("predict: name a trained run and then the new plate")
    trained = [Run.open(folder) for folder in folders]
    rows = predict_plate(trained, source, output, changes=_changes(changes), say=typer.echo).rows
    counts = f"{count_text(len(rows), 'frame')} of {count_text(rows['stack_id'].nunique(), 'stack')}"
    typer.echo(f"{output}: {counts}; {output.with_suffix('.json').name} says how to read it")


@app.command()
def export(
    run: FinishedRun,
    output: Annotated[Path, Option("-o", "--output", help="a new folder")],
) -> None:
    """Write a run's model as ONNX and safetensors, with a model card."""
    from hpiclock.runs.run import Run
    from hpiclock.workflows.export import export as export_run

    export_run(Run.open(run), output, say=typer.echo)


@app.command()
def audit(
    run: FinishedRun,
    out: Annotated[Path | None, Option(help="where verdict.csv and audit/ go; default: the run")] = None,
) -> None:
    """Infection, or the clock or the well? Audit a run."""
    from hpiclock.report.audit_text import verdict_lines
    from hpiclock.runs.run import Run
    from hpiclock.workflows.audit import audit_run

    _print(verdict_lines(audit_run(Run.open(run), out, say=typer.echo)))
    typer.echo(f"{out or run}: verdict.csv and audit/")


@app.command()
def study(
    predictions: Annotated[Path, Argument(help="Parquet, CSV, test_predictions.npz, or a run's folder")],
    out: OutFolder = Path("study"),
    config: Annotated[Path | None, Option(help="windows and thresholds; default: the defaults")] = None,
    changes: Set = None,
) -> None:
    """Make tables and figures (PNG, PDF, SVG) from any predictions."""
    from hpiclock.config.load import config_of
    from hpiclock.report.audit_text import verdict_lines
    from hpiclock.runs.results import read_study_tables
    from hpiclock.runs.run import CONFIG, DESIGN
    from hpiclock.tables import read_any
    from hpiclock.workflows.study import study_file

    if (predictions / CONFIG).is_file():
        predictions, config = predictions / "predictions.parquet", config or predictions / CONFIG
    cfg = _config(config, changes) if config else config_of(_changes(changes))
    _print(f"note: {note}" for note in study_file(predictions, out, cfg))
    typer.echo("What this design can show:")
    _print(verdict_lines(read_any(out / DESIGN)))
    _print(f"- {sentence}" for sentence in read_study_tables(out)["conclusions"]["sentence"])
    typer.echo(f"{out}: metrics.csv, tables/, figures/")


@app.command()
def compare(
    runs: Annotated[list[str], Argument(help="folders of runs, or of a sweep")],
    out: OutFolder = Path("comparison"),
    first: Annotated[str, Option(help="the variant that others are held against")] = "",
) -> None:
    """Compare ways of training on the same test wells."""
    from hpiclock.files import check_output_folder
    from hpiclock.runs.run import outputs_of
    from hpiclock.workflows.compare import SUMMARY, compare_runs, find_runs, summary, write_comparison

    check_output_folder(out, own=outputs_of(SUMMARY))
    found = compare_runs(find_runs(runs), first=first, say=typer.echo)
    write_comparison(found, out)
    _print(summary(found))
    typer.echo(f"{out}: comparison.csv, comparison.txt, figures/")


@app.command()
def sweep(
    file: Annotated[Path, Argument(help="a sweep file, e.g. configs/sweeps/demo.yaml")],
    options: Annotated[list[str] | None, Argument(help="after --: more options for Snakemake")] = None,
    changes: Set = None,
    workers: Annotated[
        int | None,
        Option(min=1, max=4096, help="runs at a time; default: one per GPU or core, on a cluster all"),
    ] = None,
    engine: Annotated[
        Literal["local", "snakemake", "slurm"], Option(help="who runs them; slurm needs a shared disk")
    ] = "local",
    run: Annotated[str, Option(help="train this run alone: what a job of a cluster does")] = "",
    report: Annotated[bool, Option(help="run notebook 06 at the end")] = True,
) -> None:
    """Train many runs, or go on with them. Then a summary, figures and a comparison."""
    from hpiclock.config.sweep import load_sweep
    from hpiclock.workflows.sweep import run_sweep
    from hpiclock.workflows.sweep.executors import train_only

    keys = _changes(changes)
    if run:
        train_only(load_sweep(file, keys), run)
        return
    _print(
        run_sweep(file, keys, workers=workers, report=report, say=typer.echo, engine=engine, options=options)
    )


@app.command()
def pdf(run: Annotated[Path, Argument(help="a run's folder with pages")]) -> None:
    """Print a run's pages as PDF. Needs Chromium or Chrome."""
    from hpiclock.report.pdf import print_run
    from hpiclock.runs.run import Run

    _print(print_run(Run.open(run)))


@app.command()
def index(folder: Annotated[Path, Argument(help="the folder of all runs")] = Path("reports")) -> None:
    """Write index.html over all runs of a folder."""
    from hpiclock.report.index import write_index

    typer.echo(str(write_index(folder)))


def _config(path: Path, changes: list[str] | None) -> Any:
    from hpiclock.config.load import load_config

    return load_config(path, _changes(changes))


def _changes(changes: list[str] | None) -> dict[str, Any]:
    from hpiclock.config.load import read_setting

    return dict(read_setting(text) for text in changes or [])


def _print(lines: Iterable[object]) -> None:
    for line in lines:
        typer.echo(str(line))


def _is_main_process() -> bool:
    """Return whether this process may print: of several that torchrun started, only the first."""
    return os.environ.get("RANK", "0") == "0"


def main() -> None:
    """Run the command line; bad input ends with one line and exit code 2."""
    try:
        _in_a_folder()
        spare_home()
        code = app(prog_name="hpiclock", standalone_mode=False)
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            sys.exit(2)
        command = error.ctx.command_path if error.ctx else "hpiclock"
        _end(f"{error.format_message().removesuffix('.')}; `{command} --help` says what it takes", 2)
    except InputError as error:
        _end(str(error), 2)
    except RunFailed as error:
        _end(str(error), 1)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _end(f"{error.filename or 'a file'}: {error.strerror}; make room and start again", 1)
        if error.errno not in NO_ACCESS or not error.filename:
            raise
        _end(f"{error.filename}: {error.strerror}; check its rights, or name another place", 2)
    sys.exit(code if isinstance(code, int) else 0)


def _in_a_folder() -> None:
    try:
        here = os.getcwd()
    except OSError:
        raise InputError("the working folder was removed; go to one that is there") from None
    for text in (here, *sys.argv[1:]):
        if text.encode(errors="replace") != text.encode(errors="surrogatepass"):  # bytes that are no UTF-8
            raise InputError(f"{text!a}: is not a name in UTF-8; rename it, or name another place")


def _end(message: str, code: int) -> NoReturn:
    if _is_main_process():
        print("hpiclock:", " ".join(message.splitlines()), file=sys.stderr)
    else:
        # torchrun ends all when one has ended: the main process must have printed by then
        time.sleep(MAIN_PROCESS_S)
    sys.exit(code)
