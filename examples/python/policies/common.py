"""What several of the policies need."""

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def sure_or_surest(masked: np.ndarray, confidences: np.ndarray, threshold: float, at_least: int) -> np.ndarray:
    """The masks with confidence > threshold, or, if these are too few, the most confident, the lower position where two
    are equal. bool, as masked."""
    chosen = masked & (confidences > np.float32(threshold))
    if chosen.sum() < at_least:
        best_first = np.argsort(np.where(masked, -confidences, np.inf), kind="stable")
        chosen[best_first[: min(at_least, masked.sum())]] = True
    return chosen
