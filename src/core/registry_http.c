
/*
 * Responses of HTTP/1.x as bytes.  Reading them from a connection, what a
 * status means, and how much of a body is taken, are left to the caller.
 */


#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "registry_http.h"
#include "registry_query.h"


/* what the decoder expects next */

typedef enum {
    REGISTRY_CHUNK_SIZE = 0,
    REGISTRY_CHUNK_SPACE,               /* between size and extension */
    REGISTRY_CHUNK_EXTENSION,
    REGISTRY_CHUNK_SIZE_LF,
    REGISTRY_CHUNK_DATA,
    REGISTRY_CHUNK_DATA_CR,
    REGISTRY_CHUNK_DATA_LF,
    REGISTRY_CHUNK_TRAILER,             /* the beginning of a line */
    REGISTRY_CHUNK_TRAILER_LINE,
    REGISTRY_CHUNK_TRAILER_LF,
    REGISTRY_CHUNK_LAST_LF,
    REGISTRY_CHUNK_DONE,
    REGISTRY_CHUNK_BROKEN
} registry_chunk_state_e;

#define REGISTRY_CHUNK_DIGITS_MAX  16


/*
 * The forms of a date, behind the name of a day: RFC 9110 section 5.6.7.  A
 * small letter stands for a digit of a number, or a letter of the month; "c"
 * is of a year without its century.
 */

static const char *const  registry_http_dates[] = {
    ", dd mmm yyyy hh:ii:ss GMT",
    ", dd-mmm-cc hh:ii:ss GMT",
    " mmm dd hh:ii:ss yyyy"
};

#define REGISTRY_HTTP_DATES                                                   \
    (sizeof(registry_http_dates) / sizeof(registry_http_dates[0]))


typedef struct {
    unsigned  number['z' - 'a' + 1];
    int64_t   year;
    int64_t   month;                    /* 0..11 */
} registry_http_date_t;

#define registry_http_number(date, letter)  ((date)->number[(letter) - 'a'])

#define REGISTRY_HTTP_YEAR  31556952    /* seconds, on the average */


static int registry_http_line(registry_str_t *rest, registry_str_t *line);
static registry_status_e registry_http_status_line(registry_str_t line,
    registry_http_response_t *res);
static int registry_http_field_read(registry_str_t line,
    registry_http_field_t *field);
static registry_status_e registry_http_framing(
    registry_http_response_t *res);
static int registry_http_length(const registry_http_response_t *res,
    int64_t *length);
static int registry_http_has_token(const registry_http_response_t *res,
    const char *name, const char *token);
static registry_str_t registry_http_trim(registry_str_t s);
static int registry_http_same(registry_str_t s, const char *text);
static int registry_http_tchar(char c);
static int registry_http_text(char c);
static registry_chunk_state_e registry_chunk_byte(registry_chunked_t *c,
    char byte);
static registry_chunk_state_e registry_chunk_size(registry_chunked_t *c,
    char byte);
static registry_chunk_state_e registry_chunk_passed(registry_chunked_t *c,
    char byte, size_t max, registry_chunk_state_e state);
static int registry_http_date_parse(registry_str_t in, int64_t now,
    int64_t *seconds);
static int registry_http_date_read(registry_str_t in, const char *form,
    registry_http_date_t *date);
static int64_t registry_http_month(const char *name);
static int registry_http_date_valid(const registry_http_date_t *date);
static int64_t registry_http_date_seconds(const registry_http_date_t *date);


size_t
registry_http_head_end(registry_str_t in, size_t *scanned)
{
    size_t       i;
    const char  *p;

    i = *scanned;

    while (i < in.len) {
        p = memchr(in.data + i, '\n', in.len - i);

        if (p == NULL) {
            break;
        }

        i = (size_t) (p - in.data);

        /* the line that ends there is empty if another ends before it */

        if (i == 0 || p[-1] == '\n'
            || (p[-1] == '\r' && (i == 1 || p[-2] == '\n')))
        {
            return i + 1;
        }

        i++;
    }

    *scanned = in.len;

    return 0;
}


