"""Faults on order: what a test wants to go wrong, and how an answer is spoilt.

A rule matches requests; when it is met, its action replaces the answer, or lets the request be
carried out and spoils what is sent.
"""

import json
import random
import re
import threading

from errors import RecordError
from mutation import mutate
from wire import Breakage, FileBody, Response, encode_json

MATCH_KEYS = {"method", "path", "body", "object", "kind", "username", "sub", "record", "op"}
FIRST = {"status", "reset", "hang", "apply_then", "record_error", "pass"}
STATUS_KEYS = {"errorCode", "message", "error", "error_description", "body", "html", "headers"}
SPOIL = {"delay", "hold", "truncate", "slow", "bad_json", "huge_json", "nul", "invalid_utf8",
         "repeat_locator", "locator", "drop_headers", "next_url", "page_size", "job_failed",
         "replace", "headers", "close", "mutate"}

#: what Salesforce or its edge usually says with a status
USUAL = {
    401: ("INVALID_SESSION_ID", "Session expired or invalid"),
    403: ("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
    500: ("UNKNOWN_EXCEPTION", "An unexpected error occurred. Please include this ErrorId if you "
          "contact support: 1234567890-123456 (-1234567890)"),
    503: ("SERVER_UNAVAILABLE", "Server too busy"),
    404: ("NOT_FOUND", "The requested resource does not exist"),
    400: ("UNKNOWN_EXCEPTION", "Bad request"),
}
HTML = ("<!DOCTYPE html>\n<html><head><title>Maintenance</title></head>\n"
        "<body><h1>We are down for maintenance</h1>"
        "<p>Sorry for the inconvenience. We'll be back shortly.</p></body></html>\n")
ID = re.compile(r"^[a-zA-Z0-9]{15}(?:[A-Z0-5]{3})?$")


class Rule:
    def __init__(self, number, match, action, times, after, chance):
        self.number = number
        self.match = match
        self.action = action
        self.left = times
        self.after = after
        self.chance = chance
        self.random = random.Random(number)
        self.hits = 0
        self.dropped = threading.Event()
        self.patterns = {name: re.compile(match[name])
                         for name in ("path", "body", "record") if match.get(name)}

    def to_json(self):
        return {"id": self.number, "match": self.match, "action": self.action,
                "left": self.left, "after": self.after, "chance": self.chance,
                "hits": self.hits}

    def fits(self, call):
        match = self.match
        if bool(match.get("sub")) != call.is_sub:
            return False
        if match.get("method") and match["method"].upper() != call.request.method:
            return False
        if match.get("kind") and match["kind"] != call.kind:
            return False
        if match.get("username") and match["username"] != call.username:
            return False
        if match.get("object") and match["object"].lower() != (call.object or "").lower():
            return False
        if "path" in self.patterns and not self.patterns["path"].search(call.request.text):
            return False
        if "body" in self.patterns:
            text = call.request.body.decode("utf-8", "replace")
            return bool(self.patterns["body"].search(text))
        return True

    def fits_record(self, obj, op, record):
        match = self.match
        if match.get("object") and match["object"].lower() != obj.name.lower():
            return False
        if match.get("op") and match["op"] != op:
            return False
        if "record" in self.patterns:
            return bool(self.patterns["record"].search(json.dumps(record, ensure_ascii=False,
                                                                  default=str)))
        return True

    def take(self):
        """Use the rule once, unless it still has to let requests pass."""
        if self.after > 0:
            self.after -= 1
            return False
        if self.left == 0 or self.random.random() >= self.chance:
            return False
        if self.left > 0:
            self.left -= 1
        self.hits += 1
        return True


class Faults:
    def __init__(self):
        self.rules = []
        self.count = 0
        self.lock = threading.Lock()

    def add(self, match, action, times=1, after=0, chance=1.0):
        check_action(action)
        unknown = set(match) - MATCH_KEYS
        if unknown:
            raise ValueError("unknown in match: %s" % ", ".join(sorted(unknown)))
        with self.lock:
            self.count += 1
            self.rules.append(Rule(self.count, match, action, times, after, chance))
            return self.count

    def remove(self, number=None):
        with self.lock:
            for rule in self.rules:
                if number is None or rule.number == number:
                    rule.dropped.set()
            self.rules = [rule for rule in self.rules if not rule.dropped.is_set()]

    def to_json(self):
        with self.lock:
            return [rule.to_json() for rule in self.rules]

    def take(self, call):
        """The rule that this request meets, or None."""
        if not self.rules:
            return None
        with self.lock:
            for rule in self.rules:
                if "record_error" not in rule.action and rule.fits(call) and rule.take():
                    return rule
        return None

    def check_record(self, obj, op, record):
        """Refuse a record that a rule names."""
        if not self.rules:
            return
        with self.lock:
            for rule in self.rules:
                error = rule.action.get("record_error")
                if error and rule.fits_record(obj, op, record) and rule.take():
                    raise RecordError(error["statusCode"], error.get("message", ""),
                                      error.get("fields", ()))


def check_action(action):
    first = set(action) & FIRST
    if len(first) > 1:
        raise ValueError("only one of %s" % ", ".join(sorted(first)))
    allowed = SPOIL | FIRST | (STATUS_KEYS if "status" in action else set())
    unknown = set(action) - allowed
    if unknown:
        raise ValueError("unknown in action: %s" % ", ".join(sorted(unknown)))
    if not action:
        raise ValueError("an action is needed")
    if "apply_then" in action:
        check_action(action["apply_then"])


def replacement(action):
    """The answer that stands in for the real one, or None when the request is to be carried out."""
    if "reset" in action and action["reset"] is True:
        response = Response(200, body=b"x")
        response.breakage = Breakage(reset=True)
        return response
    if "hang" in action:
        response = Response(200, body=b"x")
        response.breakage = Breakage(hang=float(action["hang"]))
        return response
    if "status" in action:
        return status_answer(action)
    return None


def status_answer(action):
    status = action["status"]
    headers = dict(action.get("headers") or {})
    if "error" in action:
        data = {"error": action["error"],
                "error_description": action.get("error_description", "")}
        return Response(status, data, headers=headers)
    if action.get("html"):
        html = HTML if action["html"] is True else action["html"]
        return Response(status, body=html.encode(), headers=headers,
                        content_type="text/html;charset=UTF-8")
    if "body" in action:
        return Response(status, action["body"], headers=headers)
    if "errorCode" in action:
        entry = {"message": action.get("message", ""), "errorCode": action["errorCode"]}
        return Response(status, [entry], headers=headers)
    if status in (406, 420, 429, 502):
        return Response(status, body=HTML.encode(), headers=headers,
                        content_type="text/html;charset=UTF-8")
    if status in USUAL:
        code, message = USUAL[status]
        return Response(status, [{"message": message, "errorCode": code}], headers=headers)
    return Response(status, headers=headers)


# -- spoiling an answer ------------------------------------------------------------------------

def spoil(action, response, request):
    """Do the second group of an action to an answer."""
    if "headers" in action and "status" not in action:
        response.headers.update(action["headers"])
    for name in action.get("drop_headers", ()):
        for have in list(response.headers):
            if have.lower() == name.lower():
                del response.headers[have]
    if "locator" in action:
        if action["locator"] is None:
            response.headers.pop("Sforce-Locator", None)
        else:
            response.headers["Sforce-Locator"] = action["locator"]
    if action.get("repeat_locator") and "Sforce-Locator" in response.headers:
        response.headers["Sforce-Locator"] = request.args.get(
            "locator", response.headers["Sforce-Locator"])
    if "next_url" in action and isinstance(response.data, dict):
        response.data = dict(response.data, nextRecordsUrl=action["next_url"], done=False)
        response.body = None
    spoil_body(action, response)
    spoil_sending(action, response)


def spoil_body(action, response):
    _ = response.body       # encodes what is still data, and so sets the content type
    if action.get("nul"):
        put_into_text(response, "\x00")
    if action.get("invalid_utf8"):
        put_into_text(response, "\udcff")
    if action.get("bad_json") == "html":
        response.status, response.body = 200, HTML.encode()
        response.content_type = "text/html;charset=UTF-8"
    elif action.get("bad_json"):
        body = response.plain_body()
        response.body = body[:max(1, len(body) * 2 // 3)] + b'"}]]\x01,{'
    if action.get("huge_json"):
        response.body = grow(response, int(action["huge_json"]))
    for pattern, text in action.get("replace", ()):
        response.body = re.sub(pattern.encode(), text.encode(), response.plain_body())
    if "mutate" in action:
        response.body = mutate(action["mutate"], response.plain_body())
    if {"bad_json", "huge_json", "replace", "mutate"} & set(action):
        # inside Composite too it is the spoilt body that counts
        response.data = None


def put_into_text(response, char):
    """Put a character into the first text value that is no id."""
    if isinstance(response.data, (dict, list)):
        data = json.loads(json.dumps(response.data))
        put_into_json(data, char)
        response.data = None
        body = json.dumps(data, ensure_ascii=char == "\x00", separators=(",", ":"))
        response.body = body.encode("utf-8", "surrogateescape")
        response.content_type = "application/json;charset=UTF-8"
        return
    body = response.plain_body()
    head, newline, rows = body.partition(b"\n")
    values = re.finditer(rb'"((?:[^"]|"")+)"', rows)
    for value in values:
        text = value.group(1)
        if text[:1].isalpha() and not ID.match(text.decode("utf-8", "replace")) \
                and text not in (b"true", b"false"):
            at = value.start(1) + 1
            rows = rows[:at] + char.encode("utf-8", "surrogateescape") + rows[at:]
            break
    response.body = head + newline + rows


def put_into_json(data, char):
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in items:
        if key in ("attributes", "nextRecordsUrl", "referenceId"):
            continue
        if isinstance(value, (dict, list)):
            if put_into_json(value, char):
                return True
        elif isinstance(value, str) and value and value[0].isalpha() and not ID.match(value):
            data[key] = value[0] + char + value[1:]
            return True
    return False


def grow(response, size):
    """The same answer, many times as large."""
    data = response.data
    if isinstance(data, dict) and data.get("records"):
        block = b"," + encode_json(data["records"])[1:-1]
        rest = encode_json(dict(data, records=[]))
        head, tail = rest.split(b'"records":[', 1)
        repeat = max(1, size // len(block) + 1)
        return head + b'"records":[' + block[1:] + block * repeat + tail
    filler = b'"filler":"' + b"x" * size + b'"'
    body = response.plain_body()
    if body.startswith(b"{"):
        return b"{" + filler + b"," + body[1:] if len(body) > 2 else b"{" + filler + b"}"
    return b"[{" + filler + b"}]"


def spoil_sending(action, response):
    breakage = Breakage()
    if action.get("reset") == "middle":
        breakage.reset = "middle"
    if "slow" in action:
        breakage.slow = (int(action["slow"].get("chunk", 1024)),
                         float(action["slow"].get("pause", 0.1)))
    if "truncate" in action:
        cut = action["truncate"]
        breakage.clean = bool(cut.get("clean"))
        # what is cut is the plain body, or nobody could cut at the end of a row
        response.compress = False
        body = response.plain_body()
        response.body = body
        breakage.cut = cut["bytes"] if "bytes" in cut else end_of_row(body, cut.get("rows"))
    breakage.close = bool(action.get("close"))
    if response.breakage is None:
        response.breakage = breakage
    if breakage.cut is not None or breakage.reset or breakage.slow:
        if isinstance(response.body, FileBody):
            response.body = response.plain_body()


def end_of_row(body, rows):
    """How many bytes the header line and so many records of a CSV body take."""
    if rows is None or body[:1] in (b"{", b"["):
        return len(body) // 2
    quoted, lines = False, 0
    for at, byte in enumerate(body):
        if byte == 0x22:
            quoted = not quoted
        elif byte == 0x0a and not quoted:
            lines += 1
            if lines == rows + 1:
                return at + 1
    return len(body)
