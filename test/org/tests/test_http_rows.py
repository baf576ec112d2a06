"""sObject rows, Collections and Composite by plain HTTP."""

import base64
import gzip
import json
import unittest

import ids
from clock import from_stored, to_http, to_stored
from running import Case


class Rows(Case):
    def create(self, obj="Lead", headers=None, **values):
        if obj == "Lead":
            values = dict({"LastName": "Row", "Company": "Initech"}, **values)
        return self.org.call("POST", "/sobjects/" + obj, values,
                             headers=headers)

    def new(self, obj="Lead", **values):
        answer = self.create(obj, **values)
        self.assertEqual(answer.status, 201, answer)
        return answer.json()["id"]

    def row(self, record_id, obj="Lead", fields=""):
        return self.org.get("/sobjects/%s/%s%s" % (
            obj, record_id, "?fields=" + fields if fields else ""))

    def stamp(self, record_id, obj="Lead"):
        return from_stored(self.row(record_id, obj).json()["SystemModstamp"]
                           .replace("+0000", "Z"))

    def test_create(self):
        answer = self.create()
        self.assertEqual(answer.status, 201)
        body = answer.json()
        self.assertEqual(set(body), {"id", "success", "errors"})
        self.assertTrue(ids.well_formed(body["id"]))
        self.assertEqual(len(body["id"]), 18)
        self.assertEqual(answer.headers["location"],
                         "/services/data/v62.0/sobjects/Lead/" + body["id"])

    def test_create_refused(self):
        error = self.error(
            self.org.call("POST", "/sobjects/Lead", {"FirstName": "x"}), 400,
            "REQUIRED_FIELD_MISSING", "Required fields are missing: [")
        self.assertEqual(sorted(error["fields"]), ["Company", "LastName"])
        error = self.error(self.create(Title="x" * 129), 400,
                           "STRING_TOO_LONG",
                           "Title: data value too large: ")
        self.assertIn("(max length=128)", error["message"])
        self.assertEqual(error["fields"], ["Title"])
        self.error(self.create(Nope="x"), 400, "INVALID_FIELD")
        self.error(self.create(Email="not an address"), 400,
                   "INVALID_EMAIL_ADDRESS")
        self.error(self.create(OwnerId="x"), 400, "MALFORMED_ID")
        self.error(self.create(CleanStatus="nope"), 400,
                   "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST")
        self.error(self.create(CreatedDate="2020-01-01T00:00:00.000Z"), 400,
                   "INVALID_FIELD_FOR_INSERT_UPDATE")
        self.error(self.create(Name="x"), 400,
                   "INVALID_FIELD_FOR_INSERT_UPDATE")
        self.error(self.create(Initials__c="x"), 400,
                   "INVALID_FIELD_FOR_INSERT_UPDATE")
        self.error(self.create(NumberOfEmployees=123456789), 400,
                   "NUMBER_OUTSIDE_VALID_RANGE")
        self.error(self.create(Score__c=12345.0), 400,
                   "NUMBER_OUTSIDE_VALID_RANGE")

    def test_malformed_body(self):
        for body in ("{", "", "[]", '{"LastName": {"a": 1}}'):
            answer = self.org.call(
                "POST", "/sobjects/Lead", body=body,
                headers={"Content-Type": "application/json"})
            self.assertEqual(answer.status, 400, (body, answer))
            self.assertIsInstance(answer.json(), list)

    def test_unrestricted_picklist_takes_anything(self):
        self.new(Industry="Alchemy")

    def test_datetime_on_input(self):
        for text in ("2013-08-12T15:20:00.000Z", "2013-08-12T15:20:00Z",
                     "2013-08-12T17:20:00+02:00"):
            record = self.new(First_Contact__c=text)
            self.assertEqual(self.row(record).json()["First_Contact__c"],
                             "2013-08-12T15:20:00.000+0000", text)
        self.error(self.create(First_Contact__c="2013-08-12T15:20:00+0000"),
                   400, "JSON_PARSER_ERROR")

    def test_milliseconds_are_not_kept(self):
        record = self.new(First_Contact__c="2013-08-12T15:20:00.987Z")
        self.assertEqual(self.row(record).json()["First_Contact__c"],
                         "2013-08-12T15:20:00.000+0000")

    def test_text_is_trimmed_and_empty_is_null(self):
        record = self.new(LastName="  Diaz\t", Title="   ", FirstName="")
        body = self.row(record).json()
        self.assertEqual(body["LastName"], "Diaz")
        self.assertEqual(body["Name"], "Diaz")
        self.assertIsNone(body["Title"])
        self.assertIsNone(body["FirstName"])

    def test_read(self):
        record = self.new(FirstName="Ada", City="Bonn")
        body = self.row(record).json()
        self.assertEqual(body["attributes"]["url"],
                         "/services/data/v62.0/sobjects/Lead/" + record)
        self.assertEqual(body["Name"], "Ada Row")
        self.assertEqual(body["Address"]["city"], "Bonn")
        self.assertIsNone(body["Address"]["street"])
        body = self.row(record[:15], fields="name,LASTNAME").json()
        self.assertEqual(set(body) - {"Id"},
                         {"attributes", "Name", "LastName"})
        self.assertEqual(self.row(record, "lead").status, 200)

    def test_update(self):
        record = self.new(Title="Boss")
        answer = self.org.call("PATCH", "/sobjects/Lead/" + record,
                               {"Title": None, "City": "Köln"})
        self.assertEqual(answer.status, 204, answer)
        self.assertEqual(answer.body, b"")
        self.assertNotIn("content-type", answer.headers)
        self.assertIn("sforce-limit-info", answer.headers)
        body = self.row(record).json()
        self.assertIsNone(body["Title"])
        self.assertEqual(body["City"], "Köln")

    def test_update_by_tunnel(self):
        record = self.new()
        answer = self.org.call("POST", "/sobjects/Lead/%s?_HttpMethod=PATCH"
                               % record, {"Title": "Tunnel"})
        self.assertEqual(answer.status, 204, answer)
        self.assertEqual(self.row(record).json()["Title"], "Tunnel")

    def test_update_bumps_the_stamp(self):
        self.org.admin("POST", "/clock", {"step_seconds": 10})
        record = self.new()
        before = self.stamp(record)
        self.org.admin("POST", "/clock", {"step_seconds": 5})
        self.org.call("PATCH", "/sobjects/Lead/" + record, {"Title": "x"})
        after = self.stamp(record)
        self.assertGreaterEqual(after - before, 5)
        body = self.row(record).json()
        self.assertEqual(body["LastModifiedDate"], body["SystemModstamp"])

    def test_update_refused(self):
        record = self.new()
        for values, code in (
                ({"LastName": None}, "REQUIRED_FIELD_MISSING"),
                ({"IsConverted": True}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
                ({"SystemModstamp": "2020-01-01T00:00:00Z"},
                 "INVALID_FIELD_FOR_INSERT_UPDATE")):
            self.error(self.org.call("PATCH", "/sobjects/Lead/" + record,
                                     values), 400, code)

    def test_delete(self):
        record = self.new()
        answer = self.org.call("DELETE", "/sobjects/Lead/" + record)
        self.assertEqual(answer.status, 204)
        self.assertEqual(answer.body, b"")
        self.error(self.org.call("DELETE", "/sobjects/Lead/" + record), 404,
                   "ENTITY_IS_DELETED", "entity is deleted")
        self.assertEqual(self.row(record).status, 404)
        answer = self.org.call("PATCH", "/sobjects/Lead/" + record,
                               {"Title": "x"})
        self.error(answer, 404, "ENTITY_IS_DELETED")
        found = self.org.records("SELECT IsDeleted FROM Lead WHERE Id = '%s'"
                                 % record, "queryAll")
        self.assertIs(found[0]["IsDeleted"], True)

    def test_user_is_not_deletable(self):
        user = self.org.ports["users"]["ada@example.com"]["id"]
        answer = self.org.call("DELETE", "/sobjects/User/" + user,
                               user="admin@example.com")
        self.assertIn(answer.status, (400, 403, 405), answer)

    def test_unknown_ids(self):
        self.assertEqual(self.row(ids.make("00Q", 10 ** 9)).status, 404)
        self.error(self.row("xyz"), 404, "NOT_FOUND")
        self.error(self.create("Contact", LastName="x",
                               AccountId=ids.make("001", 10 ** 9)), 400,
                   "INVALID_CROSS_REFERENCE_KEY")

    def test_if_unmodified_since(self):
        for obj, values in (("Lead", {}), ("Contact", {"LastName": "x"})):
            record = self.new(obj, **values)
            stamp = self.stamp(record, obj)
            path = "/sobjects/%s/%s" % (obj, record)
            answer = self.org.call("PATCH", path, {"LastName": "Older"},
                                   headers={"If-Unmodified-Since":
                                            to_http(stamp - 1)})
            self.assertEqual(answer.status, 412, answer)
            self.assertNotEqual(self.row(record, obj).json()["LastName"],
                                "Older")
            answer = self.org.call("PATCH", path, {"LastName": "Same"},
                                   headers={"If-Unmodified-Since":
                                            to_http(stamp)})
            self.assertEqual(answer.status, 204, answer)

    def test_if_unmodified_since_and_delete(self):
        record = self.new()
        answer = self.org.call("DELETE", "/sobjects/Lead/" + record, headers={
            "If-Unmodified-Since": to_http(self.stamp(record) - 100)})
        self.assertNotEqual(answer.status, 412, "not supported on DELETE")

    def test_invalid_condition(self):
        record = self.new()
        answer = self.org.call("PATCH", "/sobjects/Lead/" + record,
                               {"Title": "x"},
                               headers={"If-Unmodified-Since": "yesterday"})
        self.assertEqual(answer.status, 400, answer)

    def test_etag_is_for_accounts_alone(self):
        account = self.new("Account", Name="Tagged")
        answer = self.row(account, "Account")
        tag = answer.headers["etag"]
        self.assertEqual(self.org.get(
            "/sobjects/Account/" + account,
            headers={"If-None-Match": tag}).status, 304)
        self.assertEqual(self.org.call(
            "PATCH", "/sobjects/Account/" + account, {"Name": "B"},
            headers={"If-Match": '"other"'}).status, 412)
        self.assertEqual(self.org.call(
            "PATCH", "/sobjects/Account/" + account, {"Name": "B"},
            headers={"If-Match": tag}).status, 204)
        lead = self.new()
        self.assertNotIn("etag", self.row(lead).headers)
        self.assertEqual(self.org.call(
            "PATCH", "/sobjects/Lead/" + lead, {"Title": "B"},
            headers={"If-Match": '"other"'}).status, 204)

    def test_upsert(self):
        path = "/sobjects/Lead/Ext__c/key-1"
        values = {"LastName": "Up", "Company": "Sert"}
        answer = self.org.call("PATCH", path, values)
        self.assertEqual(answer.status, 201, answer)
        self.assertIs(answer.json()["created"], True)
        record = answer.json()["id"]
        answer = self.org.call("PATCH", path.replace("key", "KEY"), values)
        self.assertEqual(answer.status, 200, answer)
        self.assertIs(answer.json()["created"], False)
        self.assertEqual(answer.json()["id"], record)
        self.assertEqual(self.row(record).json()["Ext__c"], "key-1")
        answer = self.org.get("/sobjects/Lead/Ext__c/key-1")
        self.assertEqual(answer.json()["Id"], record)
        self.assertEqual(self.org.get("/sobjects/Lead/Ext__c/none").status,
                         404)

    def test_upsert_by_no_external_id(self):
        answer = self.org.call("PATCH", "/sobjects/Lead/Title/x",
                               {"LastName": "x", "Company": "y"})
        self.error(answer, 404, "NOT_FOUND",
                   "Provided external ID field does not exist or is not "
                   "accessible")

    def test_upsert_of_many(self):
        self.org.admin("POST", "/schema", {"change_field": {
            "object": "Contact", "name": "Ext__c", "unique": False}})
        for _ in range(2):
            self.new("Contact", LastName="Twin", Ext__c="twin")
        answer = self.org.call("PATCH", "/sobjects/Contact/Ext__c/twin",
                               {"LastName": "x"})
        self.assertEqual(answer.status, 300, answer)
        urls = answer.json()
        self.assertEqual(len(urls), 2)
        self.assertTrue(urls[0].startswith("/services/data/v62.0/sobjects/"
                                           "Contact/003"))

    def test_unique(self):
        self.new(Ext__c="only-1")
        error = self.error(self.create(Ext__c="ONLY-1"), 400,
                           "DUPLICATE_VALUE")
        self.assertIn("Ext__c", error["message"])

    def test_blob(self):
        account = self.new("Account", Name="With paper")
        data = b"\x00\xffbytes"
        record = self.new("Attachment", ParentId=account, Name="a.bin",
                          Body=base64.b64encode(data).decode())
        url = self.row(record, "Attachment").json()["Body"]
        self.assertEqual(url, "/services/data/v62.0/sobjects/Attachment/%s/"
                         "Body" % record)
        self.assertEqual(self.org.get(url).body, data)

    def test_gzip_request(self):
        body = gzip.compress(json.dumps({"LastName": "Zip",
                                         "Company": "Inc"}).encode())
        answer = self.org.call("POST", "/sobjects/Lead", body=body, headers={
            "Content-Type": "application/json", "Content-Encoding": "gzip"})
        self.assertEqual(answer.status, 201, answer)

    def test_wrong_content_type(self):
        answer = self.org.call("POST", "/sobjects/Lead", body="x=1", headers={
            "Content-Type": "application/x-www-form-urlencoded"})
        self.assertEqual(answer.status, 415, answer)

    def test_wrong_method(self):
        self.assertEqual(self.org.call("PUT", "/sobjects/Lead", {}).status,
                         405)


class Collections(Case):
    def send(self, method, records, path="", **more):
        return self.org.call(method, "/composite/sobjects" + path,
                             dict(more, records=records))

    def lead(self, n, **values):
        return dict({"attributes": {"type": "Lead"}, "LastName": "C%d" % n,
                     "Company": "Acme"}, **values)

    def test_partial_failure_is_200(self):
        answer = self.send("POST", [self.lead(1), self.lead(2, LastName=None),
                                    self.lead(3)])
        self.assertEqual(answer.status, 200, answer)
        body = answer.json()
        self.assertEqual([r["success"] for r in body], [True, False, True])
        error = body[1]["errors"][0]
        self.assertEqual(error["statusCode"], "REQUIRED_FIELD_MISSING")
        self.assertEqual(error["fields"], ["LastName"])
        self.assertNotIn("errorCode", error)
        found = self.org.records("SELECT LastName FROM Lead WHERE Id = '%s'"
                                 % body[2]["id"])
        self.assertEqual(found[0]["LastName"], "C3")

    def test_all_failed_is_200(self):
        answer = self.send("POST", [self.lead(1, LastName=None)] * 2)
        self.assertEqual(answer.status, 200)
        self.assertEqual([r["success"] for r in answer.json()],
                         [False, False])

    def test_all_or_none(self):
        before = self.org.soql("SELECT count() FROM Lead").json()["totalSize"]
        answer = self.send("POST", [self.lead(1), self.lead(2, Title="x" * 200)],
                           allOrNone=True)
        self.assertEqual(answer.status, 200)
        codes = [r["errors"][0]["statusCode"] for r in answer.json()]
        self.assertEqual(codes, ["ALL_OR_NONE_OPERATION_ROLLED_BACK",
                                 "STRING_TOO_LONG"])
        after = self.org.soql("SELECT count() FROM Lead").json()["totalSize"]
        self.assertEqual(before, after)

    def test_update_and_delete(self):
        made = [r["id"] for r in self.send(
            "POST", [self.lead(n) for n in range(3)]).json()]
        body = self.send("PATCH", [
            {"attributes": {"type": "Lead"}, "id": made[0], "Title": "T"},
            {"attributes": {"type": "Lead"}, "Id": made[1][:15],
             "Title": "U"},
            {"attributes": {"type": "Lead"}, "Id": made[2],
             "Email": "bad"}]).json()
        self.assertEqual([r["success"] for r in body], [True, True, False])
        self.assertEqual(body[1]["id"], made[1])
        self.assertEqual(body[2]["errors"][0]["statusCode"],
                         "INVALID_EMAIL_ADDRESS")
        answer = self.org.call("DELETE", "/composite/sobjects?ids=%s&"
                               "allOrNone=false" % ",".join(made))
        self.assertEqual([r["success"] for r in answer.json()], [True] * 3)
        answer = self.org.call("DELETE", "/composite/sobjects?ids=%s"
                               % ",".join(made))
        self.assertEqual(answer.json()[0]["errors"][0]["statusCode"],
                         "ENTITY_IS_DELETED")

    def test_upsert(self):
        records = [self.lead(n, Ext__c="col-%d" % n) for n in (1, 2)]
        body = self.send("PATCH", records, "/Lead/Ext__c").json()
        self.assertEqual([r["created"] for r in body], [True, True])
        body = self.send("PATCH", records, "/Lead/Ext__c").json()
        self.assertEqual([r["created"] for r in body], [False, False])
        body = self.send("PATCH", [records[0], records[0]],
                         "/Lead/Ext__c").json()
        self.assertTrue(any(r["errors"] and r["errors"][0]["statusCode"]
                            == "DUPLICATE_VALUE" for r in body), body)

    def test_upsert_by_id_field(self):
        body = self.send("PATCH", [self.lead(1, Id=None)], "/Lead/Id").json()
        self.assertIs(body[0]["created"], True)

    def test_retrieve(self):
        made = [r["id"] for r in self.send(
            "POST", [self.lead(n) for n in range(2)]).json()]
        answer = self.org.call("POST", "/composite/sobjects/Lead", {
            "ids": [made[1], made[0], ids.make("00Q", 10 ** 9)],
            "fields": ["Id", "LastName"]})
        body = answer.json()
        self.assertEqual([r and r["LastName"] for r in body],
                         ["C1", "C0", None])
        answer = self.org.get("/composite/sobjects/Lead?ids=%s&fields=Name"
                              % made[0])
        self.assertEqual(answer.json()[0]["Name"], "C0")

    def test_more_than_200(self):
        answer = self.send("POST", [self.lead(n) for n in range(201)])
        self.assertEqual(answer.status, 400, answer)

    def test_chunks(self):
        mixed = []
        for n in range(11):
            mixed.append(self.lead(n) if n % 2 else {
                "attributes": {"type": "Account"}, "Name": "A%d" % n})
        answer = self.send("POST", mixed)
        self.assertTrue(answer.status == 400 or not any(
            r["success"] for r in answer.json()), answer)
        answer = self.send("POST", sorted(
            mixed, key=lambda r: r["attributes"]["type"]))
        self.assertTrue(all(r["success"] for r in answer.json()))

    def test_no_conditions_inside(self):
        made = self.send("POST", [self.lead(1)]).json()[0]["id"]
        answer = self.org.call(
            "PATCH", "/composite/sobjects", {"records": [
                {"attributes": {"type": "Lead"}, "Id": made, "Title": "x"}]},
            headers={"If-Unmodified-Since": to_http(0)})
        self.assertTrue(answer.json()[0]["success"], answer)


class Composite(Case):
    def send(self, *requests, **more):
        answer = self.org.call("POST", "/composite", dict(
            more, compositeRequest=[
                dict(r, referenceId="r%d" % n)
                for n, r in enumerate(requests)]))
        self.assertEqual(answer.status, 200, answer)
        return answer.json()["compositeResponse"]

    @staticmethod
    def get(path, **headers):
        out = {"method": "GET", "url": "/services/data/v62.0" + path}
        if headers:
            out["httpHeaders"] = {k.replace("_", "-"): v
                                  for k, v in headers.items()}
        return out

    def test_queries_with_raw_spaces(self):
        one, two = self.send(
            self.get("/query?q=SELECT Id FROM Account LIMIT 1"),
            self.get("/query/?q=SELECT count() FROM Lead"))
        self.assertEqual(one["httpStatusCode"], 200)
        self.assertEqual(one["referenceId"], "r0")
        self.assertEqual(len(one["body"]["records"]), 1)
        self.assertEqual(two["body"]["records"], [])

    def test_error_inside(self):
        one = self.send(self.get("/sobjects/Foo"))[0]
        self.assertEqual(one["httpStatusCode"], 404)
        self.assertEqual(one["body"][0]["errorCode"], "NOT_FOUND")

    def test_not_modified_inside(self):
        since = self.org.get("/sobjects/Lead/describe").headers[
            "last-modified"]
        one = self.send(self.get("/sobjects/Lead/describe",
                                 If_Modified_Since=since))[0]
        self.assertEqual(one["httpStatusCode"], 304)
        self.assertIsNone(one["body"])
        self.assertIn("ETag", one["httpHeaders"])

    def test_reference_and_condition(self):
        made, read, patched = self.send(
            {"method": "POST", "url": "/services/data/v62.0/sobjects/Lead",
             "body": {"LastName": "Comp", "Company": "Osite"}},
            self.get("/sobjects/Lead/@{r0.id}?fields=LastName"),
            {"method": "PATCH",
             "url": "/services/data/v62.0/sobjects/Lead/@{r0.id}",
             "body": {"Title": "x"},
             "httpHeaders": {"If-Unmodified-Since": to_http(0)}})
        self.assertEqual(made["httpStatusCode"], 201)
        self.assertEqual(read["body"]["LastName"], "Comp")
        self.assertEqual(patched["httpStatusCode"], 412)

    def test_all_or_none(self):
        made, failed = self.send(
            {"method": "POST", "url": "/services/data/v62.0/sobjects/Lead",
             "body": {"LastName": "Gone", "Company": "Again"}},
            {"method": "POST", "url": "/services/data/v62.0/sobjects/Lead",
             "body": {}}, allOrNone=True)
        self.assertEqual(made["httpStatusCode"], 400)
        self.assertEqual(made["body"][0]["errorCode"], "PROCESSING_HALTED")
        self.assertEqual(failed["body"][0]["errorCode"],
                         "REQUIRED_FIELD_MISSING")
        self.assertEqual(self.org.records(
            "SELECT Id FROM Lead WHERE LastName = 'Gone'"), [])

    def test_counts_as_one_call(self):
        def used():
            limit = self.org.get("/limits").json()["DailyApiRequests"]
            return limit["Max"] - limit["Remaining"]
        before = used()
        self.send(*[self.get("/sobjects/Lead/updated?start=2020-01-01T00:00:"
                             "00Z&end=2020-01-02T00:00:00Z")] * 5)
        one = used() - before
        self.org.call("POST", "/composite/batch", {"batchRequests": [
            {"method": "GET", "url": "v62.0/limits"}] * 5})
        self.assertEqual(used() - before - one, one - 1 + 5)

    def test_too_many(self):
        answer = self.org.call("POST", "/composite", {"compositeRequest": [
            dict(self.get("/limits"), referenceId="r%d" % n)
            for n in range(26)]})
        self.assertEqual(answer.status, 400, answer)

    def test_updated_inside(self):
        now = self.org.clock()
        one = self.send(self.get("/sobjects/Lead/updated?start=%s&end=%s" % (
            to_stored(now - 600), to_stored(now))))[0]
        self.assertEqual(one["httpStatusCode"], 200, one)
        self.assertIn("latestDateCovered", one["body"])

    def test_batch(self):
        answer = self.org.call("POST", "/composite/batch", {
            "haltOnError": True, "batchRequests": [
                {"method": "GET", "url": "v62.0/limits"},
                {"method": "GET", "url": "v62.0/nope"},
                {"method": "GET", "url": "v62.0/limits"}]})
        body = answer.json()
        self.assertIs(body["hasErrors"], True)
        self.assertEqual([r["statusCode"] for r in body["results"]],
                         [200, 404, 412])
        self.assertEqual(body["results"][2]["result"][0]["errorCode"],
                         "BATCH_PROCESSING_HALTED")


if __name__ == "__main__":
    unittest.main()
