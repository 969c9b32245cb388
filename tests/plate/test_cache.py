"""The cache: the right pixels, made anew when something changed and only then, and whole after a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from hpiclock.config.schema import DataConfig, ImageConfig
from hpiclock.errors import InputError
from hpiclock.plate import cache
from hpiclock.plate.cache import cache_key, open_cache
from hpiclock.plate.preprocess import stack_images
from hpiclock.plate.readers import open_stack
from hpiclock.plate.timeline import expand_frames

FRAMES = {"a": 3, "b": 5, "c": 2}


@pytest.fixture
def manifest(tmp_path: Path, write_stack: Callable[..., Path]) -> pd.DataFrame:
    paths = [write_stack(tmp_path / "stacks" / f"{name}.tif", n, 24) for name, n in FRAMES.items()]
    return pd.DataFrame(
        {"stack_id": list(FRAMES), "path": map(str, paths), "n_frames": list(FRAMES.values())}
    )


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    return DataConfig(cache_dir=str(tmp_path / "new" / "cache"))


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are converted."""
    names: list[str] = []

    def counted(stack: Any, image: ImageConfig) -> tuple[np.ndarray, list[int], float]:
        names.append(stack.path.stem)
        return stack_images(stack, image)

    monkeypatch.setattr(cache, "stack_images", counted)
    return names


def opened(manifest: pd.DataFrame, data: DataConfig, **image: Any) -> cache.FrameCache:
    return open_cache(manifest, data, ImageConfig(**({"size": 16} | image)))


def test_every_frame_is_what_the_plain_way_gives(manifest: pd.DataFrame, data: DataConfig) -> None:
    found = opened(manifest, data, crop_border=0.1)
    assert found.images.shape == (10, 16, 16)
    assert (found.images.dtype, found.images.flags.writeable) == (np.uint8, False)
    assert found.offset == {"a": 0, "b": 3, "c": 8}
    for row in manifest.itertuples():
        with open_stack(str(row.path)) as stack:
            plain, *_ = stack_images(stack, ImageConfig(size=16, crop_border=0.1))
        first = found.offset[str(row.stack_id)]
        np.testing.assert_array_equal(found.images[first : first + len(plain)], plain)


def test_rows_of_a_frames_table_find_their_pixels(manifest: pd.DataFrame, data: DataConfig) -> None:
    rows = pd.DataFrame({"stack_id": ["c", "a", "b", "b"], "frame": [1, 0, 4, 0]})
    assert opened(manifest, data).rows(rows).tolist() == [9, 0, 7, 3]


def test_a_cache_is_used_again(manifest: pd.DataFrame, data: DataConfig, conversions: list[str]) -> None:
    first = opened(manifest, data)
    assert sorted(conversions) == ["a", "b", "c"]
    assert opened(manifest, data).key == first.key
    assert len(conversions) == 3


def test_a_cache_whose_key_is_known_needs_no_stacks(manifest: pd.DataFrame, data: DataConfig) -> None:
    made = opened(manifest, data)
    shutil.rmtree(Path(manifest["path"].iloc[0]).parent)
    again = open_cache(manifest, data, ImageConfig(size=16), key=made.key)
    np.testing.assert_array_equal(again.images, made.images)
    with pytest.raises(InputError, match="no such file"):
        open_cache(manifest, data, ImageConfig(size=16), key="16px-0")


def test_a_cache_lies_where_it_is_asked_for_and_leaves_no_partial(
    manifest: pd.DataFrame, data: DataConfig
) -> None:
    found = opened(manifest, data)
    left = sorted(path.name for path in Path(data.cache_dir).iterdir())
    assert left == [found.key, f"{found.key}.lock"]


SETTINGS = [
    {"size": 32},
    {"scope": "stack"},
    {"crop_border": 0.05},
    {"intensity": "fixed", "low": 0, "high": 255},
    {"intensity": "fixed", "low": 0, "high": 254},
    {"intensity": "fixed", "low": 1, "high": 255},
    {"intensity": "percentile", "low": 1, "high": 99},
]


