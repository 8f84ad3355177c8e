"""What one GPU's driver says, in SI units, each thing None where the part does not have it."""

from __future__ import annotations

from typing import Any

from energy_opt.measure.meters.cuda_visible import VisibleGpu

AMPERE, HOPPER = 7, 9  # NVML_DEVICE_ARCH_*
_GA100 = ("A100", "A30", "A800", "CMP 170")
AVERAGING_S = 1.0
"""nvmlDeviceGetPowerUsage is a mean over 1 s on Ampere and later, GA100 excepted. Source: NVML API reference."""
UPDATE_S = 0.1
"""Power readings are renewed every 100 ms on most parts (20 ms on some). Source: Yang et al., as below, table 1."""
DUTY, DUTY_PERIOD_S = 0.25, 0.1
"""A100 and H100 look at 25 ms of every 100 ms. Source: Yang, Adamek, Armour, SC 2024, arXiv 2312.02741, section 4."""
SENSOR_NOTE = "the board's sensor itself may be off by about 5 % (Yang et al., SC 2024)"
DUTY_NOTE = (
    "the sensor sees 25 ms of every 100 ms on this generation: work with a rhythm of its own near 100 ms "
    "may be misjudged"
)
# Bits of nvmlDeviceGetCurrentClocksEventReasons; that the GPU is idle (0x1) holds nothing back.
REASONS = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "thermal (software)",
    0x40: "thermal (hardware)",
    0x80: "power brake",
    0x2: "applied clocks",
    0x100: "display clocks",
}


class Sensor:
    """One GPU through NVML; a reading that the part lacks is None and is asked for once only."""

    def __init__(self, nvml: Any, gpu: VisibleGpu) -> None:
        self.nvml = nvml
        self.gpu = gpu
        self._lacks: set[str] = set()
        architecture = self._ask("nvmlDeviceGetArchitecture")
        ga100 = any(part in gpu.name for part in _GA100)
        self.part_time = ga100 or architecture == HOPPER
        self.averaging_s = 0.0
        # Numbers grow with the generations; what is not known yet is taken to be like the latest.
        if architecture is not None and architecture >= AMPERE and not ga100:
            self.averaging_s = AVERAGING_S

    def counter_mj(self) -> int:
        """The energy counter in mJ. Raises NVMLError where there is none."""
        return int(self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.gpu.handle))

    def has_counter(self) -> bool:
        """Whether the part counts energy (Volta and later do)."""
        return self._ask("nvmlDeviceGetTotalEnergyConsumption") is not None

    def instant_w(self) -> float | None:
        """Power now in W, unaveraged; None where the driver does not tell."""
        if "instant" in self._lacks:
            return None
        try:
            field = self.nvml.NVML_FI_DEV_POWER_INSTANT
            answer = self.nvml.nvmlDeviceGetFieldValues(self.gpu.handle, [field])[0]
        except (
            AttributeError,
            self.nvml.NVMLError,
        ):  # bindings or drivers from before there was one
            self._lacks.add("instant")
            return None
        if answer.nvmlReturn != 0:
            self._lacks.add("instant")
            return None
        return float(answer.value.uiVal) / 1e3

    def usage_w(self) -> float | None:
        """Power in W as nvidia-smi shows it: a mean over `averaging_s`, where that is not 0."""
        milliwatts = self._ask("nvmlDeviceGetPowerUsage")
        return None if milliwatts is None else float(milliwatts) / 1e3

    def limit_w(self) -> float | None:
        """The enforced power limit in W."""
        milliwatts = self._ask("nvmlDeviceGetEnforcedPowerLimit")
        return None if milliwatts is None else float(milliwatts) / 1e3

    def clocks_hz(self) -> dict[str, float] | None:
        """Clocks of the multiprocessors and the memory in Hz."""
        known = {}
        for name, kind in (("sm", self.nvml.NVML_CLOCK_SM), ("memory", self.nvml.NVML_CLOCK_MEM)):
            megahertz = self._ask("nvmlDeviceGetClockInfo", kind)
            if megahertz is not None:
                known[name] = megahertz * 1e6
        return known or None

    def temperature_c(self) -> float | None:
        """Temperature of the chip in degrees Celsius."""
        celsius = self._ask("nvmlDeviceGetTemperature", self.nvml.NVML_TEMPERATURE_GPU)
        return None if celsius is None else float(celsius)

    def utilisation(self) -> float | None:
        """Share of the driver's last sampling period in which a kernel ran."""
        rates = self._ask("nvmlDeviceGetUtilizationRates")
        return None if rates is None else float(rates.gpu) / 100

    def held_back(self) -> tuple[str, ...] | None:
        """What holds the clocks down now; empty if nothing does."""
        bits = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:  # drivers before 535 know it by its old name
            bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        if bits is None:
            return None
        return tuple(name for bit, name in REASONS.items() if bits & bit)

    def _ask(self, function: str, *arguments: Any) -> Any:
        if function in self._lacks:
            return None
        try:
            return getattr(self.nvml, function)(self.gpu.handle, *arguments)
        except AttributeError:
            self._lacks.add(function)
            return None
        except self.nvml.NVMLError as error:
            # A GPU that is busy or lost may answer later; what is not supported never will be.
            if getattr(error, "value", None) in (3, 13):
                self._lacks.add(function)
            return None
