"""What happens to records: stamps, late commits, deletes, merge, rules."""

import http.client
import threading
import unittest
from urllib.parse import quote

from clock import parse_iso, to_stored
from running import Case

DAY = 86400


class Semantics(Case):
    OPTIONS = ("--leads", "60", "--events", "5")

    def stamp(self, obj, record_id, name="SystemModstamp"):
        found = self.org.records("SELECT %s FROM %s WHERE Id = '%s'" % (
            name, obj, record_id), "queryAll")
        return parse_iso(found[0][name])

    def one(self, obj, record_id, *fields, resource="queryAll"):
        found = self.org.records("SELECT Id%s FROM %s WHERE Id = '%s'" % (
            "".join(", " + f for f in fields), obj, record_id), resource)
        return found[0] if found else None

    def step(self, seconds):
        self.org.admin("POST", "/clock", {"step_seconds": seconds})

    def lead(self, **values):
        return self.org.make("Lead", **dict(
            {"LastName": "Sem", "Company": "Antics"}, **values))

    def done(self, answer):
        for result in answer["results"]:
            self.assertTrue(result["success"], result)
        return answer["results"]


class Stamps(Semantics):
    def test_whole_seconds_of_the_orgs_clock(self):
        self.org.admin("POST", "/clock", {"at": "2031-05-06T07:08:09Z"})
        try:
            self.org.admin("POST", "/clock", {"frozen": True})
            record = self.lead()
            self.assertEqual(to_stored(self.stamp("Lead", record)),
                             "2031-05-06T07:08:09.000Z")
            answer = self.org.soql("SELECT Id FROM Lead LIMIT 1")
            self.assertEqual(answer.headers["date"],
                             "Tue, 06 May 2031 07:08:09 GMT")
        finally:
            self.org.admin("POST", "/clock", {"frozen": False})
            self.org.admin("POST", "/clock", {"skew_seconds": 0})

    def test_update_of_nothing(self):
        record = self.lead()
        before = self.stamp("Lead", record)
        self.step(5)
        answer = self.org.call("PATCH", "/sobjects/Lead/" + record, {})
        self.assertIn(answer.status, (204, 400), answer)
        self.assertGreaterEqual(self.stamp("Lead", record), before)

    def test_formula_does_not_move_the_stamp(self):
        account = self.org.make("Account", Name="F", Rating="Cold")
        machine = self.org.make("Machine__c", Name="M", Account__c=account,
                                Price__c=2, Quantity__c=3)
        before = self.one("Machine__c", machine, "SystemModstamp",
                          "Account_Rating__c", "Total__c")
        self.assertEqual(before["Total__c"], 6.0)
        self.step(5)
        self.org.dml("update", "Account", {"Id": account, "Rating": "Hot"})
        after = self.one("Machine__c", machine, "SystemModstamp",
                         "Account_Rating__c")
        self.assertEqual(after["Account_Rating__c"], "Hot")
        self.assertEqual(after["SystemModstamp"], before["SystemModstamp"])

    def test_last_modified_by(self):
        record = self.lead()
        users = self.org.ports["users"]
        self.assertEqual(self.one("Lead", record, "LastModifiedById")[
            "LastModifiedById"], users["admin@example.com"]["id"])
        self.org.call("PATCH", "/sobjects/Lead/" + record, {"Title": "x"})
        found = self.one("Lead", record, "LastModifiedById", "CreatedById")
        self.assertEqual(found["LastModifiedById"],
                         users["sync@example.com"]["id"])
        self.assertEqual(found["CreatedById"],
                         users["admin@example.com"]["id"])


