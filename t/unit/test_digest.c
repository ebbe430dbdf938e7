
/*
 * Digests, hashes, and the stored state of a hash.
 */


#include "registry_digest.h"
#include "unit.h"


/* of nothing, and of "abc": FIPS 180-4's examples */

#define EMPTY256                                                              \
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC256                                                                \
    "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC512                                                                \
    "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a" \
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"

#define HEX32  "0123456789abcdef0123456789abcdef"
#define HEX64  HEX32 HEX32


static void
check_digest(const char *text, registry_status_e expected)
{
    registry_str_t     s;
    registry_digest_t  digest;
    registry_status_e  status;

    s = unit_text(text);
    status = registry_digest_parse(s, &digest);
    unit_free(s);

    unit_ok(status == expected, "\"%.30s\", %d bytes, is %s", text,
            (int) strlen(text), expected == REGISTRY_OK ? "a digest"
                             : expected == REGISTRY_INVALID ? "no digest"
                             : "a digest of another algorithm");

    if (status == REGISTRY_OK && expected == REGISTRY_OK) {
        unit_is(digest.text, text, "kept as it is");
        unit_is_number((long long) digest.len, (long long) strlen(text),
                       "with its length");
        unit_is(registry_digest_hex(&digest), text + 7, "and its hex digits");
        unit_ok(registry_digest_hex_len(&digest) == strlen(text) - 7,
                "and their number");
        unit_ok(strncmp(registry_algorithm_name(digest.algorithm), text, 6)
                == 0, "and its algorithm");
    }
}


static void
check_digests(void)
{
    check_digest("sha256:" HEX64, REGISTRY_OK);
    check_digest("sha512:" HEX64 HEX64, REGISTRY_OK);

    check_digest("", REGISTRY_INVALID);
    check_digest(":", REGISTRY_INVALID);
    check_digest("sha256", REGISTRY_INVALID);
    check_digest("sha256:", REGISTRY_INVALID);
    check_digest("sha256:baddigeststring", REGISTRY_INVALID);
    check_digest("sha256:" HEX64 "0", REGISTRY_INVALID);
    check_digest("sha256:" HEX64 "\n", REGISTRY_INVALID);
    check_digest("sha256:" HEX64 HEX64, REGISTRY_INVALID);
    check_digest("sha512:" HEX64, REGISTRY_INVALID);
    check_digest("sha256:../../../../../../etc/passwd/../../../../../../../"
                 "../../../../../..", REGISTRY_INVALID);
    check_digest("sha256:0123456789ABCDEF0123456789ABCDEF"
                 "0123456789ABCDEF0123456789ABCDEF", REGISTRY_INVALID);
    check_digest("SHA256:" HEX64, REGISTRY_INVALID);
    check_digest(" sha256:" HEX64, REGISTRY_INVALID);
    check_digest("sha256 :" HEX64, REGISTRY_INVALID);

    check_digest("sha384:" HEX64, REGISTRY_UNSUPPORTED);
    check_digest("md5:d41d8cd98f00b204e9800998ecf8427e",
                 REGISTRY_UNSUPPORTED);
    check_digest("multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46Hm",
                 REGISTRY_UNSUPPORTED);
    check_digest("sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564",
                 REGISTRY_UNSUPPORTED);
    check_digest("sha256+:" HEX64, REGISTRY_INVALID);
    check_digest("+sha256:" HEX64, REGISTRY_INVALID);
    check_digest("a++b:" HEX64, REGISTRY_INVALID);
    check_digest("a:b/c", REGISTRY_INVALID);
    check_digest("a:b:c", REGISTRY_INVALID);
    check_digest("a:..", REGISTRY_INVALID);
}


static void
check_algorithms(void)
{
    registry_str_t        s;
    registry_algorithm_e  algorithm;

    s = unit_text("sha512");
    unit_ok(registry_algorithm_parse(s, &algorithm) == REGISTRY_OK
            && algorithm == REGISTRY_SHA512, "sha512 is an algorithm");
    unit_free(s);

    s = unit_text("sha256");
    unit_ok(registry_algorithm_parse(s, &algorithm) == REGISTRY_OK
            && algorithm == REGISTRY_SHA256, "sha256 is an algorithm");
    unit_free(s);

    s = unit_text("sha384");
    unit_ok(registry_algorithm_parse(s, &algorithm) == REGISTRY_UNSUPPORTED,
            "sha384 is none of ours");
    unit_free(s);

    s = unit_text("");
    unit_ok(registry_algorithm_parse(s, &algorithm) == REGISTRY_UNSUPPORTED,
            "neither is nothing");
    unit_free(s);
}


