
/*
 * What a registry says of how many requests it takes: the RateLimit-Limit and
 * RateLimit-Remaining fields of Docker Hub and others, as "100;w=21600".
 */


#ifndef REGISTRY_RATELIMIT_H
#define REGISTRY_RATELIMIT_H


#include "registry_types.h"


#define REGISTRY_RATELIMIT_MAX  999999999   /* more than that is that */


typedef struct {
    uint32_t  requests;
    uint32_t  window;       /* seconds, 0 if it is not said */
} registry_ratelimit_t;


/* of several the first; REGISTRY_INVALID if it does not begin with a number */

registry_status_e registry_ratelimit_parse(registry_str_t value,
    registry_ratelimit_t *limit);


#endif /* REGISTRY_RATELIMIT_H */
