/*-------------------------------------------------------------------------
 *
 * session.h
 *	  Logging in to Salesforce: the four OAuth 2.0 grants.
 *
 * Only the exchange with the token endpoint is here.  Who may log in when, and
 * where the session is kept, is login.c's business.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_SESSION_H
#define SYNC_SESSION_H

#include "http.h"

typedef struct Credentials
{
	const char *login_url;
	const char *auth;			/* jwt, client_credentials, refresh_token,
								 * password */
	const char *client_id;
	const char *client_secret;
	const char *username;
	const char *password;
	const char *private_key;	/* PEM text */
	const char *refresh_token;
} Credentials;

typedef struct Session
{
	char	   *access_token;
	char	   *instance_url;	/* without trailing slash */
	char	   *org_id;			/* NULL if the answer did not say */
	char	   *user_id;
	char	   *refresh_token;	/* a new one that replaces the old; or NULL */
} Session;

/*
 * session_login: asks the token endpoint of login_url for a session.
 *
 * Errors: ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION when Salesforce refused
 * (repeating it will not help and may lock the user), ERRCODE_INVALID_PASSWORD
 * for an unusable key, ERRCODE_CONNECTION_FAILURE when no usable answer came.
 */
extern Session *session_login(HttpClient *client,
							  const Credentials *credentials);

#endif							/* SYNC_SESSION_H */
