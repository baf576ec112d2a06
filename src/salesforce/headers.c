/*-------------------------------------------------------------------------
 *
 * headers.c
 *	  The header lines of an HTTP answer.
 *
 * Apart from http.c, so that they can be read without a transfer (test/fuzz).
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>
#include <curl/curl.h>

#include "utils/timestamp.h"

#include "http.h"

void
http_take_headers(HttpAnswer *answer, const char *text, int len)
{
	const char *date;
	int			at = 0;

	while (at < len)
	{
		const char *line = text + at;
		const char *eol = memchr(line, '\n', len - at);
		int			length = eol ? eol - line : len - at;

		at += length + 1;
		while (length > 0 && isspace((unsigned char) line[length - 1]))
			length--;
		answer->headers = lappend(answer->headers, pnstrdup(line, length));
	}
	date = http_header(answer, "Date");
	if (date != NULL)
	{
		time_t		seconds = curl_getdate(date, NULL);

		if (seconds != (time_t) -1)
			answer->date = time_t_to_timestamptz(seconds);
	}
}

const char *
http_header(const HttpAnswer *answer, const char *name)
{
	size_t		len = strlen(name);
	ListCell   *lc;

	foreach(lc, answer->headers)
	{
		const char *line = (const char *) lfirst(lc);

		if (pg_strncasecmp(line, name, len) != 0 || line[len] != ':')
			continue;
		line += len + 1;
		while (*line == ' ' || *line == '\t')
			line++;
		return line;
	}
	return NULL;
}
