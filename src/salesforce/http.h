/*-------------------------------------------------------------------------
 *
 * http.h
 *	  HTTP requests that wait as a PostgreSQL process should: on the process
 *	  latch and the sockets together.
 *
 * Knows nothing of Salesforce.  One client owns one libcurl multi handle and
 * its open connections.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_HTTP_H
#define SYNC_HTTP_H

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"

typedef struct HttpClient HttpClient;
typedef struct HttpStream HttpStream;

typedef struct HttpOptions
{
	const char *user_agent;
	const char *ca_file;		/* PEM file of trusted roots; NULL = system's */
	int			connect_timeout;	/* ms */
	int			idle_timeout;	/* ms without a byte before giving up */
} HttpOptions;

typedef struct HttpRequest
{
	const char *method;			/* GET, POST, PATCH, PUT, DELETE */
	const char *url;			/* https, or http to a loopback address */
	List	   *headers;		/* of char *, each "Name: value" */
	const char *body;			/* NULL = none */
	Size		body_len;
	Size		max_answer;		/* bytes; 0 = HTTP_MAX_ANSWER */
	bool		once;			/* must not reach the server twice: libcurl
								 * repeats a request by itself when a reused
								 * connection turns out to be dead; such a
								 * request is given up instead */
} HttpRequest;

/* What an answer held in memory may be at the most, after inflating. */
#define HTTP_MAX_ANSWER		((Size) 64 * 1024 * 1024)

typedef struct HttpAnswer
{
	int			status;
	TimestampTz date;			/* the server's Date header; 0 = none sent */
	List	   *headers;		/* of char *, "Name: value" as received */
	StringInfoData body;		/* empty for a stream; NUL-terminated */
} HttpAnswer;

/* How one of several requests ended. */
typedef struct HttpResult
{
	HttpAnswer *answer;			/* NULL: failure says why */
	struct ErrorData *failure;	/* palloc'd */
	bool		sent;			/* of a failure: false if it is certain that
								 * nothing of the request left us */
	int			status;			/* of an answer that broke off; 0 = none had
								 * begun */
} HttpResult;

/*
 * http_create: a client in a child of CurrentMemoryContext, gone with it.
 *
 * http_request: one request, answer whole in memory (CurrentMemoryContext).
 * Any status is an answer; a failure to get one (DNS, connect, TLS, reset,
 * truncated body, idle time-out, answer over max_answer) is an ERROR with
 * ERRCODE_CONNECTION_FAILURE (ERRCODE_PROGRAM_LIMIT_EXCEEDED for the size).
 * Redirects are never followed.  gzip is asked for, except from a loopback
 * address, where there is no wire to spare.
 *
 * http_request_many: n requests in flight together (a few at a time, where
 * there are many); results[i] belongs to requests[i].
 *
 * http_open / http_read / http_close: an answer read as it arrives, in bounded
 * memory.  http_open returns when status and headers are there.  http_read
 * copies between minread and maxread bytes, fewer than minread only at the
 * end.  A stream is closed with its memory context at the latest.
 */
/*
 * Called about once a second while an answer is waited for, idle: nothing came
 * meanwhile.  It may raise an error to end the waiting.  Not while a request is
 * under way that must not reach the server twice (once).  http_heed_now: for
 * other waits for the org.
 */
extern void (*http_heed) (bool idle);
extern void http_heed_now(bool idle);

extern HttpClient *http_create(const HttpOptions *options);
extern HttpAnswer *http_request(HttpClient *client, const HttpRequest *request);
extern void http_request_many(HttpClient *client, const HttpRequest *requests,
							  int n, HttpResult *results);
extern HttpStream *http_open(HttpClient *client, const HttpRequest *request);
extern const HttpAnswer *http_stream_answer(const HttpStream *stream);
extern int	http_read(HttpStream *stream, void *outbuf, int minread,
					  int maxread);
extern void http_close(HttpStream *stream);

/*
 * Header lines as they were received, one after the other, into the answer's
 * list and date.
 */
extern void http_take_headers(HttpAnswer *answer, const char *text, int len);

/* The value of the first header of that name, case-insensitive; or NULL. */
extern const char *http_header(const HttpAnswer *answer, const char *name);

/* Percent-encodes a value for use in a URL or a form body. */
extern char *http_encode(const char *value);

/* True if requests may go to this URL at all: https, or http to loopback. */
extern bool http_url_allowed(const char *url);

/* True if two URLs have the same scheme, host and port. */
extern bool http_same_origin(const char *a, const char *b);

#endif							/* SYNC_HTTP_H */