registry_status_e
registry_http_head_parse(registry_str_t head, registry_http_response_t *res)
{
    registry_str_t     line;
    registry_status_e  status;

    res->n = 0;

    if (!registry_http_line(&head, &line)) {
        return REGISTRY_INVALID;
    }

    status = registry_http_status_line(line, res);
    if (status != REGISTRY_OK) {
        return status;
    }

    for ( ;; ) {

        if (!registry_http_line(&head, &line)) {
            return REGISTRY_INVALID;
        }

        if (line.len == 0) {
            break;
        }

        if (res->n == REGISTRY_HTTP_FIELDS_MAX
            || !registry_http_field_read(line, &res->fields[res->n]))
        {
            return REGISTRY_INVALID;
        }

        res->n++;
    }

    if (head.len != 0) {
        return REGISTRY_INVALID;
    }

    return registry_http_framing(res);
}


int
registry_http_has_body(const registry_http_response_t *res, int head_request)
{
    return !head_request
           && res->status >= 200 && res->status != 204 && res->status != 304;
}


const registry_str_t *
registry_http_field(const registry_http_response_t *res, const char *name)
{
    size_t  i;

    i = 0;

    return registry_http_field_next(res, name, &i);
}


const registry_str_t *
registry_http_field_next(const registry_http_response_t *res,
    const char *name, size_t *i)
{
    const registry_http_field_t  *field;

    while (*i < res->n) {
        field = &res->fields[(*i)++];

        if (registry_http_same(field->name, name)) {
            return &field->value;
        }
    }

    return NULL;
}


/* takes a line off, without its end; 0 if there is none */

static int
registry_http_line(registry_str_t *rest, registry_str_t *line)
{
    const char  *p;

    p = rest->len ? memchr(rest->data, '\n', rest->len) : NULL;

    if (p == NULL) {
        return 0;
    }

    line->data = rest->data;
    line->len = (size_t) (p - rest->data);

    rest->data = p + 1;
    rest->len -= line->len + 1;

    if (line->len != 0 && p[-1] == '\r') {
        line->len--;
    }

    return 1;
}


/* "HTTP/1.1 200 OK"; without a reason the last space may be missing */

static registry_status_e
registry_http_status_line(registry_str_t line, registry_http_response_t *res)
{
    size_t       i;
    uint64_t     status;
    const char  *p;

    registry_str_t  digits;

    static const size_t  start = sizeof("HTTP/1.1 ") - 1;

    p = line.data;

    if (line.len < start + 3 || memcmp(p, "HTTP/", 5) != 0
        || p[5] < '0' || p[5] > '9' || p[6] != '.' || p[7] < '0'
        || p[7] > '9' || p[8] != ' ')
    {
        return REGISTRY_INVALID;
    }

    digits.data = p + start;
    digits.len = 3;

    if (registry_decimal_parse(digits, &status) != REGISTRY_OK
        || status < 100 || status > 599
        || (line.len > start + 3 && p[start + 3] != ' '))
    {
        return REGISTRY_INVALID;
    }

    for (i = start + 3; i < line.len; i++) {
        if (!registry_http_text(p[i])) {
            return REGISTRY_INVALID;
        }
    }

    if (p[5] != '1') {
        return REGISTRY_UNSUPPORTED;
    }

    res->status = (unsigned) status;
    res->minor = (unsigned) (p[7] - '0');

    return REGISTRY_OK;
}


static int
registry_http_field_read(registry_str_t line, registry_http_field_t *field)
{
    size_t  i, n;

    for (n = 0; n < line.len && registry_http_tchar(line.data[n]); n++) {
        /* void */
    }

    /* also refuses a line that is folded, and a space before the colon */

    if (n == 0 || n == line.len || line.data[n] != ':') {
        return 0;
    }

    for (i = n + 1; i < line.len; i++) {
        if (!registry_http_text(line.data[i])) {
            return 0;
        }
    }

    field->name.data = line.data;
    field->name.len = n;

    field->value.data = line.data + n + 1;
    field->value.len = line.len - n - 1;
    field->value = registry_http_trim(field->value);

    return 1;
}


