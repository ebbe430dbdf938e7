
/*
 * UTF-8 (RFC 3629) in bytes that others chose.
 */


#ifndef REGISTRY_UTF8_H
#define REGISTRY_UTF8_H


#include "registry_types.h"


/* U+FFFD, for what is no character */

#define REGISTRY_UTF8_REPLACEMENT  "\xef\xbf\xbd"


/*
 * The bytes, 1 to 4, of the character that begins there, or 0 if none does:
 * overlong forms, surrogates and what is above U+10FFFF are none.  len is
 * not 0.
 */

size_t registry_utf8_length(const unsigned char *p, size_t len);


#endif /* REGISTRY_UTF8_H */
