
/*
 * URLs, references, and which addresses are public.
 */


#include <arpa/inet.h>

#include "registry_url.h"
#include "unit.h"


/* a URL as the tables have it: what it is taken apart into */

typedef struct {
    const char  *text;
    int          https;
    const char  *host;
    int          port;
    const char  *authority;
    const char  *path;
} url_t;


typedef struct {
    const char  *reference;
    const char  *target;                /* NULL: invalid */
} reference_t;


static const url_t  urls[] = {
    { "http://a", 0, "a", 80, "a", "/" },
    { "http://a/", 0, "a", 80, "a", "/" },
    { "HTTPS://Reg.Example.COM", 1, "Reg.Example.COM", 443,
      "Reg.Example.COM", "/" },
    { "https://a:443/v2/", 1, "a", 443, "a:443", "/v2/" },
    { "https://a:80", 1, "a", 80, "a:80", "/" },
    { "http://a:80/b", 0, "a", 80, "a:80", "/b" },
    { "http://a:/b", 0, "a", 80, "a", "/b" },
    { "http://a:000080/b", 0, "a", 80, "a:000080", "/b" },
    { "http://a:1", 0, "a", 1, "a:1", "/" },
    { "http://a:65535", 0, "a", 65535, "a:65535", "/" },
    { "https://a.b-c_d.e./x/../y?z=/?#f", 1, "a.b-c_d.e.", 443, "a.b-c_d.e.",
      "/x/../y?z=/?" },
    { "http://a/#", 0, "a", 80, "a", "/" },
    { "http://a#b?c", 0, "a", 80, "a", "/" },
    { "http://a/b|c{d}\\\"%zz", 0, "a", 80, "a", "/b|c{d}\\\"%zz" },
    { "http://a/?", 0, "a", 80, "a", "/?" },
    { "http://a/user@b:c", 0, "a", 80, "a", "/user@b:c" },
    { "http://127.0.0.1:5000/v2/", 0, "127.0.0.1", 5000, "127.0.0.1:5000",
      "/v2/" },
    { "http://1.2.3.4.example", 0, "1.2.3.4.example", 80, "1.2.3.4.example",
      "/" },
    { "http://0xfg", 0, "0xfg", 80, "0xfg", "/" },
    { "http://1a", 0, "1a", 80, "1a", "/" },
    { "http://[::1]", 0, "::1", 80, "[::1]", "/" },
    { "https://[2001:db8::A]:8443/x", 1, "2001:db8::A", 8443,
      "[2001:db8::A]:8443", "/x" },
    { "http://[1::]", 0, "1::", 80, "[1::]", "/" },
    { "http://[1:2:3:4:5:6:7:8]", 0, "1:2:3:4:5:6:7:8", 80,
      "[1:2:3:4:5:6:7:8]", "/" },
    { "http://[1:2:3:4:5:6:1.2.3.4]", 0, "1:2:3:4:5:6:1.2.3.4", 80,
      "[1:2:3:4:5:6:1.2.3.4]", "/" },
    { "http://[::ffff:10.0.0.1]:/", 0, "::ffff:10.0.0.1", 80,
      "[::ffff:10.0.0.1]", "/" }
};


