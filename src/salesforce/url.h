/*-------------------------------------------------------------------------
 *
 * url.h
 *	  URLs taken apart, for http.c and for error messages.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_URL_H
#define SYNC_URL_H

/*
 * Arrays, so that taking a URL apart cannot fail for want of memory while
 * libcurl's own copies are held.  path is without query; an overlong one is
 * cut, it serves messages only.
 */
typedef struct UrlParts
{
	char		scheme[16];
	char		host[256];		/* [::1] keeps its brackets */
	char		port[8];
	char		path[512];
	bool		has_user;
	bool		has_query;		/* or a fragment */
} UrlParts;

/* False if libcurl would not take it for a URL. */
extern bool url_split(const char *url, UrlParts *parts);

/* True if the host is this machine by its address, or is "localhost". */
extern bool url_is_loopback(const UrlParts *parts);

/* "https://host" or "https://host:8443", for messages and comparison. */
extern char *url_origin(const UrlParts *parts);

/* The origin of a URL that must name nothing more; NULL if it does. */
extern char *url_bare_origin(const char *url);

#endif							/* SYNC_URL_H */
