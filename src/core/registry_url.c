
/*
 * URLs and public addresses.  Nothing is allocated or resolved; who may be
 * connected to is for the caller to decide.
 */


#include <string.h>
#include <strings.h>

#include "registry_query.h"
#include "registry_url.h"


/* the path is in three: a relative one has the directory of the base */

typedef struct {
    registry_url_t   url;
    registry_str_t   directory;
    registry_str_t   query;             /* with its "?" */
} registry_url_parts_t;


typedef struct {
    uint32_t         prefix;
    unsigned         bits;
} registry_network_t;


/* the IANA special-purpose registries, and multicast and reserved space */

static const registry_network_t  registry_private4[] = {
    { 0x00000000, 8 },                  /* 0.0.0.0, this network */
    { 0x0a000000, 8 },                  /* 10.0.0.0 */
    { 0x64400000, 10 },                 /* 100.64.0.0, shared */
    { 0x7f000000, 8 },                  /* 127.0.0.0, loopback */
    { 0xa9fe0000, 16 },                 /* 169.254.0.0, link-local */
    { 0xac100000, 12 },                 /* 172.16.0.0 */
    { 0xc0000000, 24 },                 /* 192.0.0.0, protocols */
    { 0xc0000200, 24 },                 /* 192.0.2.0, documentation */
    { 0xc0586300, 24 },                 /* 192.88.99.0, 6to4 relays */
    { 0xc0a80000, 16 },                 /* 192.168.0.0 */
    { 0xc6120000, 15 },                 /* 198.18.0.0, benchmarks */
    { 0xc6336400, 24 },                 /* 198.51.100.0, documentation */
    { 0xcb007100, 24 },                 /* 203.0.113.0, documentation */
    { 0xe0000000, 3 }                   /* 224.0.0.0, multicast, reserved */
};


/* in 2000::/3, outside of which no unicast address is public */

static const registry_network_t  registry_private6[] = {
    { 0x20010000, 23 },                 /* 2001::, protocols */
    { 0x20010db8, 32 },                 /* 2001:db8::, documentation */
    { 0x3ffe0000, 16 },                 /* 3ffe::, given back */
    { 0x3fff0000, 20 }                  /* 3fff::, documentation */
};


/* of 16 bytes, the last 4 are an IPv4 address */

static const unsigned char  registry_embedded4[][12] = {
    { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 },             /* compatible */
    { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff },       /* mapped */
    { 0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0 }     /* NAT64 */
};


static const registry_str_t  registry_schemes[] = {
    registry_str("http://"),
    registry_str("https://")
};


#define registry_array_size(array)  (sizeof(array) / sizeof((array)[0]))


static registry_status_e registry_url_target(const registry_url_t *base,
    registry_str_t reference, registry_url_parts_t *parts);
static int registry_url_text(registry_str_t *in);
static size_t registry_url_scheme(registry_str_t in);
static registry_status_e registry_url_absolute(registry_str_t in,
    size_t scheme, registry_url_parts_t *parts);
static registry_status_e registry_url_hierarchy(registry_str_t in,
    registry_url_parts_t *parts);
static registry_status_e registry_url_authority(registry_str_t in,
    registry_url_t *url);
static registry_status_e registry_url_port(registry_str_t in,
    registry_url_t *url);
static int registry_host_valid(registry_str_t host);
static int registry_host_numeric(registry_str_t host);
static int registry_host_ipv4(registry_str_t host);
static int registry_host_ipv6(registry_str_t host);
static registry_str_t registry_url_query(registry_str_t *path);
static registry_str_t registry_url_directory(registry_str_t path);
static size_t registry_url_normalize(char *path, size_t len);
static int registry_url_put(char **p, const char *end, registry_str_t s);
static int registry_url_starts(registry_str_t in, const char *prefix);
static int registry_network_find(const registry_network_t *networks,
    size_t n, const unsigned char *addr);


registry_status_e
registry_url_parse(registry_str_t in, registry_url_t *url)
{
    size_t                scheme;
    registry_status_e     status;
    registry_url_parts_t  parts;

    if (!registry_url_text(&in)) {
        return REGISTRY_INVALID;
    }

    scheme = registry_url_scheme(in);
    if (scheme == 0) {
        return REGISTRY_INVALID;
    }

    status = registry_url_absolute(in, scheme, &parts);
    if (status != REGISTRY_OK) {
        return status;
    }

    if (parts.url.path.len != 0) {
        parts.url.path.len += parts.query.len;

    } else if (parts.query.len == 0) {
        parts.url.path.data = "/";
        parts.url.path.len = 1;

    } else {
        return REGISTRY_UNSUPPORTED;
    }

    *url = parts.url;

    return REGISTRY_OK;
}


