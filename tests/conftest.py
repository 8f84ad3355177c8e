"""What every test shares: the example models, reproducible random cases, and no network."""

from __future__ import annotations

import socket
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# A slow machine is no failure, and the same commit gives the same verdict twice.
settings.register_profile("default", deadline=None, derandomize=True, database=None)
settings.load_profile("default")


# What is imported by tests that skip where it is missing.
EXTRAS = ("fvcore", "onnxruntime", "optuna", "torch", "transformers")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--all-extras`: nothing is to be skipped because a package is missing."""
    parser.addoption("--all-extras", action="store_true", help="fail where an extra is missing")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to run with `--all-extras` where one is missing."""
    missing = _missing()
    if missing and config.getoption("--all-extras"):
        raise pytest.UsageError(f"not installed: {', '.join(missing)}")


def pytest_report_header() -> list[str]:
    """Say what a light installation does not test."""
    missing = _missing()
    return [f"not installed, so not tested: {', '.join(missing)}"] if missing else []


def _missing() -> list[str]:
    return [name for name in EXTRAS if find_spec(name) is None]


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of example models."""
    return ROOT / "examples"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_socket: socket.socket, address: object) -> NoReturn:
        pytest.fail(f"a test tried to reach {address!r}: tests use no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
