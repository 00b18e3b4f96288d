"""Running artifacts: sessions, streams and the choice of engine. Needs numpy and safetensors, never torch."""

from edgekit.runtime.load import ENGINES, load, program_stream, rebuild
from edgekit.runtime.session import Session

__all__ = ["ENGINES", "Session", "load", "program_stream", "rebuild"]
