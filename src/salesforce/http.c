/*-------------------------------------------------------------------------
 *
 * http.c
 *	  HTTP requests that wait as a PostgreSQL process should.
 *
 * libcurl's multi interface says which sockets it cares about and when it
 * wants to be called again; the waiting is done here, by a WaitEventSet over
 * the process latch, the death of the postmaster, and those sockets.  So a
 * query cancel or a shutdown is served at once, also while a server hangs in
 * name resolution, in a handshake, or in the middle of a download.
 *
 * Every answer is received the same way: the write callback copies what
 * arrives into a window of fixed size and pauses the transfer when that is
 * full.  Whoever waits for the answer empties the window, into a caller's
 * buffer or into a growing one, and resumes the transfer.  So memory stays
 * bounded however fast the server sends and however well its data was
 * compressed (one step of libcurl reads and inflates up to a hundred of its
 * buffers if it is not stopped), and no callback of libcurl ever needs memory
 * of ours: nothing in them can raise an error and jump over libcurl's frames.
 *
 * A stream lives in a memory context whose reset callback gives back what
 * libcurl allocated, and so does the client.  Either may go first.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>
#include <unistd.h>
#include <curl/curl.h>

#include "lib/ilist.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/fd.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "../compat.h"
#include "http.h"
#include "text.h"
#include "url.h"
#include "origin.h"

/* Connections in use, twice as many while both address families are tried. */
#define MAX_SOCKETS		64
/* Requests of http_request_many that are in flight together. */
#define MAX_IN_FLIGHT	8
/* Idle connections kept for the next request. */
#define MAX_CONNECTIONS 8

/* What libcurl reads from a socket at once. */
#define READ_SIZE		(64 * 1024)
/* Windows; libcurl hands out pieces of CURL_MAX_WRITE_SIZE at the most. */
#define ANSWER_WINDOW	(64 * 1024)
#define STREAM_WINDOW	(256 * 1024)
/* All header lines of an answer together; Salesforce's take some 2 kB. */
#define MAX_HEADERS		(32 * 1024)

/*
 * A request that must not be sent twice is not sent on a connection that has
 * been idle for longer, s: the server may be about to close it.
 */
#define YOUNG_CONNECTION 5L

/* libcurl tells before each sending since 7.80, and knows ages since 7.65. */
#if LIBCURL_VERSION_NUM >= 0x075000
#define TELLS_SENDING
#endif

/* Longest wait without looking at the clock again, ms. */
#define MAX_WAIT		1000

/*
 * What counts as an answer that goes on: less would keep a process for days with
 * a byte now and then.
 */
#define TRICKLE			1024

/* How often it is looked whether to go on waiting, in microseconds. */
#define HEED_EVERY		INT64CONST(1000000)

/* Nothing came for so long, in microseconds. */
#define IDLE_TIME		INT64CONST(500000)

StaticAssertDecl(ANSWER_WINDOW >= CURL_MAX_WRITE_SIZE,
				 "a piece must fit into an empty window");

typedef struct HttpSocket
{
	curl_socket_t fd;
	int			what;			/* CURL_POLL_IN, _OUT or _INOUT */
} HttpSocket;

struct HttpClient
{
	MemoryContext context;
	MemoryContextCallback gone;
	HttpOptions options;
	CURLM	   *multi;
	dlist_head	streams;

	/* Written by libcurl's callbacks. */
	HttpSocket	sockets[MAX_SOCKETS];
	int			nsockets;
	bool		sockets_changed;
	int64		timer;			/* when to call libcurl; -1 = never */

	WaitEventSet *waitset;
};

struct HttpStream
{
	MemoryContext context;
	MemoryContextCallback gone;
	dlist_node	node;			/* in client->streams */
	HttpClient *client;			/* NULL once detached */
	CURL	   *easy;
	struct curl_slist *headers; /* of the request */

	/* For messages. */
	const char *method;
	UrlParts	url;
	char		error[CURL_ERROR_SIZE];

	HttpAnswer *answer;
	MemoryContext answer_context;
	Size		max_answer;
	bool		have_answer;	/* status and headers are in answer */
	bool		once;

	/* Written by libcurl's callbacks. */
	bool		sent;			/* some of the request may have left */
	bool		not_repeated;	/* libcurl wanted to send it again */
	int			status;
	bool		headers_done;
	bool		headers_too_long;
	int			header_len;
	char		header[MAX_HEADERS];
	bool		paused;
	curl_off_t	moved;			/* bytes sent and received */
	int64		moved_at;		/* when they had become so many */
	Size		window_size;
	Size		start;			/* of what the window holds */
	Size		end;
	char	   *window;

