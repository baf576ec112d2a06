"""Describe, query and paging by plain HTTP."""

import unittest
from urllib.parse import quote

from running import Case, fetch


class Describe(Case):
    def test_global(self):
        answer = self.org.get("/sobjects")
        body = answer.json()
        self.assertEqual(body["maxBatchSize"], 200)
        self.assertEqual(body["encoding"], "UTF-8")
        lead = [o for o in body["sobjects"] if o["name"] == "Lead"][0]
        self.assertEqual(lead["keyPrefix"], "00Q")
        self.assertEqual(lead["urls"]["describe"],
                         "/services/data/v62.0/sobjects/Lead/describe")
        self.assertTrue(lead["replicateable"])

    def test_names_in_any_case(self):
        body = self.org.get("/sobjects/lEaD/describe").json()
        self.assertEqual(body["name"], "Lead")

    def test_not_modified(self):
        for path in ("/sobjects", "/sobjects/Lead/describe"):
            first = self.org.get(path)
            self.assertIn("etag", first.headers)
            answer = self.org.get(path, headers={
                "If-Modified-Since": first.headers["last-modified"]})
            self.assertEqual(answer.status, 304, answer)
            self.assertEqual(answer.body, b"")
            answer = self.org.get(path, headers={
                "If-Modified-Since": "Wed, 3 Jul 2013 19:43:31 GMT"})
            self.assertEqual(answer.status, 200)

    def test_change_of_schema_shows(self):
        since = self.org.get("/sobjects/Case/describe").headers[
            "last-modified"]
        self.org.admin("POST", "/schema", {"add_field": {
            "object": "Case", "name": "Fresh__c", "type": "string",
            "length": 20, "nillable": True, "createable": True,
            "updateable": True}})
        answer = self.org.get("/sobjects/Case/describe",
                              headers={"If-Modified-Since": since})
        self.assertEqual(answer.status, 200)
        names = [f["name"] for f in answer.json()["fields"]]
        self.assertIn("Fresh__c", names)
        self.assertEqual(self.org.soql("SELECT Fresh__c FROM Case").status,
                         200)
        self.org.admin("POST", "/schema", {"remove_field": {
            "object": "Case", "name": "Fresh__c"}})
        self.error(self.org.soql("SELECT Fresh__c FROM Case"), 400,
                   "INVALID_FIELD")

    def test_hidden_from_the_user(self):
        for data in ({"field": "Rating"}, {}):
            data = dict(data, username="ben@example.com", object="Lead",
                        visible=False)
            self.org.admin("POST", "/fls", data)
            self.addCleanup(self.org.admin, "POST", "/fls",
                            dict(data, visible=True))
            if "field" in data:
                body = self.org.get("/sobjects/Lead/describe",
                                    user="ben@example.com").json()
                self.assertNotIn("Rating", [f["name"]
                                            for f in body["fields"]])
                self.error(self.org.soql("SELECT Rating FROM Lead",
                                         user="ben@example.com"), 400,
                           "INVALID_FIELD")
        self.assertEqual(self.org.get("/sobjects/Lead/describe",
                                      user="ben@example.com").status, 404)
        self.error(self.org.soql("SELECT Id FROM Lead",
                                 user="ben@example.com"), 400, "INVALID_TYPE")
        self.assertEqual(self.org.soql("SELECT Rating FROM Lead").status, 200)

    def test_unknown_object(self):
        self.error(self.org.get("/sobjects/Nope/describe"), 404, "NOT_FOUND",
                   "The requested resource does not exist")

    def test_unknown_path(self):
        answer = self.org.get("/nope")
        self.error(answer, 404, "NOT_FOUND",
                   "The requested resource does not exist")
        self.assertIn("sforce-limit-info", answer.headers)


