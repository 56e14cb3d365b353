"""The frameworks themselves: values that reach a network, its weights and its optimizer."""

from collections.abc import Iterator

from hostile.ground import PLAIN, Call, giving
from hostile.values import VALUES, recipe_keys, shown

SECTIONS = ("model", "train", "optimizer", "schedule", "loss", "augment", "features", "mix")
ARCHS = ("resnet18", "efficientnet_lite0", "convnet")
HUGE = {
    "model.layers": ["[1000000, 1, 1, 1]", "[1, 1, 1, 1000]", "[2, 2]", "[1]"],
    "model.extra": ["[1000000000]", "[1, 1, 1, 1, 1, 1, 1, 1]", "[100000, 100000]"],
    "augment.size": ["8", "100000", "33"],
    "train.batch_size": ["1", "1000000"],
    "optimizer.lr": ["1e30", "1e-30", "3e38"],
    "loss.class_weights": ["[1e38, 1e-38]", "[1e300, 1]"],
    "model.dropout": ["0.9999999"],
    "optimizer.weight_decay": ["1e30"],
    "optimizer.eps": ["1e-300", "1e300"],
}


def all_calls() -> Iterator[Call]:
    for framework in ("torch", "mindspore"):
        plain = f"train on {framework}"
        for key in recipe_keys():
            if key.partition(".")[0] in SECTIONS:
                for value in dict.fromkeys([*HUGE.get(key, ()), *VALUES[:: 3 if framework == "torch" else 9]]):
                    words = [*PLAIN[plain], "--set", f"{key}={value}"]
                    yield Call(f"values on {framework}", f"{plain} --set {key}={shown(value)}", plain, giving(words))
        for arch in ARCHS:
            for key, values in HUGE.items():
                words = [*PLAIN[plain], "--arch", arch, "--set", f"{key}={values[0]}"]
                yield Call(f"networks on {framework}", f"{plain} {arch} {key}={values[0]}", plain, giving(words))
