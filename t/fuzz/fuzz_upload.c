
/*
 * Upload identifiers: those that are made are valid, and the valid ones are
 * UUIDs in lower case.
 */


#include <regex.h>

#include "fuzz.h"
#include "registry_upload.h"


static regex_t  regex;


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void) argc;
    (void) argv;

    fuzz_check(regcomp(&regex, "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
                       REG_EXTENDED|REG_NOSUB) == 0);

    return 0;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int   valid;
    char  text[64], id[REGISTRY_UPLOAD_ID_LEN];

    valid = 0;

    if (size < sizeof(text)) {

        if (size) {
            memcpy(text, data, size);
        }

        text[size] = '\0';
        valid = strlen(text) == size
                && regexec(&regex, text, 0, NULL, 0) == 0;
    }

    fuzz_check(registry_upload_id_valid(fuzz_str(data, size)) == valid);

    if (size >= REGISTRY_UPLOAD_RANDOM_LEN) {
        registry_upload_id(data, id);

        fuzz_check(registry_upload_id_valid(fuzz_str(id, sizeof(id))));
        fuzz_check(id[14] == '4' && strchr("89ab", id[19]) != NULL);
    }

    return 0;
}
