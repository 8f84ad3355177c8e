from __future__ import annotations

import pytest

from tests.ir.rules.table import Case, case

A = "aten::"

CASES = [
    # n^3 / 3, 2/3 n^3, 2 n^3 for 5 matrices of 6 by 6
    case(A + "linalg_cholesky", "5,6,6 -> 5,6,6", 0, 360, 720, 720),
    case(A + "linalg_det", "5,6,6 -> 5", 0, 720, 720, 20),
    case(A + "linalg_inv", "5,6,6 -> 5,6,6", 0, 2160, 720, 720),
    case(A + "linalg_inv", "b,6,6 -> b,6,6", 0, "432*b", "144*b", "144*b"),
    # LU 144, then 2 * 36 for each of 2 sides
    case(A + "linalg_solve", "6,6 6,2 -> 6,2", 0, 144 + 144, 192, 48),
    # one triangle: 36 a side
    case(A + "triangular_solve", "6,2 6,6 -> 6,2 6,6", 0, 72, 192, 192),
    case(A + "linalg_solve_triangular", "6,6 6,2 -> 6,2", 0, 72, 192, 48),
    case(A + "cholesky_solve", "6,2 6,6 -> 6,2", 0, 144, 192, 48),
    # 2 * 9 * (6 - 1) for R, as much for Q
    case(A + "linalg_qr", "6,3 -> 6,3 3,3", 0, 180, 72, 108, mode="reduced"),
    case(A + "linalg_qr", "6,3 -> 0 3,3", 0, 90, 72, 36, mode="r"),
    # 14 * 6 * 9 + 8 * 27; values alone 4 * 6 * 9 - 36
    case(A + "linalg_svd", "6,3 -> 6,3 3 3,3", 0, 756 + 216, 72, 120),
    case(A + "linalg_svdvals", "3,6 -> 3", 0, 180, 72, 12),
    # 9 n^3 with vectors, 4/3 n^3 without
    case(A + "linalg_eigh", "3,3 -> 3 3,3", 0, 243, 36, 48),
    case(A + "_linalg_eigh", "3,3 -> 3 0", 0, 36, 36, 12, compute_v=0),
    # QR 90, 4 * 18 for each of 2 sides
    case(A + "linalg_lstsq", "6,3 6,2 -> 3,2", 0, 90 + 144, 120, 24),
    # square, sum; root. A spectral norm is a singular value
    case(A + "linalg_norm", "6,3 -> ()", 0, 37, 72, 4),
    case(A + "linalg_matrix_norm", "6,3 -> ()", 0, 37, 72, 4, ord="fro", dim=(-2, -1)),
    case(A + "linalg_matrix_norm", "6,3 -> ()", 0, 180, 72, 4, ord=2, dim=(-2, -1)),
    # 2/3 n^3 and n^3 / 3 for 5 matrices of 6 by 6; 2/3 n^3 from a factor
    case(A + "linalg_lu", "5,6,6 -> 5,6,6 5,6,6 5,6,6", 0, 720, 720, 2160),
    case(A + "linalg_ldl_factor", "5,6,6 -> 5,6,6 i32:5,6", 0, 360, 720, 720 + 120),
    case(A + "cholesky_inverse", "6,6 -> 6,6", 0, 144, 144, 144),
    case(A + "lu_unpack", "3,3 i32:3 -> 3,3 3,3 3,3", 0, 0, 36 + 12, 108),
    # 4/3, 10 and 25 n^3
    case(A + "linalg_eigvalsh", "3,3 -> 3", 0, 36, 36, 12),
    case(A + "linalg_eigvals", "3,3 -> c64:3", 0, 270, 36, 24),
    case(A + "linalg_eig", "3,3 -> c64:3 c64:3,3", 0, 675, 36, 96),
    # 6 products of 2 * 27, a solution of 8/3 * 27
    case(A + "linalg_matrix_exp", "3,3 -> 3,3", 0, 324 + 72, 36, 36),
    # 2 * 36 for each of 2 sides
    case(A + "linalg_lu_solve", "6,6 i32:6 6,2 -> 6,2", 0, 144, 144 + 24 + 48, 48),
    # as R: 90; 3 reflectors met by 12 elements, 4 each
    case(A + "linalg_householder_product", "6,3 3 -> 6,3", 0, 90, 84, 72),
    case(A + "ormqr", "6,3 3 6,2 -> 6,2", 0, 144, 72 + 12 + 48, 48),
]


@pytest.mark.parametrize("row", CASES, ids=str)
def test_counts(row: Case) -> None:
    row.check()
