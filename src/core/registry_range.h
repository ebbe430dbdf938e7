
/*
 * Ranges: of an upload's chunk (OCI Distribution 1.1, "Pushing a blob in
 * chunks"), that a client asks for, that another server answers with (RFC
 * 9110 section 14).
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

/*
 * The Content-Range of a 206, RFC 9110 section 14.4: "bytes
 * <first>-<last>/<size or *>"; *size is -1 for "*".  REGISTRY_INVALID
 * otherwise, also for numbers above INT64_MAX - 1.
 */

registry_status_e registry_content_range_answer_parse(registry_str_t in,
    int64_t *first, int64_t *last, int64_t *size);


/* what "Range" asks for: RFC 9110 section 14.1.2 */

typedef struct {
    int64_t  first;             /* -1: so many bytes from the end */
    int64_t  last;              /* -1: up to the end */
} registry_byte_range_t;


/*
 * "bytes=<first>-<last>", "bytes=<first>-" or "bytes=-<count>", the count in
 * last.  Numbers saturate at INT64_MAX.  REGISTRY_DECLINED for several ranges
 * and for another unit, REGISTRY_INVALID for what follows no grammar.
 */

registry_status_e registry_byte_range_parse(registry_str_t in,
    registry_byte_range_t *range);

/*
 * The bytes that a range means of so many, both inclusive.
 * REGISTRY_DECLINED if there are none (416).
 */

registry_status_e registry_byte_range_of(const registry_byte_range_t *range,
    int64_t size, int64_t *first, int64_t *last);


#endif /* REGISTRY_RANGE_H */
