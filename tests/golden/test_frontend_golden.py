"""Published L2MU checkpoints as model files: the imported graph gives exactly the spikes of the authors' code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.frontends import import_file
from edgekit.reference import Interpreter

STREAMS = ("leaky_braille7_dims", "leaky_har6", "leaky_perneuron", "leaky_small", "synaptic_har6", "synaptic_small")
SAMPLES = 8  # of the 40 in the file: the interpreter takes its time


@pytest.mark.parametrize("case", STREAMS)
def test_spikes_of_published_code_are_reproduced_exactly(shared: Path, case: str) -> None:
    path = shared / "golden" / f"l2mu_{case}.npz"
    imported = import_file(path)
    with np.load(path) as golden:
        inputs, spikes = golden["X"].swapaxes(0, 1), golden["spk_output"].swapaxes(0, 1)
        assert spikes.any() or not golden["out_spike_count"].any()
    outputs, _ = Interpreter(imported.graph).run({"x": inputs.astype(np.float32)})
    np.testing.assert_array_equal(outputs["y"], spikes.astype(bool))
    assert imported.report.spikes_differing == 0
    assert imported.assumed["readout"] == "spike_count"


def test_spike_counts_of_the_trained_braille_model_are_reproduced_exactly(shared: Path) -> None:
    path = shared / "golden" / "l2mu_trained_braille7.npz"
    imported = import_file(path)
    with np.load(path) as golden:
        outputs, _ = Interpreter(imported.graph).run({"x": golden["X"][:SAMPLES].astype(np.float32)})
        np.testing.assert_array_equal(outputs["y"].sum(axis=1), golden["out_spike_count"][:SAMPLES])
        np.testing.assert_array_equal(outputs["y"][0], golden["spk_output_sample0"].astype(bool))
