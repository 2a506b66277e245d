"""Confidences that mean what they say: of takes called 90 % sure, 90 % are right."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """What logits are to be divided by for the likeliest probabilities.

    One number, fitted on sounds the network was not trained on: it changes no label
    (Guo, Pleiss, Sun and Weinberger 2017, "On calibration of modern neural networks").
    `logits` is (sounds, labels), `labels` (sounds,) indexes. Each label weighs the
    same, however many sounds it has.
    """
    counts = np.bincount(labels, minlength=logits.shape[1])
    weights = 1.0 / counts[labels]

    def surprise(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        right = scaled[np.arange(len(labels)), labels]
        return float((weights * (logsumexp(scaled, axis=1) - right)).sum())

    found = minimize_scalar(surprise, bounds=(np.log(0.1), np.log(20)))
    return float(np.exp(found.x))


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Calibrated probabilities, (..., labels)."""
    scaled: np.ndarray = softmax(np.asarray(logits, np.float64) / temperature, axis=-1)
    return scaled


def calibration_error(
    confidence: np.ndarray, right: np.ndarray, bins: int = 15
) -> float:
    """Expected calibration error, 0 to 1 (Naeini et al. 2015; 15 bins as Guo 2017).

    The mean distance, over equal bins of confidence, between how sure the answers were
    and how many were right. Both arrays are (sounds,).
    """
    if not len(confidence):
        return 0.0
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(index, weights=confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))
