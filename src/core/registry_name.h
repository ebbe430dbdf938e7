
/*
 * Repository names and tags: OCI Distribution 1.1, "Pulling manifests".
 * Nothing that passed these grammars can leave a directory: there is no
 * empty component, no component that begins with a dot or an underscore.
 */


#ifndef REGISTRY_NAME_H
#define REGISTRY_NAME_H


#include "registry_types.h"


#define REGISTRY_NAME_MAX  255          /* bytes, as Distribution has it */
#define REGISTRY_TAG_MAX   128          /* bytes */


/* each returns 1 if the bytes follow the grammar and the length, else 0 */

int registry_name_valid(registry_str_t name);
int registry_tag_valid(registry_str_t tag);


/*
 * Patterns of names: "*" stands for any bytes, slashes too, or none.  A valid
 * one has nothing else in it that cannot be in a name.
 */

int registry_pattern_valid(registry_str_t pattern);

/* 1 if the whole name is as the pattern says, else 0 */

int registry_name_match(registry_str_t name, registry_str_t pattern);


#endif /* REGISTRY_NAME_H */
