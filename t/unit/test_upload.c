
/*
 * Upload session identifiers.
 */


#include "registry_upload.h"
#include "unit.h"


static void
check_id(const char *text, int expected)
{
    registry_str_t  s;

    s = unit_text(text);
    unit_ok(registry_upload_id_valid(s) == expected, "\"%s\" %s", text,
            expected ? "is valid" : "is not valid");
    unit_free(s);
}


static void
check_random(int byte, const char *expected)
{
    char            id[REGISTRY_UPLOAD_ID_LEN + 1];
    registry_str_t  s;
    unsigned char   random[REGISTRY_UPLOAD_RANDOM_LEN];

    memset(random, byte, sizeof(random));
    memset(id, 'x', sizeof(id));

    registry_upload_id(random, id);

    unit_ok(id[REGISTRY_UPLOAD_ID_LEN] == 'x', "not a byte too many");
    id[REGISTRY_UPLOAD_ID_LEN] = '\0';

    unit_is(id, expected, "an id has version and variant of RFC 9562");

    s = unit_text(id);
    unit_ok(registry_upload_id_valid(s), "and is valid");
    unit_free(s);
}


int
main(void)
{
    char           id[REGISTRY_UPLOAD_ID_LEN + 1];
    size_t         i;
    unsigned char  random[REGISTRY_UPLOAD_RANDOM_LEN];

    check_random(0x00, "00000000-0000-4000-8000-000000000000");
    check_random(0xff, "ffffffff-ffff-4fff-bfff-ffffffffffff");

    for (i = 0; i < sizeof(random); i++) {
        random[i] = (unsigned char) (i * 17);
    }

    registry_upload_id(random, id);
    id[REGISTRY_UPLOAD_ID_LEN] = '\0';
    unit_is(id, "00112233-4455-4677-8899-aabbccddeeff",
            "the bytes stand in their order");

    /* Distribution 3 makes version 7 */

    check_id("018f4d0e-6f2b-7c3a-9d4e-5f60718293a4", 1);

    check_id("", 0);
    check_id("018f4d0e-6f2b-7c3a-9d4e-5f60718293a", 0);
    check_id("018f4d0e-6f2b-7c3a-9d4e-5f60718293a4a", 0);
    check_id("018F4D0E-6F2B-7C3A-9D4E-5F60718293A4", 0);
    check_id("018f4d0e06f2b-7c3a-9d4e-5f60718293a4", 0);
    check_id("018f4d0e-6f2b-7c3a-9d4e-5f6071829-a4", 0);
    check_id("018f4d0e-6f2b-7c3a-9d4e-5f60718293g4", 0);
    check_id("../../../../../../../../../../etc/pa", 0);
    check_id("018f4d0e-6f2b-7c3a-9d4e-5f60718293a\n", 0);

    return unit_done();
}
