"""Bulk API 2.0 query jobs.

The result is a file, written by a process of its own, so that the org goes on answering; beside
it stands the byte offset of every row. A page is the header line and a range of that file, which
the kernel sends.
"""

import array
import base64
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time

import clock
import ids
import rest
from errors import ApiError, not_found
from wire import FileBody, Response

DELIMITERS = {"BACKQUOTE": "`", "CARET": "^", "COMMA": ",", "PIPE": "|", "SEMICOLON": ";",
              "TAB": "\t"}
LINE_ENDS = {"LF": "\n", "CRLF": "\r\n"}
FINAL = ("JobComplete", "Failed", "Aborted")
KEYS = {"operation", "query", "contentType", "columnDelimiter", "lineEnding"}
PAGES_AT_ONCE = 5
CHUNKS = 4
FORBIDDEN = re.compile(r"\b(GROUP\s+BY|OFFSET\s+\d+|TYPEOF\s+\w+)", re.IGNORECASE)
WRITER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bulk_writer.py")


class Job:
    """A query job; ingest jobs share its bookkeeping."""

    kind = "V2Query"

    def __init__(self, org, number, user, version, data):
        self.org = org
        self.id = ids.make("750", number)
        self.user = user
        self.version = version
        self.operation = data["operation"]
        self.delimiter = data.get("columnDelimiter", "COMMA")
        self.line_end = data.get("lineEnding", "LF")
        self.object_name = None
        self.created = self.changed = org.clock.now()
        self.state = "UploadComplete"
        self.error = None
        self.started = time.monotonic()
        self.seconds = 0
        self.lock = threading.RLock()
        self.released = threading.Event()

    def set_state(self, state, error=None):
        with self.lock:
            if self.state in FINAL:
                return False
            self.state, self.error = state, error
            self.changed = self.org.clock.now()
            self.seconds = time.monotonic() - self.started
            return True

    def basics(self):
        return {"id": self.id, "operation": self.operation, "object": self.object_name,
                "createdById": self.user.id, "createdDate": clock.rest(self.created),
                "systemModstamp": clock.rest(self.changed), "state": self.state,
                "concurrencyMode": "Parallel", "contentType": "CSV",
                "apiVersion": float(self.version)}

    def wait_turn(self):
        """Stand in the queue: the configured delay, and for as long as jobs are held."""
        config = self.org.config
        until = time.monotonic() + float(config["bulk_delay"])
        while not self.org.stop.is_set() and self.state not in FINAL:
            held = config["bulk_hold"] and not self.released.is_set()
            left = until - time.monotonic()
            if not held and left <= 0:
                return True
            time.sleep(min(0.01 if held else left, 0.02))
            if self.state == "UploadComplete" and left < float(config["bulk_delay"]) / 2:
                self.set_state("InProgress")
        return False


class QueryJob(Job):
    def __init__(self, org, number, user, version, data):
        super().__init__(org, number, user, version, data)
        self.text = data["query"]
        self.header = b""
        self.folder = None
        self.offsets = None         # of every row, and of the end
        self.fetched = 0
        self.cached = False

    @property
    def rows(self):
        return len(self.offsets) - 1 if self.offsets is not None else 0

    @property
    def file(self):
        return os.path.join(self.folder, "rows.csv")

    def created_json(self):
        out = self.basics()
        out.update(lineEnding=self.line_end, columnDelimiter=self.delimiter)
        return out

    def to_json(self):
        out = self.created_json()
        out["jobType"] = self.kind
        if self.state in FINAL or not self.org.config["bulk_late_count"]:
            out["numberRecordsProcessed"] = self.rows
        out.update(retries=0, totalProcessingTime=int(self.seconds * 1000),
                   isPkChunkingSupported=True)
        if self.error:
            out["errorMessage"] = self.error
        return out


