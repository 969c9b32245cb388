"""One-time conversion: every frame at training size in one uint8 memory map.

A cache is keyed by its content (path, size, time stamp and a hash of both ends of every file) and by every
setting that changes a pixel. It is built stack by stack; a build that was killed goes on where it stopped.
"""

from __future__ import annotations

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
from tqdm.auto import tqdm

from hpiclock.config import DataConfig, ImageConfig
from hpiclock.errors import InputError
from hpiclock.plate.images import stack_images
from hpiclock.plate.stacks import open_stack, source_files

FORMAT = 1  # raise it when the conversion changes pixels
ENDS = 1 << 16  # bytes hashed at each end of a file


class FrameCache(NamedTuple):
    """The frames of a manifest: ``images`` (n, size, size) uint8, ``offset`` of each stack in it."""

    images: np.ndarray
    offset: Mapping[str, int]
    key: str

    def rows(self, frames: pd.DataFrame) -> np.ndarray:
        """Return the index into ``images`` of every row of a FRAMES table, shape (len(frames),)."""
        return frames["stack_id"].map(self.offset).to_numpy(np.int64) + frames["frame"].to_numpy(np.int64)


def open_cache(
    manifest: pd.DataFrame, data: DataConfig, image: ImageConfig, *, progress: bool = True
) -> FrameCache:
    """Open the cache of these stacks at this size, building what is missing of it.

    Args:
        manifest: a MANIFEST table.
        data: channel, plane and ``cache_dir``.
        image: size, intensity and border.
        progress: show a progress bar while building.

    Raises:
        InputError: not enough disk space, a folder that cannot be written, or a stack that cannot be read.
    """
    n = int(manifest["n_frames"].sum())
    ends = manifest["n_frames"].cumsum()
    offset = dict(zip(manifest["stack_id"], (ends - manifest["n_frames"]).tolist(), strict=True))
    key = cache_key(manifest, data, image)
    folder = Path(data.cache_dir) / key
    shape = (n, image.size, image.size)
    if not (folder / "frames.npy").is_file():
        _build(folder, shape, manifest, offset, data, image, progress)
    images = np.load(folder / "frames.npy", mmap_mode="r")
    return FrameCache(images, offset, key)


def cache_key(manifest: pd.DataFrame, data: DataConfig, image: ImageConfig) -> str:
    """Return the name of a cache: it changes with any stack and any setting that changes a pixel."""
    files = [[_fingerprint(file) for file in source_files(Path(path))] for path in manifest["path"]]
    stacks = list(zip(manifest["stack_id"], manifest["n_frames"].tolist(), files, strict=True))
    settings = {"image": image.model_dump(), "channel": data.channel, "z": data.z, "format": FORMAT}
    text = json.dumps([stacks, settings], sort_keys=True)
    return f"{image.size}px-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _fingerprint(path: Path) -> list[str | int]:
    try:
        facts = path.stat()
        with path.open("rb") as stream:
            ends = stream.read(ENDS)
            stream.seek(max(facts.st_size - ENDS, 0))
            ends += stream.read(ENDS)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check the file and its rights"
        ) from None
    return [facts.st_size, facts.st_mtime_ns, hashlib.sha256(ends).hexdigest()]


def _build(
    folder: Path,
    shape: tuple[int, int, int],
    manifest: pd.DataFrame,
    offset: Mapping[str, int],
    data: DataConfig,
    image: ImageConfig,
    progress: bool,
) -> None:
    partial = folder.with_name(folder.name + ".partial")
    images, done = _partial(partial, shape)
    ready = partial / "ready"
    todo = [row for row in manifest.itertuples() if row.stack_id not in done]

    def convert(row: Any) -> str:
        with open_stack(row.path, channel=data.channel, z=data.z) as stack:
            first = offset[row.stack_id]
            images[first : first + stack.facts.n_frames] = stack_images(stack, image)
        return row.stack_id

    # threads suffice: decoding and resizing release the interpreter lock
    with ThreadPoolExecutor(os.cpu_count()) as pool, ready.open("a", encoding="utf-8") as log:
        futures = [pool.submit(convert, row) for row in todo]
        bar = tqdm(
            total=len(manifest), initial=len(done), desc="converting", unit="stack", disable=not progress
        )
        try:
            for future in as_completed(futures):
                stack_id = future.result()
                images.flush()  # type: ignore[attr-defined]
                log.write(stack_id + "\n")
                log.flush()
                bar.update()
        finally:
            bar.close()
            pool.shutdown(cancel_futures=True)
    partial.replace(folder)


def _partial(partial: Path, shape: tuple[int, int, int]) -> tuple[np.ndarray, set[str]]:
    path, ready = partial / "frames.npy", partial / "ready"
    if path.is_file() and ready.is_file():
        return np.lib.format.open_memmap(path, mode="r+"), set(ready.read_text(encoding="utf-8").split("\n"))
    need = int(np.prod(shape))
    try:
        partial.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(partial).free
        if need > free:
            partial.rmdir()
            raise InputError(
                f"{partial.parent}: the cache needs {need / 1e9:.2f} GB, {free / 1e9:.2f} GB are free; "
                "make room or set data.cache_dir"
            )
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape), set()
    except OSError as error:
        raise InputError(
            f"{partial.parent}: cannot be written ({error.strerror}); set data.cache_dir"
        ) from None