	/* How it ended. */
	bool		done;
	bool		too_big;
	bool		idle_too_long;
	CURLcode	result;
};

/*
 * Microseconds of a clock that nobody sets.
 */
static int64
clock_us(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

/* ------------------------------------------------------------------------
 * What libcurl calls.  Nothing here allocates or raises errors.
 * ------------------------------------------------------------------------
 */

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
	HttpClient *client = (HttpClient *) arg;
	int			i;

	client->sockets_changed = true;
	for (i = 0; i < client->nsockets; i++)
		if (client->sockets[i].fd == fd)
			break;
	if (what == CURL_POLL_REMOVE)
	{
		if (i < client->nsockets)
			client->sockets[i] = client->sockets[--client->nsockets];
		return 0;
	}
	if (i == MAX_SOCKETS)
		return -1;
	if (i == client->nsockets)
		client->nsockets++;
	client->sockets[i].fd = fd;
	client->sockets[i].what = what;
	return 0;
}

/* libcurl counts in ms: a whole one is added, lest it is called too early. */
static int
on_timer(CURLM *multi, long timeout_ms, void *arg)
{
	HttpClient *client = (HttpClient *) arg;

	if (timeout_ms < 0)
		client->timer = -1;
	else if (timeout_ms == 0)
		client->timer = 0;
	else
		client->timer = clock_us() + ((int64) timeout_ms + 1) * 1000;
	return 0;
}

/* Sockets count among the files that fd.c may have open. */
static curl_socket_t
on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	curl_socket_t fd;

	if (!AcquireExternalFD())
		return CURL_SOCKET_BAD;
	fd = socket(address->family, address->socktype, address->protocol);
	if (fd == CURL_SOCKET_BAD)
		ReleaseExternalFD();
	return fd;
}

static int
on_close(void *arg, curl_socket_t fd)
{
	ReleaseExternalFD();
	return close(fd);
}

static int
on_progress(void *arg, curl_off_t dltotal, curl_off_t dlnow,
			curl_off_t ultotal, curl_off_t ulnow)
{
	HttpStream *stream = (HttpStream *) arg;

	if (dlnow + ulnow >= stream->moved + TRICKLE)
	{
		stream->moved = dlnow + ulnow;
		stream->moved_at = clock_us();
	}
	return 0;
}

#ifdef TELLS_SENDING

/* Before each sending; libcurl sends again when a connection was dead. */
static int
on_sending(void *arg, char *ip, char *local_ip, int port, int local_port)
{
	HttpStream *stream = (HttpStream *) arg;

	if (stream->once && stream->sent)
	{
		stream->not_repeated = true;
		return CURL_PREREQFUNC_ABORT;
	}
	stream->sent = true;
	return CURL_PREREQFUNC_OK;
}

#endif

static size_t
on_header(char *data, size_t size, size_t nitems, void *arg)
{
	HttpStream *stream = (HttpStream *) arg;
	size_t		len = size * nitems;

	/* Trailers of a chunked body come this way too. */
	if (stream->headers_done)
		return len;
	/* Each interim answer (100, 103) and the final one begins like this. */
	if (len > 5 && strncmp(data, "HTTP/", 5) == 0)
	{
		const char *space = memchr(data, ' ', len);

		stream->header_len = 0;
		stream->status = space ? (int) strtol(space, NULL, 10) : 0;
		return len;
	}
	if (len == 0 || data[0] == '\r' || data[0] == '\n')
	{
		stream->headers_done = stream->status >= 200;
		return len;
	}
	if (stream->header_len + len > MAX_HEADERS)
	{
		stream->headers_too_long = true;
		return 0;
	}
	memcpy(stream->header + stream->header_len, data, len);
	stream->header_len += len;
	return len;
}

static size_t
on_body(char *data, size_t size, size_t nitems, void *arg)
{
	HttpStream *stream = (HttpStream *) arg;
	Size		len = size * nitems;

	if (stream->end + len > stream->window_size && stream->start > 0)
	{
		memmove(stream->window, stream->window + stream->start,
				stream->end - stream->start);
		stream->end -= stream->start;
		stream->start = 0;
	}
	if (stream->end + len > stream->window_size)
	{
		stream->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	memcpy(stream->window + stream->end, data, len);
	stream->end += len;
	return len;
}

/* ------------------------------------------------------------------------
 * The client
 * ------------------------------------------------------------------------
 */

/*
 * Once per process, when first needed: in the postmaster it would be inherited
 * by all (OpenSSL's state, libcurl's random numbers).
 */
static void
init_libcurl(void)
{
	static bool ready = false;

	if (ready)
		return;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		ereport(ERROR,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("could not initialize libcurl")));
	ready = true;
}

