from __future__ import annotations

import pytest

from tests.ir.rules.table import Case, case

A = "aten::"

CASES = [
    # 2 rows of 5 * 8 * 3
    case(A + "fft_fft", "c64:2,8 -> c64:2,8", 0, 240, 128, 128, dim=-1),
    # real: half of it; 5 of 8 frequencies
    case(A + "fft_rfft", "2,8 -> c64:2,5", 0, 120, 64, 80, dim=-1),
    # padded to 16: 5 * 16 * 4 / 2 a row
    case(A + "fft_rfft", "2,8 -> c64:2,9", 0, 320, 64, 144, dim=-1, n=16),
    case(A + "fft_irfft", "c64:2,5 -> 2,8", 0, 120, 80, 64, dim=-1),
    # 8 rows of 60, then 5 columns of 120
    case(A + "fft_rfft2", "8,8 -> c64:8,5", 0, 480 + 600, 256, 320, dim=(-2, -1)),
    case(A + "fft_irfft2", "c64:8,5 -> 8,8", 0, 480 + 600, 320, 256, dim=(-2, -1)),
    # both dims of 8, 8 of 120 each, twice
    case(A + "fft_fftn", "c64:3,8,8 -> c64:3,8,8", 0, 3 * 1920, 1536, 1536, dim=(1, 2)),
    # as many of the last dims as sizes are given, numbers or names
    case(A + "fft_fftn", "c64:3,8,8 -> c64:3,8,8", 0, 3 * 1920, 1536, 1536, s=(8, 8)),
    case(A + "fft_fftn", "c64:b,8,8 -> c64:b,8,8", 0, "1920*b", "512*b", "512*b", s=("8", "8")),
    case(A + "_fft_r2c", "2,8 -> c64:2,5", 0, 120, 64, 80, dim=(1,)),
    case(A + "_fft_c2c", "c64:2,8 -> c64:2,8", 0, 240, 128, 128, dim=(1,)),
    # 2 signals of 11 frames of 8: window 8, transform 60
    case(A + "stft", "2,40 8 -> c64:2,5,11", 0, 22 * 68, 352, 880, n_fft=8, return_complex=1),
    case(A + "stft", "2,40 -> 2,5,11,2", 0, 22 * 60, 320, 880, n_fft=8, return_complex=0),
    # window and overlap 16, transform 60; a division per sample
    case(A + "istft", "c64:2,5,11 8 -> 2,40", 0, 22 * 76 + 80, 912, 320, n_fft=8, return_complex=0),
]


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()
