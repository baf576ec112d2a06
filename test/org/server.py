"""The org as a whole: what a request meets, in which order.

A call is matched to its route, then to the faults on order; then it is authenticated, charged to
the allowance, and handled. Subrequests of Composite come the same way, but for the charge.
"""

import collections
import json
import re
import secrets
import sqlite3
import sys
import threading
import time
import traceback

import bulk
import composite
import faults
import ingest
import limits
import oauth
import replication
import rest
import rows
import sobject_collections
from errors import ApiError, OAuthError, RecordError, no_method, not_found
from wire import Headers, Request, Response

DEFAULTS = {
    "page_size": 2000, "assignment_owner": None, "trigger": None, "validation": None,
    "duplicate_rule": None, "undeletable_vanish": True, "log_keeps_undeleted": False,
    "bump_on_lookup_null": True,
    "updated_in_composite": True, "bulk_delay": 0, "bulk_hold": False, "bulk_page_rows": 250000,
    "bulk_late_count": False, "bulk_shuffle": True, "bulk_error_at": "create",
    "bulk_empty_body": False, "ingest_seed": 1, "chunk_size": 16384, "session_seconds": 7200,
    "deleted_log_days": 15, "extra_minutes_uncovered": 0, "jwt_org_clock": False,
    "cursor_seconds": 172800, "recycle_days": 15, "org_id": None,
    "governor": None,
}

COMMON = {
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache,must-revalidate,max-age=0,no-store,private",
    "Vary": "Accept-Encoding",
    "Server": "sfdcedge",
}

#: method(s), path behind /services/data/vNN.N, kind, handler
ROUTES = [
    ("GET", r"", "other", rest.resources),
    ("GET", r"/limits", "limits", limits.limits),
    ("GET", r"/limits/recordCount", "record_count", limits.record_count),
    ("GET", r"/query", "query", rest.query),
    ("GET", r"/queryAll", "query", rest.query_all),
    ("GET", r"/query(?:All)?/([^/]+)", "query_more", rest.query_more),
    ("GET", r"/sobjects", "describe_global", rest.describe_global),
    ("GET", r"/sobjects/(\w+)", "describe", rest.basic_info),
    ("POST", r"/sobjects/(\w+)", "row", rows.create),
    ("GET", r"/sobjects/(\w+)/describe", "describe", rest.describe),
    ("GET", r"/sobjects/(\w+)/updated", "updated", replication.get_updated),
    ("GET", r"/sobjects/(\w+)/deleted", "deleted", replication.get_deleted),
    ("GET", r"/sobjects/(\w+)/([^/]+)", "row", rows.read),
    ("PATCH", r"/sobjects/(\w+)/([^/]+)", "row", rows.update),
    ("DELETE", r"/sobjects/(\w+)/([^/]+)", "row", rows.delete),
    ("GET", r"/sobjects/(\w+)/([^/]+)/([^/]+)", "row", rows.read_by_key),
    ("PATCH", r"/sobjects/(\w+)/([^/]+)/([^/]+)", "row", rows.upsert),
    ("POST", r"/sobjects/(\w+)/([^/]+)", "row", rows.upsert_new),
    ("DELETE", r"/sobjects/(\w+)/([^/]+)/([^/]+)", "row", rows.delete_by_key),
    ("POST", r"/composite", "composite", composite.composite),
    ("POST", r"/composite/batch", "batch", composite.batch),
    ("POST", r"/composite/graph", "graph", composite.graph),
    ("POST", r"/composite/tree/(\w+)", "tree", composite.tree),
    ("POST", r"/composite/sobjects", "collections", sobject_collections.create),
    ("PATCH", r"/composite/sobjects", "collections", sobject_collections.update),
    ("DELETE", r"/composite/sobjects", "collections", sobject_collections.delete),
    ("PATCH", r"/composite/sobjects/(\w+)/(\w+)", "collections", sobject_collections.upsert),
    ("GET", r"/composite/sobjects/(\w+)", "collections", sobject_collections.read),
    ("POST", r"/composite/sobjects/(\w+)", "collections", sobject_collections.read),
    ("POST", r"/jobs/query", "bulk_query_create", bulk.create),
    ("GET", r"/jobs/query", "bulk_query_other", bulk.listing),
    ("GET", r"/jobs/query/(\w+)", "bulk_query_status", bulk.status),
    ("PATCH", r"/jobs/query/(\w+)", "bulk_query_other", bulk.change),
    ("DELETE", r"/jobs/query/(\w+)", "bulk_query_other", bulk.delete),
    ("GET", r"/jobs/query/(\w+)/results", "bulk_query_results", bulk.results),
    ("GET", r"/jobs/query/(\w+)/resultPages", "bulk_query_pages", bulk.result_pages),
    ("POST", r"/jobs/ingest", "ingest_create", ingest.create),
    ("GET", r"/jobs/ingest", "ingest_other", ingest.listing),
    ("GET", r"/jobs/ingest/(\w+)", "ingest_status", ingest.status),
    ("PATCH", r"/jobs/ingest/(\w+)", "ingest_other", ingest.change),
    ("DELETE", r"/jobs/ingest/(\w+)", "ingest_other", ingest.delete),
    ("PUT", r"/jobs/ingest/(\w+)/batches", "ingest_upload", ingest.upload),
    ("GET", r"/jobs/ingest/(\w+)/(successfulResults|failedResults|unprocessed[rR]ecords)",
     "ingest_results", ingest.results),
]
ROUTES = [(method, re.compile(pattern + r"\Z"), kind, handler)
          for method, pattern, kind, handler in ROUTES]
