"""One-time conversion: every frame at training size in one uint8 memory map.

A cache is keyed by its content (stack_id, frames, size, time stamp and a hash of both ends of every file)
and by every setting that changes a pixel. It is built stack by stack by one process at a time; a build that
was killed goes on where it stopped. Each stack has a checksum, taken while its pixels are in memory and
compared the first time that they are asked for.
"""

import errno
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from filelock import FileLock

from hpiclock.acquisition import EMPTY_FRAMES
from hpiclock.config.schema import DataConfig, ImageConfig
from hpiclock.errors import InputError
from hpiclock.files import check_file
from hpiclock.plate.preprocess import stack_images
from hpiclock.plate.readers import open_stack, source_files
from hpiclock.plate.timeline import context_of, expand_frames
from hpiclock.progress import progress

FORMAT = 4  # raise it when the conversion changes pixels
MUCH_CLIPPED = 0.05  # share of a stack's pixels from which it is said
HASHED_BYTES = 1 << 16  # bytes hashed at each end of a file
FRAMES = "frames.npy"
READY = "ready"  # one line per converted stack: its id and what Converted holds

MADE_ANEW = "remove this folder, it is made anew"

Shape = tuple[int, int, int]


class Converted(NamedTuple):
    """A stack in the cache: its frames, the CRC-32 of their pixels, the empty ones, what limits cut off."""

    n_frames: int
    checksum: int
    empty: list[int]
    clipped: float  # share of its pixels


Checksums = Mapping[str, Converted]  # by stack_id


@dataclass(frozen=True)
class FrameCache:
    """The frames of a manifest: ``images`` (n, size, size) uint8, ``offset`` of each stack in it.

    ``checksums`` are those of the stacks' pixels, as they were converted, by stack_id, with the number of
    frames and those without a picture; ``intact`` are the stacks that were found to have them still.
    ``context`` (n, k) says which images are read together with each, itself first (``image.context_h``); none
    where every frame is read alone.
    """

    images: np.ndarray
    offset: Mapping[str, int]
    key: str
    checksums: Checksums = field(default_factory=dict)
    intact: set[str] = field(default_factory=set)
    context: np.ndarray | None = None

    @property
    def sha256(self) -> str:
        """Hash of all pixels, wherever the files are and whatever their dates."""
        return hashlib.sha256(json.dumps(sorted(self.checksums.items())).encode()).hexdigest()

    def find_empty(self, manifest: pd.DataFrame) -> pd.DataFrame:
        """Return the manifest with ``empty_frames``: the numbers of a stack's frames that hold no picture."""
        empty = [json.dumps(self.checksums[stack_id].empty) for stack_id in manifest["stack_id"]]
        return manifest.assign(**{EMPTY_FRAMES: empty})

    def clipped_notes(self) -> list[str]:
        """Return a note where the limits of the grey levels cut off more than a little of a stack."""
        clipped = pd.Series({name: stack.clipped for name, stack in self.checksums.items()}, dtype=float)
        if not clipped.gt(MUCH_CLIPPED).any():
            return []
        most = (
            f"{clipped.max():.0%} of the pixels of {clipped.idxmax()}, {clipped.median():.0%} in the median"
        )
        return [f"Grey levels beyond image.low and image.high become black or white: {most} stack."]

    def rows(self, frames: pd.DataFrame) -> np.ndarray:
        """Return the index into ``images`` of every row of a FRAMES table, shape (len(frames),).

        Raises:
            InputError: pixels of these stacks are not what was converted.
        """
        stacks = frames["stack_id"].unique()
        new = [name for name in stacks if name in self.checksums and name not in self.intact]
        with ThreadPoolExecutor(_cores()) as pool:  # sums are taken without the interpreter lock
            same = list(pool.map(partial(_is_intact, self.images, self.offset, self.checksums), new))
        if not all(same):
            damaged = f"stack {new[same.index(False)]} is not as it was converted"
            raise InputError(f"{getattr(self.images, 'filename', self.key)}: {damaged}; {MADE_ANEW}")
        self.intact.update(new)
        return self.index(frames)

    def index(self, frames: pd.DataFrame) -> np.ndarray:
        """Return what :meth:`rows` does, without a look at the pixels."""
        return frames["stack_id"].map(self.offset).to_numpy(np.int64) + frames["frame"].to_numpy(np.int64)

    def context_rows(self, frames: pd.DataFrame) -> np.ndarray:
        """Return the indices into ``images`` of what is read for each row: (rows, k), its own first."""
        rows = self.rows(frames)
        return rows[:, None] if self.context is None else self.context[rows]


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
    if not key or not offset.keys() <= _ready(Path(data.cache_dir) / key).keys():
        key = cache_key(manifest, data, image)
    folder = Path(data.cache_dir) / key
    shape = (n, image.size, image.size)
    _refuse_special(folder)
    if folder.exists() and not (folder / FRAMES).is_file():
        raise InputError(f"{folder}: is damaged; {MADE_ANEW}")
    if not (folder / FRAMES).is_file():
        _refuse_full(folder, shape)
        with _build_lock(folder):
            if not (folder / FRAMES).is_file():  # nobody made it while this process waited
                _build(folder, manifest, offset, data, image)
    try:
        images = np.load(folder / FRAMES, mmap_mode="r")
    except (ValueError, EOFError):
        images = np.empty(0, np.uint8)
    checksums = _ready(folder)
    if images.shape != shape or not offset.keys() <= checksums.keys():
        raise InputError(f"{folder}: is damaged; {MADE_ANEW}")
    cache = FrameCache(images, offset, key, checksums)
    if len(image.context_h) == 1:
        return cache
    frames = expand_frames(cache.find_empty(manifest))  # a frame without a picture is a gap
    at = cache.index(frames)
    context = np.repeat(np.arange(n)[:, None], len(image.context_h), axis=1)
    context[at] = at[context_of(frames, image.context_h).rows]
    return replace(cache, context=context)


