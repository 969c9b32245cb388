"""Stacks of TIFF frames to measure on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import tifffile


def write_stacks(folder: Path, *, stacks: int, frames: int, side: int, wells: int = 96) -> pd.DataFrame:
    """Write stacks of a textured 16-bit field; return what MANIFEST and FRAMES need of them."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(stacks):
        coarse = rng.normal(2000, 300, (frames, -(-side // 8), -(-side // 8))).repeat(8, 1).repeat(8, 2)
        field = coarse[:, :side, :side] + rng.normal(0, 60, (frames, side, side))
        well = f"{chr(97 + i % wells // 12)}{i % 12 + 1}"
        path = folder / f"bench_s1_{well}_p{i // wells + 1}_t0-{frames - 1}.tiff"
        tifffile.imwrite(path, field.clip(0, 65535).astype(np.uint16), metadata={"axes": "TYX"})
        rows.append({"stack_id": path.stem, "path": str(path), "n_frames": frames, "well": well.upper()})
    return pd.DataFrame(rows)


def frames_of(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return as FRAMES what batches ask of the frames of these stacks; labels take turns."""
    rows = manifest.loc[manifest.index.repeat(manifest["n_frames"]), ["stack_id", "path"]]
    frame = rows.groupby(level=0).cumcount()
    label = pd.array(frame.to_numpy() % 2, dtype="Int8")
    return rows.assign(frame=frame, label=label, time_target=frame.astype(float)).reset_index(drop=True)
