"""Words that could not be false: each was printed once where it was not true, and is not printed any more."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hpiclock import audit, cli
from hpiclock.audit import FINE, Evidence, baselines, clocks, controls, design, power
from hpiclock.audit.clocks import onset_shift_table, score_over_time
from hpiclock.audit.design import Plate, hours_auc, wells_of
from hpiclock.audit.permutation import well_units
from hpiclock.audit.verdict import design_verdict, verdict
from hpiclock.config.schema import AuditConfig, StudyConfig
from hpiclock.simulate.predictions import Simulation, simulate_predictions
from hpiclock.wells import well_name

AUDIT = AuditConfig(shuffles=1000)
STUDY = StudyConfig()


def predictions(*, seed=0, splits=("test",), **changes):
    plate = Simulation(wells=8, interval_h=2.0, onset_h=(5.0, 11.0))._replace(**changes)
    return simulate_predictions(plate, rng=np.random.default_rng(seed), splits=splits).assign(
        allocation="well"
    )


def evidence(rows, **parts):
    return Evidence(rows, rows, audit=AUDIT, **parts)


def layout(infected, *, rows=4, columns=6, plate="P", hours=(0.0, 10.0)):
    """Frames of a full block of wells; ``infected(row, column)`` says which are."""
    wells = [(row, column) for column in range(columns) for row in range(rows)]
    table = pd.DataFrame({"well": [well_name(*at) for at in wells], "plate": plate})
    table["condition"] = ["infected" if infected(*at) else "mock" for at in wells]
    table["onset_h"] = [float(row) if infected(row, column) else np.nan for row, column in wells]
    table = table.assign(stack_id=table["plate"] + table["well"], moi=1.0).merge(
        pd.DataFrame({"hours": hours}), how="cross"
    )
    return table.assign(hpi=table["hours"] - table["onset_h"])


def place(frames):
    return design.place_of_design(Plate(frames, wells_of(frames)))


def of_plates(*counts):
    """The row on plates, of plates with so many (infected, mock) wells."""
    parts = [
        layout(lambda _, column, n=n: column < n, rows=1, columns=n + m, plate=f"P{i}")
        for i, (n, m) in enumerate(counts)
    ]
    frames = pd.concat(parts)
    return design.plates_of_design(Plate(frames, wells_of(frames)))


def test_columns_with_one_pair_of_wells_swapped_are_one_with_the_condition():
    swapped = place(layout(lambda row, column: (column < 3) != ((row, column) in ((0, 0), (3, 5)))))
    assert swapped.verdict == "not identifiable"
    assert 0.8 <= swapped.effect < 1  # not complete, and yet nearly aliased
    assert swapped.remedy == "randomise the layout"


def test_columns_are_categories_and_no_rank():
    found = place(layout(lambda row, column: column % 2 == 0, rows=3, columns=8))  # noqa: ARG005
    assert found.verdict == "not identifiable"
    assert found.effect == 1
    assert "given by column: no p below 0.014 is possible" in found.evidence  # 1 / (8 choose 4)


def test_a_random_layout_says_how_strong_an_alias_would_have_stood_out():
    drawn = np.random.default_rng(3).permutation(24).reshape(4, 6)
    found = place(layout(lambda row, column: drawn[row, column] < 12))
    assert found.verdict == "not seen"
    assert "it would have stood out" in found.evidence


@pytest.mark.parametrize(
    ("counts", "answer", "auc"),
    [
        (((6, 6), (6, 6)), "shown", 0.5),
        (((7, 5), (5, 7)), "shown", 7 / 12),
        (((9, 3), (3, 9)), "contradicted", 0.75),  # once: supported
        (((12, 4), (4, 12)), "contradicted", 0.75),
        (((12, 1), (1, 12)), "not identifiable", 12 / 13),
        (((12, 0), (0, 12)), "not identifiable", 1.0),
    ],
)
def test_shares_that_differ_between_plates_are_graded(counts, answer, auc):
    found = of_plates(*counts)
    assert found.verdict == answer
    assert found.effect == pytest.approx(auc)  # 0.5 + V / 2
    assert "a new plate is not covered" in found.evidence


def elapsed(slope, seed, *, wells=12):
    rows = predictions(seed=seed, wells=wells, onset_h=(2.0, 14.0), well_time_sd_h=1.5)
    late = (1 - slope) * (rows["onset_h"] - 8)
    return clocks.judge_elapsed(evidence(rows.assign(time_pred=rows["time_pred"] + late.fillna(0))))


def test_a_slope_of_a_quarter_is_not_shown_to_be_time_since_infection():
    assert [elapsed(0.25, seed).verdict for seed in range(8)].count("shown") == 0
    assert [elapsed(1.0, seed).verdict for seed in range(8)].count("shown") >= 7


def test_four_infected_wells_cannot_tell_and_are_told_how_many_would():
    found = elapsed(0.6, 0, wells=4)
    assert found.verdict == "cannot tell"
    assert "infected wells would part it from a half" in found.evidence


def a_clock(seed, late=0.0):
    """P follows the hour and nothing else."""
    rows = predictions(seed=seed, strength=0.0)
    rows = rows[rows["condition"].eq("mock") | rows["hours"].ge(late)]
    logit = np.log(rows["p_infected"] / (1 - rows["p_infected"])) + rows["hours"] / 6
    return rows.assign(p_infected=1 / (1 + np.exp(-logit)))


def test_a_model_that_reads_the_clock_alone_is_no_infection():
    found = [clocks.judge_hour(evidence(a_clock(seed))) for seed in range(12)]
    assert sum(answer.verdict in FINE for answer in found) <= 1
    assert any(answer.verdict == "contradicted" for answer in found)
    assert clocks.judge_hour(evidence(predictions())).verdict == "shown"


def test_a_window_of_hours_in_the_middle_is_found():
    rows = predictions(wells=4)
    inside = rows["hours"].between(16, 30)
    rows = rows[rows["condition"].eq("mock") | inside]
    auc, shared = hours_auc(rows)
    line = stats.mannwhitneyu(
        rows.loc[rows["condition"].eq("infected"), "hours"], rows.loc[rows["condition"].eq("mock"), "hours"]
    ).statistic / np.prod(rows["condition"].value_counts().to_numpy())
    assert abs(line - 0.5) < 0.1  # a rank does not see it
    # mock frames lie outside in 17 of 25 hours, and tie in the others
    assert auc == pytest.approx(17 / 25 + 8 / 25 / 2)
    assert shared < 0.7
    found = design_verdict(rows).set_index("question").loc[audit.HOUR]
    assert found["verdict"] == "contradicted"
    assert "at the other hours the hour is the label" in found["evidence"]


def test_a_wide_interval_before_the_onset_is_no_evidence_of_nothing():
    found = controls.judge_early(evidence(predictions(seed=1)))
    assert found.low < 0.4 or found.high > 0.6
    assert found.verdict == "cannot tell"
    assert "an AUC of 0.80 would have been found in" in found.evidence
    assert "wells a class would bring the interval within 0.4 to 0.6" in found.evidence


def test_nothing_before_the_onset_is_shown_when_the_whole_interval_is_near_a_half():
    alike = predictions(wells=12, stacks=12, interval_h=1.0, hours=12.0, well_sd=0.0, stack_sd=0.0)
    assert controls.judge_early(evidence(alike)).verdict == "shown"
    narrow = AuditConfig(shuffles=1000, negative_control_margin=0.01)
    assert controls.judge_early(Evidence(alike, alike, audit=narrow)).verdict == "cannot tell"


def test_a_score_below_chance_before_the_onset_is_a_difference_too():
    rows = predictions()
    down = rows["condition"].eq("infected") & rows["hpi"].lt(0)
    found = controls.judge_early(
        evidence(rows.assign(p_infected=rows["p_infected"] * np.where(down, 0.01, 1)))
    )
    assert found.verdict == "contradicted"
    assert found.effect < 0.1


def test_an_onset_claim_that_cannot_be_told_does_not_stand():
    table = onset_shift_table(predictions(seed=1), study=STUDY, audit=AuditConfig(onset_shifts_h=()))
    before = table.set_index("claim").loc["nothing before the onset"]
    assert before["low"] < 0.5 < before["high"]
    assert pd.isna(before["stands"])


def test_a_difference_that_falls_to_correction_is_neither_seen_nor_not_seen():
    row = {
        "question": audit.FOCUS, "statistic": "laplacian", "difference": 1.0, "auc": 0.7, "low": 0.5,
        "high": 0.8, "p": 0.032, "floor": 0.0002, "n": 100, "n_infected": 12, "n_mock": 12, "unit": "well",
        "replicated": True, "statistics": 5, "units_infected": 12, "units_mock": 12,
    }  # fmt: skip

    def judged(**changes):
        table = pd.DataFrame([row | changes])
        return controls.judge_nuisance(evidence(predictions(), nuisance=table), question=audit.FOCUS)

    assert judged().verdict == "cannot tell"
    assert "does not stand after correction" in judged().evidence
    assert judged(p=0.5).verdict == "not seen"
    assert "2 SD between wells would have been found in" in judged(p=0.5).evidence
    assert judged(p=0.5, units_infected=5, units_mock=5).verdict == "cannot tell"  # half the plates
    assert judged(p=0.002).verdict == "contradicted"


def test_mock_wells_that_follow_the_hour_are_weighed():
    def judged(rows):
        table = score_over_time(rows, audit=AUDIT, level=0.95, rng=np.random.default_rng(0))
        return clocks.judge_steady(evidence(rows, over_time=table))

    rows = predictions(wells=12, stacks=4, well_sd=0.3, stack_sd=0.0)
    assert judged(rows).verdict == "shown"
    falling = rows.assign(p_infected=0.9 - rows["hours"] / 100)
    assert judged(falling).verdict == "contradicted"
    assert judged(falling).effect == pytest.approx(-0.48)
    few = rows[rows["well"].isin(rows["well"].unique()[[0, -1]])]
    assert judged(few).verdict == "cannot tell"


def changes(effect, low, high, *, change="brighter", answer="p_infected"):
    row = {
        "change": change,
        "condition": "mock",
        "answer": answer,
        "effect": effect,
        "low": low,
        "high": high,
    }
    return pd.DataFrame([row | {"auc": 0.9, "n": 100, "n_wells": 7, "note": ""}])


def test_an_answer_that_changes_with_the_light_is_weighed():
    def judged(*tables):
        return baselines.judge_other_light(evidence(predictions(), changes=pd.concat(tables)))

    assert judged(changes(0.29, 0.2, 0.38)).verdict == "contradicted"
    hours = changes(30.0, 22.0, 38.0, change="darker", answer="time_pred")
    found = judged(changes(0.0, -0.01, 0.01), hours)
    assert found.verdict == "contradicted"
    assert "the predicted time of mock frames moves by 30.00 (22.00 to 38.00) h" in found.evidence
    assert judged(changes(0.0, -0.01, 0.01)).verdict == "shown"
    assert judged(changes(0.05, -0.1, 0.2)).verdict == "cannot tell"
    assert judged(changes(0.5, 0.4, 0.6, change="heavy blur")).verdict == "not tested"


def scored(rows, score, **more):
    return rows[["stack_id", "frame"]].assign(score=score, **more)


def test_a_model_that_is_no_better_than_frame_statistics_says_what_is_excluded():
    rows = predictions(wells=12)
    same = baselines.judge_beyond_statistics(evidence(rows, plain_scores=scored(rows, rows["p_infected"])))
    assert same.verdict == "contradicted"
    assert "not better" in same.evidence
    assert "gains above 0 are excluded" in same.evidence


def test_a_model_that_is_worse_at_the_time_is_not_better():
    rows = predictions(wells=12)
    noise = np.random.default_rng(0).normal(size=len(rows))
    worse = scored(rows, noise, time=rows["time_target"])  # never wrong, and blind to the class
    found = baselines.judge_beyond_statistics(evidence(rows, plain_scores=worse))
    assert found.verdict == "contradicted"
    assert "time error of the model" in found.evidence
    better = scored(rows, noise, time=rows["time_target"] + 9)
    assert baselines.judge_beyond_statistics(evidence(rows, plain_scores=better)).verdict == "shown"


def test_a_border_that_does_as_well_as_the_model_is_weighed():
    rows = predictions(wells=12)
    noise = np.random.default_rng(0).normal(size=len(rows))

    def judged(border):
        parts = [scored(rows, noise, source="background only"), scored(rows, border, source="border only")]
        return baselines.judge_cells(evidence(rows, background_scores=pd.concat(parts)))

    assert judged(noise).verdict == "shown"
    assert judged(rows["p_infected"]).verdict == "contradicted"


def split_by(frames, tested):
    return frames.assign(split=np.where(frames["well"].isin(tested), "test", "train"))


def test_the_design_is_judged_on_the_split_that_is_reported():
    drawn = np.random.default_rng(3).permutation(24).reshape(4, 6)
    frames = layout(lambda row, column: drawn[row, column] < 12)
    wells = frames.drop_duplicates("well").set_index("well")
    infected, mock = (list(wells.index[wells["condition"].eq(kind)]) for kind in ("infected", "mock"))
    whole = design_verdict(frames).set_index("question")["verdict"]
    assert audit.WELL not in whole
    one = design_verdict(split_by(frames, [infected[0], *mock[:3]])).set_index("question")
    assert one.loc[audit.WELL, "verdict"] == "not identifiable"
    assert one.loc[audit.WELL, "evidence"].startswith("in the test: 1 infected and 3 mock wells")
    onsets = wells.loc[infected, "onset_h"]
    alike = list(onsets.index[onsets.eq(onsets.iloc[0])])
    found = design_verdict(split_by(frames, [*alike, *mock[:3]])).set_index("question")
    assert whole[audit.CLOCKS] == "shown"
    assert found.loc[audit.CLOCKS, "verdict"] == "not identifiable"
    column = wells.index.str[1:].astype(int)
    apart = [*wells.index[wells["condition"].eq("infected") & (column < 4)][:3]]
    apart += [*wells.index[wells["condition"].eq("mock") & (column > 4)][:3]]
    found = design_verdict(split_by(frames, apart)).set_index("question")
    assert found.loc[audit.PLACE, "verdict"] == "cannot tell"
    assert "in the test:" in found.loc[audit.PLACE, "evidence"]


def test_no_p_is_smaller_than_the_allocation_allows():
    frames = layout(lambda row, column: column % 2 == 0, rows=3, columns=8)  # noqa: ARG005
    units = well_units(frames)
    assert (units.name, units.counts, units.wells) == ("column", (4, 4), (12, 12))
    rows = predictions(wells=12)
    places = {
        well: well_name(i % 3, 2 * (i // 3 % 4) + i // 12) for i, well in enumerate(rows["well"].unique())
    }
    rows = rows.assign(well=rows["well"].map(places), allocation="")
    found = controls.judge_well(evidence(rows))
    assert "columns shuffled: p = 0.014 (smallest possible 0.014)" in found.evidence
    stated = rows.assign(allocation="well")
    assert "wells shuffled" in controls.judge_well(evidence(stated)).evidence


def test_the_power_is_that_of_simulated_plates():
    rng, n, frames, icc, auc = np.random.default_rng(0), 6, 10, 0.3, 0.8
    shift = power.auc_shift(auc)
    well = np.sqrt(icc) * rng.normal(size=(4000, 2, n, 1))
    means = (well + np.sqrt(1 - icc) * rng.normal(size=(4000, 2, n, frames))).mean(-1)
    p = stats.ttest_ind(means[:, 0] + shift, means[:, 1], axis=1).pvalue
    variance = icc + (1 - icc) / frames
    expected = power.power_of_auc(auc, (n, n), variance=variance, alpha=0.05, two_sided=True)
    assert (p <= 0.05).mean() == pytest.approx(expected, abs=0.025)
    wins = np.mean(rng.normal(size=100_000) + shift > rng.normal(size=100_000))
    assert wins == pytest.approx(auc, abs=0.005)


def test_the_wells_that_are_named_bring_the_interval_inside_the_margin():
    variance, margin = 0.4, 0.1
    n = power.wells_for_margin(margin, variance=variance, level=0.95)
    rng = np.random.default_rng(0)
    difference = rng.normal(0, np.sqrt(2 * variance / n), 4000)
    half = stats.t.ppf(0.975, 2 * n - 2) * np.sqrt(2 * variance / n)
    auc = [stats.norm.cdf((difference + side * half) / np.sqrt(2)) for side in (-1, 1)]
    inside = np.mean((auc[0] > 0.5 - margin) & (auc[1] < 0.5 + margin))
    assert inside == pytest.approx(0.8, abs=0.03)
    assert power.wells_for_margin(0.001, variance=1.0, level=0.95) is None


def test_every_row_names_its_wells():
    rows = predictions(splits=("val", "test"))
    table = verdict(evidence(rows)).query("kind == 'inference' and verdict != 'not tested'")
    named = table["evidence"].str.contains("test|all wells|held out")
    assert named.all(), table.loc[~named, "evidence"].tolist()


def test_a_study_of_a_table_alone_says_what_its_design_can_show(tmp_path, capsys, monkeypatch):
    rows = predictions(wells=3, stacks=1, interval_h=8.0, splits=("train", "test"))
    mock = rows["condition"].eq("mock") & rows["split"].eq("test")
    one = rows.loc[mock, "well"].iloc[0]
    rows[~mock | rows["well"].eq(one)].to_csv(tmp_path / "predictions.csv", index=False)
    monkeypatch.setattr(
        "sys.argv", ["hpiclock", "study", str(tmp_path / "predictions.csv"), "--out", str(tmp_path / "out")]
    )
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr().out
    assert "? Infection or well? NOT IDENTIFIABLE" in said
    assert "in the test: 3 infected and 1 mock well: every difference between them" in said


def test_where_no_plate_holds_enough_wells_that_is_said_plainly():
    assert power.about(None, of="infected wells") == "no number of infected wells on a plate"
    assert power.about(24) == "about 24 wells a class"


def test_questions_in_a_list_are_told_apart():
    table = pd.DataFrame({"question": [audit.MORE, audit.OTHER_LIGHT, audit.WELL], "kind": "inference",
                          "verdict": ["contradicted", "contradicted", "cannot tell"]})  # fmt: skip
    assert audit.summary_line(table, opening="Confound audit.") == (
        "Confound audit. Found: frame statistics alone, answers changing with light. "
        "Not ruled out: well-to-well differences."
    )