class LateCommits(Semantics):
    def test_stamped_when_done_and_seen_when_committed(self):
        tx = self.org.admin("POST", "/tx/begin")["tx"]
        answer = self.org.dml("insert", "Lead", {
            "LastName": "Late", "Company": "X"}, tx=tx)
        record = self.done(answer)[0]["id"]
        stamp = parse_iso(answer["stamp"])
        self.assertIsNone(self.one("Lead", record))
        self.step(120)
        between = self.lead()
        self.assertGreater(self.stamp("Lead", between), stamp)
        self.org.admin("POST", "/tx/commit", {"tx": tx})
        self.assertEqual(self.stamp("Lead", record), stamp)

    def test_change_held_back(self):
        record = self.lead(Title="before")
        tx = self.org.admin("POST", "/tx/begin")["tx"]
        self.done(self.org.dml("update", "Lead", {"Id": record,
                                                  "Title": "after"}, tx=tx))
        self.assertEqual(self.one("Lead", record, "Title")["Title"],
                         "before")
        answer = self.org.call("PATCH", "/sobjects/Lead/" + record,
                               {"City": "x"})
        self.error(answer, 400, "UNABLE_TO_LOCK_ROW",
                   "unable to obtain exclusive access to this record")
        self.org.admin("POST", "/tx/commit", {"tx": tx})
        self.assertEqual(self.one("Lead", record, "Title")["Title"], "after")

    def test_rollback(self):
        tx = self.org.admin("POST", "/tx/begin")["tx"]
        record = self.done(self.org.dml("insert", "Lead", {
            "LastName": "Never", "Company": "X"}, tx=tx))[0]["id"]
        self.org.admin("POST", "/tx/rollback", {"tx": tx})
        self.assertIsNone(self.one("Lead", record))


