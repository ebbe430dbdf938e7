
/*
 * Challenges, read and written, and the URLs of tokens.
 */


#include "registry_challenge.h"
#include "registry_url.h"
#include "unit.h"


/* a field, and its challenges as describe() prints them */

typedef struct {
    const char  *field;
    const char  *expected;
} field_t;


#define HUB  "Bearer realm=\"https://auth.docker.io/token\","                 \
             "service=\"registry.docker.io\","                                \
             "scope=\"repository:library/nginx:pull\""


static const field_t  fields[] = {
    { "", "" },
    { " ,, \t,", "" },
    { HUB, "bearer(https://auth.docker.io/token|registry.docker.io|"
           "repository:library/nginx:pull|)" },
    { "Basic realm=\"a b\"", "basic(a b|||)" },
    { "bAsIc REALM=a", "basic(a|||)" },
    { "Basic", "basic(|||)" },
    { "Basic ", "basic(|||)" },
    { "Basic realm=\"\"", "basic(|||)" },
    { "Bearer error=invalid_token , service = \"b\"\t,\trealm\t=\ta",
      "bearer(a|b||invalid_token)" },
    { "Bearer realm=\"a\",,, service=\"b\",", "bearer(a|b||)" },
    { "Bearer realm=\"a\\\"b\\\\c\\d\"", "bearer(a\"b\\cd|||)" },
    { "Bearer realm=\"a,b\", Basic realm=\"c\"",
      "bearer(a,b|||)basic(c|||)" },
    { "Bearer realm=\"a\" ,Basic realm=\"c\",service=d",
      "bearer(a|||)basic(c|d||)" },
    { ", Negotiate, NTLM , Basic realm=a,",
      "other(|||)other(|||)basic(a|||)" },
    { "Negotiate YWJj+/-._~==, Bearer realm=a",
      "other(|||)bearer(a|||)" },
    { "Negotiate a, b, c=d", "other(|||)other(|||)INVALID" },
    { "Digest realm=\"a\", nonce=\"\t\xc3\xa9\", stale=true, Basic realm=b",
      "other(a|||)basic(b|||)" },
    { "Bearer a=b, x=1, x=2, realm=c", "bearer(c|||)" },
    { "Bearer scope=\"repository:a:pull repository:b:pull,push\"",
      "bearer(||repository:a:pull repository:b:pull,push|)" },
    { "Bearer realm", "bearer(|||)" },
    { "Bearer realm=", "bearer(|||)" },
    { "Bearer realm==", "bearer(|||)" },

    { "=", "INVALID" },
    { "\"Bearer\"", "INVALID" },
    { "Bearer;realm=a", "INVALID" },
    { "Bearer=a", "INVALID" },
    { "Bearer \"a\"", "INVALID" },
    { "Bearer realm=\"a", "INVALID" },
    { "Bearer realm=\"", "INVALID" },
    { "Bearer realm=\"a\\", "INVALID" },
    { "Bearer realm=\"a\\\"", "INVALID" },
    { "Bearer realm=\"a\"b", "INVALID" },
    { "Bearer realm=\"a\" service=\"b\"", "INVALID" },
    { "Bearer realm=a service=b", "INVALID" },
    { "Bearer realm=a:b", "INVALID" },
    { "Bearer realm=\"a\nb\"", "INVALID" },
    { "Bearer realm=\"a\\\nb\"", "INVALID" },
    { "Bearer realm=\"\x7f\"", "INVALID" },
    { "Bearer x=\"\x01\"", "INVALID" },
    { "Bearer realm=a, realm=b", "INVALID" },
    { "Bearer realm=a, Realm=\"b\"", "INVALID" },
    { "Bearer re!alm", "INVALID" },
    { "Bearer a b", "INVALID" },
    { "Bearer a=b, \"c\"", "INVALID" },
    { "Bearer a=b, c=", "INVALID" },
    { "Bearer a=b, c=,d", "INVALID" },
    { "Basic realm=a, Bearer realm=\"b, Basic realm=c",
      "basic(a|||)INVALID" },
    { "\xc3\xa9 realm=a", "INVALID" }
};


static registry_challenge_t  challenge;


static int
describe(char *p, const registry_challenge_t *c)
{
    static const char *const  schemes[] = { "other", "basic", "bearer" };

    return sprintf(p, "%s(%s|%s|%s|%s)", schemes[c->scheme], c->realm,
                   c->service, c->scope, c->error);
}


