"""The networks that xfer brings, by name, as the core speaks of them."""

from xfer.nets.specs import arch_named


class _Archs(dict):
    def __missing__(self, name):
        arch = self[name] = arch_named(name)
        assert arch is not None, name
        return arch


ARCHS = _Archs()