class Replication(Semantics):
    """getUpdated and getDeleted."""

    def window(self, what, start, end, obj="Lead", **options):
        return self.org.get("/sobjects/%s/%s/?start=%s&end=%s" % (
            obj, what, quote(to_stored(start), safe=""),
            quote(to_stored(end), safe="")), **options)

    def test_updated(self):
        record = self.lead()
        stamp = self.stamp("Lead", record)
        self.step(120)
        answer = self.window("updated", stamp - 60, stamp + 61)
        self.assertEqual(answer.status, 200, answer)
        body = answer.json()
        self.assertIn(record, body["ids"])
        self.assertRegex(body["latestDateCovered"],
                         r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000\+0000$")

    def test_offset_must_be_encoded(self):
        now = self.org.clock()
        good = "2015-08-18T00%3A00%3A00%2B00%3A00"
        bad = "2015-08-18T00:00:00+00:00"
        end = quote(to_stored(now))
        self.assertEqual(self.org.get(
            "/sobjects/Lead/updated?start=%s&end=%s" % (bad, end)).status,
            400)
        # Well formed, but more than thirty days ago.
        self.error(self.org.get("/sobjects/Lead/updated?start=%s&end=%s" % (
            good, end)), 400, "INVALID_REPLICATION_DATE")

    def test_windows(self):
        now = self.org.clock()
        for what, days in (("updated", 30), ("deleted", 15)):
            self.assertEqual(self.window(what, now - (days - 1) * DAY,
                                         now).status, 200)
            self.error(self.window(what, now - (days + 1) * DAY, now), 400,
                       "INVALID_REPLICATION_DATE")
            self.error(self.window(what, now, now - 600), 400,
                       "INVALID_REPLICATION_DATE")
            # Seconds are cut first: these two are the same minute.
            minute = now - now % 60 - 60
            self.error(self.window(what, minute + 1, minute + 59), 400,
                       "INVALID_REPLICATION_DATE")

    def test_seconds_are_cut(self):
        """12:30:15 to 12:35:15 is 12:30:00 to 12:35:00, both inclusive."""
        now = self.org.clock()
        minute = now - now % 60 - 1200
        tail = self.done(self.org.dml("insert", "Lead", {
            "LastName": "Tail", "Company": "X"},
            stamp=to_stored(minute + 10)))[0]["id"]
        body = self.window("updated", minute - 300 + 15, minute + 15).json()
        self.assertNotIn(tail, body["ids"])
        body = self.window("updated", minute - 300 + 15, minute + 75).json()
        self.assertIn(tail, body["ids"])
        head = self.done(self.org.dml("insert", "Lead", {
            "LastName": "Head", "Company": "X"},
            stamp=to_stored(minute - 300 + 5)))[0]["id"]
        body = self.window("updated", minute - 300 + 15, minute + 15).json()
        self.assertIn(head, body["ids"])

    def test_deleted(self):
        record = self.lead()
        self.step(60)
        self.org.call("DELETE", "/sobjects/Lead/" + record)
        when = self.stamp("Lead", record)
        body = self.window("deleted", when - 120, when + 120).json()
        entry = [r for r in body["deletedRecords"] if r["id"] == record]
        self.assertEqual(parse_iso(entry[0]["deletedDate"]), when)
        for key in ("earliestDateAvailable", "latestDateCovered"):
            self.assertIn(key, body)
        body = self.window("updated", when - 120, when + 120).json()
        self.assertNotIn(record, body["ids"])

    def test_undeleted_is_not_in_the_log(self):
        record = self.lead()
        self.org.dml("delete", "Lead", record)
        self.org.dml("undelete", "Lead", record)
        now = self.org.clock()
        body = self.window("deleted", now - 600, now + 120).json()
        self.assertNotIn(record, [r["id"] for r in body["deletedRecords"]])

    def test_purged_stays_in_the_log(self):
        record = self.lead()
        self.org.dml("delete", "Lead", record)
        self.done(self.org.dml("purge", "Lead", record))
        self.assertIsNone(self.one("Lead", record))
        now = self.org.clock()
        body = self.window("deleted", now - 600, now + 120).json()
        self.assertIn(record, [r["id"] for r in body["deletedRecords"]])

    def test_open_transaction_holds_the_cover_back(self):
        first = self.org.admin("POST", "/tx/begin")
        started = parse_iso(first["started"])
        second = self.org.admin("POST", "/tx/begin")
        self.step(600)
        now = self.org.clock()
        for what in ("updated", "deleted"):
            body = self.window(what, now - 1200, now).json()
            self.assertLessEqual(parse_iso(body["latestDateCovered"]),
                                 started)
        for held in (second, first):
            self.org.admin("POST", "/tx/rollback", {"tx": held["tx"]})
        body = self.window("updated", now - 1200, now).json()
        self.assertGreater(parse_iso(body["latestDateCovered"]), started)

    def test_not_replicateable(self):
        now = self.org.clock()
        answer = self.window("updated", now - 600, now, "TaskStatus")
        self.assertEqual(answer.status, 400, answer)
        self.assertIsInstance(answer.json(), list)


class Deletes(Semantics):
    def test_soft_delete_undelete(self):
        record = self.lead()
        created = self.stamp("Lead", record)
        self.step(10)
        self.done(self.org.dml("delete", "Lead", record))
        deleted = self.stamp("Lead", record)
        self.assertGreaterEqual(deleted - created, 10)
        self.assertIsNone(self.one("Lead", record, resource="query"))
        self.step(10)
        self.done(self.org.dml("undelete", "Lead", record))
        self.assertGreaterEqual(self.stamp("Lead", record) - deleted, 10)
        self.assertIs(self.one("Lead", record, "IsDeleted",
                               resource="query")["IsDeleted"], False)

    def test_cascade(self):
        account = self.org.make("Account", Name="Parent")
        contact = self.org.make("Contact", LastName="Child",
                                AccountId=account)
        task = self.org.make("Task", Subject="Call", WhoId=contact)
        child = self.org.make("Account", Name="Branch", ParentId=account)
        self.done(self.org.dml("delete", "Account", account))
        self.assertTrue(self.one("Contact", contact, "IsDeleted")[
            "IsDeleted"])
        self.assertTrue(self.one("Task", task, "IsDeleted")["IsDeleted"])
        # A plain lookup is set to null.
        found = self.one("Account", child, "IsDeleted", "ParentId")
        self.assertFalse(found["IsDeleted"])
        self.assertIsNone(found["ParentId"])
        self.done(self.org.dml("undelete", "Account", account))
        self.assertFalse(self.one("Contact", contact, "IsDeleted")[
            "IsDeleted"])

    def test_restricted(self):
        account = self.org.make("Account", Name="Busy")
        self.org.make("Case", Subject="open", AccountId=account)
        answer = self.org.call("DELETE", "/sobjects/Account/" + account)
        self.assertEqual(answer.status, 400, answer)
        self.assertFalse(self.one("Account", account, "IsDeleted")[
            "IsDeleted"])

    def test_undeletable_objects_vanish(self):
        campaign = self.org.make("Campaign", Name="C")
        lead = self.lead()
        member = self.org.make("CampaignMember", CampaignId=campaign,
                               LeadId=lead)
        self.assertEqual(self.org.call(
            "DELETE", "/sobjects/CampaignMember/" + member).status, 204)
        self.assertIsNone(self.one("CampaignMember", member))
        now = self.org.clock()
        body = self.org.get("/sobjects/CampaignMember/deleted?start=%s&end=%s"
                            % (to_stored(now - 300),
                               to_stored(now + 60))).json()
        self.assertIn(member, [r["id"] for r in body["deletedRecords"]])


class MergeAndConvert(Semantics):
    def test_merge(self):
        master, loser = (self.org.make("Contact", LastName=name)
                         for name in ("Master", "Loser"))
        task = self.org.make("Task", Subject="Call", WhoId=loser)
        self.done(self.org.dml("merge", "Contact", {
            "master": {"Id": master, "Title": "Merged"},
            "losers": [loser]}))
        found = self.one("Contact", loser, "IsDeleted", "MasterRecordId")
        self.assertTrue(found["IsDeleted"])
        self.assertEqual(found["MasterRecordId"], master)
        self.assertEqual(self.one("Contact", master, "Title")["Title"],
                         "Merged")
        self.assertEqual(self.one("Task", task, "WhoId")["WhoId"], master)

    def test_convert(self):
        campaign = self.org.make("Campaign", Name="For conversion")
        lead = self.lead(FirstName="Con", LastName="Vert", Company="NewCo",
                         City="Bonn")
        member = self.org.make("CampaignMember", CampaignId=campaign,
                               LeadId=lead)
        task = self.org.make("Task", Subject="Call", WhoId=lead)
        result = self.done(self.org.dml("convert", "Lead", {
            "leadId": lead, "convertedStatus": "Closed - Converted"}))[0]
        found = self.one("Lead", lead, "IsConverted", "ConvertedDate",
                         "ConvertedAccountId", "ConvertedContactId",
                         "ConvertedOpportunityId", "Status",
                         resource="query")
        self.assertTrue(found["IsConverted"])
        self.assertEqual(found["Status"], "Closed - Converted")
        self.assertRegex(found["ConvertedDate"], r"^\d{4}-\d\d-\d\d$")
        for name in ("Account", "Contact", "Opportunity"):
            self.assertEqual(found["Converted%sId" % name],
                             result[name.lower() + "Id"])
        contact = self.one("Contact", result["contactId"], "Name",
                           "Account.Name")
        self.assertEqual(contact["Name"], "Con Vert")
        self.assertEqual(contact["Account"]["Name"], "NewCo")
        self.assertEqual(self.one("CampaignMember", member, "ContactId",
                                  "LeadId")["ContactId"],
                         result["contactId"])
        self.assertEqual(self.one("Task", task, "WhoId")["WhoId"],
                         result["contactId"])
        self.error(self.org.call("PATCH", "/sobjects/Lead/" + lead,
                                 {"Title": "x"}), 400,
                   "CANNOT_UPDATE_CONVERTED_LEAD")


class Rules(Semantics):
    def user(self, name):
        return self.org.ports["users"][name + "@example.com"]["id"]

    def create(self, headers=None, **values):
        answer = self.org.call("POST", "/sobjects/Lead", dict(
            {"LastName": "Rule", "Company": "X"}, **values), headers=headers)
        self.assertEqual(answer.status, 201, answer)
        return answer.json()["id"]

    def owner(self, record):
        return self.one("Lead", record, "OwnerId")["OwnerId"]

    def test_assignment_rule(self):
        self.configure(assignment_owner="ben@example.com")
        self.assertEqual(self.owner(self.create()), self.user("ben"))
        self.assertEqual(self.owner(self.create(
            {"Sforce-Auto-Assign": "TRUE"})), self.user("ben"))
        self.assertEqual(self.owner(self.create(
            {"Sforce-Auto-Assign": "FALSE"})), self.user("sync"))
        record = self.create({"Sforce-Auto-Assign": "FALSE"})
        self.org.call("PATCH", "/sobjects/Lead/" + record, {"Title": "x"})
        self.assertEqual(self.owner(record), self.user("ben"))

    def test_assignment_rule_in_collections(self):
        self.configure(assignment_owner="ben@example.com")
        for value, owner in (("FALSE", "sync"), ("TRUE", "ben")):
            made = self.org.call("POST", "/composite/sobjects", {"records": [
                {"attributes": {"type": "Lead"}, "LastName": "A",
                 "Company": "B"}]}, headers={"Sforce-Auto-Assign": value})
            self.assertEqual(self.owner(made.json()[0]["id"]),
                             self.user(owner))

    def test_trigger(self):
        self.configure(trigger={"object": "Lead",
                                "on": ["insert", "update"],
                                "set": {"Title": "set for {LastName}"}})
        record = self.create(Title="mine")
        found = self.one("Lead", record, "Title", "SystemModstamp",
                         "LastModifiedDate")
        self.assertEqual(found["Title"], "set for Rule")

    def test_validation_rule(self):
        self.configure(validation={
            "object": "Lead", "where": "City = 'Nowhere'",
            "message": "No such city", "field": "City"})
        answer = self.org.call("POST", "/sobjects/Lead", {
            "LastName": "V", "Company": "X", "City": "nowhere"})
        error = self.error(answer, 400, "FIELD_CUSTOM_VALIDATION_EXCEPTION",
                           "No such city")
        self.assertEqual(error["fields"], ["City"])

    def test_duplicate_rule(self):
        self.create(Email="twice@example.com")
        self.configure(duplicate_rule={"object": "Lead", "field": "Email",
                                       "action": "alert"})
        values = {"LastName": "V", "Company": "X",
                  "Email": "TWICE@example.com"}
        self.error(self.org.call("POST", "/sobjects/Lead", values), 400,
                   "DUPLICATES_DETECTED", "You're creating a duplicate")
        allowed = {"Sforce-Duplicate-Rule-Header": "allowSave=true"}
        self.assertEqual(self.org.call("POST", "/sobjects/Lead", values,
                                       headers=allowed).status, 201)
        self.org.admin("POST", "/config", {"duplicate_rule": {
            "object": "Lead", "field": "Email", "action": "block"}})
        self.assertEqual(self.org.call("POST", "/sobjects/Lead", values,
                                       headers=allowed).status, 400)

    def test_read_only_field(self):
        grant = {"username": "ada@example.com", "object": "Lead",
                 "field": "Rating", "visible": True, "editable": False}
        self.org.admin("POST", "/fls", grant)
        answer = self.org.call("POST", "/sobjects/Lead", {
            "LastName": "V", "Company": "X", "Rating": "Hot"},
            user="ada@example.com")
        self.assertEqual(answer.status, 400, answer)
        self.assertEqual(self.org.soql("SELECT Rating FROM Lead LIMIT 1",
                                       user="ada@example.com").status, 200)


class Campaigns(Semantics):
    def test_statuses_come_with_the_campaign(self):
        campaign = self.org.make("Campaign", Name="New")
        found = self.org.records(
            "SELECT Label, IsDefault, HasResponded FROM CampaignMemberStatus "
            "WHERE CampaignId = '%s' ORDER BY SortOrder" % campaign)
        self.assertEqual([r["Label"] for r in found], ["Sent", "Responded"])
        self.assertEqual([r["IsDefault"] for r in found], [True, False])
        self.assertEqual([r["HasResponded"] for r in found], [False, True])

    def test_members(self):
        campaign = self.org.make("Campaign", Name="Mine")
        lead = self.lead(Email="mirror@example.com")
        body = {"CampaignId": campaign, "LeadId": lead}
        answer = self.org.call("POST", "/sobjects/CampaignMember", body)
        self.assertEqual(answer.status, 201, answer)
        member = answer.json()["id"]
        found = self.one("CampaignMember", member, "Status", "HasResponded",
                         "Email", "Type", "LeadOrContactId",
                         "CompanyOrAccount")
        self.assertEqual(found["Status"], "Sent")
        self.assertIs(found["HasResponded"], False)
        self.assertEqual(found["Email"], "mirror@example.com")
        self.assertEqual(found["Type"], "Lead")
        self.assertEqual(found["LeadOrContactId"], lead)
        self.assertEqual(found["CompanyOrAccount"], "Antics")
        self.error(self.org.call("POST", "/sobjects/CampaignMember", body),
                   400, "DUPLICATE_VALUE", "Already a campaign member.")
        path = "/sobjects/CampaignMember/" + member
        self.assertEqual(self.org.call("PATCH", path, {
            "Status": "Responded"}).status, 204)
        self.assertIs(self.one("CampaignMember", member, "HasResponded")[
            "HasResponded"], True)
        self.error(self.org.call("PATCH", path, {"LeadId": self.lead()}), 400,
                   "INVALID_FIELD_FOR_INSERT_UPDATE")
        self.assertEqual(self.one("Campaign", campaign, "NumberOfLeads")[
            "NumberOfLeads"], 1)


class Activities(Semantics):
    def test_lead_has_no_what(self):
        answer = self.org.call("POST", "/sobjects/Task", {
            "Subject": "Call", "WhoId": self.lead(),
            "WhatId": self.org.make("Account", Name="W")})
        self.assertEqual(answer.status, 400, answer)

    def test_task_is_closed(self):
        task = self.org.make("Task", Subject="Call", Status="Completed")
        found = self.one("Task", task, "IsClosed", "Priority")
        self.assertIs(found["IsClosed"], True)
        self.assertEqual(found["Priority"], "Normal")

    def test_event_needs_a_time(self):
        answer = self.org.call("POST", "/sobjects/Event", {"Subject": "M"})
        self.assertEqual(answer.status, 400, answer)
        answer = self.org.call("POST", "/sobjects/Event", {
            "Subject": "M", "ActivityDateTime": "2026-01-01T10:00:00.000Z",
            "DurationInMinutes": 30})
        self.assertEqual(answer.status, 201, answer)
        found = self.one("Event", answer.json()["id"], "StartDateTime",
                         "EndDateTime", "DurationInMinutes")
        self.assertEqual(found["EndDateTime"],
                         "2026-01-01T10:30:00.000+0000")
        self.assertEqual(found["StartDateTime"],
                         "2026-01-01T10:00:00.000+0000")


class Faults(Semantics):
    """Each fault that tests can inject really happens to the client."""

    def inject(self, action, **match):
        times = match.pop("times", 1)
        self.org.admin("POST", "/fault", {
            "match": match or {"path": "/query"}, "action": action,
            "times": times})
        self.addCleanup(self.org.admin, "DELETE", "/faults")

    def ask(self):
        return self.org.soql("SELECT Id, LastName FROM Lead")

    def test_status(self):
        for status, code in ((503, "SERVER_UNAVAILABLE"),
                             (500, "UNKNOWN_EXCEPTION"),
                             (403, "REQUEST_LIMIT_EXCEEDED"),
                             (401, "INVALID_SESSION_ID")):
            self.inject({"status": status})
            self.error(self.ask(), status, code)
            self.assertEqual(self.ask().status, 200)

    def test_html(self):
        self.inject({"status": 503, "html": True})
        answer = self.ask()
        self.assertEqual(answer.status, 503)
        self.assertIn("<html", answer.text.lower())

    def test_reset(self):
        for when in (True, "middle"):
            self.inject({"reset": when})
            with self.assertRaises((http.client.HTTPException, OSError)):
                self.ask()

    def test_truncate(self):
        self.inject({"truncate": {"bytes": 100}})
        with self.assertRaises((http.client.HTTPException, OSError)):
            self.ask()
        self.inject({"truncate": {"bytes": 100, "clean": True}})
        self.assertEqual(len(self.ask().body), 100)

    def test_applied_and_then_lost(self):
        self.inject({"apply_then": {"status": 500}}, method="POST",
                    path="/sobjects/Lead")
        answer = self.org.call("POST", "/sobjects/Lead", {
            "LastName": "Applied once", "Company": "X"})
        self.assertEqual(answer.status, 500)
        self.assertEqual(len(self.org.records(
            "SELECT Id FROM Lead WHERE LastName = 'Applied once'")), 1)

    def test_held_until_the_rule_is_deleted(self):
        self.inject({"hold": True})
        answers = []
        asking = threading.Thread(target=lambda: answers.append(self.ask()), daemon=True)
        asking.start()
        while not self.org.admin("GET", "/faults")["faults"][-1]["hits"]:
            pass
        self.assertEqual(answers, [])
        self.org.admin("DELETE", "/faults")
        asking.join(timeout=30)
        self.assertEqual([answer.status for answer in answers], [200])

    def test_bad_json(self):
        self.inject({"bad_json": True})
        answer = self.ask()
        self.assertEqual(answer.status, 200)
        with self.assertRaises(ValueError):
            answer.json()

    def test_nul_and_invalid_utf8(self):
        self.inject({"nul": True})
        self.assertIn("\\u0000", self.ask().text)
        self.inject({"invalid_utf8": True})
        with self.assertRaises(UnicodeDecodeError):
            self.ask().body.decode("utf-8")

    def test_next_url(self):
        self.inject({"next_url": "http://evil.example/x"})
        self.assertEqual(self.ask().json()["nextRecordsUrl"],
                         "http://evil.example/x")

    def test_huge(self):
        self.inject({"huge_json": 3000000})
        answer = self.ask()
        self.assertGreaterEqual(len(answer.body), 3000000)
        answer.json()

    def test_record_error(self):
        self.inject({"record_error": {
            "statusCode": "UNABLE_TO_LOCK_ROW", "message": "locked",
            "fields": []}}, method="POST")
        records = [{"attributes": {"type": "Lead"}, "LastName": "R%d" % n,
                    "Company": "X"} for n in range(3)]
        body = self.org.call("POST", "/composite/sobjects",
                             {"records": records}).json()
        self.assertEqual(sorted(r["success"] for r in body),
                         [False, True, True])

    def test_only_once_after_some(self):
        self.org.admin("POST", "/fault", {
            "match": {"path": "/query"}, "times": 1, "after": 2,
            "action": {"status": 503}})
        self.addCleanup(self.org.admin, "DELETE", "/faults")
        self.assertEqual([self.ask().status for _ in range(4)],
                         [200, 200, 503, 200])

    def test_calls_are_written_down(self):
        mark = self.org.admin("GET", "/calls?since=0")["next"]
        self.ask()
        calls = self.org.admin("GET", "/calls?since=%d" % mark)["calls"]
        self.assertEqual([c["kind"] for c in calls], ["query"])
        self.assertEqual(calls[0]["status"], 200)
        self.assertNotIn("authorization", {
            name.lower() for name in calls[0]["headers"]})


class ManyRows(Semantics):
    """The admin surface's changes of many rows at once."""

    def test_change(self):
        self.step(10)
        answer = self.org.admin("POST", "/change", {
            "object": "Lead", "where": "IsConverted = false",
            "set": {"Title": "Dr {Id}"}, "limit": 20})
        self.assertEqual(answer["changed"], 20)
        found = self.org.records("SELECT Id, Title, SystemModstamp FROM Lead "
                                 "WHERE Title LIKE 'Dr 00Q%'")
        self.assertEqual(len(found), 20)
        for record in found:
            self.assertEqual(record["Title"], "Dr " + record["Id"])
            self.assertEqual(parse_iso(record["SystemModstamp"]),
                             parse_iso(answer["stamp"]))

    def test_count(self):
        answer = self.org.admin("GET", "/count?object=Lead&where=" + quote(
            "Company = 'nobody has this'"))
        self.assertEqual(answer["count"], 0)


class Concurrency(Semantics):
    def test_reads_go_on_while_a_bulk_job_runs(self):
        answer = self.org.call("POST", "/jobs/query", {
            "operation": "query", "query": "SELECT Id FROM Lead"})
        self.assertEqual(answer.status, 200)
        self.assertEqual(self.org.soql("SELECT Id FROM Lead").status, 200)

    def test_many_at_once(self):
        statuses = []

        def ask(n):
            statuses.append(self.org.call("POST", "/sobjects/Lead", {
                "LastName": "T%d" % n, "Company": "Threads"}).status)
        self.org.login()
        threads = [threading.Thread(target=ask, args=(n,))
                   for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual(statuses, [201] * 16)
        self.assertEqual(len(self.org.records(
            "SELECT Id FROM Lead WHERE Company = 'Threads'")), 16)


if __name__ == "__main__":
    unittest.main()