registry_status_e
registry_url_resolve(const registry_url_t *base, registry_str_t reference,
    char *buf, size_t size, registry_url_t *url)
{
    char                  *p, *end, *path;
    registry_str_t         text;
    registry_status_e      status;
    registry_url_parts_t   parts;

    status = registry_url_target(base, reference, &parts);
    if (status != REGISTRY_OK) {
        return status;
    }

    p = buf;
    end = buf + size;

    if (!registry_url_put(&p, end, registry_schemes[parts.url.https])
        || !registry_url_put(&p, end, parts.url.authority))
    {
        return REGISTRY_INVALID;
    }

    path = p;

    if (!registry_url_put(&p, end, parts.directory)
        || !registry_url_put(&p, end, parts.url.path))
    {
        return REGISTRY_INVALID;
    }

    p = path + registry_url_normalize(path, (size_t) (p - path));

    if (!registry_url_put(&p, end, parts.query)) {
        return REGISTRY_INVALID;
    }

    text.data = buf;
    text.len = (size_t) (p - buf);

    return registry_url_parse(text, url);
}


int
registry_url_same_origin(const registry_url_t *a, const registry_url_t *b)
{
    return a->https == b->https
           && a->port == b->port
           && a->ipv6 == b->ipv6
           && a->host.len == b->host.len
           && strncasecmp(a->host.data, b->host.data, a->host.len) == 0;
}


/* what stands before the last "@" may be a password, whatever is in it */

registry_str_t
registry_url_shown(registry_str_t in)
{
    size_t  i;

    for (i = 0; i < in.len; i++) {

        if (in.data[i] == '?' || in.data[i] == '#') {
            in.len = i;
        }
    }

    for (i = in.len; i > 0; i--) {

        if (in.data[i - 1] == '@') {
            in.data += i;
            in.len -= i;
            break;
        }
    }

    if (in.len > REGISTRY_URL_SHOWN) {
        in.len = REGISTRY_URL_SHOWN;
    }

    return in;
}


int
registry_address_private(const unsigned char *addr, size_t len)
{
    size_t  i;

    if (len == 4) {
        return registry_network_find(registry_private4,
                                     registry_array_size(registry_private4),
                                     addr);
    }

    if (len != 16) {
        return 1;
    }

    for (i = 0; i < registry_array_size(registry_embedded4); i++) {

        if (memcmp(addr, registry_embedded4[i], 12) == 0) {
            return registry_address_private(addr + 12, 4);
        }
    }

    if (addr[0] == 0x20 && addr[1] == 0x02) {           /* 6to4 */
        return registry_address_private(addr + 2, 4);
    }

    return (addr[0] & 0xe0) != 0x20
           || registry_network_find(registry_private6,
                                    registry_array_size(registry_private6),
                                    addr);
}


/* RFC 3986 section 5.2.2, but for the dot segments */

static registry_status_e
registry_url_target(const registry_url_t *base, registry_str_t reference,
    registry_url_parts_t *parts)
{
    size_t             scheme;
    registry_status_e  status;

    if (!registry_url_text(&reference)) {
        return REGISTRY_INVALID;
    }

    scheme = registry_url_scheme(reference);

    if (scheme != 0) {
        status = registry_url_absolute(reference, scheme, parts);

    } else if (base == NULL) {
        status = REGISTRY_INVALID;

    } else if (registry_url_starts(reference, "//")) {
        parts->url.https = base->https;
        status = registry_url_hierarchy(reference, parts);

    } else {
        parts->url = *base;
        parts->query = registry_url_query(&parts->url.path);
        parts->directory = registry_url_directory(parts->url.path);

        if (reference.len != 0) {
            parts->query = registry_url_query(&reference);
        }

        if (reference.len != 0) {
            parts->url.path = reference;
        }

        status = REGISTRY_OK;
    }

    if (status == REGISTRY_OK && registry_url_starts(parts->url.path, "/")) {
        parts->directory.len = 0;
    }

    return status;
}


/* cuts the fragment off; whether the rest can be a URL or a reference */

static int
registry_url_text(registry_str_t *in)
{
    size_t         i, len;
    unsigned char  c;

    if (in->len > REGISTRY_URL_MAX) {
        return 0;
    }

    len = in->len;

    for (i = 0; i < in->len; i++) {
        c = (unsigned char) in->data[i];

        if (c <= 0x20 || c >= 0x7f) {
            return 0;
        }

        if (c == '#' && i < len) {
            len = i;
        }
    }

    in->len = len;

    return 1;
}


/* the length of the scheme, or 0 if the reference has none */

