from itertools import pairwise

import pytest

from xfer.recipe.schedule import Schedule, factor

STEPS, EPOCHS = 5, 8


def factors(**fields):
    return [factor(Schedule(**fields), s, STEPS, EPOCHS) for s in range(STEPS * EPOCHS)]


def test_constant_stays():
    assert set(factors(kind="constant")) == {1.0}


def test_step_falls_after_whole_epochs():
    rates = factors(kind="step", step_epochs=3, gamma=0.5)
    assert rates == [0.5 ** (s // STEPS // 3) for s in range(STEPS * EPOCHS)]


def test_cosine_falls_from_one_to_the_final_factor():
    rates = factors(kind="cosine", final_factor=0.1)
    assert rates[0] == 1.0
    assert all(a > b for a, b in pairwise(rates))
    assert 0.1 < rates[-1] < 0.11
    assert rates[STEPS * EPOCHS // 2] == pytest.approx(0.55)


def test_one_cycle_rises_to_one_and_falls_below_where_it_began():
    rates = factors(kind="one_cycle", pct_start=0.25, div_factor=10, final_div_factor=100)
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == round(0.25 * STEPS * EPOCHS) - 1
    assert rates[-1] == pytest.approx(0.001)


@pytest.mark.parametrize("kind", ["constant", "step", "cosine", "one_cycle"])
def test_warm_up_rises_in_a_line_whatever_follows(kind):
    rates = factors(kind=kind, warmup_epochs=2, warmup_factor=0.2)
    warm = rates[: 2 * STEPS]
    assert warm == pytest.approx([0.2 + 0.8 * s / (2 * STEPS) for s in range(2 * STEPS)])
    assert all(0 <= r <= 1 for r in rates)


@pytest.mark.parametrize("kind", ["constant", "step", "cosine", "one_cycle"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_runs_have_a_rate(kind, steps):
    for warmup in (0, 1, 5):
        assert all(0 <= factor(Schedule(kind=kind, warmup_epochs=warmup), s, steps, 1) <= 1 for s in range(steps))


def test_steps_are_counted_from_the_first_epoch_warm_up_or_not():
    plain, warm = factors(kind="step", step_epochs=3), factors(kind="step", step_epochs=3, warmup_epochs=2)
    assert warm[2 * STEPS :] == plain[2 * STEPS :]