static const char *const  invalid[] = {
    "", "/", "//a", "a", "?", "#", ":", "://a", "1http://a", "http", "http:",
    "http:/", "http:a", "http:/a", "http://", "http:///", "http:///a",
    "http://?", "http://#", "http://:80", "http://:80/", "http://.",
    "http://..", "http://.a", "http://a..b", "http://a..", "http://a b",
    "http://a /", " http://a", "http://a ", "http://a/ b", "http://a/\t",
    "http://a/\r\n", "http://a/\x7f", "http://a/\x80", "http://a\xc3\xa9/",
    "http://a/#\n", "http://user@a", "http://user:password@a", "http://@a",
    "http://a@", "http://a\\@b", "http://a\\b", "http://a%2fb", "http://a%",
    "http://a,b", "http://a*", "http://a:0", "http://a:65536",
    "http://a:18446744073709551617", "http://a:-1", "http://a:+1",
    "http://a:b", "http://a:80:80", "http://a::80", "http://[::1", "http://[",
    "http://[]", "http://[]:80", "http://::1", "http://[::1]80",
    "http://[::1]a", "http://[::1]:0", "http://[::1]]", "http://[1.2.3.4]",
    "http://[fe80::1%25eth0]", "http://[fe80::1%eth0]", "http://[v1.a]",
    "http://[::g]", "http://[::1.2]", "http://[::1.2.3.4:5]",
    "http://[1:2]", "http://[1:2:3:4:5:6:7:8:]", "http://[:1::2]",
    "http://[1::2::3]", "http://[:::]", "http://[1:2:3:4:5:6:7::8]",
    "http://[1:]", "http://[::12345]", "http://[1:2:3:4:5:6:7:8:9]",
    "http://[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]",
    "http://1", "http://127.1", "http://127.0.0.1.", "http://2130706433",
    "http://0x7f000001", "http://0x", "http://0X7F.1", "http://a.0x1f",
    "http://a.1", "http://1.2.3.4.5", "http://1.2.3", "http://256.1.1.1",
    "http://010.0.0.1", "http://1.2.3.0x4"
};


static const char *const  unsupported[] = {
    "ftp://a/", "file:///etc/passwd", "httpss://a", "httq://a", "unix:/run/x",
    "localhost:5000/token", "a+b-c.1:x", "http://a?b", "https://[::1]?b#c"
};


/* RFC 3986, section 5.4, against http://a/b/c/d;p?q */

static const reference_t  references[] = {
    { "g", "http://a/b/c/g" },
    { "./g", "http://a/b/c/g" },
    { "g/", "http://a/b/c/g/" },
    { "/g", "http://a/g" },
    { "//g", "http://g/" },
    { "?y", "http://a/b/c/d;p?y" },
    { "g?y", "http://a/b/c/g?y" },
    { "#s", "http://a/b/c/d;p?q" },
    { "g#s", "http://a/b/c/g" },
    { "g?y#s", "http://a/b/c/g?y" },
    { ";x", "http://a/b/c/;x" },
    { "g;x", "http://a/b/c/g;x" },
    { "g;x?y#s", "http://a/b/c/g;x?y" },
    { "", "http://a/b/c/d;p?q" },
    { ".", "http://a/b/c/" },
    { "./", "http://a/b/c/" },
    { "..", "http://a/b/" },
    { "../", "http://a/b/" },
    { "../g", "http://a/b/g" },
    { "../..", "http://a/" },
    { "../../", "http://a/" },
    { "../../g", "http://a/g" },

    { "../../../g", "http://a/g" },
    { "../../../../g", "http://a/g" },
    { "/./g", "http://a/g" },
    { "/../g", "http://a/g" },
    { "g.", "http://a/b/c/g." },
    { ".g", "http://a/b/c/.g" },
    { "g..", "http://a/b/c/g.." },
    { "..g", "http://a/b/c/..g" },
    { "./../g", "http://a/b/g" },
    { "./g/.", "http://a/b/c/g/" },
    { "g/./h", "http://a/b/c/g/h" },
    { "g/../h", "http://a/b/c/h" },
    { "g;x=1/./y", "http://a/b/c/g;x=1/y" },
    { "g;x=1/../y", "http://a/b/c/y" },
    { "g?y/./x", "http://a/b/c/g?y/./x" },
    { "g?y/../x", "http://a/b/c/g?y/../x" },
    { "g#s/./x", "http://a/b/c/g" },
    { "g#s/../x", "http://a/b/c/g" },

    /* others */

    { "?", "http://a/b/c/d;p?" },
    { "/", "http://a/" },
    { "/..", "http://a/" },
    { "/.", "http://a/" },
    { "/a/b/..", "http://a/a/" },
    { "/.//b", "http://a//b" },
    { "//b//c", "http://b//c" },
    { "/a//../b", "http://a/a/b" },
    { "..?x", "http://a/b/?x" },
    { "/v2/a/blobs/uploads/1?_state=x%3D%3D",
      "http://a/v2/a/blobs/uploads/1?_state=x%3D%3D" },
    { "//b?x", "http://b/?x" },
    { "//b:8080", "http://b:8080/" },
    { "//b:/", "http://b/" },
    { "HTTPS://B/x/./y", "https://B/x/y" },
    { "https://b?x", "https://b/?x" },
    { "https://b/../..?../x#y", "https://b/?../x" },
    { "g:h", NULL },
    { "http:g", NULL },
    { "///c", NULL },
    { "//", NULL },
    { "//user@b/", NULL },
    { "/a b", NULL },
    { "/a\r\nb: c", NULL },
    { "/#\x01", NULL },
    { "//127.1/", NULL },
    { "https://b:0/", NULL }
};


