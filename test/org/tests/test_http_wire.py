"""HTTP/1.1 itself: connections, bodies, encodings."""

import gzip
import json
import socket
import unittest
from urllib.parse import urlsplit

from running import Case

LEAD = json.dumps({"LastName": "Wire", "Company": "Tap"}).encode()


class Raw:
    """One connection, byte by byte."""

    def __init__(self, org):
        parts = urlsplit(org.ports["instance"])
        self.socket = socket.create_connection((parts.hostname, parts.port),
                                               timeout=30)
        self.file = self.socket.makefile("rb")
        self.token = org.login()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, method, path, body=b"", headers=(), length=True):
        lines = ["%s /services/data/v62.0%s HTTP/1.1" % (method, path),
                 "Host: localhost", "Authorization: Bearer " + self.token]
        lines += headers
        if length and body:
            lines.append("Content-Length: %d" % len(body))
        self.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def head(self):
        """(status, headers) of the next answer."""
        status = int(self.file.readline().split()[1])
        headers = {}
        while True:
            line = self.file.readline().strip()
            if not line:
                return status, headers
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()

    def answer(self):
        status, headers = self.head()
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while True:
                size = int(self.file.readline(), 16)
                body += self.file.read(size)
                self.file.readline()
                if size == 0:
                    break
        elif status not in (204, 304):
            body = self.file.read(int(headers.get("content-length", 0)))
        return status, headers, body


class Wire(Case):
    def setUp(self):
        self.raw = Raw(self.org)
        self.addCleanup(self.raw.close)

    JSON = ["Content-Type: application/json"]

    def test_many_requests_on_one_connection(self):
        for n in range(5):
            self.raw.send("GET", "/query?q=SELECT+Id+FROM+Lead+LIMIT+1")
            self.assertEqual(self.raw.answer()[0], 200)
            self.raw.send("POST", "/sobjects/Lead", LEAD, self.JSON)
            status, _, body = self.raw.answer()
            self.assertEqual(status, 201)
            record = json.loads(body)["id"]
            self.raw.send("PATCH", "/sobjects/Lead/" + record,
                          b'{"Title": "x"}', self.JSON)
            status, headers, _ = self.raw.answer()
            self.assertEqual(status, 204)
            self.assertNotIn("transfer-encoding", headers)

    def test_errors_leave_the_connection_usable(self):
        for method, path, body, status in (
                ("POST", "/nope", LEAD, 404), ("POST", "/sobjects/Lead",
                                               b"{", 400),
                ("PUT", "/sobjects/Lead", LEAD, 405),
                ("GET", "/sobjects/Nope/describe", b"", 404)):
            self.raw.send(method, path, body, self.JSON)
            self.assertEqual(self.raw.answer()[0], status, path)
        token, self.raw.token = self.raw.token, "expired"
        self.raw.send("POST", "/sobjects/Lead", LEAD * 1000, self.JSON)
        self.assertEqual(self.raw.answer()[0], 401)
        self.raw.token = token
        self.raw.send("GET", "/limits")
        self.assertEqual(self.raw.answer()[0], 200)

    def test_requests_sent_ahead(self):
        for _ in range(3):
            self.raw.send("GET", "/limits")
        for _ in range(3):
            self.assertEqual(self.raw.answer()[0], 200)

    def test_expect_continue(self):
        self.raw.send("POST", "/sobjects/Lead", b"", self.JSON + [
            "Expect: 100-continue", "Content-Length: %d" % len(LEAD)])
        self.assertEqual(self.raw.head()[0], 100)
        self.raw.socket.sendall(LEAD)
        self.assertEqual(self.raw.answer()[0], 201)

    def test_chunked_request(self):
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (
            LEAD[:5], LEAD[5:], b""))
        self.raw.send("POST", "/sobjects/Lead", chunks, self.JSON + [
            "Transfer-Encoding: chunked"], length=False)
        self.assertEqual(self.raw.answer()[0], 201)

    def test_gzip_both_ways(self):
        body = gzip.compress(LEAD)
        self.raw.send("POST", "/sobjects/Lead", body, self.JSON + [
            "Content-Encoding: gzip", "Accept-Encoding: deflate, gzip"])
        status, headers, data = self.raw.answer()
        self.assertEqual(status, 201)
        if "content-encoding" in headers:
            data = gzip.decompress(data)
        self.assertTrue(json.loads(data)["success"])

    def test_gzip_that_is_none(self):
        self.raw.send("POST", "/sobjects/Lead", LEAD, self.JSON + [
            "Content-Encoding: gzip"])
        self.assertEqual(self.raw.answer()[0], 400)

    def test_close(self):
        self.raw.send("GET", "/limits", headers=["Connection: close"])
        self.assertEqual(self.raw.answer()[0], 200)
        self.assertEqual(self.raw.file.read(), b"")

    def test_large_upload(self):
        job = self.org.call("POST", "/jobs/ingest", {
            "object": "Lead", "operation": "insert"}).json()
        row = b'"Large","%s"\n' % (b"x" * 200)
        body = b"LastName,Company\n" + row * 20000
        self.raw.send("PUT", "/jobs/ingest/%s/batches" % job["id"], body,
                      ["Content-Type: text/csv"])
        self.assertEqual(self.raw.answer()[0], 201)
        self.org.call("PATCH", "/jobs/ingest/" + job["id"],
                      {"state": "Aborted"})

    def test_long_url_leaves_no_mess(self):
        self.raw.send("GET", "/query?q=" + "x" * 20000)
        self.assertEqual(self.raw.head()[0], 414)

    def test_dates_and_ids_on_all_answers(self):
        for path in ("/limits", "/nope"):
            answer = self.org.get(path)
            self.assertRegex(answer.headers["date"], r" GMT$")
            self.assertIn("x-sfdc-request-id", answer.headers)

    def test_not_http(self):
        self.raw.socket.sendall(b"hello\r\n\r\n")
        rest = self.raw.file.read()
        self.assertTrue(rest == b"" or b" 400 " in rest.split(b"\r\n")[0])
        self.assertEqual(self.org.get("/limits").status, 200)


if __name__ == "__main__":
    unittest.main()
