"""Networks whose modules are no classes, and whose names no attribute can have."""

from dataclasses import replace

from small_graphs import Builder

from xfer.graphs.graph import Node
from xfer.porting.leaves import LEAVES


def _ending(b, width):
    b.add("last.pool", "adaptive_avg_pool", size=[1, 1])
    b.add("last.flat", "flatten", start=1)
    b.linear("last.fc", 3, width)
    return b.graph("last.fc", size=(8, 8))


def interleaved():
    """Two modules by turns; a module with two results; a sequence that is none, with numbers left out."""
    b = Builder()
    one, two = b.conv("stem.a", 4, 3), b.conv("stem.b", 4, 3, "image")
    one, two = b.add("one", "relu", one), b.conv("stem.c", 4, 4, two)
    before = b.add("sum", "add", one, two)
    left, right = b.conv("list.1", 4, 4, before), b.conv("list.3", 4, 4, before)
    before = b.add("list.sum", "add", left, right)
    inner = b.conv("deep.x.0.m", 4, 4, before)
    outer = b.conv("deep.x.0.n", 4, 4)
    b.add("all", "cat", inner, outer, b.conv("deep.y", 4, 4, before), axis=1)
    return _ending(b, 12)


def odd_names():
    """What Python or MindSpore has taken, what is no word, one name twice, and a table called as a layer's weight."""
    b = Builder()
    b.conv("name", 4, 3)
    b.norm("class", 4)
    for name in ("0", "a-b", "a_b", "_x.construct", "both", "both.inner", "training"):
        b.conv(name, 4, 4)
    position = b.table("pos.weight", 1, 4, 1, 1, fill=0.5)
    b.add("placed", "add", "training", position)
    b.add("scaled", "mul", "placed", b.table("pos.bias", 4, 1, 1, std=0.1))
    return _ending(b, 4)


def repeated_calls():
    """A module that is called twice: one set of weights."""
    b = Builder()
    b.conv("stem", 4, 3)
    for number in range(2):
        b.conv(f"block.conv{number}", 4, 4)
        b.norm(f"block.bn{number}", 4)
        b.conv(f"between{number}", 4, 4)
    nodes = [node if "1" not in node.name else _sharing(node) for node in b.nodes]
    weights = {name: shape for name, shape in b.weights.items() if not name.startswith(("block.conv1", "block.bn1"))}
    b.nodes, b.weights = nodes, weights
    return _ending(b, 4)


def _sharing(node):
    if not node.name.startswith("block."):
        return node
    return replace(node, weights={slot: name.replace("1.", "0.") for slot, name in node.weights.items()})


def numbered():
    """A sequence of layers without a name of its own."""
    b = Builder()
    b.conv("0", 4, 3)
    b.add("1", "tanh")
    b.conv("2.0", 4, 4)
    b.norm("2.1", 4)
    b.add("3", "permute", axes=[0, 1, 3, 2])
    b.add("4", "adaptive_avg_pool", size=[2, 2])
    b.add("5", "flatten", start=1)
    b.linear("7", 3, 16)
    return b.graph("7", size=(8, 8))


def numbered_sum():
    """Numbers for layers that are no sequence."""
    b = Builder()
    first = b.conv("0", 4, 3)
    b.add("sum", "add", first, b.conv("1", 4, 4))
    return _ending(b, 4)


def map_norms():
    """As in ConvNeXt: layer norms over the channels of maps, blocks with a scale of their own, in a sequence."""
    b = Builder()
    b.conv("features.0.0", 4, 3)
    b.add("features.0.1.before", "permute", axes=[0, 2, 3, 1])
    b.add("features.0.1", "layer_norm", slots={"weight": (4,), "bias": (4,)}, eps=1e-6)
    before = b.add("features.0.1.after", "permute", axes=[0, 3, 1, 2])
    for number in range(3):
        block = f"features.1.{number}"
        b.conv(f"{block}.block.0", 4, 4, groups=4)
        b.add(f"{block}.block.1.permute", "permute", axes=[0, 2, 3, 1])
        b.linear(f"{block}.block.2", 8, 4)
        b.add(f"{block}.block.3", "gelu")
        b.linear(f"{block}.block.4", 4, 8)
        b.add(f"{block}.block.5.permute", "permute", axes=[0, 3, 1, 2])
        scaled = b.add(f"{block}.mul", "mul", b.table(f"{block}.scale", 4, 1, 1), b.last)
        depth = b.add(f"{block}.depth", "stochastic_depth", scaled, p=0.1 * number, mode="row")
        before = b.add(f"{block}.add", "add", depth, before)
    return _ending(b, 4)


