/* The loop that a firmware has around a step: write the input, call, take the output. The clock is outside. */
#include <stdint.h>

typedef int (*ek_bench_step)(void *model, const float *x, float *y);

/* Runs `steps` steps round a stimulus of `rows` rows; y moves on by `y_stride` floats a step (0: stays). Returns the
   code of the first step that was refused, else 0. */
int ek_bench_loop(ek_bench_step step, void *model, uint32_t steps, const float *stimulus, uint32_t rows,
                  uint32_t width, float *x, float *y, uint32_t y_stride)
{
    uint32_t row = 0;
    for (uint32_t t = 0; t < steps; t++) {
        const float *from = stimulus + (uint64_t)row * width;
        for (uint32_t i = 0; i < width; i++)
            x[i] = from[i];
        int code = step(model, x, y);
        if (code)
            return code;
        y += y_stride;
        row = row + 1 == rows ? 0 : row + 1;
    }
    return 0;
}

typedef int (*ek_bench_entry)(void *model, const void *from, void *to);

/* The same for a program that computes with integers: x is quantised into xq before a step, yq dequantised into y after
   it, by the program's own entries. */
int ek_bench_integer_loop(ek_bench_entry quantize, ek_bench_entry step, ek_bench_entry dequantize, void *model,
                          uint32_t steps, const float *stimulus, uint32_t rows, uint32_t width, float *x, void *xq,
                          void *yq, float *y, uint32_t y_stride)
{
    uint32_t row = 0;
    for (uint32_t t = 0; t < steps; t++) {
        const float *from = stimulus + (uint64_t)row * width;
        for (uint32_t i = 0; i < width; i++)
            x[i] = from[i];
        int code = quantize(model, x, xq);
        if (!code)
            code = step(model, xq, yq);
        if (!code)
            code = dequantize(model, yq, y);
        if (code)
            return code;
        y += y_stride;
        row = row + 1 == rows ? 0 : row + 1;
    }
    return 0;
}
