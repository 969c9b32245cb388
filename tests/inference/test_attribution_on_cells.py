"""On the demo plate Grad-CAM looks at cells with visible CPE; that of a model with other weights does not.

Truth is the simulator's own mask of where CPE is to be seen. Chance is the mask's share of the picture: a map
that lies anywhere puts that share of its weight on CPE. A map without weight for infected looks nowhere and
counts as chance. The limits are Student's t over wells, or over models whose weights were drawn anew.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from hpiclock.analysis.saliency_maps import share_inside
from hpiclock.audit.permutation import mean_over_wells
from hpiclock.config.load import load_config
from hpiclock.config.schema import Config
from hpiclock.inference.attribution import GRADCAM, attribution_map, cascading_randomization, images_of
from hpiclock.plate.cache import FrameCache
from hpiclock.plate.preprocess import prepare_image
from hpiclock.simulate.design import Design, design, grid
from hpiclock.simulate.write import plan_wells, well_stacks
from hpiclock.training.batches import Batches
from hpiclock.training.device import place_model
from hpiclock.training.loop import fit
from hpiclock.training.losses import Losses
from hpiclock.training.model import TwoHeads, build_model

CONFIGS = Path(__file__).parents[2] / "configs"
DRAWS = 6
SHORT = {
    "train.epochs": 5, "train.batch_size": 8, "train.lr": 1e-3, "train.best": "loss", "train.threads": 1,
    "train.device": "cpu",
}  # fmt: skip


class Fields(NamedTuple):
    """One field of each well: frames with their truth, as the model reads them, and masks of CPE."""

    frames: pd.DataFrame
    cache: FrameCache
    masks: np.ndarray

    def where(self, chosen: np.ndarray) -> "Fields":
        return Fields(self.frames[chosen], self.cache, self.masks[chosen])


def imaged(plan: Design, cfg: Config, *, rows: str, seed: int) -> Fields:
    """Grow and image the wells in these rows of a plate."""
    stacks = [
        next(well_stacks(plan, well, seed=seed))
        for well in plan_wells(plan, seed=seed)
        if well.well[0] in rows
    ]
    pictures = np.concatenate([stack.pictures for stack in stacks])
    masks = np.concatenate([stack.masks for stack in stacks]).astype(np.uint8)
    limits = (cfg.image.low or 0.0, cfg.image.high or 0.0)
    images = np.stack([prepare_image(picture, limits, cfg.image) for picture in pictures])
    inside = np.stack([prepare_image(mask, (0, 1), cfg.image) > 127 for mask in masks])
    truth = pd.concat([stack.truth for stack in stacks], ignore_index=True)
    infected = truth["condition"].eq("infected")
    frames = truth.assign(
        stack_id="all", frame=np.arange(len(truth)), label=infected.astype("Int8"),
        time_target=truth["hpi"].fillna(truth["hours"]).clip(0, 48),
    )  # fmt: skip
    return Fields(frames, FrameCache(images, {"all": 0}, "key"), inside)


@pytest.fixture(scope="module")
def cfg() -> Config:
    return load_config(CONFIGS / "demo.yaml", SHORT)


@pytest.fixture(scope="module")
def model(cfg: Config, tmp_path_factory: pytest.TempPathFactory) -> TwoHeads:
    """A short training on two rows of the demo plate: mock frames, and infected ones whose CPE is visible."""
    seen = imaged(design("demo", n_frames=13, interval_h=4.0), cfg, rows="AB", seed=0)
    frames = seen.frames
    clear = frames[frames["condition"].eq("mock") | frames["cpe_fraction"].gt(0.3)]
    made = place_model(build_model(cfg.model, seed=cfg.seed, pretrained=False), cfg.train)
    train, val = (
        Batches(seen.cache, rows, batch_size=cfg.train.batch_size, device=made.device)
        for rows in (clear, clear.iloc[::10])
    )
    folder = tmp_path_factory.mktemp("looks")
    fit(made, Losses(cfg.objective, cfg.model), train, val, cfg, folder, say=lambda _: None)
    return made


@pytest.fixture(scope="module")
def partly(cfg: Config) -> Fields:
    """Frames of other wells in which part of the picture shows CPE: on all or none of it nothing can be told.

    A plate of the demo's cells and optics with one low MOI and a frame each 45 minutes, so that such frames
    are many.
    """
    plan = design("demo", wells=grid(3, (0.2, 0.2)), onsets_h=(0.0,), n_frames=19, interval_h=0.75)
    fields = imaged(plan, cfg, rows="ABC", seed=1)
    area = fields.masks.mean((1, 2))
    return fields.where((area > 0.05) & (area < 0.7))


def beyond_chance(model: TwoHeads, fields: Fields) -> np.ndarray:
    """Return the share of the weight for infected that lies on CPE, less CPE's share of each picture."""
    images = images_of(model, fields.cache, fields.frames)
    weight = np.clip(attribution_map(model, images, head="class", method=GRADCAM).numpy(), 0, None)
    share = share_inside(weight, fields.masks)
    area = fields.masks.mean((1, 2))
    return np.where(np.isnan(share), area, share) - area


def test_gradcam_of_the_trained_model_looks_at_cells_with_cpe(model: TwoHeads, partly: Fields) -> None:
    assert len(partly.frames) >= 40
    found = mean_over_wells(beyond_chance(model, partly), partly.frames["well"], level=0.95)
    assert found.low > 0, found
    assert found.value > 0.05


def test_that_of_models_with_other_weights_does_not(model: TwoHeads, partly: Fields) -> None:
    trained = float(beyond_chance(model, partly).mean())
    drawn = []
    for seed in range(DRAWS):
        *_, (_, other) = cascading_randomization(model, seed=seed)
        drawn.append(float(beyond_chance(other, partly).mean()))
    found = mean_over_wells(np.array(drawn), np.arange(DRAWS), level=0.95)
    assert found.low < 0 < found.high, (found, drawn)
    assert found.value < trained / 2, (found, trained)


def test_a_map_of_the_mask_itself_would_pass_and_one_of_its_rest_would_not(partly: Fields) -> None:
    area = partly.masks.mean((1, 2))
    np.testing.assert_array_equal(share_inside(partly.masks.astype(float), partly.masks), 1)
    np.testing.assert_array_equal(share_inside((~partly.masks).astype(float), partly.masks), 0)
    flat = share_inside(np.ones(partly.masks.shape), partly.masks)
    np.testing.assert_allclose(flat, area)
