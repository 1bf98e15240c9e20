"""Vectors of tokens: which are near each other, and all of them in a plane."""

import numpy as np

from ..arguments import check_integer
from ..backends.base import NumpyArray


def nearest_neighbours(vectors: NumpyArray, token: int, count: int = 10) -> list[tuple[int, float]]:
    """The tokens whose vectors point in the most similar directions.

    Args:
        vectors: one vector for each token, (V, C).
        token: the token whose neighbours are wanted; it is left out.
        count: how many, at most.

    Returns:
        pairs of a token and its cosine similarity in [-1, 1], the largest first.

    >>> import numpy as np
    >>> from tinytorch.inspection import nearest_neighbours
    >>> nearest_neighbours(np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]]), 1, count=1)
    [(2, 0.7071067811865476)]
    """
    check_integer("token", token, 0, len(vectors) - 1)
    vectors = vectors.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1)  # (V,)
    cosines = vectors @ vectors[token] / np.maximum(lengths * lengths[token], 1e-300)
    order = np.argsort(-cosines, kind="stable")
    return [(int(i), float(cosines[i])) for i in order[order != token][:count]]


def principal_plane(vectors: NumpyArray) -> tuple[NumpyArray, float]:
    """Coordinates (V, 2) of vectors (V, C) in the plane in which they differ most.

    Returns:
        the coordinates, and the share in [0, 1] of the variance that lies in the plane.

    Source: K. Pearson, "On Lines and Planes of Closest Fit to Systems of Points in Space" (1901).
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    U, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    plane = np.zeros((len(vectors), 2))
    plane[:, : len(sizes[:2])] = U[:, :2] * sizes[:2]
    squares = sizes**2
    return plane, float(squares[:2].sum() / max(squares.sum(), 1e-300))