def test_every_setting_that_changes_a_pixel_changes_the_key(manifest: pd.DataFrame, data: DataConfig) -> None:
    keys = {cache_key(manifest, data, ImageConfig(**({"size": 16} | image))) for image in [{}, *SETTINGS]}
    for change in ({"channel": 0}, {"z": "max"}, {"z": 0}):
        keys.add(cache_key(manifest, data.model_copy(update=change), ImageConfig(size=16)))
    assert len(keys) == len(SETTINGS) + 1 + 3
    # and all fields of the section are among those that were changed: a new one must be thought of here
    others = {"max_clipped", "context_h"}  # they refuse, and say what is read together
    assert set().union(*SETTINGS) == set(ImageConfig.model_fields) - others


def test_frames_that_are_read_together_are_kept_once(manifest: pd.DataFrame, data: DataConfig) -> None:
    text = dict.fromkeys(("plate", "well", "position", "condition"), "a")
    manifest = manifest.assign(**text, moi=1.0, onset_h=0.0, start_h=0.0, interval_h=1.0)
    alone, together = (
        open_cache(manifest, data, ImageConfig(size=16, context_h=hours)) for hours in ((0,), (0, "start"))
    )
    assert alone.key == together.key
    frames = expand_frames(manifest)
    rows = together.context_rows(frames)
    assert np.array_equal(rows[:, :1], alone.context_rows(frames))
    assert np.array_equal(rows[:, 1], frames["stack_id"].map(together.offset))


@pytest.mark.parametrize("change", ["touched", "one byte", "shorter", "other frames", "renamed stack"])
def test_a_change_of_a_file_is_noticed(manifest: pd.DataFrame, data: DataConfig, change: str) -> None:
    image = ImageConfig(size=16)
    before, path = cache_key(manifest, data, image), Path(manifest["path"][1])
    facts, content = path.stat(), path.read_bytes()
    if change == "touched":
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    if change == "one byte":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    if change == "shorter":
        path.write_bytes(content[:-1])
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    if change == "other frames":
        manifest.loc[1, "n_frames"] = 4
    if change == "renamed stack":
        manifest.loc[1, "stack_id"] = "d"
    assert cache_key(manifest, data, image) != before


def test_a_folder_that_moves_keeps_its_cache(
    tmp_path: Path, manifest: pd.DataFrame, data: DataConfig, conversions: list[str]
) -> None:
    opened(manifest, data)
    (tmp_path / "stacks").rename(tmp_path / "moved")
    opened(manifest.assign(path=manifest["path"].str.replace("stacks", "moved")), data)
    assert len(conversions) == 3


class Killed(BaseException):
    """Stands for a kill in the middle of a build."""


