"""Quantisation: quantise = divide, round, add zero point, saturate (4); dequantise = subtract, multiply (2)."""

from __future__ import annotations

from energy_opt.ir.rules.aten.names import aten
from energy_opt.ir.rules.formulas import DEQUANTIZE, QUANTIZE, per_input, per_output

aten("quantize", "quantize_per_tensor quantize_per_channel")(per_output(QUANTIZE))
aten("quantize", "dequantize")(per_output(DEQUANTIZE))
aten("quantize", "quantize_per_tensor_dynamic")(per_output(2 + QUANTIZE))  # min and max first
aten("quantize", "_choose_qparams_per_tensor choose_qparams_optimized")(per_input(2))
aten("copy", "int_repr _make_per_tensor_quantized_tensor _make_per_channel_quantized_tensor")(
    per_output(0)
)
# Quantised and dequantised; the mask is a comparison with both ends.
_FAKE = QUANTIZE + DEQUANTIZE
aten("quantize", "fake_quantize_per_tensor_affine fake_quantize_per_channel_affine")(
    per_output(_FAKE)
)
aten(
    "quantize",
    "_fake_quantize_learnable_per_tensor_affine _fake_quantize_learnable_per_channel_affine",
)(per_output(_FAKE))
aten(
    "quantize",
    "fake_quantize_per_tensor_affine_cachemask fake_quantize_per_channel_affine_cachemask "
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
)(per_output(_FAKE + 2))
aten(
    "quantize",
    "fused_moving_avg_obs_fake_quant _fused_moving_avg_obs_fq_helper _fused_moving_avg_obs_fq_helper_functional",
)(per_output(2 + _FAKE))  # min and max first
aten(
    "quantize",
    "fake_quantize_per_tensor_affine_cachemask_backward fake_quantize_per_channel_affine_cachemask_backward",
)(per_output(1))
aten(
    "quantize",
    "_fake_quantize_learnable_per_tensor_affine_backward _fake_quantize_learnable_per_channel_affine_backward",
)(per_output(_FAKE + 4))  # gradients of the scale and the zero point are sums
