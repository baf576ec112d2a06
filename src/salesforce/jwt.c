/*-------------------------------------------------------------------------
 *
 * jwt.c
 *	  The signed assertion of the JWT bearer grant.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "lib/stringinfo.h"

#include "json.h"
#include "jwt.h"
#include "origin.h"

/* The signature of a key of 16384 bits, OpenSSL's own limit. */
#define MAX_SIGNATURE 2048

/* Base64 for URLs, without padding (RFC 7515). */
static char *
base64url(const void *data, size_t len)
{
	char	   *out = palloc(4 * ((len + 2) / 3) + 1);
	char	   *p;

	EVP_EncodeBlock((unsigned char *) out, data, (int) len);
	for (p = out; *p != '\0' && *p != '='; p++)
	{
		if (*p == '+')
			*p = '-';
		else if (*p == '/')
			*p = '_';
	}
	*p = '\0';
	return out;
}

/* A key with a passphrase is refused: there is no terminal to ask on. */
static int
no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	*(bool *) arg = true;
	return -1;
}

/* The key, or NULL and why.  Raises nothing. */
static EVP_PKEY *
read_key(const char *pem, const char **problem)
{
	BIO		   *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY   *key = NULL;
	bool		asked = false;

	if (bio != NULL)
		key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
	BIO_free(bio);
	if (key == NULL)
	{
		*problem = asked ? "It is protected by a passphrase." :
			"It is not a private key in PEM format.";
		return NULL;
	}
	if (EVP_PKEY_base_id(key) != EVP_PKEY_RSA)
	{
		EVP_PKEY_free(key);
		*problem = "It is not an RSA key; Salesforce takes no others.";
		return NULL;
	}
	return key;
}

/* SHA-256 and RSA over text; false and why.  Raises nothing. */
static bool
sign(const char *pem, const char *text, size_t text_len,
	 unsigned char *signature, size_t *len, const char **problem)
{
	EVP_PKEY   *key = read_key(pem, problem);
	EVP_MD_CTX *context;
	bool		good;

	if (key == NULL)
		return false;
	context = EVP_MD_CTX_new();
	good = context != NULL &&
		EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
		EVP_DigestSign(context, signature, len,
					   (const unsigned char *) text, text_len) == 1;
	if (!good)
		*problem = "OpenSSL could not sign with it.";
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	return good;
}

static char *
claims(const char *issuer, const char *subject, const char *audience,
	   int64 expires)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"iss\":");
	json_append_string(&buf, issuer);
	appendStringInfoString(&buf, ",\"sub\":");
	json_append_string(&buf, subject);
	appendStringInfoString(&buf, ",\"aud\":");
	json_append_string(&buf, audience);
	appendStringInfo(&buf, ",\"exp\":" INT64_FORMAT "}", expires);
	return buf.data;
}

char *
jwt_assertion(const char *private_key, const char *issuer,
			  const char *subject, const char *audience, int64 expires)
{
	static const char header[] = "{\"alg\":\"RS256\"}";
	unsigned char signature[MAX_SIGNATURE];
	size_t		signature_len = sizeof(signature);
	const char *problem = NULL;
	char	   *payload = claims(issuer, subject, audience, expires);
	char	   *text;
	bool		good;

	text = psprintf("%s.%s", base64url(header, strlen(header)),
					base64url(payload, strlen(payload)));

	/* The server's own TLS reads the error queue of this process too. */
	ERR_clear_error();
	good = sign(private_key, text, strlen(text), signature, &signature_len,
				&problem);
	ERR_clear_error();
	if (!good)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PASSWORD),
				 errmsg("private key cannot be used"),
				 errdetail("%s", problem),
				 errhint("Give the unencrypted RSA private key whose certificate was uploaded to the Connected App.")));
	return psprintf("%s.%s", text, base64url(signature, signature_len));
}
