"""A new plate against the training plate: what is said, what is adapted, what is refused."""

import pandas as pd
import pytest

from hpiclock.config.schema import ImageConfig
from hpiclock.errors import InputError
from hpiclock.plate.preprocess import harmonize


def plate(**changes: object) -> pd.DataFrame:
    row = {"height": 512, "width": 512, "dtype": "uint8", "interval_h": 2.0, "start_h": 0.0, "n_frames": 25}
    return pd.DataFrame([row | {"pixel_um": 1.0} | changes])


def test_the_same_plate_needs_no_word() -> None:
    image = ImageConfig()
    assert harmonize(plate(), plate(), image) == (image, [])


def test_stills_have_no_interval_and_no_word_is_said_of_it() -> None:
    stills = plate(interval_h=float("nan"), n_frames=1)
    assert harmonize(plate(), stills, ImageConfig())[1] == []
    assert harmonize(stills, stills, ImageConfig())[1] == []


def test_sizes_and_intervals_are_both_stated() -> None:
    new = plate(height=256, width=512, pixel_um=1.0, interval_h=0.5, n_frames=93)
    _, notes = harmonize(plate(), new, ImageConfig(size=64))
    assert notes[0].startswith(
        "Frames are 256 x 512 px, in training 512 x 512 px: both are resized to 64 x 64 px"
    )
    assert "stretched by 2.00" in notes[0]
    assert notes[1].startswith("Frames are 0.5 h apart, in training 2 h")
    assert len(notes) == 2  # 92 x 0.5 h = 46 h, no longer than the 48 h of the training
    _, notes = harmonize(plate(), plate(n_frames=37), ImageConfig())
    assert notes == [
        "Imaging goes on until 72 h, in training until 48 h: what the model says of later frames was never "
        "tested."
    ]


def test_a_larger_field_is_cut_until_cells_are_as_large() -> None:
    # 512 um in training with 5% off each side: 460.8 um; 512 px of 1.25 um are 640 um
    image, notes = harmonize(plate(), plate(pixel_um=1.25), ImageConfig(crop_border=0.05))
    assert 640 * (1 - 2 * image.crop_border) == pytest.approx(460.8, rel=1e-3)
    assert "14.0% of each side is cut off (5.0% in training)" in notes[0]


def test_a_smaller_field_is_shown_smaller_so_that_cells_are_as_large() -> None:
    # 512 px of 0.75 um are 384 um of the 512 um in training: 3/4 of 224 px
    image, notes = harmonize(plate(), plate(pixel_um=0.75), ImageConfig())
    assert image == ImageConfig(size=168)
    assert notes == [
        "A pixel is 0.75 um, in training 1 um: the field is 0.75 times as wide as in training, so frames are "
        "resized to 168 x 168 px instead of 224 x 224 px, and cells are as large to the model as in training."
    ]
    image, _ = harmonize(plate(), plate(pixel_um=0.75), ImageConfig(crop_border=0.05))
    assert (image.size, image.crop_border) == (168, 0.05)  # the same share is cut off both


def test_a_field_of_less_than_half_the_width_is_refused() -> None:
    with pytest.raises(InputError, match=r"0\.4 times as wide .* 0\.4 um, in training 1 um.*magnification"):
        harmonize(plate(), plate(pixel_um=0.4), ImageConfig())


def test_pixels_of_unknown_size() -> None:
    _, notes = harmonize(plate(pixel_um=float("nan")), plate(height=256, width=256), ImageConfig())
    assert notes[1] == (
        "The files of the training plate do not say how large a pixel is: whether cells are as large as in "
        "training cannot be told."
    )


def test_grey_levels_of_another_kind() -> None:
    fixed = ImageConfig(intensity="fixed", low=64, high=192)
    with pytest.raises(
        InputError, match=r"grey levels 64-192 of uint8 frames, the new plate has uint16: give"
    ):
        harmonize(plate(), plate(dtype="uint16"), fixed)
    _, notes = harmonize(plate(), plate(dtype="uint16"), ImageConfig())
    assert notes == [
        "Grey levels are uint16, in training uint8: each frame is scaled by its own minmax limits."
    ]


def test_a_channel_of_another_name_is_said() -> None:
    _, notes = harmonize(plate(channel_name="phase"), plate(channel_name="GFP"), ImageConfig())
    assert notes == [
        "The channel is called GFP, in training phase: a model reads the contrast that it was trained on "
        "and no other; data.channel picks another channel."
    ]
    for was, now in (("phase", "Phase"), ("", "GFP"), ("phase", ""), (float("nan"), "GFP")):
        assert harmonize(plate(channel_name=was), plate(channel_name=now), ImageConfig())[1] == []
