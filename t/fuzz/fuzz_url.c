
/*
 * URLs and references.  The first line of the input is a base, the second a
 * reference; the bytes of the whole are an address, too.
 */


#include <arpa/inet.h>

#include "fuzz.h"
#include "registry_url.h"


static void
check_address(const uint8_t *data, size_t size)
{
    int      private;
    uint8_t  addr[16];

    if (size < 4) {
        fuzz_check(registry_address_private(data, size) == 1);
        return;
    }

    private = registry_address_private(data, 4);
    fuzz_check(private == 0 || private == 1);

    memset(addr, 0, sizeof(addr));
    memcpy(addr + 12, data, 4);
    fuzz_check(registry_address_private(addr, 16) == private);

    memset(addr + 10, 0xff, 2);
    fuzz_check(registry_address_private(addr, 16) == private);

    memcpy(addr, "\x20\x02", 2);
    memcpy(addr + 2, data, 4);
    fuzz_check(registry_address_private(addr, 16) == private);

    if (size >= 16 && (data[0] & 0xe0) != 0x20 && data[0] != 0) {
        fuzz_check(registry_address_private(data, 16) == 1);
    }
}


static void
check_url(const registry_url_t *url)
{
    size_t  i;

    fuzz_check(url->port != 0);
    fuzz_check(url->default_port == (url->port == (url->https ? 443 : 80)));

    fuzz_check(url->host.len != 0 && url->host.len <= REGISTRY_HOST_MAX);
    fuzz_check(fuzz_inside(url->host, url->authority));
    fuzz_check(url->ipv6 == (url->authority.data[0] == '['));
    fuzz_check(url->ipv6 == (memchr(url->host.data, ':', url->host.len)
                             != NULL));

    for (i = 0; i < url->authority.len; i++) {
        fuzz_check(url->authority.data[i] != '\0'
                   && strchr("@/?#\\%", url->authority.data[i]) == NULL);
    }

    fuzz_check(url->path.len != 0 && url->path.data[0] == '/');

    for (i = 0; i < url->path.len; i++) {
        fuzz_check(url->path.data[i] > 0x20 && url->path.data[i] < 0x7f
                   && url->path.data[i] != '#');
    }

    fuzz_check(registry_url_same_origin(url, url));
    fuzz_check(memchr(registry_url_shown(url->path).data, '?',
                      registry_url_shown(url->path).len) == NULL);
}


/* a number for a host, and what is in brackets, the C library takes as well */

static void
check_literal(registry_str_t text)
{
    int                family;
    char               host[64], url[96];
    unsigned char      addr[16];
    registry_url_t     parsed;
    registry_status_e  status;

    if (text.len >= sizeof(host) || memchr(text.data, '\0', text.len)) {
        return;
    }

    sprintf(host, "%.*s", (int) text.len, text.data);
    family = strchr(host, ':') ? AF_INET6 : AF_INET;

    sprintf(url, family == AF_INET6 ? "http://[%s]" : "http://%s", host);
    status = registry_url_parse(fuzz_text(url), &parsed);

    if (inet_pton(family, host, addr) == 1) {
        fuzz_check(status == REGISTRY_OK && parsed.host.len == text.len);

    } else if (status == REGISTRY_OK && parsed.host.len == text.len) {
        fuzz_check(family == AF_INET);
        fuzz_check(inet_addr(host) == INADDR_NONE);
    }
}


/* put together again from its parts, it is the same URL */

static void
check_parts(const registry_url_t *url)
{
    int             n;
    char            text[REGISTRY_URL_MAX + 16];
    registry_url_t  again;

    n = sprintf(text, "http%s://%.*s%.*s", url->https ? "s" : "",
                (int) url->authority.len, url->authority.data,
                (int) url->path.len, url->path.data);

    if (n > REGISTRY_URL_MAX) {
        return;                         /* a "/" made it longer */
    }

    fuzz_check(registry_url_parse(fuzz_str(text, (size_t) n), &again)
               == REGISTRY_OK);
    check_url(&again);
    fuzz_check(registry_url_same_origin(url, &again));
    fuzz_check(again.path.len == url->path.len
               && memcmp(again.path.data, url->path.data, url->path.len)
                  == 0);
}


static void
check_no_dots(registry_str_t path)
{
    size_t  i, n;

    for (i = 0; i < path.len && path.data[i] != '?'; i += n) {

        for (n = 1; i + n < path.len; n++) {
            if (path.data[i + n] == '/' || path.data[i + n] == '?') {
                break;
            }
        }

        fuzz_check(n != 2 || path.data[i + 1] != '.');
        fuzz_check(n != 3 || memcmp(path.data + i, "/..", 3) != 0);
    }
}


static void
check_reference(const registry_url_t *base, registry_str_t reference)
{
    char               *buf, *again, *exact;
    size_t              len;
    registry_url_t      url, same;
    registry_status_e   status;

    buf = malloc(REGISTRY_URL_MAX);
    again = malloc(REGISTRY_URL_MAX);
    fuzz_check(buf != NULL && again != NULL);

    status = registry_url_resolve(base, reference, buf, REGISTRY_URL_MAX,
                                  &url);

    if (status == REGISTRY_OK) {
        check_url(&url);
        check_no_dots(url.path);

        len = (size_t) (url.path.data + url.path.len - buf);
        fuzz_check(len <= REGISTRY_URL_MAX && strncmp(buf, "http", 4) == 0);

        /* what is absolute and without dots stays, and fits itself */

        fuzz_check(registry_url_resolve(base, fuzz_str(buf, len), again, len,
                                        &same)
                   == REGISTRY_OK);
        fuzz_check(same.path.data + same.path.len == again + len
                   && memcmp(buf, again, len) == 0);

        exact = malloc(len - 1);
        fuzz_check(exact != NULL);
        fuzz_check(registry_url_resolve(base, reference, exact, len - 1,
                                        &same)
                   == REGISTRY_INVALID);
        free(exact);

        if (base != NULL && registry_url_resolve(NULL, reference, again,
                                                 REGISTRY_URL_MAX, &same)
                            != REGISTRY_OK)
        {
            fuzz_check(base->https == url.https);

            if (reference.len < 2 || memcmp(reference.data, "//", 2) != 0) {
                fuzz_check(registry_url_same_origin(base, &url));
            }
        }

    } else {
        fuzz_check(status == REGISTRY_INVALID
                   || status == REGISTRY_UNSUPPORTED);
    }

    free(buf);
    free(again);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    registry_str_t     in, base, reference;
    registry_url_t     url;
    registry_status_e  status;

    check_address(data, size);

    in = fuzz_str(data, size);
    base = fuzz_line(&in);
    reference = fuzz_line(&in);

    check_literal(base);

    status = registry_url_parse(base, &url);

    if (status != REGISTRY_OK) {
        fuzz_check(status == REGISTRY_INVALID
                   || status == REGISTRY_UNSUPPORTED);
        check_reference(NULL, reference);

        return 0;
    }

    fuzz_check(fuzz_inside(url.authority, base));
    fuzz_check(fuzz_inside(url.path, base)
               || (url.path.len == 1 && url.path.data[0] == '/'));

    check_url(&url);
    check_parts(&url);
    check_reference(&url, reference);

    return 0;
}
