"""Random changes of frames: equal to Pillow where Pillow has them, drawn per frame, never a black corner."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from torchvision.transforms import functional

from hpiclock.config.schema import AugmentConfig
from hpiclock.training.augment import (
    GREY_MEAN,
    GREY_SD,
    AugmentationDraws,
    augment_frames,
    draw_augmentation,
    grey_level_table,
    normalize_frames,
)


def draws(n, **changes):
    """No change at all, but for those given."""
    still = {
        "mirror": np.zeros(n, bool),
        "upend": np.zeros(n, bool),
        "angle_deg": np.zeros(n),
        "gain": np.ones(n),
        "shift": np.zeros(n),
        "blur_px": np.zeros(n),
        "noise": np.zeros(n),
    }
    return AugmentationDraws(**(still | {name: np.asarray(values) for name, values in changes.items()}))


def run(images, made, seed=0):
    out = np.full(images.shape, np.nan, np.float32)
    return augment_frames(images, np.arange(len(images)), made, out, np.random.default_rng(seed))


def random_images(n, size):
    return np.random.default_rng(1).integers(0, 256, (n, size, size), dtype=np.uint8)


def one_by_one(image, mirror, upend, angle_deg):
    """The usual pipeline of one frame: Pillow flips and turns it, torchvision normalises it."""
    picture = Image.fromarray(image)
    if mirror:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if upend:
        picture = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    turned = picture.rotate(angle_deg, resample=Image.Resampling.NEAREST)
    inside = np.asarray(Image.new("L", picture.size, 1).rotate(angle_deg, resample=Image.Resampling.NEAREST))
    normal = functional.normalize(functional.to_tensor(turned), [GREY_MEAN], [GREY_SD])[0]
    return normal.numpy(), inside.astype(bool)


def test_evaluation_pixels_equal_the_one_by_one_pipeline():
    images = random_images(3, 32)
    images[0, :8] = np.arange(256, dtype=np.uint8).reshape(8, 32)  # every grey level
    out = normalize_frames(images, np.array([2, 0, 1]), np.empty((3, 32, 32), np.float32))
    for got, row in zip(out, [2, 0, 1], strict=True):
        expected, _ = one_by_one(images[row], False, False, 0.0)
        assert np.abs(got - expected).max() == 0


@pytest.mark.parametrize("size", [33, 64])
def test_flips_and_turns_equal_pillow_bit_for_bit(size):
    n = 40
    images = random_images(n, size)
    rng = np.random.default_rng(2)
    quarter = 90.0 * rng.integers(0, 4, n)
    angle = quarter + np.where(np.arange(n) < 8, 0.0, rng.uniform(-45, 45, n))  # the first 8 exact
    mirror, upend = rng.random(n) < 0.5, rng.random(n) < 0.5
    out = run(images, draws(n, mirror=mirror, upend=upend, angle_deg=angle))
    for i in range(n):
        expected, inside = one_by_one(images[i], mirror[i], upend[i], angle[i])
        assert np.array_equal(out[i][inside], expected[inside])
        assert inside.mean() > 0.8
        if i < 8:
            assert inside.all()


def test_corners_are_mirrored_and_never_black():
    size, pad = 40, 20
    image = random_images(1, size)
    image[0] = np.maximum(image[0], 60)
    angle = 17.0
    out = run(image, draws(1, angle_deg=[angle]))[0]
    # the mirrored surroundings of the frame, turned with it, cut to the frame
    wide = np.pad(image[0], pad, mode="symmetric")
    turned, _ = one_by_one(wide, False, False, angle)
    expected = turned[pad:-pad, pad:-pad]
    assert (out == expected).mean() > 0.999  # another centre rounds a border pixel otherwise
    assert out.min() >= grey_level_table()[60]


def test_a_flat_frame_stays_flat_whatever_the_turn():
    images = np.full((6, 31, 31), 128, np.uint8)
    out = run(images, draws(6, angle_deg=[1.0, 45.0, 90.0, 135.0, 200.0, 300.0]))
    assert np.array_equal(out, np.full_like(out, grey_level_table()[128]))


def test_contrast_and_brightness_are_each_frames_own():
    images = np.broadcast_to(random_images(1, 16), (3, 16, 16)).copy()
    gain, shift = [1.0, 1.5, 0.5], [0.2, 0.0, -0.3]
    out = run(images, draws(3, gain=gain, shift=shift))
    for i in range(3):
        grey = np.clip((images[i] / 255 - 0.5) * gain[i] + 0.5 + shift[i], 0, 1)
        np.testing.assert_allclose(out[i], (grey - GREY_MEAN) / GREY_SD, atol=1e-6)


def test_blur_is_each_frames_own():
    images = np.broadcast_to(random_images(1, 24), (3, 24, 24)).copy()
    out = run(images, draws(3, blur_px=[0.0, 0.7, 2.0]))
    sharp = run(images, draws(3))
    assert np.array_equal(out[0], sharp[0])
    for i, sigma in ((1, 0.7), (2, 2.0)):
        np.testing.assert_allclose(out[i], gaussian_filter(sharp[i], sigma, mode="reflect"), atol=1e-6)
    assert out[2].std() < out[1].std() < out[0].std()


def test_noise_is_each_frames_own_and_has_the_sd_asked_for():
    images = np.full((3, 128, 128), 128, np.uint8)
    out = run(images, draws(3, noise=[0.0, 0.05, 0.2]))
    assert np.array_equal(out[0], np.full_like(out[0], grey_level_table()[128]))
    # 16,384 pixels: the SD is known to 0.6%
    assert out[1].std() * GREY_SD == pytest.approx(0.05, rel=0.03)
    assert out[2].std() * GREY_SD == pytest.approx(0.2, rel=0.03)
    assert abs(np.corrcoef(out[1].ravel(), out[2].ravel())[0, 1]) < 0.05


def test_every_frame_gets_its_own_draw_within_the_asked_range():
    augment = AugmentConfig(
        quarter_turns=True, rotate_deg=10, brightness=0.2, contrast=0.3, blur_px=2, noise=0.1
    )
    made = draw_augmentation(400, augment, np.random.default_rng(0))
    for name in ("angle_deg", "gain", "shift", "blur_px", "noise"):
        assert len(np.unique(getattr(made, name))) == 400
    off_quarter = (made.angle_deg + 45) % 90 - 45
    assert np.abs(off_quarter).max() <= 10
    assert set(np.round(made.angle_deg / 90)) == {0, 1, 2, 3}
    assert 0.7 <= made.gain.min() < 0.75
    assert 1.25 < made.gain.max() <= 1.3
    assert np.abs(made.shift).max() <= 0.2
    assert made.blur_px.min() >= 0
    assert made.blur_px.max() <= 2
    assert made.noise.min() >= 0
    assert made.noise.max() <= 0.1
    for flip in (made.mirror, made.upend):
        assert 140 < flip.sum() < 260  # 6 SD about 200
    assert (made.mirror != made.upend).any()


def test_what_is_switched_off_changes_nothing():
    off = AugmentConfig(flip=False, rotate_deg=0)
    made = draw_augmentation(5, off, np.random.default_rng(0))
    images = random_images(5, 16)
    assert np.array_equal(
        run(images, made), normalize_frames(images, np.arange(5), np.empty((5, 16, 16), np.float32))
    )
