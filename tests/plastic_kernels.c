/* The kernels of weights that change, as functions that a test calls with buffers of its own. */
#include "ek/int_core.h"
#include "ek/int_distance.h"
#include "ek/int_plastic.h"

#define SIZES uint32_t rows, uint32_t height, uint32_t width, uint32_t shift
#define GIVEN rows, height, width, shift

EK_EXPORT void call_matvec_16(ek_i16 *y, const ek_i32 *c, const ek_i16 *w, const ek_i16 *x, SIZES);
EK_EXPORT void call_matvec_32(ek_i32 *y, const ek_i32 *c, const ek_i16 *w, const ek_i16 *x, SIZES);
EK_EXPORT void call_matvec_t_16(ek_i16 *y, const ek_i16 *w, const ek_i16 *x, SIZES);
EK_EXPORT void call_matvec_t_32(ek_i32 *y, const ek_i16 *w, const ek_i16 *x, SIZES);
EK_EXPORT void call_outer_add_16(ek_i16 *y, const ek_i16 *w, const ek_i16 *a, const ek_i16 *b, SIZES);

void call_matvec_16(ek_i16 *y, const ek_i32 *c, const ek_i16 *w, const ek_i16 *x, SIZES) {
    ek_matvec_16_16(y, c, w, x, GIVEN);
}
void call_matvec_32(ek_i32 *y, const ek_i32 *c, const ek_i16 *w, const ek_i16 *x, SIZES) {
    ek_matvec_16_32(y, c, w, x, GIVEN);
}
void call_matvec_t_16(ek_i16 *y, const ek_i16 *w, const ek_i16 *x, SIZES) { ek_matvec_t_16(y, w, x, GIVEN); }
void call_matvec_t_32(ek_i32 *y, const ek_i16 *w, const ek_i16 *x, SIZES) { ek_matvec_t_32(y, w, x, GIVEN); }
void call_outer_add_16(ek_i16 *y, const ek_i16 *w, const ek_i16 *a, const ek_i16 *b, SIZES) {
    ek_outer_add_16(y, w, a, b, GIVEN);
}
EK_EXPORT void call_distance_16(ek_i32 *y, const ek_i16 *x, const ek_i16 *w, uint32_t rows, uint32_t height, uint32_t width);
void call_distance_16(ek_i32 *y, const ek_i16 *x, const ek_i16 *w, uint32_t rows, uint32_t height, uint32_t width) {
    ek_distance_16(y, x, w, rows, height, width);
}
