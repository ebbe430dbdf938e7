
/*
 * UTF-8.
 */


#include "registry_utf8.h"
#include "unit.h"


typedef struct {
    const char  *text;
    size_t       len;
    size_t       expected;
} utf8_t;


static const utf8_t  cases[] = {
    { "a", 1, 1 },
    { "\0", 1, 1 },
    { "\x7f", 1, 1 },
    { "\x80", 1, 0 },
    { "\xbf\x80", 2, 0 },
    { "\xc1\xbf", 2, 0 },               /* overlong */
    { "\xc2\x80", 2, 2 },
    { "\xc2", 1, 0 },
    { "\xc2" "a", 2, 0 },
    { "\xdf\xbf.", 3, 2 },
    { "\xe0\x9f\xbf", 3, 0 },           /* overlong */
    { "\xe0\xa0\x80", 3, 3 },
    { "\xe0\xa0", 2, 0 },
    { "\xed\x9f\xbf", 3, 3 },
    { "\xed\xa0\x80", 3, 0 },           /* a surrogate */
    { "\xef\xbf\xbd", 3, 3 },
    { "\xef\xbf\xc0", 3, 0 },
    { "\xf0\x8f\xbf\xbf", 4, 0 },       /* overlong */
    { "\xf0\x90\x80\x80", 4, 4 },
    { "\xf4\x8f\xbf\xbf", 4, 4 },
    { "\xf4\x90\x80\x80", 4, 0 },       /* above U+10FFFF */
    { "\xf4\x8f\xbf", 3, 0 },
    { "\xf5\x80\x80\x80", 4, 0 },
    { "\xff", 1, 0 }
};


int
main(void)
{
    size_t          i;
    registry_str_t  s;

    for (i = 0; i < unit_count(cases); i++) {
        s = unit_bytes(cases[i].text, cases[i].len);

        unit_ok(registry_utf8_length((const unsigned char *) s.data, s.len)
                == cases[i].expected,
                "case %d", (int) i);

        unit_free(s);
    }

    return unit_done();
}
