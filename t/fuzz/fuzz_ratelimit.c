
/*
 * Limits of requests, as registries say them.
 */


#include "fuzz.h"
#include "registry_ratelimit.h"


/* written again, it says the same */

static void
check_again(const registry_ratelimit_t *limit)
{
    char                  text[64];
    registry_ratelimit_t  again;

    snprintf(text, sizeof(text), "%u;w=%u", (unsigned) limit->requests,
             (unsigned) limit->window);

    fuzz_check(registry_ratelimit_parse(fuzz_text(text), &again)
               == REGISTRY_OK);
    fuzz_check(again.requests == limit->requests
               && again.window == limit->window);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    registry_ratelimit_t  limit;

    if (registry_ratelimit_parse(fuzz_str(data, size), &limit)
        != REGISTRY_OK)
    {
        return 0;
    }

    fuzz_check(data[0] >= '0' && data[0] <= '9');
    fuzz_check(limit.requests <= REGISTRY_RATELIMIT_MAX);
    fuzz_check(limit.window <= REGISTRY_RATELIMIT_MAX);

    check_again(&limit);

    return 0;
}
