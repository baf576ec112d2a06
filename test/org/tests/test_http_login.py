"""OAuth: grants, answers, errors, and sessions that end."""

import json
import os
import unittest

from running import Case, b64, fetch
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class Login(Case):
    OPTIONS = ("--leads", "10", "--login-port", "0")

    def oauth_error(self, answer, error, part="", status=400):
        """OAuth errors are an object, not an array."""
        self.assertEqual(answer.status, status, answer)
        body = answer.json()
        self.assertIsInstance(body, dict, answer)
        self.assertEqual(body["error"], error, answer)
        self.assertIn(part, body["error_description"])

    def jwt(self, key_file=None, **claims):
        return self.org.token_request(grant_type=JWT, assertion=(
            self.org.assertion(key_file, **claims)))

    def test_jwt(self):
        answer = self.jwt()
        self.assertEqual(answer.status, 200, answer)
        body = answer.json()
        self.assertEqual(body["token_type"], "Bearer")
        self.assertEqual(body["instance_url"], self.org.ports["instance"])
        self.assertNotEqual(self.org.ports["instance"],
                            self.org.ports["login"])
        self.assertNotIn("expires_in", body)
        self.assertNotIn("refresh_token", body)
        self.assertEqual(body["access_token"][:16],
                         self.org.ports["org_id"][:15] + "!")
        self.assertEqual(body["id"].split("/")[-2:], [
            self.org.ports["org_id"],
            self.org.ports["users"]["sync@example.com"]["id"]])
        self.assertIn("no-store", answer.headers["cache-control"])
        self.assertNotIn("sforce-limit-info", answer.headers)

    def test_jwt_audiences(self):
        for aud in ("https://login.salesforce.com",
                    "https://test.salesforce.com",
                    self.org.ports["login"], self.org.ports["instance"]):
            self.assertEqual(self.jwt(aud=aud).status, 200, aud)
        self.oauth_error(self.jwt(aud="https://example.com"),
                         "invalid_grant", "audience")

    def test_jwt_refused(self):
        now = int(self.org.clock())
        self.oauth_error(self.jwt(exp=now - 600), "invalid_grant", "expired")
        self.oauth_error(self.jwt(exp=now + 3600), "invalid_grant")
        self.oauth_error(self.jwt(exp=(now + 120) * 1000), "invalid_grant")
        self.oauth_error(self.jwt(iss="nobody"), "invalid_client_id",
                         "client identifier invalid")
        self.oauth_error(self.jwt(sub="nobody@example.com"), "invalid_grant")
        self.oauth_error(self.jwt(sub="former@example.com"), "inactive_user")

    def test_jwt_wrong_key(self):
        path = os.path.join(self.org.folder, "other.key")
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        with open(path, "wb") as file:
            file.write(key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption()))
        self.oauth_error(self.jwt(path), "invalid_grant", "invalid assertion")

    def test_jwt_not_a_jwt(self):
        for text in ("", "x", "a.b", "a.b.c", "e30.e30.e30"):
            answer = self.org.token_request(grant_type=JWT, assertion=text)
            self.assertEqual(answer.status, 400, answer)
            self.assertIsInstance(answer.json(), dict)

    def test_jwt_unsigned(self):
        head, body, _ = self.org.assertion().split(".")
        none = b64(json.dumps({"alg": "none"}).encode())
        answer = self.org.token_request(grant_type=JWT,
                                        assertion=".".join((none, body, "")))
        self.assertEqual(answer.status, 400, answer)

    def test_not_approved(self):
        self.org.admin("POST", "/users", {"username": "ben@example.com",
                                          "approved": False})
        self.oauth_error(self.jwt(sub="ben@example.com"), "invalid_grant",
                         "user hasn't approved this consumer")
        self.org.admin("POST", "/users", {"username": "ben@example.com",
                                          "approved": True})

    def test_client_credentials_need_my_domain(self):
        form = dict(grant_type="client_credentials",
                    client_id=self.org.ports["client_id"],
                    client_secret=self.org.ports["client_secret"])
        self.oauth_error(self.org.token_request("login", **form),
                         "invalid_grant",
                         "request not supported on this domain")
        answer = self.org.token_request("instance", **form)
        self.assertEqual(answer.status, 200, answer)
        self.assertNotIn("refresh_token", answer.json())

    def test_client_credentials_refused(self):
        form = dict(grant_type="client_credentials",
                    client_id=self.org.ports["client_id"])
        self.oauth_error(self.org.token_request(
            "instance", client_secret="wrong", **form), "invalid_client",
            "invalid client credentials")
        form["client_id"] = "nobody"
        self.oauth_error(self.org.token_request(
            "instance", client_secret="x", **form), "invalid_client_id")

    def test_refresh(self):
        form = dict(grant_type="refresh_token",
                    client_id=self.org.ports["client_id"],
                    client_secret=self.org.ports["client_secret"])
        answer = self.org.token_request(
            refresh_token=self.org.ports["refresh_token"], **form)
        self.assertEqual(answer.status, 200, answer)
        self.assertNotIn("refresh_token", answer.json())
        self.oauth_error(self.org.token_request(refresh_token="x", **form),
                         "invalid_grant", "expired access/refresh token")

    def test_refresh_with_rotation(self):
        form = dict(grant_type="refresh_token",
                    client_id=self.org.ports["client_id"],
                    client_secret=self.org.ports["client_secret"])
        # The port file's token stays good for the other tests.
        self.org.admin("POST", "/rotate", {"on": True})
        try:
            first = self.org.token_request(
                refresh_token=self.org.ports["refresh_token"], **form).json()
            again = self.org.token_request(
                refresh_token=self.org.ports["refresh_token"], **form)
            self.oauth_error(again, "invalid_grant")
            second = self.org.token_request(
                refresh_token=first["refresh_token"], **form)
            self.assertEqual(second.status, 200, second)
            self.org.ports["refresh_token"] = second.json()["refresh_token"]
        finally:
            self.org.admin("POST", "/rotate", {"on": False})

    def test_password(self):
        user = self.org.ports["users"]["ada@example.com"]
        form = dict(grant_type="password",
                    client_id=self.org.ports["client_id"],
                    client_secret=self.org.ports["client_secret"],
                    username="ada@example.com")
        answer = self.org.token_request(
            password=user["password"] + user["security_token"], **form)
        self.assertEqual(answer.status, 200, answer)
        self.oauth_error(self.org.token_request(
            password=user["password"], **form), "invalid_grant",
            "authentication failure")

    def test_other_grants(self):
        self.oauth_error(self.org.token_request(grant_type="magic"),
                         "unsupported_grant_type",
                         "grant type not supported")
        self.oauth_error(self.org.token_request(), "unsupported_grant_type")

    def test_session_expiry(self):
        self.assertEqual(self.org.get("/limits").status, 200)
        self.org.admin("POST", "/expire", {"username": "sync@example.com"})
        answer = self.org.get("/limits")
        error = self.error(answer, 401, "INVALID_SESSION_ID",
                           "Session expired or invalid")
        self.assertEqual(set(error), {"message", "errorCode"})
        self.org.tokens.clear()
        self.assertEqual(self.org.get("/limits").status, 200)

    def test_no_session(self):
        for headers in ({}, {"Authorization": "Bearer x"},
                        {"Authorization": "Basic eDp5"}):
            answer = fetch(self.org.ports["instance"]
                           + "/services/data/v62.0/limits", headers=headers)
            self.error(answer, 401, "INVALID_SESSION_ID")

    def test_oauth_scheme(self):
        token = self.org.login()
        answer = self.org.get("/limits",
                              headers={"Authorization": "OAuth " + token})
        self.assertEqual(answer.status, 200, answer)

    def test_introspect_and_revoke(self):
        token = self.jwt().json()["access_token"]
        form = ("token=%s&token_type_hint=access_token&client_id=%s"
                "&client_secret=%s" % (token.replace("!", "%21"),
                                       self.org.ports["client_id"],
                                       self.org.ports["client_secret"]))
        url = self.org.ports["instance"] + "/services/oauth2/"
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = fetch(url + "introspect", "POST", kind, form)
        self.assertIs(answer.json()["active"], True, answer)
        answer = fetch(url + "revoke", "POST", kind, form)
        self.assertEqual(answer.status, 200, answer)
        answer = fetch(url + "introspect", "POST", kind, form)
        self.assertEqual(answer.json(), {"active": False})

    def test_versions(self):
        for path in ("/services/data", "/services/data/"):
            answer = fetch(self.org.ports["instance"] + path)
            self.assertEqual(answer.status, 200, answer)
            self.assertNotIn("sforce-limit-info", answer.headers)
            last = answer.json()[-1]
            self.assertEqual(last["version"], "62.0")
            self.assertEqual(last["url"], "/services/data/v62.0")
            self.assertIn("label", last)

    def test_retired_version(self):
        answer = self.org.get("/limits", version="21.0")
        self.assertEqual(answer.status, 410, answer)


if __name__ == "__main__":
    unittest.main()
