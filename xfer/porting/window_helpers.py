"""Cells of written source that attend within windows of maps, and what they need."""

from __future__ import annotations

from collections.abc import Mapping

_WITH_TABLE = '''class {name}(Windows):
    """With a bias for each way from one token to another."""

    def __init__(self, width, heads, window, shift=(0, 0), scale=None):
        super().__init__(heads, window, shift)
        self.{qkv} = nn.Dense(width, 3 * width)
        self.{proj} = nn.Dense(width, width)
        rows = (2 * window[0] - 1) * (2 * window[1] - 1)
        self.relative_position_bias_table = Parameter(initializer(Normal(0.02), (rows, heads), ms.float32))
        self.scale = (width // heads) ** -0.5 if scale is None else scale

    def scores(self, query, key):
        return ops.matmul(query, key.swapaxes(2, 3)) * self.scale

    def construct(self, x):
        return self.{proj}(self.attend(self.{qkv}(self.padded(x)), self.relative_position_bias_table, x.shape))
'''
"""Two classes of it: torchvision names the layers one way in Swin, and another in MaxViT."""

HELPERS: Mapping[str, str] = {
    "Windows": '''class Windows(nn.Cell):
    """Attention within windows of maps (N, ..., H, W, width): what all kinds of it have.

    Zeros behind fill up the last windows. The windows may be shifted down and right, around the edges: -100 keeps what
    was not next to each other apart.
    """

    def __init__(self, heads, window, shift):
        super().__init__()
        self.heads = heads
        self.window = window
        self.shift = shift
        rows, columns = window
        row, column = (axis.ravel() for axis in np.mgrid[:rows, :columns])
        ways = (row[:, None] - row + rows - 1) * (2 * columns - 1) + column[:, None] - column + columns - 1
        self.ways = ms.Tensor(ways.astype(np.int32))  # from one token of a window to another, as a row of the table

    def padded(self, x):
        height, width, channels = x.shape[-3:]
        below, right = -height % self.window[0], -width % self.window[1]
        x = x.reshape(-1, height, width, channels)
        return ops.pad(x, (0, 0, 0, right, 0, below)) if below or right else x

    def attend(self, qkv, table, shape):
        """Of queries, keys and values side by side, (M, H, W, 3 width); what comes out has the size of `shape`."""
        batch, high, wide, channels = qkv.shape
        rows, columns = self.window
        down = self.shift[0] if high > rows else 0
        along = self.shift[1] if wide > columns else 0
        x = self.turned(self.turned(qkv, 1, down), 2, along)
        x = x.reshape(batch, high // rows, rows, wide // columns, columns, channels).transpose(0, 1, 3, 2, 4, 5)
        depth = channels // 3 // self.heads
        x = x.reshape(-1, rows * columns, 3, self.heads, depth).transpose(2, 0, 3, 1, 4)
        query, key, value = x[0], x[1], x[2]
        scores = self.scores(query, key) + ops.gather(table, self.ways, 0).transpose(2, 0, 1)
        if down or along:
            apart = self.apart(high, wide, down, along)
            scores = (scores.reshape(batch, -1, *scores.shape[1:]) + apart).reshape(scores.shape)
        x = ops.matmul(ops.softmax(scores, -1), value).transpose(0, 2, 1, 3)
        x = x.reshape(batch, high // rows, wide // columns, rows, columns, channels // 3).transpose(0, 1, 3, 2, 4, 5)
        x = self.turned(x.reshape(batch, high, wide, channels // 3), 2, wide - along)
        x = self.turned(x, 1, high - down)
        return x[:, : shape[-3], : shape[-2]].reshape(shape)

    def turned(self, x, axis, start):
        """The axis from `start` on, and then what is before it: on a CPU there is no ops.roll."""
        if start % x.shape[axis] == 0:
            return x
        return ops.cat((ops.narrow(x, axis, start, x.shape[axis] - start), ops.narrow(x, axis, 0, start)), axis)

    def apart(self, high, wide, down, along):
        rows = self.regions(high, self.window[0], down)
        columns = self.regions(wide, self.window[1], along)
        regions = 3 * rows.expand_dims(1).expand_dims(3) + columns.expand_dims(0).expand_dims(2)
        regions = regions.reshape(-1, self.window[0] * self.window[1])
        differ = regions.expand_dims(2) != regions.expand_dims(1)
        return -100.0 * ops.cast(differ, ms.float32).expand_dims(1)

    def regions(self, side, length, moved):
        """Before the last window, in it and before the edge, behind the edge: (windows, length)."""
        places = ops.arange(side)
        edges = (side - length, side - moved) if moved else (side, side)
        found = ops.cast(places >= edges[0], ms.int32) + ops.cast(places >= edges[1], ms.int32)
        return found.reshape(-1, length)
''',
    "WindowAttention": _WITH_TABLE.format(name="WindowAttention", qkv="qkv", proj="proj"),
    "PartitionAttention": _WITH_TABLE.format(name="PartitionAttention", qkv="to_qkv", proj="merge"),
    "CosineWindowAttention": '''class CosineWindowAttention(Windows):
    """Of cosines, with biases that a small network makes of the ways from one token to another."""

    def __init__(self, width, heads, window, hidden, shift=(0, 0)):
        super().__init__(heads, window, shift)
        self.qkv = nn.Dense(width, 3 * width)
        self.proj = nn.Dense(width, width)
        self.logit_scale = Parameter(initializer(2.302585, (heads, 1, 1), ms.float32))
        self.cpb_mlp = nn.SequentialCell(nn.Dense(2, hidden), nn.ReLU(), nn.Dense(hidden, heads, has_bias=False))
        sides = [np.arange(1 - side, side) / max(side - 1, 1) * 8 for side in window]
        ways = np.stack(np.meshgrid(*sides, indexing="ij"), -1).reshape(-1, 2)
        self.places = ms.Tensor((np.sign(ways) * np.log2(abs(ways) + 1) / 3).astype(np.float32))
        self.but_keys = ms.Tensor(np.repeat([1, 0, 1], width).astype(np.float32))

    def scores(self, query, key):
        cosines = ops.matmul(self.of_length_one(query), self.of_length_one(key).swapaxes(2, 3))
        return cosines * ops.exp(ops.minimum(self.logit_scale, 4.6051702))  # log 100

    def of_length_one(self, x):
        return x * ops.rsqrt(ops.maximum((x * x).sum(-1, keepdims=True), 1e-24))

    def construct(self, x):
        qkv = ops.dense(self.padded(x), self.qkv.weight, self.qkv.bias * self.but_keys)
        table = 16 * ops.sigmoid(self.cpb_mlp(self.places))
        return self.proj(self.attend(qkv, table, x.shape))
''',
    "merge_patches": '''def merge_patches(x):
    """(N, H, W, C) -> (N, H / 2, W / 2, 4 C), rounded up: of each four, the left ones, and then the right ones."""
    height, width = x.shape[1:3]
    if height % 2 or width % 2:
        x = ops.pad(x, (0, 0, 0, width % 2, 0, height % 2))
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 4, 2, 5)
    return x.reshape(batch, height // 2, width // 2, 4 * channels)
''',
}
"""Name -> class or function. `Windows` is what the classes that follow inherit from."""
