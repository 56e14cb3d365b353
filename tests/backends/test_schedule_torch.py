"""The schedules are torch's, by another road."""

import pytest

from xfer.recipe.schedule import Schedule, factor

torch = pytest.importorskip("torch")
STEPS, EPOCHS = 4, 6


def torch_rates(make, per_epoch=False):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, rates = make(optimizer), []
    for step in range(STEPS * EPOCHS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if not per_epoch or (step + 1) % STEPS == 0:
            scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("schedule", "make", "per_epoch"),
    [
        (
            Schedule(kind="step", step_epochs=2, gamma=0.3),
            lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.3),
            True,
        ),
        (
            Schedule(kind="cosine", final_factor=0.05),
            lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS * EPOCHS, 0.05),
            False,
        ),
        (
            Schedule(kind="one_cycle", pct_start=0.3),
            lambda o: torch.optim.lr_scheduler.OneCycleLR(
                o, 1.0, total_steps=STEPS * EPOCHS, pct_start=0.3, cycle_momentum=False
            ),
            False,
        ),
        (
            Schedule(kind="constant", warmup_epochs=2, warmup_factor=0.1),
            lambda o: torch.optim.lr_scheduler.LinearLR(o, 0.1, 1.0, 2 * STEPS),
            False,
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_rates_are_torchs(schedule, make, per_epoch):
    ours = [factor(schedule, s, STEPS, EPOCHS) for s in range(STEPS * EPOCHS)]
    assert ours == pytest.approx(torch_rates(make, per_epoch), rel=1e-9, abs=1e-12)
