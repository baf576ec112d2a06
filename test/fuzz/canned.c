/*-------------------------------------------------------------------------
 *
 * canned.c
 *	  In the place of http.c: answers that are in the input.
 *
 * Answers stand one after the other, with a line "===" between them; the last
 * is given again and again, CALLS times at most.  An answer is
 *
 *		200
 *		Sforce-Locator: null
 *
 *		body
 *
 * or, if it does not begin with a number, a body alone.  What is no status of
 * HTTP says what goes wrong instead: see no_answer.  A header "Cut: " lets a
 * stream break off at its end.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fuzz.h"
#include "url.h"

#define BETWEEN "\n===\n"

/* More calls than any chain of few answers can need. */
#define CALLS 200

enum no_answer
{
	NOT_CONNECTED,				/* 0: nothing was sent */
	NOT_ANSWERED,				/* 1: sent, and no answer began */
	BROKEN_OFF,					/* 2: it began */
	TOO_BIG						/* 3 */
};

struct HttpClient
{
	const char *at;				/* the next answer */
	const char *end;
	int			calls;
};

struct HttpStream
{
	HttpAnswer *answer;
	StringInfoData rest;
	int			reads;
};

void		(*http_heed) (bool idle) = NULL;

void
http_heed_now(bool idle)
{
}

HttpClient *
canned_client(const char *data, Size size)
{
	HttpClient *client = palloc0(sizeof(HttpClient));

	client->at = data;
	client->end = data + size;
	return client;
}

/* Not called: canned_client makes clients. */
HttpClient *
http_create(const HttpOptions *options)
{
	return canned_client("", 0);
}

/* The next answer's text; the last one comes again. */
static const char *
next_text(HttpClient *client, Size *len)
{
	const char *text = client->at;
	const char *between;

	if (++client->calls > CALLS)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("no answers any more")));
	between = memmem(text, client->end - text, BETWEEN, strlen(BETWEEN));
	*len = (between ? between : client->end) - text;
	if (between != NULL)
		client->at = between + strlen(BETWEEN);
	return text;
}

/* Header lines up to an empty one; returns where the body begins. */
static const char *
read_head(HttpAnswer *answer, const char *p, const char *end)
{
	const char *start;

	answer->status = 0;
	while (p < end && *p >= '0' && *p <= '9' && answer->status < 1000)
		answer->status = answer->status * 10 + (*p++ - '0');
	p = memchr(p, '\n', end - p);
	if (p == NULL)
		return end;
	start = ++p;
	while (p < end && *p != '\n')
	{
		const char *eol = memchr(p, '\n', end - p);

		p = eol ? eol + 1 : end;
	}
	http_take_headers(answer, start, p - start);
	return p < end ? p + 1 : end;
}

static HttpAnswer *
next_answer(HttpClient *client)
{
	HttpAnswer *answer = palloc0(sizeof(HttpAnswer));
	Size		len;
	const char *text = next_text(client, &len);
	const char *body = text;

	answer->status = 200;
	if (len > 0 && *text >= '0' && *text <= '9')
		body = read_head(answer, text, text + len);
	initStringInfo(&answer->body);
	appendBinaryStringInfo(&answer->body, body, text + len - body);
	return answer;
}

/* As http.c would refuse it; and the token must stay with its host. */
static void
check_request(const HttpRequest *request)
{
	ListCell   *lc;

	if (!http_url_allowed(request->url))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("address is not allowed")));
	fuzz_require(http_same_origin(request->url, FUZZ_INSTANCE));
	foreach(lc, request->headers)
	{
		if (strpbrk((const char *) lfirst(lc), "\r\n") != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a header contains a line break")));
	}
}

HttpAnswer *
http_request(HttpClient *client, const HttpRequest *request)
{
	HttpAnswer *answer;

	check_request(request);
	answer = next_answer(client);
	if (answer->status <= TOO_BIG)
		ereport(ERROR,
				(errcode(answer->status == TOO_BIG ?
						 ERRCODE_PROGRAM_LIMIT_EXCEEDED :
						 ERRCODE_CONNECTION_FAILURE),
				 errmsg("no answer"), errdetail("It is canned.")));
	return answer;
}

static ErrorData *
catch_failure(int status)
{
	ErrorData  *failure = palloc0(sizeof(ErrorData));

	failure->elevel = ERROR;
	failure->sqlerrcode = status == TOO_BIG ?
		ERRCODE_PROGRAM_LIMIT_EXCEEDED : ERRCODE_CONNECTION_FAILURE;
	failure->message = pstrdup("no answer");
	return failure;
}

void
http_request_many(HttpClient *client, const HttpRequest *requests, int n,
				  HttpResult *results)
{
	int			i;

	memset(results, 0, n * sizeof(*results));
	for (i = 0; i < n; i++)
	{
		HttpAnswer *answer;

		check_request(&requests[i]);
		answer = next_answer(client);
		if (answer->status > TOO_BIG)
		{
			results[i].answer = answer;
			continue;
		}
		results[i].failure = catch_failure(answer->status);
		results[i].sent = answer->status != NOT_CONNECTED;
		results[i].status = answer->status >= BROKEN_OFF ? 200 : 0;
	}
}

HttpStream *
http_open(HttpClient *client, const HttpRequest *request)
{
	HttpStream *stream = palloc0(sizeof(HttpStream));

	stream->answer = http_request(client, request);
	stream->rest = stream->answer->body;
	initStringInfo(&stream->answer->body);
	return stream;
}

const HttpAnswer *
http_stream_answer(const HttpStream *stream)
{
	return stream->answer;
}

/* Pieces of many sizes, and now and then all that fits. */
int
http_read(HttpStream *stream, void *outbuf, int minread, int maxread)
{
	static const int sizes[] = {1, 2, 3, 7, 64, 1024};
	int			n = sizes[stream->reads++ % lengthof(sizes)];
	int			left = stream->rest.len - stream->rest.cursor;

	n = Min(Max(n, minread), Min(maxread, left));
	memcpy(outbuf, stream->rest.data + stream->rest.cursor, n);
	stream->rest.cursor += n;
	if (n < minread || n == 0)
	{
		if (http_header(stream->answer, "Cut") != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("answer broke off")));
	}
	return n;
}

void
http_close(HttpStream *stream)
{
	pfree(stream->rest.data);
	pfree(stream);
}
