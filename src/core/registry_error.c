
/*
 * Error codes and the document that carries them.  The document is written
 * by hand: details quote what a client sent, whatever bytes these are.
 */


#include <stdlib.h>
#include <string.h>

#include "registry_error.h"
#include "registry_utf8.h"


typedef struct {
    int          status;
    const char  *code;
    const char  *message;
} registry_error_entry_t;


typedef struct {
    int               status;
    registry_error_e  error;
} registry_error_status_t;


/* in the order of registry_error_e */

static const registry_error_entry_t  registry_errors[] = {
    { 500, "UNKNOWN", "no error" },
    { 404, "BLOB_UNKNOWN", "the repository has no such blob" },
    { 400, "BLOB_UPLOAD_INVALID", "the upload cannot go on like this" },
    { 404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload" },
    { 400, "DIGEST_INVALID", "the digest is malformed, unsupported, "
                             "or not that of the content" },
    { 400, "MANIFEST_BLOB_UNKNOWN", "the manifest refers to content that "
                                    "the repository does not have" },
    { 400, "MANIFEST_INVALID", "the manifest is not valid" },
    { 404, "MANIFEST_UNKNOWN", "the repository has no such manifest" },
    { 400, "NAME_INVALID", "the repository name is not valid" },
    { 404, "NAME_UNKNOWN", "there is no such repository" },
    { 400, "SIZE_INVALID", "the length is not the one that was announced, "
                           "or exceeds a limit" },
    { 401, "UNAUTHORIZED", "authentication is required" },
    { 403, "DENIED", "access is denied" },
    { 405, "UNSUPPORTED", "the operation is not supported" },
    { 429, "TOOMANYREQUESTS", "too many requests" },
    { 500, "UNKNOWN", "the registry failed to handle the request" },
    { 503, "UNAVAILABLE", "the registry is not available at the moment" }
};


static const registry_error_status_t  registry_error_statuses[] = {
    { 401, REGISTRY_UNAUTHORIZED },
    { 403, REGISTRY_DENIED },
    { 404, REGISTRY_NAME_UNKNOWN },
    { 413, REGISTRY_SIZE_INVALID },
    { 416, REGISTRY_SIZE_INVALID },
    { 429, REGISTRY_TOOMANYREQUESTS },
    { 501, REGISTRY_UNSUPPORTED_OPERATION },
    { 502, REGISTRY_UNAVAILABLE },
    { 503, REGISTRY_UNAVAILABLE },
    { 504, REGISTRY_UNAVAILABLE }
};

#define REGISTRY_ERROR_STATUSES                                               \
    (sizeof(registry_error_statuses) / sizeof(registry_error_statuses[0]))


/* the most that one byte becomes: \u00XX */

#define REGISTRY_ERROR_ESCAPE  6

static const char  registry_error_head[] = "{\"errors\":[";
static const char  registry_error_code_key[] = "{\"code\":";
static const char  registry_error_message_key[] = ",\"message\":";
static const char  registry_error_detail_key[] = ",\"detail\":";
static const char  registry_error_tail[] = "]}";


static char *registry_error_put(char *p, const char *text);
static char *registry_error_quote(char *p, registry_str_t s);


const char *
registry_error_code(registry_error_e error)
{
    return registry_errors[error].code;
}


const char *
registry_error_message(registry_error_e error)
{
    return registry_errors[error].message;
}


int
registry_error_status(registry_error_e error)
{
    return registry_errors[error].status;
}


registry_error_e
registry_error_of_status(int status)
{
    size_t  i;

    for (i = 0; i < REGISTRY_ERROR_STATUSES; i++) {

        if (registry_error_statuses[i].status == status) {
            return registry_error_statuses[i].error;
        }
    }

    return status < 500 ? REGISTRY_UNSUPPORTED_OPERATION : REGISTRY_UNKNOWN;
}


char *
registry_error_document(registry_error_e error, const char *message,
    const registry_str_t *details, size_t ndetails, size_t *len)
{
    char            *p, *document;
    size_t           i, n, size;
    registry_str_t   code, text;

    if (message == NULL) {
        message = registry_error_message(error);
    }

    code.data = registry_error_code(error);
    code.len = strlen(code.data);

    text.data = message;
    text.len = strlen(message);

    n = ndetails ? ndetails : 1;

    /* ten bytes for quotes, "}", and "," */

    size = sizeof(registry_error_code_key)
           + sizeof(registry_error_message_key)
           + sizeof(registry_error_detail_key)
           + (code.len + text.len) * REGISTRY_ERROR_ESCAPE + 10;

    size = sizeof(registry_error_head) + sizeof(registry_error_tail)
           + n * size;

    for (i = 0; i < ndetails; i++) {
        size += details[i].len * REGISTRY_ERROR_ESCAPE;
    }

    document = malloc(size);
    if (document == NULL) {
        return NULL;
    }

    p = registry_error_put(document, registry_error_head);

    for (i = 0; i < n; i++) {

        if (i) {
            *p++ = ',';
        }

        p = registry_error_put(p, registry_error_code_key);
        p = registry_error_quote(p, code);
        p = registry_error_put(p, registry_error_message_key);
        p = registry_error_quote(p, text);

        if (ndetails) {
            p = registry_error_put(p, registry_error_detail_key);
            p = registry_error_quote(p, details[i]);
        }

        *p++ = '}';
    }

    p = registry_error_put(p, registry_error_tail);
    *p = '\0';

    *len = (size_t) (p - document);

    return document;
}


static char *
registry_error_put(char *p, const char *text)
{
    size_t  len;

    len = strlen(text);
    memcpy(p, text, len);

    return p + len;
}


static char *
registry_error_quote(char *p, registry_str_t s)
{
    size_t                n;
    const unsigned char  *in;
    static const char     hex[] = "0123456789abcdef";

    *p++ = '"';

    in = (const unsigned char *) s.data;

    while (s.len) {
        n = 1;

        if (*in == '"' || *in == '\\') {
            *p++ = '\\';
            *p++ = (char) *in;

        } else if (*in < 0x20 || *in == 0x7f) {
            p = registry_error_put(p, "\\u00");
            *p++ = hex[*in >> 4];
            *p++ = hex[*in & 0xf];

        } else {
            n = registry_utf8_length(in, s.len);

            if (n) {
                memcpy(p, in, n);
                p += n;

            } else {
                p = registry_error_put(p, REGISTRY_UTF8_REPLACEMENT);
                n = 1;
            }
        }

        in += n;
        s.len -= n;
    }

    *p++ = '"';

    return p;
}