static size_t
registry_url_scheme(registry_str_t in)
{
    char    c;
    size_t  i;

    for (i = 0; i < in.len; i++) {
        c = in.data[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
            continue;
        }

        if (c == ':') {
            return i;
        }

        if (i == 0
            || ((c < '0' || c > '9') && c != '+' && c != '-' && c != '.'))
        {
            break;
        }
    }

    return 0;
}


static registry_status_e
registry_url_absolute(registry_str_t in, size_t scheme,
    registry_url_parts_t *parts)
{
    if (scheme == 4 && strncasecmp(in.data, "http", 4) == 0) {
        parts->url.https = 0;

    } else if (scheme == 5 && strncasecmp(in.data, "https", 5) == 0) {
        parts->url.https = 1;

    } else {
        return REGISTRY_UNSUPPORTED;
    }

    in.data += scheme + 1;
    in.len -= scheme + 1;

    return registry_url_hierarchy(in, parts);
}


/* "//authority/path?query"; the scheme is known */

static registry_status_e
registry_url_hierarchy(registry_str_t in, registry_url_parts_t *parts)
{
    size_t          n;
    registry_str_t  authority;

    if (!registry_url_starts(in, "//")) {
        return REGISTRY_INVALID;
    }

    in.data += 2;
    in.len -= 2;

    for (n = 0; n < in.len; n++) {
        if (in.data[n] == '/' || in.data[n] == '?') {
            break;
        }
    }

    authority.data = in.data;
    authority.len = n;

    parts->url.path.data = in.data + n;
    parts->url.path.len = in.len - n;
    parts->query = registry_url_query(&parts->url.path);

    parts->directory.data = "/";
    parts->directory.len = 1;

    return registry_url_authority(authority, &parts->url);
}


static registry_status_e
registry_url_authority(registry_str_t in, registry_url_t *url)
{
    const char      *p;
    registry_str_t   port;

    url->authority = in;
    url->host = in;
    url->ipv6 = registry_url_starts(in, "[");

    p = in.len ? memchr(in.data, url->ipv6 ? ']' : ':', in.len) : NULL;

    port.data = p;
    port.len = p ? in.len - (size_t) (p - in.data) : 0;

    if (url->ipv6) {

        if (p == NULL) {
            return REGISTRY_INVALID;
        }

        url->host.data++;
        url->host.len = (size_t) (p - url->host.data);

        port.data++;
        port.len--;

        if (!registry_host_ipv6(url->host)) {
            return REGISTRY_INVALID;
        }

    } else {
        url->host.len -= port.len;

        if (!registry_host_valid(url->host)) {
            return REGISTRY_INVALID;
        }
    }

    return registry_url_port(port, url);
}


/* nothing, or what begins with ":" */

static registry_status_e
registry_url_port(registry_str_t in, registry_url_t *url)
{
    uint16_t  scheme;
    uint64_t  port;

    scheme = url->https ? 443 : 80;
    port = scheme;

    if (in.len == 1) {
        url->authority.len--;
    }

    if (in.len > 0 && in.data[0] != ':') {
        return REGISTRY_INVALID;
    }

    if (in.len > 1) {
        in.data++;
        in.len--;

        if (registry_decimal_parse(in, &port) != REGISTRY_OK
            || port == 0 || port > 65535)
        {
            return REGISTRY_INVALID;
        }
    }

    url->port = (uint16_t) port;
    url->default_port = port == scheme;

    return REGISTRY_OK;
}


/* labels of letters, digits, "-" and "_"; the last may end in a dot */

static int
registry_host_valid(registry_str_t host)
{
    int     dot;
    char    c;
    size_t  i;

    if (host.len == 0 || host.len > REGISTRY_HOST_MAX) {
        return 0;
    }

    dot = 1;

    for (i = 0; i < host.len; i++) {
        c = host.data[i];

        if (c == '.' && dot) {
            return 0;
        }

        dot = c == '.';

        if (!dot && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
            && (c < '0' || c > '9') && c != '-' && c != '_')
        {
            return 0;
        }
    }

    return !registry_host_numeric(host) || registry_host_ipv4(host);
}


/*
 * Whether the last label is a number.  Some resolvers take "2130706433",
 * "127.1" and "0x7f.1" for addresses, which would pass as names here.
 */

