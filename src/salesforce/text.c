/*-------------------------------------------------------------------------
 *
 * text.c
 *	  The other side's words, made fit to stand in a message of ours.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "text.h"

static bool
is_blank(char c)
{
	return c == '\x7f' || (unsigned char) c <= ' ';
}

/* The end of a line that has a caret and nothing else, or NULL. */
static const char *
skip_caret_line(const char *p)
{
	while (*p == ' ' || *p == '\t')
		p++;
	if (*p != '^')
		return NULL;
	p++;
	while (*p == ' ' || *p == '\t' || *p == '\r')
		p++;
	return (*p == '\n' || *p == '\0') ? p : NULL;
}

static void
append_folded(StringInfo buf, const char *text)
{
	const char *p = text;
	bool		blank = false;

	while (*p != '\0')
	{
		const char *after = NULL;

		if (*p == '\n' && (after = skip_caret_line(p + 1)) != NULL)
		{
			p = after;
			blank = true;
			continue;
		}
		if (is_blank(*p))
			blank = true;
		else
		{
			if (blank && buf->len > 0)
				appendStringInfoChar(buf, ' ');
			blank = false;
			appendStringInfoChar(buf, *p);
		}
		p++;
	}
}

/*
 * Answers are UTF-8.  In a database of another encoding anything beyond ASCII
 * gives way: a message must not fail over what it quotes.
 */
static void
replace_non_text(char *text, int len)
{
	bool		utf8 = GetDatabaseEncoding() == PG_UTF8;
	char	   *p = text;
	char	   *end = text + len;

	while (p < end)
	{
		int			n = 1;

		if (IS_HIGHBIT_SET(*p))
		{
			n = pg_utf_mblen((unsigned char *) p);
			if (!utf8 || n > end - p ||
				!pg_utf8_islegal((unsigned char *) p, n))
			{
				*p = '?';
				n = 1;
			}
		}
		p += n;
	}
}

static void
clip(StringInfo buf)
{
	int			len;

	if (buf->len <= FOREIGN_TEXT_MAX)
		return;
	len = pg_mbcliplen(buf->data, buf->len, FOREIGN_TEXT_MAX);
	buf->data[len] = '\0';
	buf->len = len;
	appendStringInfoString(buf, "...");
}

char *
foreign_text(const char *text)
{
	StringInfoData buf;

	initStringInfo(&buf);
	if (text != NULL)
		append_folded(&buf, text);
	replace_non_text(buf.data, buf.len);
	clip(&buf);
	return buf.data;
}

/* The title of an HTML page, cut out of it; NULL if there is none. */
static char *
html_title(const char *body)
{
	const char *p;
	const char *start = NULL;

	for (p = body; *p != '\0'; p++)
	{
		if (start == NULL && pg_strncasecmp(p, "<title>", 7) == 0)
			start = p + 7;
		else if (start != NULL && *p == '<')
			return p > start ? pnstrdup(start, p - start) : NULL;
	}
	return NULL;
}

char *
foreign_page(const char *body)
{
	const char *p = body;
	char	   *title;

	while (*p != '\0' && is_blank(*p))
		p++;
	if (*p == '\0')
		return pstrdup("an empty answer");
	/* Half an answer may hold a token or people's data: it is not quoted. */
	if (strchr("{[\"", *p) != NULL)
		return pstrdup("JSON that is cut short or damaged");
	if (*p != '<')
		return foreign_text(psprintf("\"%.200s\"", p));
	title = html_title(p);
	if (title == NULL)
		return pstrdup("a web page");
	return foreign_text(psprintf("a web page titled \"%s\"", title));
}

char *
foreign_behind(const char *what, const char *words)
{
	int			len = words ? (int) strlen(words) : 0;

	/* A primary message is no sentence. */
	while (len > 0 && (words[len - 1] == '.' || words[len - 1] == ' '))
		len--;
	return len > 0 ? psprintf("%s: %.*s", what, len, words) : pstrdup(what);
}
