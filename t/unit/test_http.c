
/*
 * Heads of responses, framing, chunked coding, Retry-After.
 */


#include "registry_http.h"
#include "unit.h"


#define OK  "HTTP/1.1 200 OK\r\n"


/* points into the head, which stays until the next one is parsed */

static registry_http_response_t  res;
static registry_str_t            head;


static registry_status_e
parse(const char *text)
{
    unit_free(head);
    head = unit_text(text);

    memset(&res, 0, sizeof(res));

    return registry_http_head_parse(head, &res);
}


static int
same(const registry_str_t *s, const char *text)
{
    return s != NULL && s->len == strlen(text)
           && memcmp(s->data, text, s->len) == 0;
}


/* found as one piece, and byte by byte; 0: incomplete */

static void
check_head_end(const char *text, size_t expected)
{
    size_t          n, end, scanned;
    registry_str_t  s, part;

    s = unit_text(text);
    scanned = 0;
    end = registry_http_head_end(s, &scanned);
    unit_is_number((long long) end, (long long) expected,
                   "where the head ends");

    scanned = 0;
    end = 0;
    part.data = s.data;

    for (n = 0; n <= s.len && end == 0; n++) {
        part.len = n;
        end = registry_http_head_end(part, &scanned);

        if (end != 0 && end != n) {
            break;
        }
    }

    unit_is_number((long long) end, (long long) expected, "byte by byte");
    unit_free(s);
}


static void
check_status_line(const char *line, registry_status_e expected,
    unsigned status, unsigned minor)
{
    char               text[128];
    registry_status_e  got;

    sprintf(text, "%s\r\n\r\n", line);
    got = parse(text);

    unit_ok(got == expected
            && (got != REGISTRY_OK
                || (res.status == status && res.minor == minor)),
            "the status line \"%s\"", line);
}


static void
check_status_lines(void)
{
    size_t                    i;
    static const char *const  bad[] = {
        "", "HTTP", "HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 20", "HTTP/1.1  200",
        "HTTP/1.1 2000", "HTTP/1.1 200OK", "HTTP/1.1 099", "HTTP/1.1 600",
        "HTTP/1.1 000", "HTTP/1.1 2x0 OK", "HTTP/1.1 -20 OK",
        "HTTP/1.1\t200 OK", "http/1.1 200 OK", "HTTP/1 200 OK",
        "HTTP/11 200 OK", "HTTP/1.10 200 OK", "HTTP/.1 200 OK",
        "HTTP/a.1 200 OK", "HTTP/1.a 200 OK", " HTTP/1.1 200 OK",
        "HTTP/1.1 200 O\x01K", "HTTP/1.1 200 O\rK", "HTTP/1.1 200 \x7f",
        "ICY 200 OK", "SSH-2.0-OpenSSH_9.2", "<html>"
    };

    check_status_line("HTTP/1.1 200 OK", REGISTRY_OK, 200, 1);
    check_status_line("HTTP/1.0 100 Continue it", REGISTRY_OK, 100, 0);
    check_status_line("HTTP/1.9 599 ", REGISTRY_OK, 599, 9);
    check_status_line("HTTP/1.1 404", REGISTRY_OK, 404, 1);
    check_status_line("HTTP/1.1 204 \t\xc3\xa9", REGISTRY_OK, 204, 1);
    check_status_line("HTTP/2.0 200 OK", REGISTRY_UNSUPPORTED, 0, 0);
    check_status_line("HTTP/0.9 200 OK", REGISTRY_UNSUPPORTED, 0, 0);

    for (i = 0; i < unit_count(bad); i++) {
        check_status_line(bad[i], REGISTRY_INVALID, 0, 0);
    }
}


