
/*
 * Query strings, percent-encoding, and the Link header that carries a query
 * to the next page (RFC 3986, RFC 8288).
 */


#ifndef REGISTRY_QUERY_H
#define REGISTRY_QUERY_H


#include "registry_types.h"


/*
 * Takes the next "name=value" off *rest.  Both stay encoded and point into
 * the query; a parameter without "=" has an empty value.  Empty parameters
 * ("a=1&&b=2") are passed over.  Returns 1, or 0 at the end.
 */

int registry_query_next(registry_str_t *rest, registry_str_t *name,
    registry_str_t *value);

/*
 * Decodes %XX, and only that: "+" stays, since media types hold it.
 * Writes at most size bytes, sets *len; nothing is terminated.
 * REGISTRY_INVALID for a broken escape, an encoded or plain control
 * character (below 0x20, or 0x7f), or a result longer than size.
 */

registry_status_e registry_query_decode(registry_str_t in, char *buf,
    size_t size, size_t *len);

/*
 * The first parameter of that name, decoded.  REGISTRY_DECLINED if there is
 * none; otherwise as registry_query_decode().
 */

registry_status_e registry_query_find(registry_str_t query, const char *name,
    char *buf, size_t size, size_t *len);

/*
 * Decimal digits only, nothing else; saturates at UINT64_MAX.
 * REGISTRY_INVALID for anything else, and for no digit at all.
 */

registry_status_e registry_decimal_parse(registry_str_t in, uint64_t *value);

/* what a hexadecimal digit in either case stands for, or -1 */

int registry_hex_value(char c);

/*
 * Encodes all but RFC 3986's unreserved characters and ":", "/".  Writes at
 * most 3 * in.len bytes, returns how many.
 */

size_t registry_query_encode(registry_str_t in, char *buf);


#endif /* REGISTRY_QUERY_H */
