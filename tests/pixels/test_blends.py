"""mixup and cutmix of two pictures: exact values, and shares that are what was done to the pixels."""

import numpy as np
import pytest

from xfer.pixels.mixing import LEVELS, Blend, Patch, draw_blend, draw_patch

FIRST, SECOND = (values.astype(np.uint8) for values in np.mgrid[0:256, 0:256])


@pytest.mark.parametrize("parts", [0, 1, 77, 128, 255, LEVELS])
def test_a_blend_is_the_nearest_whole_number_for_every_pair_of_values(parts):
    exact = ((LEVELS - parts) * FIRST.astype(int) + parts * SECOND.astype(int)) / LEVELS
    blended = Blend(parts).apply(FIRST, SECOND)
    assert blended.dtype == np.uint8
    assert np.array_equal(blended, np.floor(exact + 0.5))
    assert Blend(parts).share == parts / 256


def test_a_patch_is_a_box_of_the_other_picture():
    image, other = np.zeros((4, 6, 3), np.uint8), np.full((4, 6, 3), 9, np.uint8)
    patch = Patch(1, 2, 3, 5, (4, 6))
    patched = patch.apply(image, other)
    assert patched[..., 0].tolist() == [[0] * 6, [0, 0, 9, 9, 9, 0], [0, 0, 9, 9, 9, 0], [0] * 6]
    assert patch.share == 6 / 24
    assert not image.any()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_shares_of_blends_follow_their_distribution(alpha):
    """Beta(a, a) has a mean of 1/2 and a variance of 1 / (4 * (2a + 1))."""
    rng = np.random.default_rng(0)
    shares = np.array([draw_blend(alpha, rng).share for _ in range(4000)])
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.06)


def test_the_smallest_and_the_largest_alpha_give_shares():
    rng = np.random.default_rng(0)
    for alpha in (5e-324, 1e-3, 1000.0):
        assert all(0 <= draw_blend(alpha, rng).share <= 1 for _ in range(50))
        assert all(0 <= draw_patch(alpha, (8, 8), rng).share <= 1 for _ in range(50))


def test_patches_lie_inside_and_their_share_is_that_of_the_pixels():
    rng, shares = np.random.default_rng(1), []
    image, other = np.zeros((60, 80, 3), np.uint8), np.ones((60, 80, 3), np.uint8)
    for _ in range(2000):
        patch = draw_patch(1.0, (60, 80), rng)
        assert patch.share == pytest.approx(patch.apply(image, other).mean(), abs=1e-12)
        assert 0 <= patch.top <= patch.bottom <= 60
        assert 0 <= patch.left <= patch.right <= 80
        shares.append(patch.share)
    assert max(shares) > 0.8
    # Of a box of the share x, 1 - sqrt(x)/4 lies inside along each side on average: E(x (1 - sqrt(x)/4)^2) = 0.321.
    assert np.mean(shares) == pytest.approx(0.321, abs=0.02)
