
/*
 * The Content-Range of an upload's chunk: OCI Distribution 1.1, "Pushing a
 * blob in chunks".
 */


#ifndef REGISTRY_RANGE_H
#define REGISTRY_RANGE_H


#include "registry_types.h"


/*
 * "<first>-<last>", both inclusive, last >= first; also in the form of RFC
 * 9110 that some clients send, "bytes <first>-<last>/<size or *>".
 * REGISTRY_INVALID otherwise, also for numbers above INT64_MAX - 1.
 */

registry_status_e registry_content_range_parse(registry_str_t in,
    uint64_t *first, uint64_t *last);


#endif /* REGISTRY_RANGE_H */
