
/*
 * Upload session identifiers: random UUIDs (RFC 9562, version 4) in lower
 * case, as Distribution names the directories under _uploads.
 */


#ifndef REGISTRY_UPLOAD_H
#define REGISTRY_UPLOAD_H


#include "registry_types.h"


#define REGISTRY_UPLOAD_ID_LEN      36
#define REGISTRY_UPLOAD_RANDOM_LEN  16


/* id has room for REGISTRY_UPLOAD_ID_LEN bytes; it is not terminated */

void registry_upload_id(const unsigned char random[REGISTRY_UPLOAD_RANDOM_LEN],
    char *id);

/* any UUID in lower case, whatever its version */

int registry_upload_id_valid(registry_str_t id);


#endif /* REGISTRY_UPLOAD_H */
