
/*
 * Documents of token services.
 */


#include "registry_json.h"
#include "registry_token.h"
#include "unit.h"


static registry_token_t  token;


static registry_status_e
parse(const char *text)
{
    registry_str_t     s;
    registry_status_e  status;

    memset(&token, 0, sizeof(token));

    s = unit_text(text);
    status = registry_token_parse(s, &token);
    unit_free(s);

    return status;
}


static void
check_token(const char *text, const char *expected, int64_t life)
{
    registry_status_e  status;

    status = parse(text);

    unit_ok(status == REGISTRY_OK, "a token in %s", text);
    unit_is(token.text, expected, "that token");
    unit_ok(token.text != NULL && token.len == strlen(token.text),
            "its length");
    unit_is_number(token.expires_in, life, "its life");

    registry_token_free(&token);
    unit_ok(token.text == NULL && token.len == 0, "it is gone");
    registry_token_free(&token);
}


static void
check_none(const char *text, registry_status_e expected)
{
    unit_ok(parse(text) == expected && token.text == NULL,
            "no token in %s", text);
}


static void
check_life(const char *life, int64_t expected)
{
    char  text[128];

    sprintf(text, "{\"token\":\"a\",\"expires_in\":%s}", life);
    check_token(text, "a", expected);
}


static void
check_limits(void)
{
    char    *text, *p;
    size_t   n;

    text = malloc(REGISTRY_TOKEN_DOCUMENT_MAX + 2);

    for (n = REGISTRY_TOKEN_MAX; n <= REGISTRY_TOKEN_MAX + 1; n++) {
        p = text + sprintf(text, "{\"token\":\"");
        memset(p, 'x', n);
        strcpy(p + n, "\"}");

        unit_ok(parse(text)
                == (n > REGISTRY_TOKEN_MAX ? REGISTRY_INVALID : REGISTRY_OK),
                "a token of %d bytes", (int) n);
        unit_ok(n > REGISTRY_TOKEN_MAX || token.len == n, "its length");
        registry_token_free(&token);
    }

    for (n = REGISTRY_TOKEN_DOCUMENT_MAX;
         n <= REGISTRY_TOKEN_DOCUMENT_MAX + 1;
         n++)
    {
        memset(text, ' ', n);
        memcpy(text, "{\"token\":\"a\"}", 13);
        text[n] = '\0';

        unit_ok(parse(text) == (n > REGISTRY_TOKEN_DOCUMENT_MAX
                                ? REGISTRY_INVALID : REGISTRY_OK),
                "a document of %d bytes", (int) n);
        registry_token_free(&token);
    }

    p = text + sprintf(text, "{\"token\":\"a\",\"b\":");

    for (n = 0; n < REGISTRY_JSON_DEPTH; n++) {
        *p++ = '[';
    }

    for (n = 0; n < REGISTRY_JSON_DEPTH; n++) {
        *p++ = ']';
    }

    strcpy(p, "}");
    check_none(text, REGISTRY_INVALID);

    free(text);
}


static void
check_memory(void)
{
    long               n, wrong;
    registry_str_t     s;
    registry_status_e  status;

    s = unit_text("{\"token\":\"abc\",\"expires_in\":300,\"issued_at\":\"x\"}");
    memset(&token, 0, sizeof(token));
    wrong = 0;

    for (n = 1; n < 1000; n++) {
        unit_fail_at(n);
        status = registry_token_parse(s, &token);

        if (unit_allocations < n) {
            break;
        }

        wrong += token.text != NULL
                 || (status != REGISTRY_NOMEM
                     && !(unit_failed_json && status == REGISTRY_INVALID));
    }

    unit_fail_at(0);
    unit_ok(n > 5 && n < 1000 && status == REGISTRY_OK && wrong == 0,
            "each of %ld allocations failed", n - 1);

    registry_token_free(&token);
    unit_free(s);
}


int
main(void)
{
    unit_wrap_json();

    check_token("{\"token\":\"a.b-c_d~+/=\"}", "a.b-c_d~+/=", 60);
    check_token("{\"access_token\":\"a\",\"expires_in\":300}", "a", 300);
    check_token("{\"access_token\":\"a\",\"token\":\"b\"}", "b", 60);
    check_token("{\"access_token\":\"a\",\"token\":\"\"}", "a", 60);
    check_token("{\"access_token\":\"a\",\"token\":null}", "a", 60);
    check_token("{\"token\":\"a\",\"access_token\":1,\"x\":[{}]}", "a", 60);
    check_token("{\"token\":\"a\",\"issued_at\":\"1970-01-01T00:00:00Z\"}",
                "a", 60);
    check_token("{\"token\":\"\\u0061\\/\"}", "a/", 60);

    check_life("1", 1);
    check_life("60", 60);
    check_life("86399", 86399);
    check_life("86400", 86400);
    check_life("86401", 86400);
    check_life("9223372036854775807", 86400);
    check_life("1e300", 86400);
    check_life("299.9", 299);
    check_life("0.5", 60);
    check_life("0", 60);
    check_life("-0.0", 60);
    check_life("-1", 60);
    check_life("-1e300", 60);
    check_life("\"300\"", 60);
    check_life("null", 60);
    check_life("[300]", 60);

    check_none("{}", REGISTRY_DECLINED);
    check_none("{\"token\":\"\"}", REGISTRY_DECLINED);
    check_none("{\"token\":1}", REGISTRY_DECLINED);
    check_none("{\"Token\":\"a\"}", REGISTRY_DECLINED);
    check_none("{\"data\":{\"token\":\"a\"}}", REGISTRY_DECLINED);
    check_none("", REGISTRY_INVALID);
    check_none("[\"token\"]", REGISTRY_INVALID);
    check_none("{\"token\":\"a\"", REGISTRY_INVALID);
    check_none("{\"token\":\"a\"}{}", REGISTRY_INVALID);
    check_none("{\"token\":\"a\",\"token\":\"b\"}", REGISTRY_INVALID);
    check_none("{\"token\":\"a\",\"expires_in\":1e999}", REGISTRY_INVALID);
    check_none("{\"token\":\"a\",\"expires_in\":9223372036854775808}",
               REGISTRY_INVALID);
    check_none("{\"token\":\"a b\"}", REGISTRY_INVALID);
    check_none("{\"token\":\"a\\r\\nX: y\"}", REGISTRY_INVALID);
    check_none("{\"token\":\"a\\u0000\"}", REGISTRY_INVALID);
    check_none("{\"token\":\"\\u007f\"}", REGISTRY_INVALID);
    check_none("{\"token\":\"\\u00e9\"}", REGISTRY_INVALID);
    check_none("{\"token\":\"\t\"}", REGISTRY_INVALID);
    check_none("<html>", REGISTRY_INVALID);

    check_limits();
    check_memory();

    return unit_done();
}
