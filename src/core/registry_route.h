
/*
 * Which endpoint of the API a path names: OCI Distribution 1.1, "Endpoints",
 * and the catalogue of Docker Registry HTTP API V2.
 */


#ifndef REGISTRY_ROUTE_H
#define REGISTRY_ROUTE_H


#include "registry_digest.h"
#include "registry_error.h"
#include "registry_types.h"


typedef enum {
    REGISTRY_ENDPOINT_BASE = 0,         /* /v2/ */
    REGISTRY_ENDPOINT_CATALOG,          /* /v2/_catalog */
    REGISTRY_ENDPOINT_TAGS,             /* /v2/NAME/tags/list */
    REGISTRY_ENDPOINT_MANIFEST,         /* /v2/NAME/manifests/REFERENCE */
    REGISTRY_ENDPOINT_REFERRERS,        /* /v2/NAME/referrers/DIGEST */
    REGISTRY_ENDPOINT_BLOB,             /* /v2/NAME/blobs/DIGEST */
    REGISTRY_ENDPOINT_UPLOADS,          /* /v2/NAME/blobs/uploads/ */
    REGISTRY_ENDPOINT_UPLOAD            /* /v2/NAME/blobs/uploads/ID */
} registry_endpoint_e;


typedef struct {
    registry_endpoint_e  endpoint;
    registry_str_t       name;          /* repository; points into the path */
    registry_str_t       reference;     /* tag, digest or upload id, likewise */
    registry_digest_t    digest;        /* set if the reference is a digest */
    unsigned             by_digest:1;
} registry_route_t;


/*
 * The path is decoded and has no query.  Returns REGISTRY_ERROR_NONE, or the
 * error to answer with: NAME_INVALID, DIGEST_INVALID (a bad or unsupported
 * digest), MANIFEST_INVALID (a reference that is neither tag nor digest),
 * BLOB_UPLOAD_UNKNOWN (no upload id), or UNSUPPORTED for a path that is none
 * of the API's.  The name and the reference, as far as they were found, are
 * set in every case, else empty.
 */

registry_error_e registry_route_parse(registry_str_t path,
    registry_route_t *route);

/*
 * Whether the repository of a path, given without its "/v2/", is a valid name
 * of one component.  The reference is not looked at.
 */

int registry_route_single(registry_str_t path);


#endif /* REGISTRY_ROUTE_H */
