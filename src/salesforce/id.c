/*-------------------------------------------------------------------------
 *
 * id.c
 *	  Salesforce record ids.
 *
 * The first 15 characters are case-sensitive; the last three say which of them
 * are capitals, one character for each group of five, so that ids can be told
 * apart where case is lost.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "id.h"

#define CASE_SENSITIVE_LEN 15
#define GROUP_LEN 5

static bool
is_id_character(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
		(c >= 'a' && c <= 'z');
}

static char
group_checksum(const char *group)
{
	int			bits = 0;
	int			i;

	for (i = 0; i < GROUP_LEN; i++)
		if (group[i] >= 'A' && group[i] <= 'Z')
			bits |= 1 << i;
	return "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"[bits];
}

void
id_canonical(const char *id, char *out)
{
	int			i;

	memmove(out, id, CASE_SENSITIVE_LEN);
	for (i = 0; i < CASE_SENSITIVE_LEN / GROUP_LEN; i++)
		out[CASE_SENSITIVE_LEN + i] = group_checksum(id + i * GROUP_LEN);
	out[SALESFORCE_ID_LEN] = '\0';
}

bool
id_is_valid(const char *id)
{
	char		canonical[SALESFORCE_ID_LEN + 1];
	size_t		len = strlen(id);
	size_t		i;

	if (len != CASE_SENSITIVE_LEN && len != SALESFORCE_ID_LEN)
		return false;
	for (i = 0; i < len; i++)
		if (!is_id_character(id[i]))
			return false;
	id_canonical(id, canonical);
	return len == CASE_SENSITIVE_LEN || strcmp(id, canonical) == 0;
}
