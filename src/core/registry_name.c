
/*
 * The grammars of repository names and tags, scanned by hand: every request
 * passes here.
 */


#include "registry_name.h"


static int registry_name_alnum(char c);


int
registry_name_valid(registry_str_t name)
{
    const char  *p, *end;

    if (name.len == 0 || name.len > REGISTRY_NAME_MAX) {
        return 0;
    }

    p = name.data;
    end = name.data + name.len;

    /* runs of letters and digits, one separator or slash between two */

    for ( ;; ) {

        if (p == end || !registry_name_alnum(*p)) {
            return 0;
        }

        do {
            p++;

            if (p == end) {
                return 1;
            }

        } while (registry_name_alnum(*p));

        switch (*p++) {

        case '/':
        case '.':
            break;

        case '_':
            if (p != end && *p == '_') {
                p++;
            }

            break;

        case '-':
            while (p != end && *p == '-') {
                p++;
            }

            break;

        default:
            return 0;
        }
    }
}


int
registry_tag_valid(registry_str_t tag)
{
    char    c;
    size_t  i;

    if (tag.len == 0 || tag.len > REGISTRY_TAG_MAX) {
        return 0;
    }

    for (i = 0; i < tag.len; i++) {
        c = tag.data[i];

        if (registry_name_alnum(c) || (c >= 'A' && c <= 'Z') || c == '_') {
            continue;
        }

        if (i == 0 || (c != '.' && c != '-')) {
            return 0;
        }
    }

    return 1;
}


int
registry_pattern_valid(registry_str_t pattern)
{
    char    c;
    size_t  i;

    if (pattern.len == 0 || pattern.len > REGISTRY_NAME_MAX) {
        return 0;
    }

    for (i = 0; i < pattern.len; i++) {
        c = pattern.data[i];

        if (!registry_name_alnum(c) && c != '*' && c != '/' && c != '.'
            && c != '_' && c != '-')
        {
            return 0;
        }
    }

    return 1;
}


/* when what follows the last "*" does not fit, it takes one byte more */

int
registry_name_match(registry_str_t name, registry_str_t pattern)
{
    size_t  n, p, star, taken;

    n = 0;
    p = 0;
    star = pattern.len;
    taken = 0;

    while (n < name.len) {

        if (p < pattern.len && pattern.data[p] == '*') {
            star = p++;
            taken = n;

        } else if (p < pattern.len && pattern.data[p] == name.data[n]) {
            p++;
            n++;

        } else if (star < pattern.len) {
            p = star + 1;
            n = ++taken;

        } else {
            return 0;
        }
    }

    while (p < pattern.len && pattern.data[p] == '*') {
        p++;
    }

    return p == pattern.len;
}


static int
registry_name_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
