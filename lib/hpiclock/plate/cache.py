"""One-time conversion: every frame at training size in one uint8 memory map.

A cache is keyed by its content (stack_id, frames, size, time stamp and a hash of both ends of every file)
and by every setting that changes a pixel. It is built stack by stack by one process at a time; a build that
was killed goes on where it stopped.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from filelock import FileLock

from hpiclock.config.schema import DataConfig, ImageConfig
from hpiclock.errors import InputError
from hpiclock.plate.preprocess import stack_images
from hpiclock.plate.readers import open_stack, source_files
from hpiclock.progress import progress

FORMAT = 2  # raise it when the conversion changes pixels
HASHED_BYTES = 1 << 16  # bytes hashed at each end of a file
FRAMES = "frames.npy"
READY = "ready"  # one line per converted stack

Shape = tuple[int, int, int]


class FrameCache(NamedTuple):
    """The frames of a manifest: ``images`` (n, size, size) uint8, ``offset`` of each stack in it."""

    images: np.ndarray
    offset: Mapping[str, int]
    key: str

    def rows(self, frames: pd.DataFrame) -> np.ndarray:
        """Return the index into ``images`` of every row of a FRAMES table, shape (len(frames),)."""
        return frames["stack_id"].map(self.offset).to_numpy(np.int64) + frames["frame"].to_numpy(np.int64)


def open_cache(manifest: pd.DataFrame, data: DataConfig, image: ImageConfig, *, key: str = "") -> FrameCache:
    """Open the cache of these stacks at this size, building what is missing of it.

    Args:
        manifest: a MANIFEST table.
        data: channel, plane and ``cache_dir``.
        image: size, intensity and border.
        key: of :func:`cache_key` for these arguments, where it is known; the stacks are then not looked at.

    Raises:
        InputError: not enough disk space, a folder that cannot be written, or a stack that cannot be read.
    """
    n = int(manifest["n_frames"].sum())
    ends = manifest["n_frames"].cumsum()
    offset = dict(zip(manifest["stack_id"], (ends - manifest["n_frames"]).tolist(), strict=True))
    if not key or not (Path(data.cache_dir) / key / FRAMES).is_file():
        key = cache_key(manifest, data, image)
    folder = Path(data.cache_dir) / key
    shape = (n, image.size, image.size)
    if not (folder / FRAMES).is_file():
        _refuse_full(folder, shape)
        with _build_lock(folder):
            if not (folder / FRAMES).is_file():  # nobody made it while this process waited
                _build(folder, manifest, offset, data, image)
    try:
        images = np.load(folder / FRAMES, mmap_mode="r")
    except ValueError:
        images = np.empty(0, np.uint8)
    if images.shape != shape:
        raise InputError(f"{folder}: is damaged; remove this folder, it is made anew")
    return FrameCache(images, offset, key)


def cache_key(manifest: pd.DataFrame, data: DataConfig, image: ImageConfig) -> str:
    """Return the name of a cache: it changes with any stack and any setting that changes a pixel."""
    seen: dict[Path, list[str | int]] = {}  # stacks of one file share it
    files = []
    for path in manifest["path"]:
        mine = source_files(Path(path))
        seen |= {file: _fingerprint(file) for file in mine if file not in seen}
        files.append([seen[file] for file in mine])
    stacks = list(zip(manifest["stack_id"], manifest["n_frames"].tolist(), files, strict=True))
    settings = {"image": image.model_dump(), "channel": data.channel, "z": data.z, "format": FORMAT}
    text = json.dumps([stacks, settings], sort_keys=True)
    return f"{image.size}px-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _fingerprint(path: Path) -> list[str | int]:
    try:
        facts = path.stat()
        with path.open("rb") as stream:
            ends = stream.read(HASHED_BYTES)
            stream.seek(max(facts.st_size - HASHED_BYTES, 0))
            ends += stream.read(HASHED_BYTES)
    except OSError as error:
        problem = f"cannot be read ({error.strerror}); check the file and its rights"
        raise InputError(f"{path}: {problem}") from None
    return [facts.st_size, facts.st_mtime_ns, hashlib.sha256(ends).hexdigest()]


def _build_lock(folder: Path) -> FileLock:
    """Return the lock under which this cache is built; it is freed when its process ends, killed or not."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (lock := folder.with_name(folder.name + ".lock")).open("a"):
            return FileLock(lock)
    except OSError as error:
        raise _cannot_write(folder.parent, error) from None


