/*-------------------------------------------------------------------------
 *
 * url.c
 *	  URLs: which may be asked, and what they consist of.
 *
 * libcurl's own parser is used, the one that will also decide where a request
 * goes: a second opinion on what the host of a URL is would be a hole.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <curl/curl.h>

#include "lib/stringinfo.h"

#include "http.h"
#include "url.h"
#include "origin.h"

/* Copies one part; false if it is missing or does not fit. */
static bool
copy_part(CURLU *handle, CURLUPart part, unsigned int flags, char *out,
		  Size size)
{
	char	   *value = NULL;
	bool		fits;

	if (curl_url_get(handle, part, &value, flags) != CURLUE_OK)
		return false;
	fits = strlcpy(out, value, size) < size;
	curl_free(value);
	return fits;
}

static bool
has_part(CURLU *handle, CURLUPart part)
{
	char	   *value = NULL;

	if (curl_url_get(handle, part, &value, 0) != CURLUE_OK)
		return false;
	curl_free(value);
	return true;
}

bool
url_split(const char *url, UrlParts *parts)
{
	CURLU	   *handle = curl_url();
	bool		good;

	memset(parts, 0, sizeof(*parts));
	if (handle == NULL)
		return false;
	good = curl_url_set(handle, CURLUPART_URL, url, 0) == CURLUE_OK &&
		copy_part(handle, CURLUPART_SCHEME, 0, parts->scheme,
				  sizeof(parts->scheme)) &&
		copy_part(handle, CURLUPART_HOST, 0, parts->host,
				  sizeof(parts->host)) &&
		copy_part(handle, CURLUPART_PORT, CURLU_DEFAULT_PORT, parts->port,
				  sizeof(parts->port));
	if (good)
	{
		(void) copy_part(handle, CURLUPART_PATH, 0, parts->path,
						 sizeof(parts->path));
		parts->has_user = has_part(handle, CURLUPART_USER) ||
			has_part(handle, CURLUPART_PASSWORD);
		parts->has_query = has_part(handle, CURLUPART_QUERY) ||
			has_part(handle, CURLUPART_FRAGMENT);
	}
	curl_url_cleanup(handle);
	return good;
}

bool
url_is_loopback(const UrlParts *parts)
{
	struct in_addr address;

	if (pg_strcasecmp(parts->host, "localhost") == 0 ||
		strcmp(parts->host, "[::1]") == 0)
		return true;
	/* "127.0.0.1.example.com" is a name, not an address. */
	return inet_pton(AF_INET, parts->host, &address) == 1 &&
		(ntohl(address.s_addr) >> 24) == 127;
}

char *
url_origin(const UrlParts *parts)
{
	bool		usual;

	usual = strcmp(parts->port,
				   strcmp(parts->scheme, "https") == 0 ? "443" : "80") == 0;
	if (usual)
		return psprintf("%s://%s", parts->scheme, parts->host);
	return psprintf("%s://%s:%s", parts->scheme, parts->host, parts->port);
}

/*
 * The parser undoes percent signs in a host, and what they hid may read
 * otherwise the second time ("%38" is the host "8", which is 0.0.0.8): requests
 * would go to another host than was looked at.
 */
char *
url_bare_origin(const char *url)
{
	UrlParts	parts;
	char	   *origin;

	if (!url_split(url, &parts) || parts.has_user || parts.has_query)
		return NULL;
	if (parts.path[0] != '\0' && strcmp(parts.path, "/") != 0)
		return NULL;
	origin = url_origin(&parts);
	return http_same_origin(url, origin) ? origin : NULL;
}

bool
http_url_allowed(const char *url)
{
	UrlParts	parts;

	if (!url_split(url, &parts) || parts.has_user)
		return false;
	if (strcmp(parts.scheme, "https") == 0)
		return true;
	return strcmp(parts.scheme, "http") == 0 && url_is_loopback(&parts);
}

bool
http_same_origin(const char *a, const char *b)
{
	UrlParts	one;
	UrlParts	two;

	return url_split(a, &one) && url_split(b, &two) &&
		strcmp(one.scheme, two.scheme) == 0 &&
		pg_strcasecmp(one.host, two.host) == 0 &&
		strcmp(one.port, two.port) == 0;
}

char *
http_encode(const char *value)
{
	static const char hex[] = "0123456789ABCDEF";
	StringInfoData buf;
	const char *p;

	initStringInfo(&buf);
	for (p = value; *p != '\0'; p++)
	{
		unsigned char c = (unsigned char) *p;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') || strchr("-._~", c) != NULL)
			appendStringInfoChar(&buf, *p);
		else
		{
			appendStringInfoChar(&buf, '%');
			appendStringInfoChar(&buf, hex[c >> 4]);
			appendStringInfoChar(&buf, hex[c & 15]);
		}
	}
	return buf.data;
}
