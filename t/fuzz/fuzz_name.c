
/*
 * Names and tags, against the regular expressions of the specification.
 */


#include <regex.h>

#include "fuzz.h"
#include "registry_name.h"


#define COMPONENT  "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*"


static regex_t  name_regex;
static regex_t  tag_regex;


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void) argc;
    (void) argv;

    fuzz_check(regcomp(&name_regex, "^" COMPONENT "(/" COMPONENT ")*$",
                       REG_EXTENDED|REG_NOSUB) == 0);
    fuzz_check(regcomp(&tag_regex, "^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$",
                       REG_EXTENDED|REG_NOSUB) == 0);

    return 0;
}


static int
matches(const regex_t *regex, const uint8_t *data, size_t size, size_t max)
{
    int    rc;
    char  *text;

    if (size > max || memchr(data, '\0', size) != NULL) {
        return 0;
    }

    text = malloc(size + 1);
    fuzz_check(text != NULL);

    memcpy(text, data, size);
    text[size] = '\0';

    rc = regexec(regex, text, 0, NULL, 0) == 0;

    free(text);

    return rc;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    registry_str_t  in;

    in = fuzz_str(data, size);

    fuzz_check(registry_name_valid(in)
               == matches(&name_regex, data, size, REGISTRY_NAME_MAX));
    fuzz_check(registry_tag_valid(in)
               == matches(&tag_regex, data, size, REGISTRY_TAG_MAX));

    return 0;
}
