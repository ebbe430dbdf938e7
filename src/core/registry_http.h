
/*
 * Responses of HTTP/1.0 and 1.1, from servers that are not trusted: the head,
 * how the body is framed, chunked coding, Retry-After.  RFC 9112, RFC 9110.
 */


#ifndef REGISTRY_HTTP_H
#define REGISTRY_HTTP_H


#include "registry_types.h"


#define REGISTRY_HTTP_FIELDS_MAX  100


/* points into the head; white space around the value is left out */

typedef struct {
    registry_str_t         name;        /* as it is spelt */
    registry_str_t         value;
} registry_http_field_t;


typedef struct {
    unsigned               status;      /* 100..599 */
    unsigned               minor;       /* of the version: HTTP/1.minor */

    int64_t                content_length;     /* -1 if it is not given */
    unsigned               chunked:1;
    unsigned               keepalive:1; /* the server keeps the connection */

    size_t                 n;
    registry_http_field_t  fields[REGISTRY_HTTP_FIELDS_MAX];
} registry_http_response_t;


/*
 * The length of the head, with the empty line that ends it, or 0 if it is not
 * complete.  *scanned is 0 for the first call and where to go on for the
 * next one, with the same bytes and more.  Lines may end in a bare LF: RFC
 * 9112 section 2.2.
 */

size_t registry_http_head_end(registry_str_t in, size_t *scanned);

/*
 * Reads a head of the length that registry_http_head_end() returned.
 *
 * REGISTRY_UNSUPPORTED for another major version, and a Transfer-Encoding
 * that is not "chunked" alone.  REGISTRY_INVALID for what does not follow the
 * grammar, folded lines, control characters, too many fields, a
 * Content-Length that is no number up to INT64_MAX or is there twice and
 * differs, and for what smuggling is made of: Content-Length beside
 * Transfer-Encoding, or Transfer-Encoding in HTTP/1.0.
 */

registry_status_e registry_http_head_parse(registry_str_t head,
    registry_http_response_t *res);

/*
 * Whether a body follows: 0 for 1xx, 204, 304, and the answer to a HEAD.  It
 * is chunked, or has a content_length, or else ends with the connection,
 * whatever keepalive says.
 */

int registry_http_has_body(const registry_http_response_t *res,
    int head_request);

/* the value of the first field of that name, in lower case, or NULL */

const registry_str_t *registry_http_field(const registry_http_response_t *res,
    const char *name);

/* one after the other: *i is 0 for the first call; NULL at the end */

const registry_str_t *registry_http_field_next(
    const registry_http_response_t *res, const char *name, size_t *i);


/*
 * Chunked coding, RFC 9112 section 7.1.  Extensions and trailers are passed
 * over.  Lines end in CRLF, nothing else.
 */

#define REGISTRY_CHUNK_EXTENSION_MAX  1024      /* bytes, in one chunk */
#define REGISTRY_CHUNK_TRAILER_MAX    8192      /* bytes, all of it */

typedef struct {
    unsigned  state;
    unsigned  done:1;                   /* the last chunk and trailers too */
    size_t    count;                    /* bytes towards the limit in force */
    uint64_t  left;                     /* bytes of this chunk to come */
} registry_chunked_t;


void registry_chunked_init(registry_chunked_t *c);

/*
 * Takes a piece of data off *in.  REGISTRY_OK: *data is not empty and points
 * into the input, there may be more.  REGISTRY_DECLINED: more input is needed
 * and *in is empty, or, if c->done is set, the body has ended and *in is what
 * follows it.  REGISTRY_INVALID: the coding is broken, and stays so.
 */

registry_status_e registry_chunked_next(registry_chunked_t *c,
    registry_str_t *in, registry_str_t *data);

/*
 * Writes the line that opens a chunk of that many bytes, returns its length;
 * buf has room for REGISTRY_CHUNK_HEADER_MAX.  After the data, and after the
 * line of the last chunk, which has length 0, goes REGISTRY_CHUNK_END.
 */

#define REGISTRY_CHUNK_HEADER_MAX  18
#define REGISTRY_CHUNK_END         "\r\n"

size_t registry_chunk_header(char *buf, uint64_t len);


/*
 * Retry-After, RFC 9110 section 10.2.3: seconds, or a date in any of the
 * three forms of section 5.6.7.  now and *seconds are in seconds; a time that
 * has passed is 0, one that is further off than REGISTRY_RETRY_AFTER_MAX is
 * that.  REGISTRY_INVALID if it is neither.
 */

#define REGISTRY_RETRY_AFTER_MAX  31536000      /* a year */

registry_status_e registry_retry_after(registry_str_t value, int64_t now,
    int64_t *seconds);


#endif /* REGISTRY_HTTP_H */
