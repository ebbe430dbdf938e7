
/*
 * Names and tags, against the regular expressions of the specification, and
 * patterns against the C library's.
 */


#include <fnmatch.h>
#include <regex.h>

#include "fuzz.h"
#include "registry_name.h"


#define PATTERN    16       /* bytes: the C library's takes its time */
#define NAME       64

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


/* a pattern, a line feed, and what is to be like it */

static void
check_pattern(const uint8_t *data, size_t size)
{
    char            pattern[PATTERN + 1], name[NAME + 1];
    size_t          n, len;
    const uint8_t  *p;

    p = memchr(data, '\n', size);

    if (p == NULL || memchr(data, '\0', size) != NULL) {
        return;
    }

    n = (size_t) (p - data);
    len = size - n - 1;

    if (n > PATTERN || len > NAME
        || !registry_pattern_valid(fuzz_str(data, n)))
    {
        return;
    }

    memcpy(pattern, data, n);
    pattern[n] = '\0';
    memcpy(name, p + 1, len);
    name[len] = '\0';

    fuzz_check(registry_name_match(fuzz_str(p + 1, len), fuzz_str(data, n))
               == (fnmatch(pattern, name, 0) == 0));
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

    check_pattern(data, size);

    return 0;
}