static registry_status_e
registry_http_framing(registry_http_response_t *res)
{
    size_t                 i;
    const registry_str_t  *coding;

    if (!registry_http_length(res, &res->content_length)) {
        return REGISTRY_INVALID;
    }

    i = 0;
    coding = registry_http_field_next(res, "transfer-encoding", &i);
    res->chunked = coding != NULL;

    if (coding != NULL) {

        if (res->minor == 0 || res->content_length != -1) {
            return REGISTRY_INVALID;
        }

        if (!registry_http_same(*coding, "chunked")
            || registry_http_field_next(res, "transfer-encoding", &i) != NULL)
        {
            return REGISTRY_UNSUPPORTED;
        }
    }

    res->keepalive = !registry_http_has_token(res, "connection", "close")
                     && (res->minor > 0
                         || registry_http_has_token(res, "connection",
                                                    "keep-alive"));

    return REGISTRY_OK;
}


/* -1 if there is no Content-Length; 0 is returned for a bad one */

static int
registry_http_length(const registry_http_response_t *res, int64_t *length)
{
    size_t                 i;
    uint64_t               n;
    const registry_str_t  *value;

    i = 0;
    *length = -1;

    for ( ;; ) {
        value = registry_http_field_next(res, "content-length", &i);

        if (value == NULL) {
            return 1;
        }

        if (registry_decimal_parse(*value, &n) != REGISTRY_OK
            || n > INT64_MAX
            || (*length != -1 && *length != (int64_t) n))
        {
            return 0;
        }

        *length = (int64_t) n;
    }
}


/* whether a token is in a comma-separated list, in any field of that name */

static int
registry_http_has_token(const registry_http_response_t *res,
    const char *name, const char *token)
{
    size_t                 i;
    const char            *comma;
    registry_str_t         rest, element;
    const registry_str_t  *value;

    i = 0;

    for ( ;; ) {
        value = registry_http_field_next(res, name, &i);

        if (value == NULL) {
            return 0;
        }

        rest = *value;

        while (rest.len != 0) {
            comma = memchr(rest.data, ',', rest.len);

            element.data = rest.data;
            element.len = comma ? (size_t) (comma - rest.data) : rest.len;

            if (registry_http_same(registry_http_trim(element), token)) {
                return 1;
            }

            rest.data += element.len;
            rest.len -= element.len;

            if (comma != NULL) {
                rest.data++;
                rest.len--;
            }
        }
    }
}


