// The interface of the pool of threads; see pool.c.
#pragma once
#include <stdint.h>

#define MAX_ARGUMENTS 24
#define COUNT (-1)  // the step of an argument that is the number of rows

// One argument of a loop, as in its parameters: an array, a number of elements, or a real number.
typedef union {
    char *pointer;
    int64_t count;
    float number;
} Argument;

// Calls one loop with its arguments; generated for each by compiled.py.
typedef void Call(const Argument *);