static void
check_fields(void)
{
    size_t                 i;
    const registry_str_t  *v;

    static const char *const  bad[] = {
        "", "HTTP/1.1 200 OK", OK, OK "A: b", OK "A: b\r\n", OK ":\r\n\r\n", OK ": b\r\n\r\n",
        OK "A\r\n\r\n", OK "A b\r\n\r\n", OK "A : b\r\n\r\n",
        OK " A: b\r\n\r\n", OK "A: b\r\n c\r\n\r\n", OK "A: b\r\n\tc\r\n\r\n",
        OK "A: b\r\n \r\n\r\n", OK "A(: b\r\n\r\n", OK "\xc3\xa9: b\r\n\r\n",
        OK "A: b\x01\r\n\r\n", OK "A: b\rc\r\n\r\n", OK "A: b\r\r\n\r\n",
        OK "A: \x7f\r\n\r\n", OK "\r\n ", OK "\r\n\r\n", OK "A: b\r\n\r\nC"
    };

    unit_ok(parse(OK "Content-Type:  \t text/plain; a=\"b, c\" \t\r\n"
                  "Location:/a\r\n"
                  "X!#$%&'*+-.^_`|~1: :\r\n"
                  "Empty:\r\nWhite: \t \r\n"
                  "Link: \xc3\xa9\tb\r\nLINK: c\r\n\r\n") == REGISTRY_OK,
            "a head with fields");

    unit_is_number((long long) res.n, 7, "so many");
    unit_ok(same(&res.fields[0].name, "Content-Type"), "names stay");
    unit_ok(same(registry_http_field(&res, "content-type"),
                 "text/plain; a=\"b, c\""), "values are trimmed");
    unit_ok(same(registry_http_field(&res, "location"), "/a"),
            "also of nothing");
    unit_ok(same(registry_http_field(&res, "x!#$%&'*+-.^_`|~1"), ":"),
            "what a name may hold");
    unit_ok(same(registry_http_field(&res, "empty"), ""), "an empty one");
    unit_ok(same(registry_http_field(&res, "white"), ""), "and a white one");
    unit_ok(registry_http_field(&res, "content") == NULL
            && registry_http_field(&res, "content-type2") == NULL,
            "none of another name");

    i = 0;
    v = registry_http_field_next(&res, "link", &i);
    unit_ok(same(v, "\xc3\xa9\tb"), "the first of two");
    v = registry_http_field_next(&res, "link", &i);
    unit_ok(same(v, "c"), "the second of two");
    unit_ok(registry_http_field_next(&res, "link", &i) == NULL, "no third");
    unit_ok(registry_http_field_next(&res, "link", &i) == NULL, "never");

    unit_ok(parse("HTTP/1.1 200 OK\nA: b\nC: d\r\n\n") == REGISTRY_OK
            && same(registry_http_field(&res, "a"), "b")
            && same(registry_http_field(&res, "c"), "d"),
            "lines that end in LF");

    for (i = 0; i < unit_count(bad); i++) {
        unit_ok(parse(bad[i]) == REGISTRY_INVALID, "bad fields, %d", (int) i);
    }
}


static void
check_field_count(void)
{
    int   i, n;
    char  text[16 * (REGISTRY_HTTP_FIELDS_MAX + 2)];

    for (n = REGISTRY_HTTP_FIELDS_MAX; n < REGISTRY_HTTP_FIELDS_MAX + 2; n++) {
        strcpy(text, OK);

        for (i = 0; i < n; i++) {
            strcat(text, "A: b\r\n");
        }

        strcat(text, "\r\n");

        unit_ok(parse(text) == (n > REGISTRY_HTTP_FIELDS_MAX
                                ? REGISTRY_INVALID : REGISTRY_OK),
                "%d fields", n);
    }
}


static void
check_framing(const char *fields, registry_status_e expected, int64_t length,
    int chunked, int keepalive)
{
    char               text[256];
    registry_status_e  status;

    sprintf(text, "%s%s\r\n", strncmp(fields, "HTTP", 4) ? OK : "", fields);
    status = parse(text);

    unit_ok(status == expected
            && (status != REGISTRY_OK
                || (res.content_length == length
                    && (int) res.chunked == chunked
                    && (int) res.keepalive == keepalive)),
            "framing of %d bytes, status %d", (int) strlen(fields),
            (int) expected);
}


