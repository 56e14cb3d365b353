import inspect
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xfer.recipe.schedule import Schedule, factor, falls

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


@pytest.mark.parametrize("kind", ["constant", "step", "cosine", "one_cycle", "plateau"])
def test_warm_up_rises_in_a_line_whatever_follows(kind):
    rates = factors(kind=kind, warmup_epochs=2, warmup_factor=0.2)
    warm = rates[: 2 * STEPS]
    assert warm == pytest.approx([0.2 + 0.8 * s / (2 * STEPS) for s in range(2 * STEPS)])
    assert all(0 <= r <= 1 for r in rates)


@pytest.mark.parametrize("kind", ["constant", "step", "cosine", "one_cycle", "plateau"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_runs_have_a_rate(kind, steps):
    for warmup in (0, 1, 5):
        assert all(0 <= factor(Schedule(kind=kind, warmup_epochs=warmup), s, steps, 1) <= 1 for s in range(steps))


def test_steps_are_counted_from_the_first_epoch_warm_up_or_not():
    plain, warm = factors(kind="step", step_epochs=3), factors(kind="step", step_epochs=3, warmup_epochs=2)
    assert warm[2 * STEPS :] == plain[2 * STEPS :]


def test_plateau_is_the_power_of_its_falls():
    schedule = Schedule(kind="plateau", gamma=0.5)
    assert [factor(schedule, 7, STEPS, EPOCHS, fallen) for fallen in range(4)] == [1.0, 0.5, 0.25, 0.125]


@pytest.mark.parametrize(
    ("losses", "patience", "wanted"),
    [
        ([], 1, 0),
        ([1.0, 1.0], 1, 0),
        ([1.0, 1.0, 1.0], 1, 1),
        ([1.0, 1.0, 0.5, 0.5, 0.5], 1, 1),
        ([1.0, 1.0, 1.0, 1.0, 1.0], 1, 2),  # counted anew
        ([1.0, 0.91, 0.82, 0.81], 1, 0),  # of 0.9, by less than a tenth
        ([1.0, 0.91, 0.91], 1, 1),
        ([1.0, 1.0, 1.0], 0, 2),
    ],
)
def test_the_rate_falls_behind_more_bad_epochs_than_the_patience(losses, patience, wanted):
    assert falls(Schedule(kind="plateau", plateau_patience=patience, plateau_threshold=0.1), losses) == wanted
    assert falls(Schedule(kind="step"), losses) == 0


@settings(deadline=None)  # the first example imports torch
@given(
    losses=st.lists(st.sampled_from([0.1, 0.4999, 0.49996, 0.5, 0.6, 1.0, 3.0]), max_size=40),
    patience=st.integers(0, 3),
    threshold=st.sampled_from([0.0, 1e-4, 0.1]),
    gamma=st.sampled_from([0.5, 0.9]),
)
def test_plateau_falls_where_torchs_does(losses, patience, threshold, gamma):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e8)  # far above torch's eps at any fall
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=gamma, patience=patience, threshold=threshold)
    schedule = Schedule(kind="plateau", gamma=gamma, plateau_patience=patience, plateau_threshold=threshold)
    for count in range(len(losses) + 1):
        rate = 1e8 * factor(schedule, count, 1, 100, falls(schedule, losses[:count]))
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        theirs.step(losses[count] if count < len(losses) else 0.0)


def test_what_is_not_said_of_plateau_is_torchs():
    torch = pytest.importorskip("torch")
    theirs = inspect.signature(torch.optim.lr_scheduler.ReduceLROnPlateau).parameters
    own = Schedule(kind="plateau")
    assert (own.gamma, own.plateau_patience, own.plateau_threshold) == tuple(
        theirs[name].default for name in ("factor", "patience", "threshold")
    )
