"""What there is to know of each kind of node: inputs, weights and attributes that show it."""

from itertools import product

MAPS, TOKENS, FLAT = (2, 4, 9, 8), (2, 5, 6), (3, 6)
ONE, NONE = [1, 1], [0, 0]


def conv_cases():
    plain = {"stride": ONE, "padding": [0, 0, 0, 0], "dilation": ONE, "groups": 1}
    changes = [
        {},
        {"stride": [2, 1]},
        {"padding": [1, 1, 2, 2]},
        {"padding": [0, 1, 2, 3]},
        {"dilation": [2, 3]},
        {"groups": 2},
        {"groups": 4},
        {"stride": [1, 3], "padding": [2, 0, 1, 1], "dilation": [2, 1], "groups": 2},
        {"padding": "same"},
        *({"padding": "same", "stride": [s, t], "dilation": [1, d]} for s, t, d in product((1, 2), (2, 3), (1, 2))),
    ]
    for number, change in enumerate(changes):
        attributes = plain | change
        slots = {"weight": (8, 4 // attributes["groups"], 3, 2)}
        yield "conv", [MAPS], slots if number % 2 else slots | {"bias": (8,)}, attributes


def pool_cases():
    sizes = [([2, 2], [2, 2], NONE), ([3, 2], [2, 1], [1, 1]), ([3, 3], [3, 2], [1, 0]), ([2, 3], [3, 3], [1, 1])]
    for (kernel, stride, padding), ceil in product(sizes, (False, True)):
        window = {"kernel": kernel, "stride": stride, "padding": padding, "ceil": ceil}
        for dilation in (ONE, [2, 1], [3, 2]):
            yield "max_pool", [MAPS], {}, window | {"dilation": dilation}
        for count_pad in (False, True):
            yield "avg_pool", [MAPS], {}, window | {"count_pad": count_pad}
    for kernel, stride in (([3, 3], [2, 2]), ([2, 3], [2, 2]), ([3, 2], [1, 3]), ([2, 2], [4, 1])):
        window = {"kernel": kernel, "stride": stride, "padding": "same", "dilation": ONE, "ceil": False}
        yield "max_pool", [MAPS], {}, window
    for size in (ONE, [3, 3], [2, 5], [9, 8], [12, 3]):
        yield "adaptive_avg_pool", [MAPS], {}, {"size": size}


def norm_cases():
    slots = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (4,))
    for shape, eps, training in product((MAPS, (5, 4)), (1e-5, 0.1), (False, True)):
        yield "batch_norm", [shape], slots, {"eps": eps, "momentum": 0.1, "batch_statistics": training}
    for shape, eps in ((TOKENS, 1e-6), (FLAT, 0.1)):
        yield "layer_norm", [shape], {"weight": (6,), "bias": (6,)}, {"eps": eps}
    for shape, eps in ((MAPS, 1e-6), ((5, 4), 0.1), ((2, 4, 3), 0.1)):
        yield "group_norm", [shape], {"weight": (4,), "bias": (4,)}, {"groups": 2, "eps": eps}
        yield "group_norm", [shape], {"weight": (4,), "bias": (4,)}, {"groups": 1, "eps": eps}


def layer_cases():
    for shape in (FLAT, TOKENS):
        yield "linear", [shape], {"weight": (7, 6), "bias": (7,)}, {}
        yield "linear", [shape], {"weight": (7, 6)}, {}
    slots = {"in_weight": (18, 6), "in_bias": (18,), "out_weight": (6, 6), "out_bias": (6,)}
    for heads in (1, 2, 3):
        yield "attention", [TOKENS], slots, {"heads": heads}
    yield "table", [], {"value": (1, 5)}, {}
    slots = {"qkv_weight": (18, 6), "qkv_bias": (18,), "proj_weight": (6, 6), "proj_bias": (6,)}
    mlp = {"logit_scale": (3, 1, 1), "mlp_in_weight": (5, 2), "mlp_in_bias": (5,), "mlp_out_weight": (3, 5)}
    windows = [([2, 3], [1, 1]), ([3, 2], [2, 0]), ([2, 2], [0, 0]), ([4, 7], [2, 3]), ([3, 8], [1, 4])]
    for (window, shift), sides in product(windows, ((4, 7), (6, 6))):
        of, ways = {"heads": 3, "window": window, "shift": shift}, (2 * window[0] - 1) * (2 * window[1] - 1)
        yield "window_attention", [(2, *sides, 6)], slots | {"table": (ways, 3)}, of | {"scale": 2**-0.5}
        yield "cosine_window_attention", [(2, *sides, 6)], slots | mlp, of
    yield "patch_merge", [(2, 4, 7, 6)], {}, {}
    yield "patch_merge", [(2, 5, 4, 6)], {}, {}


def other_cases():
    for kind in ("image", "relu", "relu6", "gelu", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "softplus"):
        yield kind, [MAPS], {}, {}
    yield "leaky_relu", [MAPS], {}, {"slope": 0.2}
    yield "elu", [MAPS], {}, {"alpha": 1.5}
    yield "clamp", [MAPS], {}, {"low": -0.5, "high": 0.7}
    yield "pad", [MAPS], {}, {"padding": [1, 0, 2, 3]}
    for axis in (1, 3, -1):
        yield "softmax", [MAPS], {}, {"axis": axis}
        yield "cat", [MAPS, MAPS, MAPS], {}, {"axis": axis}
        yield "slice", [MAPS], {}, {"axis": axis, "start": 1, "stop": 3}
    for axes, keep in product(([2, 3], [1], [-1, 1]), (False, True)):
        yield "mean", [MAPS], {}, {"axes": axes, "keep": keep}
        yield "max", [MAPS], {}, {"axes": axes, "keep": keep}
    for kind in ("add", "mul"):
        yield kind, [MAPS, MAPS], {}, {}
        yield kind, [MAPS, (2, 4, 1, 1)], {}, {}
        yield kind, [(4, 1, 8), MAPS], {}, {}
        yield kind, [MAPS], {}, {"value": -2.5}
    for axes in ([0, 2, 3, 1], [0, 3, 1, 2], [1, 0, 3, 2]):
        yield "permute", [MAPS], {}, {"axes": axes}
    for shape in (["@0", -1], ["@0", "@1", 72], [-1, 8], ["@0", 2, 2, 9, "@3"]):
        yield "reshape", [MAPS], {}, {"shape": shape}
    for start in (1, 2):
        yield "flatten", [MAPS], {}, {"start": start}
    yield "expand", [(1, 5, 6), MAPS], {}, {}
    yield "matmul", [MAPS, (2, 4, 8, 3)], {}, {}
    yield "matmul", [TOKENS, (6, 2)], {}, {}
    yield "dropout", [MAPS], {}, {"p": 0.5}
    yield "stochastic_depth", [MAPS], {}, {"p": 0.5, "mode": "row"}


CASES = [*conv_cases(), *pool_cases(), *norm_cases(), *layer_cases(), *other_cases()]