/* networks: the first address before one, of it, the last, the one behind */

static const char *const  public[] = {
    "1.0.0.0", "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0",
    "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
    "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0",
    "191.255.255.255", "192.0.1.0", "192.0.3.0", "192.88.98.255",
    "192.88.100.0", "192.167.255.255", "192.169.0.0", "198.17.255.255",
    "198.20.0.0", "198.51.99.255", "198.51.101.0", "203.0.112.255",
    "203.0.114.0", "223.255.255.255",

    "2000::", "2001:200::1", "2001:db7:ffff::", "2001:db9::", "2003::1",
    "2606:4700::1111", "2a00:1450:4001::1", "3ffd:ffff::", "3fff:1000::",
    "::ffff:8.8.8.8", "::8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"
};


static const char *const  private[] = {
    "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0",
    "100.127.255.255", "127.0.0.0", "127.0.0.1", "127.255.255.255",
    "169.254.0.0", "169.254.169.254", "169.254.255.255", "172.16.0.0",
    "172.31.255.255", "192.0.0.0", "192.0.0.255", "192.0.2.0", "192.0.2.255",
    "192.88.99.1", "192.168.0.0", "192.168.255.255", "198.18.0.0",
    "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.0",
    "239.255.255.255", "240.0.0.0", "255.255.255.254", "255.255.255.255",

    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
    "::fffe:8.8.8.8", "64:ff9b::10.0.0.1", "64:ff9b:0:0:0:1:808:808",
    "64:ff9b:1::8.8.8.8", "100::1", "2002:7f00:1::1", "2002:a9fe:a9fe::",
    "1fff::1", "4000::1", "2001::1", "2001:1ff:ffff::", "2001:db8::1",
    "2001:db8:ffff::", "3ffe::1", "3fff::1", "3fff:fff::1", "5f00::1",
    "fc00::", "fd00::1", "fdff::1", "fe80::1", "febf::1", "fec0::1",
    "ff02::1", "ff0e::1"
};


static int
same(registry_str_t s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}


static void
check_url(const url_t *u)
{
    registry_str_t     s;
    registry_url_t     url;
    registry_status_e  status;

    s = unit_text(u->text);
    memset(&url, 0, sizeof(url));
    status = registry_url_parse(s, &url);

    if (unit_ok(status == REGISTRY_OK, "\"%s\" is a URL", u->text)) {
        unit_ok((int) url.https == u->https && same(url.host, u->host)
                && same(url.authority, u->authority), "its host");
        unit_ok((int) url.port == u->port
                && url.default_port == (u->port == (u->https ? 443 : 80)),
                "its port");
        unit_ok(same(url.path, u->path), "its path");
        unit_ok(url.ipv6 == (strchr(u->text, '[') != NULL),
                "whether it is an IPv6 address");
    }

    unit_free(s);
}


static void
check_status(const char *text, registry_status_e expected)
{
    registry_str_t  s;
    registry_url_t  url;

    s = unit_text(text);
    unit_ok(registry_url_parse(s, &url) == expected,
            "status %d for number of bytes %d", (int) expected, (int) s.len);
    unit_free(s);
}


