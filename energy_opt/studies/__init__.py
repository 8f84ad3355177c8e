"""The questions that users ask, one file each, built from load, passes, workload and estimate."""

from __future__ import annotations

DEFAULT_DEVICE = "t4"
"""The device that is assumed where none is named: common, small, and in every cloud."""
