
/*
 * What a status page shows: both texts of the same tables.
 */


#include "registry_metrics.h"
#include "unit.h"


static const char *const  no_labels[] = { NULL };
static const char *const  one_label[] = { "namespace", NULL };
static const char *const  two_labels[] = { "upstream", "peer", NULL };

static const char *const  operations[] = { "pull", "push", NULL };


static const registry_metric_t  namespaces[] = {
    { "requests", "x_requests_total", "Requests.", REGISTRY_METRIC_COUNTER,
      "operation", operations },
    { "sent", "x_sent_bytes_total", "Bytes to clients.",
      REGISTRY_METRIC_COUNTER, NULL, NULL },
    { "up", "x_up", "It answers.", REGISTRY_METRIC_FLAG, NULL, NULL },
    { NULL, NULL, NULL, REGISTRY_METRIC_GAUGE, NULL, NULL }
};

static const registry_metric_t  single[] = {
    { "free", "x_free", "Bytes.", REGISTRY_METRIC_GAUGE, NULL, NULL },
    { NULL, NULL, NULL, REGISTRY_METRIC_GAUGE, NULL, NULL }
};


static void check(const registry_metrics_t *tables, size_t n,
    const char *json, const char *prometheus, const char *name);
static void check_labels(void);
static void check_text(
    size_t (*text)(const registry_metrics_t *, size_t, char *, size_t),
    const registry_metrics_t *tables, size_t n, const char *expected,
    const char *name);


int
main(void)
{
    static const registry_str_t  names[] = {
        registry_str(""), registry_str("docker.io")
    };

    static const int64_t  counts[][4] = {
        { 1, 0, INT64_MAX, REGISTRY_METRIC_NONE },
        { REGISTRY_METRIC_NONE, 7, 12, 1 }
    };

    static const int64_t  nothing[] = { -1, -1, -1, -1 };
    static const int64_t  free_bytes[] = { 4096 };

    const registry_metrics_row_t  rows[] = {
        { &names[0], counts[0] },
        { &names[1], counts[1] }
    };

    const registry_metrics_row_t  unknown = { &names[1], nothing };
    const registry_metrics_row_t  global = { NULL, free_bytes };

    registry_metrics_t  tables[2];

    check(NULL, 0, "{}\n", "", "no table");

    tables[0].key = "namespaces";
    tables[0].labels = one_label;
    tables[0].metrics = namespaces;
    tables[0].rows = rows;
    tables[0].nrows = 2;

    tables[1].key = "zone";
    tables[1].labels = no_labels;
    tables[1].metrics = single;
    tables[1].rows = &global;
    tables[1].nrows = 1;

    check(tables, 2,
          "{\"namespaces\":{"
          "\"\":{\"requests\":{\"pull\":1,\"push\":0},"
          "\"sent\":9223372036854775807},"
          "\"docker.io\":{\"requests\":{\"push\":7},\"sent\":12,"
          "\"up\":true}},"
          "\"zone\":{\"free\":4096}}\n",

          "# HELP x_requests_total Requests.\n"
          "# TYPE x_requests_total counter\n"
          "x_requests_total{namespace=\"\",operation=\"pull\"} 1\n"
          "x_requests_total{namespace=\"\",operation=\"push\"} 0\n"
          "x_requests_total{namespace=\"docker.io\",operation=\"push\"} 7\n"
          "# HELP x_sent_bytes_total Bytes to clients.\n"
          "# TYPE x_sent_bytes_total counter\n"
          "x_sent_bytes_total{namespace=\"\"} 9223372036854775807\n"
          "x_sent_bytes_total{namespace=\"docker.io\"} 12\n"
          "# HELP x_up It answers.\n"
          "# TYPE x_up gauge\n"
          "x_up{namespace=\"docker.io\"} 1\n"
          "# HELP x_free Bytes.\n"
          "# TYPE x_free gauge\n"
          "x_free 4096\n",

          "tables");

    tables[0].rows = &unknown;
    tables[0].nrows = 1;

    check(tables, 1, "{\"namespaces\":{\"docker.io\":{}}}\n", "",
          "nothing is known");

    tables[0].nrows = 0;

    check(tables, 1, "{\"namespaces\":{}}\n", "", "no rows");

    check_labels();

    return unit_done();
}


static void
check_labels(void)
{
    static const registry_str_t  names[][2] = {
        { registry_str("a"), registry_str("b") },
        { registry_str("a"), registry_str("q\"\\\n\t\x7f\xff\xc3\xa4") },
        { registry_str("ab"), registry_str("b") }
    };

    static const int64_t  values[] = { 0, 1, 2 };

    registry_metrics_t      table;
    registry_metrics_row_t  rows[3];

    rows[0].labels = names[0];
    rows[0].values = &values[0];
    rows[1].labels = names[1];
    rows[1].values = &values[1];
    rows[2].labels = names[2];
    rows[2].values = &values[2];

    table.key = "upstreams";
    table.labels = two_labels;
    table.metrics = single;
    table.rows = rows;
    table.nrows = 3;

    check(&table, 1,
          "{\"upstreams\":{"
          "\"a\":{\"b\":{\"free\":0},"
          "\"q\\\"\\\\\\n\\u0009\\u007f\xef\xbf\xbd\xc3\xa4\":{\"free\":1}},"
          "\"ab\":{\"b\":{\"free\":2}}}}\n",

          "# HELP x_free Bytes.\n"
          "# TYPE x_free gauge\n"
          "x_free{upstream=\"a\",peer=\"b\"} 0\n"
          "x_free{upstream=\"a\","
          "peer=\"q\\\"\\\\\\n\t\x7f\xef\xbf\xbd\xc3\xa4\"} 1\n"
          "x_free{upstream=\"ab\",peer=\"b\"} 2\n",

          "two labels");
}


static void
check(const registry_metrics_t *tables, size_t n, const char *json,
    const char *prometheus, const char *name)
{
    check_text(registry_metrics_json, tables, n, json, name);
    check_text(registry_metrics_prometheus, tables, n, prometheus, name);
}


/* every size: what does not fit is cut, and the length is the whole one */

static void
check_text(size_t (*text)(const registry_metrics_t *, size_t, char *, size_t),
    const registry_metrics_t *tables, size_t n, const char *expected,
    const char *name)
{
    int     good;
    char   *buf;
    size_t  size, len;

    len = strlen(expected);
    good = 1;

    for (size = 0; good && size <= len; size++) {

        /* of no more than that size, for the sanitizer to see */

        buf = __real_malloc(size ? size : 1);
        if (buf == NULL) {
            abort();
        }

        good = text(tables, n, buf, size) == len
               && memcmp(buf, expected, size) == 0;

        if (!good) {
            printf("# with room for %d, got: %.*s\n# expected: %s\n",
                   (int) size, (int) size, buf, expected);
        }

        free(buf);
    }

    unit_ok(good, "%s, %s", name,
            text == registry_metrics_json ? "JSON" : "Prometheus");
}
