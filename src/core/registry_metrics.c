
/*
 * Tables of numbers as text.  The writer counts what it has no room for, so
 * that a first run can measure for a second one.
 */


#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "registry_metrics.h"
#include "registry_utf8.h"


typedef struct {
    char      *buf;
    size_t     size;
    size_t     len;         /* also of what did not fit */
    unsigned   first:1;     /* in JSON: no member before it, hence no comma */
} registry_metrics_text_t;


static void registry_metrics_table(registry_metrics_text_t *t,
    const registry_metrics_t *table);
static size_t registry_metrics_same(const registry_metrics_row_t *one,
    const registry_metrics_row_t *two, size_t n);
static void registry_metrics_members(registry_metrics_text_t *t,
    const registry_metric_t *metric, const int64_t *value);
static void registry_metrics_value(registry_metrics_text_t *t,
    const registry_metric_t *metric, int64_t value);
static void registry_metrics_open(registry_metrics_text_t *t,
    registry_str_t key);
static void registry_metrics_close(registry_metrics_text_t *t);
static void registry_metrics_key(registry_metrics_text_t *t,
    registry_str_t key);

static void registry_metrics_family(registry_metrics_text_t *t,
    const registry_metrics_t *table, const registry_metric_t *metric,
    size_t column);
static void registry_metrics_samples(registry_metrics_text_t *t,
    const registry_metrics_t *table, const registry_metric_t *metric,
    size_t column);
static void registry_metrics_labels(registry_metrics_text_t *t,
    const registry_metrics_t *table, const registry_metrics_row_t *row,
    const char *label, const char *value);

static size_t registry_metrics_columns(const registry_metric_t *metric);
static int registry_metrics_known(const int64_t *value, size_t n);
static registry_str_t registry_metrics_str(const char *text);
static void registry_metrics_quote(registry_metrics_text_t *t,
    registry_str_t s, int json);
static void registry_metrics_number(registry_metrics_text_t *t, int64_t n);
static void registry_metrics_put(registry_metrics_text_t *t,
    const char *text);
static void registry_metrics_write(registry_metrics_text_t *t,
    const void *data, size_t len);


size_t
registry_metrics_width(const registry_metric_t *metrics)
{
    size_t  n;

    for (n = 0; metrics->key != NULL; metrics++) {
        n += registry_metrics_columns(metrics);
    }

    return n;
}


size_t
registry_metrics_json(const registry_metrics_t *tables, size_t n, char *buf,
    size_t size)
{
    size_t                   i;
    registry_metrics_text_t  t = { buf, size, 0, 1 };

    registry_metrics_put(&t, "{");

    for (i = 0; i < n; i++) {
        registry_metrics_open(&t, registry_metrics_str(tables[i].key));
        registry_metrics_table(&t, &tables[i]);
        registry_metrics_close(&t);
    }

    registry_metrics_put(&t, "}\n");

    return t.len;
}


/* objects in objects, as deep as there are labels */

static void
registry_metrics_table(registry_metrics_text_t *t,
    const registry_metrics_t *table)
{
    size_t                         i, n, depth, same;
    const int64_t                 *value;
    const registry_metric_t       *metric;
    const registry_metrics_row_t  *row;

    for (n = 0; table->labels[n] != NULL; n++) { /* void */ }

    depth = 0;

    for (i = 0; i < table->nrows; i++) {
        row = &table->rows[i];

        same = i ? registry_metrics_same(row - 1, row, n) : 0;

        for ( /* void */ ; depth > same; depth--) {
            registry_metrics_close(t);
        }

        for ( /* void */ ; depth < n; depth++) {
            registry_metrics_open(t, row->labels[depth]);
        }

        value = row->values;

        for (metric = table->metrics; metric->key != NULL; metric++) {
            registry_metrics_members(t, metric, value);
            value += registry_metrics_columns(metric);
        }
    }

    for ( /* void */ ; depth; depth--) {
        registry_metrics_close(t);
    }
}


/* how many of the first labels two rows have in common */

static size_t
registry_metrics_same(const registry_metrics_row_t *one,
    const registry_metrics_row_t *two, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if (one->labels[i].len != two->labels[i].len
            || memcmp(one->labels[i].data, two->labels[i].data,
                      one->labels[i].len)
               != 0)
        {
            break;
        }
    }

    return i;
}


static void
registry_metrics_members(registry_metrics_text_t *t,
    const registry_metric_t *metric, const int64_t *value)
{
    size_t  i, n;

    n = registry_metrics_columns(metric);

    if (!registry_metrics_known(value, n)) {
        return;
    }

    if (metric->label == NULL) {
        registry_metrics_key(t, registry_metrics_str(metric->key));
        registry_metrics_value(t, metric, value[0]);
        return;
    }

    registry_metrics_open(t, registry_metrics_str(metric->key));

    for (i = 0; i < n; i++) {
        if (value[i] != REGISTRY_METRIC_NONE) {
            registry_metrics_key(t, registry_metrics_str(metric->values[i]));
            registry_metrics_value(t, metric, value[i]);
        }
    }

    registry_metrics_close(t);
}


static void
registry_metrics_value(registry_metrics_text_t *t,
    const registry_metric_t *metric, int64_t value)
{
    if (metric->type == REGISTRY_METRIC_FLAG) {
        registry_metrics_put(t, value ? "true" : "false");
        return;
    }

    registry_metrics_number(t, value);
}


static void
registry_metrics_open(registry_metrics_text_t *t, registry_str_t key)
{
    registry_metrics_key(t, key);
    registry_metrics_put(t, "{");
    t->first = 1;
}


static void
registry_metrics_close(registry_metrics_text_t *t)
{
    registry_metrics_put(t, "}");
    t->first = 0;
}


