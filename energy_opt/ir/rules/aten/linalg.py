"""Dense linear algebra: leading terms of the textbook counts, lower orders left out.

Source: G. Golub and C. Van Loan, Matrix Computations, 4th ed.: LU 3.2, Cholesky 4.2, QR 5.2, eigenvalues 7.5 and 8.3,
singular values 8.6. x[.., m, n] stands for a batch of matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import sympy

from energy_opt.ir.dims import Dim, product, total
from energy_opt.ir.op import Op, Tensor, Work
from energy_opt.ir.rules.aten.names import aten
from energy_opt.ir.rules.aten.reduction import powers
from energy_opt.ir.rules.formulas import elements, least, per_input


def times(factor: Fraction, count: Dim) -> Dim:
    """The product, rounded down where it is an integer."""
    if isinstance(count, int):
        return int(factor * count)
    return sympy.Rational(factor.numerator, factor.denominator) * count


def matrices(tensor: Tensor) -> tuple[Dim, Dim, Dim]:
    """Number, rows and columns. Raises ValueError where the rank is below 2."""
    dims = tensor.dims
    if len(dims) < 2:
        raise ValueError("not a matrix")
    return product(dims[:-2]), dims[-2], dims[-1]


def cubic(factor: Fraction | int) -> Callable[[Op], Work]:
    """A rule that counts factor * n^3 for each n x n matrix of the first operand."""

    def square(op: Op) -> Work:
        b, _, n = matrices(op.x)
        return Work(other_flops=times(Fraction(factor), product((b, n, n, n))))

    return square


aten("reduction", "linalg_cholesky linalg_cholesky_ex cholesky")(cubic(Fraction(1, 3)))
aten("reduction", "linalg_det _linalg_det det linalg_slogdet _linalg_slogdet slogdet logdet")(
    cubic(Fraction(2, 3))
)
aten("reduction", "linalg_lu linalg_lu_factor linalg_lu_factor_ex _lu_with_info")(
    cubic(Fraction(2, 3))
)
aten("reduction", "linalg_ldl_factor linalg_ldl_factor_ex")(cubic(Fraction(1, 3)))
aten("reduction", "linalg_inv linalg_inv_ex inverse linalg_tensorinv")(cubic(2))
aten("reduction", "cholesky_inverse")(cubic(Fraction(2, 3)))
aten("reduction", "linalg_eigvalsh")(cubic(Fraction(4, 3)))  # tridiagonal form
aten("reduction", "linalg_eigvals _linalg_eigvals")(cubic(10))  # Hessenberg form, QR steps
aten("reduction", "linalg_eig")(cubic(25))  # and the vectors
aten("reduction", "lu_unpack")(per_input(0))
# a Pade approximant of degree 7 to 13: six products and a solution with n right-hand sides
aten("reduction", "linalg_matrix_exp matrix_exp")(cubic(12 + Fraction(8, 3)))
# of a matrix twice as wide
aten("reduction", "matrix_exp_backward")(cubic(8 * (12 + Fraction(8, 3))))


@aten("reduction", "linalg_eigh _linalg_eigh")
def eigh(op: Op) -> Work:
    """4/3 n^3 for the values, 9 n^3 with the vectors."""
    return cubic(9 if op.attr("compute_v", 1) else Fraction(4, 3))(op)


def _solution(op: Op, matrix: int, right: int, factors: bool, solves: int) -> Work:
    """An LU decomposition where it is to be made, then `solves` triangular solutions of n^2 per right-hand side."""
    b, _, n = matrices(op.need(matrix))
    decomposed = times(Fraction(2 * factors, 3), product((b, n, n, n)))
    return Work(other_flops=total((decomposed, product((solves, n, elements(op.need(right)))))))


@aten("reduction", "linalg_solve linalg_solve_ex _linalg_solve_ex linalg_tensorsolve")
def solve(op: Op) -> Work:
    """2/3 n^3, then 2 n^2 for every right-hand side."""
    return _solution(op, 0, 1, factors=True, solves=2)


@aten("reduction", "linalg_lu_solve linalg_ldl_solve")
def lu_solve(op: Op) -> Work:
    """2 n^2 for every right-hand side: factors, pivots, B."""
    return _solution(op, 0, 2, factors=False, solves=2)


@aten("reduction", "lu_solve cholesky_solve _cholesky_solve_helper")
def factored_solve(op: Op) -> Work:
    """2 n^2 for every right-hand side: B, factors."""
    return _solution(op, 1, 0, factors=False, solves=2)


@aten("reduction", "triangular_solve")
def triangular_solve(op: Op) -> Work:
    """n^2 for every right-hand side: B, A."""
    return _solution(op, 1, 0, factors=False, solves=1)


@aten("reduction", "linalg_solve_triangular")
def solve_triangular(op: Op) -> Work:
    """n^2 for every right-hand side: A, B."""
    return _solution(op, 0, 1, factors=False, solves=1)


def _orthogonal(tensor: Tensor) -> Dim:
    """2 k^2 (l - k/3) of a Householder QR, with k the shorter and l the longer side."""
    b, m, n = matrices(tensor)
    k = least(m, n)
    longer = total((m, n, -k))
    return total((product((2, b, k, k, longer)), -times(Fraction(2, 3), product((b, k, k, k)))))


@aten("reduction", "linalg_qr qr geqrf")
def qr(op: Op) -> Work:
    """The decomposition, and as much again to form Q."""
    forms = op.op_type != "geqrf" and op.attr("mode") != "r"
    return Work(other_flops=(1 + forms) * _orthogonal(op.x))


@aten("reduction", "linalg_householder_product orgqr")
def householder(op: Op) -> Work:
    """Q formed from its reflectors."""
    return Work(other_flops=_orthogonal(op.x))


@aten("reduction", "ormqr")
def reflect(op: Op) -> Work:
    """Every reflector of input[.., m, k] applied to other[.., m, n]: 4 per element and reflector."""
    return Work(other_flops=product((4, matrices(op.x)[2], elements(op.need(2)))))


@aten("reduction", "linalg_lstsq")
def least_squares(op: Op) -> Work:
    """A QR decomposition, then Q and R solved for each right-hand side: 4 per element of A."""
    b, m, n = matrices(op.x)
    right = op.need(1).dims
    sides = right[-1] if len(right) == op.x.rank else 1
    return Work(other_flops=total((_orthogonal(op.x), product((4, b, m, n, sides)))))


def _singular(tensor: Tensor, vectors: bool) -> Dim:
    """14 l k^2 + 8 k^3 with the vectors of both sides, 4 l k^2 - 4/3 k^3 without."""
    b, m, n = matrices(tensor)
    k = least(m, n)
    longer = total((m, n, -k))
    cube = product((b, k, k, k))
    rest = 8 * cube if vectors else -times(Fraction(4, 3), cube)
    return total((product((14 if vectors else 4, b, k, k, longer)), rest))


@aten("reduction", "linalg_svd _linalg_svd svd linalg_pinv pinverse")
def svd(op: Op) -> Work:
    """14 l k^2 + 8 k^3 with both sides' vectors, k the shorter side and l the longer."""
    return Work(other_flops=_singular(op.x, bool(op.attr("compute_uv", 1))))


@aten("reduction", "linalg_svdvals linalg_matrix_rank linalg_cond nuclear_norm")
def singular_values(op: Op) -> Work:
    """4 l k^2 - 4/3 k^3: the values alone."""
    return Work(other_flops=_singular(op.x, vectors=False))


@aten("reduction", "linalg_norm linalg_matrix_norm")
def matrix_norm(op: Op) -> Work:
    """A norm of the elements; 2, -2 and nuclear norms of matrices take the singular values."""
    order, axes = op.attr("ord"), op.attr("dim")
    planes = op.op_type == "linalg_matrix_norm" or (
        isinstance(axes, (list, tuple)) and len(axes) == 2
    )
    if (planes or op.x.rank == 2) and order in (2, -2, "nuc"):
        return Work(other_flops=_singular(op.x, vectors=False))
    return per_input(*powers(order))(op)
