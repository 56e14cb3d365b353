"""What `xfer parity` finds: torch with one fault against torch as it is, on a network of a few hundred weights."""

from dataclasses import replace

import numpy as np
import pytest
from calling import Calling
from small_graphs import Builder

from xfer.archs import is_statistic
from xfer.porting import task as task_file
from xfer.porting.differences import compare
from xfer.porting.floors import DRAWS
from xfer.porting.parity import noise
from xfer.porting.probe import measure
from xfer.porting.subject import subject_of
from xfer.porting.task import PICTURES, Task
from xfer.testing.delegate import Delegate
from xfer.testing.fixtures import require


def network():
    """A strided stem with pooling, a block with a shortcut, a strided layer: every convolution is normalised."""
    b = Builder()
    b.conv("conv1", 8, 3, stride=2)
    b.norm("bn1", 8)
    b.add("relu1", "relu")
    pooled = b.add("pool", "max_pool", kernel=[3, 3], stride=[2, 2], padding=[1, 1], dilation=[1, 1], ceil=False)
    b.conv("layer1.conv1", 8, 8)
    b.norm("layer1.bn1", 8)
    b.add("layer1.relu1", "relu")
    b.conv("layer1.conv2", 8, 8)
    b.add("layer1.add", "add", b.norm("layer1.bn2", 8), pooled)
    b.add("layer1.relu2", "relu")
    b.conv("layer2.conv1", 16, 8, stride=2)
    b.norm("layer2.bn1", 16)
    b.add("layer2.relu1", "relu")
    b.add("mean", "adaptive_avg_pool", size=[1, 1])
    b.add("flat", "flatten", start=1)
    b.linear("fc", 10, 16)
    return b.graph("fc")


class Own(Delegate):
    networks = {"small": network()}  # noqa: RUF012


TASK = Task("small", noise(16, 32, seed=0), steps=2)


class Faulty(Delegate):
    """Each argument changes what its name says; `moved`: weights after a step, from those before and its groups."""

    def __init__(self, inner, graph=None, optimizer=None, groups=None, rates=None, batch=None, moved=None, given=None):
        super().__init__(inner)
        self.faults = {"graph": graph, "optimizer": optimizer, "groups": groups, "rates": rates, "batch": batch}
        self.moved, self.given = moved, given

    def changed(self, what, value):
        return value if self.faults[what] is None else self.faults[what](value)

    def build(self, spec, device):
        return self.inner.build(replace(spec, graph=self.changed("graph", spec.graph)), device)

    def import_weights(self, model, weights):
        self.inner.import_weights(model, {n: self.given(w) for n, w in weights.items()} if self.given else weights)

    def make_train_step(self, model, optimizer, loss, groups, start, cut):
        rule, moving = self.changed("optimizer", optimizer), self.changed("groups", groups)
        step = self.inner.make_train_step(model, rule, loss, moving, start, cut)

        def call(parts, lrs):
            before = self.inner.export_weights(model)
            result = step([self.changed("batch", part) for part in parts], [self.changed("rates", lr) for lr in lrs])
            if self.moved:
                self.inner.import_weights(model, self.moved(before, self.inner.export_weights(model), groups))
            return result

        return Calling(step, call)


def attributes(kind, **changes):
    def graph(g):
        nodes = (replace(n, attributes={**n.attributes, **changes}) if n.kind == kind else n for n in g.nodes)
        return replace(g, nodes=tuple(nodes))

    return {"graph": graph}


def lower(g):
    """The padding of strided convolutions one pixel further down."""
    nodes = (
        replace(n, attributes={**n.attributes, "padding": [0, 2, 1, 1]})
        if n.attributes.get("stride") == [2, 2] and n.kind == "conv"
        else n
        for n in g.nodes
    )
    return replace(g, nodes=tuple(nodes))


def scaled(factor, *names, with_batch_alone=False):
    """Of all, where none are named, the gradients."""

    def moved(before, after, groups):
        on = groups.updating or not with_batch_alone
        wrong = {n for n in after if on and not is_statistic(n) and (n in names or not names)}
        return {n: before[n] + np.float32(factor) * (w - before[n]) if n in wrong else w for n, w in after.items()}

    return {"moved": moved}


def decaying(decays):
    return {"groups": lambda g: replace(g, trainable=tuple(replace(t, weight_decay=decays(g)) for t in g.trainable))}


def smoothed(batch):
    return replace(batch, targets=(0.9 * batch.targets + 0.1 / batch.targets.shape[1]).astype(np.float32))


