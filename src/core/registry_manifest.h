
/*
 * Manifests: what a registry must know of an image manifest, an index or an
 * artifact (OCI image-spec 1.1 manifest.md and image-index.md, Docker image
 * manifest V2 schema 2).  The bytes themselves are never changed.
 */


#ifndef REGISTRY_MANIFEST_H
#define REGISTRY_MANIFEST_H


#include "registry_digest.h"
#include "registry_types.h"


#define REGISTRY_MANIFEST_MAX    (4 * 1024 * 1024)      /* bytes */
#define REGISTRY_MEDIA_TYPE_MAX  255                    /* bytes */


#define REGISTRY_TYPE_OCI_MANIFEST                                            \
    "application/vnd.oci.image.manifest.v1+json"
#define REGISTRY_TYPE_OCI_INDEX                                               \
    "application/vnd.oci.image.index.v1+json"
#define REGISTRY_TYPE_DOCKER_MANIFEST                                         \
    "application/vnd.docker.distribution.manifest.v2+json"
#define REGISTRY_TYPE_DOCKER_LIST                                             \
    "application/vnd.docker.distribution.manifest.list.v2+json"


typedef enum {
    REGISTRY_DESCRIPTOR_BLOB = 0,       /* config, layers, blobs */
    REGISTRY_DESCRIPTOR_MANIFEST,       /* an entry of an index */
    REGISTRY_DESCRIPTOR_FOREIGN         /* a layer that need not be here */
} registry_descriptor_e;


typedef struct {
    registry_descriptor_e   type;
    registry_digest_t       digest;
    uint64_t                size;       /* bytes, as the manifest says */
} registry_descriptor_t;


/* in the words of GOOS and GOARCH (OCI image-index.md, "platform") */

typedef struct {
    registry_str_t          os;
    registry_str_t          architecture;
    registry_str_t          variant;    /* empty: whichever */
} registry_platform_t;


typedef struct registry_manifest_s  registry_manifest_t;


/*
 * Parses and checks a manifest.  content_type is the Content-Type it came
 * with (parameters are passed over), empty if unknown.
 *
 * REGISTRY_INVALID, with a static sentence in *reason, if it is no JSON
 * object, nests deeper than REGISTRY_JSON_DEPTH (found before it is
 * parsed), has a member twice, is larger than REGISTRY_MANIFEST_MAX, has
 * both "layers" and "manifests" (or "config", or "blobs", beside the latter),
 * is of schema 1, has a descriptor without a valid digest and size, or has a
 * "mediaType" that is not content_type.  A descriptor whose digest has an
 * algorithm that is not supported is invalid too; so is a media type that
 * does not fit a header or says "image" of an index or the reverse, and an
 * object of which neither its members nor a media type say what it is.
 * JSON made of little but empty objects is refused for the memory it takes.
 *
 * On REGISTRY_OK *manifest is owned by the caller.
 */

registry_status_e registry_manifest_parse(registry_str_t in,
    registry_str_t content_type, registry_manifest_t **manifest,
    const char **reason);

void registry_manifest_free(registry_manifest_t *manifest);


/*
 * "mediaType", else the content type it came with, else what its members
 * say: an OCI index if there is "manifests", else an OCI manifest.
 * Zero terminated, at most REGISTRY_MEDIA_TYPE_MAX, lives as long as the
 * manifest.
 */

const char *registry_manifest_type(const registry_manifest_t *manifest);

/*
 * 1 if registry_manifest_parse() without a content type would find the same
 * type in the bytes alone
 */

int registry_manifest_type_is_own(const registry_manifest_t *manifest);

/* 1 for an index or a Docker manifest list */

int registry_manifest_is_index(const registry_manifest_t *manifest);

/* what the manifest refers to, except the subject; lives with the manifest */

const registry_descriptor_t *registry_manifest_descriptors(
    const registry_manifest_t *manifest, size_t *n);

/*
 * "os/architecture" or "os/architecture/variant": lower case letters and
 * digits, in a variant dots too.  REGISTRY_INVALID if it is nothing of the
 * kind, or is what stands for no platform, "unknown".  What is set are parts
 * of the text.
 */

registry_status_e registry_platform_parse(registry_str_t text,
    registry_platform_t *platform);

/*
 * 1 if that descriptor of an index is an image for one of these n platforms,
 * else 0.  With n = 0 it may be for any, or not say so, but is no attestation,
 * whose platform is "unknown/unknown".  An entry without a variant has the one
 * that its architecture implies.
 */

int registry_manifest_is_for(const registry_manifest_t *manifest,
    size_t descriptor, const registry_platform_t *platforms, size_t n);

/* NULL if there is no subject */

const registry_digest_t *registry_manifest_subject(
    const registry_manifest_t *manifest);


/*
 * The descriptor of this manifest as it stands in a list of referrers (OCI
 * Distribution 1.1, "Listing Referrers"): mediaType, digest, size,
 * artifactType, annotations (those that are strings).  Compact JSON,
 * malloc()ed, zero terminated, owned by the caller, its length in *len; NULL
 * if memory is short.
 */

char *registry_manifest_descriptor(const registry_manifest_t *manifest,
    const registry_digest_t *digest, uint64_t size, size_t *len);

/*
 * Whether a descriptor made by registry_manifest_descriptor() has that
 * artifactType: REGISTRY_OK, REGISTRY_DECLINED, or REGISTRY_INVALID if the
 * bytes are none.
 */

registry_status_e registry_descriptor_has_type(registry_str_t descriptor,
    registry_str_t artifact_type);


/*
 * The media type of stored bytes, without judging them: "mediaType", else as
 * registry_manifest_type().  Writes at most REGISTRY_MEDIA_TYPE_MAX bytes
 * and a zero.  *own is 1 if the bytes say it themselves by "mediaType".
 * REGISTRY_INVALID if they are no JSON object.
 */

registry_status_e registry_media_type(registry_str_t in, char *buf, int *own);


#endif /* REGISTRY_MANIFEST_H */
