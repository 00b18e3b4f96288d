"""Original against artifact: outputs on every window, layers and states step by step, decisions and accuracy."""

from edgekit.verify.compare import Divergence, VerifyReport, verify_artifact
from edgekit.verify.layers import LayerReport
from edgekit.verify.rounding import Rounding, output_error, rounding_effect

__all__ = [
    "Divergence",
    "LayerReport",
    "Rounding",
    "VerifyReport",
    "output_error",
    "rounding_effect",
    "verify_artifact",
]