static void
check_field(const field_t *f)
{
    int                n;
    char               got[4 * sizeof(registry_challenge_t)];
    registry_str_t     s, rest;
    registry_status_e  status;

    s = unit_text(f->field);
    rest = s;
    n = 0;
    got[0] = '\0';

    while ((status = registry_challenge_next(&rest, &challenge))
           == REGISTRY_OK)
    {
        n += describe(got + n, &challenge);
    }

    if (status == REGISTRY_INVALID) {
        strcpy(got + n, "INVALID");
    }

    unit_is(got, f->expected, "the challenges of a field");
    unit_ok(registry_challenge_next(&rest, &challenge) == REGISTRY_DECLINED,
            "and no more");
    unit_free(s);
}


/* a parameter of so many bytes, quoted, and as a token */

static void
check_length(const char *name, const char *value, size_t max)
{
    int                quoted;
    char               text[2 * REGISTRY_SCOPE_MAX], *p;
    size_t             n;
    registry_str_t     s, rest;
    registry_status_e  status;

    for (quoted = 0; quoted < 2; quoted++) {
        for (n = max; n <= max + 1; n++) {
            p = text + sprintf(text, "Bearer %s=%s", name,
                               quoted ? "\"" : "");
            memset(p, 'x', n);
            strcpy(p + n, quoted ? "\"" : "");

            s = unit_text(text);
            rest = s;
            status = registry_challenge_next(&rest, &challenge);
            unit_free(s);

            unit_ok(status == (n > max ? REGISTRY_INVALID : REGISTRY_OK),
                    "%s of %d bytes", name, (int) n);
            unit_ok(n > max || strlen(value) == n, "all of it");
        }
    }
}


static void
check_write(registry_challenge_e scheme, const char *realm,
    const char *service, const char *scope, const char *error,
    const char *expected)
{
    char               *buf;
    size_t              len, size, n;
    registry_status_e   status;

    memset(&challenge, 'x', sizeof(challenge));
    challenge.scheme = scheme;
    strcpy(challenge.realm, realm);
    strcpy(challenge.service, service);
    strcpy(challenge.scope, scope);
    strcpy(challenge.error, error);

    size = strlen(expected);
    len = 0;

    for (n = 0; n <= size; n++) {
        buf = malloc(n ? n : 1);
        status = registry_challenge_write(&challenge, buf, n, &len);

        if (n < size && status != REGISTRY_INVALID) {
            break;
        }

        if (n == size && status == REGISTRY_OK && len == size
            && memcmp(buf, expected, len) == 0)
        {
            n++;
        }

        free(buf);

        if (n == size + 1) {
            break;
        }
    }

    unit_ok(n == size + 1, "written as %s, in just so much room", expected);
}


static void
check_no_write(registry_challenge_e scheme, const char *realm,
    registry_status_e expected)
{
    char    buf[256];
    size_t  len;

    memset(&challenge, 0, sizeof(challenge));
    challenge.scheme = scheme;
    strcpy(challenge.realm, realm);

    unit_ok(registry_challenge_write(&challenge, buf, sizeof(buf), &len)
            == expected,
            "not written, status %d", (int) expected);
}


static void
check_token_url(const char *realm, const char *service, const char *scope,
    const char *scope2, const char *expected)
{
    char               *buf;
    size_t              len, size, n;
    registry_str_t      r, s, scopes[2];
    registry_status_e   status;

    r = unit_text(realm);
    s = unit_text(service);
    scopes[0] = unit_text(scope);
    scopes[1] = unit_text(scope2 ? scope2 : "");

    size = strlen(expected);
    status = REGISTRY_INVALID;

    for (n = 0; n <= size; n++) {
        buf = malloc(n ? n : 1);
        len = 0;
        status = registry_token_url(r, s, scopes, scope2 ? 2 : 1, buf, n,
                                    &len);

        if (status == REGISTRY_OK) {
            unit_ok(n == size && len == size
                    && memcmp(buf, expected, size) == 0,
                    "%s, in just so much room", expected);
        }

        free(buf);
    }

    unit_ok(status == REGISTRY_OK, "of the realm %s", realm);

    unit_free(r);
    unit_free(s);
    unit_free(scopes[0]);
    unit_free(scopes[1]);
}


