"""Which NVML device a CUDA number means: CUDA_VISIBLE_DEVICES, MIG and virtual GPUs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from energy_opt.errors import MeterError


@dataclass(frozen=True)
class VisibleGpu:
    """A GPU as CUDA numbers it: `index` in CUDA, `nvml_index` in the driver. `reason` says why it cannot be metered."""

    index: int
    nvml_index: int
    handle: Any
    name: str
    uuid: str
    reason: str = ""


def text(value: Any) -> str:
    """NVML's strings, which are bytes in its older Python bindings."""
    return value.decode() if isinstance(value, bytes) else str(value)


def visible_gpus(nvml: Any, environ: Mapping[str, str] | None = None) -> list[VisibleGpu]:
    """The GPUs that CUDA shows this process, in CUDA's order.

    Raises:
        MeterError: there are none, or which is which cannot be told.

    Source: CUDA C++ Programming Guide, "CUDA Environment Variables".
    """
    environ = os.environ if environ is None else environ
    handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    if not handles:
        raise MeterError("meter nvml: the NVIDIA driver sees no GPU")
    names = [text(nvml.nvmlDeviceGetName(handle)) for handle in handles]
    uuids = [text(nvml.nvmlDeviceGetUUID(handle)) for handle in handles]
    wanted = environ.get("CUDA_VISIBLE_DEVICES")
    by_number = wanted is None or any(part.strip().isdigit() for part in wanted.split(","))
    order = environ.get("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    if by_number and order != "PCI_BUS_ID" and len(set(names)) > 1:
        raise MeterError(
            f"meter nvml: the GPUs differ ({', '.join(sorted(set(names)))}), so CUDA numbers them fastest first and "
            "the driver by PCI bus; set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name GPUs in CUDA_VISIBLE_DEVICES by UUID"
        )
    chosen = list(range(len(handles))) if wanted is None else _chosen(wanted, uuids)
    if not chosen:
        raise MeterError(
            f"meter nvml: CUDA_VISIBLE_DEVICES={wanted!r} hides all {len(handles)} GPUs; unset it or name one of "
            f"{', '.join(map(str, range(len(handles))))}"
        )
    return [
        VisibleGpu(
            index, at, handles[at], names[at], uuids[at], unmetered(nvml, handles[at], index)
        )
        for index, at in enumerate(chosen)
    ]


def _chosen(wanted: str, uuids: list[str]) -> list[int]:
    """CUDA reads the list up to the first entry that means nothing; an entry given twice makes all of it void."""
    chosen: list[int] = []
    for part in (part.strip() for part in wanted.split(",")):
        if part.upper().startswith("MIG-"):
            raise MeterError(
                f"meter nvml: CUDA_VISIBLE_DEVICES names a MIG instance ({part}), and instances report no energy "
                "of their own; measure on a whole GPU, or with a log of the system's power"
            )
        if part.isdigit():
            found = [int(part)] if int(part) < len(uuids) else []
        else:
            found = [at for at, uuid in enumerate(uuids) if part and uuid.startswith(part)]
        if len(found) != 1:
            break
        if found[0] in chosen:
            return []
        chosen.append(found[0])
    return chosen


def unmetered(nvml: Any, handle: Any, index: int) -> str:
    """Why a GPU's energy is not to be had, or nothing: MIG instances and virtual GPUs share a board with others."""
    try:
        if nvml.nvmlDeviceGetMigMode(handle)[0]:
            return (
                f"GPU {index} is split by MIG: its counter is of all instances together, and none reports its own; "
                "measure on a whole GPU"
            )
    except nvml.NVMLError:
        pass  # parts without MIG answer that it is not supported
    try:
        mode = nvml.nvmlDeviceGetVirtualizationMode(handle)
    except nvml.NVMLError:
        return ""
    if mode == nvml.NVML_GPU_VIRTUALIZATION_MODE_VGPU:
        return (
            f"GPU {index} is a virtual GPU: the board is shared with other machines, and its energy is known to the "
            "host only; measure on the host or on a whole GPU"
        )
    return ""
