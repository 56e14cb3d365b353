"""Networks of timm, for the core to trace: the only place that imports it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xfer.capabilities import LibraryModule
from xfer.errors import AbsentError, BackendError, ConfigError, WeightsError, nearest

CLASSES = 1000
"""Of a network that timm has without a head."""
SECONDS = 20
"""For the first answer of the hub: timm itself asks ten times, for a minute, where there is no network."""

_CURE = "Cure: a network, or --weights FILE with a state dict of that model, or --weights random"


def library_module(name: str, pretrained: bool) -> LibraryModule:
    """`name` is timm's own, such as `mobilenetv3_small_100`."""
    timm = _timm(name)
    module = _made(timm, name, pretrained=False)
    if module.pretrained_cfg.get("num_classes") == 0:  # of a network that gives features
        module = _made(timm, name, pretrained=False, num_classes=CLASSES)
    if pretrained:
        _refuse_absent(name, module.pretrained_cfg)
        module = _made(timm, name, pretrained=True, num_classes=module.num_classes)
    return _described(module, timm.__version__)


def _timm(name: str) -> Any:
    try:
        import timm
    except ModuleNotFoundError as error:
        cure = "Cure: pip install 'xfer-vision[timm]'"
        raise AbsentError(f"timm/{name}: needs a package that cannot be imported ({error}). {cure}") from error
    return timm


def _made(timm: Any, name: str, pretrained: bool, **settings: Any) -> Any:
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        near = nearest(architecture, timm.list_models()) or " Cure: timm.list_models() has their names"
        raise ConfigError(f"arch = 'timm/{name}': timm {timm.__version__} has no {architecture}.{near}")
    try:
        return timm.create_model(name, pretrained=pretrained, **settings)
    except Exception as error:
        text = " ".join(str(error).split())
        if "Invalid pretrained tag" in text:
            tags = ", ".join(timm.list_models(f"{architecture}.*", pretrained=True)) or architecture
            raise ConfigError(f"arch = 'timm/{name}': timm {timm.__version__} has no such tag. Cure: {tags}") from error
        if pretrained:
            raise WeightsError(f"weights of timm/{name}: {type(error).__name__}: {text}. {_CURE}") from error
        raise BackendError(f"timm/{name}: timm cannot make it ({type(error).__name__}: {text})") from error


def _refuse_absent(name: str, cfg: Mapping[str, Any]) -> None:
    """Before timm asks for long: raises WeightsError where nothing is published, or the hub cannot be reached."""
    hub = cfg.get("hf_hub_id")
    if not (hub or cfg.get("url") or cfg.get("file")):
        raise WeightsError(f'weights.source = "imagenet": timm publishes none for {name}. {_CURE}')
    if not hub:
        return
    from huggingface_hub import HfApi, try_to_load_from_cache

    files = (cfg.get("hf_hub_filename"), "model.safetensors", "pytorch_model.bin")
    if any(isinstance(try_to_load_from_cache(hub, file), str) for file in files if file):
        return
    try:
        HfApi().model_info(hub, timeout=SECONDS)
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(f"weights of timm/{name}: {hub} cannot be had from the hub ({text}). {_CURE}") from error


_RECORDED = ("architecture", "tag", "hf_hub_id", "license", "origin_url")


def _described(module: Any, version: str) -> LibraryModule:
    cfg = module.pretrained_cfg
    record = {key: str(cfg[key]) for key in _RECORDED if cfg.get(key)}
    channels, height, width = cfg["input_size"]
    if channels != 3:
        raise BackendError(f"timm/{record.get('architecture')}: is for pictures of {channels} channels, expected 3")
    mean, std = (_triple(cfg[key]) for key in ("mean", "std"))
    return LibraryModule(
        module, (height, width), mean, std, float(cfg["crop_pct"]), str(cfg["interpolation"]),
        cfg.get("crop_mode") == "squash", {**record, "timm": version},
    )  # fmt: skip


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue
