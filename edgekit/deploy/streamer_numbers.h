/* Numbers in a line of text. Up to 15 digits are read as exactly as a number can be; of what more there are, the last
 * bit of a double may differ. */
#ifndef EK_STREAMER_NUMBERS_H
#define EK_STREAMER_NUMBERS_H

#include "measurer_system.h"

static word blanks(const char *text, word size, word at) {
    while (at < size && (text[at] == ' ' || text[at] == '\t' || text[at] == '\r')) at++;
    return at;
}

/* Past one comma or semicolon, or blanks; what must come between two numbers. */
static word separator(const char *text, word size, word at) {
    at = blanks(text, size, at);
    return at < size && (text[at] == ',' || text[at] == ';') ? at + 1 : at;
}

static int is_digit(char c) { return c >= '0' && c <= '9'; }

static double scaled(double x, int exponent) {
    static const double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    while (exponent > 22 && x - x == 0) x *= 1e22, exponent -= 22;
    while (exponent < -22 && x != 0) x /= 1e22, exponent += 22;
    if (exponent > 22 || exponent < -22) return x; /* Inf or 0 already */
    return exponent < 0 ? x / TENS[-exponent] : x * TENS[exponent];
}

/* A decimal number that ends at a separator or with the line: where it ends, 0 for what is none. */
static word number(const char *text, word size, word at, float *value) {
    enum { FAR = 10000 };
    double digits = 0;
    int negative = 0, any = 0, exponent = 0, given = 0, below = 0;
    if (at < size && (text[at] == '-' || text[at] == '+')) negative = text[at++] == '-';
    for (; at < size && (is_digit(text[at]) || (text[at] == '.' && !below)); at++) {
        if (text[at] == '.') {
            below = 1;
            continue;
        }
        any = 1;
        if (digits < 1e17) {
            digits = digits * 10 + (text[at] - '0');
            exponent -= below;
        } else if (!below && exponent < FAR) {
            exponent++;
        }
    }
    if (!any) return 0;
    if (at < size && (text[at] == 'e' || text[at] == 'E')) {
        int down = 0;
        at++;
        if (at < size && (text[at] == '-' || text[at] == '+')) down = text[at++] == '-';
        if (at == size || !is_digit(text[at])) return 0;
        for (; at < size && is_digit(text[at]); at++) {
            if (given < FAR) given = 10 * given + (text[at] - '0');
        }
        exponent += down ? -given : given;
    }
    if (at < size && text[at] != ',' && text[at] != ';' && blanks(text, size, at) == at) return 0;
    digits = scaled(digits, exponent);
    *value = (float)(negative ? -digits : digits);
    return at;
}

#endif
