
/*
 * Sessions of other registries, as text.
 */


#include "registry_relay.h"
#include "unit.h"


static const unsigned char  key[REGISTRY_RELAY_KEY] = "0123456789abcdef"
                                                      "0123456789abcdef";
static const unsigned char  other[REGISTRY_RELAY_KEY] = "another key";


static registry_str_t
unit_str(const char *text)
{
    registry_str_t  s;

    s.data = text;
    s.len = strlen(text);

    return s;
}


static void
check_session(const char *repository, const char *peer, const char *path)
{
    char            text[REGISTRY_RELAY_MAX], buf[REGISTRY_RELAY_MAX];
    char            wrong[REGISTRY_RELAY_MAX];
    size_t          i, len, accepted;
    registry_str_t  in, p, u;

    if (!unit_ok(registry_relay_write(key, unit_str(repository),
                                      unit_str(peer), unit_str(path), text,
                                      &len)
                 == REGISTRY_OK, "\"%s\" is written", path))
    {
        return;
    }

    in.data = text;
    in.len = len;

    unit_ok(registry_relay_read(key, unit_str(repository), in, buf, &p, &u)
            == REGISTRY_OK
            && p.len == strlen(peer) && memcmp(p.data, peer, p.len) == 0
            && u.len == strlen(path) && memcmp(u.data, path, u.len) == 0,
            "\"%s\" is read", path);

    unit_ok(strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                         "0123456789-_.") >= len, "it needs no encoding");

    unit_ok(registry_relay_read(other, unit_str(repository), in, buf, &p, &u)
            == REGISTRY_INVALID, "another key");
    unit_ok(registry_relay_read(key, unit_str("another/one"), in, buf, &p, &u)
            == REGISTRY_INVALID, "another repository");

    accepted = 0;

    for (i = 0; i < len; i++) {
        memcpy(wrong, text, len);
        wrong[i] = (wrong[i] == 'A') ? 'B' : 'A';
        in.data = wrong;
        in.len = len;

        accepted += (registry_relay_read(key, unit_str(repository), in, buf,
                                         &p, &u) == REGISTRY_OK);
    }

    unit_ok(accepted == 0, "every character counts");

    in.data = text;
    accepted = 0;

    for (in.len = 0; in.len < len; in.len++) {
        accepted += (registry_relay_read(key, unit_str(repository), in, buf,
                                         &p, &u) == REGISTRY_OK);
    }

    unit_ok(accepted == 0, "it cannot be cut short");
}


int
main(void)
{
    char            text[REGISTRY_RELAY_MAX], path[REGISTRY_RELAY_MAX];
    size_t          len, i;
    registry_str_t  long_path;

    check_session("a", "", "/v2/a/blobs/uploads/1");
    check_session("library/alpine", "10.0.0.1:443",
                  "/v2/library/alpine/blobs/uploads/"
                  "0b4e2f5e-5f3e-4a43-9d39-5a2d3cf6a1f2?_state=aGVsbG8%3D");
    check_session("a/b", "[::1]:5000", "/x");
    check_session("a/b", "peer", "");

    memset(path, 'x', sizeof(path));
    long_path.data = path;

    for (i = 2900; i < sizeof(path); i++) {
        long_path.len = i;

        if (registry_relay_write(key, unit_str("a"), unit_str(""), long_path,
                                 text, &len)
            != REGISTRY_OK)
        {
            break;
        }

        if (len > sizeof(text)) {
            unit_ok(0, "a session of %d bytes", (int) len);
        }
    }

    unit_ok(i > 3000 && i < sizeof(path), "too long a session");

    return unit_done();
}
