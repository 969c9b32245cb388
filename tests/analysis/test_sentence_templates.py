"""Every template of sentences.yaml is used, finds its facts, and leaves no number unwritten."""

import re

import numpy as np
import pandas as pd
import pytest

from hpiclock.analysis import sentences
from hpiclock.analysis.dose_response import dose_response, log_logistic
from hpiclock.analysis.sentences import SAME, comparison_sentences, verdict_of

NAN = float("nan")
KEY = {"run": "r", "split": "test"}
METRICS = {
    ("all", "auc"): 0.7,
    ("all", "auc_stratified"): 0.7,
    ("all", "auc_gap"): 0.0,
    ("before onset", "auc_stratified"): 0.5,
    ("after eclipse", "auc_stratified"): 0.9,
    ("infected", "mae"): 4.0,
    ("infected", "gain_over_clock"): 0.0,
    ("infected", "mae_of_clock"): 5.0,
    ("infected", "mae_of_mean"): 6.0,
}
COMPARED = [("all", "auc"), ("all", "f1"), ("infected", "recall"), ("infected", "mae"), ("mock", "mae")]


def estimate(rng, middle, spread):
    """A value with limits around it; now and then without limits, or without a value."""
    value, wide = middle + spread * rng.normal(), abs(spread * rng.normal()) * 1.5
    low, high = value - wide, value + wide * rng.random()
    luck = rng.random()
    if luck < 0.1:
        return NAN, NAN, NAN
    return (value, NAN, NAN) if luck < 0.2 else (value, low, high)


def study(rng):
    def row(names, values, **more):
        return KEY | more | dict(zip(names, values, strict=True))

    def table(*rows):
        return pd.DataFrame([] if rng.random() < 0.1 else rows, columns=list(rows[0]))

    limits = ("value", "low", "high")
    whole = {"group": "all", "metric": "auc_stratified"}
    n = {"n_stacks": int(rng.choice([1, 10])), "n_detected": 5}
    rules = ("decision", "controls")
    return {
        "notes": pd.DataFrame({"note": ["a note"]}, dtype=object),
        "metrics": table(
            *(
                row(
                    limits,
                    (middle, NAN, NAN)
                    if name.startswith("mae_of")
                    else estimate(rng, middle, 0.1 if group == "before onset" else 0.2 + middle / 4),
                    group=group,
                    metric=name,
                    n=9 if name == "auc_stratified" else int(rng.choice([9, 12])),
                    n_stacks=4,
                    n_wells=int(rng.choice([0, 2])),
                    note="few wells.",
                )
                for (group, name), middle in METRICS.items()
            )
        ),
        "windows_hpi": table(
            *(
                row(
                    ("value", "low_simultaneous", "high_simultaneous"),
                    estimate(rng, 0.6, 0.1),
                    start_h=6 * i,
                    end_h=6 * i + 6,
                    **whole,
                )
                for i in range(3)
            )
        ),
        "stability": table(
            row(
                ("range", "range_low", "range_high"),
                estimate(rng, 0.2, 0.1),
                axis="hpi",
                range_of_noise=0.2,
                sd=0.1,
                sd_says="stable",
                **whole,
            )
            | row(("slope_per_h", "slope_low", "slope_high"), estimate(rng, 0, 0.01))
        ),
        "detection": table(
            *(
                KEY
                | n
                | {
                    "rule": rule,
                    "group": "all",
                    "after_h": rng.choice([4.2, 5.2]),
                    "half_h": rng.choice([NAN, 5.2]),
                    "low_h": rng.choice([NAN, 3.0]),
                    "high_h": rng.choice([NAN, 9.0]),
                    "n_at_first": rng.choice([0, 2]),
                    "watched_from_h": 4.0,
                    "note": "unit well: 5",
                }
                for rule in rules
            )
        ),
        "detection_thresholds": pd.DataFrame(
            {"rule": rules, "bound": [NAN, rng.choice([0.2, 0.7])], "note": ["youden", "9 controls"]}
        ),
        "false_alarms": table(
            *(
                KEY | {"rule": rule, "n_stacks": 10, "n_alarms": 1, "share": rng.choice([0.1, 0.3])}
                for rule in rules
            )
        ),
        "time_lines": table(
            row(("slope", "slope_low", "slope_high"), estimate(rng, 1, 0.2), clock="infection")
            | {"intercept": rng.normal(), "start_h": 0.0, "end_h": 40.0}
        ),
        "calibration": table(
            row(("intercept", "intercept_low", "intercept_high"), estimate(rng, 0, 0.3))
            | row(("slope", "slope_low", "slope_high"), estimate(rng, 1, 0.3))
            | {"mean_p": 0.6, "share_infected": 0.5, "margin": 1.8, "n": 99, "n_wells": 4, "note": "few"}
        ),
        "stacks": pd.DataFrame(
            {
                **KEY,
                "stack_id": ["P/A1/1", "P/B1/1", "P/C1/1"],
                "condition": ["infected", "mock", "mock"],
                "n_scored": rng.choice([0, 9]),
                "crossings": [3, 0, 1],
                "largest_jump_h": [2.0, rng.choice([NAN, 3.0]), rng.choice([NAN, -8.0])],
                "jump_at_h": 4.0,
            }
        ),
        "conformal": table(
            {
                "start_h": NAN,
                "group": "called infected",
                "width_h": rng.choice([NAN, 8.0]),
                "coverage": 0.9,
                "n": 99,
                "level": 0.9,
                "note": "no interval: few",
            }
        ),
    }


