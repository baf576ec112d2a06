"""Composite, Batch, Graph and Tree: several requests in one."""

import json
import re
from urllib.parse import quote

import dml
from errors import ApiError, RecordError
from sobject_collections import MAX_RECORDS
from wire import Response

MAX_SUBREQUESTS, MAX_HEAVY = 25, 5
MAX_GRAPHS, MAX_NODES, MAX_DEPTH = 75, 500, 5
REFERENCE = re.compile(r"@\{([^}]+)\}")
HEAVY = re.compile(r"/services/data/v\d+\.\d/(query|queryAll|composite/sobjects)\b")
#: what a Composite request can hold: not Bulk jobs, not limits, not another Composite
ALLOWED = re.compile(r"/services/data/v\d+\.\d/(sobjects|query|queryAll|composite/sobjects)"
                     r"(/|\?|$)")
NOT_FOUND = {"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}
HALTED = [{"errorCode": "PROCESSING_HALTED", "message": "The transaction was rolled back since "
           "another operation in the same transaction failed."}]
DEPENDS = [{"errorCode": "PROCESSING_HALTED", "message": "Invalid reference specified. No value "
            "for %s found in %s"}]


class Rollback(Exception):
    """Undo all that the subrequests did."""


def composite(call):
    data = call.json()
    requests = data.get("compositeRequest")
    check(requests, MAX_SUBREQUESTS, "compositeRequest")
    heavy = sum(bool(HEAVY.match(item.get("url", ""))) for item in requests)
    if heavy > MAX_HEAVY:
        raise ApiError(400, "LIMIT_EXCEEDED", "a composite request can hold %d queries and "
                       "Collections at most, this one has %d" % (MAX_HEAVY, heavy))
    all_or_none = bool(data.get("allOrNone", False))
    results, _ = run_group(call, requests, all_or_none)
    return Response(200, {"compositeResponse": results})


def check(requests, most, name):
    if not isinstance(requests, list) or not requests:
        raise ApiError(400, "JSON_PARSER_ERROR", "%s must be a list of requests" % name)
    if len(requests) > most:
        raise ApiError(400, "LIMIT_EXCEEDED", "%s can hold %d requests at most" % (name, most))
    seen = set()
    for item in requests:
        for key in ("method", "url", "referenceId"):
            if not isinstance(item, dict) or not isinstance(item.get(key), str):
                raise ApiError(400, "JSON_PARSER_ERROR", "a request needs method, url and "
                               "referenceId")
        if item["referenceId"] in seen:
            raise ApiError(400, "DUPLICATE_VALUE", "Duplicate reference id: "
                           + item["referenceId"])
        seen.add(item["referenceId"])


def run_group(call, requests, all_or_none):
    """-> (composite responses, whether all went well)"""
    results = []
    if not all_or_none:
        return results, run_each(call, requests, results, False)
    try:
        with call.org.store.write():
            if not run_each(call, requests, results, True):
                raise Rollback()
        return results, True
    except Rollback:
        # the ones before the failure are undone, the ones after it never began
        done = {item["referenceId"]: item for item in results}
        return [done[item["referenceId"]]
                if done.get(item["referenceId"], {}).get("httpStatusCode", 0) >= 400
                else entry(item, 400, HALTED) for item in requests], False


def run_each(call, requests, results, stop):
    bodies, good = {}, True
    for item in requests:
        try:
            url = substitute(item["url"], bodies, True)
            body = substitute(item.get("body"), bodies, False)
        except KeyError as missing:
            message = DEPENDS[0]["message"] % (missing.args[1], missing.args[0])
            results.append(entry(item, 400, [dict(DEPENDS[0], message=message)]))
            good = False
            continue
        if not ALLOWED.match(url):
            results.append(entry(item, 404, [NOT_FOUND]))
            good = False
            if stop:
                return False
            continue
        response = call.org.subcall(call, item["method"].upper(), url, item.get("httpHeaders"),
                                    body)
        results.append(entry(item, response.status, json_of(response),
                             sub_headers(response)))
        if response.status >= 400:
            good = False
            if stop:
                return False
        else:
            bodies[item["referenceId"]] = response.data
    return good


def entry(item, status, body, headers=None):
    return {"body": body, "httpHeaders": headers or {}, "httpStatusCode": status,
            "referenceId": item["referenceId"]}


def sub_headers(response):
    return {name: response.headers[name] for name in ("ETag", "Last-Modified", "Location")
            if name in response.headers}


def json_of(response):
    """The body of a subrequest: JSON, or null when there is none."""
    if response.data is not None:
        return response.data
    body = response.plain_body()
    if not body:
        return None
    # bytes that a fault has spoilt come out as they went in
    text = body.decode("utf-8", "surrogateescape")
    try:
        return json.loads(text)
    except ValueError:
        return text


def substitute(value, bodies, in_url):
    """Put the results of earlier subrequests in for @{reference.path}."""
    if isinstance(value, dict):
        return {key: substitute(item, bodies, in_url) for key, item in value.items()}
    if isinstance(value, list):
        return [substitute(item, bodies, in_url) for item in value]
    if not isinstance(value, str) or "@{" not in value:
        return value
    whole = REFERENCE.fullmatch(value)
    if whole and not in_url:
        return look_up(whole.group(1), bodies)

    def one(found):
        text = str(look_up(found.group(1), bodies))
        return quote(text, safe="") if in_url else text
    return REFERENCE.sub(one, value)


def look_up(path, bodies):
    name, _, rest = path.partition(".")
    if name not in bodies:
        raise KeyError(name, rest)
    value = bodies[name]
    for part in re.findall(r"[^.\[\]]+", rest):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, ValueError, TypeError):
            raise KeyError(name, rest) from None
    return value