static void
check_framings(void)
{
    size_t                    i;
    static const char *const  bad[] = {
        "Content-Length:\r\n", "Content-Length: -1\r\n",
        "Content-Length: +1\r\n", "Content-Length: 1 1\r\n",
        "Content-Length: 0x1\r\n", "Content-Length: 1, 1\r\n",
        "Content-Length: 1,\r\n", "Content-Length: 1.0\r\n",
        "Content-Length: 9223372036854775808\r\n",
        "Content-Length: 18446744073709551617\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\nContent-Length: 0\r\n",
        "Content-Length: 1\r\nContent-Length: a\r\n",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n"
    };

    static const char *const  unsupported[] = {
        "Transfer-Encoding:\r\n", "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n", "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked;a=b\r\n",
        "Transfer-Encoding: \"chunked\"\r\n"
    };

    check_framing("", REGISTRY_OK, -1, 0, 1);
    check_framing("Content-Length: 0\r\n", REGISTRY_OK, 0, 0, 1);
    check_framing("content-length:  007 \r\n", REGISTRY_OK, 7, 0, 1);
    check_framing("Content-Length: 9223372036854775807\r\n", REGISTRY_OK,
                  INT64_MAX, 0, 1);
    check_framing("Content-Length: 1\r\nContent-Length: 01\r\n", REGISTRY_OK,
                  1, 0, 1);
    check_framing("Transfer-Encoding: Chunked\r\n", REGISTRY_OK, -1, 1, 1);
    check_framing("Connection: close\r\n", REGISTRY_OK, -1, 0, 0);
    check_framing("Connection: a,, CLOSE ,b\r\n", REGISTRY_OK, -1, 0, 0);
    check_framing("Connection: a\r\nConnection: close\r\n", REGISTRY_OK, -1,
                  0, 0);
    check_framing("Connection: keep-alive, close\r\n", REGISTRY_OK, -1, 0, 0);
    check_framing("Connection: closed, \"close\", clos e\r\n", REGISTRY_OK,
                  -1, 0, 1);
    check_framing("Connection: \r\n", REGISTRY_OK, -1, 0, 1);
    check_framing("Connection: ,\r\n", REGISTRY_OK, -1, 0, 1);
    check_framing("HTTP/1.0 200 OK\r\n", REGISTRY_OK, -1, 0, 0);
    check_framing("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n",
                  REGISTRY_OK, -1, 0, 1);

    for (i = 0; i < unit_count(bad); i++) {
        check_framing(bad[i], REGISTRY_INVALID, 0, 0, 0);
    }

    for (i = 0; i < unit_count(unsupported); i++) {
        check_framing(unsupported[i], REGISTRY_UNSUPPORTED, 0, 0, 0);
    }
}


static void
check_has_body(void)
{
    size_t                 i;
    static const unsigned  without[] = { 100, 101, 103, 199, 204, 304 };
    static const unsigned  with[] = { 200, 201, 206, 301, 401, 404, 500 };

    for (i = 0; i < unit_count(without); i++) {
        res.status = without[i];
        unit_ok(!registry_http_has_body(&res, 0), "no body with %u",
                res.status);
    }

    for (i = 0; i < unit_count(with); i++) {
        res.status = with[i];
        unit_ok(registry_http_has_body(&res, 0)
                && !registry_http_has_body(&res, 1),
                "a body with %u, but for HEAD", res.status);
    }
}


/*
 * The data as it comes out of pieces of so many bytes, 0 for all at once.
 * Returns what the decoder said in the end, and how many bytes it left.
 */

static registry_status_e
decode(registry_str_t s, size_t piece, char *out, size_t *len, size_t *left,
    int *done)
{
    size_t              n, used;
    registry_str_t      in, data;
    registry_status_e   status;
    registry_chunked_t  c;

    registry_chunked_init(&c);
    status = REGISTRY_DECLINED;
    *len = 0;

    for (used = 0; used < s.len && !c.done; used += n - in.len) {
        n = s.len - used;
        n = piece && piece < n ? piece : n;

        in.data = s.data + used;
        in.len = n;

        for ( ;; ) {
            status = registry_chunked_next(&c, &in, &data);

            if (status != REGISTRY_OK) {
                break;
            }

            memcpy(out + *len, data.data, data.len);
            *len += data.len;
        }

        if (status == REGISTRY_INVALID) {
            unit_ok(registry_chunked_next(&c, &in, &data) == REGISTRY_INVALID,
                    "and so it stays");
            break;
        }
    }

    *left = s.len - used;
    *done = c.done;

    return status;
}


static void
check_chunked(const char *text, const char *expected, size_t behind)
{
    int                done;
    char               out[256];
    size_t             piece, len, left;
    registry_str_t     s;
    registry_status_e  status;

    s = unit_text(text);

    for (piece = 0; piece <= s.len; piece++) {
        status = decode(s, piece, out, &len, &left, &done);

        if (status != REGISTRY_DECLINED || !done || left != behind
            || len != strlen(expected) || memcmp(out, expected, len) != 0)
        {
            break;
        }
    }

    unit_ok(piece == s.len + 1, "%d bytes, in all sizes of pieces",
            (int) s.len);
    unit_free(s);
}


static void
check_not_chunked(const char *text, registry_status_e expected)
{
    int             done;
    char            out[4096];
    size_t          len, left;
    registry_str_t  s;

    s = unit_text(text);
    unit_ok(decode(s, 0, out, &len, &left, &done) == expected && !done,
            "%d bytes with status %d", (int) s.len, (int) expected);
    unit_ok(decode(s, 1, out, &len, &left, &done) == expected && !done,
            "also byte by byte");
    unit_free(s);
}


