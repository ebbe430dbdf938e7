
/*
 * Heads of responses.  Every value in the head is also tried as a
 * Retry-After.
 */


#include <stdio.h>

#include "fuzz.h"
#include "registry_http.h"


/* where the head ends, found again with one byte more at a time */

static void
check_head_end(registry_str_t in, size_t expected)
{
    size_t  n, end, scanned;

    scanned = 0;
    end = 0;

    for (n = 0; n <= in.len && end == 0; n++) {
        end = registry_http_head_end(fuzz_str(in.data, n), &scanned);
        fuzz_check(end == 0 || end == n);
        fuzz_check(scanned <= n);
    }

    fuzz_check(end == expected);
}


static void
check_retry_after(registry_str_t value)
{
    int64_t                seconds;
    size_t                 i;
    static const int64_t   now[] = { 0, 784111777, 1780000000, 68719476736 };

    for (i = 0; i < sizeof(now) / sizeof(now[0]); i++) {
        seconds = -1;

        if (registry_retry_after(value, now[i], &seconds) == REGISTRY_OK) {
            fuzz_check(seconds >= 0 && seconds <= REGISTRY_RETRY_AFTER_MAX);
            fuzz_check(value.len != 0);

        } else {
            fuzz_check(seconds == -1);
        }
    }
}


static void
check_field(const registry_http_field_t *field, registry_str_t head)
{
    char            c;
    size_t          i;
    registry_str_t  name, value;

    name = field->name;
    value = field->value;

    fuzz_check(fuzz_inside(name, head) && fuzz_inside(value, head));
    fuzz_check(name.len != 0 && name.data + name.len < value.data);

    for (i = 0; i < name.len; i++) {
        c = name.data[i];
        fuzz_check(c > 0x20 && c < 0x7f
                   && strchr("\"(),/:;@[\\]{}", c) == NULL);
    }

    for (i = 0; i < value.len; i++) {
        c = value.data[i];
        fuzz_check(c == '\t' || ((unsigned char) c >= 0x20 && c != 0x7f));
    }

    fuzz_check(value.len == 0 || strchr(" \t", value.data[0]) == NULL);
    fuzz_check(value.len == 0
               || strchr(" \t", value.data[value.len - 1]) == NULL);
}


static void
check_response(const registry_http_response_t *res)
{
    size_t  i;

    fuzz_check(res->status >= 100 && res->status <= 599 && res->minor <= 9);
    fuzz_check(res->content_length >= -1);
    fuzz_check(res->n <= REGISTRY_HTTP_FIELDS_MAX);

    fuzz_check((registry_http_field(res, "content-length") != NULL)
               == (res->content_length != -1));
    fuzz_check((registry_http_field(res, "transfer-encoding") != NULL)
               == (res->chunked == 1));
    fuzz_check(!res->chunked || (res->minor > 0 && res->content_length == -1));

    if (registry_http_field(res, "connection") == NULL) {
        fuzz_check(res->keepalive == (res->minor > 0));
    }

    fuzz_check(!registry_http_has_body(res, 1));

    i = 0;
    fuzz_check(registry_http_field_next(res, "content-length", &i)
               == registry_http_field(res, "content-length"));
}


/* written as a head again, it says the same */

static void
check_again(const registry_http_response_t *res, registry_str_t head)
{
    char                      *text, *p;
    size_t                     i;
    registry_http_response_t   again;

    text = malloc(head.len + 3 * REGISTRY_HTTP_FIELDS_MAX + 32);
    fuzz_check(text != NULL);

    p = text + sprintf(text, "HTTP/1.%u %u\r\n", res->minor, res->status);

    for (i = 0; i < res->n; i++) {
        p += sprintf(p, "%.*s:%.*s\r\n", (int) res->fields[i].name.len,
                     res->fields[i].name.data,
                     (int) res->fields[i].value.len,
                     res->fields[i].value.data);
    }

    p += sprintf(p, "\r\n");

    head = fuzz_str(text, (size_t) (p - text));
    fuzz_check(registry_http_head_parse(head, &again) == REGISTRY_OK);

    fuzz_check(again.status == res->status && again.minor == res->minor
               && again.content_length == res->content_length
               && again.chunked == res->chunked
               && again.keepalive == res->keepalive && again.n == res->n);

    for (i = 0; i < res->n; i++) {
        fuzz_check(again.fields[i].value.len == res->fields[i].value.len);
        check_field(&again.fields[i], head);
    }

    free(text);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char                      *copy;
    size_t                     i, end, scanned;
    registry_str_t             in, head;
    registry_http_response_t   res;

    in = fuzz_str(data, size);
    scanned = 0;
    end = registry_http_head_end(in, &scanned);

    fuzz_check(end <= size);
    check_head_end(in, end);

    if (end == 0) {
        fuzz_check(registry_http_head_parse(in, &res) != REGISTRY_OK);
        return 0;
    }

    copy = malloc(end);
    fuzz_check(copy != NULL);
    memcpy(copy, data, end);
    head = fuzz_str(copy, end);

    if (registry_http_head_parse(head, &res) == REGISTRY_OK) {
        check_response(&res);

        for (i = 0; i < res.n; i++) {
            check_field(&res.fields[i], head);
            check_retry_after(res.fields[i].value);
        }

        check_again(&res, head);

        fuzz_check(registry_http_head_parse(fuzz_str(copy, end - 1), &res)
                   == REGISTRY_INVALID);
    }

    free(copy);

    return 0;
}