/* What an older libcurl tells only afterwards. */
static void
note_sent(HttpStream *stream)
{
#ifndef TELLS_SENDING
	long		size = 0;

	curl_easy_getinfo(stream->easy, CURLINFO_REQUEST_SIZE, &size);
	stream->sent = size > 0;
#endif
}

/* Takes what belongs to libcurl off a stream; its buffers stay readable. */
static void
detach_stream(HttpStream *stream)
{
	if (stream->easy != NULL)
	{
		note_sent(stream);
		if (stream->client != NULL && stream->client->multi != NULL)
			curl_multi_remove_handle(stream->client->multi, stream->easy);
		curl_easy_cleanup(stream->easy);
		stream->easy = NULL;
	}
	if (stream->headers != NULL)
		curl_slist_free_all(stream->headers);
	stream->headers = NULL;
	if (stream->client != NULL)
		dlist_delete(&stream->node);
	stream->client = NULL;
}

static void
stream_gone(void *arg)
{
	detach_stream((HttpStream *) arg);
}

static void
client_gone(void *arg)
{
	HttpClient *client = (HttpClient *) arg;
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &client->streams)
		detach_stream(dlist_container(HttpStream, node, iter.cur));
	if (client->multi != NULL)
		curl_multi_cleanup(client->multi);
	client->multi = NULL;
	if (client->waitset != NULL)
		FreeWaitEventSet(client->waitset);
	client->waitset = NULL;
}

#define SET_MULTI(client, option, value) \
	do { \
		CURLMcode	rc_ = curl_multi_setopt((client)->multi, option, value); \
		if (rc_ != CURLM_OK) \
			elog(ERROR, "could not set %s of libcurl: %s", #option, \
				 curl_multi_strerror(rc_)); \
	} while (0)

HttpClient *
http_create(const HttpOptions *options)
{
	MemoryContext context;
	MemoryContext caller;
	HttpClient *client;

	init_libcurl();
	context = AllocSetContextCreate(CurrentMemoryContext, "sync http client",
									ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(context);
	client = palloc0(sizeof(HttpClient));
	client->context = context;
	client->timer = -1;
	dlist_init(&client->streams);
	client->gone.func = client_gone;
	client->gone.arg = client;
	MemoryContextRegisterResetCallback(context, &client->gone);

	client->options = *options;
	if (options->user_agent)
		client->options.user_agent = pstrdup(options->user_agent);
	if (options->ca_file)
		client->options.ca_file = pstrdup(options->ca_file);

	client->multi = curl_multi_init();
	if (client->multi == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	SET_MULTI(client, CURLMOPT_SOCKETFUNCTION, on_socket);
	SET_MULTI(client, CURLMOPT_SOCKETDATA, client);
	SET_MULTI(client, CURLMOPT_TIMERFUNCTION, on_timer);
	SET_MULTI(client, CURLMOPT_TIMERDATA, client);
	SET_MULTI(client, CURLMOPT_MAXCONNECTS, (long) MAX_CONNECTIONS);
	/*
	 * A connection serves one transfer at a time, in HTTP/2 too: where several
	 * share one, pausing one of them has been seen to stall another (7.88).
	 */
	SET_MULTI(client, CURLMOPT_PIPELINING, (long) CURLPIPE_NOTHING);
	MemoryContextSwitchTo(caller);
	return client;
}

/* Notes which transfers libcurl has finished with. */
static void
collect_done(HttpClient *client)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(client->multi, &left)) != NULL)
	{
		HttpStream *stream = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE,
						  (char **) &stream);
		stream->done = true;
		stream->result = message->data.result;
	}
}

/*
 * Lets libcurl work.  It may start a thread for name resolution, which must
 * not run the server's signal handlers: threads inherit the mask.
 */
static void
client_act(HttpClient *client, curl_socket_t fd, int events)
{
	sigset_t	all;
	sigset_t	before;
	CURLMcode	rc;
	int			running;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	rc = curl_multi_socket_action(client->multi, fd, events, &running);
	sigprocmask(SIG_SETMASK, &before, NULL);

	collect_done(client);
	if (rc != CURLM_OK)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("could not drive a transfer"),
				 errdetail("libcurl: %s.", curl_multi_strerror(rc))));
}