def comparison(rng):
    place = [{"variant": "b", "against": "a", "group": group, "metric": metric} for group, metric in COMPARED]
    whole = []
    for one in place:
        difference, low, high = estimate(rng, 0, 0.2)
        row = one | {
            "value": 0.8,
            "value_against": 0.7,
            "difference": difference,
            "low": low,
            "high": high,
            "low_margin": low,
            "high_margin": high,
            "margin": rng.choice([0.02, 0.5]),
            "n_wells": 5,
            "seeds_agree": rng.choice(["", "2 of 3"]),
            "p": rng.choice([0.016, 0.5]),
            "p_floor": 0.016,
            "p_holm": rng.choice([NAN, 0.016, 0.5]),
            "could_see": rng.choice([NAN, 0.2]),
            "note": rng.choice(["", SAME, "few"]),
        }
        whole.append(row | {"verdict": verdict_of(row, alpha=0.05)})
    windows = [
        one
        | {
            "axis": "hours",
            "start_h": 6.0 * i,
            "end_h": 6.0 * i + 6,
            "difference": rng.normal(),
            "p_over_all_windows": rng.choice([0.01, 0.5]),
        }
        for one in place
        for i in range(3)
    ]
    spreads = [
        one
        | {
            "spread": kind,
            "value": 0.2,
            "value_against": 0.1,
            "difference": rng.normal(),
            "by_chance": 0.1,
            "p": rng.choice([NAN, 0.3]),
            "p_holm": rng.choice([0.01, 0.3]),
            "note": "few",
        }
        for one in place
        for kind in ("sd", "range")
    ]
    return {
        "notes": pd.DataFrame({"note": []}, dtype=object),
        "comparison": pd.DataFrame(whole),
        "comparison_windows": pd.DataFrame(windows),
        "steadiness": pd.DataFrame(spreads),
    }


def notes_on_curves():
    """The notes on curves that bend before, beside, between and beyond the doses, or at chance."""
    dose = np.repeat(10.0 ** np.arange(-1, 5), 2)
    noise = np.random.default_rng(2).normal(size=len(dose))
    for bend, slope, most, error in (
        (1e-3, 0.5, 100.0, 0.03), (3.0, 60.0, 1.0, 1e-3), (3e2, 0.3, 1.0, 0.15),
        (1e6, 1.5, 1e6, 1e-3), (3e4, 1.5, 1.0, 0.02), (0.03, 1.0, 1.0, 0.02),
    ):  # fmt: skip
        values = log_logistic(dose, bend, slope, 0.0, most) + error * noise
        wells = pd.DataFrame({"moi": dose, "y": values})
        yield dose_response(wells, dose="moi", response="y", level=0.95)[0]["note"]


def design(rng):
    n = int(rng.integers(2, 9))
    onsets = rng.choice([[2.0, 2.0], [2.0, 5.0], [2.0, NAN]])
    return pd.DataFrame(
        {
            "stack_id": [f"s{i}" for i in range(n)],
            "plate": rng.choice(["p", "q"], n),
            "position": "1",
            "well": rng.choice(["A1", "A2", "B1", "" if rng.random() < 0.1 else "B2"], n),
            "moi": 1.0,
            "condition": rng.choice(["infected", "mock"], n),
            "onset_h": rng.choice(onsets, n),
        }
    )


def answers(tables, rng):
    """The answer on top: with and without rates, wells by class, and a linear model to compare with."""
    metrics = tables["metrics"].copy()
    extra = metrics[metrics["group"].eq("after eclipse")]
    rates = [extra.assign(metric=name) for name in ("recall", "specificity")]
    note = rng.choice(["few wells.", "unit well: 3 infected, 4 mock"])
    asked = tables | {"metrics": pd.concat([metrics, *rates]).assign(note=note)}
    if rng.random() < 0.2:
        gone = asked["metrics"]["metric"].eq("mae_of_clock")
        asked["metrics"] = asked["metrics"][~gone]
    rival = float(rng.choice([NAN, 3.0]))
    return sentences.answer_sentences(asked, level=0.95, rival_mae=rival).values()


@pytest.fixture
def used(monkeypatch):
    """The names of the templates that were asked for."""
    names: set[str] = set()
    known = dict(sentences.templates())

    class Recorded(dict):
        def __getitem__(self, key):
            names.add(key)
            return super().__getitem__(key)

    monkeypatch.setattr(sentences, "templates", lambda: Recorded(known))
    return names


def test_every_template_is_used_and_finds_its_facts(used):
    rng = np.random.default_rng(0)
    written: list[str] = list(notes_on_curves())
    for _ in range(160):
        written += sentences.design_sentences(design(rng))
        tables = study(rng)
        tables["metrics"]["split"] = str(rng.choice(["test", "test", "train"]))
        if rng.random() < 0.2:
            tables["metrics"].loc[tables["metrics"]["metric"].eq("mae_of_clock"), "value"] = 0.0
        written += answers(tables, rng)
        margin = float(rng.choice([0.1, 0.49]))
        found = sentences.conclusions(tables, level=0.95, eclipse_h=6.0, margin=margin)
        written += list(found["sentence"])
        written += list(comparison_sentences(comparison(rng), level=0.95, power=0.8)["sentence"])
    losses = [(1, split, "loss", 0.5) for split in ("train", "val")] + [(1, "val", "auc", 0.9)]
    history = pd.DataFrame(losses, columns=["epoch", "split", "metric", "value"])
    written += sentences.training_sentences(history, best_epoch=1)
    assert used == set(sentences.templates())
    assert not [text for text in written if re.search(r"\bnan\b|\binf\b|[{}]|  |\.\.", text)]