static registry_str_t
registry_http_trim(registry_str_t s)
{
    while (s.len != 0 && (s.data[0] == ' ' || s.data[0] == '\t')) {
        s.data++;
        s.len--;
    }

    while (s.len != 0
           && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
    {
        s.len--;
    }

    return s;
}


static int
registry_http_same(registry_str_t s, const char *text)
{
    return s.len == strlen(text) && strncasecmp(s.data, text, s.len) == 0;
}


static int
registry_http_tchar(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9')
           || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}


/* what may stand in a value, a reason or an extension */

static int
registry_http_text(char c)
{
    return c == '\t' || ((unsigned char) c >= 0x20 && c != 0x7f);
}


void
registry_chunked_init(registry_chunked_t *c)
{
    memset(c, 0, sizeof(registry_chunked_t));
}


registry_status_e
registry_chunked_next(registry_chunked_t *c, registry_str_t *in,
    registry_str_t *data)
{
    size_t  n;

    while (in->len != 0) {

        if (c->state == REGISTRY_CHUNK_DATA) {
            n = in->len < c->left ? in->len : (size_t) c->left;

            data->data = in->data;
            data->len = n;

            in->data += n;
            in->len -= n;

            c->left -= n;

            if (c->left == 0) {
                c->state = REGISTRY_CHUNK_DATA_CR;
            }

            return REGISTRY_OK;
        }

        if (c->state == REGISTRY_CHUNK_DONE) {
            break;
        }

        c->state = registry_chunk_byte(c, *in->data);

        if (c->state == REGISTRY_CHUNK_BROKEN) {
            return REGISTRY_INVALID;
        }

        in->data++;
        in->len--;

        c->done = c->state == REGISTRY_CHUNK_DONE;
    }

    return c->state == REGISTRY_CHUNK_BROKEN ? REGISTRY_INVALID
                                             : REGISTRY_DECLINED;
}


size_t
registry_chunk_header(char *buf, uint64_t len)
{
    char  text[REGISTRY_CHUNK_HEADER_MAX + 1];
    int   n;

    n = sprintf(text, "%" PRIx64 "\r\n", len);
    memcpy(buf, text, (size_t) n);

    return (size_t) n;
}


registry_status_e
registry_retry_after(registry_str_t value, int64_t now, int64_t *seconds)
{
    int64_t   then;
    uint64_t  delay;

    if (registry_decimal_parse(value, &delay) == REGISTRY_OK) {
        *seconds = delay < REGISTRY_RETRY_AFTER_MAX
                   ? (int64_t) delay : REGISTRY_RETRY_AFTER_MAX;

        return REGISTRY_OK;
    }

    if (!registry_http_date_parse(value, now, &then)) {
        return REGISTRY_INVALID;
    }

    if (then <= now) {
        *seconds = 0;

    } else if (then - REGISTRY_RETRY_AFTER_MAX >= now) {
        *seconds = REGISTRY_RETRY_AFTER_MAX;

    } else {
        *seconds = then - now;
    }

    return REGISTRY_OK;
}


/* the state after a byte that is not data */

static registry_chunk_state_e
registry_chunk_byte(registry_chunked_t *c, char byte)
{
    switch ((registry_chunk_state_e) c->state) {

    case REGISTRY_CHUNK_SIZE:
    case REGISTRY_CHUNK_SPACE:
        return registry_chunk_size(c, byte);

    case REGISTRY_CHUNK_EXTENSION:
        return byte == '\r'
               ? REGISTRY_CHUNK_SIZE_LF
               : registry_chunk_passed(c, byte, REGISTRY_CHUNK_EXTENSION_MAX,
                                       REGISTRY_CHUNK_EXTENSION);

    case REGISTRY_CHUNK_SIZE_LF:
        c->count = 0;

        return byte != '\n' ? REGISTRY_CHUNK_BROKEN
               : c->left ? REGISTRY_CHUNK_DATA : REGISTRY_CHUNK_TRAILER;

    case REGISTRY_CHUNK_DATA_CR:
        return byte == '\r' ? REGISTRY_CHUNK_DATA_LF : REGISTRY_CHUNK_BROKEN;

    case REGISTRY_CHUNK_DATA_LF:
        return byte == '\n' ? REGISTRY_CHUNK_SIZE : REGISTRY_CHUNK_BROKEN;

    case REGISTRY_CHUNK_TRAILER:
        return byte == '\r'
               ? REGISTRY_CHUNK_LAST_LF
               : registry_chunk_passed(c, byte, REGISTRY_CHUNK_TRAILER_MAX,
                                       REGISTRY_CHUNK_TRAILER_LINE);

    case REGISTRY_CHUNK_TRAILER_LINE:
        return byte == '\r'
               ? REGISTRY_CHUNK_TRAILER_LF
               : registry_chunk_passed(c, byte, REGISTRY_CHUNK_TRAILER_MAX,
                                       REGISTRY_CHUNK_TRAILER_LINE);

    case REGISTRY_CHUNK_TRAILER_LF:
        return byte == '\n' ? REGISTRY_CHUNK_TRAILER : REGISTRY_CHUNK_BROKEN;

    case REGISTRY_CHUNK_LAST_LF:
        return byte == '\n' ? REGISTRY_CHUNK_DONE : REGISTRY_CHUNK_BROKEN;

    default:
        return REGISTRY_CHUNK_BROKEN;
    }
}


/* the size, spaces that some servers pad it with, and what ends it */

static registry_chunk_state_e
registry_chunk_size(registry_chunked_t *c, char byte)
{
    int  digit;

    digit = registry_hex_value(byte);

    if (digit != -1 && c->state == REGISTRY_CHUNK_SIZE) {

        if (c->count == REGISTRY_CHUNK_DIGITS_MAX
            || c->left > INT64_MAX >> 4)
        {
            return REGISTRY_CHUNK_BROKEN;
        }

        c->left = c->left << 4 | (uint64_t) digit;
        c->count++;

        return REGISTRY_CHUNK_SIZE;
    }

    if (c->state == REGISTRY_CHUNK_SIZE) {

        if (c->count == 0) {
            return REGISTRY_CHUNK_BROKEN;
        }

        c->count = 0;
    }

    if (byte == '\r') {
        return REGISTRY_CHUNK_SIZE_LF;
    }

    if (byte == ' ' || byte == '\t' || byte == ';') {
        return registry_chunk_passed(c, byte, REGISTRY_CHUNK_EXTENSION_MAX,
                                     byte == ';' ? REGISTRY_CHUNK_EXTENSION
                                                 : REGISTRY_CHUNK_SPACE);
    }

    return REGISTRY_CHUNK_BROKEN;
}


static registry_chunk_state_e
registry_chunk_passed(registry_chunked_t *c, char byte, size_t max,
    registry_chunk_state_e state)
{
    if (!registry_http_text(byte) || c->count == max) {
        return REGISTRY_CHUNK_BROKEN;
    }

    c->count++;

    return state;
}


static int
registry_http_date_parse(registry_str_t in, int64_t now, int64_t *seconds)
{
    size_t                i;
    int64_t               this_year;
    const char           *form;
    registry_http_date_t  date;

    for (i = 0; i < REGISTRY_HTTP_DATES; i++) {
        form = registry_http_dates[i];

        if (!registry_http_date_read(in, form, &date)) {
            continue;
        }

        date.year = registry_http_number(&date, 'y');

        if (strchr(form, 'c') != NULL) {
            this_year = 1970 + now / REGISTRY_HTTP_YEAR;

            date.year = this_year / 100 * 100
                        + registry_http_number(&date, 'c');

            if (date.year > this_year + 50) {
                date.year -= 100;
            }
        }

        *seconds = registry_http_date_seconds(&date);

        return registry_http_date_valid(&date);
    }

    return 0;
}


static int
registry_http_date_read(registry_str_t in, const char *form,
    registry_http_date_t *date)
{
    char       c;
    size_t     i;
    unsigned  *number;

    memset(date, 0, sizeof(registry_http_date_t));

    while (in.len != 0
           && (in.data[0] | 0x20) >= 'a' && (in.data[0] | 0x20) <= 'z')
    {
        in.data++;
        in.len--;
    }

    if (in.len != strlen(form)) {
        return 0;
    }

    for (i = 0; i < in.len; i++) {
        c = in.data[i];

        if (form[i] == 'm') {
            continue;
        }

        if (form[i] < 'a' || form[i] > 'z') {

            if (c != form[i]) {
                return 0;
            }

            continue;
        }

        number = &registry_http_number(date, form[i]);

        if (c >= '0' && c <= '9') {
            *number = *number * 10 + (unsigned) (c - '0');

        } else if (form[i] != 'd' || c != ' ' || *number != 0) {
            return 0;
        }
    }

    date->month = registry_http_month(in.data + (strchr(form, 'm') - form));

    return 1;
}


/* -1 if there is none of that name */

static int64_t
registry_http_month(const char *name)
{
    int                i;
    static const char  names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

    for (i = 0; i < 12; i++) {

        if (memcmp(name, names + 3 * i, 3) == 0) {
            return i;
        }
    }

    return -1;
}


static int
registry_http_date_valid(const registry_http_date_t *date)
{
    unsigned                    day, days;
    static const unsigned char  lengths[] = { 31, 28, 31, 30, 31, 30,
                                              31, 31, 30, 31, 30, 31 };

    if (date->month == -1) {
        return 0;
    }

    day = registry_http_number(date, 'd');
    days = lengths[date->month];

    if (date->month == 1 && date->year % 4 == 0
        && (date->year % 100 != 0 || date->year % 400 == 0))
    {
        days++;
    }

    return day >= 1 && day <= days
           && registry_http_number(date, 'h') < 24
           && registry_http_number(date, 'i') < 60
           && registry_http_number(date, 's') <= 60;    /* a leap second */
}


/* since 1970; a year begins in March here, and a leap day ends it */

static int64_t
registry_http_date_seconds(const registry_http_date_t *date)
{
    int64_t  year, month, days;

    year = date->year;
    month = date->month - 2;

    if (month < 0) {
        month += 12;
        year--;
    }

    days = 365 * year + year / 4 - year / 100 + year / 400
           + (month * 153 + 2) / 5 + registry_http_number(date, 'd') - 1
           - 719468;

    return days * 86400 + registry_http_number(date, 'h') * 3600
           + registry_http_number(date, 'i') * 60
           + registry_http_number(date, 's');
}
