#include "keys.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "scratch.h"
#include "support.h"

const char *const test_seeds[TEST_KEYS] = {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                                           "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"};
const char *const test_public_keys[TEST_KEYS] = {"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                                                 "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"};

size_t from_hexadecimal(unsigned char *bytes, const char *digits) {
    size_t count = 0;
    for (unsigned byte; digits[0] != '\0' && sscanf(digits, "%2x", &byte) == 1; digits += 2)
        bytes[count++] = (unsigned char)byte;
    return count;
}

const char *write_pem(const char *name, const char *label, const unsigned char *der, size_t length) {
    unsigned char digits[1024];
    char text[1280];
    assert_true(length < 700);
    (void)EVP_EncodeBlock(digits, der, (int)length);
    int written = snprintf(text, sizeof text, "-----BEGIN %s-----\n%s\n-----END %s-----\n", label, (const char *)digits, label);
    const char *path = scratch_write(name, text, (size_t)written);
    assert_int_equal(chmod(path, 0600), 0);
    return path;
}

const char *private_key_file(size_t i) {
    char digits[128], name[32];
    unsigned char der[64];
    (void)snprintf(digits, sizeof digits, "302e020100300506032b657004220420%s", test_seeds[i]);
    (void)snprintf(name, sizeof name, "private-%zu.pem", i);
    return write_pem(name, "PRIVATE KEY", der, from_hexadecimal(der, digits));
}

const char *public_key_file(size_t i) {
    char digits[128], name[32];
    unsigned char der[64];
    (void)snprintf(digits, sizeof digits, "302a300506032b6570032100%s", test_public_keys[i]);
    (void)snprintf(name, sizeof name, "public-%zu.pem", i);
    return write_pem(name, "PUBLIC KEY", der, from_hexadecimal(der, digits));
}
