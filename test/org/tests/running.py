"""A running org for tests, and a plain HTTP client for it.

The client adds nothing of its own to a request but what HTTP needs, so that a
test says all that is sent.
"""

import base64
import gzip
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from urllib.parse import quote, urlencode, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

import support
from clock import parse_iso

START_SECONDS = 60


class Answer:
    def __init__(self, status, headers, raw):
        self.status = status
        self.headers = headers          # names in lower case
        self.raw = raw
        self.body = raw
        if headers.get("content-encoding") == "gzip":
            self.body = gzip.decompress(raw)

    @property
    def text(self):
        return self.body.decode("utf-8")

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "%d %s" % (self.status, self.body[:500])


def fetch(url, method="GET", headers=None, body=None):
    """One request; the answer whatever its status."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port,
                                            timeout=60)
    try:
        target = parts.path + ("?" + parts.query if parts.query else "")
        connection.request(method, target, body, headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value
                                      in answer.getheaders()}, answer.read())
    finally:
        connection.close()


class Org:
    """One org in a folder of its own."""

    def __init__(self, *options):
        self.folder = tempfile.mkdtemp(prefix="org-test.")
        port_file = os.path.join(self.folder, "ports.json")
        self.log = open(os.path.join(self.folder, "log"), "w+")
        self.process = subprocess.Popen(
            [sys.executable, support.ORG, "--state", self.folder,
             "--port-file", port_file, "--quiet", *options],
            stdout=self.log, stderr=self.log)
        self.tokens = {}
        until = time.monotonic() + START_SECONDS
        while not os.path.exists(port_file):
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError("the org did not start: " + self.said)
            time.sleep(0.05)
        with open(port_file, encoding="utf-8") as file:
            self.ports = json.load(file)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.seek(0)
        self.said = self.log.read()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Logging in -------------------------------------------------------------

    def token_request(self, host=None, **form):
        return fetch(self.ports[host or "login"] + "/services/oauth2/token",
                     "POST", {"Content-Type":
                              "application/x-www-form-urlencoded"},
                     urlencode(form))

    def assertion(self, key_file=None, **claims):
        payload = {"iss": self.ports["client_id"], "sub": "sync@example.com",
                   "aud": "https://login.salesforce.com",
                   "exp": int(self.clock()) + 120}
        payload.update(claims)
        signed = ".".join(b64(json.dumps(part).encode()) for part in (
            {"alg": "RS256"}, payload))
        with open(key_file or self.ports["private_key_file"], "rb") as file:
            key = serialization.load_pem_private_key(file.read(), None)
        return signed + "." + b64(key.sign(
            signed.encode(), padding.PKCS1v15(), hashes.SHA256()))

    def login(self, username="sync@example.com"):
        if username not in self.tokens:
            answer = self.token_request(
                grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer",
                assertion=self.assertion(sub=username))
            if answer.status != 200:
                raise RuntimeError("login: %r" % answer)
            self.tokens[username] = answer.json()["access_token"]
        return self.tokens[username]

    def clock(self):
        """The org's own time in seconds."""
        return parse_iso(self.admin("GET", "/clock")["now"])

    # Requests ---------------------------------------------------------------

    def call(self, method, path, data=None, *, user="sync@example.com",
             version="62.0", headers=None, body=None):
        """A request to the API; path is below the version, or whole."""
        sent = {"Authorization": "Bearer " + self.login(user)}
        if data is not None:
            body = json.dumps(data)
            sent["Content-Type"] = "application/json; charset=UTF-8"
        sent.update(headers or {})
        if not path.startswith("/services"):
            path = "/services/data/v%s%s" % (version, path)
        return fetch(self.ports["instance"] + path, method, sent, body)

    def get(self, path, **options):
        return self.call("GET", path, **options)

    def soql(self, text, resource="query", **options):
        return self.get("/%s?q=%s" % (resource, quote(text)), **options)

    def records(self, text, resource="query", **options):
        answer = self.soql(text, resource, **options)
        if answer.status != 200:
            raise AssertionError(repr(answer))
        return answer.json()["records"]

    def admin(self, method, path, data=None):
        answer = fetch(self.ports["admin"] + path, method,
                       {"Content-Type": "application/json"},
                       None if data is None else json.dumps(data))
        if answer.status != 200:
            raise AssertionError("admin %s %s: %r" % (method, path, answer))
        return answer.json()

    def dml(self, op, object_name, *records, **more):
        return self.admin("POST", "/dml", dict(
            more, op=op, object=object_name, records=list(records)))

    def make(self, object_name, **values):
        """A new record by another user; its id."""
        result = self.dml("insert", object_name, values)["results"][0]
        if not result["success"]:
            raise AssertionError(repr(result))
        return result["id"]


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Case(unittest.TestCase):
    """Tests of one running org; OPTIONS are its command line."""

    OPTIONS = ("--leads", "60")

    @classmethod
    def setUpClass(cls):
        cls.org = Org(*cls.OPTIONS)
        cls.addClassCleanup(cls.org.stop)

    def configure(self, **config):
        """Settings for this test alone."""
        before = self.org.admin("GET", "/config")
        self.org.admin("POST", "/config", config)
        self.addCleanup(self.org.admin, "POST", "/config",
                        {name: before[name] for name in config})

    def error(self, answer, status, code, part=""):
        """The answer is an API error: an array, and what stands in it."""
        self.assertEqual(answer.status, status, answer)
        errors = answer.json()
        self.assertIsInstance(errors, list, answer)
        self.assertEqual(errors[0]["errorCode"], code, answer)
        self.assertIn(part, errors[0]["message"])
        return errors[0]
