
/*
 * Chunked coding.  The first byte of the input is the size of the pieces, the
 * rest a body, once as it is received and once as it is sent.
 */


#include "fuzz.h"
#include "registry_http.h"


typedef struct {
    registry_status_e   status;
    int                 done;
    size_t              left;           /* bytes of the input */
    size_t              len;
    char               *data;
} decoded_t;


static decoded_t
decode(registry_str_t in, size_t piece)
{
    size_t              n;
    decoded_t           d;
    registry_str_t      part, data;
    registry_chunked_t  c;

    d.data = malloc(in.len + 1);
    fuzz_check(d.data != NULL);

    d.len = 0;
    d.status = REGISTRY_DECLINED;

    registry_chunked_init(&c);

    while (in.len != 0 && !c.done && d.status == REGISTRY_DECLINED) {
        n = piece < in.len ? piece : in.len;
        part = fuzz_str(in.data, n);

        while ((d.status = registry_chunked_next(&c, &part, &data))
               == REGISTRY_OK)
        {
            fuzz_check(data.len != 0 && data.len <= n);
            fuzz_check(fuzz_inside(data, fuzz_str(in.data, n)));
            fuzz_check(data.data + data.len == part.data);

            memcpy(d.data + d.len, data.data, data.len);
            d.len += data.len;
        }

        fuzz_check(d.status != REGISTRY_DECLINED || c.done || part.len == 0);

        in = fuzz_str(part.data, in.len - (n - part.len));
    }

    if (d.status == REGISTRY_INVALID) {
        fuzz_check(!c.done);
        fuzz_check(registry_chunked_next(&c, &in, &data) == d.status);
    }

    d.done = c.done;
    d.left = in.len;

    return d;
}


static void
check_same(const decoded_t *a, const decoded_t *b)
{
    fuzz_check(a->status == b->status && a->done == b->done
               && a->left == b->left && a->len == b->len
               && memcmp(a->data, b->data, a->len) == 0);
}


/* what is sent is received, and what follows is left alone */

static void
check_encode(registry_str_t in, size_t piece)
{
    char            *text, *p;
    size_t           n;
    decoded_t        d;
    registry_str_t   rest;

    text = malloc(in.len + (in.len / piece + 2)
                           * (REGISTRY_CHUNK_HEADER_MAX + 2) + 1);
    fuzz_check(text != NULL);

    p = text;
    rest = in;

    do {
        n = piece < rest.len ? piece : rest.len;

        p += registry_chunk_header(p, n);
        memcpy(p, rest.data, n);
        p += n;
        memcpy(p, REGISTRY_CHUNK_END, 2);
        p += 2;

        rest = fuzz_str(rest.data + n, rest.len - n);

    } while (n != 0);

    *p++ = '0';

    d = decode(fuzz_str(text, (size_t) (p - text)), piece + 1);
    fuzz_check(d.status == REGISTRY_DECLINED && d.done && d.left == 1);
    fuzz_check(d.len == in.len && memcmp(d.data, in.data, in.len) == 0);

    free(d.data);
    free(text);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t          piece;
    decoded_t       whole, parts, bytes;
    registry_str_t  in;

    if (size < 2) {
        return 0;
    }

    piece = (size_t) data[0] + 1;
    in = fuzz_str(data + 1, size - 1);

    whole = decode(in, in.len);
    parts = decode(in, piece);
    bytes = decode(in, 1);

    check_same(&whole, &parts);
    check_same(&whole, &bytes);

    free(whole.data);
    free(parts.data);
    free(bytes.data);

    check_encode(in, piece);

    return 0;
}
