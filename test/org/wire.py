"""HTTP/1.1 on plain sockets.

The standard library's server cannot do what the org needs: bodies sent by the kernel inside a
chunked answer, and every way to break an answer half-way.
"""

import gzip
import json
import os
import socket
import ssl
import struct
import threading
import time
import zlib
from urllib.parse import parse_qsl, unquote

#: the documented limit on the request line's URI, and on URI and headers together
MAX_HEAD = 16384
MAX_BODY = 160 * 1024 * 1024

REASONS = {
    200: "OK", 201: "Created", 204: "No Content", 300: "Multiple Choices",
    301: "Moved Permanently", 302: "Found", 304: "Not Modified", 307: "Temporary Redirect",
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 406: "Not Acceptable", 409: "Conflict", 410: "Gone",
    412: "Precondition Failed", 413: "Request Entity Too Large", 414: "URI Too Long",
    415: "Unsupported Media Type", 420: "Enhance Your Calm", 428: "Precondition Required",
    429: "Too Many Requests", 431: "Request Header Fields Too Large", 500: "Server Error",
    502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
}


class Closed(Exception):
    """The peer went away, or we cut the connection on purpose."""


class BadRequest(Exception):
    def __init__(self, status):
        super().__init__(status)
        self.status = status


class Headers(dict):
    """Header fields by lower-case name; a repeated one is joined by a comma."""

    def add(self, name, value):
        name = name.lower()
        self[name] = self[name] + ", " + value if name in self else value

    def get(self, name, default=None):
        return super().get(name.lower(), default)


class Request:
    def __init__(self, method, target, headers, body=b"", query_decoded=True):
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        path, _, query = target.partition("?")
        self.path = unquote(path)
        self.query_string = query
        if query_decoded:
            self.args = dict(parse_qsl(query, keep_blank_values=True))
        else:
            self.args = plain_query(query)

    @property
    def text(self):
        """Path and query string in readable form, for the log and for faults."""
        if not self.query_string:
            return self.path
        return self.path + "?" + unquote(self.query_string.replace("+", " "))

    def json(self):
        return json.loads(self.body)


def plain_query(query):
    """The query of a Composite subrequest: blanks may stand in it as they are; + is one too."""
    args = {}
    for part in query.split("&") if query else []:
        name, _, value = part.partition("=")
        args[name] = unquote(value.replace("+", " "))
    return args


class FileBody:
    """A range of a file behind a few bytes of its own (the CSV header line)."""

    def __init__(self, path, offset, length, prefix=b"", cache=None):
        self.path = path
        self.offset = offset
        self.length = length
        self.prefix = prefix
        #: where the compressed form is kept once it has been made
        self.cache = cache

    def read(self):
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return self.prefix + file.read(self.length)

    def blocks(self, size=1 << 18):
        yield self.prefix
        left = self.length
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            while left > 0:
                block = file.read(min(size, left))
                if not block:
                    break
                left -= len(block)
                yield block


class Response:
    """An answer: `data` is JSON still to be written, `body` bytes or a FileBody."""

    def __init__(self, status=200, data=None, body=None, headers=None, content_type=None):
        self.status = status
        self.data = data
        self._body = body
        self.headers = dict(headers or {})
        self.content_type = content_type
        self.pretty = False
        self.breakage = None
        self.compress = True
        self.sent = 0

    @property
    def body(self):
        if self._body is None and self.data is not None:
            self._body = encode_json(self.data, self.pretty)
            self.content_type = self.content_type or "application/json;charset=UTF-8"
        return self._body if self._body is not None else b""

    @body.setter
    def body(self, value):
        self._body = value

    def plain_body(self):
        return self.body.read() if isinstance(self.body, FileBody) else self.body


class Breakage:
    """How to spoil the sending of an answer."""

    def __init__(self, cut=None, clean=False, reset=None, hang=None, slow=None, close=False):
        self.cut = cut          # bytes of the body that are sent
        self.clean = clean      # close the chunked body properly after them
        self.reset = reset      # True: RST before any byte; "middle": after half of the body
        self.hang = hang        # seconds of silence, then the end
        self.slow = slow        # (bytes, seconds)
        self.close = close      # end the connection after the answer, unannounced


def encode_json(data, pretty=False):
    if pretty:
        return json.dumps(data, ensure_ascii=False, indent=2,
                          separators=(",", " : ")).encode("utf-8", "surrogateescape")
    return json.dumps(data, ensure_ascii=False,
                      separators=(",", ":")).encode("utf-8", "surrogateescape")


class Listener:
    """One port: a thread per connection, each request given to `handle`."""

    def __init__(self, port, handle, name, tls=None, chunk_size=lambda: 16384, gzip_ok=True):
        self.handle = handle
        self.name = name
        self.tls = tls
        self.chunk_size = chunk_size
        self.gzip_ok = gzip_ok
        self.stopping = threading.Event()
        self.socket = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port = self.socket.getsockname()[1]

    @property
    def url(self):
        return "%s://127.0.0.1:%d" % ("https" if self.tls else "http", self.port)

    def start(self):
        threading.Thread(target=self._accept, daemon=True, name=self.name).start()

    def stop(self):
        self.stopping.set()
        self.socket.close()

    def _accept(self):
        while not self.stopping.is_set():
            try:
                sock, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            Connection(self, sock).run()
        except (Closed, OSError, ssl.SSLError):
            pass
        finally:
            try:
                sock.close()
            except OSError:
                pass


