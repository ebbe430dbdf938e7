
/*
 * JSON that others wrote: bounded before jansson reads it (RFC 8259).
 */


#ifndef REGISTRY_JSON_H
#define REGISTRY_JSON_H


#include <jansson.h>

#include "registry_types.h"


#define REGISTRY_JSON_DEPTH  32         /* of nesting */


/*
 * An object, to be given up with json_decref(); the flags are those of
 * json_loadb().  REGISTRY_INVALID, with a static sentence in *reason, if it
 * is no object, nests deeper than REGISTRY_JSON_DEPTH (found before it is
 * parsed), has far more objects and arrays than documents have, or is refused
 * by jansson, which takes some failed allocations for errors of syntax.
 * REGISTRY_NOMEM otherwise.  How large it may be is for the caller to say.
 */

registry_status_e registry_json_load(registry_str_t in, size_t flags,
    json_t **root, const char **reason);

/* the text of a string, empty for anything else; lives as long as the value */

registry_str_t registry_json_text(const json_t *json);

/* NULL for a null as well: that is how Go writes what is not there */

json_t *registry_json_member(const json_t *object, const char *name);


#endif /* REGISTRY_JSON_H */
