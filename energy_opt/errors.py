"""Errors that a user can act on: what, where, the value got, what is allowed, what to do."""

from __future__ import annotations


def one_line(error: BaseException, most: int = 300) -> str:
    """What somebody else's error says, in one line of at most so many characters, without a full stop."""
    return " ".join(str(error).split())[:most].rstrip(".")


class EnergyOptError(Exception):
    """An error with a message for people; the command line prints it and exits with `exit_code`."""

    exit_code = 1


class ModelError(EnergyOptError):
    """A model file or graph that cannot be read or makes no sense."""


class RuleError(EnergyOptError):
    """A work rule of the user's that failed, or whose answer makes no sense."""


class OutputError(EnergyOptError):
    """A result that could not be written."""


class MeterError(EnergyOptError):
    """A meter that is not there, a window that it cannot resolve, or a power log that makes no sense."""


class CalibrationError(EnergyOptError):
    """A calibration or a fit that cannot start or go on."""


class UsageError(EnergyOptError):
    """A request that cannot be meant: a bad option or value."""

    exit_code = 2


class DimError(UsageError):
    """A dimension that the model does not have, or a size that it cannot take."""


class DeviceError(UsageError):
    """A device or runtime that is not known, or a profile that is not valid."""