/*
 * The set is built anew whenever a socket came, went or changed its purpose:
 * nothing can be taken out of a set, and one that libcurl has closed must be
 * out of it before the next wait.  That costs microseconds, and a transfer
 * that has data waiting does not come here.
 */
static void
prepare_waitset(HttpClient *client)
{
	WaitEventSet *set;
	int			i;

	if (client->waitset != NULL && !client->sockets_changed)
		return;
	if (client->waitset != NULL)
	{
		set = client->waitset;
		client->waitset = NULL;
		FreeWaitEventSet(set);
	}
	set = create_wait_event_set(client->context, client->nsockets + 2);
	client->waitset = set;
	/* Wrong until the last socket is in: an error may come in between. */
	client->sockets_changed = true;
	AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	if (IsUnderPostmaster)
		AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL,
						  NULL);
	for (i = 0; i < client->nsockets; i++)
	{
		int			what = client->sockets[i].what;
		uint32		events = 0;

		if (what & CURL_POLL_IN)
			events |= WL_SOCKET_READABLE;
		if (what & CURL_POLL_OUT)
			events |= WL_SOCKET_WRITEABLE;
		if (events != 0)
			AddWaitEventToSet(set, events, client->sockets[i].fd, NULL, NULL);
	}
	client->sockets_changed = false;
}

/* How long to wait, in ms rounded up, for the timer or until deadline. */
static long
wait_time(const HttpClient *client, int64 deadline)
{
	int64		now = clock_us();
	int64		until = now + MAX_WAIT * INT64CONST(1000);

	if (client->timer >= 0)
		until = Min(until, client->timer);
	until = Min(until, deadline);
	return until <= now ? 0 : (long) ((until - now + 999) / 1000);
}

void		(*http_heed) (bool idle) = NULL;

void
http_heed_now(bool idle)
{
	static int64 heeded_at = 0;
	int64		now = clock_us();

	if (http_heed == NULL || now < heeded_at + HEED_EVERY)
		return;
	heeded_at = now;
	http_heed(idle);
}

/*
 * What becomes of a write would not be known if it was left.  So this comes
 * before a wait: after one, its answer may be there and not taken yet.
 */
static void
client_heed(HttpClient *client)
{
	int64		moved_at = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &client->streams)
	{
		HttpStream *stream = dlist_container(HttpStream, node, iter.cur);

		if (stream->once && !stream->done)
			return;
		moved_at = Max(moved_at, stream->moved_at);
	}
	http_heed_now(moved_at < clock_us() - IDLE_TIME);
}

/*
 * One turn: waits for a socket, the timer, the latch or the deadline, and lets
 * libcurl do what there is to do.
 */
static void
client_turn(HttpClient *client, int64 deadline)
{
	static uint32 wait_event = 0;
	WaitEvent	events[MAX_SOCKETS + 2];
	int			n;
	int			i;

	CHECK_FOR_INTERRUPTS();
	client_heed(client);
	prepare_waitset(client);
	n = WaitEventSetWait(client->waitset, wait_time(client, deadline), events,
						 lengthof(events),
						 named_wait_event("SyncHttp", &wait_event));
	for (i = 0; i < n; i++)
	{
		int			ready = 0;

		if (events[i].events & WL_LATCH_SET)
		{
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		}
		if (events[i].events & WL_SOCKET_READABLE)
			ready |= CURL_CSELECT_IN;
		if (events[i].events & WL_SOCKET_WRITEABLE)
			ready |= CURL_CSELECT_OUT;
		if (ready != 0)
			client_act(client, events[i].fd, ready);
	}
	/* Also when nothing came: a timer of libcurl's may have been missed. */
	if (n == 0 || (client->timer >= 0 && client->timer <= clock_us()))
	{
		client->timer = -1;
		client_act(client, CURL_SOCKET_TIMEOUT, 0);
	}
}

/* ------------------------------------------------------------------------
 * A transfer
 * ------------------------------------------------------------------------
 */

#define SET_EASY(stream, option, value) \
	do { \
		CURLcode	rc_ = curl_easy_setopt((stream)->easy, option, value); \
		if (rc_ != CURLE_OK) \
			elog(ERROR, "could not set %s of libcurl: %s", #option, \
				 curl_easy_strerror(rc_)); \
	} while (0)

static void
add_header(HttpStream *stream, const char *line)
{
	struct curl_slist *list;

	if (strpbrk(line, "\r\n") != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a header of a request to %s contains a line break",
						stream->url.host)));
	list = curl_slist_append(stream->headers, line);
	if (list == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	stream->headers = list;
}