def other_functions():
    """Activations that take a number, groups of channels, zeros around maps, maxima: alone and in a sequence."""
    b = Builder()
    norm = {"weight": (4,), "bias": (4,)}
    b.conv("stem.0", 4, 3, stride=2)
    b.add("stem.1", "group_norm", slots=norm, groups=2, eps=1e-3)
    b.add("stem.2", "leaky_relu", slope=0.1)
    b.add("stem.3", "clamp", low=-0.5, high=1.5)
    b.conv("conv", 4, 4)
    padded = b.add("padded", "pad", padding=[1, 0, 2, 3])
    bent = b.add("bent", "elu", padded, alpha=1.5)
    soft = b.add("soft", "softplus", padded)
    b.add("sum", "add", bent, soft)
    b.add("most", "max", axes=[2, 3], keep=False)
    b.add("last_norm", "group_norm", slots=norm, groups=2, eps=1e-5)
    b.linear("fc", 3, 4)
    return b.graph("fc", size=(8, 8))


def windows():
    """Attention of Swin, of Swin V2 and of MaxViT, in windows of 2 x 3 that maps of 5 x 5 and of 3 x 3 do not fill."""
    b = Builder()
    b.conv("stem", 6, 3, stride=2)
    b.add("turned", "permute", axes=[0, 2, 3, 1])
    b.add("more", "slice", axis=1, start=0, stop=3)
    b.add("wider", "cat", "turned", "more", axis=1)
    linear = {"qkv_weight": (18, 6), "qkv_bias": (18,), "proj_weight": (6, 6), "proj_bias": (6,)}
    mlp = {"logit_scale": (2, 1, 1), "mlp_in_weight": (5, 2), "mlp_in_bias": (5,), "mlp_out_weight": (2, 5)}
    of = {"heads": 2, "window": [2, 3], "shift": [1, 1]}
    _with_leaves(b, "v1", "window_attention", linear | {"table": (15, 2)}, **of, scale=3**-0.5)
    _with_leaves(b, "v2", "cosine_window_attention", linear | mlp, **of)
    merge = {"qkv_weight": "to_qkv.weight", "qkv_bias": "to_qkv.bias"}
    merge |= {"proj_weight": "merge.weight", "proj_bias": "merge.bias"}
    of |= {"shift": [0, 0], "scale": 0.3}
    _with_leaves(b, "partitions", "window_attention", linear | {"table": (15, 2)}, merge, **of)
    b.add("merging", "patch_merge")
    b.linear("reduction", 6, 24)
    _with_leaves(b, "last.v1", "window_attention", linear | {"table": (15, 2)}, **of)
    b.add("back", "permute", axes=[0, 3, 1, 2])
    return _ending(b, 6)


def _with_leaves(b, name, kind, shapes, renamed=None, **attributes):
    """A layer whose weights are called as torchvision's."""
    leaves = LEAVES[kind] | (renamed or {})
    named = {slot: f"{name}.{leaves[slot]}" for slot in shapes}
    b.weights |= {named[slot]: shape for slot, shape in shapes.items()}
    b.nodes.append(Node(name, kind, (b.last,), attributes, named))
    b.last = name


_ALL = (interleaved, odd_names, repeated_calls, numbered, numbered_sum, map_norms, windows, other_functions)
ODD = {make.__name__: make() for make in _ALL}