class Query(Case):
    OPTIONS = ("--leads", "700")

    def test_page_of_everything(self):
        answer = self.org.soql("SELECT Id, Title FROM Lead")
        body = answer.json()
        self.assertEqual(body["totalSize"], 700)
        self.assertIs(body["done"], True)
        self.assertNotIn("nextRecordsUrl", body)
        self.assertEqual(len(body["records"]), 700)
        self.assertTrue(all("Title" in r for r in body["records"]))
        self.assertTrue(any(r["Title"] is None for r in body["records"]))
        self.assertRegex(answer.headers["sforce-limit-info"],
                         r"^api-usage=\d+/\d+$")
        self.assertEqual(answer.headers["transfer-encoding"], "chunked")
        self.assertNotIn("content-length", answer.headers)

    def test_pages(self):
        answer = self.org.soql(
            "SELECT Id FROM Lead ORDER BY Id",
            headers={"Sforce-Query-Options": "batchSize=200"})
        body = answer.json()
        seen = [r["Id"] for r in body["records"]]
        self.assertEqual(len(seen), 200)
        while not body["done"]:
            url = body["nextRecordsUrl"]
            self.assertTrue(url.startswith("/services/data/v62.0/query/01g"))
            body = self.org.get(url).json()
            self.assertEqual(body["totalSize"], 700)
            again = self.org.get(url).json()    # not for one use only
            self.assertEqual(again, body)
            seen += [r["Id"] for r in body["records"]]
        self.assertEqual(len(seen), 700)
        self.assertEqual(seen, sorted(seen))
        self.assertEqual(len(set(seen)), 700)

    def test_pages_of_children(self):
        account = self.org.make("Account", Name="Of many")
        made = self.org.dml("insert", "Contact", *[
            {"LastName": "N%d" % n, "AccountId": account}
            for n in range(450)])["results"]
        contacts = self.org.soql(
            "SELECT Id, (SELECT Id, Account.Name FROM Contacts ORDER BY Id) "
            "FROM Account WHERE Id = '%s'" % account,
            headers={"Sforce-Query-Options": "batchSize=200"}
        ).json()["records"][0]["Contacts"]
        self.assertEqual(contacts["totalSize"], 450)
        seen = [r["Id"] for r in contacts["records"]]
        while not contacts["done"]:
            contacts = self.org.get(contacts["nextRecordsUrl"]).json()
            self.assertEqual(contacts["records"][0]["Account"]["Name"],
                             "Of many")
            seen += [r["Id"] for r in contacts["records"]]
        self.assertEqual(seen, sorted(r["id"] for r in made))

    def test_batch_size_is_bounded(self):
        for size, rows in ((1, 200), (250, 250)):
            body = self.org.soql("SELECT Id FROM Lead", headers={
                "Sforce-Query-Options": "batchSize=%d" % size}).json()
            self.assertEqual(len(body["records"]), rows)

    def test_snapshot_of_ids(self):
        body = self.org.soql(
            "SELECT Id, Title FROM Lead ORDER BY Id",
            headers={"Sforce-Query-Options": "batchSize=200"}).json()
        first = body["records"][0]["Id"]
        late = self.org.make("Lead", LastName="Late", Company="X")
        self.org.dml("update", "Lead", {"Id": self.org.records(
            "SELECT Id FROM Lead ORDER BY Id LIMIT 1 OFFSET 300")[0]["Id"],
            "Title": "Changed meanwhile"})
        records = []
        while not body["done"]:
            body = self.org.get(body["nextRecordsUrl"]).json()
            records += body["records"]
        self.assertNotIn(late, [r["Id"] for r in records])
        self.assertIn("Changed meanwhile", [r["Title"] for r in records])
        self.assertNotIn(first, [r["Id"] for r in records])
        self.org.dml("purge", "Lead", late)
        self.org.dml("delete", "Lead", late)

    def test_bad_locators(self):
        for name in ("01gxx0000000000AAA-200", "nonsense"):
            self.error(self.org.get("/query/" + name), 400,
                       "INVALID_QUERY_LOCATOR")
        body = self.org.soql(
            "SELECT Id FROM Lead",
            headers={"Sforce-Query-Options": "batchSize=200"}).json()
        self.org.admin("POST", "/cursors/expire")
        self.error(self.org.get(body["nextRecordsUrl"]), 400,
                   "INVALID_QUERY_LOCATOR")

    def test_query_all(self):
        live = self.org.soql("SELECT count() FROM Lead").json()
        self.assertEqual(live["records"], [])
        everything = self.org.soql("SELECT count() FROM Lead",
                                   "queryAll").json()
        self.assertGreater(everything["totalSize"], live["totalSize"])
        self.assertEqual(self.org.records(
            "SELECT Id FROM Lead WHERE IsDeleted = true"), [])
        self.assertTrue(self.org.records(
            "SELECT Id FROM Lead WHERE IsDeleted = true", "queryAll"))

    def test_counts(self):
        body = self.org.soql("SELECT count() FROM Account").json()
        self.assertEqual(set(body), {"totalSize", "done", "records"})
        self.assertGreater(body["totalSize"], 0)
        body = self.org.soql("SELECT count(Id) FROM Account").json()
        self.assertEqual(body["totalSize"], 1)
        self.assertEqual(body["records"][0]["attributes"],
                         {"type": "AggregateResult"})
        self.assertEqual(type(body["records"][0]["expr0"]), int)

    def test_datetime_as_the_rest_api_writes_it(self):
        stamp = self.org.records("SELECT SystemModstamp FROM Lead LIMIT 1")[
            0]["SystemModstamp"]
        self.assertRegex(stamp, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000\+0000$")

    def test_plus_is_a_space(self):
        text = ("SELECT Id FROM Lead WHERE SystemModstamp >= "
                "2020-01-01T00:00:00+00:00 LIMIT 1").replace(" ", "%20")
        self.error(self.org.get("/query?q=" + text), 400, "MALFORMED_QUERY")
        self.assertEqual(self.org.get(
            "/query?q=" + text.replace("+", "%2B")).status, 200)

    def test_query_with_a_slash(self):
        self.assertEqual(self.org.get("/query/?q=" + quote(
            "SELECT Id FROM Lead LIMIT 1")).status, 200)

    def test_floats_and_ints(self):
        text = self.org.soql("SELECT NumberOfEmployees, AnnualRevenue FROM "
                             "Lead WHERE NumberOfEmployees != null AND "
                             "AnnualRevenue != null LIMIT 1").text
        self.assertRegex(text, r'"NumberOfEmployees":\d+[,}]')
        self.assertRegex(text, r'"AnnualRevenue":[\d.]+(E\d+)?[,}]')
        self.assertIn(".", text.split('"AnnualRevenue":')[1].split("}")[0])

    def test_pretty(self):
        plain = self.org.soql("SELECT Id FROM Lead LIMIT 1").text
        pretty = self.org.soql("SELECT Id FROM Lead LIMIT 1",
                               headers={"X-PrettyPrint": "1"}).text
        self.assertNotIn("\n", plain)
        self.assertIn("\n", pretty)

    def test_gzip_only_when_asked(self):
        answer = self.org.soql("SELECT Id FROM Lead")
        self.assertNotIn("content-encoding", answer.headers)
        zipped = self.org.soql("SELECT Id FROM Lead",
                               headers={"Accept-Encoding": "gzip"})
        self.assertEqual(zipped.headers["content-encoding"], "gzip")
        self.assertEqual(zipped.body, answer.body)

    def test_too_long(self):
        self.assertEqual(self.org.get("/query?q=" + "x" * 17000).status, 414)
        answer = self.org.get("/query?q=" + "x" * 9000,
                              headers={"X-Padding": "y" * 9000})
        self.assertEqual(answer.status, 431)

    def test_no_query(self):
        self.assertEqual(self.org.get("/query").status, 400)

    def test_malformed(self):
        self.error(self.org.soql("SELECT Id FROM Lead WHERE"), 400,
                   "MALFORMED_QUERY", "unexpected token")

    def test_limits(self):
        body = self.org.get("/limits").json()
        before = body["DailyApiRequests"]["Remaining"]
        self.org.soql("SELECT Id FROM Lead LIMIT 1")
        after = self.org.get("/limits").json()["DailyApiRequests"]["Remaining"]
        self.assertGreater(before, after)
        body = self.org.get("/limits/recordCount?sObjects=Account,Lead").json()
        self.assertEqual({o["name"] for o in body["sObjects"]},
                         {"Account", "Lead"})

    def test_daily_allowance(self):
        self.org.admin("POST", "/limits", {"max": 1000, "used": 1000})
        try:
            self.error(self.org.get("/sobjects"), 403,
                       "REQUEST_LIMIT_EXCEEDED",
                       "TotalRequests Limit exceeded.")
        finally:
            self.org.admin("POST", "/limits", {"max": 100000, "used": 0})

    def test_app_usage(self):
        self.org.admin("POST", "/limits",
                       {"app_usage": "17/250(appName=sample)"})
        try:
            info = self.org.get("/limits").headers["sforce-limit-info"]
            self.assertRegex(info, r"^api-usage=\d+/\d+; per-app-api-usage="
                             r"17/250\(appName=sample\)$")
        finally:
            self.org.admin("POST", "/limits", {"app_usage": None})

    def test_not_there_without_login(self):
        self.error(fetch(self.org.ports["instance"]
                         + "/services/data/v62.0/query?q=x"), 401,
                   "INVALID_SESSION_ID")


if __name__ == "__main__":
    unittest.main()
