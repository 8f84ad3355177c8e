"""Control flow, sequences and generation loops: their bodies are rows of their own, times their trip counts."""

from __future__ import annotations

from energy_opt.ir.dims import total
from energy_opt.ir.op import Op, Work
from energy_opt.ir.rules.formulas import VIEW, moved
from energy_opt.ir.rules.registry import rule

SEARCHES = ("BeamSearch", "WhisperBeamSearch", "GreedySearch", "Sampling")


@rule("control", "If", "Scan", "SequenceMap", *(f"com.microsoft::{name}" for name in SEARCHES))
def body_only(op: Op) -> Work:
    """Nothing beside the body: branches and scans write straight into their outputs."""
    return moved(0, 0)


@rule("control", "Loop")
def loop(op: Op) -> Work:
    """Final values and stacked scan outputs are copied once when the loop ends; unknown shapes count nothing."""
    results = total(tensor.nbytes for tensor in op.outputs)
    return moved(results, results)


@rule("view", "SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SequenceErase", "SequenceAt")
def sequence(op: Op) -> Work:
    """Sequences hold references."""
    return VIEW