def test_a_killed_build_goes_on_and_gives_the_same_bytes(
    tmp_path: Path, manifest: pd.DataFrame, data: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = opened(manifest, data.model_copy(update={"cache_dir": str(tmp_path / "whole")}))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)  # a, b, then the kill
    done: list[str] = []

    def until_c(stack: Any, image: ImageConfig) -> tuple[np.ndarray, list[int], float]:
        if stack.path.stem == "c":
            raise Killed
        done.append(stack.path.stem)
        return stack_images(stack, image)

    with monkeypatch.context() as during:
        during.setattr(cache, "stack_images", until_c)
        with pytest.raises(Killed):
            opened(manifest, data)
    partial = Path(data.cache_dir) / f"{whole.key}.partial"
    assert done == ["a", "b"]
    lines = (partial / "ready").read_text().splitlines()
    assert [json.loads(line)[:2] for line in lines] == [["a", 3], ["b", 5]]
    assert not (Path(data.cache_dir) / whole.key).exists()
    # the kill cut the last line short: b is not known to be done
    (partial / "ready").write_text(f"{lines[0]}\n{lines[1][:-1]}")
    again: list[str] = []

    def rest(stack: Any, image: ImageConfig) -> tuple[np.ndarray, list[int], float]:
        again.append(stack.path.stem)
        return stack_images(stack, image)

    monkeypatch.setattr(cache, "stack_images", rest)
    found = opened(manifest, data)
    assert again == ["b", "c"]
    np.testing.assert_array_equal(found.images, whole.images)
    files = [Path(folder) / whole.key / "frames.npy" for folder in (tmp_path / "whole", data.cache_dir)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_build_that_was_killed_before_its_first_stack_begins_anew(
    manifest: pd.DataFrame, data: DataConfig
) -> None:
    key = cache_key(manifest, data, ImageConfig(size=16))
    partial = Path(data.cache_dir) / f"{key}.partial"
    partial.mkdir(parents=True)
    (partial / "frames.npy").write_bytes(b"half a header")
    assert opened(manifest, data).images.shape == (10, 16, 16)


BUILD = """
import sys, pandas as pd
from hpiclock.config.schema import DataConfig, ImageConfig
from hpiclock.plate import cache
manifest = pd.read_csv(sys.argv[1])
convert = cache.stack_images
def counted(stack, image):
    sys.stdout.write(stack.path.stem + chr(10))  # in one piece: stacks are converted in threads
    return convert(stack, image)
cache.stack_images = counted
print("ready", flush=True)
sys.stdin.readline()
cache.open_cache(manifest, DataConfig(cache_dir=sys.argv[2]), ImageConfig(size=16))
"""


def test_processes_that_want_one_cache_at_once_build_it_once(
    tmp_path: Path, manifest: pd.DataFrame, data: DataConfig
) -> None:
    manifest.to_csv(tmp_path / "m.csv", index=False)
    command = [sys.executable, "-c", BUILD, str(tmp_path / "m.csv"), data.cache_dir]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:  # all have started: now let them go
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    said = [worker.communicate()[0].split() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert sorted(said[0] + said[1]) == ["a", "b", "c"]


def test_a_cache_that_another_process_made_while_waiting_is_taken(
    manifest: pd.DataFrame, data: DataConfig, conversions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = ImageConfig(size=16)
    made = open_cache(manifest, data, image)
    folder = Path(data.cache_dir) / made.key
    folder.rename(folder.with_name("aside"))

    def elsewhere(place: Path) -> FileLock:
        folder.with_name("aside").rename(folder)  # done by the one who held the lock
        return FileLock(place.with_name("other.lock"))

    monkeypatch.setattr(cache, "_build_lock", elsewhere)
    found = open_cache(manifest, data, image)
    np.testing.assert_array_equal(found.images, made.images)
    assert len(conversions) == 3


def test_a_stack_with_other_frames_than_the_manifest_is_refused(
    manifest: pd.DataFrame, data: DataConfig
) -> None:
    manifest.loc[1, "n_frames"] = 4
    with pytest.raises(InputError) as caught:
        opened(manifest, data)
    assert (
        str(caught.value) == f"{manifest['path'][1]}: 5 frames, the manifest says 4; make the manifest anew"
    )


def test_a_full_disk_is_refused_before_anything_is_written(
    manifest: pd.DataFrame, data: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10 * 16 * 16 - 1))
    with pytest.raises(InputError, match=r"cache: the cache needs 0\.00 GB, 0\.00 GB are free; make room"):
        opened(manifest, data)
    assert not Path(data.cache_dir).parent.exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10 * 16 * 16))
    assert opened(manifest, data).images.shape == (10, 16, 16)