static void
set_method(HttpStream *stream, const HttpRequest *request)
{
	bool		has_body = request->body != NULL;

	if (has_body || strcmp(request->method, "POST") == 0)
	{
		SET_EASY(stream, CURLOPT_POSTFIELDSIZE_LARGE,
				 (curl_off_t) (has_body ? request->body_len : 0));
		SET_EASY(stream, CURLOPT_POSTFIELDS, has_body ? request->body : "");
	}
	if (strcmp(request->method, has_body ? "POST" : "GET") != 0)
		SET_EASY(stream, CURLOPT_CUSTOMREQUEST, request->method);
}

static void
set_headers(HttpStream *stream, const HttpRequest *request)
{
	ListCell   *lc;

	/* libcurl would wait a second for a permission that nobody gives. */
	add_header(stream, "Expect:");
	/* Within one machine compressing costs more than it spares. */
	if (url_is_loopback(&stream->url))
		add_header(stream, "Accept-Encoding: identity");
	foreach(lc, request->headers)
		add_header(stream, (const char *) lfirst(lc));
	SET_EASY(stream, CURLOPT_HTTPHEADER, stream->headers);
}

static void
set_callbacks(HttpStream *stream)
{
	SET_EASY(stream, CURLOPT_PRIVATE, stream);
	SET_EASY(stream, CURLOPT_ERRORBUFFER, stream->error);
	SET_EASY(stream, CURLOPT_HEADERFUNCTION, on_header);
	SET_EASY(stream, CURLOPT_HEADERDATA, stream);
	SET_EASY(stream, CURLOPT_WRITEFUNCTION, on_body);
	SET_EASY(stream, CURLOPT_WRITEDATA, stream);
	SET_EASY(stream, CURLOPT_XFERINFOFUNCTION, on_progress);
	SET_EASY(stream, CURLOPT_XFERINFODATA, stream);
	SET_EASY(stream, CURLOPT_NOPROGRESS, 0L);
	SET_EASY(stream, CURLOPT_OPENSOCKETFUNCTION, on_open);
	SET_EASY(stream, CURLOPT_CLOSESOCKETFUNCTION, on_close);
#ifdef TELLS_SENDING
	SET_EASY(stream, CURLOPT_PREREQFUNCTION, on_sending);
	SET_EASY(stream, CURLOPT_PREREQDATA, stream);
#endif
}

static void
set_security(HttpStream *stream)
{
	const HttpOptions *options = &stream->client->options;

#if LIBCURL_VERSION_NUM >= 0x075500
	SET_EASY(stream, CURLOPT_PROTOCOLS_STR, "https,http");
#else
	SET_EASY(stream, CURLOPT_PROTOCOLS, CURLPROTO_HTTPS | CURLPROTO_HTTP);
#endif
	SET_EASY(stream, CURLOPT_FOLLOWLOCATION, 0L);
	SET_EASY(stream, CURLOPT_SSL_VERIFYPEER, 1L);
	SET_EASY(stream, CURLOPT_SSL_VERIFYHOST, 2L);
	SET_EASY(stream, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	if (options->ca_file != NULL)
		SET_EASY(stream, CURLOPT_CAINFO, options->ca_file);

	/*
	 * A proxy that the environment of the postmaster happens to name is not
	 * meant for us: only the login host and the instance are spoken to.
	 */
	SET_EASY(stream, CURLOPT_PROXY, "");
}

/* Where libcurl cannot be kept from sending again, it gets no occasion to. */
static void
set_once(HttpStream *stream)
{
#ifdef TELLS_SENDING
	SET_EASY(stream, CURLOPT_MAXAGE_CONN, YOUNG_CONNECTION);
#else
	SET_EASY(stream, CURLOPT_FRESH_CONNECT, 1L);
#endif
}

static void
set_transport(HttpStream *stream, bool streaming)
{
	const HttpOptions *options = &stream->client->options;

	SET_EASY(stream, CURLOPT_NOSIGNAL, 1L);
	SET_EASY(stream, CURLOPT_TCP_KEEPALIVE, 1L);
	SET_EASY(stream, CURLOPT_BUFFERSIZE, (long) READ_SIZE);
	SET_EASY(stream, CURLOPT_CONNECTTIMEOUT_MS,
			 (long) options->connect_timeout);
	if (options->user_agent != NULL)
		SET_EASY(stream, CURLOPT_USERAGENT, options->user_agent);
	if (stream->once)
		set_once(stream);

	/*
	 * Streams get a connection of their own: libcurl grants each HTTP/2 stream
	 * a window of up to 32 MB, which a paused one would fill, and holds up the
	 * others on its connection meanwhile.
	 */
	SET_EASY(stream, CURLOPT_HTTP_VERSION, streaming ?
			 (long) CURL_HTTP_VERSION_1_1 : (long) CURL_HTTP_VERSION_2TLS);

	/* Inflates what comes compressed, also where that was not asked for. */
	SET_EASY(stream, CURLOPT_ACCEPT_ENCODING, "gzip");

	/* A resolver that hangs is left behind, not waited for, on a cancel. */
#if LIBCURL_VERSION_NUM >= 0x075700
	SET_EASY(stream, CURLOPT_QUICK_EXIT, 1L);
#endif
}

static void
require_allowed(const HttpRequest *request)
{
	UrlParts	url;

	if (http_url_allowed(request->url))
		return;
	(void) url_split(request->url, &url);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 url.host[0] != '\0' ?
			 errmsg("address of host \"%s\" is not allowed",
					foreign_text(url.host)) :
			 errmsg("address is not a valid URL"),
			 errhint("Use https://, without user name or password.  Plain http:// is allowed to this machine itself only.")));
}

