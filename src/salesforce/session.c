/*-------------------------------------------------------------------------
 *
 * session.c
 *	  Logging in to Salesforce: the four OAuth 2.0 grants.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "../compat.h"
#include "json.h"
#include "jwt.h"
#include "session.h"
#include "text.h"
#include "url.h"
#include "origin.h"

/* Salesforce takes no assertion that lives longer, by its own clock. */
#define ASSERTION_SECONDS 180

/* Clocks that differ by more than this explain a refused assertion. */
#define SKEW_SECONDS 60

/* Answers of a token endpoint are about 1 kB. */
#define MAX_TOKEN_ANSWER ((Size) 256 * 1024)

/* What an admin should do about a refusal; the first that fits is shown. */
typedef struct RefusalHint
{
	const char *error;
	const char *description;	/* a part of it; NULL = any */
	const char *hint;
} RefusalHint;

static const RefusalHint refusal_hints[] = {
	{"invalid_grant", "audience",
	"Set login_url to https://login.salesforce.com, to https://test.salesforce.com for a sandbox, or to the org's My Domain address."},
	{"invalid_grant", "hasn't approved",
	"In Setup, let the Connected App admit users by \"Admin approved users are pre-authorized\", and add the profile or a permission set of the user to it."},
	{"invalid_grant", "expired authorization code",
	"The clock of the database server may be wrong: an assertion is good for three minutes only."},
	{"invalid_grant", "invalid assertion",
	"The certificate in the Connected App (\"Use digital signatures\") must be the one that belongs to the private key, and username must be a user of this org."},
	{"invalid_grant", "expired access/refresh token",
	"The refresh token was revoked or has expired: authorize the app anew and store the new token in the user mapping."},
	{"invalid_grant", "not supported on this domain",
	"The client_credentials grant works on the org's My Domain address only: set login_url to https://NAME.my.salesforce.com."},
	{"invalid_grant", "no client credentials user",
	"In the Connected App, enable the client credentials flow and choose the user to run as."},
	{"invalid_grant", "authentication failure",
	"Check user name and password; the security token follows the password unless the server's address is trusted by the org.  Repeated failures lock the user."},
	{"invalid_grant", "inactive",
	"Activate the user in Salesforce, or log in as another one."},
	{"invalid_grant", NULL,
	"See the Login History of the user in Setup, which gives the reason."},
	{"invalid_client_id", NULL,
	"client_id must be the consumer key of the Connected App; a new app takes some minutes to become known."},
	{"invalid_client", NULL,
	"client_secret must be the consumer secret of the Connected App."},
	{"invalid_app_access", NULL,
	"The user is not admitted to the Connected App: assign it by profile or permission set."},
	{"unsupported_grant_type", NULL,
	"Enable this OAuth flow in Setup (\"OAuth and OpenID Connect Settings\") and in the Connected App, or choose another auth."},
	{"inactive_user", NULL,
	"Activate the user in Salesforce, or log in as another one."},
	{"inactive_org", NULL,
	"The org is locked, suspended or has expired."},
	{"redirect_uri_mismatch", NULL,
	"Compare the callback address of the Connected App."},
	{"invalid_scope", NULL,
	"Give the Connected App the OAuth scopes \"api\" and \"refresh_token, offline_access\"."}
};

/* Errors of the token endpoint that pass by themselves. */
static bool
is_transient(int status, const char *error)
{
	return status >= 500 || status == 420 || status == 429 ||
		strcmp(error, "rate_limit_exceeded") == 0 ||
		strcmp(error, "server_error") == 0 ||
		strcmp(error, "unknown_error") == 0 ||
		strcmp(error, "temporarily_unavailable") == 0;
}

static const char *
refusal_hint(const char *error, const char *description)
{
	int			i;

	for (i = 0; i < (int) lengthof(refusal_hints); i++)
	{
		const RefusalHint *hint = &refusal_hints[i];

		if (strcmp(error, hint->error) == 0 &&
			(hint->description == NULL ||
			 strstr(description, hint->description) != NULL))
			return hint->hint;
	}
	return NULL;
}

