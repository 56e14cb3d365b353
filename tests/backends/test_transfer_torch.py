"""What goes to a device and comes back is right whatever the device is late with, and no step waits for it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from xfer.archs import IMAGENET_MEAN, IMAGENET_STD, LOGITS  # noqa: E402
from xfer.backend import Batch, OptimizerSpec  # noqa: E402
from xfer.losses import LossSpec, targets_of  # noqa: E402
from xfer.nets.freeze import FreezePolicy, resolve  # noqa: E402
from xfer.nets.net import build_net  # noqa: E402
from xfer.nets.specs import ModelSpec  # noqa: E402
from xfer.testing.kit import random_weights  # noqa: E402
from xfer_torch import TorchBackend  # noqa: E402
from xfer_torch.merging import merged  # noqa: E402
from xfer_torch.network import Resting  # noqa: E402
from xfer_torch.transfer import fetched, sender  # noqa: E402

SIZE = 64
RULES = [OptimizerSpec("sgd", momentum=0.9), OptimizerSpec("adam"), OptimizerSpec("adamw", clip_norm=1.0)]
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
CYCLES = 200_000_000
"""Of the device's clock, in which it does nothing: a tenth of a second, and much longer than any copy here."""


def network(device):
    net = build_net(TorchBackend(), device, ModelSpec("resnet18", 3, (SIZE, SIZE), IMAGENET_MEAN, IMAGENET_STD))
    net.load(random_weights(net.shapes, seed=1))
    return net


def train_step(net, rule, train_from="stem"):
    return net.train_step(rule, resolve(FreezePolicy(train_from), net.arch, list(net.shapes)))


def batch(seed=0, count=6):
    images = np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)
    return Batch(images, *targets_of(LossSpec(), np.arange(count) % 3, 3))


def test_on_the_cpu_nothing_is_copied():
    array = np.arange(6, dtype=np.float32)
    there = sender(torch.device("cpu"))(torch.from_numpy(array))
    assert np.shares_memory(there.numpy(), array)
    (back,) = fetched([there])()
    assert back is there


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda:0", marks=cuda)])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_an_imported_state_lies_in_memory_as_its_weights_do(rule, device):
    """Else one kernel cannot update all of them; and a step that went on has the bits of one that did not stop."""
    first, second = network(device), network(device)
    whole = train_step(first, rule)
    whole([batch()], [0.01])()
    second.load(first.export())
    later = train_step(second, rule)
    later.import_state(whole.export_state())
    for name, parameter in later.params.items():
        slots = [slot for slot in later.optimizer.state[parameter].values() if slot.ndim]
        assert slots
        assert all(slot.stride() == parameter.stride() for slot in slots), name
    ends = [step([batch(1)], [0.01])() for step in (whole, later)]
    if device == "cpu":  # on CUDA the gradients of convolutions need not repeat
        assert np.array_equal(ends[0][1], ends[1][1])
        a, b = first.export(), second.export()
        assert [name for name in a if not np.array_equal(a[name], b[name])] == []


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda:0", marks=cuda)])
def test_merged_weights_are_the_core_s_to_the_bit_where_the_device_makes_them(device):
    net = network(device)
    resting = Resting(net.model, "stem", LOGITS)
    weights = net.export()
    assert len(resting.merges) == 20
    for merge in resting.merges:
        for value, wanted in zip(merged(merge, net.model.tensors), merge.values(weights), strict=True):
            assert np.array_equal(value.cpu().numpy().view(np.uint32), np.ascontiguousarray(wanted).view(np.uint32))


@cuda
@pytest.mark.parametrize("train_from", ["stem", "layer4"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_the_host_waits_for_nothing_in_a_step(rule, train_from):
    step = train_step(network("cuda:0"), rule, train_from)
    step([batch()], [0.001])()  # what is done once may wait: workspaces, weights of a frozen prefix
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        lazies = [step([batch(seed), batch(seed + 1)], [0.001]) for seed in range(3)]
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert all(np.isfinite(lazy()[0]) for lazy in lazies)


@cuda
def test_a_late_copy_has_the_values_that_were_given():
    """Though the caller has written others there since, in memory that a device could read by itself."""
    send = sender(torch.device("cuda:0"))
    given = torch.full((1 << 22,), 1, dtype=torch.uint8, pin_memory=True)
    with torch.cuda.stream(send.stream):
        torch.cuda._sleep(CYCLES)
    there = send(given)
    given.fill_(2)
    assert int(there.min()) == int(there.max()) == 1


@cuda
def test_copies_that_are_under_way_share_no_memory():
    send = sender(torch.device("cuda:0"))
    with torch.cuda.stream(send.stream):
        torch.cuda._sleep(CYCLES)
    there = [send(torch.full((1 << 22,), value, dtype=torch.uint8)) for value in range(8)]
    assert [(int(tensor.min()), int(tensor.max())) for tensor in there] == [(value, value) for value in range(8)]


@cuda
def test_memory_that_a_late_device_still_reads_takes_no_later_copy():
    send = sender(torch.device("cuda:0"))
    torch.cuda._sleep(CYCLES)
    sums = []
    for value in range(8):
        there = send(torch.full((1 << 22,), value, dtype=torch.uint8))
        sums.append(there.long().sum())
        del there
    assert [int(total) >> 22 for total in sums] == list(range(8))


@cuda
def test_reading_a_result_waits_for_no_later_work():
    value = torch.ones(4, device="cuda:0") * 3
    result = fetched([value])
    result()
    result = fetched([value + 1])
    torch.cuda._sleep(10 * CYCLES)
    assert result()[0].tolist() == [4, 4, 4, 4]
    assert not torch.cuda.current_stream().query(), "the device has nothing left to do"
    torch.cuda.synchronize()
    assert result()[0].tolist() == [4, 4, 4, 4]