/*
 * The stream, in a child of CurrentMemoryContext, under way.  The caller's
 * method, url and body must stay until it has ended.
 */
static HttpStream *
stream_start(HttpClient *client, const HttpRequest *request, bool streaming)
{
	MemoryContext context;
	MemoryContext caller;
	HttpStream *stream;
	CURLMcode	rc;

	require_allowed(request);
	context = AllocSetContextCreate(CurrentMemoryContext, "sync http stream",
									ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(context);
	stream = palloc0(sizeof(HttpStream));
	stream->context = context;
	stream->gone.func = stream_gone;
	stream->gone.arg = stream;
	MemoryContextRegisterResetCallback(context, &stream->gone);

	stream->client = client;
	dlist_push_tail(&client->streams, &stream->node);
	stream->method = request->method;
	stream->once = request->once;
	(void) url_split(request->url, &stream->url);
	stream->max_answer = request->max_answer > 0 ?
		request->max_answer : HTTP_MAX_ANSWER;
	stream->window_size = streaming ? STREAM_WINDOW : ANSWER_WINDOW;
	stream->window = palloc(stream->window_size);

	stream->easy = curl_easy_init();
	if (stream->easy == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	SET_EASY(stream, CURLOPT_URL, request->url);
	set_callbacks(stream);
	set_security(stream);
	set_transport(stream, streaming);
	set_method(stream, request);
	set_headers(stream, request);

	stream->moved_at = clock_us();
	rc = curl_multi_add_handle(client->multi, stream->easy);
	if (rc != CURLM_OK)
		elog(ERROR, "could not start a transfer: %s", curl_multi_strerror(rc));
	MemoryContextSwitchTo(caller);
	return stream;
}

/* Where and how the answer is to be kept; it outlives the stream or not. */
static void
stream_answer_in(HttpStream *stream, MemoryContext context)
{
	MemoryContext caller = MemoryContextSwitchTo(context);

	stream->answer = palloc0(sizeof(HttpAnswer));
	stream->answer_context = context;
	initStringInfo(&stream->answer->body);
	MemoryContextSwitchTo(caller);
}

/* Turns the header lines into the answer's list, once they are complete. */
static void
stream_take_headers(HttpStream *stream)
{
	HttpAnswer *answer = stream->answer;
	MemoryContext caller;

	if (stream->have_answer || !stream->headers_done)
		return;
	caller = MemoryContextSwitchTo(stream->answer_context);
	http_take_headers(answer, stream->header, stream->header_len);
	answer->status = stream->status;
	stream->have_answer = true;
	MemoryContextSwitchTo(caller);
}

/* Ends a transfer before its time. */
static void
stream_stop(HttpStream *stream)
{
	detach_stream(stream);
	stream->done = true;
}

/* Lets a paused transfer go on, now that the window is empty. */
static void
stream_resume(HttpStream *stream)
{
	if (!stream->paused || stream->easy == NULL)
		return;
	stream->paused = false;
	stream->result = curl_easy_pause(stream->easy, CURLPAUSE_CONT);
	if (stream->result != CURLE_OK)
		stream_stop(stream);
}

/* When it has been without a byte for too long; waiting_since: see below. */
static int64
stream_deadline(const HttpStream *stream, int64 waiting_since)
{
	int64		since = Max(stream->moved_at, waiting_since);
	int			limit = stream->client->options.idle_timeout;

	return limit > 0 ? since + (int64) limit * 1000 : PG_INT64_MAX;
}

/*
 * Gives up on a stream that has been idle.  Only the time that somebody spent
 * waiting for it counts: a reader may leave a stream alone for long, and the
 * server cannot send into a full window.
 */
static void
stream_check_idle(HttpStream *stream, int64 waiting_since)
{
	if (stream->done || clock_us() < stream_deadline(stream, waiting_since))
		return;
	stream->idle_too_long = true;
	snprintf(stream->error, sizeof(stream->error),
			 "less than %d bytes were received in %.3g seconds (option \"timeout\")",
			 TRICKLE,
			 stream->client->options.idle_timeout / 1000.0);
	stream_stop(stream);
}

static bool
stream_failed(const HttpStream *stream)
{
	return stream->done &&
		(stream->too_big || stream->idle_too_long ||
		 stream->result != CURLE_OK || !stream->headers_done);
}

static const char *
failure_hint(const HttpStream *stream)
{
	switch (stream->result)
	{
		case CURLE_COULDNT_RESOLVE_HOST:
			return "Check the host name, and that the database server can resolve it.";
		case CURLE_COULDNT_CONNECT:
			return "Check that the database server may open connections to this host and port.";
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CACERT_BADFILE:
			return "If the host's certificate was issued by a private authority, name its file in option \"ca_file\".";
		default:
			return NULL;
	}
}

static const char *
failure_text(const HttpStream *stream)
{
	if (stream->headers_too_long)
		return "the header lines of the answer are too long";
	if (stream->not_repeated)
		return "the connection ended before an answer came";
	if (stream->error[0] != '\0')
		return foreign_text(stream->error);
	if (stream->result != CURLE_OK)
		return curl_easy_strerror(stream->result);
	return "the answer has no status";
}

pg_noreturn static void
stream_raise(const HttpStream *stream)
{
	char	   *host = foreign_text(url_origin(&stream->url));
	char	   *path = foreign_text(stream->url.path);
	const char *hint = failure_hint(stream);

	if (stream->too_big)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("answer from %s is too big", host),
				 errdetail("%s %s: the answer exceeds %zu bytes.",
						   stream->method, path, stream->max_answer)));
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 stream->have_answer ?
			 errmsg("answer from %s broke off", host) :
			 errmsg("could not get an answer from %s", host),
			 errdetail("%s %s: %s.", stream->method, path,
					   failure_text(stream)),
			 hint ? errhint("%s", hint) : 0));
}

