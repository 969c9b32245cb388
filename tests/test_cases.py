"""Files as people have them: a small plate of each public case, and what must come of it."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from hpiclock.analysis.import_predictions import read_predictions
from hpiclock.config.schema import DataConfig
from hpiclock.errors import InputError
from hpiclock.plate.manifest.plate_maps import read_platemap
from hpiclock.plate.manifest.survey import load_manifest
from hpiclock.plate.timeline import expand_frames

WELLS = {"A1": "infected", "A2": "mock", "A3": "infected", "B1": "mock", "B2": "infected", "B3": "mock"}
HALF_HOURS = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
SIX = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
SIDE = 32


def film(well: int, n: int = 6, channel: int = 0) -> np.ndarray:
    rng = np.random.default_rng([well, channel])
    return rng.integers(400 + 1000 * channel, 600 + 1000 * channel, (n, SIDE, SIDE), dtype=np.uint16)


def found(folder: Path, stated_h: float | None = 1.0, **data: object) -> tuple[dict[str, list[float]], str]:
    """Return the hours of the frames of each well, and all notes."""
    lines = [f"interval_h: {stated_h}"] if stated_h else []
    lines += ["plate: p", "wells:", *(f"  {well}: {{condition: {c}}}" for well, c in WELLS.items())]
    (folder / "plate.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    manifest, notes = load_manifest(DataConfig(source=str(folder), **data), onset_h=0.0, need_both=True)
    frames = expand_frames(manifest)
    assert manifest["well"].is_unique
    hours = {well: rows["hours"].round(3).tolist() for well, rows in frames.groupby("well")}
    return hours, "\n".join(notes)


def everywhere(hours: list[float]) -> dict[str, list[float]]:
    return {f"{well[0]}0{well[1]}": hours for well in WELLS}


def each_frame(folder: Path, name: Callable[[str, int], str]) -> None:
    for number, well in enumerate(WELLS):
        for frame, image in enumerate(film(number)):
            path = folder / name(well, frame)
            path.parent.mkdir(exist_ok=True)
            tifffile.imwrite(path, image)


def written(folder: Path, make: Callable[[int], np.ndarray], **how: object) -> None:
    for number, well in enumerate(WELLS):
        tifffile.imwrite(folder / f"s1_{well}_p1.tif", make(number), **how)


def channels(number: int, axis: int) -> np.ndarray:
    return np.stack([film(number), film(number, channel=1)], axis)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda number: channels(number, 1), "axes QQYX"),  # qqyx: times and channels without axes
        (lambda number: channels(number, -1), "axes|looks like"),  # chan_last, and times before it
        (lambda number: channels(number, -1)[0], "looks like channels or times"),
        (lambda number: film(number).transpose(1, 2, 0), "looks like channels or times"),
    ],
)
def test_axes_that_are_not_told_are_refused(tmp_path, make, words):
    written(tmp_path, make)
    with pytest.raises(InputError, match=words):
        found(tmp_path)


def test_names_say_which_frames_of_a_film_these_are(tmp_path):
    for number, well in enumerate(WELLS):
        tifffile.imwrite(tmp_path / f"x_s1_{well}_p1_t20-25.tif", film(number))
    # the earliest frame of the plate is hour 20 of its film
    assert found(tmp_path)[0] == everywhere([20.0, 21.0, 22.0, 23.0, 24.0, 25.0])


def test_two_parts_of_a_film_are_one_stack(tmp_path):
    for number, well in enumerate(WELLS):
        tifffile.imwrite(tmp_path / f"x_s1_{well}_p1_t0-5.tif", film(number, 12)[:6])
        tifffile.imwrite(tmp_path / f"x_s1_{well}_p1_t6-11.tif", film(number, 12)[6:])
    assert found(tmp_path)[0] == everywhere([float(hour) for hour in range(12)])


DAYS = r"_(?P<days>\d+)d(?P<hours>\d+)h(?P<minutes>\d+)m"
NAMES = {
    "Incucyte": (
        lambda well, t: f"VID1_{well}_1_{t * 8 // 24:02d}d{t * 8 % 24:02d}h00m.tif",
        r"_(?P<well>[A-H]\d+)_(?P<position>\d+)" + DAYS, None, [0.0, 8.0, 16.0, 24.0, 32.0, 40.0],
    ),
    "Operetta": (
        lambda well, t: f"r{'AB'.index(well[0]) + 1:02d}c0{well[1]}f01p01-ch1sk{t + 1}fk1fl1.tiff",
        r"(?P<well>r\d+c\d+)f(?P<position>\d+)p(?P<z>\d+)-ch(?P<channel>\d+)sk(?P<frame>\d+)", 1.0, SIX,
    ),
    "IN Cell": (
        lambda well, t: f"{well[0]} - 0{well[1]}(fld 1 wv BF time {t + 1}).tif",
        r"(?P<well>[A-P] - \d+)\(fld (?P<position>\d+) wv .*? time (?P<frame>\d+)", 1.0, SIX,
    ),
    "ImageXpress": (
        lambda well, t: f"TimePoint_{t + 1}/pl_{well[0]}0{well[1]}_s1.TIF",
        r"TimePoint_(?P<frame>\d+)/.*_(?P<well>[A-P]\d+)_s(?P<position>\d+)\.", 1.0, SIX,
    ),
}  # fmt: skip


@pytest.mark.parametrize("maker", NAMES)
def test_names_of_exports_are_read(tmp_path, maker):
    name, pattern, interval_h, hours = NAMES[maker]
    each_frame(tmp_path, name)
    assert found(tmp_path, interval_h, name_pattern=pattern)[0] == everywhere(hours)


def test_an_interval_of_a_film_is_questioned_and_a_stated_one_counts(tmp_path):
    written(tmp_path, film, imagej=True, metadata={"axes": "TYX", "finterval": 1 / 7})
    assert "are not those of an infection" in found(tmp_path, None)[1]
    hours, notes = found(tmp_path, None, interval_h=0.5)
    assert hours == everywhere(HALF_HOURS)
    assert "data.interval_h" in notes


def test_a_channel_that_is_another_in_some_files_is_refused(tmp_path):
    for number, (well, condition) in enumerate(WELLS.items()):
        order = ["BF", "GFP"] if condition == "mock" else ["GFP", "BF"]
        about = {"axes": "TCYX", "Channel": {"Name": order}}
        path = tmp_path / f"s1_{well}_p1.ome.tif"
        tifffile.imwrite(path, channels(number, 1), ome=True, photometric="minisblack", metadata=about)
    with pytest.raises(InputError, match="BF"):
        found(tmp_path, channel=0)
    assert found(tmp_path, channel="BF")[0] == everywhere(SIX)


def test_files_that_are_no_stacks_are_passed_over_or_named(tmp_path):
    written(tmp_path, film)
    (tmp_path / "._s1_A1_p1.tif").write_bytes(b"\0\5\x16\7")
    for folder in ("@eaDir", "__MACOSX"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "s1_A1_p1.tif").write_bytes(b"\0")
    (tmp_path / "film.avi").write_bytes(b"RIFF")
    hours, notes = found(tmp_path)
    assert hours == everywhere(SIX)
    assert "film.avi" in notes


def test_names_in_other_encodings_are_one_line(tmp_path):
    written(tmp_path, film)
    os.rename(os.fsencode(tmp_path / "s1_A1_p1.tif"), os.fsencode(tmp_path) + b"/s1_A1_p1_\xfc.tif")
    with pytest.raises(InputError, match="rename it") as caught:
        found(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "wells"),
    [
        ("well;condition;moi\nA1;infected;0.1\nA2;mock;\n", ["A01", "A02"]),
        ("sep=;\nwell;condition;note\nA1;infected;a, b, c\nA2;mock;d, e\n", ["A01", "A02"]),
        ("Well ,Condition, MOI\na-1 ,Infected ,0.1\n A02,MOCK,\n", ["A01", "A02"]),
        ("well,condition\nR01C01,infected\n1B,mock\n", ["A01", "B01"]),
        ("well,condition,onset_min\nA1,infected,120\nA2,mock,\n", "divide it by 60"),
        ("well,condition,moi\nA1,infected,lots\nA2,mock,\n", "lots"),
    ],
)
def test_plate_maps_as_people_save_them(tmp_path, text, wells):
    (tmp_path / "map.csv").write_text(text, encoding="utf-8")
    if isinstance(wells, str):
        with pytest.raises(InputError, match=wells):
            read_platemap(tmp_path / "map.csv")
    else:
        assert list(read_platemap(tmp_path / "map.csv").wells) == wells


def predictions() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [(well, c, float(h)) for well, c in WELLS.items() for h in range(0, 48, 4)]
    table = pd.DataFrame(rows, columns=["well", "condition", "hours"])
    table["label"] = table.pop("condition").eq("infected").astype(int)
    table["stack_id"] = table["well"] + "_p1"
    return table.assign(p_infected=rng.random(len(table)), time_pred=table["hours"] + 1)


@pytest.mark.parametrize(
    ("change", "how", "words"),
    [
        (lambda t: t, {}, ""),
        (lambda t: t, {"sep": ";", "decimal": ","}, ""),
        (lambda t: t.rename(columns=str.upper), {}, ""),
        (lambda t: t.sample(frac=1, random_state=1), {}, ""),
        (lambda t: t.assign(well=t["well"].where(t.index % 2 == 0, t["well"].str.lower())), {}, ""),
        (lambda t: t.assign(hours=t["hours"] * 60, time_pred=t["time_pred"] * 60), {}, "hours"),
        (lambda t: t.assign(p_infected=t["p_infected"] * 100), {}, "p_infected"),
        (lambda t: t.assign(label=t["label"] + 1), {}, "label"),
        (lambda t: t.head(0), {}, "no rows"),
        (lambda t: pd.concat([t, t.head(3)]), {}, "twice"),
    ],
)  # fmt: skip
def test_predictions_of_other_tools(tmp_path, change, how, words):
    path = tmp_path / "predictions.csv"
    change(predictions()).to_csv(path, index=False, **how)
    if words:
        with pytest.raises(InputError, match=words):
            read_predictions(path)
        return
    rows, _ = read_predictions(path)
    rows = rows.sort_values(["stack_id", "hours"], ignore_index=True)
    expected = predictions().sort_values(["stack_id", "hours"], ignore_index=True)
    assert rows["hours"].tolist() == expected["hours"].tolist()
    assert np.allclose(rows["p_infected"], expected["p_infected"])
    assert set(rows["well"]) == {f"{well[0]}0{well[1]}" for well in WELLS}
