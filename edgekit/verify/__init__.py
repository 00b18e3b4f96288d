"""Original against artifact: outputs on every window, layers and states step by step, decisions and accuracy."""

from edgekit.verify.compare import Divergence, VerifyReport, verify_artifact
from edgekit.verify.layers import LayerReport

__all__ = ["Divergence", "LayerReport", "VerifyReport", "verify_artifact"]
