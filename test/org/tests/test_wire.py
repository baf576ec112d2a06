"""The org's own HTTP: what comes in odd forms, and answers that break."""

import socket
import time
import unittest
from urllib.parse import urlsplit

import running


class Wire(running.Case):
    OPTIONS = ("--leads", "20")

    def connect(self):
        parts = urlsplit(self.org.ports["instance"])
        sock = socket.create_connection((parts.hostname, parts.port), 20)
        self.addCleanup(sock.close)
        return sock

    def head(self, method="GET", path="/services/data/v62.0/limits", *more):
        lines = ["%s %s HTTP/1.1" % (method, path), "Host: x",
                 "Authorization: Bearer " + self.org.login(), *more]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    @staticmethod
    def read(sock, until=None):
        """All that comes, or up to some bytes."""
        data = b""
        while until is None or until not in data:
            try:
                block = sock.recv(65536)
            except ConnectionResetError:
                return data + b"<RESET>"
            if not block:
                break
            data += block
        return data

    def fault(self, **fault):
        self.org.admin("POST", "/fault", fault)
        self.addCleanup(self.org.admin, "DELETE", "/faults")

    def close_head(self, *args):
        return self.head(*args)[:-2] + b"Connection: close\r\n\r\n"


class Requests(Wire):
    def test_two_at_once(self):
        sock = self.connect()
        sock.sendall(self.head() + self.close_head())
        self.assertEqual(self.read(sock).count(b"HTTP/1.1 200 OK"), 2)

    def test_byte_by_byte(self):
        sock = self.connect()
        for byte in self.close_head():
            sock.sendall(bytes([byte]))
        self.assertIn(b"DailyApiRequests", self.read(sock))

    def test_chunked(self):
        sock = self.connect()
        sock.sendall(self.close_head(
            "POST", "/services/data/v62.0/sobjects/Lead",
            "Content-Type: application/json", "Transfer-Encoding: chunked"))
        for part in (b'{"LastName":"Chunk",', b'"Company":"c"}'):
            sock.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        sock.sendall(b"0\r\n\r\n")
        self.assertIn(b"HTTP/1.1 201 Created", self.read(sock))

    def test_continue(self):
        sock = self.connect()
        body = b'{"LastName":"Wait","Company":"c"}'
        sock.sendall(self.close_head(
            "POST", "/services/data/v62.0/sobjects/Lead",
            "Content-Type: application/json", "Expect: 100-continue",
            "Content-Length: %d" % len(body)))
        self.assertEqual(self.read(sock, b"\r\n\r\n"),
                         b"HTTP/1.1 100 Continue\r\n\r\n")
        sock.sendall(body)
        self.assertIn(b"HTTP/1.1 201 Created", self.read(sock))

    def test_no_http(self):
        sock = self.connect()
        sock.sendall(b"hello\r\n\r\n")
        self.assertTrue(self.read(sock).startswith(b"HTTP/1.1 400"))

    def test_too_long(self):
        for head, status in (
                (self.head("GET", "/x?" + "a" * 16400), b"414"),
                (self.head("GET", "/x", "X-Long: " + "a" * 16400), b"431"),
                (self.head("GET", "/x?" + "a" * 8200,
                           "X-Long: " + "a" * 8200), b"431")):
            sock = self.connect()
            sock.sendall(head)
            self.assertTrue(self.read(sock).startswith(b"HTTP/1.1 " + status))

    def test_chunked_answer(self):
        sock = self.connect()
        sock.sendall(self.close_head())
        head, _, body = self.read(sock).partition(b"\r\n\r\n")
        self.assertIn(b"Transfer-Encoding: chunked", head)
        self.assertNotIn(b"Content-Length", head)
        self.assertTrue(body.endswith(b"\r\n0\r\n\r\n"))

    def test_no_body_and_no_type(self):
        lead = self.org.make("Lead", LastName="N", Company="c")
        sock = self.connect()
        sock.sendall(self.close_head(
            "DELETE", "/services/data/v62.0/sobjects/Lead/" + lead))
        head, _, body = self.read(sock).partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 204"))
        self.assertNotIn(b"\r\nContent-Type:", head)
        self.assertEqual(body, b"")


class Broken(Wire):
    def test_cut_inside_of_a_chunk(self):
        self.fault(match={"kind": "limits"},
                   action={"truncate": {"bytes": 50}})
        sock = self.connect()
        sock.sendall(self.head())
        body = self.read(sock).partition(b"\r\n\r\n")[2]
        size, _, rest = body.partition(b"\r\n")
        self.assertEqual(len(rest), 50)
        self.assertGreater(int(size, 16), 50)

    def test_cut_cleanly(self):
        self.fault(match={"kind": "limits"},
                   action={"truncate": {"bytes": 50, "clean": True}})
        sock = self.connect()
        sock.sendall(self.close_head())
        body = self.read(sock).partition(b"\r\n\r\n")[2]
        self.assertTrue(body.startswith(b"32\r\n"))
        self.assertTrue(body.endswith(b"\r\n0\r\n\r\n"))

    def test_reset_in_the_middle(self):
        self.fault(match={"kind": "limits"}, action={"reset": "middle"})
        sock = self.connect()
        sock.sendall(self.head())
        self.assertTrue(self.read(sock).endswith(b"<RESET>"))

    def test_connection_ends_without_a_word(self):
        self.fault(match={"kind": "limits"},
                   action={"pass": True, "close": True})
        sock = self.connect()
        sock.sendall(self.head())
        answer = self.read(sock)
        self.assertTrue(answer.endswith(b"\r\n0\r\n\r\n"))
        self.assertNotIn(b"Connection: close", answer)

    def test_hang(self):
        self.fault(match={"kind": "limits"}, action={"hang": 0.3})
        sock = self.connect()
        before = time.monotonic()
        sock.sendall(self.head())
        self.assertEqual(self.read(sock), b"")
        self.assertGreaterEqual(time.monotonic() - before, 0.3)

    def test_by_chance(self):
        self.fault(match={"kind": "limits"}, times=-1, chance=0.5,
                   action={"status": 503})
        statuses = [self.org.get("/limits").status for _ in range(60)]
        self.assertEqual(set(statuses), {200, 503})

    def test_unknown_keys_are_mistakes(self):
        for fault in ({"action": {"statsu": 503}}, {"action": {}},
                      {"action": {"status": 1, "reset": True}},
                      {"match": {"pth": "x"}, "action": {"status": 503}},
                      {"action": {"status": 503}, "time": 1}):
            with self.assertRaises(AssertionError):
                self.org.admin("POST", "/fault", fault)


if __name__ == "__main__":
    unittest.main()
