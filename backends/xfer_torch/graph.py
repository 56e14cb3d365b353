"""A network that is data as a module with the weights under their canonical names, and its stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from xfer.errors import BackendError
from xfer.graphs.graph import Graph, Node
from xfer.graphs.stages import stages_of
from xfer_torch.kinds import FUNCTIONS, IDLE, KINDS, LAYERS, OVERWRITABLE, OVERWRITING

Pair = tuple[str, str]


@dataclass(frozen=True)
class Layer:
    """Calls a child of a module, found by name: whoever replaces the child replaces what is called."""

    parent: nn.Module
    leaf: str

    def __call__(self, x: Tensor) -> Tensor:
        return getattr(self.parent, self.leaf)(x)


@dataclass(frozen=True)
class Weighted:
    """A function with weights as they are when it is called: slot -> (module, name in it)."""

    function: Callable[..., Tensor]
    weights: Mapping[str, tuple[nn.Module, str]]

    def __call__(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs, **{slot: getattr(*place) for slot, place in self.weights.items()})


@dataclass(frozen=True)
class Step:
    """A node, ready to be computed. `spent`: names of results that none of the later steps takes."""

    name: str
    run: Callable[..., Tensor]
    inputs: tuple[str, ...]
    spent: tuple[str, ...]


@dataclass(frozen=True)
class GraphStage:
    """From the tensor called `start` to that called `stop`."""

    start: str
    stop: str
    steps: tuple[Step, ...]

    def __call__(self, x: Tensor) -> Tensor:
        values = {self.start: x}
        for step in self.steps:
            values[step.name] = step.run(*[values[name] for name in step.inputs])
            for name in step.spent:
                del values[name]
        return values[self.stop]


def build_graph(graph: Graph) -> tuple[nn.Module, tuple[tuple[str, GraphStage], ...]]:
    """The module and all stages, the head being the last, with weights of no value, on torch's default device.

    Raises BackendError for a kind that is not known here, and for weights that no module can hold.
    """
    for node in graph.nodes:
        if node.kind not in KINDS:
            raise BackendError(f"{node.name}: kind {node.kind!r}: torch's are {', '.join(sorted(KINDS))}")
    layers = _layers(graph)
    device = torch.get_default_device()
    with torch.device("meta"):  # first weights would be drawn for nothing, which takes as long as a training step
        module = _tree(graph, layers)
    if device.type != "meta":
        module.to_empty(device=device)
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.reset_running_stats()  # its counter has a meaning
    stages, start = [], graph.nodes[0].name
    for stage in stages_of(graph):
        stages.append((stage.name, _stage(module, layers, stage.nodes, start)))
        start = stage.nodes[-1].name
    return module, tuple(stages)


def graph_pairs(graph: Graph) -> Iterator[Pair]:
    """Names of each convolution with the normalisation that follows it in the same stage, and that alone it serves."""
    layers, uses = _layers(graph), Counter(name for node in graph.nodes for name in node.weights.values())
    stages = {node.name: stage.name for stage in stages_of(graph) for node in stage.nodes}
    for conv, norm in graph.pairs():
        paths = _path(conv), _path(norm)
        shared = any(uses[name] > 1 for name in (*conv.weights.values(), *norm.weights.values()))
        if not shared and layers.keys() >= {*paths} and stages.get(conv.name) == stages.get(norm.name):
            yield paths


def _path(node: Node) -> str:
    """The module that has its weights under the names of their slots. Empty where none can."""
    paths = {name.removesuffix(f".{slot}") if name.endswith(f".{slot}") else "" for slot, name in node.weights.items()}
    return paths.pop() if len(paths) == 1 else ""


def _layers(graph: Graph) -> dict[str, Node]:
    """Path -> the node whose layer stands there."""
    found: dict[str, Node] = {}
    for node in graph.nodes:
        if node.kind in LAYERS and (path := _path(node)):
            found.setdefault(path, node)
    return found


def _serves(layer: Node | None, node: Node) -> bool:
    """Whether the layer made for one node computes the other as well."""
    return layer is not None and (layer.kind, layer.attributes, layer.weights) == (
        node.kind,
        node.attributes,
        node.weights,
    )


def _tree(graph: Graph, layers: Mapping[str, Node]) -> nn.Module:
    root = nn.Module()
    try:
        for name, shape in graph.weights.items():
            module, prefix = root, ""
            *parents, leaf = name.split(".")
            for part in parents:
                prefix = f"{prefix}.{part}" if prefix else part
                if part not in module._modules:
                    module.add_module(part, _layer(graph, layers[prefix]) if prefix in layers else nn.Module())
                module = module.get_submodule(part)
            if leaf not in {*module._parameters, *module._buffers}:
                module.register_parameter(leaf, nn.Parameter(torch.empty(shape)))
    except KeyError as error:
        raise BackendError(f"weight {name!r}: torch has no module with that name: {error.args[0]}") from error
    return root


def _layer(graph: Graph, node: Node) -> nn.Module:
    shapes = {slot: graph.weights[name] for slot, name in node.weights.items()}
    return LAYERS[node.kind](shapes, **node.attributes)


def _stage(module: nn.Module, layers: Mapping[str, Node], nodes: Sequence[Node], start: str) -> GraphStage:
    working, stop = _without_idle(nodes)
    reads = Counter([name for node in working for name in node.inputs] + [stop])
    free = {node.name for node in working if node.kind in OVERWRITABLE and reads[node.name] == 1} - {stop}
    last = {name: index for index, node in enumerate(working) for name in (node.name, *node.inputs)} | {stop: -1}
    steps = []
    for index, node in enumerate(working):
        spent = tuple(name for name in dict.fromkeys((node.name, *node.inputs)) if last[name] == index)
        run, inputs = _run(module, layers, node), node.inputs
        if node.kind in OVERWRITING and free.intersection(inputs):
            run = partial(run, inplace=True)
            inputs = tuple(sorted(inputs, key=lambda name: name not in free))  # a sum is the same either way round
        steps.append(Step(node.name, run, inputs, spent))
    return GraphStage(start, stop, tuple(steps))


def _without_idle(nodes: Sequence[Node]) -> tuple[list[Node], str]:
    """The nodes that do something, each once, and the name of the last one's result."""
    working: dict[str, Node] = {}
    renamed: dict[str, str] = {}
    for node in nodes:
        inputs = tuple(renamed.get(name, name) for name in node.inputs)
        if node.kind in IDLE:
            renamed[node.name] = inputs[0]
        elif node.kind != "image":
            working[node.name] = replace(node, inputs=inputs)
    return list(working.values()), renamed.get(nodes[-1].name, nodes[-1].name)


def _run(module: nn.Module, layers: Mapping[str, Node], node: Node) -> Callable[..., Tensor]:
    path = _path(node)
    if node.kind in LAYERS and _serves(layers.get(path), node):
        parent, _, leaf = path.rpartition(".")
        return Layer(module.get_submodule(parent), leaf)
    if node.kind not in FUNCTIONS:
        names = ", ".join(node.weights.values())
        raise BackendError(f"{node.name}: {node.kind} with weights {names}: torch needs them in a layer of its own")
    function = partial(FUNCTIONS[node.kind], **node.attributes)
    places = {slot: name.rpartition(".") for slot, name in node.weights.items()}
    weights = {slot: (module.get_submodule(parent), leaf) for slot, (parent, _, leaf) in places.items()}
    return Weighted(function, weights) if weights else function