static const char *
require_option(const char *value, const char *name, const char *auth)
{
	if (value == NULL || value[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("option \"%s\" is missing", name),
				 errhint("Login by \"%s\" needs it: set it in the user mapping.",
						 auth)));
	return value;
}

static void
add_parameter(StringInfo form, const char *name, const char *value)
{
	char	   *encoded = http_encode(value);

	if (form->len > 0)
		appendStringInfoChar(form, '&');
	appendStringInfo(form, "%s=%s", name, encoded);
	explicit_bzero(encoded, strlen(encoded));
	pfree(encoded);
}

static void
add_option(StringInfo form, const char *value, const char *name,
		   const char *auth)
{
	add_parameter(form, name, require_option(value, name, auth));
}

static void
add_assertion(StringInfo form, const Credentials *c, const char *audience,
			  TimestampTz now)
{
	int64		seconds = (int64) timestamptz_to_time_t(now);
	char	   *assertion;

	assertion = jwt_assertion(require_option(c->private_key,
											 "private_key_file", c->auth),
							  require_option(c->client_id, "client_id",
											 c->auth),
							  require_option(c->username, "username",
											 c->auth),
							  audience, seconds + ASSERTION_SECONDS);
	add_parameter(form, "assertion", assertion);
}

/* The body of the request: one grant and what goes with it. */
static void
build_form(StringInfo form, const Credentials *c, const char *audience,
		   TimestampTz now)
{
	if (strcmp(c->auth, "jwt") == 0)
	{
		add_parameter(form, "grant_type",
					  "urn:ietf:params:oauth:grant-type:jwt-bearer");
		add_assertion(form, c, audience, now);
		return;
	}
	add_parameter(form, "grant_type", c->auth);
	add_option(form, c->client_id, "client_id", c->auth);
	if (strcmp(c->auth, "refresh_token") == 0)
	{
		/* Apps may do without a secret in this grant alone. */
		if (c->client_secret != NULL && c->client_secret[0] != '\0')
			add_parameter(form, "client_secret", c->client_secret);
		add_option(form, c->refresh_token, "refresh_token", c->auth);
		return;
	}
	add_option(form, c->client_secret, "client_secret", c->auth);
	if (strcmp(c->auth, "password") == 0)
	{
		add_option(form, c->username, "username", c->auth);
		add_option(form, c->password, "password", c->auth);
	}
	else if (strcmp(c->auth, "client_credentials") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown auth \"%s\"", c->auth),
				 errhint("Valid ones are jwt, client_credentials, refresh_token and password.")));
}

static HttpAnswer *
ask(HttpClient *client, const Credentials *c, const char *origin,
	TimestampTz now)
{
	StringInfoData form;
	HttpRequest request = {0};
	HttpAnswer *answer;

	initStringInfo(&form);
	build_form(&form, c, origin, now);
	request.method = "POST";
	request.url = psprintf("%s/services/oauth2/token", origin);
	request.headers =
		list_make2("Content-Type: application/x-www-form-urlencoded",
				   "Accept: application/json");
	request.body = form.data;
	request.body_len = form.len;
	request.max_answer = MAX_TOKEN_ANSWER;
	/* A rotated refresh token is good for one use; a bad password counts. */
	request.once = true;
	answer = http_request(client, &request);
	explicit_bzero(form.data, form.len);
	return answer;
}

pg_noreturn static void
raise_unusable(const char *origin, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("no usable answer to the login at %s", origin),
			 errdetail("%s", detail),
			 errhint("Check that login_url is the address of a Salesforce login host.")));
}