class Bulk:
    """All query jobs of the org, and the files of their results."""

    def __init__(self, org, state, cache):
        self.org = org
        self.folder = os.path.join(state, "bulk")
        self.cache = {} if cache else None
        self.jobs = {}
        self.count = itertools.count(1)
        self.lock = threading.Lock()
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)

    def new_number(self):
        with self.lock:
            return next(self.count)

    def find(self, job_id):
        job = self.jobs.get(job_id[:15])
        if job is None:
            raise not_found()
        return job

    # -- running a job -------------------------------------------------------------------------

    def start(self, job, compiled, fail_with):
        self.jobs[job.id[:15]] = job
        threading.Thread(target=self.run, args=(job, compiled, fail_with), daemon=True).start()

    def run(self, job, compiled, fail_with):
        try:
            if not job.wait_turn():
                return
            if fail_with:
                job.set_state("Failed", fail_with)
                return
            job.set_state("InProgress")
            error = self.write_result(job, compiled)
            if error:
                job.set_state("Failed", error)
            elif not job.set_state("JobComplete"):
                shutil.rmtree(job.folder, ignore_errors=True)
        except Exception as error:  # pylint: disable=broad-except
            job.set_state("Failed", "InternalServerError : %s" % error)
            raise

    def write_result(self, job, compiled):
        delimiter, newline = DELIMITERS[job.delimiter], LINE_ENDS[job.line_end]
        job.header = (delimiter.join('"%s"' % column.name for column in compiled.columns)
                      + newline).encode()
        sql = compiled.csv_sql(delimiter, newline)
        # a relative date or a formula of today would make the same SQL mean something else
        key = hashlib.sha256(repr((sql, compiled.params, self.org.store.version)).encode()
                             ).hexdigest()
        if self.cache is not None and key in self.cache:
            job.folder, job.offsets = self.cache[key]
            job.cached = True
            return None
        job.folder = os.path.join(self.folder, job.id)
        os.makedirs(job.folder)
        # without ORDER BY the order of the chunks of a large result is not to be relied on
        ordered = compiled.query.order_by or compiled.limit is not None
        pieces = 1 if ordered or not self.org.config["bulk_shuffle"] else CHUNKS
        error = self.run_writer(job, sql, compiled.params, pieces)
        if error:
            return error
        with open(os.path.join(job.folder, "offsets"), "rb") as file:
            job.offsets = array.array("Q", file.read())
        if self.cache is not None:
            self.cache[key] = (job.folder, job.offsets)
            job.cached = True
        return None

    def run_writer(self, job, sql, params, pieces):
        process = subprocess.Popen(
            [sys.executable, WRITER, self.org.store.path, job.folder, str(pieces)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        process.stdin.write(json.dumps([sql, params]))
        process.stdin.close()
        while True:
            try:
                code = process.wait(timeout=0.005 if time.monotonic() - job.started < 1 else 0.05)
                break
            except subprocess.TimeoutExpired:
                if job.state in FINAL or self.org.stop.is_set():
                    process.kill()
        output = process.stdout.read()
        process.stdout.close()
        if code == 0:
            return None
        return "InternalServerError : %s" % (output.strip().split("\n")[-1] or code)

    def remove(self, job):
        del self.jobs[job.id[:15]]
        if job.folder and not job.cached:
            shutil.rmtree(job.folder, ignore_errors=True)


# -- the resources -----------------------------------------------------------------------------

def bad(code, message):
    return ApiError(400, code, message)


def check_choices(data, keys):
    unknown = set(data) - keys
    if unknown:
        raise bad("JSON_PARSER_ERROR",
                  'Unrecognized field "%s"' % sorted(unknown)[0])
    if data.get("contentType", "CSV") != "CSV":
        raise bad("INVALIDJOB", "ContentType must be CSV")
    if data.get("columnDelimiter", "COMMA") not in DELIMITERS:
        raise bad("INVALIDJOB", "ColumnDelimiter must be one of " + ", ".join(DELIMITERS))
    if data.get("lineEnding", "LF") not in LINE_ENDS:
        raise bad("INVALIDJOB", "LineEnding must be LF or CRLF")


def create(call):
    """POST /jobs/query"""
    data = call.json()
    check_choices(data, KEYS)
    if data.get("operation") not in ("query", "queryAll"):
        raise bad("INVALIDJOB", "Operation must be query or queryAll")
    if not data.get("query") or not isinstance(data["query"], str):
        raise bad("INVALIDJOB", "A query is needed")
    bulk = call.org.bulk
    job = QueryJob(call.org, bulk.new_number(), call.user, call.version, data)
    fail_with = call.fault_action.get("job_failed")
    compiled = None
    try:
        compiled = check_query(call, data)
        job.object_name = compiled.object.name
    except ApiError as error:
        late = call.org.config["bulk_error_at"] == "job" and error.code not in (
            "INVALIDENTITY", "API_ERROR")
        if not late:
            raise
        fail_with = "%s : %s" % (error.code, error.message.strip())
        job.object_name = call.object
    call.org.limits.take_query_job()
    out = job.created_json()
    bulk.start(job, compiled, fail_with)
    return Response(200, out)


def check_query(call, data):
    """Compile the query; Bulk takes less than the REST API does."""
    text = data["query"]
    compiled = rest.compile_query(call.org, call.user, text, data["operation"] == "queryAll")
    obj = compiled.object
    if not obj.bulk:
        raise bad("INVALIDENTITY", "Entity '%s' is not supported by the Bulk API." % obj.name)
    if not obj.queryable:
        raise bad("API_ERROR", "%s does not support query" % obj.name)
    if compiled.has_compound:
        raise bad("FEATURENOTENABLED", "Selecting compound data not supported in Bulk Query")
    if compiled.has_base64:
        raise bad("FEATURENOTENABLED", "Binary fields cannot be selected in Bulk Query")
    if compiled.aggregate or compiled.count_only:
        raise bad("API_ERROR", "Implementation restriction: Aggregate Relationships and functions "
                  "are not supported in Bulk Query")
    if compiled.children or compiled.typeof or compiled.fields_function or compiled.offset or \
            FORBIDDEN.search(re.sub(r"'(?:[^'\\]|\\.)*'", "''", text)):
        raise bad("API_ERROR", "Implementation restriction: GROUP BY, OFFSET, TYPEOF, FIELDS() "
                  "and sub-queries are not supported in Bulk Query")
    return compiled


def own_job(call, job_id):
    return call.org.bulk.find(job_id)


def status(call, job_id):
    return Response(200, own_job(call, job_id).to_json())


def listing(call):
    return job_list(call, call.org.bulk.jobs)


def job_list(call, jobs):
    """All jobs of a kind, oldest first."""
    kind = call.request.args.get("jobType")
    jobs = sorted(list(jobs.values()), key=lambda job: job.created)
    return Response(200, {"done": True, "records": [
        dict(job.created_json(), jobType=job.kind) for job in jobs
        if kind in (None, "", job.kind)], "nextRecordsUrl": None})


def change(call, job_id):
    """PATCH {"state": "Aborted"}"""
    job = own_job(call, job_id)
    if call.json().get("state") != "Aborted":
        raise bad("INVALIDJOBSTATE", "A query job's state can be set to Aborted only")
    if not job.set_state("Aborted"):
        raise bad("INVALIDJOBSTATE", "Aborting Job not allowed in state %s" % job.state)
    return Response(200, job.to_json())


def delete(call, job_id):
    job = own_job(call, job_id)
    if job.state == "InProgress":
        raise bad("INVALIDJOBSTATE", "Deleting a job in state %s is not allowed" % job.state)
    job.set_state("Aborted")
    call.org.bulk.remove(job)
    return Response(204)


def ready_job(call, job_id):
    """A job whose results can be fetched, in the version that it was made with."""
    job = own_job(call, job_id)
    if call.version != job.version:
        raise ApiError(409, "INVALIDJOB",
                       "The API version of the request (%s) is not the one that the job was "
                       "created with (%s)" % (call.version, job.version))
    if job.state != "JobComplete":
        raise bad("INVALIDJOBSTATE", "Invalid job state: %s. The results are there when it is "
                  "JobComplete" % job.state)
    return job


def encode_locator(row):
    """Opaque to clients, and the same whenever it is asked for."""
    return base64.urlsafe_b64encode(b"r%d" % row).decode().rstrip("=")


def decode_locator(text):
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if raw[:1] == b"r":
            return int(raw[1:])
    except ValueError:
        pass
    raise bad("INVALID_QUERY_LOCATOR", "invalid query locator")


def page_size(call):
    most = int(call.org.config["bulk_page_rows"])
    wanted = call.request.args.get("maxRecords")
    if wanted is None or wanted == "":
        return most
    if not wanted.isdigit() or int(wanted) < 1:
        raise bad("INVALIDJOB", "maxRecords must be a positive number")
    return min(most, int(wanted))


def results(call, job_id):
    """GET /jobs/query/{id}/results"""
    job = ready_job(call, job_id)
    size = page_size(call)
    locator = call.request.args.get("locator")
    first = decode_locator(locator) if locator else 0
    if first < 0 or first > job.rows or (first == job.rows and first > 0):
        raise bad("INVALID_QUERY_LOCATOR", "invalid query locator")
    last = min(job.rows, first + size)
    job.fetched += 1
    headers = {"Sforce-NumberOfRecords": str(last - first),
               "Sforce-Locator": encode_locator(last) if last < job.rows else "null"}
    if job.rows == 0 and call.org.config["bulk_empty_body"]:
        return Response(200, body=b"", headers=headers, content_type="text/csv")
    start, end = job.offsets[first], job.offsets[last]
    body = FileBody(job.file, start, end - start, job.header,
                    "%s.%d-%d.gz" % (job.file, first, last))
    return Response(200, body=body, headers=headers, content_type="text/csv")


def result_pages(call, job_id):
    """Up to five pages that can be fetched at once."""
    job = ready_job(call, job_id)
    size = int(call.org.config["bulk_page_rows"])
    locator = call.request.args.get("locator")
    first = decode_locator(locator) if locator else 0
    base = "%s/jobs/query/%s/" % (call.base, job.id)
    pages = []
    while len(pages) < PAGES_AT_ONCE and (first < job.rows or not pages):
        pages.append({"resultUrl": "%sresults?locator=%s" % (base, encode_locator(first))})
        first += size
    done = first >= job.rows
    return Response(200, {
        "resultPages": pages, "done": done, "nextRecordsUrl": None if done else
        "%sresultPages?locator=%s" % (base, encode_locator(first))})
