"""SOQL: what is accepted, what it finds, and what is said of the rest."""

import json
import unittest

import ids
import soql
import soql_dates
import soql_parse
from soql_parse import SoqlError, parse
from support import NOW, Tables, Viewer

ADA, QUEUE = ids.make("005", 1), ids.make("00G", 1)
ACME, OTHER = ids.make("001", 1), ids.make("001", 2)
STAMP = "2026-02-%02dT10:00:00.000Z"


def lead(n):
    return ids.make("00Q", n)


def org():
    """A handful of rows by hand."""
    tables = Tables()
    add = tables.add
    add("User", Id=ADA, FirstName="Ada", LastName="Diaz", Username="a@b.c",
        IsActive=1)
    add("Group", Id=QUEUE, Name="Queue")
    add("Account", Id=ACME, Name="Acme", OwnerId=ADA, Rating="Hot")
    add("Account", Id=OTHER, Name="Other", OwnerId=ADA)
    for n, (name, company, owner) in enumerate((
            ("Müller", "Acme", ADA), ("O'Neil", "acme", ADA),
            ("Diaz", "100% Wool", QUEUE), ("Smith", "A_B\\C", ADA),
            ("smith", None, None)), 1):
        add("Lead", Id=lead(n), LastName=name, Company=company,
            OwnerId=owner, Title=("CEO", None)[n % 2],
            SystemModstamp=STAMP % (n // 2 + 1),
            CreatedDate=STAMP % n, NumberOfEmployees=n * 10,
            Products__c=("Pumps;Valves", "Pumps", None)[n % 3],
            ConvertedDate="2026-02-28" if n == 3 else None,
            Ext__c="L-%d" % n, IsDeleted=int(n == 5))
    for n, account in enumerate((ACME, ACME, OTHER), 1):
        add("Contact", Id=ids.make("003", n), LastName="C%d" % n,
            AccountId=account, OwnerId=ADA)
    add("Event", Id=ids.make("00U", 1), Subject="Meet",
        WhoId=ids.make("003", 1), WhatId=ACME, OwnerId=ADA)
    add("Event", Id=ids.make("00U", 2), Subject="Call", WhoId=lead(1),
        OwnerId=ADA)
    add("Event", Id=ids.make("00U", 3), Subject="Old", OwnerId=ADA,
        IsArchived=1)
    add("Machine__c", Id=ids.make("a0M", 1), Name="Pump", Account__c=ACME,
        Price__c=2.5, Quantity__c=4.0, Installed_On__c="2026-02-27",
        Order__c=3.0, Group__c="g", Position__Latitude__s=1.5,
        Position__Longitude__s=-2.5, Service_Time__c="08:00:00.000Z")
    return tables


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.org = org()

    def names(self, where, obj="Lead", field="LastName", **options):
        rows = self.org.rows("SELECT %s FROM %s WHERE %s ORDER BY Id"
                             % (field, obj, where), **options)
        return [row[0] for row in rows]

    def refused(self, text, code, part="", **options):
        with self.assertRaises(SoqlError) as caught:
            self.org.rows(text, **options)
        self.assertEqual(caught.exception.code, code,
                         caught.exception.message)
        self.assertIn(part, caught.exception.message)
        return caught.exception.message


class Conditions(Case):
    def test_text_ignores_case(self):
        self.assertEqual(self.names("Company = 'ACME'"), ["Müller", "O'Neil"])
        self.assertEqual(self.names("LastName = 'MÜLLER'"), ["Müller"])
        self.assertEqual(self.names("LastName IN ('mÜLLER', 'DIAZ')"),
                         ["Müller", "Diaz"])

    def test_like(self):
        self.assertEqual(self.names("LastName LIKE 'M%'"), ["Müller"])
        self.assertEqual(self.names("LastName LIKE '%ÜLL%'"), ["Müller"])
        self.assertEqual(self.names("LastName LIKE 'd_az'"), ["Diaz"])
        self.assertEqual(self.names("Company LIKE '100\\%%'"), ["Diaz"])
        self.assertEqual(self.names("Company LIKE 'A\\_B%'"), ["Smith"])
        self.assertEqual(self.names("Company LIKE 'AxB%'"), [])
        self.assertEqual(self.names("Company LIKE '%\\\\C'"), ["Smith"])

    def test_escapes(self):
        self.assertEqual(self.names("LastName = 'O\\'Neil'"), ["O'Neil"])
        self.assertEqual(self.names("LastName = 'M\\u00fcller'"), ["Müller"])
        self.assertEqual(self.names("Company = 'A_B\\\\C'"), ["Smith"])
        self.assertEqual(parse("SELECT Id FROM A WHERE b = '\\n\\t\\\"\\r'")
                         .where.value.value, "\n\t\"\r")
        self.assertEqual(parse("SELECT Id FROM A WHERE b='\\uD83D\\uDE00'")
                         .where.value.value, "\U0001F600")

    def test_lone_backslash(self):
        for text in ("\\d", "\\_", "\\%", "\\x41", "\\u00g0"):
            self.refused("SELECT Id FROM Lead WHERE LastName = '%s'" % text,
                         "MALFORMED_QUERY")

    def test_null(self):
        self.assertEqual(self.names("Title = null"),
                         ["Müller", "Diaz"])
        self.assertEqual(self.names("Title != NULL"), ["O'Neil", "Smith"])
        self.assertEqual(self.names("Title = ''"), ["Müller", "Diaz"])
        self.assertEqual(self.names("Title != 'CEO'"), ["Müller", "Diaz"])
        self.assertEqual(self.names("Title NOT IN ('CEO')"),
                         ["Müller", "Diaz"])
        self.assertEqual(self.names("Title IN ('CEO', null)"),
                         ["Müller", "O'Neil", "Diaz", "Smith"])

    def test_not(self):
        self.assertEqual(self.names("NOT Title = 'CEO'"), ["Müller", "Diaz"])
        self.assertEqual(
            self.names("(NOT LastName LIKE 'M%') AND Title = null"),
            ["Diaz"])

    def test_and_or_do_not_mix(self):
        self.refused("SELECT Id FROM Lead WHERE Title = 'a' AND Title = 'b' "
                     "OR Title = 'c'", "MALFORMED_QUERY",
                     "unexpected token: 'OR'")
        self.refused("SELECT Id FROM Lead WHERE Title = 'a' AND NOT Title = "
                     "'b'", "MALFORMED_QUERY", "unexpected token: 'NOT'")
        self.assertEqual(self.names(
            "LastName = 'Diaz' OR (Title = 'CEO' AND Company = 'acme')"),
            ["O'Neil", "Diaz"])

    def test_numbers(self):
        self.assertEqual(self.names("NumberOfEmployees >= 30"),
                         ["Diaz", "Smith"])
        self.assertEqual(self.names("NumberOfEmployees IN (10, 2.0E1)"),
                         ["Müller", "O'Neil"])
        self.assertEqual(self.names("NumberOfEmployees < -1"), [])

    def test_booleans(self):
        self.assertEqual(len(self.names("IsConverted = FALSE")), 4)
        self.assertEqual(self.names("IsConverted = true"), [])
        self.refused("SELECT Id FROM Lead WHERE IsConverted = 'true'",
                     "INVALID_FIELD")
        self.refused("SELECT Id FROM Lead WHERE IsConverted > false",
                     "INVALID_QUERY_FILTER_OPERATOR")

    def test_ids(self):
        self.assertEqual(self.names("Id = '%s'" % lead(2)), ["O'Neil"])
        self.assertEqual(self.names("Id = '%s'" % lead(2)[:15]), ["O'Neil"])
        self.assertEqual(self.names("Id IN ('%s', '%s')"
                                    % (lead(1), lead(3)[:15])),
                         ["Müller", "Diaz"])
        self.assertEqual(self.names("Id > '%s'" % lead(2)[:15]),
                         ["Diaz", "Smith"])
        self.assertEqual(self.names("OwnerId = null"), [])
        self.refused("SELECT Id FROM Lead WHERE Id = 'abc'",
                     "INVALID_QUERY_FILTER_OPERATOR", "invalid ID field: abc")
        self.refused("SELECT Id FROM Lead WHERE Id LIKE '00Q%'",
                     "INVALID_QUERY_FILTER_OPERATOR")

    def test_ids_are_case_sensitive(self):
        upper, lower = ids.make("00Q", 10), ids.make("00Q", 36)
        self.assertEqual(upper[:15].lower(), lower[:15].lower())
        tables = Tables()
        tables.add("Lead", Id=upper, LastName="upper")
        tables.add("Lead", Id=lower, LastName="lower")
        found = tables.records("SELECT LastName FROM Lead WHERE Id = '%s'"
                               % lower[:15])
        self.assertEqual([r["LastName"] for r in found], ["lower"])

    def test_datetimes(self):
        for text in ("2026-02-02T10:00:00Z", "2026-02-02T11:00:00+01:00",
                     "2026-02-02T10:00:00.999Z", "2026-02-02T05:30:00-04:30",
                     "2026-02-02t10:00:00z"):
            self.assertEqual(self.names("SystemModstamp = " + text),
                             ["O'Neil", "Diaz"], text)
        self.assertEqual(self.names("SystemModstamp > 2026-02-02T10:00:00Z"),
                         ["Smith"])
        self.refused("SELECT Id FROM Lead WHERE SystemModstamp > "
                     "'2026-02-02T10:00:00Z'", "INVALID_FIELD",
                     "must be of type dateTime and should not be enclosed in "
                     "quotes")
        self.refused("SELECT Id FROM Lead WHERE SystemModstamp > 2026-02-02",
                     "INVALID_FIELD")
        self.refused("SELECT Id FROM Lead WHERE SystemModstamp > "
                     "2026-02-02T10:00:00", "MALFORMED_QUERY")
        self.refused("SELECT Id FROM Lead WHERE SystemModstamp > "
                     "2026-02-30T10:00:00Z", "MALFORMED_QUERY")

    def test_plus_that_became_a_space(self):
        # ...T11:00:00+01:00 sent without encoding arrives with a blank.
        self.refused("SELECT Id FROM Lead WHERE SystemModstamp = "
                     "2026-02-02T11:00:00 01:00", "MALFORMED_QUERY")

    def test_dates(self):
        self.assertEqual(self.names("ConvertedDate = 2026-02-28"), ["Diaz"])
        self.assertEqual(self.names("ConvertedDate = YESTERDAY"), ["Diaz"])
        self.assertEqual(self.names("ConvertedDate = LAST_N_DAYS:3"),
                         ["Diaz"])
        self.assertEqual(self.names("SystemModstamp = N_DAYS_AGO:27"),
                         ["O'Neil", "Diaz"])
        self.assertEqual(self.names("CreatedDate < LAST_MONTH"), [])
        self.assertEqual(len(self.names("CreatedDate = LAST_MONTH")), 4)
        self.refused("SELECT Id FROM Lead WHERE Title = TODAY",
                     "INVALID_FIELD")

    def test_time(self):
        self.assertEqual(self.names("Service_Time__c = 08:00:00Z",
                                    "Machine__c", "Name"), ["Pump"])

    def test_multipicklist(self):
        self.assertEqual(self.names("Products__c INCLUDES ('Valves')"),
                         ["Diaz"])
        self.assertEqual(self.names("Products__c INCLUDES ('pumps')"),
                         ["Müller", "Diaz", "Smith"])
        self.assertEqual(self.names("Products__c INCLUDES ('Pumps;Valves')"),
                         ["Diaz"])
        self.assertEqual(self.names("Products__c EXCLUDES ('Valves')"),
                         ["Müller", "O'Neil", "Smith"])
        self.refused("SELECT Id FROM Lead WHERE Title INCLUDES ('x')",
                     "INVALID_QUERY_FILTER_OPERATOR")

    def test_semi_join(self):
        self.assertEqual(self.names(
            "Id IN (SELECT AccountId FROM Contact WHERE LastName = 'C3')",
            "Account", "Name"), ["Other"])
        self.assertEqual(self.names(
            "Id NOT IN (SELECT AccountId FROM Contact WHERE LastName = "
            "'C3')", "Account", "Name"), ["Acme"])
        self.refused("SELECT Id FROM Account WHERE Name IN (SELECT LastName "
                     "FROM Contact)", "INVALID_QUERY_FILTER_OPERATOR")

    def test_long_text_is_not_filterable(self):
        self.refused("SELECT Id FROM Lead WHERE Description = 'x'",
                     "INVALID_FIELD", "can not be filtered in a query call")
        self.refused("SELECT Id FROM Lead ORDER BY Description",
                     "INVALID_FIELD", "can not be sorted in a query call")

    def test_parent_in_condition(self):
        self.assertEqual(self.names("Owner.Name = 'ada diaz'"),
                         ["Müller", "O'Neil", "Smith"])
        self.assertEqual(self.names("Owner.Type = 'Group'"), ["Diaz"])
        self.assertEqual(self.names("Account.Rating = 'Hot'", "Contact"),
                         ["C1", "C2"])


class Shapes(Case):
    def test_null_fields_are_present(self):
        record = self.org.records("SELECT id, title FROM lead "
                                  "WHERE Ext__c = 'L-1'")[0]
        self.assertEqual(record, {
            "attributes": {"type": "Lead", "url": "/services/data/v62.0/"
                           "sobjects/Lead/" + lead(1)},
            "Id": lead(1), "Title": None})

    def test_datetime_and_boolean(self):
        record = self.org.records("SELECT SystemModstamp, IsConverted "
                                  "FROM Lead WHERE Ext__c = 'L-1'")[0]
        self.assertEqual(record["SystemModstamp"],
                         "2026-02-01T10:00:00.000+0000")
        self.assertIs(record["IsConverted"], False)

    def test_numbers(self):
        record = self.org.records("SELECT Price__c, Quantity__c, Total__c, "
                                  "Age_Days__c FROM Machine__c")[0]
        for key, value in (("Price__c", 2.5), ("Quantity__c", 4.0),
                           ("Total__c", 10.0), ("Age_Days__c", 2.0)):
            self.assertIsInstance(record[key], float)
            self.assertEqual(record[key], value)
        record = self.org.records("SELECT NumberOfEmployees FROM Lead "
                                  "WHERE Ext__c = 'L-1'")[0]
        self.assertIs(type(record["NumberOfEmployees"]), int)

    def test_parents(self):
        record = self.org.records(
            "SELECT Account.Name, Account.Owner.Name FROM Contact "
            "WHERE LastName = 'C1'")[0]
        self.assertEqual(record["Account"]["Name"], "Acme")
        self.assertEqual(record["Account"]["attributes"]["type"], "Account")
        self.assertEqual(record["Account"]["Owner"]["Name"], "Ada Diaz")

    def test_parent_that_is_null(self):
        record = self.org.records("SELECT What.Name FROM Event "
                                  "WHERE Subject = 'Call'")[0]
        self.assertIsNone(record["What"])

    def test_polymorphic_parent(self):
        records = self.org.records("SELECT Owner.Name, Owner.Type FROM Lead "
                                   "ORDER BY Id")
        self.assertEqual([r["Owner"]["Type"] for r in records],
                         ["User", "User", "Group", "User"])
        self.assertEqual(records[2]["Owner"]["Name"], "Queue")
        self.assertTrue(records[2]["Owner"]["attributes"]["url"].endswith(
            "/Group/" + QUEUE))
        self.refused("SELECT Owner.Company FROM Lead", "INVALID_FIELD",
                     "on entity 'Name'")

    def test_typeof(self):
        records = self.org.records(
            "SELECT Id, TYPEOF Who WHEN Contact THEN LastName, Email "
            "WHEN Lead THEN Company END, TYPEOF What WHEN Account THEN Name "
            "ELSE Id END FROM Event ORDER BY Id")
        self.assertEqual(records[0]["Who"]["LastName"], "C1")
        self.assertNotIn("Company", records[0]["Who"])
        self.assertEqual(records[0]["Who"]["attributes"]["type"], "Contact")
        self.assertEqual(records[1]["Who"]["Company"], "Acme")
        self.assertEqual(records[0]["What"]["Name"], "Acme")
        self.assertIsNone(records[1]["What"])

    def test_children(self):
        records = self.org.records("SELECT Id, (SELECT LastName FROM "
                                   "Contacts ORDER BY LastName DESC LIMIT 1),"
                                   " (SELECT Id FROM Cases) FROM Account "
                                   "ORDER BY Id")
        self.assertEqual(records[0]["Contacts"]["totalSize"], 1)
        self.assertEqual(records[0]["Contacts"]["records"][0]["LastName"],
                         "C2")
        self.assertIs(records[0]["Contacts"]["done"], True)
        self.assertIsNone(records[0]["Cases"])
        self.refused("SELECT (SELECT Id FROM Nothing) FROM Account",
                     "INVALID_TYPE", "Didn't understand relationship")

    def test_compounds(self):
        record = self.org.records("SELECT Position__c FROM Machine__c")[0]
        self.assertEqual(record["Position__c"],
                         {"latitude": 1.5, "longitude": -2.5})
        record = self.org.records("SELECT Address FROM Lead LIMIT 1")[0]
        self.assertIsNone(record["Address"])

    def test_formula_over_a_parent(self):
        record = self.org.records("SELECT Account_Rating__c "
                                  "FROM Machine__c")[0]
        self.assertEqual(record["Account_Rating__c"], "Hot")

    def test_keyword_names(self):
        record = self.org.records("SELECT Order__c, Group__c, User__c FROM "
                                  "Machine__c WHERE Group__c = 'g' ORDER BY "
                                  "Order__c")[0]
        self.assertEqual(record["Order__c"], 3.0)
        self.assertEqual(len(self.org.records("SELECT Id FROM Group")), 1)

    def test_counts(self):
        compiled = self.org.compile("select COUNT() from lead")
        self.assertTrue(compiled.count_only)
        self.assertEqual(self.org.rows("SELECT count() FROM Lead")
                         .fetchone()[0], 4)
        self.assertEqual(self.org.records("SELECT count(Id) FROM Lead"),
                         [{"attributes": {"type": "AggregateResult"},
                           "expr0": 4}])

    def test_groups(self):
        records = self.org.records(
            "SELECT Title, count(Id) n, max(NumberOfEmployees), "
            "sum(NumberOfEmployees) FROM Lead GROUP BY Title "
            "HAVING count(Id) > 1 ORDER BY Title")
        self.assertEqual(records[0], {
            "attributes": {"type": "AggregateResult"}, "Title": None,
            "n": 2, "expr0": 30, "expr1": 40})
        self.refused("SELECT LastName, count(Id) FROM Lead", "MALFORMED_QUERY",
                     "Field must be grouped or aggregated: LastName")
        records = self.org.records("SELECT CALENDAR_MONTH(CreatedDate), "
                                   "count(Id) FROM Lead "
                                   "GROUP BY CALENDAR_MONTH(CreatedDate)")
        self.assertEqual(records[0]["expr0"], 2)

    def test_fields_function(self):
        record = self.org.records("SELECT FIELDS(ALL) FROM Lead LIMIT 1")[0]
        self.assertIn("Ext__c", record)
        self.assertIn("Address", record)
        record = self.org.records("SELECT FIELDS(STANDARD) FROM Lead")[0]
        self.assertNotIn("Ext__c", record)
        record = self.org.records("SELECT FIELDS(CUSTOM) FROM Lead "
                                  "LIMIT 200")[0]
        self.assertNotIn("LastName", record)
        for text in ("SELECT FIELDS(ALL) FROM Lead",
                     "SELECT FIELDS(CUSTOM) FROM Lead LIMIT 201"):
            self.refused(text, "MALFORMED_QUERY", "LIMIT of at most 200")

    def test_query_all(self):
        self.assertEqual(len(self.names("Id != null")), 4)
        self.assertEqual(len(self.names("Id != null", all_rows=True)), 5)
        self.assertEqual(self.names("IsDeleted = true"), [])
        self.assertEqual(len(self.names("IsDeleted = true", all_rows=True)),
                         1)
        self.assertEqual(len(self.names("Id != null", "Event", "Subject")),
                         2)
        self.assertEqual(len(self.names("Id != null", "Event", "Subject",
                                        all_rows=True)), 3)

    def test_order_and_limit(self):
        rows = self.org.rows("SELECT Title FROM Lead ORDER BY Title")
        self.assertEqual([r[0] for r in rows], [None, None, "CEO", "CEO"])
        rows = self.org.rows("SELECT Title FROM Lead ORDER BY Title DESC")
        self.assertEqual([r[0] for r in rows], [None, None, "CEO", "CEO"])
        rows = self.org.rows("SELECT Title FROM Lead ORDER BY Title "
                             "NULLS LAST, Id DESC LIMIT 1 OFFSET 1")
        self.assertEqual([r[0] for r in rows], ["CEO"])

    def test_csv(self):
        compiled = self.org.compile(
            "SELECT Id, LastName, Title, IsConverted, NumberOfEmployees, "
            "AnnualRevenue, SystemModstamp, Owner.Name FROM Lead "
            "WHERE Ext__c = 'L-1'")
        self.assertEqual([c.name for c in compiled.columns][-1],
                         "Owner.Name")
        line = self.org.value(compiled.csv_sql(), *compiled.params)
        self.assertEqual(line, '"%s","Müller","","false","10","",'
                         '"2026-02-01T10:00:00.000Z","Ada Diaz"\n' % lead(1))
        line = self.org.value(compiled.csv_sql("\t", "\r\n"),
                              *compiled.params)
        self.assertTrue(line.endswith('"\t"Ada Diaz"\r\n'))

    def test_csv_numbers_are_exact(self):
        tables = Tables()
        tables.add("Machine__c", Id=ids.make("a0M", 1), Name="x",
                   Pressure__c=0.1 + 0.2, Price__c=1e15, Quantity__c=3.0)
        compiled = tables.compile("SELECT Pressure__c, Price__c, Quantity__c "
                                  "FROM Machine__c")
        line = tables.value(compiled.csv_sql(), *compiled.params)
        numbers = [float(n.strip('"')) for n in line.strip().split(",")]
        self.assertEqual(numbers, [0.1 + 0.2, 1e15, 3.0])

    def test_csv_quotes(self):
        tables = Tables()
        tables.add("Lead", Id=lead(1), LastName='a"b,c\nd', Company="x")
        compiled = tables.compile("SELECT LastName FROM Lead")
        self.assertEqual(tables.value(compiled.csv_sql()),
                         '"a""b,c\nd"\n')

    def test_paging_by_ids(self):
        compiled = self.org.compile("SELECT Id, Owner.Name FROM Lead "
                                    "ORDER BY NumberOfEmployees DESC")
        found = [r[0] for r in self.org.connection.execute(
            compiled.id_sql, compiled.params)]
        self.assertEqual(found, [lead(n) for n in (4, 3, 2, 1)])
        rows = self.org.connection.execute(
            compiled.by_ids_sql, [json.dumps(found[1:3])]).fetchall()
        self.assertEqual([r[0] for r in rows], [lead(3), lead(2)])
        self.assertEqual(self.org.value(compiled.count_sql,
                                        *compiled.params), 4)


class Refusals(Case):
    def test_frame_as_recorded(self):
        # Word for word what a real org answered.
        with self.assertRaises(SoqlError) as caught:
            self.org.rows("select count() from XYZZY")
        self.assertEqual(caught.exception.message, (
            "\nselect count() from XYZZY\n                    ^\n"
            "ERROR at Row:1:Column:21\nsObject type 'XYZZY' is not supported."
            " If you are attempting to use a custom object, be sure to append"
            " the '__c' after the entity name. Please reference your WSDL or "
            "the describe call for the appropriate names."))
        self.assertEqual(caught.exception.code, "INVALID_TYPE")

    def test_unknown_field(self):
        message = self.refused("SELECT Id,\n  Nope FROM Lead",
                               "INVALID_FIELD",
                               "No such column 'Nope' on entity 'Lead'")
        self.assertIn("\n  Nope FROM Lead\n  ^\nERROR at Row:2:Column:3\n",
                      message)

    def test_long_queries_are_shown_in_part(self):
        fields = ", ".join(["LastName"] * 1 + ["Id"] + ["Title"])
        text = "SELECT %s FROM Lead WHERE %s AND Nope = 1" % (
            fields, " AND ".join(["Title != 'x'"] * 50))
        message = self.refused(text, "INVALID_FIELD", "'Nope'")
        fragment, caret = message.split("\n")[1:3]
        self.assertLess(len(fragment), 120)
        self.assertTrue(fragment[len(caret) - 1:].startswith("Nope"))

    def test_malformed(self):
        for text in ("", "SELECT", "SELECT FROM Lead", "SELECT Id Lead",
                     "SELECT Id FROM Lead WHERE", "SELECT Id FROM Lead LIMIT",
                     "SELECT Id FROM Lead LIMIT x", "SELECT * FROM Lead",
                     "SELECT Id FROM Lead WHERE Title = 'x",
                     "SELECT Id FROM Lead WHERE Title = \"x\"",
                     "SELECT Id FROM Lead WHERE Title IN ()",
                     "SELECT Id FROM Lead WHERE Title == 'x'",
                     "SELECT Id FROM Lead; DELETE FROM Lead",
                     "SELECT Id FROM Lead ALL ROWS",
                     "SELECT Id FROM Lead WHERE Id = :x",
                     "SELECT Id, FROM Lead", "UPDATE Lead SET Title = 'x'",
                     "SELECT Id FROM Lead ORDER BY",
                     "SELECT Id x FROM Lead", "SELECT nope(Id) FROM Lead",
                     "SELECT Id FROM Lead OFFSET 1 LIMIT 2"):
            with self.subTest(text):
                self.refused(text, "MALFORMED_QUERY")

    def test_too_long(self):
        self.refused("SELECT Id FROM Lead WHERE Title = '%s'" % ("x" * 100000),
                     "MALFORMED_QUERY", "longer than 100000")

    def test_offset(self):
        self.org.rows("SELECT Id FROM Lead OFFSET 2000")
        self.refused("SELECT Id FROM Lead OFFSET 2001",
                     "NUMBER_OUTSIDE_VALID_RANGE",
                     "Maximum SOQL offset allowed is 2000")

    def test_duplicates(self):
        self.refused("SELECT Id, id FROM Lead", "INVALID_FIELD",
                     "duplicate field selected: Id")

    def test_hidden_fields_do_not_exist(self):
        user = Viewer({("Lead", "Phone"), ("Account", "Name")}, {"Case"})
        self.refused("SELECT Phone FROM Lead", "INVALID_FIELD", user=user)
        self.refused("SELECT Id FROM Lead WHERE Phone = 'x'",
                     "INVALID_FIELD", user=user)
        self.refused("SELECT Id FROM Lead ORDER BY Phone", "INVALID_FIELD",
                     user=user)
        self.refused("SELECT Account.Name FROM Contact", "INVALID_FIELD",
                     user=user)
        self.refused("SELECT Id FROM Case", "INVALID_TYPE", user=user)
        self.refused("SELECT (SELECT Id FROM Cases) FROM Account",
                     "INVALID_TYPE", user=user)
        record = self.org.records("SELECT FIELDS(ALL) FROM Lead LIMIT 1",
                                  user)[0]
        self.assertNotIn("Phone", record)

    def test_unknown_relationship(self):
        self.refused("SELECT Nope__r.Name FROM Lead", "INVALID_FIELD",
                     "Didn't understand relationship 'Nope__r'")


class Dates(unittest.TestCase):
    def span(self, name, n=0, today=None):
        first, last = soql_dates.span(name, n, today or NOW.date())
        return first.isoformat(), last.isoformat()

    def test_spans(self):
        # The first of March 2026 is a Sunday, where weeks begin.
        for name, n, want in (
                ("TODAY", 0, ("2026-03-01", "2026-03-02")),
                ("YESTERDAY", 0, ("2026-02-28", "2026-03-01")),
                ("THIS_WEEK", 0, ("2026-03-01", "2026-03-08")),
                ("LAST_WEEK", 0, ("2026-02-22", "2026-03-01")),
                ("LAST_MONTH", 0, ("2026-02-01", "2026-03-01")),
                ("NEXT_QUARTER", 0, ("2026-04-01", "2026-07-01")),
                ("LAST_QUARTER", 0, ("2025-10-01", "2026-01-01")),
                ("THIS_FISCAL_YEAR", 0, ("2026-01-01", "2027-01-01")),
                ("LAST_N_DAYS", 7, ("2026-02-22", "2026-03-02")),
                ("NEXT_N_DAYS", 2, ("2026-03-02", "2026-03-04")),
                ("LAST_N_MONTHS", 2, ("2026-01-01", "2026-03-01")),
                ("N_YEARS_AGO", 1, ("2025-01-01", "2026-01-01"))):
            self.assertEqual(self.span(name, n), want, name)

    def test_every_literal_has_a_span(self):
        for name in soql_parse.LITERALS:
            first, last = soql_dates.span(name, 0, NOW.date())
            self.assertLess(first, last, name)
        for name in soql_parse.N_LITERALS:
            first, last = soql_dates.span(name, 2, NOW.date())
            self.assertLess(first, last, name)


class Plans(unittest.TestCase):
    """Queries of a sync over many rows must walk an index, not sort."""

    @classmethod
    def setUpClass(cls):
        cls.org = Tables()
        cls.org.fill(leads=3000)
        cls.org.index()

    def plan(self, text):
        compiled = self.org.compile(text)
        return " / ".join(row[3] for row in self.org.connection.execute(
            "EXPLAIN QUERY PLAN " + compiled.sql, compiled.params))

    def check(self, text, index):
        for analysed in (False, True):
            if analysed:
                self.org.connection.execute("ANALYZE")
            plan = self.plan(text)
            self.assertIn(index, plan, text)
            self.assertNotIn("TEMP B-TREE", plan, text)
            self.assertNotIn("SCAN t", plan.replace("SCAN t USING", ""), text)

    def test_by_stamp(self):
        self.check("SELECT Id, Name FROM Lead WHERE SystemModstamp >= "
                   "2026-01-01T00:00:00Z ORDER BY SystemModstamp, Id "
                   "LIMIT 200", "Lead.SystemModstamp (SystemModstamp>?)")

    def test_keyset(self):
        self.check(
            "SELECT Id, Name FROM Lead WHERE SystemModstamp > "
            "2026-01-01T00:00:00Z OR (SystemModstamp = 2026-01-01T00:00:00Z "
            "AND Id > '00Q5h0000000001') ORDER BY SystemModstamp, Id "
            "LIMIT 200", "Lead.SystemModstamp (SystemModstamp>?)")

    def test_by_id(self):
        self.check("SELECT Id, Name FROM Lead WHERE Id > '00Q5h0000000001' "
                   "ORDER BY Id LIMIT 200", "(Id>?)")
        self.check("SELECT Id FROM Lead WHERE Id IN ('00Q5h0000000001', "
                   "'00Q5h0000000002')", "(Id=?)")

    def test_by_external_id(self):
        self.check("SELECT Id FROM Lead WHERE Ext__c = 'lead-17'",
                   "Lead.Ext__c (Ext__c=?)")

    def test_keyset_finds_the_same_rows(self):
        """Pages by keyset join up to the whole, with no row twice."""
        whole = [r[0] for r in self.org.rows(
            "SELECT Id FROM Lead ORDER BY SystemModstamp, Id")]
        self.assertEqual(len(whole), 3000)
        paged, where = [], ""
        while True:
            page = self.org.rows("SELECT Id, SystemModstamp FROM Lead%s ORDER"
                                 " BY SystemModstamp, Id LIMIT 200"
                                 % where).fetchall()
            if not page:
                break
            paged += [row[0] for row in page]
            stamp = page[-1][1].replace(".000Z", "Z")
            where = (" WHERE SystemModstamp > %s OR (SystemModstamp = %s AND "
                     "Id > '%s')" % (stamp, stamp, page[-1][0]))
        self.assertEqual(paged, whole)


class Bare(unittest.TestCase):
    def test_where_sql(self):
        tables = org()
        sql, params = soql.where_sql("LastName LIKE 'M%'", tables.schema,
                                     tables.schema.object("Lead"), now=NOW)
        self.assertEqual([r[0] for r in tables.connection.execute(
            sql, params)], [lead(1)])
        sql, params = soql.where_sql(None, tables.schema,
                                     tables.schema.object("Lead"), now=NOW)
        self.assertEqual(len(tables.connection.execute(
            sql, params).fetchall()), 5)


if __name__ == "__main__":
    unittest.main()