class Connection:
    def __init__(self, listener, sock):
        self.listener = listener
        self.sock = sock
        self.file = sock.makefile("rb", 1 << 16)

    def run(self):
        try:
            while not self.listener.stopping.is_set():
                try:
                    request, version = self._read_request()
                except BadRequest as error:
                    self._send(Response(error.status, body=b"", content_type="text/html"),
                               None, False, True)
                    self._linger()
                    return
                if request is None:
                    return
                response = self.listener.handle(request, self.listener)
                close = self._wants_close(request, version)
                self._send(response, request, version == "HTTP/1.1", close)
                if close or (response.breakage and response.breakage.close):
                    return
        finally:
            # the socket is really closed only when nothing else refers to it
            self.file.close()

    def _linger(self):
        """Let the peer read the answer to a request that we did not read to its end."""
        self.sock.shutdown(socket.SHUT_WR)
        self.sock.settimeout(1.0)
        try:
            while self.sock.recv(65536):
                pass
        except OSError:
            pass

    @staticmethod
    def _wants_close(request, version):
        connection = (request.headers.get("connection") or "").lower()
        return "close" in connection or (version == "HTTP/1.0" and
                                         "keep-alive" not in connection)

    # -- reading ---------------------------------------------------------------------------

    def _read_request(self):
        line = self.file.readline(MAX_HEAD + 64)
        while line in (b"\r\n", b"\n"):
            line = self.file.readline(MAX_HEAD + 64)
        if not line:
            return None, None
        if not line.endswith(b"\n"):
            raise BadRequest(414)
        parts = line.decode("latin-1").split()
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            raise BadRequest(400)
        method, target, version = parts
        if len(target) > MAX_HEAD:
            raise BadRequest(414)
        headers = self._read_headers(MAX_HEAD - len(target))
        if target.startswith("http://") or target.startswith("https://"):
            target = "/" + target.split("/", 3)[3] if target.count("/") >= 3 else "/"
        body = self._read_body(headers)
        return Request(method, target, headers, body), version

    def _read_headers(self, room):
        headers = Headers()
        while True:
            line = self.file.readline(MAX_HEAD + 64)
            if not line:
                raise Closed()
            room -= len(line)
            if room < 0 or not line.endswith(b"\n"):
                raise BadRequest(431)
            line = line.rstrip(b"\r\n")
            if not line:
                return headers
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or not name or name != name.strip():
                raise BadRequest(400)
            headers.add(name, value.strip())

    def _read_body(self, headers):
        if "100-continue" in (headers.get("expect") or "").lower():
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in (headers.get("transfer-encoding") or "").lower():
            body = self._read_chunked()
        else:
            length = headers.get("content-length") or "0"
            if not length.isdigit():
                raise BadRequest(400)
            if int(length) > MAX_BODY:
                raise BadRequest(413)
            body = self._exactly(int(length))
        if "gzip" in (headers.get("content-encoding") or "").lower():
            try:
                body = gzip.decompress(body)
            except (OSError, EOFError, zlib.error):
                raise BadRequest(400) from None
        return body

    def _read_chunked(self):
        parts, total = [], 0
        while True:
            size = self.file.readline(1024).split(b";")[0].strip()
            try:
                size = int(size, 16)
            except ValueError:
                raise BadRequest(400) from None
            if size == 0:
                while self.file.readline(MAX_HEAD) not in (b"\r\n", b"\n", b""):
                    pass
                return b"".join(parts)
            total += size
            if total > MAX_BODY:
                raise BadRequest(413)
            parts.append(self._exactly(size))
            self._exactly(2)

    def _exactly(self, length):
        data = self.file.read(length) if length else b""
        if len(data) != length:
            raise Closed()
        return data

    # -- writing ---------------------------------------------------------------------------

    def _send(self, response, request, chunked, close):
        breakage = response.breakage or Breakage()
        if breakage.hang is not None:
            self._hang(breakage.hang)
            raise Closed()
        if breakage.reset is True:
            self._reset()
        if request is not None and request.method == "HEAD":
            response.body, response.compress = b"", False
        body = response.body
        no_body = response.status in (204, 304)
        head = {}
        if not no_body and response.content_type:
            head["Content-Type"] = response.content_type
        head.update(response.headers)
        if no_body:
            self.sock.sendall(self._head(response.status, head, close))
            return
        packed = self._compressed(response, request, head)
        if not chunked:
            plain = packed if packed is not None else response.plain_body()
            if isinstance(plain, FileBody):
                plain = plain.read()
            self.sock.sendall(self._head(response.status, head, True) + plain)
            raise Closed()
        if not isinstance(body, FileBody) and not body:
            head["Content-Length"] = "0"
            self.sock.sendall(self._head(response.status, head, close))
            return
        head["Transfer-Encoding"] = "chunked"
        start = self._head(response.status, head, close)
        self._send_chunked(start, packed if packed is not None else body, breakage, response)

    def _head(self, status, headers, close):
        lines = ["HTTP/1.1 %d %s" % (status, REASONS.get(status, "Unknown"))]
        lines += ["%s: %s" % pair for pair in headers.items()]
        if close:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def _compressed(self, response, request, head):
        """The gzip form of the body, if the client asked for it: bytes, file, or generator."""
        if request is None or not response.compress or not self.listener.gzip_ok:
            return None
        if "gzip" not in (request.headers.get("accept-encoding") or "").lower():
            return None
        body = response.body
        if not isinstance(body, FileBody):
            if not body:
                return None
            head["Content-Encoding"] = "gzip"
            return gzip.compress(body, 1, mtime=0)
        head["Content-Encoding"] = "gzip"
        if body.cache and os.path.exists(body.cache):
            return FileBody(body.cache, 0, os.path.getsize(body.cache))
        return gzip_blocks(body)

    def _send_chunked(self, start, body, breakage, response):
        if isinstance(body, FileBody) and breakage.cut is None and not breakage.slow \
                and not breakage.reset:
            self._send_file(start, body, response)
            return
        limit = breakage.cut
        if breakage.reset == "middle":
            body = body if isinstance(body, bytes) else b"".join(blocks_of(body))
            limit = len(body) // 2
        pending = start
        step = breakage.slow[0] if breakage.slow else max(1, self.listener.chunk_size())
        for block in blocks_of(body):
            for at in range(0, len(block), step):
                piece = block[at:at + step]
                whole = len(piece)
                if limit is not None:
                    piece = piece[:limit]
                    limit -= len(piece)
                if limit == 0 and not breakage.clean:
                    # the chunk says more than comes
                    pending += b"%x\r\n%b" % (whole + 1, piece)
                elif piece:
                    pending += b"%x\r\n%b\r\n" % (len(piece), piece)
                response.sent += len(piece)
                if len(pending) >= 65536 or breakage.slow:
                    self.sock.sendall(pending)
                    pending = b""
                if breakage.slow:
                    time.sleep(breakage.slow[1])
                if limit == 0:
                    self._cut(pending, breakage)
                    return
        self.sock.sendall(pending + b"0\r\n\r\n")

    def _cut(self, pending, breakage):
        self.sock.sendall(pending + (b"0\r\n\r\n" if breakage.clean else b""))
        if breakage.reset:
            self._reset()
        if not breakage.clean:
            raise Closed()

    def _send_file(self, start, body, response):
        """A chunked body whose chunks the kernel takes from the file."""
        if body.prefix:
            start += b"%x\r\n%b\r\n" % (len(body.prefix), body.prefix)
            response.sent += len(body.prefix)
        self.sock.sendall(start)
        with open(body.path, "rb") as file:
            offset, left = body.offset, body.length
            while left > 0:
                size = min(left, 1 << 22)
                self.sock.sendall(b"%x\r\n" % size)
                self._send_range(file, offset, size)
                self.sock.sendall(b"\r\n")
                offset += size
                left -= size
                response.sent += size
        self.sock.sendall(b"0\r\n\r\n")

    def _send_range(self, file, offset, size):
        if self.listener.tls:
            file.seek(offset)
            self.sock.sendall(file.read(size))
            return
        end = offset + size
        while offset < end:
            count = os.sendfile(self.sock.fileno(), file.fileno(), offset, end - offset)
            if count == 0:
                raise Closed()
            offset += count

    def _hang(self, seconds):
        """Say nothing for a time, or until the client has had enough."""
        until = time.monotonic() + seconds
        self.sock.settimeout(0.05)
        while time.monotonic() < until and not self.listener.stopping.is_set():
            try:
                if not self.sock.recv(4096):
                    return
            except (socket.timeout, ssl.SSLWantReadError):
                continue
            except OSError:
                return

    def _reset(self):
        """Close with RST, as a crashed peer or a strict firewall does."""
        linger = struct.pack("ii", 1, 0)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        raise Closed()


def blocks_of(body):
    if isinstance(body, bytes):
        return (body,)
    if isinstance(body, FileBody):
        return body.blocks()
    return body


def gzip_blocks(body):
    """Compress a FileBody on the way; keep the result, so that the next time it is a file."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    temporary = None
    out = None
    if body.cache:
        temporary = "%s.%d" % (body.cache, threading.get_ident())
        out = open(temporary, "wb")
    try:
        for block in body.blocks():
            packed = packer.compress(block)
            if packed:
                if out:
                    out.write(packed)
                yield packed
        packed = packer.flush()
        if out:
            out.write(packed)
            out.close()
            os.replace(temporary, body.cache)
            out = None
        yield packed
    finally:
        if out:
            out.close()
            os.unlink(temporary)
