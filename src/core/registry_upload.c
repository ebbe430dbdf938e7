
/*
 * Upload session identifiers.
 */


#include "registry_upload.h"


static int registry_upload_dash(size_t i);


void
registry_upload_id(const unsigned char random[REGISTRY_UPLOAD_RANDOM_LEN],
    char *id)
{
    size_t             i, n;
    unsigned char      c;
    static const char  hex[] = "0123456789abcdef";

    n = 0;

    for (i = 0; i < REGISTRY_UPLOAD_RANDOM_LEN; i++) {
        c = random[i];

        if (i == 6) {
            c = (c & 0x0f) | 0x40;              /* version 4 */

        } else if (i == 8) {
            c = (c & 0x3f) | 0x80;              /* the variant of RFC 9562 */
        }

        if (registry_upload_dash(n)) {
            id[n++] = '-';
        }

        id[n++] = hex[c >> 4];
        id[n++] = hex[c & 0xf];
    }
}


int
registry_upload_id_valid(registry_str_t id)
{
    char    c;
    size_t  i;

    if (id.len != REGISTRY_UPLOAD_ID_LEN) {
        return 0;
    }

    for (i = 0; i < id.len; i++) {
        c = id.data[i];

        if (registry_upload_dash(i)) {

            if (c != '-') {
                return 0;
            }

            continue;
        }

        if ((c < '0' || c > '9') && (c < 'a' || c > 'f')) {
            return 0;
        }
    }

    return 1;
}


static int
registry_upload_dash(size_t i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}