def cache_key(manifest: pd.DataFrame, data: DataConfig, image: ImageConfig) -> str:
    """Return the name of a cache: it changes with any stack and any setting that changes a pixel."""
    seen: dict[Path, list[str | int]] = {}  # stacks of one file share it
    files = []
    for path in manifest["path"]:
        mine = source_files(Path(path))
        seen |= {file: _fingerprint(file) for file in mine if file not in seen}
        files.append([seen[file] for file in mine])
    stacks = list(zip(manifest["stack_id"], manifest["n_frames"].tolist(), files, strict=True))
    pixels = image.model_dump(exclude={"max_clipped", "context_h"})  # which change none
    settings = {"image": pixels, "channel": data.channel, "z": data.z, "format": FORMAT}
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


def _refuse_special(folder: Path) -> None:
    unfinished = folder.with_name(folder.name + ".partial")
    inside = [place / name for place in (folder, unfinished) for name in (FRAMES, READY)]
    for path in filter(os.path.exists, [folder.with_name(folder.name + ".lock"), *inside]):
        check_file(path, "remove it")


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
    unfinished = folder.with_name(folder.name + ".partial")
    shape = (int(manifest["n_frames"].sum()), image.size, image.size)
    images, done = _unfinished(unfinished, shape, offset)
    todo = [row for row in manifest.itertuples() if row.stack_id not in done]

    def convert(row: Any) -> tuple[str, Converted]:
        with open_stack(row.path, channel=data.channel, z=data.z) as stack:
            first, n = offset[row.stack_id], stack.facts.n_frames
            if n != row.n_frames:
                says = f"{n} frames, the manifest says {row.n_frames}"
                raise InputError(f"{row.path}: {says}; make the manifest anew")
            try:
                pixels, empty, clipped = stack_images(stack, image)
            except InputError as error:
                leave_out = "or leave it out: `hpiclock manifest SOURCE --quarantine FILE`, data.quarantine"
                raise InputError(f"{error}, {leave_out}") from None
            images[first : first + n] = pixels
        return str(row.stack_id), Converted(n, _checksum(pixels), empty, clipped)

    bar = progress(desc="converting", total=len(manifest), initial=len(done), unit="stack")
    # threads suffice: decoding and resizing release the interpreter lock
    with bar, ThreadPoolExecutor(_cores()) as pool, (unfinished / READY).open("a", encoding="utf-8") as log:
        futures = [pool.submit(convert, row) for row in todo]
        try:
            for future in as_completed(futures):
                name, converted = future.result()
                images.flush()  # type: ignore[attr-defined]  # pixels first, then the word that they are there
                log.write(json.dumps([name, *converted]) + "\n")
                log.flush()
                bar.update()
        finally:
            pool.shutdown(cancel_futures=True)
    unfinished.replace(folder)


def _unfinished(folder: Path, shape: Shape, offset: Mapping[str, int]) -> tuple[np.ndarray, set[str]]:
    """Take up a build that was killed, or begin one: the pixels and the stacks that are done."""
    frames, ready = folder / FRAMES, folder / READY
    checksums = _ready(folder)
    try:
        folder.mkdir(exist_ok=True)
        images: np.ndarray = np.empty(0, np.uint8)
        with suppress(ValueError, FileNotFoundError):  # killed before there was one
            images = np.lib.format.open_memmap(frames, mode="r+")
        if images.shape != shape or images.dtype != np.uint8:
            images = np.lib.format.open_memmap(frames, mode="w+", dtype=np.uint8, shape=shape)
        _reserve(frames)
        # a map that was cut short is filled up with zeros by now
        done = {name for name in offset.keys() & checksums if _is_intact(images, offset, checksums, name)}
        ready.write_text(
            "".join(json.dumps([n, *checksums[n]]) + "\n" for n in sorted(done)), encoding="utf-8"
        )
    except OSError as error:
        if not checksums:
            shutil.rmtree(folder, ignore_errors=True)
        raise _cannot_write(folder.parent, error) from None
    return images, done


def _ready(folder: Path) -> dict[str, Converted]:
    """Return the checksums of the stacks that are converted in a folder; a line cut short is none."""
    found: dict[str, Converted] = {}
    if not (folder / READY).is_file():  # none, or a FIFO
        return found
    with suppress(OSError, UnicodeDecodeError):
        for line in (folder / READY).read_text(encoding="utf-8").splitlines():
            with suppress(ValueError, TypeError):
                name, n, checksum, empty, clipped = json.loads(line)
                found[str(name)] = Converted(int(n), int(checksum), list(empty), float(clipped))
    return found


def _is_intact(images: np.ndarray, offset: Mapping[str, int], checksums: Checksums, name: str) -> bool:
    stack = checksums[name]
    return _checksum(images[offset[name] : offset[name] + stack.n_frames]) == stack.checksum


def _checksum(pixels: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(pixels).data)


def _cores() -> int | None:
    # a cluster gives a process fewer cores than the machine has
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


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