def test_a_disk_that_cannot_hold_the_map_is_one_line(
    manifest: pd.DataFrame, data: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(
        InputError, match=r"cannot be written \(No space left on device\); set data\.cache_dir"
    ):
        opened(manifest, data)
    assert [path.suffix for path in Path(data.cache_dir).iterdir()] == [".lock"]


def test_a_place_that_cannot_be_written_is_one_line(
    tmp_path: Path, manifest: pd.DataFrame, data: DataConfig
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/cache: cannot be written \(.*\); set data\.cache_dir"):
        opened(manifest, data.model_copy(update={"cache_dir": str(tmp_path / "file" / "cache")}))


def test_a_damaged_cache_is_said_to_be_damaged(manifest: pd.DataFrame, data: DataConfig) -> None:
    found = opened(manifest, data)
    path = Path(data.cache_dir) / found.key / "frames.npy"
    del found
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="is damaged; remove this folder, it is made anew"):
        opened(manifest, data)


@pytest.mark.parametrize("damage", ["emptied", "gone"])
def test_a_cache_without_its_pixels_is_said_to_be_damaged(
    manifest: pd.DataFrame, data: DataConfig, damage: str
) -> None:
    path = Path(data.cache_dir) / opened(manifest, data).key / "frames.npy"
    path.unlink()
    if damage == "emptied":
        path.touch()
    with pytest.raises(InputError, match="is damaged; remove this folder, it is made anew"):
        opened(manifest, data)


@pytest.mark.parametrize("name", [".lock", "/ready", "/frames.npy", ".partial/ready", ".partial/frames.npy"])
def test_a_fifo_in_a_cache_is_refused_and_never_waited_for(
    manifest: pd.DataFrame, data: DataConfig, name: str
) -> None:
    folder = Path(data.cache_dir) / opened(manifest, data).key
    if ".partial" in name:
        folder.rename(folder.with_name(folder.name + ".partial"))
    fifo = Path(f"{folder}{name}")
    fifo.unlink()
    os.mkfifo(fifo)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(20)  # ends a test that waits
    try:
        with pytest.raises(InputError, match=f"{name}: is a FIFO, not a file; remove it"):
            opened(manifest, data)
    finally:
        signal.alarm(0)


def test_pixels_that_changed_since_are_seen_when_they_are_asked_for(
    manifest: pd.DataFrame, data: DataConfig
) -> None:
    path = Path(data.cache_dir) / opened(manifest, data).key / "frames.npy"
    with path.open("r+b") as stream:
        stream.seek(-3, os.SEEK_END)  # in the last stack
        before = stream.read(1)
        stream.seek(-3, os.SEEK_END)
        stream.write(bytes([before[0] ^ 1]))
    found = opened(manifest, data)
    assert found.rows(pd.DataFrame({"stack_id": ["a", "b"], "frame": [0, 0]})).tolist() == [0, 3]
    with pytest.raises(InputError, match=r"frames\.npy: stack c is not as it was converted; remove this"):
        found.rows(pd.DataFrame({"stack_id": ["a", "c"], "frame": [0, 0]}))


@pytest.mark.parametrize("damage", ["cut short", "overwritten", "other shape"])
def test_an_unfinished_cache_that_was_damaged_is_converted_again(
    manifest: pd.DataFrame, data: DataConfig, conversions: list[str], damage: str
) -> None:
    whole = opened(manifest, data)
    folder = Path(data.cache_dir) / whole.key
    images = np.array(whole.images)
    unfinished = folder.rename(folder.with_name(folder.name + ".partial"))
    frames, (first, *rest) = unfinished / "frames.npy", (unfinished / "ready").read_text().splitlines()
    (unfinished / "ready").write_text("\n".join([first, *rest[:-1], ""]))  # killed before the last stack
    with frames.open("r+b") as stream:
        if damage == "cut short":
            stream.truncate(200)
        if damage == "overwritten":
            stream.seek(128)
            stream.write(bytes(10 * 16 * 16))
    if damage == "other shape":
        np.save(frames, images[:4])
    conversions.clear()
    np.testing.assert_array_equal(opened(manifest, data).images, images)
    assert sorted(conversions) == ["a", "b", "c"]


def test_what_the_pixels_are_is_known_whatever_the_dates(manifest: pd.DataFrame, data: DataConfig) -> None:
    before = opened(manifest, data)
    os.utime(manifest["path"][1])
    touched = opened(manifest, data)
    assert (touched.key == before.key, touched.sha256 == before.sha256) == (False, True)
    assert opened(manifest, data, crop_border=0.2).sha256 != before.sha256


def test_a_file_that_went_away_is_one_line(manifest: pd.DataFrame, data: DataConfig) -> None:
    Path(manifest["path"][0]).unlink()
    with pytest.raises(InputError, match=r"a\.tif: no such file"):
        opened(manifest, data)