DATA = re.compile(r"/services/data/v(\d+\.\d)(/.*)?\Z")
FROM = re.compile(r"\bfrom\s+(\w+)", re.IGNORECASE)


class Call:
    """One request on its way through the org."""

    def __init__(self, org, request, listener, parent=None):
        self.org = org
        self.request = request
        self.listener = listener
        self.parent = parent
        self.is_sub = parent is not None
        self.kind = "other"
        self.version = None
        self.resource = None
        self.handler = None
        self.groups = ()
        self.allowed = False
        self.user = None
        self.object = None
        self.api_calls = 0
        self.fault = None
        self.subrequests = []

    @property
    def username(self):
        if self.user is not None:
            return self.user.username
        return getattr(self.request, "username", None)

    @property
    def base(self):
        return "/services/data/v" + self.version

    @property
    def fault_action(self):
        action = self.fault.action if self.fault else {}
        return action.get("apply_then", action)

    def json(self, kind=dict):
        """The request's body; anything but the expected kind of JSON is the client's mistake."""
        media = (self.request.headers.get("content-type") or "").split(";")[0].strip().lower()
        if not self.is_sub and media != "application/json":
            raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type header specified in HTTP "
                           "request is not supported: %s" % media)
        content_type = self.request.headers.get("content-type", "application/json")
        if "json" not in content_type.lower():
            raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type header specified in HTTP "
                           "request is not supported: " + content_type)
        try:
            data = json.loads(self.request.body)
        except ValueError as error:
            raise ApiError(400, "JSON_PARSER_ERROR", str(error)) from None
        if not isinstance(data, kind):
            raise ApiError(400, "JSON_PARSER_ERROR",
                           "The HTTP entity body is required, but this request has no entity "
                           "body or a body of the wrong kind.")
        return data


