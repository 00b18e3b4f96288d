"""exp, log, tanh, sigmoid, erf, sin, cos against double precision: worst error in ulp, and special values."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from edgekit.backends.c.program import kernel_files

# Worst error in units in the last place that kernels/math.h promises; a result below the smallest normal float is 0.
WORST = {"exp": 1.1, "log": 1.0, "tanh": 1.4, "sigmoid": 2.5, "erf": 1.5, "sin": 2.5, "cos": 2.5}
WORST |= {"floor": 0.0, "round": 0.0}  # to the bit, the sign of zero too

# The test program is hosted C: it may use libm, as the truth in double precision.
SOURCE = r"""
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ek/math.h"

static double sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
#define APPLY(F) \
    static void run_##F(float *y, const float *x) { \
        int i; \
        for (i = 0; i < 64; i += EK_W) ek_store(y + i, ek_##F(ek_load(x + i))); \
    }
APPLY(exp) APPLY(log) APPLY(tanh) APPLY(sigmoid) APPLY(erf) APPLY(sin) APPLY(cos) APPLY(floor) APPLY(round)
/* the bits of both, but any NaN equals any other */
static int same(float a, float b) { return (isnan(a) && isnan(b)) || memcmp(&a, &b, 4) == 0; }
static void exactly(const char *name, void (*fast)(float *, const float *), float (*exact)(float), uint64_t stride) {
    uint64_t bits, wrong = 0;
    float where = 0;
    int i;
    for (bits = 0; bits < 0x100000000ull; bits += 64 * stride) {
        float x[64], y[64];
        for (i = 0; i < 64; ++i) { const uint32_t b = (uint32_t)(bits + i * stride); memcpy(x + i, &b, 4); }
        fast(y, x);
        for (i = 0; i < 64; ++i)
            if (!same(y[i], exact(x[i]))) ++wrong, where = x[i];
    }
    printf("%s 0 %.9g %llu\n", name, where, (unsigned long long)wrong);
}

int main(int argc, char **argv) {
    const char *names[] = {"exp", "log", "tanh", "sigmoid", "erf", "sin", "cos"};
    void (*const fast[])(float *, const float *) = {run_exp, run_log, run_tanh, run_sigmoid, run_erf, run_sin, run_cos};
    double (*const exact[])(double) = {exp, log, tanh, sigmoid, erf, sin, cos};
    const uint64_t stride = strtoull(argv[argc - 1], 0, 10);
    int f, i;
    printf("%s\n", EK_ISA);
    for (f = 0; f < 7; ++f) {
        double worst = 0, where = 0;
        uint64_t bits, wrong = 0;
        for (bits = 0; bits < 0x100000000ull; bits += 64 * stride) {
            float x[64], y[64];
            for (i = 0; i < 64; ++i) { const uint32_t b = (uint32_t)(bits + i * stride); memcpy(x + i, &b, 4); }
            fast[f](y, x);
            for (i = 0; i < 64; ++i) {
                const double t = exact[f](x[i]);
                if (isnan(t)) { wrong += !isnan(y[i]); continue; }
                if (fabs(t) > 3.4028235677973366e38) { wrong += y[i] != (t > 0 ? INFINITY : -INFINITY); continue; }
                if (fabs(t) < 1.1754943508222875e-38 && y[i] == 0) continue;
                if (fpclassify(y[i]) == FP_SUBNORMAL || !isfinite(y[i])) { ++wrong; continue; }
                {
                    const double size = fabs(t) < 1.1754943508222875e-38 ? 1.1754943508222875e-38 : fabs(t);
                    const double error = fabs(y[i] - t) / ldexp(1, ilogb(size) - 23);
                    if (error > worst) worst = error, where = x[i];
                }
            }
        }
        printf("%s %.9g %.9g %llu\n", names[f], worst, where, (unsigned long long)wrong);
    }
    exactly("floor", run_floor, floorf, stride);
    exactly("round", run_round, rintf, stride);
    return 0;
}
"""


def worst_errors(folder: Path, flags: tuple[str, ...], stride: int) -> dict[str, tuple[float, float, int]]:
    for name, text in {**kernel_files(), "main.c": SOURCE}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    command = ["gcc", "-std=c99", "-O2", "-ffp-contract=off", *flags, "-I", ".", "main.c", "-o", "main", "-lm"]
    subprocess.run(command, cwd=folder, check=True, timeout=120)
    out = subprocess.run([folder / "main", str(stride)], capture_output=True, text=True, check=True)
    rows = [line.split() for line in out.stdout.splitlines()[1:]]
    return {name: (float(worst), float(where), int(wrong)) for name, worst, where, wrong in rows}


def check(errors: dict[str, tuple[float, float, int]]) -> None:
    assert errors.keys() == WORST.keys()
    for name, (worst, where, wrong) in errors.items():
        print(f"{name}: {worst:.4f} ulp at {where}")
        assert wrong == 0, f"{name}: {wrong} special values are wrong"
        assert worst <= WORST[name], f"{name}: {worst} ulp at {where}"


@pytest.mark.parametrize("flags", [("-march=native",), ("-DEK_FORCE_PORTABLE",)], ids=["native", "portable"])
def test_worst_error_on_a_sample_of_all_floats(tmp_path: Path, flags: tuple[str, ...]) -> None:
    check(worst_errors(tmp_path, flags, stride=4099))


@pytest.mark.slow
@pytest.mark.skipif("EDGEKIT_SWEEPS" not in os.environ, reason="takes ten minutes: set EDGEKIT_SWEEPS=1")
@pytest.mark.parametrize("flags", [("-march=native",), ("-DEK_FORCE_PORTABLE",)], ids=["native", "portable"])
def test_worst_error_over_all_floats(tmp_path: Path, flags: tuple[str, ...]) -> None:
    check(worst_errors(tmp_path, flags, stride=1))