# -- Batch -------------------------------------------------------------------------------------

def batch(call):
    data = call.json()
    requests = data.get("batchRequests")
    if not isinstance(requests, list) or not requests:
        raise ApiError(400, "JSON_PARSER_ERROR", "batchRequests must be a list of requests")
    if len(requests) > MAX_SUBREQUESTS:
        raise ApiError(400, "LIMIT_EXCEEDED", "a batch can hold %d requests at most"
                       % MAX_SUBREQUESTS)
    # unlike in Composite each subrequest counts
    call.org.limits.charge(len(requests) - 1)
    call.api_calls = len(requests)
    results, errors, halted = [], False, False
    for item in requests:
        if halted:
            results.append({"statusCode": 412, "result": [{
                "errorCode": "BATCH_PROCESSING_HALTED", "message": "Batch processing halted per "
                "request"}]})
            continue
        url = item.get("url", "").lstrip("/")
        if not url.startswith("services/data/"):
            url = "services/data/" + url
        response = call.org.subcall(call, item.get("method", "GET").upper(), "/" + url, None,
                                    item.get("richInput"))
        results.append({"statusCode": response.status, "result": json_of(response)})
        if response.status >= 400:
            errors = True
            halted = bool(data.get("haltOnError", False))
    return Response(200, {"hasErrors": errors, "results": results})


# -- Graph -------------------------------------------------------------------------------------

def graph(call):
    graphs = call.json().get("graphs")
    if not isinstance(graphs, list) or not graphs:
        raise ApiError(400, "JSON_PARSER_ERROR", "graphs must be a list")
    nodes = sum(len(item.get("compositeRequest") or ()) for item in graphs)
    if len(graphs) > MAX_GRAPHS or nodes > MAX_NODES:
        raise ApiError(400, "LIMIT_EXCEEDED", "a request can hold %d graphs with %d nodes"
                       % (MAX_GRAPHS, MAX_NODES))
    out = []
    for item in graphs:
        check(item.get("compositeRequest"), MAX_NODES, "compositeRequest")
        results, good = run_group(call, item["compositeRequest"], True)
        out.append({"graphId": item.get("graphId"), "isSuccessful": good,
                    "graphResponse": {"compositeResponse": results}})
    return Response(200, {"graphs": out})


# -- Tree --------------------------------------------------------------------------------------

class TreeFailed(Exception):
    def __init__(self, results):
        super().__init__()
        self.results = results


def tree(call, name):
    """Parents with their children: created together or not at all."""
    records = call.json().get("records")
    if not isinstance(records, list) or not records:
        raise ApiError(400, "JSON_PARSER_ERROR", "records must be a list of sObjects")
    obj = dml.visible_object(call.org.schema, call.user, name)
    results, errors = [], []
    try:
        with call.org.store.write() as writer:
            change = dml.Change(call.org, writer, call.user,
                                dml.options_of(call.request.headers))
            plant(call, change, obj, records, {}, 1, results, errors)
            if errors:
                raise TreeFailed(errors)
    except TreeFailed as failed:
        return Response(400, {"hasErrors": True, "results": failed.results})
    return Response(201, {"hasErrors": False, "results": results})


def plant(call, change, obj, records, link, depth, results, errors):
    if depth > MAX_DEPTH:
        raise ApiError(400, "LIMIT_EXCEEDED", "a tree can have %d levels" % MAX_DEPTH)
    for record in records:
        attributes = record.get("attributes") or {}
        reference = attributes.get("referenceId")
        if len(results) + len(errors) >= MAX_RECORDS:
            raise ApiError(400, "LIMIT_EXCEEDED", "a tree can have %d records" % MAX_RECORDS)
        own, nested = dict(link), []
        for key, value in record.items():
            relation = call.org.schema.child(obj, key) \
                if isinstance(value, dict) and "records" in value else None
            if relation is not None:
                nested.append((relation, value["records"]))
            else:
                own[key] = value
        try:
            with change.writer.savepoint():
                record_id = change.insert(obj, own)
        except RecordError as error:
            errors.append({"referenceId": reference, "errors": [error.entry()]})
            continue
        results.append({"referenceId": reference, "id": record_id})
        for relation, children in nested:
            plant(call, change, relation.child, children, {relation.field.name: record_id},
                  depth + 1, results, errors)
