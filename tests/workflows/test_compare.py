"""Runs on disk become variants; a comparison is written whole, or refused in one line."""

import sys

import numpy as np
import pandas as pd
import pytest

from hpiclock import cli, figures
from hpiclock.config.load import load_config
from hpiclock.errors import InputError
from hpiclock.report.text import readable_comparison, readable_steadiness
from hpiclock.runs.run import Run
from hpiclock.simulate.predictions import Simulation, simulate_predictions
from hpiclock.tables import PREDICTIONS
from hpiclock.workflows.compare import by_variant, compare_runs, find_runs, variants_table


@pytest.fixture(scope="module")
def table():
    design = Simulation(wells=5, stacks=1, interval_h=6.0)
    return simulate_predictions(design, rng=np.random.default_rng(0))


@pytest.fixture
def make_run(tmp_path, table):
    """A finished run with these keys; its answers are those of the table with noise of its seed."""
    base = tmp_path / "base.yaml"
    base.write_text("reports_dir: reports\nwindows: {width_h: 24, stride_h: 24}\ncompare: {shuffles: 1000}\n")

    def make(folder, *, gain=0.0, rows=table, done=True, **keys):
        cfg = load_config(base, {key.replace("__", "."): value for key, value in keys.items()})
        run = Run.create(cfg, tmp_path / "reports" / folder)
        noise = np.random.default_rng([cfg.seed, len(folder)]).normal(0, 1, len(rows))
        answers = {
            "p_infected": np.clip(rows["p_infected"] + 0.1 * noise, 0, 1),
            "time_pred": rows["time_target"] + (noise + np.sign(noise) * 2) * (1 - gain),
        }
        said = rows.assign(run=run.name, seed=cfg.seed, fold=cfg.split.fold, **answers)
        run.save_table("predictions.parquet", PREDICTIONS, said)
        if done:
            run.save_json("results.json", {})
        return run

    return make


def test_runs_that_differ_by_seed_and_fold_alone_are_one_variant(make_run):
    runs = [
        make_run(f"s/{name}_seed{seed}_fold{fold}", experiment="s", seed=seed, split__folds=3,
                 split__fold=fold, train__epochs=epochs)
        for name, epochs in (("short", 2), ("long", 20)) for seed in (0, 1) for fold in (0, 1)
    ]  # fmt: skip
    variants = by_variant(runs)
    assert {name: len(mine) for name, mine in variants.items()} == {"short": 4, "long": 4}


def test_variants_are_named_by_experiment_or_else_by_what_differs(make_run):
    named = [make_run("a/seed0", experiment="a"), make_run("b/seed0", experiment="b", train__lr=0.1)]
    assert list(by_variant(named)) == ["a", "b"]
    same = [make_run("x/seed0", experiment="x"), make_run("y/seed0", experiment="x", train__lr=0.1)]
    assert list(by_variant(same)) == ["train.lr=0.0001", "train.lr=0.1"]
    names = [f"{letter}-name-that-is-far-too-long" for letter in "xy"]
    long = [
        make_run(f"{name}/seed0", experiment=name, train__lr=rate)
        for name, rate in zip(names, (1e-3, 1e-2), strict=True)
    ]
    assert list(by_variant(long)) == ["A", "B"]


