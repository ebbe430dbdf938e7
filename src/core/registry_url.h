
/*
 * URLs that other servers name, in a Location or a realm, and the addresses
 * their hosts have: RFC 3986, RFC 9110 section 4.2.
 */


#ifndef REGISTRY_URL_H
#define REGISTRY_URL_H


#include "registry_types.h"


#define REGISTRY_URL_MAX   8192         /* bytes */
#define REGISTRY_HOST_MAX  255          /* bytes */
#define REGISTRY_URL_SHOWN 256          /* bytes */


/*
 * All of it points into the text that was parsed, the path "/" of a URL that
 * has none excepted, which is static.
 */

typedef struct {
    registry_str_t  host;               /* as it is spelt, without brackets */
    uint16_t        port;               /* as given, or the scheme's */

    unsigned        https:1;
    unsigned        ipv6:1;             /* the host was in brackets */
    unsigned        default_port:1;     /* the port is the scheme's */

    registry_str_t  authority;          /* for Host: a port if one is given */
    registry_str_t  path;               /* with the query: "/a/b?c" */
} registry_url_t;


/*
 * An absolute URL of http or https; a fragment is left out.
 *
 * REGISTRY_UNSUPPORTED for another scheme, and for a query that follows the
 * host without a "/" between them: registry_url_resolve() writes the "/".
 *
 * REGISTRY_INVALID for anything else: longer than REGISTRY_URL_MAX, with
 * userinfo, a port that is not in 1..65535, a byte that is not visible ASCII;
 * a host that is not made of letters, digits, ".", "-" and "_", or ends in a
 * number and is no IPv4 address in its usual form ("127.1", "0x7f000001").
 */

registry_status_e registry_url_parse(registry_str_t in, registry_url_t *url);

/*
 * The URL that a reference means, RFC 3986 section 5.2: absolute, "//host/..",
 * "/path", "?query", or relative to the base's path; dot segments removed.
 * The text is written to buf, which must not overlap the base or the
 * reference, and url points there.  The base may be NULL, then the reference
 * must be absolute.  Errors are those of registry_url_parse(), and
 * REGISTRY_INVALID for a result that is longer than size before its dot
 * segments are removed.
 */

registry_status_e registry_url_resolve(const registry_url_t *base,
    registry_str_t reference, char *buf, size_t size, registry_url_t *url);

/* scheme, host (without regard to case) and port: returns 1 or 0 */

int registry_url_same_origin(const registry_url_t *a,
    const registry_url_t *b);

/*
 * What may be logged of a URL, a reference or a path, valid or not: without
 * the query, which may be a signature, and the userinfo, and no more than
 * REGISTRY_URL_SHOWN bytes.
 */

registry_str_t registry_url_shown(registry_str_t in);

/*
 * Returns 0 for a public unicast address, 1 for any other: loopback, private,
 * shared (RFC 6598), link-local, multicast, for documentation or tests,
 * reserved; also for an IPv6 address that carries such an IPv4 address
 * (mapped, compatible, 64:ff9b::/96, 6to4).  The address is 4 or 16 bytes in
 * network order; with another length the answer is 1.
 */

int registry_address_private(const unsigned char *addr, size_t len);


#endif /* REGISTRY_URL_H */
