
/*
 * Challenges and the URLs of tokens: what is read and written comes back, and
 * no byte of it can end a header or a parameter.
 */


#include "fuzz.h"
#include "registry_challenge.h"
#include "registry_query.h"
#include "registry_url.h"


static void
check_text(const char *text, size_t max)
{
    size_t  i, len;

    len = strlen(text);
    fuzz_check(len <= max);

    for (i = 0; i < len; i++) {
        fuzz_check(text[i] == '\t'
                   || ((unsigned char) text[i] >= 0x20 && text[i] != 0x7f));
    }
}


static void
check_write(const registry_challenge_t *c)
{
    char                  *buf, *exact;
    size_t                 len, size, n;
    registry_str_t         rest;
    registry_challenge_t   again;

    size = 2 * sizeof(registry_challenge_t);
    buf = malloc(size);
    fuzz_check(buf != NULL);

    if (c->scheme == REGISTRY_CHALLENGE_OTHER) {
        fuzz_check(registry_challenge_write(c, buf, size, &len)
                   == REGISTRY_UNSUPPORTED);
        free(buf);
        return;
    }

    fuzz_check(registry_challenge_write(c, buf, size, &len) == REGISTRY_OK);

    rest = fuzz_str(buf, len);
    fuzz_check(registry_challenge_next(&rest, &again) == REGISTRY_OK);
    fuzz_check(rest.len == 0);

    fuzz_check(again.scheme == c->scheme
               && strcmp(again.realm, c->realm) == 0
               && strcmp(again.service, c->service) == 0
               && strcmp(again.scope, c->scope) == 0
               && strcmp(again.error, c->error) == 0);

    exact = malloc(len);
    fuzz_check(exact != NULL);
    fuzz_check(registry_challenge_write(c, exact, len, &n) == REGISTRY_OK
               && n == len && memcmp(exact, buf, n) == 0);
    fuzz_check(registry_challenge_write(c, exact, len - 1, &n)
               == REGISTRY_INVALID);

    free(exact);
    free(buf);
}


/* the scopes that are in the query, joined by spaces again */

static void
check_query(registry_str_t query, const registry_challenge_t *c,
    unsigned skip)
{
    char            text[REGISTRY_URL_MAX], *p;
    size_t          len;
    registry_str_t  name, value, scopes;

    while (skip-- && registry_query_next(&query, &name, &value)) {
        /* void */
    }

    if (c->service[0] != '\0') {
        fuzz_check(registry_query_next(&query, &name, &value));
        fuzz_check(name.len == 7 && memcmp(name.data, "service", 7) == 0);
    }

    scopes = fuzz_text(c->scope);

    while (registry_query_next(&query, &name, &value)) {
        fuzz_check(name.len == 5 && memcmp(name.data, "scope", 5) == 0);

        if (memchr(c->scope, '\t', scopes.len) != NULL) {
            continue;                   /* is not decoded again */
        }

        fuzz_check(registry_query_decode(value, text, sizeof(text), &len)
                   == REGISTRY_OK);
        fuzz_check(len != 0 && memchr(text, ' ', len) == NULL);

        p = memmem(scopes.data, scopes.len, text, len);
        fuzz_check(p != NULL);
        scopes = fuzz_str(p + len,
                          scopes.len - (size_t) (p + len - scopes.data));
    }
}


static void
check_token_url(const registry_challenge_t *c)
{
    char               *buf, *own;
    size_t              len;
    unsigned            n;
    const char         *p;
    registry_str_t      scope, query, name, value;
    registry_url_t      realm, url;
    registry_status_e   status;

    buf = malloc(REGISTRY_URL_MAX);
    own = malloc(REGISTRY_URL_MAX);
    fuzz_check(buf != NULL && own != NULL);

    scope = fuzz_text(c->scope);

    status = registry_token_url(fuzz_text(c->realm), fuzz_text(c->service),
                                &scope, 1, buf, REGISTRY_URL_MAX, &len);

    if (status == REGISTRY_OK) {
        fuzz_check(len <= REGISTRY_URL_MAX);
        fuzz_check(registry_url_parse(fuzz_str(buf, len), &url)
                   == REGISTRY_OK);
        fuzz_check(registry_url_resolve(NULL, fuzz_text(c->realm), own,
                                        REGISTRY_URL_MAX, &realm)
                   == REGISTRY_OK);
        fuzz_check(registry_url_same_origin(&realm, &url));
        fuzz_check(memcmp(realm.path.data, url.path.data, realm.path.len)
                   == 0);

        /* what the realm has of a query of its own goes before */

        n = 0;
        p = memchr(realm.path.data, '?', realm.path.len);

        if (p != NULL) {
            query = fuzz_str(p + 1, realm.path.len - 1
                                    - (size_t) (p - realm.path.data));

            while (registry_query_next(&query, &name, &value)) {
                n++;
            }
        }

        p = memchr(url.path.data, '?', url.path.len);

        if (p != NULL) {
            query = fuzz_str(p + 1, url.path.len - 1
                                    - (size_t) (p - url.path.data));
            check_query(query, c, n);
        }
    }

    free(buf);
    free(own);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t                left;
    registry_str_t        in, rest;
    registry_status_e     status;
    registry_challenge_t  c;

    in = fuzz_str(data, size);
    rest = in;

    for ( ;; ) {
        left = rest.len;
        status = registry_challenge_next(&rest, &c);

        if (status != REGISTRY_OK) {
            break;
        }

        fuzz_check(rest.len < left);
        fuzz_check(fuzz_inside(rest, in));

        check_text(c.realm, REGISTRY_REALM_MAX);
        check_text(c.service, REGISTRY_SERVICE_MAX);
        check_text(c.scope, REGISTRY_SCOPE_MAX);
        check_text(c.error, REGISTRY_CHALLENGE_ERROR_MAX);

        check_write(&c);
        check_token_url(&c);
    }

    fuzz_check(rest.len == 0);
    fuzz_check(status == REGISTRY_DECLINED || status == REGISTRY_INVALID);

    return 0;
}