class Org:
    def __init__(self, store, schema, clock, maximum_calls, versions):
        self.store = store
        self.schema = schema
        self.clock = clock
        self.versions = versions            # texts, e.g. "60.0"
        self.config = dict(DEFAULTS)
        self.limits = limits.Limits(maximum_calls)
        self.faults = faults.Faults()
        self.oauth = oauth.OAuth(self)
        self.cursors = rest.Cursors(self)
        self.bulk = None
        self.ingest = None
        self.id = None
        self.system_user = None             # sees everything
        self.login_url = self.instance_url = None
        self.info = {}
        self.relations = {}                 # child relationships by object, for deletes
        self.calls = collections.deque(maxlen=20000)
        self.call_count = 0
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.quiet = False

    def identity(self, user):
        return "%s/id/%s/%s" % (self.login_url, self.config["org_id"] or self.id, user.id)

    # -- a request -----------------------------------------------------------------------------

    def handle(self, request, listener):
        """What a listener calls."""
        started = time.monotonic()
        call = Call(self, request, listener)
        self._route(call)
        response = self._answer(call)
        self._decorate(call, response)
        self._log(call, response, time.monotonic() - started)
        return response

    def subcall(self, parent, method, url, headers=None, body=None):
        """A subrequest of Composite or Batch, carried out as the same user."""
        request = Request(method, url, Headers(), b"", query_decoded=False)
        for name, value in (headers or {}).items():
            request.headers.add(name, str(value))
        if body is not None:
            request.body = json.dumps(body).encode()
        call = Call(self, request, parent.listener, parent)
        call.user = parent.user
        self._route(call)
        response = self._answer(call)
        parent.subrequests.append({"method": method, "url": url, "kind": call.kind,
                                   "status": response.status})
        return response

    def _route(self, call):
        request = call.request
        path = request.path.rstrip("/")
        override = request.args.get("_HttpMethod")
        if override and request.method == "POST":
            request.method = override.upper()
        match = DATA.match(path)
        if not match:
            call.kind = "oauth" if path.startswith("/services/oauth2") else \
                "identity" if path.startswith("/id/") else \
                "versions" if path == "/services/data" else "other"
            call.resource = path
            return
        call.version = match.group(1)
        call.resource = match.group(2) or ""
        for method, pattern, kind, handler in ROUTES:
            found = pattern.match(call.resource)
            if not found:
                continue
            call.kind, call.allowed = kind, True
            if method == request.method or (method == "GET" and request.method == "HEAD"):
                call.handler, call.groups = handler, found.groups()
                break
        call.object = self._object_of(call)

    def _object_of(self, call):
        """The sObject that a request is about, as well as can be told from outside."""
        if call.kind in ("query", "bulk_query_create"):
            text = call.request.args.get("q") or call.request.body.decode("utf-8", "replace")
            found = FROM.search(text.replace("\\n", " "))
            name = found.group(1) if found else None
        elif call.resource.startswith("/jobs/"):
            name = self._object_of_job(call)
        elif call.groups:
            name = call.groups[0]
        else:
            name = None
        obj = self.schema.object(name) if name else None
        return obj.name if obj else name

    def _object_of_job(self, call):
        if call.kind == "ingest_create":
            try:
                return json.loads(call.request.body).get("object")
            except (ValueError, AttributeError):
                return None
        job = None
        if call.groups:
            job = self.bulk.jobs.get(call.groups[0][:15]) or \
                self.ingest.jobs.get(call.groups[0][:15])
        return job.object_name if job else None

    def _answer(self, call):
        if call.version and not call.is_sub:
            session = self.oauth.session(call.request.headers.get("authorization"))
            call.user = session.user if session else None
        call.fault = self.faults.take(call)
        if call.fault is None:
            return self._carry_out(call)
        action = call.fault.action
        response = None
        self._wait(call, action)
        if "apply_then" in action:
            response = self._carry_out(call)
            action = action["apply_then"]
            self._wait(call, action)
        response = faults.replacement(action) or response or self._carry_out(call)
        faults.spoil(action, response, call.request)
        return response

    @staticmethod
    def _wait(call, action):
        """As long as an action says: a time, or until its rule is deleted."""
        if "delay" in action:
            time.sleep(float(action["delay"]))
        if "hold" in action:
            while not call.fault.dropped.wait(0.05) and not call.listener.stopping.is_set():
                pass

    def _carry_out(self, call):
        """The real answer, errors included."""
        try:
            if not call.version:
                return self._outside_data(call)
            self._admit(call)
            return call.handler(call, *call.groups)
        except RecordError as error:
            return error.as_api_error().response()
        except (ApiError, OAuthError) as error:
            return error.response()
        except sqlite3.OperationalError as error:
            if "interrupted" not in str(error):
                traceback.print_exc()
            return ApiError(400, "QUERY_TIMEOUT",
                            "Your query request was running for too long.").response()
        except Exception:  # pylint: disable=broad-except
            traceback.print_exc()
            return ApiError(500, "UNKNOWN_EXCEPTION", "An unexpected error occurred. Please "
                            "include this ErrorId if you contact support: "
                            + secrets.token_hex(8)).response()

    def _admit(self, call):
        """Version, session, allowance, route: everything before the resource itself."""
        if call.listener.name == "login" and not call.is_sub:
            raise not_found()
        if call.version not in self.versions:
            if 1 < float(call.version) < float(self.versions[0]):
                raise ApiError(410, "UNSUPPORTED_API_VERSION",
                               "The API version %s is retired." % call.version)
            raise not_found()
        if call.user is None:
            raise ApiError(401, "INVALID_SESSION_ID", "Session expired or invalid")
        if not call.is_sub:
            self.limits.charge()
            call.api_calls = 1
        if call.handler is None:
            raise no_method(call.request.method) if call.allowed else not_found()

    def _outside_data(self, call):
        path, request = call.resource, call.request
        if path == "/services/data":
            if call.listener.name == "login":
                raise not_found()
            return Response(200, [{"label": rest.version_label(v), "url": "/services/data/v" + v,
                                   "version": v} for v in self.versions])
        if path == "/services/oauth2/token":
            return self.oauth.token(request, call.listener)
        if path == "/services/oauth2/introspect" and request.method == "POST":
            return self.oauth.introspect(request, call.listener)
        if path == "/services/oauth2/revoke":
            return self.oauth.revoke(request, call.listener)
        if path == "/services/oauth2/userinfo" or call.kind == "identity":
            return rest.identity(self, request, path)
        return Response(404, body=b"<html><body>URL No Longer Exists</body></html>",
                        content_type="text/html;charset=UTF-8")

    # -- around a request ----------------------------------------------------------------------

    def _decorate(self, call, response):
        request = call.request
        if request.headers.get("x-prettyprint") == "1":
            response.pretty = True
        headers = {"Date": self.clock.http_date()}
        headers.update(COMMON)
        if "cookie" not in request.headers:
            headers["Set-Cookie"] = "BrowserId=%s; path=/" % secrets.token_hex(8)
        if call.version and call.user is not None:
            headers["Sforce-Limit-Info"] = self.limits.header()
        headers["X-Sfdc-Request-Id"] = secrets.token_hex(16)
        dropped = {name.lower() for name in call.fault_action.get("drop_headers", ())}
        headers.update(response.headers)
        response.headers = {name: value for name, value in headers.items()
                            if name.lower() not in dropped}
        # encodes what is still data, and so sets the content type
        _ = response.body

    def _log(self, call, response, seconds):
        request = call.request
        body = request.body[:4096].decode("utf-8", "replace")
        if call.kind == "oauth":
            body = re.sub(r"(client_secret|password|assertion|refresh_token|token)=[^&]*",
                          r"\1=...", body)
        size = response.body
        entry = {
            "time": self.clock.stamp(), "listener": call.listener.name, "method": request.method,
            "path": request.path, "query": request.text[len(request.path) + 1:],
            "kind": call.kind, "object": call.object, "username": call.username,
            "status": response.status, "seconds": round(seconds, 6),
            "bytes": len(size.prefix) + size.length if hasattr(size, "prefix") else len(size),
            "headers": {name: value for name, value in request.headers.items()
                        if name != "authorization"},
            "body": body, "api_calls": call.api_calls,
            "fault": call.fault.number if call.fault else None,
            "subrequests": call.subrequests,
        }
        with self.lock:
            self.call_count += 1
            entry["n"] = self.call_count
            self.calls.append(entry)
        if not self.quiet:
            print("%s %s %s %d %s%.1f ms" % (
                entry["time"], request.method, request.text[:160], response.status,
                "fault %d " % call.fault.number if call.fault else "", seconds * 1000),
                file=sys.stderr, flush=True)
