"""Resizing and cropping inside of a model give the bits that the core's own transforms give."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from onnx import TensorProto, helper, numpy_helper
from onnx_backend import session_of

from xfer.errors import ConfigError
from xfer.export.network import LEAST_OPSET, MOST_OPSET
from xfer.export.preprocess import preprocess
from xfer.export.writer import Writer
from xfer.pixels.augment import CenterCrop, HorizontalFlip, Normalize, Resize, apply

CASES = {
    "the usual": [Resize(size=64), CenterCrop(size=56)],
    "both sides, and back": [Resize(size=(40, 50), interpolation="bicubic"), Resize(size=33)],
    "a crop larger than the picture": [CenterCrop(size=(64, 51)), Normalize(mean=(0, 0, 0), std=(1, 1, 1))],
    "a crop larger one way": [Resize(size=48, interpolation="bicubic"), CenterCrop(size=(51, 45))],
}
SIZES = [(120, 160), (31, 77), (97, 64), (64, 64), (301, 210), (3, 2), (160, 44), (301, 90), (90, 301), (80, 60)]
"""120 -> 64: products that end in one half; tall ones, which Pillow takes by rows first."""


def session_for(transforms, opset):
    writer = Writer(opset)
    writer.unused("images")
    result = helper.make_node("Identity", [preprocess(writer, "images", transforms)], ["result"])
    entered = helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", "height", "width", 3])
    given = helper.make_tensor_value_info("result", TensorProto.FLOAT, [None] * 4)
    constants = [numpy_helper.from_array(values, name) for name, values in writer.constants.items()]
    sets = [helper.make_opsetid("", opset)]
    graph = helper.make_graph([*writer.nodes, result], "preprocess", [entered], [given], constants)
    version = helper.find_min_ir_version_for(sets)
    return session_of(helper.make_model(graph, opset_imports=sets, ir_version=version))


@pytest.mark.parametrize("opset", [LEAST_OPSET, MOST_OPSET])
@pytest.mark.parametrize("name", CASES)
def test_a_picture_of_any_size_comes_out_as_the_core_makes_it(name, opset):
    session, rng = session_for(CASES[name], opset), np.random.default_rng(0)
    for height, width in SIZES:
        images = rng.integers(0, 256, (2, height, width, 3), np.uint8)
        (found,) = session.run(None, {"images": images})
        wanted = np.stack([apply(Image.fromarray(image), CASES[name]) for image in images])
        assert np.array_equal(found.transpose(0, 2, 3, 1), wanted), (height, width)


@pytest.mark.parametrize("step", [HorizontalFlip(), Resize(size=8, interpolation="nearest")])
def test_what_it_cannot_do_is_said_in_one_line(step):
    with pytest.raises(ConfigError, match=r"^--input pictures: of .* Cure: --input pixels$"):
        session_for([step, CenterCrop(size=8)], LEAST_OPSET)