static void
registry_metrics_key(registry_metrics_text_t *t, registry_str_t key)
{
    if (!t->first) {
        registry_metrics_put(t, ",");
    }

    t->first = 0;

    registry_metrics_quote(t, key, 1);
    registry_metrics_put(t, ":");
}


size_t
registry_metrics_prometheus(const registry_metrics_t *tables, size_t n,
    char *buf, size_t size)
{
    size_t                    i, column;
    const registry_metric_t  *metric;
    registry_metrics_text_t   t = { buf, size, 0, 0 };

    for (i = 0; i < n; i++) {
        column = 0;

        for (metric = tables[i].metrics; metric->key != NULL; metric++) {
            registry_metrics_family(&t, &tables[i], metric, column);
            column += registry_metrics_columns(metric);
        }
    }

    return t.len;
}


/* all samples of a metric stand together, below what it is */

static void
registry_metrics_family(registry_metrics_text_t *t,
    const registry_metrics_t *table, const registry_metric_t *metric,
    size_t column)
{
    size_t  i, n;

    n = registry_metrics_columns(metric);

    for (i = 0; i < table->nrows; i++) {
        if (registry_metrics_known(&table->rows[i].values[column], n)) {
            break;
        }
    }

    if (i == table->nrows) {
        return;
    }

    registry_metrics_put(t, "# HELP ");
    registry_metrics_put(t, metric->name);
    registry_metrics_put(t, " ");
    registry_metrics_put(t, metric->help);
    registry_metrics_put(t, "\n# TYPE ");
    registry_metrics_put(t, metric->name);
    registry_metrics_put(t, metric->type == REGISTRY_METRIC_COUNTER
                            ? " counter\n" : " gauge\n");

    registry_metrics_samples(t, table, metric, column);
}


static void
registry_metrics_samples(registry_metrics_text_t *t,
    const registry_metrics_t *table, const registry_metric_t *metric,
    size_t column)
{
    size_t                         i, k, n;
    const int64_t                 *value;
    const registry_metrics_row_t  *row;

    n = registry_metrics_columns(metric);

    for (i = 0; i < table->nrows; i++) {
        row = &table->rows[i];
        value = &row->values[column];

        for (k = 0; k < n; k++) {

            if (value[k] == REGISTRY_METRIC_NONE) {
                continue;
            }

            registry_metrics_put(t, metric->name);
            registry_metrics_labels(t, table, row, metric->label,
                                    metric->label ? metric->values[k] : NULL);
            registry_metrics_put(t, " ");
            registry_metrics_number(t, value[k]);
            registry_metrics_put(t, "\n");
        }
    }
}


static void
registry_metrics_labels(registry_metrics_text_t *t,
    const registry_metrics_t *table, const registry_metrics_row_t *row,
    const char *label, const char *value)
{
    size_t       i;
    const char  *before;

    before = "{";

    for (i = 0; table->labels[i] != NULL; i++) {
        registry_metrics_put(t, before);
        registry_metrics_put(t, table->labels[i]);
        registry_metrics_put(t, "=");
        registry_metrics_quote(t, row->labels[i], 0);
        before = ",";
    }

    if (label != NULL) {
        registry_metrics_put(t, before);
        registry_metrics_put(t, label);
        registry_metrics_put(t, "=");
        registry_metrics_quote(t, registry_metrics_str(value), 0);
        before = ",";
    }

    if (*before == ',') {
        registry_metrics_put(t, "}");
    }
}


static size_t
registry_metrics_columns(const registry_metric_t *metric)
{
    size_t  n;

    if (metric->label == NULL) {
        return 1;
    }

    for (n = 0; metric->values[n] != NULL; n++) { /* void */ }

    return n;
}


static int
registry_metrics_known(const int64_t *value, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if (value[i] != REGISTRY_METRIC_NONE) {
            return 1;
        }
    }

    return 0;
}


static registry_str_t
registry_metrics_str(const char *text)
{
    registry_str_t  s;

    s.data = text;
    s.len = strlen(text);

    return s;
}


/* Prometheus escapes three characters, JSON all that are below a space */

static void
registry_metrics_quote(registry_metrics_text_t *t, registry_str_t s,
    int json)
{
    char                  escape[8];
    size_t                n;
    const unsigned char  *in;

    registry_metrics_put(t, "\"");

    for (in = (const unsigned char *) s.data; s.len; in += n, s.len -= n) {

        n = registry_utf8_length(in, s.len);

        if (n == 0) {
            n = 1;
            registry_metrics_put(t, REGISTRY_UTF8_REPLACEMENT);

        } else if (*in == '"' || *in == '\\') {
            registry_metrics_put(t, "\\");
            registry_metrics_write(t, in, 1);

        } else if (*in == '\n') {
            registry_metrics_put(t, "\\n");

        } else if (json && (*in < 0x20 || *in == 0x7f)) {
            snprintf(escape, sizeof(escape), "\\u%04x", *in);
            registry_metrics_put(t, escape);

        } else {
            registry_metrics_write(t, in, n);
        }
    }

    registry_metrics_put(t, "\"");
}


static void
registry_metrics_number(registry_metrics_text_t *t, int64_t n)
{
    char  text[24];

    snprintf(text, sizeof(text), "%" PRId64, n);
    registry_metrics_put(t, text);
}


static void
registry_metrics_put(registry_metrics_text_t *t, const char *text)
{
    registry_metrics_write(t, text, strlen(text));
}


static void
registry_metrics_write(registry_metrics_text_t *t, const void *data,
    size_t len)
{
    size_t  room;

    room = t->len < t->size ? t->size - t->len : 0;

    if (room) {
        memcpy(t->buf + t->len, data, len < room ? len : room);
    }

    t->len += len;
}