static void
check_chunks(void)
{
    size_t                    i;
    static const char *const  bad[] = {
        "g\r\n", "\r\n", "-1\r\n", "+1\r\n", " 1\r\n", "0x1\r\n", ";a\r\n",
        "1\n", "1\ra", "1 2\r\n", "1 a\r\n", "1\t\n", "1;a\n", "1;\x01\r\n",
        "1;a\rb\r\n", "1\r\nab\r\n", "1\r\na\n", "1\r\na\rb", "1\r\na1\r\n",
        "1\r\na\r\n\r\n", "0\r\na\n", "0\r\n\n", "0\r\na: b\r\n\rx",
        "0\r\na: b\rc", "0\r\n\x01\r\n", "0\r\n\rx", "8000000000000000\r\n",
        "ffffffffffffffff\r\n", "10000000000000000\r\n",
        "00000000000000001\r\n"
    };

    static const char *const  open[] = {
        "", "1", "1\r", "1\r\n", "1;", "1 ", "2\r\na", "1\r\na", "1\r\na\r",
        "1\r\na\r\n", "0", "0\r\n", "0\r\n\r", "0\r\na", "0\r\na: b\r\n",
        "7fffffffffffffff\r\nabc", "0000000000000001\r\n"
    };

    check_chunked("0\r\n\r\n", "", 0);
    check_chunked("3\r\nabc\r\n0\r\n\r\n", "abc", 0);
    check_chunked("1\r\na\r\n2\r\nbc\r\n00\r\n\r\nHTTP", "abc", 4);
    check_chunked("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n0\r\n",
                  "01234567890123456789", 3);
    check_chunked("4\r\n\r\n0\r\r\n0\r\n\r\n", "\r\n0\r", 0);
    check_chunked("1;a\r\nb\r\n1;c=\"d;\\\"\"\r\ne\r\n0;f\r\n\r\n", "be", 0);
    check_chunked("1 \t\r\na\r\n1 ;b\r\nc\r\n0 \r\n\r\n", "ac", 0);
    check_chunked("0\r\nA: b\r\nC:\td\xc3\xa9\r\n\r\nx", "", 1);
    check_chunked("0000000000000001\r\na\r\n0\r\n\r\n", "a", 0);

    for (i = 0; i < unit_count(bad); i++) {
        check_not_chunked(bad[i], REGISTRY_INVALID);
    }

    for (i = 0; i < unit_count(open); i++) {
        check_not_chunked(open[i], REGISTRY_DECLINED);
    }
}


static void
check_chunk_limits(void)
{
    char    text[REGISTRY_CHUNK_TRAILER_MAX + 64], *p;
    size_t  i;

    for (i = 0; i < 2; i++) {
        p = text + sprintf(text, "0;");
        memset(p, 'a', REGISTRY_CHUNK_EXTENSION_MAX - 1 + i);
        strcpy(p + REGISTRY_CHUNK_EXTENSION_MAX - 1 + i, "\r\nA: b\r\n");
        check_not_chunked(text, i ? REGISTRY_INVALID : REGISTRY_DECLINED);
    }

    for (i = 0; i < 2; i++) {
        p = text + sprintf(text, "0;extension\r\nA:\r\n");
        memset(p, 'a', REGISTRY_CHUNK_TRAILER_MAX - 2 + i);
        strcpy(p + REGISTRY_CHUNK_TRAILER_MAX - 2 + i, "\r\n");
        check_not_chunked(text, i ? REGISTRY_INVALID : REGISTRY_DECLINED);
    }
}


static void
check_chunk_header(uint64_t len, const char *expected)
{
    char    buf[REGISTRY_CHUNK_HEADER_MAX + 1];
    size_t  n;

    memset(buf, 'x', sizeof(buf));
    n = registry_chunk_header(buf, len);

    unit_ok(n == strlen(expected) && memcmp(buf, expected, n) == 0
            && buf[n] == 'x', "the line that opens a chunk");
}


static void
check_retry(const char *text, int64_t now, registry_status_e expected,
    int64_t seconds)
{
    int64_t            got;
    registry_str_t     s;
    registry_status_e  status;

    s = unit_text(text);
    got = 77;
    status = registry_retry_after(s, now, &got);
    unit_free(s);

    if (!unit_ok(status == expected
                 && (status != REGISTRY_OK || got == seconds),
                 "\"%s\" from now", text))
    {
        printf("# status %d, %lld seconds\n", (int) status, (long long) got);
    }
}


