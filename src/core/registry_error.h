
/*
 * The errors of the API: OCI Distribution 1.1, "Error Codes", and the two
 * that Distribution adds for the server's own faults.
 */


#ifndef REGISTRY_ERROR_H
#define REGISTRY_ERROR_H


#include "registry_types.h"


typedef enum {
    REGISTRY_ERROR_NONE = 0,
    REGISTRY_BLOB_UNKNOWN,
    REGISTRY_BLOB_UPLOAD_INVALID,
    REGISTRY_BLOB_UPLOAD_UNKNOWN,
    REGISTRY_DIGEST_INVALID,
    REGISTRY_MANIFEST_BLOB_UNKNOWN,
    REGISTRY_MANIFEST_INVALID,
    REGISTRY_MANIFEST_UNKNOWN,
    REGISTRY_NAME_INVALID,
    REGISTRY_NAME_UNKNOWN,
    REGISTRY_SIZE_INVALID,
    REGISTRY_UNAUTHORIZED,
    REGISTRY_DENIED,
    REGISTRY_UNSUPPORTED_OPERATION,     /* "UNSUPPORTED" */
    REGISTRY_TOOMANYREQUESTS,
    REGISTRY_UNKNOWN,                   /* a fault of the server's own */
    REGISTRY_UNAVAILABLE                /* overloaded, or a part is down */
} registry_error_e;


/* the code as it stands in a document, and its usual message; static */

const char *registry_error_code(registry_error_e error);
const char *registry_error_message(registry_error_e error);

/* the HTTP status that the error usually has: 404 for BLOB_UNKNOWN, ... */

int registry_error_status(registry_error_e error);

/* the error for a status that HTTP itself produced: 401 UNAUTHORIZED, ... */

registry_error_e registry_error_of_status(int status);

/*
 * {"errors":[{"code":..,"message":..,"detail":..}]} as malloc()ed, zero
 * terminated text that the caller frees, its length in *len; NULL if memory
 * is short.  A message of NULL is the usual one.  With ndetails > 1 there is
 * one element for each detail; with 0 there is one without "detail".  Bytes
 * that are not UTF-8 are replaced.
 */

char *registry_error_document(registry_error_e error, const char *message,
    const registry_str_t *details, size_t ndetails, size_t *len);


#endif /* REGISTRY_ERROR_H */
