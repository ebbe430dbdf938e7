
/*
 * Repository names and tags.
 */


#include "registry_name.h"
#include "unit.h"


static void
check_name(const char *text, int expected)
{
    registry_str_t  s;

    s = unit_text(text);
    unit_ok(registry_name_valid(s) == expected, "name \"%.60s\" %s", text,
            expected ? "is valid" : "is not valid");
    unit_free(s);
}


static void
check_tag(const char *text, int expected)
{
    registry_str_t  s;

    s = unit_text(text);
    unit_ok(registry_tag_valid(s) == expected, "tag \"%.60s\" %s", text,
            expected ? "is valid" : "is not valid");
    unit_free(s);
}


static void
check_names(void)
{
    size_t                    i;
    static const char *const  good[] = {
        "a", "0", "library/nginx", "a.b", "a_b", "a__b", "a-b", "a---b",
        "a/b/c/d/e", "0/1", "a-b_c__d.e/f", "blobs/uploads", "v2",
        "registry.corp/team/image", "a/manifests/b"
    };
    static const char *const  bad[] = {
        "", "A", "nginX", "/", "a/", "/a", "a//b", ".", "..", "a/..",
        "../a", "a/../b", ".a", "a.", "a..b", "_a", "a_", "a___b", "__a",
        "-a", "a-", "a/-b", "a-/b", "a.-b", "a-.b", "a_-b", "a/_b", "a/.b",
        "a b", " a", "a ", "a\n", "a:5000/b", "a@b", "a%2fb", "a\\b",
        "caf\xc3\xa9", "_catalog", "a/_manifests", "a+b", "a~b", "a\x7f"
    };

    for (i = 0; i < unit_count(good); i++) {
        check_name(good[i], 1);
    }

    for (i = 0; i < unit_count(bad); i++) {
        check_name(bad[i], 0);
    }
}


static void
check_name_bytes(void)
{
    int             c, n;
    char            text[4];
    registry_str_t  s;

    /* every byte between two letters: those of the grammar and no other */

    n = 0;

    for (c = 0; c < 256; c++) {
        text[0] = 'a';
        text[1] = (char) c;
        text[2] = 'b';

        s = unit_bytes(text, 3);
        n += registry_name_valid(s);
        unit_free(s);
    }

    unit_is_number(n, 26 + 10 + 4, "bytes allowed inside a name");

    /* and behind one: neither a separator nor a zero */

    n = 0;

    for (c = 0; c < 256; c++) {
        text[1] = (char) c;

        s = unit_bytes(text, 2);
        n += registry_name_valid(s);
        unit_free(s);
    }

    unit_is_number(n, 26 + 10, "bytes allowed at the end of a name");
}


static void
check_match(const char *pattern, const char *name, int expected)
{
    registry_str_t  p, s;

    p = unit_text(pattern);
    s = unit_text(name);

    unit_ok(registry_name_match(s, p) == expected,
            "\"%s\" is %s as \"%s\" says", name, expected ? "" : "not ",
            pattern);

    unit_free(s);
    unit_free(p);
}


static void
check_patterns(void)
{
    size_t                    i;
    registry_str_t            s;
    static const char *const  good[] = {
        "*", "**", "a", "a/*", "*/b", "a-*_x.y", "*a*", "//"
    };
    static const char *const  bad[] = {
        "", "A", "a b", "a:1", "a@b", "a?", "[a]", "a\\", "a%", "\x7f"
    };
    static const struct {
        const char  *pattern;
        const char  *yes[5];
        const char  *no[6];
    }  cases[] = {
        { "a", { "a" }, { "b", "aa", "", "a/a" } },
        { "*", { "a", "a/b", "" }, { NULL } },
        { "a/*", { "a/b", "a/b/c", "a/" }, { "a", "aa/b", "b/a/c" } },
        { "*/b", { "a/b", "a/a/b", "b/b", "/b" }, { "b", "a/bb", "a/b/c" } },
        { "a*b", { "ab", "a/b", "abb", "aab", "a/b/b" },
          { "a", "b", "abc", "ba" } },
        { "a*b*c", { "abc", "aXbYc", "abcabc", "abbcc" },
          { "ac", "acb", "ab", "bac" } },
        { "*ab*ab*", { "abab", "aabab", "xabyabz" }, { "ab", "aba", "abba" } },
        { "a**b", { "ab", "axb" }, { "a" } }
    };
    size_t                    j;

    for (i = 0; i < unit_count(good); i++) {
        s = unit_text(good[i]);
        unit_ok(registry_pattern_valid(s), "pattern \"%s\"", good[i]);
        unit_free(s);
    }

    for (i = 0; i < unit_count(bad); i++) {
        s = unit_text(bad[i]);
        unit_ok(!registry_pattern_valid(s), "no pattern \"%s\"", bad[i]);
        unit_free(s);
    }

    for (i = 0; i < unit_count(cases); i++) {

        for (j = 0; j < 5 && cases[i].yes[j]; j++) {
            check_match(cases[i].pattern, cases[i].yes[j], 1);
        }

        for (j = 0; j < 6 && cases[i].no[j]; j++) {
            check_match(cases[i].pattern, cases[i].no[j], 0);
        }
    }
}


static void
check_lengths(void)
{
    char            text[512];
    registry_str_t  s;

    memset(text, 'a', sizeof(text));

    s = unit_bytes(text, REGISTRY_NAME_MAX);
    unit_ok(registry_name_valid(s), "a name of 255 bytes");
    unit_free(s);

    s = unit_bytes(text, REGISTRY_NAME_MAX + 1);
    unit_ok(!registry_name_valid(s), "no name of 256 bytes");
    unit_ok(!registry_pattern_valid(s), "no pattern of 256 bytes");
    unit_free(s);

    text[1] = '/';

    s = unit_bytes(text, REGISTRY_NAME_MAX + 1);
    unit_ok(!registry_name_valid(s), "the length is that of all components");
    unit_free(s);

    memset(text, 'a', sizeof(text));

    s = unit_bytes(text, REGISTRY_TAG_MAX);
    unit_ok(registry_tag_valid(s), "a tag of 128 bytes");
    unit_free(s);

    s = unit_bytes(text, REGISTRY_TAG_MAX + 1);
    unit_ok(!registry_tag_valid(s), "no tag of 129 bytes");
    unit_free(s);
}


static void
check_tags(void)
{
    size_t                    i;
    static const char *const  good[] = {
        "latest", "1", "1.27.0", "_", "_a", "A", "V1-alpine_3.19", "a..b",
        "a--", "a.", "sha256-0123"
    };
    static const char *const  bad[] = {
        "", ".", "..", ".a", "-a", "a/b", "a:b", "a b", "a\n", "a%20",
        "sha256:0123", "caf\xc3\xa9", "a\\b", "a+b"
    };

    for (i = 0; i < unit_count(good); i++) {
        check_tag(good[i], 1);
    }

    for (i = 0; i < unit_count(bad); i++) {
        check_tag(bad[i], 0);
    }
}


int
main(void)
{
    registry_str_t  zero;

    check_names();
    check_name_bytes();
    check_tags();
    check_lengths();
    check_patterns();

    zero = unit_bytes("a\0b", 3);
    unit_ok(!registry_name_valid(zero), "no name with a zero in it");
    unit_ok(!registry_tag_valid(zero), "no tag with a zero in it");
    unit_free(zero);

    return unit_done();
}
