"""Frames that stand for many: both conditions, all hours, different wells; the worst and their neighbours."""

import numpy as np
import pandas as pd
import pytest

from hpiclock.analysis.curves import LISTED, NEIGHBOURS, frames_to_list, representative_frames


@pytest.fixture
def plate():
    """Two infected wells (onsets 0 and 10 h) and two mock wells, a frame an hour for 20 h."""
    parts = []
    for well, onset in (("A1", 0.0), ("A2", 10.0), ("B1", np.nan), ("B2", np.nan)):
        infected = np.isfinite(onset)
        hours = np.arange(20.0)
        rows = pd.DataFrame({"stack_id": well, "frame": np.arange(20), "hours": hours})
        clock = "infection" if infected else "experiment"
        rows = rows.assign(
            plate="p", well=well, position="1", split="test", moi=1.0 if infected else np.nan, onset_h=onset,
            condition="infected" if infected else "mock", hpi=hours - onset, run="r", seed=0, fold=0,
            label=pd.array([int(infected)] * 20, dtype="Int8"), clock=clock,
            time_target=hours, time_pred=hours, p_infected=0.9 if infected else 0.1,
        )  # fmt: skip
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def test_frames_are_spread_over_time_and_wells(plate):
    chosen = representative_frames(plate, per_condition=6)
    infected, mock = (chosen[chosen["condition"].eq(name)] for name in ("infected", "mock"))
    assert list(chosen["condition"]) == ["infected"] * 6 + ["mock"] * 6
    # hpi runs from -10 to 19: six steps of 29 / 6 h, a frame in each
    middles = -10 + 29 / 6 * (np.arange(6) + 0.5)
    assert (np.abs(infected["hpi"].to_numpy() - middles) <= 29 / 12).all()
    assert set(infected["well"]) == {"A1", "A2"}
    assert mock["well"].value_counts().tolist() == [3, 3]
    assert mock["hours"].is_monotonic_increasing
    assert list(chosen.columns) == list(plate.columns)


def test_the_order_of_the_rows_does_not_matter(plate):
    shuffled = plate.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(
        representative_frames(plate, per_condition=6), representative_frames(shuffled, per_condition=6)
    )


def test_where_there_are_few_all_are_taken_and_a_lacking_condition_has_none(plate):
    few = plate[plate["well"].eq("B1") & plate["hours"].lt(3)]
    assert list(representative_frames(few, per_condition=6)["hours"]) == [0, 1, 2]


def test_the_worst_come_with_their_neighbours_once_and_in_the_order_of_the_table(plate):
    plate.loc[plate["well"].eq("B1") & plate["hours"].isin([0, 9]), "p_infected"] = 0.8
    calm = plate.assign(time_pred=np.nan)
    found = frames_to_list(calm, threshold=0.5)
    assert set(found["well"]) == {"B1"}
    assert list(found["hours"]) == [0, 1, 2, 7, 8, 9, 10, 11]
    assert NEIGHBOURS == 2
    assert len(frames_to_list(plate, threshold=0.5)) >= LISTED