def _build(
    folder: Path, manifest: pd.DataFrame, offset: Mapping[str, int], data: DataConfig, image: ImageConfig
) -> None:
    partial = folder.with_name(folder.name + ".partial")
    images, done = _unfinished(partial, (int(manifest["n_frames"].sum()), image.size, image.size))
    todo = [row for row in manifest.itertuples() if row.stack_id not in done]

    def convert(row: Any) -> str:
        with open_stack(row.path, channel=data.channel, z=data.z) as stack:
            first, n = offset[row.stack_id], stack.facts.n_frames
            if n != row.n_frames:
                says = f"{n} frames, the manifest says {row.n_frames}"
                raise InputError(f"{row.path}: {says}; make the manifest anew")
            images[first : first + n] = stack_images(stack, image)
        return str(row.stack_id)

    bar = progress(desc="converting", total=len(manifest), initial=len(done), unit="stack")
    # a cluster gives a process fewer cores than the machine has
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    # threads suffice: decoding and resizing release the interpreter lock
    with bar, ThreadPoolExecutor(cores) as pool, (partial / READY).open("a", encoding="utf-8") as log:
        futures = [pool.submit(convert, row) for row in todo]
        try:
            for future in as_completed(futures):
                stack_id = future.result()
                images.flush()  # type: ignore[attr-defined]  # pixels first, then the word that they are there
                log.write(json.dumps(stack_id) + "\n")
                log.flush()
                bar.update()
        finally:
            pool.shutdown(cancel_futures=True)
    partial.replace(folder)


def _unfinished(partial: Path, shape: Shape) -> tuple[np.ndarray, set[str]]:
    """Take up a build that was killed, or begin one: the pixels and the stacks that are done."""
    frames, ready = partial / FRAMES, partial / READY
    try:
        if ready.is_file():
            lines = ready.read_text(encoding="utf-8").splitlines(keepends=True)
            whole = [line for line in lines if line.endswith("\n")]  # the last one may be cut short
            ready.write_text("".join(whole), encoding="utf-8")
            return np.lib.format.open_memmap(frames, mode="r+"), {json.loads(line) for line in whole}
        partial.mkdir(exist_ok=True)
        images = np.lib.format.open_memmap(frames, mode="w+", dtype=np.uint8, shape=shape)
        _reserve(frames)
        ready.touch()
    except OSError as error:
        if not ready.is_file():
            shutil.rmtree(partial, ignore_errors=True)
        raise _cannot_write(partial.parent, error) from None
    return images, set()


def _reserve(path: Path) -> None:
    # without this a disk that fills up kills the process in the middle of writing the map
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as stream:
            try:
                os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # some file systems cannot
                    raise


def _refuse_full(folder: Path, shape: Shape) -> None:
    if folder.with_name(folder.name + ".partial").is_dir():
        return  # its room is taken already
    there = next(place for place in folder.absolute().parents if place.is_dir())
    need, free = int(np.prod(shape)), shutil.disk_usage(there).free
    if need > free:
        room = f"the cache needs {need / 1e9:.2f} GB, {free / 1e9:.2f} GB are free"
        raise InputError(f"{folder.parent}: {room}; make room or set data.cache_dir")


def _cannot_write(place: Path, error: OSError) -> InputError:
    return InputError(f"{place}: cannot be written ({error.strerror}); set data.cache_dir")
