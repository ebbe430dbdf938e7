
/*
 * Limits of requests.
 */


#include "registry_ratelimit.h"
#include "unit.h"


typedef struct {
    const char  *text;
    long         requests;      /* -1: it is not valid */
    long         window;
} limit_t;


static const limit_t  limits[] = {
    { "100;w=21600", 100, 21600 },
    { "100", 100, 0 },
    { "0;w=21600", 0, 21600 },
    { "100; w=60", 100, 60 },
    { "100 ; w=60", 100, 60 },
    { "100;comment=\"w\";w=60", 100, 60 },
    { "100;;;w=60;w=70", 100, 60 },
    { "10, 10;w=1, 1000;w=3600", 10, 0 },
    { "10;w=1, 1000;w=3600", 10, 1 },
    { "10;w=", 10, 0 },
    { "10;w", 10, 0 },
    { "10;w=x", 10, 0 },
    { "10;w=5x", 10, 0 },
    { "10;", 10, 0 },
    { "999999999", 999999999, 0 },
    { "1000000000;w=18446744073709551617", 999999999, 999999999 },
    { "00000000000000000000000000000000007", 7, 0 },
    { "", -1, 0 },
    { ";w=1", -1, 0 },
    { "-1", -1, 0 },
    { " 1", -1, 0 },
    { "1a", -1, 0 },
    { "1.5", -1, 0 },
    { "unlimited", -1, 0 }
};


int
main(void)
{
    int                    good;
    size_t                 i;
    registry_str_t         value;
    registry_status_e      status;
    registry_ratelimit_t   limit;

    for (i = 0; i < unit_count(limits); i++) {
        value = unit_text(limits[i].text);

        status = registry_ratelimit_parse(value, &limit);

        if (limits[i].requests == -1) {
            good = (status == REGISTRY_INVALID);

        } else {
            good = (status == REGISTRY_OK
                    && limit.requests == (uint32_t) limits[i].requests
                    && limit.window == (uint32_t) limits[i].window);
        }

        unit_ok(good, "\"%s\"", limits[i].text);

        unit_free(value);
    }

    return unit_done();
}
