// Functions that the compiler can vectorise, used by the loops of this folder.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

// The first number among a loop's parameters is that of its rows. An array has an entry for each
// row, or is SHARED: then all rows use the whole of it. compiled.py reads this.
#define SHARED

// e^x, with a relative error of at most 2e-7: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2].
// Infinity above 88.3, and 0 below -87.3, where the result would not be a normal number.
static inline float exp_(float x) {
    float limited = x < -87.33f ? -87.33f : x;
    limited = limited > 88.37f ? 88.37f : limited;
    float n = rintf(limited * 1.44269504f);
    float r = limited - n * 0.693359375f + n * 2.12194440e-4f;  // ln 2 in two parts
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    int32_t bits = (int32_t)((uint32_t)((int32_t)n + 127) << 23);
    float power;
    memcpy(&power, &bits, sizeof power);
    float y = (p * r * r + r + 1.0f) * power;
    y = x > 88.37f ? INFINITY : y;
    return x < -87.33f ? 0.0f : y;
}