static void
check_length(void)
{
    char    text[REGISTRY_URL_MAX + 2];
    size_t  i, n;

    n = sizeof("http://a/") - 1;
    memset(text, 'x', sizeof(text));
    memcpy(text, "http://a/", n);

    text[REGISTRY_URL_MAX + 1] = '\0';
    check_status(text, REGISTRY_INVALID);

    text[REGISTRY_URL_MAX] = '\0';
    check_status(text, REGISTRY_OK);

    n = sizeof("http://") - 1;

    for (i = 0; i < REGISTRY_HOST_MAX + 1; i++) {
        text[n + i] = 'h';
    }

    text[n + i] = '\0';
    check_status(text, REGISTRY_INVALID);

    text[n + i - 1] = '\0';
    check_status(text, REGISTRY_OK);
}


static void
resolve(const registry_url_t *base, const reference_t *r)
{
    char               *buf;
    size_t              size, len;
    registry_str_t      s, got;
    registry_url_t      url;
    registry_status_e   status;

    s = unit_text(r->reference);
    buf = malloc(REGISTRY_URL_MAX);

    status = registry_url_resolve(base, s, buf, REGISTRY_URL_MAX, &url);

    if (r->target == NULL) {
        unit_ok(status == REGISTRY_INVALID || status == REGISTRY_UNSUPPORTED,
                "a reference to nothing of %d bytes", (int) s.len);
        goto done;
    }

    if (!unit_ok(status == REGISTRY_OK, "\"%s\" is a reference",
                 r->reference))
    {
        goto done;
    }

    got.data = buf;
    got.len = (size_t) (url.path.data + url.path.len - buf);
    len = got.len;

    if (!unit_ok(same(got, r->target), "to %s", r->target)) {
        printf("# got: %.*s\n", (int) got.len, got.data);
    }

    /* in all sizes that are too small, and the first that is not */

    for (size = 0; size <= REGISTRY_URL_MAX; size++) {
        free(buf);
        buf = malloc(size ? size : 1);
        status = registry_url_resolve(base, s, buf, size, &url);

        if (status == REGISTRY_OK) {
            break;
        }
    }

    unit_ok(size >= len && size <= len + s.len + 9,
            "which fits into its own length and dots");

done:

    free(buf);
    unit_free(s);
}


static void
check_references(void)
{
    size_t          i;
    registry_str_t  s;
    registry_url_t  base;
    reference_t     r;

    s = unit_text("http://a/b/c/d;p?q");
    unit_ok(registry_url_parse(s, &base) == REGISTRY_OK, "the base");

    for (i = 0; i < unit_count(references); i++) {
        resolve(&base, &references[i]);
    }

    unit_free(s);

    s = unit_text("https://[::1]:5000");
    unit_ok(registry_url_parse(s, &base) == REGISTRY_OK, "another base");

    r.reference = "a/b?c";
    r.target = "https://[::1]:5000/a/b?c";
    resolve(&base, &r);

    r.reference = "//b";
    r.target = "https://b/";
    resolve(&base, &r);

    r.reference = "";
    r.target = "https://[::1]:5000/";
    resolve(&base, &r);

    unit_free(s);

    r.reference = "https://a?b";
    r.target = "https://a/?b";
    resolve(NULL, &r);

    r.reference = "//a/b";
    r.target = NULL;
    resolve(NULL, &r);

    r.reference = "/b";
    resolve(NULL, &r);

    r.reference = "";
    resolve(NULL, &r);
}


/* a long base and a long reference must not make a longer URL */