static void
check_retries(void)
{
    size_t         i;
    const int64_t  then = 784111777;    /* 1994-11-06 08:49:37 */

    static const char *const  bad[] = {
        "", "-1", "+1", "1.5", "1s", " 1", "soon", "Sun",
        "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 29 Feb 1995 08:49:37 GMT", "Sun, 29 Feb 1900 08:49:37 GMT",
        "Sun, 32 Dec 1994 08:49:37 GMT", "Sun, 06 Xxx 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1994 -8:49:37 GMT", "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun, 06 Nov  994 08:49:37 GMT", "Sun, 0  Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT", "Sun Nov  6 08:49:37 94",
        "Sun Nov    08:49:37 1994", "Sun Nov 6 08:49:37 1994"
    };

    check_retry("0", then, REGISTRY_OK, 0);
    check_retry("120", then, REGISTRY_OK, 120);
    check_retry("31535999", then, REGISTRY_OK, 31535999);
    check_retry("31536001", then, REGISTRY_OK, REGISTRY_RETRY_AFTER_MAX);
    check_retry("99999999999999999999", then, REGISTRY_OK,
                REGISTRY_RETRY_AFTER_MAX);

    check_retry("Sun, 06 Nov 1994 08:49:37 GMT", then, REGISTRY_OK, 0);
    check_retry("Sun, 06 Nov 1994 08:49:37 GMT", then - 1, REGISTRY_OK, 1);
    check_retry("Sun, 06 Nov 1994 08:49:37 GMT", then + 1, REGISTRY_OK, 0);
    check_retry("Sun, 06 Nov 1994 08:49:37 GMT",
                then - REGISTRY_RETRY_AFTER_MAX + 1, REGISTRY_OK,
                REGISTRY_RETRY_AFTER_MAX - 1);
    check_retry("Sun, 06 Nov 1994 08:49:37 GMT", 0, REGISTRY_OK,
                REGISTRY_RETRY_AFTER_MAX);
    check_retry("Sunday, 06-Nov-94 08:49:37 GMT", then - 60, REGISTRY_OK, 60);
    check_retry("Sun Nov  6 08:49:37 1994", then - 60, REGISTRY_OK, 60);
    check_retry("Thu Nov 16 08:49:37 1994", then, REGISTRY_OK, 864000);

    check_retry("Thu, 01 Jan 1970 00:00:10 GMT", 0, REGISTRY_OK, 10);
    check_retry("Thu, 29 Feb 2024 00:00:00 GMT", 1709164799, REGISTRY_OK, 1);
    check_retry("Fri, 01 Mar 2024 00:00:00 GMT", 1709164800, REGISTRY_OK,
                86400);
    check_retry("Tue, 29 Feb 2000 12:00:00 GMT", 951825599, REGISTRY_OK, 1);
    check_retry("Sat, 31 Dec 2016 23:59:60 GMT", 1483228700, REGISTRY_OK,
                100);
    check_retry("Fri, 31 Dec 9999 23:59:59 GMT", then, REGISTRY_OK,
                REGISTRY_RETRY_AFTER_MAX);
    check_retry("Sat, 01 Jan 0000 00:00:00 GMT", then, REGISTRY_OK, 0);

    /* a year of two digits: in 2026, 76 is ahead and 77 has passed */

    check_retry("Friday, 31-Dec-76 00:00:00 GMT", 1780000000, REGISTRY_OK,
                REGISTRY_RETRY_AFTER_MAX);
    check_retry("Friday, 31-Dec-77 00:00:00 GMT", 1780000000, REGISTRY_OK, 0);

    for (i = 0; i < unit_count(bad); i++) {
        check_retry(bad[i], then, REGISTRY_INVALID, 0);
    }
}


int
main(void)
{
    check_head_end("", 0);
    check_head_end("\r", 0);
    check_head_end("\n", 1);
    check_head_end("\r\n", 2);
    check_head_end("\r\nHTTP", 2);
    check_head_end(OK, 0);
    check_head_end(OK "\r", 0);
    check_head_end(OK "\r\n", 19);
    check_head_end(OK "\n", 18);
    check_head_end(OK "\rx\n", 0);
    check_head_end(OK "A: b\n\r\n{}", 24);
    check_head_end("HTTP/1.1 200 OK\nA: b\n\n\n", 22);
    check_head_end("a\r\r\n\r\n", 6);
    check_head_end("a\n\r\r\n\n", 6);

    check_status_lines();
    check_fields();
    check_field_count();
    check_framings();
    check_has_body();
    unit_free(head);

    check_chunks();
    check_chunk_limits();
    check_chunk_header(0, "0\r\n");
    check_chunk_header(1, "1\r\n");
    check_chunk_header(255, "ff\r\n");
    check_chunk_header(65536, "10000\r\n");
    check_chunk_header(UINT64_MAX, "ffffffffffffffff\r\n");

    check_retries();

    return unit_done();
}
