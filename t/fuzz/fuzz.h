
/*
 * What the fuzz targets share.  A property that does not hold ends the
 * program, also without sanitizers.
 */


#ifndef FUZZ_H
#define FUZZ_H


#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry_types.h"


#define fuzz_check(condition)                                                 \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__,  \
                    #condition);                                              \
            abort();                                                          \
        }                                                                     \
    } while (0)


int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static inline registry_str_t
fuzz_str(const void *data, size_t len)
{
    registry_str_t  s;

    s.data = data;
    s.len = len;

    return s;
}


static inline registry_str_t
fuzz_text(const char *text)
{
    return fuzz_str(text, strlen(text));
}


/* takes the first line off the input, without its end */

static inline registry_str_t
fuzz_line(registry_str_t *rest)
{
    size_t          n;
    registry_str_t  line;

    for (n = 0; n < rest->len && rest->data[n] != '\n'; n++) {
        /* void */
    }

    line = fuzz_str(rest->data, n);

    if (n < rest->len) {
        n++;
    }

    *rest = fuzz_str(rest->len ? rest->data + n : rest->data, rest->len - n);

    return line;
}


/* whether a part lies within the whole */

static inline int
fuzz_inside(registry_str_t part, registry_str_t whole)
{
    return part.data >= whole.data
           && part.data + part.len <= whole.data + whole.len;
}


#endif /* FUZZ_H */