static void
check_no_token_url(const char *realm, registry_status_e expected)
{
    char            buf[256];
    size_t          len;
    registry_str_t  r, none;

    none = unit_text("");
    r = unit_text(realm);

    unit_ok(registry_token_url(r, none, NULL, 0, buf, sizeof(buf), &len)
            == expected,
            "no token from \"%s\"", realm);

    unit_free(r);
    unit_free(none);
}


static void
check_token_urls(void)
{
    char            *scope, *buf;
    size_t           len;
    registry_str_t   realm, service, none;

    check_token_url("https://auth.docker.io/token", "registry.docker.io",
                    "repository:library/nginx:pull", NULL,
                    "https://auth.docker.io/token?service=registry.docker.io"
                    "&scope=repository:library/nginx:pull");
    check_token_url("https://a", "a b&c", "repository:a/b:pull,push", "x",
                    "https://a/?service=a%20b%26c"
                    "&scope=repository:a/b:pull%2Cpush&scope=x");
    check_token_url("http://a/b?c=d#e", "", "x  y ", " z",
                    "http://a/b?c=d&scope=x&scope=y&scope=z");
    check_token_url("https://a?b", "c", "", NULL, "https://a/?b&service=c");
    check_token_url("https://a/b", "", "", " ", "https://a/b");
    check_token_url("https://a/b", "\xff\r\n?", "", NULL,
                    "https://a/b?service=%FF%0D%0A%3F");

    check_no_token_url("", REGISTRY_INVALID);
    check_no_token_url("/token", REGISTRY_INVALID);
    check_no_token_url("a realm", REGISTRY_INVALID);
    check_no_token_url("https://u:p@a/token", REGISTRY_INVALID);
    check_no_token_url("file:///etc/passwd", REGISTRY_UNSUPPORTED);

    /* too long for a URL, whatever room there is */

    scope = malloc(REGISTRY_URL_MAX);
    buf = malloc(4 * REGISTRY_URL_MAX);
    memset(scope, 's', REGISTRY_URL_MAX);

    none = unit_text("");
    realm = unit_text("https://a/b");
    service.data = scope;
    service.len = REGISTRY_URL_MAX - strlen("https://a/b?service=");

    unit_ok(registry_token_url(realm, service, &none, 1, buf,
                               4 * REGISTRY_URL_MAX, &len)
            == REGISTRY_OK && len == REGISTRY_URL_MAX,
            "as long as a URL may be");

    service.len++;
    unit_ok(registry_token_url(realm, service, &none, 1, buf,
                               4 * REGISTRY_URL_MAX, &len)
            == REGISTRY_INVALID, "and no longer");

    unit_free(realm);
    unit_free(none);
    free(scope);
    free(buf);
}


int
main(void)
{
    size_t  i;

    for (i = 0; i < unit_count(fields); i++) {
        check_field(&fields[i]);
    }

    check_length("realm", challenge.realm, REGISTRY_REALM_MAX);
    check_length("service", challenge.service, REGISTRY_SERVICE_MAX);
    check_length("scope", challenge.scope, REGISTRY_SCOPE_MAX);
    check_length("error", challenge.error, REGISTRY_CHALLENGE_ERROR_MAX);

    check_write(REGISTRY_CHALLENGE_BEARER, "https://a/token", "b", "c d",
                "invalid_token",
                "Bearer realm=\"https://a/token\",service=\"b\","
                "scope=\"c d\",error=\"invalid_token\"");
    check_write(REGISTRY_CHALLENGE_BEARER, "", "", "c", "",
                "Bearer realm=\"\",scope=\"c\"");
    check_write(REGISTRY_CHALLENGE_BASIC, "a\"b\\c\t\xc3\xa9", "", "", "",
                "Basic realm=\"a\\\"b\\\\c\t\xc3\xa9\"");

    check_no_write(REGISTRY_CHALLENGE_OTHER, "a", REGISTRY_UNSUPPORTED);
    check_no_write(REGISTRY_CHALLENGE_BASIC, "a\r\nb", REGISTRY_INVALID);
    check_no_write(REGISTRY_CHALLENGE_BASIC, "a\x7f", REGISTRY_INVALID);

    check_token_urls();

    return unit_done();
}
