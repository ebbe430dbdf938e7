
/*
 * What a unit test needs: numbered checks in TAP, and a malloc() that fails
 * when told to.  Each test is one program; the linker sends the allocations
 * of the core here (--wrap), jansson is asked to send its own.
 */


#ifndef UNIT_H
#define UNIT_H


#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry_types.h"


#define UNIT_MAYBE_UNUSED  __attribute__((unused))

#define unit_count(array)  (sizeof(array) / sizeof((array)[0]))


static int  unit_checks;
static int  unit_failures;

/* allocations since unit_fail_at(), and which of them fails; 0 is none */

static long  unit_allocations;
static long  unit_failing;

/* the failed allocation was jansson's */

static int   unit_failed_json;


void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);


UNIT_MAYBE_UNUSED static int
unit_ok(int good, const char *format, ...)
{
    va_list  args;

    unit_checks++;

    if (!good) {
        unit_failures++;
    }

    printf("%sok %d - ", good ? "" : "not ", unit_checks);

    va_start(args, format);
    vprintf(format, args);
    va_end(args);

    printf("\n");

    return good;
}


/* names are printed as they are: only for text without line breaks */

UNIT_MAYBE_UNUSED static int
unit_is(const char *got, const char *expected, const char *name)
{
    int  good;

    good = got != NULL && strcmp(got, expected) == 0;

    if (!unit_ok(good, "%s", name)) {
        printf("# got:      %s\n# expected: %s\n", got ? got : "(null)",
               expected);
    }

    return good;
}


UNIT_MAYBE_UNUSED static int
unit_is_number(long long got, long long expected, const char *name)
{
    if (!unit_ok(got == expected, "%s", name)) {
        printf("# got:      %lld\n# expected: %lld\n", got, expected);
    }

    return got == expected;
}


UNIT_MAYBE_UNUSED static int
unit_done(void)
{
    printf("1..%d\n", unit_checks);

    return unit_failures != 0;
}


/*
 * A copy that ends where its memory ends, so that a sanitizer or valgrind
 * sees a read behind it.  To be freed by the caller.
 */

UNIT_MAYBE_UNUSED static registry_str_t
unit_bytes(const void *data, size_t len)
{
    char            *copy;
    registry_str_t   s;

    copy = __real_malloc(len ? len : 1);
    if (copy == NULL) {
        abort();
    }

    if (len) {
        memcpy(copy, data, len);
    }

    s.data = copy;
    s.len = len;

    return s;
}


UNIT_MAYBE_UNUSED static registry_str_t
unit_text(const char *text)
{
    return unit_bytes(text, strlen(text));
}


UNIT_MAYBE_UNUSED static void
unit_free(registry_str_t s)
{
    free((char *) s.data);
}


UNIT_MAYBE_UNUSED static void
unit_fail_at(long n)
{
    unit_allocations = 0;
    unit_failing = n;
    unit_failed_json = 0;
}


UNIT_MAYBE_UNUSED static void *
unit_json_malloc(size_t size)
{
    if (++unit_allocations == unit_failing) {
        unit_failed_json = 1;
        return NULL;
    }

    return __real_malloc(size);
}


void *
__wrap_malloc(size_t size)
{
    return ++unit_allocations == unit_failing ? NULL : __real_malloc(size);
}


void *
__wrap_calloc(size_t n, size_t size)
{
    return ++unit_allocations == unit_failing ? NULL
                                              : __real_calloc(n, size);
}


void *
__wrap_realloc(void *p, size_t size)
{
    return ++unit_allocations == unit_failing ? NULL
                                              : __real_realloc(p, size);
}


/* jansson's shared object is not wrapped */

UNIT_MAYBE_UNUSED static void
unit_wrap_json(void)
{
    json_set_alloc_funcs(unit_json_malloc, free);
}


#endif /* UNIT_H */
