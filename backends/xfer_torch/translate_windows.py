"""torchvision's modules that attend within windows, of Swin and MaxViT, as nodes: see `xfer_torch.translate`."""

from __future__ import annotations

from math import isqrt

from torchvision.models.maxvit import RelativePositionalMultiHeadAttention
from torchvision.models.swin_transformer import ShiftedWindowAttention, ShiftedWindowAttentionV2

from xfer_torch.sheet import Ref, Sheet, needs


def window_attention(sheet: Sheet, module: ShiftedWindowAttention, input: Ref) -> Ref:
    width = sheet.weights[f"{sheet.path}.proj.weight"][0]
    slots = _slots(sheet, "qkv", "proj") | {"table": f"{sheet.path}.relative_position_bias_table"}
    scale = (width // module.num_heads) ** -0.5
    return sheet.node("window_attention", input, weights=slots, **_windows(module), scale=scale)


def cosine_window_attention(sheet: Sheet, module: ShiftedWindowAttentionV2, input: Ref) -> Ref:
    own = {"logit_scale": "logit_scale", "mlp_in_weight": "cpb_mlp.0.weight", "mlp_in_bias": "cpb_mlp.0.bias"}
    own |= {"mlp_out_weight": "cpb_mlp.2.weight"}
    slots = _slots(sheet, "qkv", "proj") | {slot: f"{sheet.path}.{name}" for slot, name in own.items()}
    return sheet.node("cosine_window_attention", input, weights=slots, **_windows(module))


def partition_attention(sheet: Sheet, module: RelativePositionalMultiHeadAttention, input: Ref) -> Ref:
    """(N, G, P, D) -> (N, G, P, D): each of the G is a map of its own, and one window."""
    side = isqrt(module.max_seq_len)
    needs(side * side == module.max_seq_len, f"windows of {module.max_seq_len} tokens, which are no square")
    numbers, width = {shape[1] for shape in input.shapes}, sheet.weights[f"{sheet.path}.merge.weight"][0]
    needs(len(numbers) == 1, "a number of windows that follows the picture")
    (windows,) = numbers
    as_maps = tuple((*shape[:2], side, side, shape[3]) for shape in input.shapes)
    sizes = ["@0", windows, side, side, width]
    maps = sheet.part(f"{sheet.name}.maps", as_maps, "reshape", input, shape=sizes)
    attended = sheet.part(
        sheet.name, as_maps, "window_attention", maps,
        weights=_slots(sheet, "to_qkv", "merge") | {"table": f"{sheet.path}.relative_position_bias_table"},
        heads=module.n_heads, window=[side, side], shift=[0, 0], scale=module.scale_factor,
    )  # fmt: skip
    sizes = ["@0", windows, side * side, width]
    return sheet.part(f"{sheet.name}.tokens", input.shapes, "reshape", attended, shape=sizes)


def patch_merge(sheet: Sheet, x: Ref) -> Ref:
    return sheet.node("patch_merge", x)


def _windows(module: ShiftedWindowAttention) -> dict[str, object]:
    return {"heads": module.num_heads, "window": list(module.window_size), "shift": list(module.shift_size)}


def _slots(sheet: Sheet, qkv: str, proj: str) -> dict[str, str]:
    """Of the linear layers before and behind the attention."""
    slots = {
        f"{slot}_{leaf}": f"{sheet.path}.{name}.{leaf}"
        for slot, name in (("qkv", qkv), ("proj", proj))
        for leaf in ("weight", "bias")
    }
    needs(all(name in sheet.weights for name in slots.values()), "attention in windows without biases")
    return slots
