
/*
 * The types that every part of the core shares.  The core is a plain C
 * library: no nginx header, no I/O, no globals; time and randomness are
 * arguments.  Memory that a function returns is said to be owned by the
 * caller where it is declared.
 */


#ifndef REGISTRY_TYPES_H
#define REGISTRY_TYPES_H


#include <stddef.h>
#include <stdint.h>


/* bytes of somebody else: not owned, not terminated */

typedef struct {
    const char  *data;
    size_t       len;
} registry_str_t;


#define registry_str(text)  { text, sizeof(text) - 1 }


typedef enum {
    REGISTRY_OK = 0,
    REGISTRY_DECLINED,      /* what was looked for is not there */
    REGISTRY_INVALID,       /* the bytes do not follow their grammar */
    REGISTRY_UNSUPPORTED,   /* well formed, but not something we do */
    REGISTRY_NOMEM          /* malloc() failed; nothing is left allocated */
} registry_status_e;


#endif /* REGISTRY_TYPES_H */
