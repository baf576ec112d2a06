/*-------------------------------------------------------------------------
 *
 * small.c
 *	  Targets that take a text and need no org: formats, ids, addresses.
 *
 * Each also checks what must hold of whatever comes out.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "csv.h"
#include "fuzz.h"
#include "id.h"
#include "json.h"
#include "soql.h"
#include "tables/records.h"
#include "text.h"
#include "url.h"

/* ------------------------------------------------------------------------
 * json
 * ------------------------------------------------------------------------
 */

static void walk(const char *key, Json *node, void *arg);

static void
walk_member(const char *key, Json *value, void *arg)
{
	Json	   *found;

	/* Of members of one name the last counts, in json_get too. */
	fuzz_require(json_member((const Json *) arg, key, &found));
	walk(key, value, NULL);
}

static void
walk(const char *key, Json *node, void *arg)
{
	JsonKind	kind = json_kind(node);
	int			i;

	fuzz_require((json_text(node) == NULL) == (kind == JSON_IS_NULL));
	fuzz_require(kind == JSON_IS_ARRAY || json_count(node) == 0);
	for (i = 0; i < json_count(node); i++)
		walk(NULL, json_item(node, i), NULL);
	fuzz_require(json_item(node, i) == NULL);
	(void) json_get_text(node, "id");
	(void) json_get_int(node, "totalSize", -1);
	(void) json_get_bool(node, "done", false);
	json_visit(node, walk_member, node);
}

/* What was read and written is read again as the same. */
static void
run_json(const char *data, Size size)
{
	Json	   *root = json_read(data, size);
	Json	   *again;
	char	   *text;

	if (root == NULL)
		return;
	walk(NULL, root, NULL);
	text = pstrdup(json_text(root));
	again = json_read(text, strlen(text));
	fuzz_require(again != NULL && strcmp(json_text(again), text) == 0);
	json_remove(root, "attributes");
	walk(NULL, json_hold(root), NULL);
}

/* ------------------------------------------------------------------------
 * csv
 * ------------------------------------------------------------------------
 */

/* A page in pieces of so many bytes; ended: what csv_end said. */
static StringInfo
filter(const char *data, Size size, Size piece, bool *ended, int64 *records)
{
	StringInfo	out = makeStringInfo();
	CsvPage		page;
	Size		at;

	csv_begin(&page, list_make2("Id", "Name"));
	for (at = 0; at < size; at += piece)
	{
		int			len = Min(piece, size - at);
		char	   *buf = fuzz_string(data + at, len);

		appendBinaryStringInfo(out, buf, csv_filter(&page, buf, len));
	}
	*ended = csv_end(&page);
	*records = page.records;
	return out;
}

/* However it is cut, the page is the same. */
static void
run_csv(const char *data, Size size)
{
	static const Size pieces[] = {1, 3, 10};
	bool		ended;
	int64		records;
	StringInfo	whole = filter(data, size, size + 1, &ended, &records);
	int			i;

	for (i = 0; i < (int) lengthof(pieces); i++)
	{
		bool		ended_too;
		int64		records_too;
		StringInfo	cut = filter(data, size, pieces[i], &ended_too,
								 &records_too);

		fuzz_require(cut->len == whole->len);
		fuzz_require(memcmp(cut->data, whole->data, whole->len) == 0);
		fuzz_require(ended == ended_too && records == records_too);
	}
}

/* A text that is handed out in pieces, as a stream or a row source. */
typedef struct Pieces
{
	RowSource	source;			/* first */
	const char *at;
	const char *end;
	int			piece;
} Pieces;

static int
read_pieces(void *arg, char *buf, int max)
{
	Pieces	   *pieces = (Pieces *) arg;
	int			n = Min(Min(pieces->piece, max), pieces->end - pieces->at);

	memcpy(buf, pieces->at, n);
	pieces->at += n;
	return n;
}

static int
read_source(RowSource *source, void *outbuf, int minread, int maxread)
{
	Pieces	   *pieces = (Pieces *) source;
	int			got = 0;
	int			n;

	do
	{
		n = read_pieces(pieces, (char *) outbuf + got, maxread - got);
		got += n;
	} while (n > 0 && got < minread);
	return got;
}

static Pieces *
cut(const char *data, Size size, int piece)
{
	Pieces	   *pieces = palloc0(sizeof(Pieces));

	pieces->source.read = read_source;
	pieces->at = data;
	pieces->end = data + size;
	pieces->piece = piece;
	return pieces;
}

