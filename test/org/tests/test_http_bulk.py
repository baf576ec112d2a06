"""Bulk API 2.0, both ways, by plain HTTP."""

import csv
import io
import time
import unittest

from running import Case

SECONDS = 30


def read_csv(text, delimiter=","):
    return list(csv.reader(io.StringIO(text, newline=""), strict=True,
                           delimiter=delimiter))


class Bulk(Case):
    def wait(self, path, *states, version="62.0"):
        """The job once it is in one of these states."""
        until = time.monotonic() + SECONDS
        while True:
            job = self.org.get(path, version=version).json()
            if job["state"] in states:
                return job
            self.assertLess(time.monotonic(), until, job)
            time.sleep(0.02)


class Query(Bulk):
    OPTIONS = ("--leads", "900")

    def create(self, query, version="62.0", **more):
        return self.org.call("POST", "/jobs/query", dict(
            {"operation": "query", "query": query}, **more), version=version)

    def job(self, query, **more):
        answer = self.create(query, **more)
        self.assertEqual(answer.status, 200, answer)
        path = "/jobs/query/" + answer.json()["id"]
        self.wait(path, "JobComplete")
        return path

    def pages(self, path, size):
        """All result pages, by their locators."""
        out, locator = [], None
        while locator != "null":
            answer = self.results(path, size, locator)
            out.append(answer)
            locator = answer.headers["sforce-locator"]
        return out

    def results(self, path, size=None, locator=None, **options):
        args = []
        if size:
            args.append("maxRecords=%d" % size)
        if locator:
            args.append("locator=" + locator)
        answer = self.org.get(path + "/results?" + "&".join(args), **options)
        self.assertEqual(answer.status, 200, answer)
        return answer

    def test_create(self):
        body = self.create("SELECT Id FROM Lead").json()
        self.assertTrue(body["id"].startswith("750"))
        for key, value in (("operation", "query"), ("object", "Lead"),
                           ("state", "UploadComplete"),
                           ("concurrencyMode", "Parallel"),
                           ("contentType", "CSV"), ("apiVersion", 62.0),
                           ("lineEnding", "LF"),
                           ("columnDelimiter", "COMMA")):
            self.assertEqual(body[key], value, key)
        self.assertRegex(body["createdDate"], r"\.000\+0000$")
        job = self.wait("/jobs/query/" + body["id"], "JobComplete")
        self.assertEqual(job["jobType"], "V2Query")
        self.assertEqual(job["numberRecordsProcessed"], 900)
        self.assertIn("retries", job)
        self.assertIn("totalProcessingTime", job)

    def test_pages(self):
        path = self.job("SELECT Id, LastName, Description FROM Lead")
        pages = self.pages(path, 400)
        counts = [int(p.headers["sforce-numberofrecords"]) for p in pages]
        self.assertEqual(counts, [400, 400, 100])
        self.assertEqual(pages[-1].headers["sforce-locator"], "null")
        self.assertTrue(pages[0].headers["content-type"].startswith(
            "text/csv"))
        rows = []
        for page, count in zip(pages, counts):
            found = read_csv(page.text)
            # Each page repeats the header row.
            self.assertEqual(found[0], ["Id", "LastName", "Description"])
            self.assertEqual(len(found) - 1, count)
            rows += found[1:]
        self.assertEqual(len({row[0] for row in rows}), 900)

    def test_locators_are_stable(self):
        path = self.job("SELECT Id, Name FROM Lead")
        pages = self.pages(path, 300)
        locators = [None] + [p.headers["sforce-locator"] for p in pages[:-1]]
        for n in (2, 0, 1, 2):
            again = self.results(path, 300, locators[n])
            self.assertEqual(again.text, pages[n].text)
        answer = self.org.get(path + "/results?locator=nonsense")
        self.assertEqual(answer.status, 400, answer)

    def test_same_rows_as_rest(self):
        text = ("SELECT Id, FirstName, Description, IsConverted, "
                "AnnualRevenue, NumberOfEmployees, SystemModstamp, "
                "ConvertedDate, Products__c, Owner.Name FROM Lead")
        header, *rows = read_csv(self.results(self.job(text)).text)
        self.assertEqual(header[-1], "Owner.Name")
        bulk = {row[0]: dict(zip(header, row)) for row in rows}
        for record in self.org.records(text + " LIMIT 200"):
            row = bulk[record["Id"]]
            owner = record["Owner"]
            self.assertEqual(row["Owner.Name"], owner["Name"])
            self.assertEqual(row["IsConverted"],
                             "true" if record["IsConverted"] else "false")
            self.assertEqual(row["SystemModstamp"].replace("Z", "+0000"),
                             record["SystemModstamp"])
            for name in ("FirstName", "Description", "ConvertedDate",
                         "Products__c"):
                self.assertEqual(row[name], record[name] or "", name)
            for name in ("AnnualRevenue", "NumberOfEmployees"):
                self.assertEqual(float(row[name]) if row[name] else None,
                                 record[name], name)

    def test_everything_is_quoted(self):
        text = self.results(self.job("SELECT Id, Title FROM Lead WHERE Title "
                                     "= null LIMIT 2")).text
        lines = text.split("\n")
        self.assertEqual(lines[0], '"Id","Title"')
        self.assertRegex(lines[1], r'^"00Q\w{15}",""$')
        self.assertFalse(text.startswith("\ufeff"))
        self.assertTrue(text.endswith('\n'))

    def test_delimiter_and_line_ending(self):
        for delimiter, char in (("TAB", "\t"), ("PIPE", "|"), ("CARET", "^"),
                                ("SEMICOLON", ";"), ("BACKQUOTE", "`")):
            text = self.results(self.job(
                "SELECT Id, Name FROM Account", columnDelimiter=delimiter,
                lineEnding="CRLF")).text
            self.assertTrue(text.startswith('"Id"%s"Name"\r\n' % char))
            self.assertEqual({len(r) for r in read_csv(text, char)}, {2})

    def test_gzip(self):
        path = self.job("SELECT Id, Name FROM Lead")
        plain = self.results(path)
        zipped = self.results(path, headers={"Accept-Encoding": "gzip"})
        self.assertEqual(zipped.headers["content-encoding"], "gzip")
        self.assertLess(len(zipped.raw), len(plain.raw))
        self.assertEqual(zipped.text, plain.text)

    def test_no_rows(self):
        path = self.job("SELECT Id FROM Lead WHERE Name = 'nobody at all'")
        answer = self.results(path)
        self.assertEqual(answer.headers["sforce-numberofrecords"], "0")
        self.assertEqual(answer.headers["sforce-locator"], "null")
        self.assertIn(answer.text, ('"Id"\n', ""))

    def test_other_api_version(self):
        answer = self.create("SELECT Id FROM Lead", version="60.0")
        path = "/jobs/query/" + answer.json()["id"]
        self.wait(path, "JobComplete", version="60.0")
        self.assertEqual(self.org.get(path + "/results",
                                      version="62.0").status, 409)
        self.assertEqual(self.org.get(path + "/results",
                                      version="60.0").status, 200)

    def test_query_all(self):
        every = self.create("SELECT Id, IsDeleted FROM Lead",
                            operation="queryAll")
        path = "/jobs/query/" + every.json()["id"]
        self.wait(path, "JobComplete")
        rows = read_csv(self.results(path).text)[1:]
        self.assertGreater(len(rows), 900)
        self.assertIn("true", {row[1] for row in rows})

    def test_result_pages(self):
        path = self.job("SELECT Id FROM Lead")
        body = self.org.get(path + "/resultPages").json()
        self.assertIs(body["done"], True)
        self.assertTrue(body["resultPages"])
        ids = []
        for page in body["resultPages"]:
            self.assertTrue(page["resultUrl"].startswith(
                "/services/data/v62.0" + path))
            ids += read_csv(self.org.get(page["resultUrl"]).text)[1:]
        self.assertEqual(len(ids), 900)

    def test_not_complete(self):
        self.configure(bulk_hold=True)
        path = "/jobs/query/" + self.create("SELECT Id FROM Lead").json()["id"]
        self.error(self.org.get(path + "/results"), 400, "INVALIDJOBSTATE")
        answer = self.org.call("PATCH", path, {"state": "Aborted"})
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.json()["state"], "Aborted")
        self.assertEqual(self.org.call("DELETE", path).status, 204)
        self.assertEqual(self.org.get(path).status, 404)

    def test_states_in_order(self):
        self.configure(bulk_hold=True)
        path = "/jobs/query/" + self.create("SELECT Id FROM Lead").json()["id"]
        self.assertIn(self.org.get(path).json()["state"],
                      ("UploadComplete", "InProgress"))
        self.org.admin("POST", "/jobs/release", {"id": path.split("/")[-1]})
        self.wait(path, "JobComplete")

    def test_list(self):
        path = self.job("SELECT Id FROM Lead LIMIT 1")
        body = self.org.get("/jobs/query?jobType=V2Query").json()
        self.assertIn(path.split("/")[-1], [j["id"] for j in body["records"]])
        self.assertIn("done", body)
        self.assertIn("nextRecordsUrl", body)

    def refused(self, query, code=None, part="", status=400):
        answer = self.create(query)
        self.assertEqual(answer.status, status, answer)
        error = answer.json()[0]
        if code:
            self.assertEqual(error["errorCode"], code)
        self.assertIn(part, error["message"])

    def test_refused(self):
        self.refused("SELECT Id FROM TaskStatus", "INVALIDENTITY",
                     "is not supported by the Bulk API")
        self.refused("SELECT Id FROM LeadStatus", "INVALIDENTITY")
        self.refused("SELECT Address FROM Lead", None,
                     "Selecting compound data not supported in Bulk Query")
        self.refused("SELECT Position__c FROM Machine__c")
        self.refused("SELECT Nope FROM Lead")
        self.refused("SELECT Id FROM")
        for text in ("SELECT count(Id) FROM Lead", "SELECT count() FROM Lead",
                     "SELECT Status, count(Id) FROM Lead GROUP BY Status",
                     "SELECT Id FROM Lead LIMIT 5 OFFSET 2",
                     "SELECT FIELDS(ALL) FROM Lead LIMIT 200",
                     "SELECT Id, (SELECT Id FROM Contacts) FROM Account",
                     "SELECT TYPEOF Who WHEN Lead THEN Company END FROM "
                     "Event"):
            self.refused(text)

    def test_hidden_field(self):
        self.org.admin("POST", "/fls", {
            "username": "sync@example.com", "object": "Lead",
            "field": "Rating", "visible": False})
        try:
            self.refused("SELECT Rating FROM Lead")
        finally:
            self.org.admin("POST", "/fls", {
                "username": "sync@example.com", "object": "Lead",
                "field": "Rating", "visible": True})

    def test_error_as_failed_job(self):
        self.configure(bulk_error_at="job")
        path = "/jobs/query/" + self.create("SELECT Nope FROM Lead").json()[
            "id"]
        job = self.wait(path, "Failed")
        self.assertIn("Nope", job["errorMessage"])

    def test_a_result_is_a_snapshot(self):
        path = self.job("SELECT Id, Title FROM Lead ORDER BY Id LIMIT 1")
        before = self.results(path).text
        record = read_csv(before)[1][0]
        self.org.dml("update", "Lead", {"Id": record, "Title": "Other now"})
        self.assertEqual(self.results(path).text, before)

    def test_object_without_stamp(self):
        self.job("SELECT Id, NewValue FROM LeadHistory")