pg_noreturn static void
raise_refusal(const HttpAnswer *answer, const char *origin)
{
	Json	   *json = json_read(answer->body.data, answer->body.len);
	char	   *error = json_get_text(json, "error");
	char	   *description = json_get_text(json, "error_description");
	const char *hint;

	if (error == NULL)
		raise_unusable(origin, psprintf("Status %d with %s.", answer->status,
										foreign_page(answer->body.data)));
	error = foreign_text(error);
	description = foreign_text(description);
	hint = refusal_hint(error, description);
	ereport(ERROR,
			(errcode(is_transient(answer->status, error) ?
					 ERRCODE_CONNECTION_FAILURE :
					 ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
			 errmsg("%s",
					foreign_behind(psprintf("Salesforce refused the login at %s",
											origin), description)),
			 errdetail("Salesforce answered %d %s.", answer->status, error),
			 hint ? errhint("%s", hint) : 0));
}

/*
 * The answer names the host that all further requests, with the token, go to.
 * What came over https must not send us to plain http.
 */
static char *
checked_instance(const char *url, const char *origin)
{
	char	   *instance = NULL;

	if (http_url_allowed(url))
		instance = url_bare_origin(url);
	if (instance != NULL && strncmp(origin, "https:", 6) == 0 &&
		strncmp(instance, "https:", 6) != 0)
		instance = NULL;
	if (instance == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("login at %s named an instance that is not allowed",
						origin),
				 errdetail("The instance_url is \"%s\".", foreign_text(url)),
				 errhint("It must be an https address without a path.")));
	return instance;
}

/* "https://host/id/<org>/<user>": the two ids, if it is of that form. */
static void
read_identity(Session *session, const char *id)
{
	char	   *copy;
	char	   *user;
	char	   *org;

	if (id == NULL)
		return;
	copy = pstrdup(id);
	user = strrchr(copy, '/');
	if (user == NULL)
		return;
	*user++ = '\0';
	org = strrchr(copy, '/');
	if (org == NULL || org[1] == '\0' || *user == '\0')
		return;
	session->org_id = pstrdup(org + 1);
	session->user_id = pstrdup(user);
}

static Session *
read_session(const HttpAnswer *answer, const char *origin)
{
	Session    *session = palloc0(sizeof(Session));
	Json	   *json = json_read(answer->body.data, answer->body.len);
	char	   *instance = json_get_text(json, "instance_url");

	session->access_token = json_get_text(json, "access_token");
	if (session->access_token == NULL || session->access_token[0] == '\0' ||
		instance == NULL)
		raise_unusable(origin, json == NULL ? "It is not JSON." :
					   "It has no access_token or no instance_url.");
	session->instance_url = checked_instance(instance, origin);
	session->refresh_token = json_get_text(json, "refresh_token");
	read_identity(session, json_get_text(json, "id"));
	return session;
}

/*
 * An assertion that was refused because the two clocks differ may be made out
 * anew by Salesforce's: that refusal counts against nobody.
 */
static bool
clock_is_off(const Credentials *c, const HttpAnswer *answer)
{
	int64		skew;

	if (strcmp(c->auth, "jwt") != 0 || answer->status != 400 ||
		answer->date == 0)
		return false;
	skew = (answer->date - GetCurrentTimestamp()) / USECS_PER_SEC;
	return skew > SKEW_SECONDS || skew < -SKEW_SECONDS;
}

static char *
login_origin(const char *login_url)
{
	char	   *origin = NULL;

	if (http_url_allowed(login_url))
		origin = url_bare_origin(login_url);
	if (origin == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("login_url \"%s\" is not allowed", login_url),
				 errhint("Give an https address without a path, such as https://login.salesforce.com.")));
	return origin;
}

Session *
session_login(HttpClient *client, const Credentials *credentials)
{
	char	   *origin = login_origin(credentials->login_url);
	HttpAnswer *answer;

	answer = ask(client, credentials, origin, GetCurrentTimestamp());
	if (clock_is_off(credentials, answer))
		answer = ask(client, credentials, origin, answer->date);
	if (answer->status != 200)
		raise_refusal(answer, origin);
	return read_session(answer, origin);
}
