"""A pytest plugin that runs tests on every declared backend and on every kind of device.

`pytest_plugins = ["xfer.testing.fixtures"]` in a conftest.py gives the fixtures `backend`, `device`, `arch_name` and
`arch_names`.
A framework or device that is absent skips its tests with the reason; one that the environment asks for fails them:

XFER_TEST_BACKENDS   backends that must run, `torch,mindspore`
XFER_TEST_ONLY       the same, and no other backend is tested, neither NumPy nor what else is installed
XFER_TEST_DEVICES    kinds of device that must run, `cuda`, on the backends above, or on every declared one
XFER_TEST_ARCHS      networks to test declared backends with, instead of `catalogue.SMALL`: small ones, best with and
                     without norm layers. A backend that has none of them is tested with the first of its own

A framework is imported only when a test that uses it was selected.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import pytest

from xfer.backend import Backend
from xfer.backends import declared, load_backend, pick_device
from xfer.errors import BackendError
from xfer.nets import catalogue
from xfer.nets.specs import builds, own_networks
from xfer.testing.numpy_backend import TINY, NumpyBackend

KINDS = ("cpu", "cuda", "npu")


def _listed(variable: str, default: str = "") -> tuple[str, ...]:
    return tuple(name.strip() for name in os.environ.get(variable, default).split(",") if name.strip())


def _required() -> tuple[str, ...]:
    return _listed("XFER_TEST_ONLY") or _listed("XFER_TEST_BACKENDS")


@dataclass(frozen=True)
class Target:
    """A backend on a kind of device."""

    backend: str
    kind: str

    def __str__(self) -> str:
        return f"{self.backend}-{self.kind}"

    @property
    def required(self) -> bool:
        backends, kinds = _required(), _listed("XFER_TEST_DEVICES")
        if self.kind in kinds:
            return self.backend in backends or not backends
        return self.kind == "cpu" and self.backend in backends

    def find(self) -> tuple[Backend, str]:
        """The backend and its device. Raises BackendError with the reason where one is absent."""
        backend = _load(self.backend)
        return backend, pick_device(backend, self.kind)

    def absent(self) -> str:
        """Why it cannot run here; empty where it can."""
        try:
            self.find()
        except BackendError as error:
            return str(error)
        return ""


@cache
def _load(name: str) -> Backend:
    return NumpyBackend() if name == NumpyBackend.name else load_backend(name)


def targets() -> tuple[Target, ...]:
    """NumPy on the CPU, and every declared or required backend on every kind of device; or only those named alone."""
    if only := _listed("XFER_TEST_ONLY"):
        return tuple(Target(name, kind) for name in only for kind in KINDS)
    names = sorted({*declared(), *_required()} - {NumpyBackend.name})
    return Target(NumpyBackend.name, "cpu"), *(Target(name, kind) for name in names for kind in KINDS)


def archs(target: Target) -> tuple[str, ...]:
    return (
        (TINY.name,) if target.backend == NumpyBackend.name else _listed("XFER_TEST_ARCHS", ",".join(catalogue.SMALL))
    )


def require(backend: str, kind: str = "cpu") -> tuple[Backend, str]:
    """A backend and a device of this kind, for a test of one backend: skips, or fails where it is required."""
    target = Target(backend, kind)
    reason = target.absent()
    if reason and target.required:
        pytest.fail(f"required, and absent: {target}: {reason}", pytrace=False)
    if reason:
        pytest.skip(f"{target}: {reason}")
    return target.find()


@pytest.fixture
def backend(xfer_target: Target) -> Backend:
    return require(xfer_target.backend, xfer_target.kind)[0]


@pytest.fixture
def device(xfer_target: Target) -> str:
    return require(xfer_target.backend, xfer_target.kind)[1]


@pytest.fixture
def arch_names(backend: Backend, xfer_target: Target) -> tuple[str, ...]:
    """All networks to test the backend with: those asked for that it builds, or else its first."""
    return (
        tuple(a for a in archs(xfer_target) if builds(backend, a))
        or tuple(own_networks(backend))[:1]
        or (next(iter(catalogue.names())),)
    )


@pytest.fixture
def arch_name(backend: Backend, arch_names: tuple[str, ...], xfer_target: Target, xfer_arch: str) -> str:
    if xfer_arch in arch_names:
        return xfer_arch
    if xfer_arch == archs(xfer_target)[0] and not set(arch_names) & set(archs(xfer_target)):
        return arch_names[0]
    pytest.skip(f"{backend.name} does not build {xfer_arch}; XFER_TEST_ARCHS names others")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "xfer_arch" in metafunc.fixturenames:
        pairs = [pytest.param(t, a, id=f"{t}-{a}") for t in targets() for a in archs(t)]
        metafunc.parametrize(("xfer_target", "xfer_arch"), pairs)
    elif "xfer_target" in metafunc.fixturenames:
        metafunc.parametrize("xfer_target", targets(), ids=str)


def pytest_configure(config: pytest.Config) -> None:
    unknown = set(_listed("XFER_TEST_DEVICES")) - set(KINDS)
    if unknown:
        raise pytest.UsageError(f"XFER_TEST_DEVICES = {','.join(sorted(unknown))}: expected among {', '.join(KINDS)}")


def pytest_report_header() -> str:
    names = ", ".join(_listed("XFER_TEST_ONLY") or ("numpy", *declared()))
    required = ", ".join(str(target) for target in targets() if target.required)
    return f"xfer backends: {names}; required: {required or 'none'}"


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """What runs and what is absent, among what was selected."""
    if config.option.collectonly:
        return []
    return [f"xfer {_line(target)}" for target in dict.fromkeys(t for item in items for t in _targets_of(item))]


def _targets_of(item: pytest.Item) -> Iterator[Target]:
    call = getattr(item, "callspec", None)
    if call and "xfer_target" in call.params:
        yield call.params["xfer_target"]


def _line(target: Target) -> str:
    try:
        reason = target.absent()
    except Exception as error:  # an adapter with a fault of its own: its tests say more
        return f"broken  {target}: {type(error).__name__}: {error}"
    if reason:
        return f"{'MISSING' if target.required else 'absent '} {target}: {reason}"
    return f"runs    {target} on {target.find()[1]}"