/* ------------------------------------------------------------------------
 * Whole answers
 * ------------------------------------------------------------------------
 */

/* Moves what has arrived into the answer, until no more comes by itself. */
static void
stream_drain(HttpStream *stream)
{
	stream_take_headers(stream);
	while (stream->end > stream->start)
	{
		Size		len = stream->end - stream->start;

		if ((Size) stream->answer->body.len + len > stream->max_answer)
		{
			stream->too_big = true;
			stream_stop(stream);
			return;
		}
		appendBinaryStringInfo(&stream->answer->body,
							   stream->window + stream->start, (int) len);
		stream->start = stream->end = 0;
		stream_resume(stream);
	}
}

/* The error that stream_raise would raise, in CurrentMemoryContext. */
static ErrorData *
stream_failure(const HttpStream *stream)
{
	MemoryContext caller = CurrentMemoryContext;
	ErrorData  *volatile failure = NULL;

	PG_TRY();
	{
		stream_raise(stream);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		failure = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	return failure;
}

/* Requests in flight together; streams[i] is NULL when not under way. */
typedef struct Batch
{
	HttpClient *client;
	const HttpRequest *requests;
	HttpResult *results;
	HttpStream **streams;
	MemoryContext caller;
	int			n;
	int			next;			/* to be started */
	int			running;
	int64		since;			/* when the waiting began */
} Batch;

static void
batch_start_some(Batch *batch)
{
	while (batch->next < batch->n && batch->running < MAX_IN_FLIGHT)
	{
		HttpStream *stream;

		stream = stream_start(batch->client, &batch->requests[batch->next],
							  false);
		stream_answer_in(stream, batch->caller);
		batch->streams[batch->next++] = stream;
		batch->running++;
	}
}

static void
batch_finish(Batch *batch, int i)
{
	HttpStream *stream = batch->streams[i];
	HttpResult *result = &batch->results[i];

	if (stream_failed(stream))
	{
		MemoryContext work = MemoryContextSwitchTo(batch->caller);

		result->failure = stream_failure(stream);
		MemoryContextSwitchTo(work);
		if (stream->easy != NULL)
			note_sent(stream);
		result->sent = stream->sent;
		result->status = stream->have_answer ? stream->answer->status : 0;
		pfree(stream->answer->body.data);
	}
	else
		result->answer = stream->answer;
	batch->streams[i] = NULL;
	batch->running--;
	http_close(stream);
}

static void
batch_turn(Batch *batch)
{
	int64		deadline = PG_INT64_MAX;
	int			i;

	for (i = 0; i < batch->next; i++)
		if (batch->streams[i] != NULL)
			deadline = Min(deadline, stream_deadline(batch->streams[i],
													 batch->since));
	client_turn(batch->client, deadline);
	for (i = 0; i < batch->next; i++)
	{
		HttpStream *stream = batch->streams[i];

		if (stream == NULL)
			continue;
		stream_drain(stream);
		stream_check_idle(stream, batch->since);
		if (stream->done)
			batch_finish(batch, i);
	}
}

void
http_request_many(HttpClient *client, const HttpRequest *requests, int n,
				  HttpResult *results)
{
	MemoryContext work;
	Batch		batch = {0};

	work = AllocSetContextCreate(CurrentMemoryContext, "sync http requests",
								 ALLOCSET_SMALL_SIZES);
	batch.client = client;
	batch.requests = requests;
	batch.results = results;
	batch.caller = MemoryContextSwitchTo(work);
	batch.n = n;
	batch.since = clock_us();
	memset(results, 0, n * sizeof(*results));

	PG_TRY();
	{
		batch.streams = palloc0(n * sizeof(HttpStream *));
		batch_start_some(&batch);
		while (batch.running > 0)
		{
			batch_turn(&batch);
			batch_start_some(&batch);
		}
	}
	PG_FINALLY();
	{
		/* On a cancel this ends the transfers that are still under way. */
		MemoryContextSwitchTo(batch.caller);
		MemoryContextDelete(work);
	}
	PG_END_TRY();
}

HttpAnswer *
http_request(HttpClient *client, const HttpRequest *request)
{
	HttpResult	result;

	http_request_many(client, request, 1, &result);
	if (result.failure != NULL)
		ReThrowError(result.failure);
	return result.answer;
}

/* ------------------------------------------------------------------------
 * Streams
 * ------------------------------------------------------------------------
 */

/* One turn on behalf of one stream. */
static void
stream_turn(HttpStream *stream, int64 waiting_since)
{
	client_turn(stream->client, stream_deadline(stream, waiting_since));
	stream_check_idle(stream, waiting_since);
}

static void
stream_await_headers(HttpStream *stream)
{
	int64		since = clock_us();

	while (!stream->headers_done && !stream->done)
		stream_turn(stream, since);
	stream_take_headers(stream);
	if (!stream->have_answer)
		stream_raise(stream);
}

HttpStream *
http_open(HttpClient *client, const HttpRequest *request)
{
	HttpStream *stream;

	/* It would have to stay until it was sent, and nobody needs one. */
	Assert(request->body == NULL);
	stream = stream_start(client, request, true);
	PG_TRY();
	{
		stream->method = MemoryContextStrdup(stream->context,
											 request->method);
		stream_answer_in(stream, stream->context);
		stream_await_headers(stream);
	}
	PG_CATCH();
	{
		http_close(stream);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return stream;
}

const HttpAnswer *
http_stream_answer(const HttpStream *stream)
{
	return stream->answer;
}

/* Copies out of the window; once it is empty, lets it be filled again. */
static int
stream_take(HttpStream *stream, char *out, int maxread)
{
	Size		len = Min(stream->end - stream->start, (Size) maxread);

	memcpy(out, stream->window + stream->start, len);
	stream->start += len;
	if (stream->start == stream->end)
	{
		stream->start = stream->end = 0;
		stream_resume(stream);
	}
	return (int) len;
}

int
http_read(HttpStream *stream, void *outbuf, int minread, int maxread)
{
	int64		since = clock_us();
	int			got = 0;

	Assert(minread <= maxread);
	for (;;)
	{
		if (stream->end > stream->start)
			got += stream_take(stream, (char *) outbuf + got, maxread - got);
		if (got >= minread && got > 0)
			return got;
		if (stream->end > stream->start)
			continue;
		if (stream->done)
			break;
		if (stream->client == NULL)
			elog(ERROR, "stream outlived its HTTP client");
		stream_turn(stream, since);
	}
	if (stream_failed(stream))
		stream_raise(stream);
	return got;
}

void
http_close(HttpStream *stream)
{
	MemoryContextDelete(stream->context);
}
