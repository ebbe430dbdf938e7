
/*
 * What a status page shows, as JSON or for Prometheus.  Tables say what
 * things there are and what is known of each; both texts are made of the
 * same tables.  Where the numbers are from is the caller's business.
 */


#ifndef REGISTRY_METRICS_H
#define REGISTRY_METRICS_H


#include "registry_types.h"


#define REGISTRY_METRIC_NONE  (-1)      /* not known: it is left out */


typedef enum {
    REGISTRY_METRIC_COUNTER = 0,
    REGISTRY_METRIC_GAUGE,
    REGISTRY_METRIC_FLAG                /* 0 or 1; in JSON a boolean */
} registry_metric_e;


/*
 * One value, or one for each value of a label, which in JSON is an object of
 * them.  Keys, names and the label's values are letters, digits and "_".
 */

typedef struct {
    const char               *key;      /* in JSON: "requests" */
    const char               *name;     /* in Prometheus: "x_requests_total" */
    const char               *help;     /* one sentence */
    registry_metric_e         type;
    const char               *label;    /* "operation", or NULL */
    const char *const        *values;   /* of the label, and NULL */
} registry_metric_t;


/* something that there is: its name, and all values of the table's metrics */

typedef struct {
    const registry_str_t     *labels;   /* any bytes */
    const int64_t            *values;
} registry_metrics_row_t;


/*
 * Rows differ in their labels.  In JSON each label is a level of nesting:
 * rows with the same first ones follow one another.
 */

typedef struct {
    const char                    *key;
    const char *const             *labels;  /* names, and NULL */
    const registry_metric_t       *metrics; /* and one with a key of NULL */
    const registry_metrics_row_t  *rows;
    size_t                         nrows;
} registry_metrics_t;


/* how many values a row has */

size_t registry_metrics_width(const registry_metric_t *metrics);

/*
 * An object with a member for each table (RFC 8259), and Prometheus's text
 * format, version 0.0.4; bytes of labels that are not UTF-8 are replaced.
 *
 * The length of the whole text, of which no more than size bytes are written
 * to buf: so a first call with a size of 0 says how many are wanted.
 */

size_t registry_metrics_json(const registry_metrics_t *tables, size_t n,
    char *buf, size_t size);
size_t registry_metrics_prometheus(const registry_metrics_t *tables,
    size_t n, char *buf, size_t size);


#endif /* REGISTRY_METRICS_H */