class Ingest(Bulk):
    def create(self, operation="insert", obj="Lead", **more):
        answer = self.org.call("POST", "/jobs/ingest", dict(
            {"object": obj, "operation": operation, "contentType": "CSV"},
            **more))
        self.assertEqual(answer.status, 200, answer)
        return answer.json()

    def run_job(self, text, operation="insert", obj="Lead", **more):
        job = self.create(operation, obj, **more)
        answer = self.org.call("PUT", "/" + job["contentUrl"],
                               body=text.encode(),
                               headers={"Content-Type": "text/csv"})
        self.assertEqual(answer.status, 201, answer)
        self.assertEqual(answer.body, b"")
        path = "/jobs/ingest/" + job["id"]
        answer = self.org.call("PATCH", path, {"state": "UploadComplete"})
        self.assertEqual(answer.status, 200, answer)
        return path, self.wait(path, "JobComplete", "Failed")

    def results(self, path, kind):
        answer = self.org.get("%s/%s" % (path, kind))
        self.assertEqual(answer.status, 200, answer)
        rows = read_csv(answer.text)
        return [dict(zip(rows[0], row)) for row in rows[1:]]

    def test_create(self):
        job = self.create("upsert", externalIdFieldName="Ext__c")
        self.assertEqual(job["state"], "Open")
        self.assertEqual(job["contentUrl"],
                         "services/data/v62.0/jobs/ingest/%s/batches"
                         % job["id"])
        self.assertEqual(job["externalIdFieldName"], "Ext__c")
        self.assertEqual(job["lineEnding"], "LF")

    def test_insert_with_failures(self):
        lines = ["LastName,Company,Ext__c"] + [
            "%s,Acme,bulk-%d" % ("" if n % 4 == 0 else "L%d" % n, n)
            for n in range(40)]
        path, job = self.run_job("\n".join(lines) + "\n")
        self.assertEqual(job["state"], "JobComplete", job)
        self.assertEqual(job["numberRecordsProcessed"], 40)
        self.assertEqual(job["numberRecordsFailed"], 10)
        self.assertEqual(job["jobType"], "V2Ingest")
        good = self.results(path, "successfulResults")
        bad = self.results(path, "failedResults")
        self.assertEqual((len(good), len(bad)), (30, 10))
        self.assertTrue(all(r["sf__Created"] == "true" for r in good))
        self.assertTrue(all(r["sf__Id"].startswith("00Q") for r in good))
        self.assertTrue(all(r["sf__Error"].startswith(
            "REQUIRED_FIELD_MISSING:") and r["sf__Error"].endswith("--")
            for r in bad), bad)
        self.assertTrue(all(r["sf__Id"] == "" for r in bad))
        self.assertEqual(self.results(path, "unprocessedrecords"), [])
        keys = [r["Ext__c"] for r in good]
        self.assertNotEqual(keys, sorted(keys, key=lambda k: int(k[5:])),
                            "results are not in input order")

    def test_update_null_and_empty(self):
        record = self.org.make("Lead", LastName="Up", Company="X",
                               Title="Boss", City="Bonn")
        path, job = self.run_job(
            "Id,Title,City\n%s,#N/A,\n" % record, "update")
        self.assertEqual(job["numberRecordsFailed"], 0,
                         self.results(path, "failedResults"))
        found = self.org.records("SELECT Title, City FROM Lead WHERE Id = "
                                 "'%s'" % record)[0]
        self.assertIsNone(found["Title"])
        self.assertEqual(found["City"], "Bonn")

    def test_quoting(self):
        path, job = self.run_job('"LastName","Company","Description"\n'
                                 '"Quo""te","A, B","one\ntwo"\n')
        self.assertEqual(job["numberRecordsFailed"], 0, job)
        found = self.org.records("SELECT Company, Description FROM Lead "
                                 "WHERE LastName = 'Quo\"te'")[0]
        self.assertEqual(found["Company"], "A, B")
        self.assertEqual(found["Description"], "one\ntwo")

    def test_line_ending(self):
        _, job = self.run_job("LastName,Company\r\nA,B\r\n")
        self.assertEqual(job["state"], "Failed")
        self.assertEqual(job["errorMessage"], "ClientInputError : LineEnding "
                         "is invalid on user data. Current LineEnding "
                         "setting is LF")
        _, job = self.run_job("LastName,Company\r\nA,B\r\n",
                              lineEnding="CRLF")
        self.assertEqual(job["state"], "JobComplete", job)
        _, job = self.run_job("LastName,Company\nA,B\n", lineEnding="CRLF")
        self.assertEqual(job["state"], "Failed")

    def test_unknown_column(self):
        _, job = self.run_job("LastName,Company,Nope__c\nA,B,C\n")
        self.assertEqual(job["state"], "Failed")
        self.assertIn("Field name not found : Nope__c", job["errorMessage"])

    def test_upsert_and_lookup_by_external_id(self):
        text = "Ext__c,LastName,Account.Ext__c\nuc-1,Up,acc-x\nuc-2,Up,nope\n"
        self.org.make("Account", Name="By key", Ext__c="acc-x")
        path, job = self.run_job(text, "upsert", "Contact",
                                 externalIdFieldName="Ext__c")
        self.assertEqual(job["numberRecordsFailed"], 1, job)
        found = self.org.records("SELECT Account.Name FROM Contact WHERE "
                                 "Ext__c = 'uc-1'")[0]
        self.assertEqual(found["Account"]["Name"], "By key")
        path, job = self.run_job("Ext__c,LastName\nUC-1,Again\n", "upsert",
                                 "Contact", externalIdFieldName="Ext__c")
        self.assertEqual(self.results(path, "successfulResults")[0][
            "sf__Created"], "false")

    def test_delete(self):
        record = self.org.make("Lead", LastName="Del", Company="X")
        path, job = self.run_job("Id\n%s\n00Q000000000000AAA\n" % record,
                                 "delete")
        self.assertEqual(job["numberRecordsFailed"], 1)
        bad = self.results(path, "failedResults")[0]
        self.assertEqual(bad["sf__Id"], "00Q000000000000AAA")
        found = self.org.records("SELECT IsDeleted FROM Lead WHERE Id = '%s'"
                                 % record, "queryAll")
        self.assertIs(found[0]["IsDeleted"], True)

    def test_locked_row(self):
        record = self.org.make("Lead", LastName="Lock", Company="X")
        tx = self.org.admin("POST", "/tx/begin")["tx"]
        self.org.dml("update", "Lead", {"Id": record, "Title": "T"}, tx=tx)
        path, job = self.run_job("Id,Title\n%s,U\n" % record, "update")
        bad = self.results(path, "failedResults")[0]
        self.assertTrue(bad["sf__Error"].startswith("UNABLE_TO_LOCK_ROW:"))
        self.org.admin("POST", "/tx/rollback", {"tx": tx})

    def test_one_upload_per_job(self):
        job = self.create()
        for status in (201, 400):
            answer = self.org.call("PUT", "/" + job["contentUrl"],
                                   body=b"LastName,Company\nA,B\n",
                                   headers={"Content-Type": "text/csv"})
            self.assertEqual(answer.status, status, answer)

    def test_abort_and_delete(self):
        path = "/jobs/ingest/" + self.create()["id"]
        self.error(self.org.call("DELETE", path), 400, "INVALIDJOBSTATE")
        answer = self.org.call("PATCH", path, {"state": "Aborted"})
        self.assertEqual(answer.json()["state"], "Aborted")
        self.assertEqual(self.org.call("DELETE", path).status, 204)
        self.assertEqual(self.org.get(path).status, 404)

    def test_no_assignment_rule(self):
        self.configure(assignment_owner="ben@example.com")
        self.run_job("LastName,Company\nUnassigned,B\n")
        found = self.org.records("SELECT OwnerId FROM Lead WHERE LastName = "
                                 "'Unassigned'")[0]
        self.assertEqual(found["OwnerId"], self.org.ports["users"][
            "sync@example.com"]["id"])


if __name__ == "__main__":
    unittest.main()
