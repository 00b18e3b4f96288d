"""The end of a step, alike in float and integer models: next states, the signatures and the document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgekit.artifact.exported import KEY, dump_step_document, state_output
from edgekit.backends.tflite.variables import Variables
from edgekit.backends.tflite.writer import ModelWriter, SubgraphWriter

STEP = "step"


def finished(
    model: ModelWriter,
    to: SubgraphWriter,
    document: Mapping[str, Any],
    *,
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
    following: Mapping[str, int],
    variables: Variables | None,
) -> bytes:
    """The bytes of a model whose step is written: `following` states go into variables, or out as `<state>.next`."""
    if variables:
        variables.write(following)
    else:
        outputs = {**outputs, **{state_output(name): value for name, value in following.items()}}
    to.inputs, to.outputs = list(inputs.values()), list(outputs.values())
    model.signature(STEP, to, inputs, outputs)
    if variables:
        variables.signatures()
    model.metadata(KEY, dump_step_document(document))
    return model.finish()