def test_a_comparison_is_written_whole(make_run, tmp_path, monkeypatch, capsys):
    plain = make_run("plain/seed0", experiment="plain")
    better = make_run("better/seed0", experiment="better", gain=0.5, train__lr=0.1)
    out = tmp_path / "out"
    argv = ["hpiclock", "compare", str(plain.folder), str(better.folder), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    said = capsys.readouterr().out
    rows = pd.read_csv(out / "comparison.csv")
    assert rows["against"].eq("plain").all()
    mock = rows[rows["metric"].eq("mae") & rows["group"].eq("mock")].iloc[0]
    assert mock["difference"] < 0
    assert "Every difference is better less plain" in said
    assert "- time error of mock frames: " in said
    assert (out / "comparison.txt").read_text() in said
    assert {p.name for p in (out / "figures").iterdir()} == {
        f"{name}{suffix}" for suffix in (".png", ".svg")
        for name in ("differences", "differences_over_hours", "variants_over_hours")
    }  # fmt: skip


def test_the_tables_for_reading_say_what_is_compared(make_run):
    runs = [make_run("a/seed0", experiment="a"), make_run("b/seed0", experiment="b", train__epochs=7)]
    found = compare_runs(runs, first="b")
    assert list(found.variants) == ["b", "a"]
    assert variants_table(found)["differs in"].tolist() == ["train.epochs=7", "train.epochs=30"]
    shown = readable_comparison(found.tables["comparison"], level=0.95)
    assert shown.index.names == ["variant", "frames", "metric"]
    assert shown["says"].isin(["better", "worse", "no difference shown", "equal within the margin"]).all()
    raw = found.tables["steadiness"]
    steady = readable_steadiness(raw, level=0.95)
    assert len(steady) == len(raw) > 0
    assert steady["value"].tolist() == [f"{v:.3f}" if v == v else "–" for v in raw["value"]]
    assert set(steady.index.get_level_values("spread")) == {"SD over windows", "range over windows"}


def test_unfinished_runs_and_incomplete_seeds_are_left_out_and_said(make_run, table):
    stacks = table["stack_id"].unique()
    halves = [table[table["stack_id"].isin(stacks[i::2])] for i in (0, 1)]
    runs = [
        make_run(f"s/{name}_seed{seed}_fold{fold}", rows=halves[fold], experiment="s", seed=seed,
                 split__folds=3, split__fold=fold, train__epochs=epochs,
                 done=not (name == "long" and seed == 1 and fold == 1))
        for name, epochs in (("short", 2), ("long", 20)) for seed in (0, 1, 2) for fold in (0, 1)
    ]  # fmt: skip
    found = compare_runs(runs)
    assert [len(mine) for mine in found.variants.values()] == [4, 4]
    assert any("long_seed1_fold1 is not finished" in note for note in found.notes)
    assert any("Seed 1 lacks a fold" in note for note in found.notes)
    assert found.tables["comparison"]["n_seeds"].eq(2).all()


def test_a_folder_of_runs_is_all_of_them(make_run, tmp_path):
    make_run("s/a", experiment="s")
    make_run("s/b", experiment="s", train__lr=0.1)
    assert [run.folder.name for run in find_runs([tmp_path / "reports" / "s"])] == ["a", "b"]
    with pytest.raises(InputError, match="no such folder"):
        find_runs(["nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no run"):
        find_runs([tmp_path / "empty"])


def test_one_variant_and_unknown_names_are_refused(make_run):
    alone = [make_run("s/a_seed0", experiment="s"), make_run("s/a_seed1", experiment="s", seed=1)]
    with pytest.raises(InputError, match="one way of training alone"):
        compare_runs(alone)
    with pytest.raises(InputError, match="no variant other; there are"):
        compare_runs(alone, first="other")
    with pytest.raises(InputError, match="none of these runs is finished"):
        compare_runs([make_run("s/c", experiment="s", done=False, train__lr=0.1)])


def test_figures_say_in_words_what_they_show(make_run):
    runs = [make_run("a/seed0", experiment="a"), make_run("b/seed0", experiment="b", train__lr=0.1)]
    tables = compare_runs(runs).tables
    text = figures.alt_text(figures.difference_figure(tables["comparison"], level=0.95))
    assert text.startswith("Differences to a. b, AUC ")
    over = figures.differences_over_time_figure(tables["comparison_windows"], level=0.95, clock="hours")
    assert len(over.axes) == 6
    nothing = figures.difference_figure(tables["comparison"].assign(difference=np.nan), level=0.95)
    assert "nothing that could be compared" in figures.alt_text(nothing)
