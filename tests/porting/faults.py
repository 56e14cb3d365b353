"""The task of these tests, and backends with a fault in a place that is known."""

import numpy as np

from xfer.archs import LOGITS
from xfer.porting.parity import noise
from xfer.porting.probe import Task
from xfer.testing.delegate import Delegate
from xfer.testing.numpy_backend import TINY

TASK = Task("tiny", noise(10, 16, seed=0), batch_size=4, steps=3)


class Stage(Delegate):
    """What leaves one stage is rolled by one element, in everything that passes through it."""

    def __init__(self, inner, broken):
        super().__init__(inner)
        self.broken = broken

    def make_predict_step(self, model, start, stop):
        stages = (*TINY.stage_names, LOGITS)
        cut = stages[stages.index(self.broken) + 1]
        if stages.index(stop) < stages.index(cut):
            return self.inner.make_predict_step(model, start, stop)
        before = self.inner.make_predict_step(model, start, cut)
        if stop == cut:
            return lambda inputs: np.roll(before(inputs), 1, axis=1)
        behind = self.inner.make_predict_step(model, cut, stop)
        return lambda inputs: behind(np.roll(before(inputs), 1, axis=1))


class Step(Delegate):
    """After each step, the weights that `fault` has changed."""

    def __init__(self, inner, fault):
        super().__init__(inner)
        self.fault = fault

    def make_train_step(self, model, optimizer, loss, groups, start):
        step = self.inner.make_train_step(model, optimizer, loss, groups, start)

        def broken(batch, lrs):
            before = self.export_weights(model)
            result = step(batch, lrs)
            self.import_weights(model, self.fault(before, self.export_weights(model), groups))
            return result

        return broken
