"""How unlike a slice is what a network has learned from: a distance in its feature space. Needs no Keras.

The pooled features of training slices are taken for one Gaussian, of which the main directions are kept apart and the
rest is taken as even: probabilistic principal components. A slice's distance is its Mahalanobis distance under it.
Sources: Tipping and Bishop, Journal of the Royal Statistical Society B 61(3), 1999 (the Gaussian); Lee et al., NeurIPS
2018 (Mahalanobis distance of features to find what a network has not seen).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

#: Beside a network's files.
FEATURES_FILE = "features.npz"
#: Directions that are kept apart. They are some dozens of hundreds, or the file would be larger than the network.
MAX_COMPONENTS = 32
#: Of fewer slices nothing can be said: each direction takes a few.
MIN_SLICES = 40
_SLICES_A_COMPONENT = 4
#: A direction without any spread would make all else infinitely far. In units of the mean variance of a feature, and
#: its least.
_SMALLEST_VARIANCE = 1e-6


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureGaussian:
    """A Gaussian over pooled features of D values.

    mean [D]; components [K, D], orthonormal rows, the widest direction first; variances [K] along them; rest: the
    variance along every other direction.
    """

    mean: np.ndarray
    components: np.ndarray
    variances: np.ndarray
    rest: float

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Mahalanobis distance float32 [B] of features [B, D], over the square root of D.

        1 is as far as the slices that the Gaussian was fitted to are on average, by their squares.
        """
        centred = np.asarray(features, np.float64) - self.mean
        along = centred @ self.components.T.astype(np.float64)
        beside = np.maximum((centred**2).sum(axis=1) - (along**2).sum(axis=1), 0.0)
        squares = (along**2 / self.variances).sum(axis=1) + beside / self.rest
        return np.sqrt(squares / len(self.mean)).astype(np.float32)

    def write(self, path: Path) -> None:
        """As one file; components in half precision, which moves distances by less than a thousandth."""
        np.savez(
            path,
            mean=self.mean.astype(np.float32),
            components=self.components.astype(np.float16),
            variances=self.variances.astype(np.float32),
            rest=np.float32(self.rest),
        )

    @classmethod
    def read(cls, path: Path) -> "FeatureGaussian | None":
        """The reverse of write; None where there is no such file, as of a version before."""
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as file:
            return cls(
                mean=file["mean"].astype(np.float64),
                components=file["components"].astype(np.float64),
                variances=file["variances"].astype(np.float64),
                rest=float(file["rest"]),
            )


def fit_gaussian(features: np.ndarray) -> FeatureGaussian | None:
    """The Gaussian of pooled features [N, D], by maximum likelihood; None of fewer than MIN_SLICES slices.

    With K directions kept, K at most MAX_COMPONENTS and a quarter of N, the rest's variance is the mean of the other
    eigenvalues of the covariance.
    """
    features = np.asarray(features, np.float64)
    num_slices, size = features.shape
    if num_slices < MIN_SLICES or size < 2:
        return None
    count = min(MAX_COMPONENTS, num_slices // _SLICES_A_COMPONENT, size - 1)
    mean = features.mean(axis=0)
    _, singular, directions = np.linalg.svd(features - mean, full_matrices=False)
    eigenvalues = singular**2 / num_slices
    least = _SMALLEST_VARIANCE * max(eigenvalues.sum() / size, _SMALLEST_VARIANCE)
    return FeatureGaussian(
        mean=mean,
        components=directions[:count],
        variances=np.maximum(eigenvalues[:count], least),
        rest=float(max(eigenvalues[count:].sum() / (size - count), least)),
    )