static void
check_hashes(void)
{
    registry_digest_t  a, b;

    registry_hash_bytes(REGISTRY_SHA256, "", 0, &a);
    unit_is(a.text, EMPTY256, "sha256 of nothing");

    registry_hash_bytes(REGISTRY_SHA256, "abc", 3, &b);
    unit_is(b.text, ABC256, "sha256 of abc");
    unit_ok(!registry_digest_equal(&a, &b), "the two differ");

    registry_hash_bytes(REGISTRY_SHA256, "abc", 3, &a);
    unit_ok(registry_digest_equal(&a, &b), "the same twice is equal");

    registry_hash_bytes(REGISTRY_SHA512, "abc", 3, &b);
    unit_is(b.text, ABC512, "sha512 of abc");
    unit_ok(!registry_digest_equal(&a, &b), "equal needs one algorithm");
}


/* stores the state after every number of bytes, goes on from there */

static void
check_bytes(registry_algorithm_e algorithm, size_t expected)
{
    size_t             len;
    unsigned char      bytes[REGISTRY_HASH_MAX + 1];
    registry_digest_t  digest, copy;

    memset(bytes, 0xee, sizeof(bytes));
    memset(&copy, 0, sizeof(copy));

    registry_hash_bytes(algorithm, "abc", 3, &digest);

    len = registry_digest_bytes(&digest, bytes);

    unit_ok(len == expected && len == registry_hash_len(algorithm)
            && bytes[len] == 0xee, "%s: %zu bytes",
            registry_algorithm_name(algorithm), len);

    registry_digest_set(&copy, algorithm, bytes);

    unit_is(copy.text, digest.text, "and back");
    unit_ok(registry_digest_equal(&copy, &digest)
            && copy.algorithm == algorithm, "which is equal");
}


static void
check_states(registry_algorithm_e algorithm)
{
    char               buf[REGISTRY_HASH_STATE_MAX];
    size_t             i, n, longest, wrong;
    registry_str_t     s;
    unsigned char      data[300];
    registry_hash_t    hash, other;
    registry_digest_t  expected, digest;

    for (i = 0; i < sizeof(data); i++) {
        data[i] = (unsigned char) (i * 7 + 1);
    }

    registry_hash_bytes(algorithm, data, sizeof(data), &expected);

    wrong = 0;
    longest = 0;

    for (i = 0; i <= sizeof(data); i++) {
        registry_hash_init(&hash, algorithm);
        registry_hash_update(&hash, data, i);

        n = registry_hash_export(&hash, buf);
        longest = n > longest ? n : longest;

        memset(&other, 0xee, sizeof(other));
        s = unit_bytes(buf, n);

        if (registry_hash_import(s, &other) != REGISTRY_OK
            || other.length != i)
        {
            wrong++;
            unit_free(s);
            continue;
        }

        unit_free(s);

        registry_hash_update(&other, data + i, sizeof(data) - i);
        registry_hash_final(&other, &digest);

        /* the one that was stored goes on as well */

        if (!registry_digest_equal(&digest, &expected)) {
            wrong++;
        }

        /* and it may be looked at in between */

        if (registry_hash_is(&hash, &expected, &digest)
            != (i == sizeof(data)))
        {
            wrong++;
        }

        registry_hash_update(&hash, data + i, sizeof(data) - i);

        if (!registry_hash_is(&hash, &expected, &digest)
            || !registry_digest_equal(&digest, &expected))
        {
            wrong++;
        }
    }

    unit_ok(wrong == 0, "%s: stored at each byte and taken up again",
            registry_algorithm_name(algorithm));
    unit_ok(longest <= REGISTRY_HASH_STATE_MAX, "and never too long");
}


static void
check_state_length(void)
{
    char             buf[REGISTRY_HASH_STATE_MAX];
    size_t           n;
    registry_str_t   s;
    registry_hash_t  hash, other;

    /*
     * lengths that need both words of OpenSSL's bit count; as if so many
     * bytes had been hashed
     */

    registry_hash_init(&hash, REGISTRY_SHA256);
    registry_hash_update(&hash, "abc", 3);
    hash.length += (uint64_t) 5 << 32;

    n = registry_hash_export(&hash, buf);
    s = unit_bytes(buf, n);

    unit_ok(registry_hash_import(s, &other) == REGISTRY_OK
            && other.length == hash.length
            && other.u.sha256.Nl == 3 * 8 && other.u.sha256.Nh == 5 * 8,
            "20 GiB of sha256");
    unit_free(s);

    registry_hash_init(&hash, REGISTRY_SHA512);
    hash.length = UINT64_MAX - 127;

    n = registry_hash_export(&hash, buf);
    s = unit_bytes(buf, n);

    unit_ok(registry_hash_import(s, &other) == REGISTRY_OK
            && other.u.sha512.Nl == (UINT64_MAX - 127) << 3
            && other.u.sha512.Nh == 7,
            "16 EiB of sha512");
    unit_free(s);
}


