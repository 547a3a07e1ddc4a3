"""Propagation as a polynomial in P, the normalised adjacency with loops: the weights of X, P X, P² X, …"""

from __future__ import annotations

from numpy.polynomial import Polynomial
from scipy.special import iv

MU, THETA = 0.2, 0.5  # ProNE's: centre and width of its band-pass filter


def plain_hops(passes: int) -> list[float]:
    """X + P X + P² X + …: smooth, but biased towards popular nodes on dense graphs."""
    return [1.0] * (passes + 1)


def chebyshev(passes: int) -> list[float]:
    """ProNE's filter of at most `passes` passes, P (X - c(P) X), c the Chebyshev expansion of a Gaussian band-pass of
    the Laplacian. An odd number of passes is used, for (passes + 1) / 2 terms; of an even number the last is unused.

    Source: Zhang et al., ProNE, IJCAI 2019; there 10 terms, 19 passes, which scored the same as 3 terms to within 0.2.
    """
    terms = (passes + 1) // 2
    if terms == 0:
        return [1.0]
    shifted = Polynomial([1 - MU, -1.0])  # the Laplacian less mu, in terms of P
    inner = 0.5 * shifted**2 - 1
    before, current = Polynomial([1.0]), inner
    expansion = float(iv(0, THETA)) * before
    for term in range(1, terms):
        expansion = expansion + 2 * (-1) ** term * float(iv(term, THETA)) * current
        before, current = current, 2 * inner * current - before
    return [float(weight) for weight in (Polynomial([0.0, 1.0]) * (1 - expansion)).coef]
