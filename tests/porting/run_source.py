"""Run written source where neither xfer nor torch can be imported: `python run_source.py FOLDER...`.

Each folder has net.py, net.ckpt and given.npz (`x`, `label`). It gets results.npz: logits in PyNative mode and as a
graph, and the gradients of both; or else `error`.
"""

import importlib.util
import sys
import traceback
from pathlib import Path


class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "xfer", "xfer_torch", "xfer_mindspore"):
            raise AssertionError(f"{name} was imported")


def run(folder, ms):
    spec = importlib.util.spec_from_file_location(folder.name, folder / "net.py")
    module = sys.modules[folder.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    net = module.Net()
    net.set_train(False)
    left = ms.load_param_into_net(net, ms.load_checkpoint(str(folder / "net.ckpt")), strict_load=True)
    assert left == ([], []), left
    given = np.load(folder / "given.npz")
    x, label = ms.Tensor(given["x"]), ms.Tensor(given["label"])
    results = {"pynative": net(x).asnumpy()}

    def forward(x):
        logits = net(x)
        return ms.ops.cross_entropy(logits, label), logits

    if (folder / "forward").exists():
        results["graph"] = ms.jit(forward)(x)[1].asnumpy()
    if (folder / "gradients").exists():
        plain = ms.value_and_grad(forward, None, net.trainable_params(), has_aux=True)
        results["gradients"] = joined(plain(x)[1])
        (_, logits), compiled = ms.jit(plain)(x)
        results |= {"graph": logits.asnumpy(), "compiled": joined(compiled)}
    return results


def joined(gradients):
    return np.concatenate([gradient.asnumpy().ravel() for gradient in gradients])


if __name__ == "__main__":
    sys.meta_path.insert(0, Refuse())
    import mindspore
    import numpy as np

    for path in map(Path, sys.argv[1:]):
        try:
            results = run(path, mindspore)
        except Exception:
            results = {"error": traceback.format_exc()}
        np.savez(path / "results.npz", **results)
