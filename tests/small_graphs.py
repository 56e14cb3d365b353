"""Small networks as data, put together layer by layer."""

from xfer.graphs.graph import Graph, Node

CONV = {"stride": [1, 1], "padding": [1, 1, 1, 1], "dilation": [1, 1], "groups": 1}


class Builder:
    """Nodes one behind the other; each method gives the name of its node."""

    def __init__(self):
        self.nodes, self.weights, self.last = [Node("image", "image")], {}, "image"

    def add(self, name, kind, *inputs, slots=None, **attributes):
        """`slots`: slot -> shape; a weight is called after the node and its slot."""
        named = {slot: f"{name}.{slot}" for slot in slots or {}}
        self.weights |= {named[slot]: shape for slot, shape in (slots or {}).items()}
        self.nodes.append(Node(name, kind, inputs or (self.last,), attributes, named))
        self.last = name
        return name

    def conv(self, name, outputs, inputs, *before, stride=1, kernel=3, groups=1):
        pad = kernel // 2
        of = CONV | {"stride": [stride] * 2, "padding": [pad] * 4, "groups": groups}
        return self.add(name, "conv", *before, slots={"weight": (outputs, inputs // groups, kernel, kernel)}, **of)

    def norm(self, name, channels):
        slots = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (channels,))
        return self.add(name, "batch_norm", slots=slots, eps=1e-5, momentum=0.1)

    def linear(self, name, outputs, inputs, *before):
        return self.add(name, "linear", *before, slots={"weight": (outputs, inputs), "bias": (outputs,)})

    def table(self, name, *shape, **first):
        self.weights[name] = shape
        self.nodes.append(Node(name, "table", (), first, {"value": name}))
        return name

    def graph(self, head, size=(32, 32), **options):
        return Graph(tuple(self.nodes), self.weights, head, size, **options)


def residual(classes=3):
    """Two strided blocks with shortcuts, a squeeze-excitation in the second, and a head."""
    b = Builder()
    b.conv("conv1", 4, 3, stride=2)
    b.norm("bn1", 4)
    before = b.add("relu1", "relu")
    for number, (inputs, width) in enumerate([(4, 6), (6, 8)], start=1):
        block = f"layer{number}.0"
        b.conv(f"{block}.conv1", width, inputs, before, stride=2)
        b.norm(f"{block}.bn1", width)
        inner = b.add(f"{block}.relu", "relu")
        if number == 2:
            b.add(f"{block}.se.mean", "mean", axes=[2, 3], keep=True)
            b.conv(f"{block}.se.fc", width, width, kernel=1)
            gate = b.add(f"{block}.se.gate", "sigmoid")
            inner = b.add(f"{block}.se.mul", "mul", inner, gate)
        b.conv(f"{block}.down.0", width, inputs, before, stride=2, kernel=1)
        down = b.norm(f"{block}.down.1", width)
        b.add(f"{block}.add", "add", inner, down)
        before = b.add(f"{block}.out", "relu")
    b.add("pool", "adaptive_avg_pool", size=[1, 1])
    b.add("flat", "flatten", start=1)
    b.add("drop", "dropout", p=0.25)
    b.linear("fc", classes, 8)
    return b.graph("fc")


def convolutional_head(classes=3):
    """As in SqueezeNet: the head is a convolution, with nodes behind it. Two branches are put together."""
    b = Builder()
    b.conv("stem.0", 4, 3, stride=2)
    squeezed = b.add("stem.1", "relu")
    b.add("pool", "max_pool", squeezed, kernel=[3, 3], stride=[2, 2], padding=[0, 0], dilation=[1, 1], ceil=True)
    b.conv("fire.squeeze", 3, 4, kernel=1)
    before = b.add("fire.relu", "relu")
    one = b.conv("fire.one", 4, 3, before, kernel=1)
    three = b.conv("fire.three", 4, 3, before)
    b.add("fire.cat", "cat", one, three, axis=1)
    b.add("drop", "dropout", p=0.5)
    b.add(
        "head",
        "conv",
        slots={"weight": (classes, 8, 1, 1), "bias": (classes,)},
        **CONV | {"padding": [0] * 4},
    )
    b.add("head.relu", "relu")
    b.add("head.pool", "adaptive_avg_pool", size=[1, 1])
    b.add("head.flat", "flatten", start=1)
    return b.graph("head")


def transformer(classes=3, depth=4, width=8, length=16):
    """Patches of 8 pixels of a picture of 32, a class token, position embeddings, `depth` blocks of attention."""
    b = Builder()
    b.add(
        "patch",
        "conv",
        slots={"weight": (width, 3, 8, 8), "bias": (width,)},
        **CONV | {"stride": [8, 8], "padding": [0] * 4},
    )
    b.add("tokens", "reshape", shape=["@0", width, length])
    patches = b.add("turned", "permute", axes=[0, 2, 1])
    token = b.table("class_token", 1, 1, width, fill=0.0)
    expanded = b.add("expanded", "expand", token, patches)
    joined = b.add("joined", "cat", expanded, patches, axis=1)
    position = b.table("position", 1, length + 1, width, std=0.02)
    before = b.add("placed", "add", joined, position)
    for number in range(depth):
        block = f"blocks.{number}"
        b.add(f"{block}.ln1", "layer_norm", before, slots={"weight": (width,), "bias": (width,)}, eps=1e-6)
        slots = {"in_weight": (3 * width, width), "in_bias": (3 * width,)}
        slots |= {"out_weight": (width, width), "out_bias": (width,)}
        attended = b.add(f"{block}.attention", "attention", slots=slots, heads=2)
        middle = b.add(f"{block}.add1", "add", attended, before)
        b.add(f"{block}.ln2", "layer_norm", slots={"weight": (width,), "bias": (width,)}, eps=1e-6)
        b.linear(f"{block}.fc1", 2 * width, width)
        b.add(f"{block}.gelu", "gelu")
        b.linear(f"{block}.fc2", width, 2 * width)
        before = b.add(f"{block}.add2", "add", f"{block}.fc2", middle)
    b.add("ln", "layer_norm", slots={"weight": (width,), "bias": (width,)}, eps=1e-6)
    b.add("first", "slice", axis=1, start=0, stop=1)
    b.add("taken", "flatten", start=1)
    b.linear("head", classes, width)
    return b.graph("head", fixed=True)


GRAPHS = {"residual": residual(), "convolutional head": convolutional_head(), "transformer": transformer()}