static int
registry_host_numeric(registry_str_t host)
{
    char    c;
    size_t  i, len;

    len = host.len;

    if (host.data[len - 1] == '.') {
        len--;
    }

    for (i = len; i > 0 && host.data[i - 1] != '.'; i--) {
        /* void */
    }

    if (len - i >= 2 && host.data[i] == '0'
        && (host.data[i + 1] == 'x' || host.data[i + 1] == 'X'))
    {
        for (i += 2; i < len; i++) {
            c = host.data[i];

            if ((c < '0' || c > '9') && (c < 'a' || c > 'f')
                && (c < 'A' || c > 'F'))
            {
                return 0;
            }
        }

        return 1;
    }

    for ( /* void */ ; i < len; i++) {

        if (host.data[i] < '0' || host.data[i] > '9') {
            return 0;
        }
    }

    return 1;
}


/* four numbers without leading zeros */

static int
registry_host_ipv4(registry_str_t host)
{
    char      c;
    size_t    i;
    unsigned  n, dots, digits;

    n = 0;
    dots = 0;
    digits = 0;

    for (i = 0; i < host.len; i++) {
        c = host.data[i];

        if (c == '.') {

            if (digits == 0 || ++dots > 3) {
                return 0;
            }

            n = 0;
            digits = 0;
            continue;
        }

        if (c < '0' || c > '9' || (digits != 0 && n == 0)) {
            return 0;
        }

        n = n * 10 + (unsigned) (c - '0');
        digits++;

        if (n > 255) {
            return 0;
        }
    }

    return dots == 3 && digits != 0;
}


/* RFC 4291 section 2.2; no zone, which means nothing on another machine */

static int
registry_host_ipv6(registry_str_t host)
{
    int       gap;
    size_t    n;
    unsigned  groups;

    groups = 0;
    gap = registry_url_starts(host, "::");

    if (gap) {
        host.data += 2;
        host.len -= 2;
    }

    while (host.len != 0) {

        for (n = 0; n < host.len && registry_hex_value(host.data[n]) != -1;
             n++)
        {
            /* void */
        }

        if (n < host.len && host.data[n] == '.') {

            if (!registry_host_ipv4(host)) {
                return 0;
            }

            groups += 2;
            break;
        }

        if (n == 0 || n > 4) {
            return 0;
        }

        groups++;
        host.data += n;
        host.len -= n;

        if (host.len == 0) {
            break;
        }

        if (registry_url_starts(host, "::") && !gap) {
            gap = 1;
            n = 2;

        } else if (host.data[0] == ':' && host.len > 1) {
            n = 1;

        } else {
            return 0;
        }

        host.data += n;
        host.len -= n;
    }

    return gap ? groups < 8 : groups == 8;
}


/* cuts the query off the path, and returns it with its "?" */

static registry_str_t
registry_url_query(registry_str_t *path)
{
    size_t          n;
    registry_str_t  query;

    for (n = 0; n < path->len && path->data[n] != '?'; n++) {
        /* void */
    }

    query.data = path->data + n;
    query.len = path->len - n;

    path->len = n;

    return query;
}


/* up to the last slash, which is included */

static registry_str_t
registry_url_directory(registry_str_t path)
{
    while (path.len > 0 && path.data[path.len - 1] != '/') {
        path.len--;
    }

    return path;
}


/* removes dot segments, in place: RFC 3986 section 5.2.4 */

static size_t
registry_url_normalize(char *path, size_t len)
{
    char    *p, *next, *end, *out;
    size_t   n;

    out = path;
    end = path + len;

    for (p = path; p != end; p = next) {
        next = p + 1;

        while (next != end && *next != '/') {
            next++;
        }

        n = (size_t) (next - p);            /* with the slash before it */

        if (n == 3 && p[1] == '.' && p[2] == '.') {

            while (out != path && *--out != '/') {
                /* void */
            }

        } else if (n != 2 || p[1] != '.') {
            memmove(out, p, n);
            out += n;
            continue;
        }

        if (next == end) {
            *out++ = '/';
        }
    }

    return (size_t) (out - path);
}


static int
registry_url_put(char **p, const char *end, registry_str_t s)
{
    if ((size_t) (end - *p) < s.len) {
        return 0;
    }

    if (s.len != 0) {
        memcpy(*p, s.data, s.len);
        *p += s.len;
    }

    return 1;
}


static int
registry_url_starts(registry_str_t in, const char *prefix)
{
    size_t  len;

    len = strlen(prefix);

    return in.len >= len && memcmp(in.data, prefix, len) == 0;
}


static int
registry_network_find(const registry_network_t *networks, size_t n,
    const unsigned char *addr)
{
    size_t    i;
    uint32_t  first;

    first = (uint32_t) addr[0] << 24 | (uint32_t) addr[1] << 16
            | (uint32_t) addr[2] << 8 | addr[3];

    for (i = 0; i < n; i++) {

        if ((first ^ networks[i].prefix) >> (32 - networks[i].bits) == 0) {
            return 1;
        }
    }

    return 0;
}