def hard(batch):
    classes = batch.targets.shape[1]
    return replace(batch, targets=np.eye(classes, dtype=np.float32)[batch.targets.argmax(1)])


def of_one_less(batch):
    return replace(batch, factors=batch.factors * np.float32(len(batch.factors) / (len(batch.factors) - 1)))


def still(before, after, groups):
    return {n: before[n] if is_statistic(n) else w for n, w in after.items()}


STRONG = {"given": lambda w: (w.view(np.int32) & ~0x3FF).view(np.float32)}  # 13 bits of 23, as TensorFloat-32 and more
FAULTS = {
    "weights are rounded": (STRONG, task_file.START),
    "eps 1e-3": (attributes("batch_norm", eps=1e-3), task_file.ACTIVATIONS),
    "padding off by one": ({"graph": lower}, task_file.ACTIVATIONS),
    "smoothed twice": ({"batch": smoothed}, task_file.REST_LOSS),
    "targets not smoothed": ({"batch": hard}, task_file.REST_LOSS),
    "a mean over one picture less": ({"batch": of_one_less}, task_file.REST_LOSS),
    "all gradients 1.03": (scaled(1.03), task_file.REST_GRADIENTS),
    "one gradient 1.001": (scaled(1.001, "conv1.weight"), task_file.REST_GRADIENTS),
    "a gradient of zero": (scaled(0, "layer1.bn2.weight"), task_file.REST_GRADIENTS),
    "rates 1.01": ({"rates": lambda lr: 1.01 * lr}, task_file.REST_GRADIENTS),
    "one gradient 1.001, with the batch": (scaled(1.001, "conv1.weight", with_batch_alone=True), task_file.GRADIENTS),
    "statistics twice as fast": (attributes("batch_norm", momentum=0.2), task_file.STATISTICS),
    "statistics that stay": ({"moved": still}, task_file.STATISTICS),
    "momentum 0.88": ({"optimizer": lambda o: replace(o, momentum=o.momentum * 0.88 / 0.9)}, task_file.UPDATE),
    "Nesterov's": ({"optimizer": lambda o: replace(o, nesterov=o.momentum > 0)}, task_file.UPDATE),
    "decay of all": (decaying(lambda g: max(t.weight_decay for t in g.trainable)), task_file.UPDATE),
    "no decay": (decaying(lambda g: 0.0), task_file.UPDATE),
    "small rates 1.01": ({"rates": lambda lr: 1.01 * lr if lr < 1 else lr}, task_file.ONE_STEP),
}


@pytest.fixture(scope="module")
def torch():
    return Own(require("torch")[0])


@pytest.fixture(scope="module")
def reference(torch):
    return measure(torch, "cpu", replace(TASK, draws=DRAWS))


def report(reference, backend, task=TASK):
    return compare(reference, measure(backend, "cpu", task), (task, task), 1e-4)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_where_it_begins(torch, reference, fault):
    change, begins = FAULTS[fault]
    found = report(reference, Faulty(torch, **change))
    assert found.first_difference.what == begins


def test_without_a_fault_there_is_no_difference(torch, reference):
    found = report(reference, Faulty(torch))
    assert found.passes
    assert sum(row.tensor == PICTURES for row in found.rows if row.judged) == 2


@pytest.mark.parametrize("seed", [1, 2])
def test_honest_frameworks_are_the_same(torch, seed):
    other = Own(require("mindspore")[0])
    task = replace(TASK, images=noise(16, 32, seed), seed=seed, draws=DRAWS)
    found = report(measure(torch, "cpu", task), other, replace(task, draws=0))
    assert found.passes
    assert any(row.max_abs > 0 for row in found.rows if row.tensor == PICTURES)


def test_the_gradient_of_the_pictures_is_that_of_the_framework(torch, reference):
    """By torch's own gradient of the module's input: at rest, summed over the batch."""
    import torch as framework

    subject = subject_of(torch, "cpu", TASK)
    subject.net.load(subject.first)
    (batch, *_), spec = subject.batches, subject.net.spec
    x = framework.tensor(((batch.inputs / 255 - spec.mean) / spec.std).transpose(0, 3, 1, 2), dtype=framework.float32)
    x.requires_grad_()
    losses = -(framework.log_softmax(subject.net.native()(x), 1) * framework.tensor(batch.targets)).sum(1)
    (losses * framework.tensor(batch.factors)).sum().backward()
    wanted = x.grad.sum(0).numpy()
    found = reference.arrays[task_file.REST_GRADIENTS][PICTURES]
    assert found.shape == (1, 3, 32, 32)
    assert np.abs(found[0] - wanted).max() < 1e-5 * np.abs(wanted).max()