static void
check_long_reference(void)
{
    char               *text, *buf;
    registry_str_t      s;
    registry_url_t      base, url;
    registry_status_e   status;

    text = malloc(REGISTRY_URL_MAX);
    buf = malloc(4 * REGISTRY_URL_MAX);

    memset(text, 'x', REGISTRY_URL_MAX);
    memcpy(text, "http://a/", 9);
    text[REGISTRY_URL_MAX - 1] = '/';

    s.data = text;
    s.len = REGISTRY_URL_MAX;
    unit_ok(registry_url_parse(s, &base) == REGISTRY_OK, "a long base");

    s.data = "b";
    s.len = 1;
    status = registry_url_resolve(&base, s, buf, 4 * REGISTRY_URL_MAX, &url);
    unit_ok(status == REGISTRY_INVALID, "and what it makes too long");

    s.data = "..";
    s.len = 2;
    status = registry_url_resolve(&base, s, buf, 4 * REGISTRY_URL_MAX, &url);
    unit_ok(status == REGISTRY_OK && same(url.path, "/"),
            "unless it gets shorter in the end");

    free(text);
    free(buf);
}


static void
check_origin(const char *left, const char *right, int expected)
{
    registry_str_t  s, t;
    registry_url_t  a, b;

    s = unit_text(left);
    t = unit_text(right);

    unit_ok(registry_url_parse(s, &a) == REGISTRY_OK
            && registry_url_parse(t, &b) == REGISTRY_OK
            && registry_url_same_origin(&a, &b) == expected
            && registry_url_same_origin(&b, &a) == expected,
            "%s and %s are %s", left, right, expected ? "one" : "two");

    unit_free(s);
    unit_free(t);
}


static void
check_shown(const char *text, const char *expected)
{
    registry_str_t  s;

    s = unit_text(text);
    unit_ok(same(registry_url_shown(s), expected), "%s is shown as %s", text,
            expected);
    unit_free(s);
}


static void
check_long_shown(void)
{
    char            text[REGISTRY_URL_SHOWN + 1];
    registry_str_t  s;

    memset(text, 'a', sizeof(text));
    s = unit_bytes(text, sizeof(text));
    unit_is_number(registry_url_shown(s).len, REGISTRY_URL_SHOWN,
                   "no more is shown");
    unit_free(s);
}


static void
check_address(const char *text, int expected)
{
    int             family;
    unsigned char   raw[16];
    registry_str_t  addr;

    family = strchr(text, ':') ? AF_INET6 : AF_INET;

    unit_ok(inet_pton(family, text, raw) == 1, "%s is an address", text);

    addr = unit_bytes(raw, family == AF_INET6 ? 16 : 4);
    unit_is_number(registry_address_private((const unsigned char *) addr.data,
                                            addr.len),
                   expected, "whether it is private");
    unit_free(addr);
}


int
main(void)
{
    size_t  i;

    for (i = 0; i < unit_count(urls); i++) {
        check_url(&urls[i]);
    }

    for (i = 0; i < unit_count(invalid); i++) {
        check_status(invalid[i], REGISTRY_INVALID);
    }

    for (i = 0; i < unit_count(unsupported); i++) {
        check_status(unsupported[i], REGISTRY_UNSUPPORTED);
    }

    check_length();
    check_references();
    check_long_reference();

    check_origin("http://a", "HTTP://A:80/b", 1);
    check_origin("https://a:443", "https://a/", 1);
    check_origin("http://[::A]", "http://[::a]:80", 1);
    check_origin("http://a", "https://a", 0);
    check_origin("http://a:443", "https://a:443", 0);
    check_origin("http://a", "http://a:81", 0);
    check_origin("http://a", "http://b", 0);
    check_origin("http://a", "http://ab", 0);
    check_origin("http://a", "http://a.", 0);

    check_shown("", "");
    check_shown("http://a/b/c", "http://a/b/c");
    check_shown("/a?b", "/a");
    check_shown("?a", "");
    check_shown("http://a?b?c", "http://a");
    check_shown("http://a/b#c?d", "http://a/b");
    check_shown("http://user:password@a/b?c@d", "a/b");
    check_shown("user:p/a@ss@a:x/", "a:x/");
    check_shown("user:pass@", "");
    check_long_shown();

    for (i = 0; i < unit_count(public); i++) {
        check_address(public[i], 0);
    }

    for (i = 0; i < unit_count(private); i++) {
        check_address(private[i], 1);
    }

    unit_is_number(registry_address_private((const unsigned char *) "", 0), 1,
                   "no address is not public");

    return unit_done();
}
