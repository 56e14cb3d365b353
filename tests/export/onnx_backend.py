"""A backend that predicts by an ONNX model of its network: what laws of backends are held to, the model is held to."""

from dataclasses import dataclass

import numpy as np
import onnxruntime

from xfer.export.network import OPSET, Network, onnx_model
from xfer.graphs.kinds import KINDS
from xfer.testing.numpy_backend import NumpyBackend, NumpyModel


@dataclass
class OnnxBackend(NumpyBackend):
    opset: int = OPSET
    enters: str = "normalised"
    kinds = frozenset(KINDS)

    def build(self, spec, device):
        return NumpyModel(spec, {name: np.zeros(shape, np.float32) for name, shape in spec.graph.weights.items()})

    def make_predict_step(self, model, start, stop):
        """From pictures to logits, whatever is asked for."""
        spec = model.spec
        network = Network(spec.graph, model.weights, spec.graph.size, spec.mean, spec.std)
        session = session_of(onnx_model(network, self.enters, self.opset, {}))

        def predict(images):
            if self.enters == "normalised":
                images = ((images / 255 - spec.mean) / spec.std).transpose(0, 3, 1, 2).astype(np.float32)
            return session.run(["logits"], {"images": images})[0]

        return predict


def session_of(model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