/* Values one by one; what is written of them is read as the same values. */
static void
run_values(const char *data, Size size)
{
	CsvReader  *reader = csv_reader_create(read_pieces, cut(data, size, 7));
	CsvReader  *other = csv_reader_create(read_pieces,
										  cut(data, size, 10000));
	StringInfoData row;
	CsvReader  *again;
	int			i;

	initStringInfo(&row);
	while (csv_reader_next(reader))
	{
		fuzz_require(csv_reader_next(other));
		fuzz_require(reader->nvalues == other->nvalues);
		resetStringInfo(&row);
		for (i = 0; i < reader->nvalues; i++)
		{
			fuzz_require(strcmp(reader->values[i], other->values[i]) == 0);
			appendStringInfoString(&row, i > 0 ? "," : "");
			csv_append_quoted(&row, reader->values[i]);
		}
		again = csv_reader_create(read_pieces, cut(row.data, row.len, 5));
		fuzz_require(csv_reader_next(again));
		fuzz_require(again->nvalues == reader->nvalues);
		for (i = 0; i < reader->nvalues; i++)
			fuzz_require(strcmp(again->values[i], reader->values[i]) == 0);
		fuzz_require(!csv_reader_next(again));
	}
	fuzz_require(!csv_reader_next(other));
}

/* Rows that COPY refused: nothing is lost between one record and the next. */
static void
run_records(const char *data, Size size)
{
	Pieces	   *source = cut(data, size, 11);
	bool		none[3] = {false, false, false};
	Records    *records = records_create(&source->source, 3, none);
	StringInfoData out;
	char		buf[32];
	int			count;
	int			i;
	int			n;

	initStringInfo(&out);
	while ((count = records_next(records)) > 0)
	{
		for (i = 0; i < count; i++)
		{
			RowSource  *one = records_choose(records, i, i + 1);

			while ((n = one->read(one, buf, 1, sizeof(buf))) > 0)
				appendBinaryStringInfo(&out, buf, n);
			(void) records_id(records, i);
		}
	}
	fuzz_require((Size) out.len == size);
	fuzz_require(memcmp(out.data, data, size) == 0);
}

/* The same with a column whose empty values become false. */
static void
run_booleans(const char *data, Size size)
{
	Pieces	   *source = cut(data, size, 1 + size % 13);
	bool		booleans[3] = {false, true, true};
	Records    *records = records_create(&source->source, 3, booleans);
	char		buf[64];
	int			count;

	while ((count = records_next(records)) > 0)
	{
		RowSource  *all = records_choose(records, 0, count);

		while (all->read(all, buf, 1, sizeof(buf)) > 0)
			;
	}
}

/* ------------------------------------------------------------------------
 * Words
 * ------------------------------------------------------------------------
 */

/* Either text fits into a message: valid, on one line, not long. */
static void
check_foreign(const char *text)
{
	const char *p;

	fuzz_require(strlen(text) <= FOREIGN_TEXT_MAX + 3);
	fuzz_require(pg_verify_mbstr(PG_UTF8, text, strlen(text), true));
	for (p = text; *p != '\0'; p++)
		fuzz_require((unsigned char) *p >= ' ' && *p != '\x7f');
}

static void
run_text(const char *data, Size size)
{
	char	   *text = fuzz_string(data, size);

	check_foreign(foreign_text(text));
	check_foreign(foreign_page(text));
}

static void
run_datetime(const char *data, Size size)
{
	TimestampTz value = soql_parse_datetime(fuzz_string(data, size));
	TimestampTz whole = soql_parse_datetime(soql_datetime(value));

	fuzz_require(whole <= value && value - whole < USECS_PER_SEC);
}

static void
run_id(const char *data, Size size)
{
	char	   *id = fuzz_string(data, size);
	char		canonical[SALESFORCE_ID_LEN + 1];

	if (!id_is_valid(id))
		return;
	id_canonical(id, canonical);
	fuzz_require(id_is_valid(canonical));
	fuzz_require(strncmp(id, canonical, strlen(id)) == 0);
}

static void
run_url(const char *data, Size size)
{
	char	   *url = fuzz_string(data, size);
	char	   *origin = url_bare_origin(url);
	UrlParts	parts;

	if (url_split(url, &parts))
		(void) url_is_loopback(&parts);
	if (http_url_allowed(url))
		fuzz_require(strcmp(parts.scheme, "https") == 0 ||
					 url_is_loopback(&parts));
	if (origin == NULL)
		return;
	/* Where requests go if the origin is put before a path. */
	fuzz_require(http_same_origin(url, origin));
	fuzz_require(http_same_origin(psprintf("%s/services/data", origin),
								  origin));
	fuzz_require(strcmp(url_bare_origin(origin), origin) == 0);
}

static void
run_headers(const char *data, Size size)
{
	HttpAnswer	answer = {0};
	ListCell   *lc;

	http_take_headers(&answer, data, size);
	foreach(lc, answer.headers)
		fuzz_require(strchr((const char *) lfirst(lc), '\n') == NULL);
	(void) http_header(&answer, "Sforce-Locator");
}

const FuzzTarget small_targets[] = {
	{"json", run_json},
	{"csv", run_csv},
	{"values", run_values},
	{"records", run_records},
	{"booleans", run_booleans},
	{"text", run_text},
	{"datetime", run_datetime},
	{"id", run_id},
	{"url", run_url},
	{"headers", run_headers},
	{NULL, NULL}
};
