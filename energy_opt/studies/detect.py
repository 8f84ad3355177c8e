"""The profile of the machine that a measurement runs on."""

from __future__ import annotations

from energy_opt.errors import DeviceError
from energy_opt.estimators.device import Device
from energy_opt.estimators.identify import cpu_profile, gpu_profile
from energy_opt.measure.runners.target import Target


def profile_of(target: Target) -> tuple[Device, str]:
    """The profile of a target, and what to say of the choice; "" where it is sure.

    Raises:
        DeviceError: no shipped profile is that of this machine; it says what the machine calls itself.
    """
    if target.kind == "gpu":
        name, said = gpu_profile(target.label), ""
    else:
        name, said = cpu_profile(
            target.vendor, target.family, target.model, target.stepping, target.features
        )
    if name is None:
        raise DeviceError(
            f"no shipped profile is that of this {target.kind.upper()} ({target.label}); give one with --device NAME, "
            "or make one with `energy-opt calibrate`"
        )
    device = Device.load(name)
    if device.scaling is not None and target.processors:
        device = device.scaled(min(target.processors, device.scaling.max_vcpus))
    return device, said
