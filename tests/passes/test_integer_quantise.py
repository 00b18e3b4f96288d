"""Quantisation of small graphs, before and expected in text form; scales are left out of the text."""

from __future__ import annotations

import re
from textwrap import dedent

import numpy as np
import pytest
from cases import read

from edgekit.compress.calibrate import calibrate
from edgekit.compress.integer import quantise_program
from edgekit.compress.recipes import RECIPES
from edgekit.ir import SPIKE, to_text

WEIGHTS = {"w": [[1.0, -0.5, 0.25], [0.5, 0.75, -1.0]]}
CASES = {
    "a spiking population: weights in int16 sums, the threshold a whole number, decay by one Q15 product": (
        """
        graph lif
        const %w float32[2,3]
        const %beta float32[] = [0.5]
        const %threshold float32[] = [1.0]
        const %zero float32[] = [0.0]
        state %u float32[2] reset zero
        entry step
          in %s spike[3]
          %decayed float32[2] = mul %beta %u
          %current float32[2] = linear %s %w %decayed
          %fired spike[2] = gt %u %threshold
          %reset float32[2] = where %fired %threshold %zero
          %next float32[2] = sub %current %reset
          %y spike[2] = gt %next %threshold
          update %u %next
          out %y
        """,
        """
        graph lif
        const %next/part/times int16[] = [16384]
        const %w.int8 int8[2,3]
        const %next/on int16[] = [-127]
        const %next/off int16[] = [0]
        const %fired/level int16[] = [127]
        state %u int16[2] reset zero
        entry step
          in %s spike[3]
          %next/part int16[2] = rescale %u %next/part/times {"shift": 15, "to": "int16"}
          %next/part2 int16[2] = linear %s %w.int8 {"accumulate": "int16"}
          %next/total int16[2] = add %next/part %next/part2 {"saturate": true}
          %fired spike[2] = gt %u %fired/level
          %next/part3 int16[2] = where %fired %next/on %next/off
          %next int16[2] = add %next/total %next/part3 {"saturate": true}
          %y spike[2] = gt %next %fired/level
          update %u %next
          out %y
        entry quantize
          in %s.raw float32[3]
          %s.quantized spike[3] = cast %s.raw {"to": "spike"}
          out %s.quantized
        entry dequantize
          in %y.stored spike[2]
          %y.real float32[2] = cast %y.stored {"to": "float32"}
          out %y.real
        """,
    ),
    "a hidden layer comes out as int8 with its zero at -128, which the next layer's bias takes up": (
        """
        graph dense
        const %w float32[2,3]
        const %c float32[2] = [0.5, -0.25]
        const %v float32[1,2] = [1.0, 0.5]
        entry step
          in %x float32[3]
          %a float32[2] = linear %x %w %c
          %h float32[2] = relu %a
          %y float32[1] = linear %h %v
          out %y
        """,
        """
        graph dense
        const %a/bias int32[2] = [-7401116, -96962738]
        const %w.int16 int16[2,3]
        const %h/times int32[] = [4096]
        const %y/bias int32[1] = [6291200]
        const %v.int16 int16[1,2] = [32767, 16383]
        const %y/times int32[] = [4210752]
        const %x.offset float32[] = [0.0]
        const %x.gain float32[3] = [32767.0, 35887.6640625, 32767.0]
        const %y.real.scale float32[] = [6.833492807345465e-05]
        entry step
          in %x int16[3]
          %a/sum int32[2] = linear %x %w.int16 %a/bias {"accumulate": "int32"}
          %h int8[2] = rescale %a/sum %h/times {"shift": 31, "to": "int8"}
          %y/sum int32[1] = linear %h %v.int16 %y/bias {"accumulate": "int32"}
          %y int16[1] = rescale %y/sum %y/times {"shift": 31, "to": "int16"}
          out %y
        entry quantize
          in %x.raw float32[3]
          %x.quantized int16[3] = quantize %x.raw %x.offset %x.gain {"to": "int16"}
          out %x.quantized
        entry dequantize
          in %y.stored int16[1]
          %y.real float32[1] = dequantize %y.stored %y.real.scale
          out %y.real
        """,
    ),
    "a slow memory is int32, and what it feeds is rounded to int16 once": (
        """
        graph memory
        const %a float32[2] = [0.9, 0.999]
        const %w float32[2,3]
        state %m float32[2] reset zero
        entry step
          in %x float32[3]
          %kept float32[2] = mul %m %a
          %next float32[2] = linear %x %w %kept
          %y float32[2] = tanh %next
          update %m %next
          out %y
        """,
        """
        graph memory
        const %next/part/times int32[2] = [1932735232, 2145336192]
        const %w.int16 int16[2,3]
        const %next/part2/times int32[2] = [724741849, 792064289]
        const %next/uniform/times int32[] = [65534]
        const %y/table int16[513]
        const %x.offset float32[] = [0.0]
        const %x.gain float32[3] = [32767.0, 35887.6640625, 32767.0]
        const %y.real.scale float32[] = [3.0518509447574615e-05]
        state %m int32[2] reset zero
        entry step
          in %x int16[3]
          %next/part int32[2] = rescale %m %next/part/times {"shift": 31, "to": "int32"}
          %next/sum int32[2] = linear %x %w.int16 {"accumulate": "int32"}
          %next/part2 int32[2] = rescale %next/sum %next/part2/times {"shift": 31, "to": "int32"}
          %next int32[2] = add %next/part %next/part2 {"saturate": true}
          %next/uniform int16[2] = rescale %next %next/uniform/times {"shift": 31, "to": "int16"}
          %y int16[2] = lookup %next/uniform %y/table
          update %m %next
          out %y
        entry quantize
          in %x.raw float32[3]
          %x.quantized int16[3] = quantize %x.raw %x.offset %x.gain {"to": "int16"}
          out %x.quantized
        entry dequantize
          in %y.stored int16[2]
          %y.real float32[2] = dequantize %y.stored %y.real.scale
          out %y.real
        """,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_quantisation_of_a_small_graph(case: str) -> None:
    before, expected = CASES[case]
    graph = read(before, WEIGHTS)
    (name,) = graph.entries["step"].inputs
    x = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 4, 3)
    if graph.tensors[name].dtype is SPIKE:
        x = (np.arange(24).reshape(2, 4, 3) % 2).astype(bool)
    untouched = to_text(graph)
    made = quantise_program(graph, calibrate(graph, {name: x}), RECIPES["int8"]).graph
    assert re.sub(r" quant \{.*?\}", "", to_text(made)) == dedent(expected).strip() + "\n"
    assert to_text(graph) == untouched