static void
check_state_text(void)
{
    char             buf[REGISTRY_HASH_STATE_MAX + 1];
    size_t           n;
    registry_hash_t  hash;

    registry_hash_init(&hash, REGISTRY_SHA256);
    n = registry_hash_export(&hash, buf);
    buf[n - 1] = '\0';

    /* the initial state is in FIPS 180-4, 5.3.3; the sum is sha256sum's */

    unit_is(buf, "registry-hash 1 sha256 0 "
            "6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19"
            " - b0065ba6330d79de", "the text of a state");
}


static int
import_bytes(const char *buf, size_t n)
{
    int              rc;
    registry_str_t   s;
    registry_hash_t  hash;

    s = unit_bytes(buf, n);
    rc = registry_hash_import(s, &hash) == REGISTRY_OK;
    unit_free(s);

    return rc;
}


/* writes the line with the sum that it would have */

static size_t
sum_line(char *buf, const char *line)
{
    size_t             n;
    registry_digest_t  sum;

    n = strlen(line);
    memcpy(buf, line, n);

    registry_hash_bytes(REGISTRY_SHA256, line, n, &sum);
    memcpy(buf + n, registry_digest_hex(&sum), 16);
    buf[n + 16] = '\n';

    return n + 17;
}


static void
check_state_damage(void)
{
    char             buf[2 * REGISTRY_HASH_STATE_MAX], bad[512];
    size_t           i, n, accepted;
    registry_hash_t  hash;

    registry_hash_init(&hash, REGISTRY_SHA256);
    registry_hash_update(&hash, "hello", 5);
    n = registry_hash_export(&hash, buf);

    unit_ok(import_bytes(buf, n), "a state as it was stored");

    accepted = 0;

    for (i = 0; i < n; i++) {
        accepted += (size_t) import_bytes(buf, i);
    }

    unit_ok(accepted == 0, "none that is cut short");

    for (i = 0; i < n; i++) {
        memcpy(bad, buf, n);
        bad[i] ^= 1;
        accepted += (size_t) import_bytes(bad, n);
        bad[i] ^= 1 ^ 0x20;
        accepted += (size_t) import_bytes(bad, n);
        bad[i] = '\0';
        accepted += (size_t) import_bytes(bad, n);
    }

    unit_ok(accepted == 0, "none that has a changed byte");

    memcpy(bad, buf, n);
    bad[n] = '\n';
    unit_ok(!import_bytes(bad, n + 1), "none with a byte more");

    memcpy(bad, buf, n);
    memcpy(bad + n, buf, n);
    unit_ok(!import_bytes(bad, 2 * n), "not two of them");

    memset(bad, ' ', sizeof(bad));
    unit_ok(!import_bytes(bad, sizeof(bad)), "no spaces");
}


#define H256  "6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19"


/* lines whose sum is right and whose contents export does not write */

static void
check_state_forms(void)
{
    char                      buf[1024];
    size_t                    i, n;
    static const char *const  lines[] = {
        "registry-hash 2 sha256 0 " H256 " - ",
        "registry-hash  1 sha256 0 " H256 " - ",
        "registry_hash 1 sha256 0 " H256 " - ",
        "registry-hash 1 sha384 0 " H256 " - ",
        "registry-hash 1 sha512 0 " H256 " - ",
        "registry-hash 1 sha256 00 " H256 " - ",
        "registry-hash 1 sha256 -1 " H256 " - ",
        "registry-hash 1 sha256 1 " H256 " - ",
        "registry-hash 1 sha256 1 " H256 " 6868 ",
        "registry-hash 1 sha256 1 " H256 " 6 ",
        "registry-hash 1 sha256 1 " H256 " 6G ",
        "registry-hash 1 sha256 1 " H256 " 6A ",
        "registry-hash 1 sha256 0 " H256 " 68 ",
        "registry-hash 1 sha256 0 " H256 "  ",
        "registry-hash 1 sha256 0 " H256 "00 - ",
        "registry-hash 1 sha256 0 " H256 " - - ",
        "registry-hash 1 sha256 99999999999999999999 " H256 " - ",
        "registry-hash 1 sha256 18446744073709551616 " H256 " - ",
        "registry-hash 1 sha256 0",
        "registry-hash 1 sha256",
        "registry-hash",
        ""
    };

    n = sum_line(buf, "registry-hash 1 sha256 1 " H256 " 68 ");
    unit_ok(import_bytes(buf, n), "a line with its sum");

    for (i = 0; i < unit_count(lines); i++) {
        n = sum_line(buf, lines[i]);
        unit_ok(!import_bytes(buf, n), "not \"%.24s...%s\"", lines[i],
                strlen(lines[i]) > 80 ? lines[i] + 80 : "");
    }
}


int
main(void)
{
    check_digests();
    check_algorithms();
    check_hashes();
    check_bytes(REGISTRY_SHA256, 32);
    check_bytes(REGISTRY_SHA512, 64);
    check_states(REGISTRY_SHA256);
    check_states(REGISTRY_SHA512);
    check_state_length();
    check_state_text();
    check_state_damage();
    check_state_forms();

    return unit_done();
}
