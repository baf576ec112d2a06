"""The data that an org begins with."""

import unittest

import ids
import seed
import seed_columns
from support import NOW, YEAR, Tables


class Ids(unittest.TestCase):
    def test_table_and_rule_agree(self):
        make = seed_columns.IdMaker("00Q")
        for number in (1, 61, 62, 238327, 238328, 238329, 10 ** 7, 62 ** 5):
            self.assertEqual(make(number), ids.make("00Q", number))

    def test_span_over_a_boundary(self):
        make = seed_columns.IdMaker("003")
        self.assertEqual(make.span(238320, 238340),
                         [ids.make("003", n) for n in range(238320, 238340)])


class Rows(unittest.TestCase):
    LEADS = 2000

    @classmethod
    def setUpClass(cls):
        cls.org = Tables()
        cls.made = cls.org.fill(cls.LEADS)
        cls.org.index()

    def count(self, what, where=""):
        return self.org.value('SELECT count(*) FROM "%s" %s' % (what, where))

    def test_live_rows_are_as_many_as_asked(self):
        for name, count in seed.default_counts(self.LEADS).items():
            compiled = self.org.compile("SELECT count() FROM " + name)
            self.assertEqual(self.org.value(compiled.sql, *compiled.params),
                             count, name)

    def test_same_seed_same_rows(self):
        def all_rows(tables, name):
            return tables.connection.execute(
                'SELECT * FROM "%s" ORDER BY "Id"' % name).fetchall()
        again, other = Tables(), Tables()
        again.fill(self.LEADS)
        other.fill(self.LEADS, number=8)
        for obj in self.org.schema.objects:
            self.assertEqual(all_rows(self.org, obj.name),
                             all_rows(again, obj.name), obj.name)
        self.assertNotEqual(all_rows(self.org, "Lead"),
                            all_rows(other, "Lead"))

    def test_lookups_lead_somewhere(self):
        for obj in self.org.schema.objects:
            for field in obj.stored_fields:
                self.check_lookup(obj, field)

    def check_lookup(self, obj, field):
        targets = [t for t in field.reference_to
                   if self.org.schema.object(t)]
        if field.type != "reference" or not targets:
            return
        found = " AND ".join(
            'NOT EXISTS (SELECT 1 FROM "%s" p WHERE p."Id" = c."%s")'
            % (target, field.name) for target in targets)
        broken = self.org.value(
            'SELECT count(*) FROM "%s" c WHERE c."%s" IS NOT NULL AND %s'
            % (obj.name, field.name, found))
        self.assertEqual(broken, 0, "%s.%s" % (obj.name, field.name))

    def test_required_fields_are_there(self):
        for obj in self.org.schema.objects:
            for field in obj.stored_fields:
                if not field.nillable:
                    missing = self.count(obj.name, 'WHERE "%s" IS NULL'
                                         % field.name)
                    self.assertEqual(missing, 0, "%s.%s" % (obj.name,
                                                            field.name))

    def test_values_fit_their_fields(self):
        for obj in self.org.schema.objects:
            for field in obj.stored_fields:
                column = '"%s"' % field.name
                if field.sqlite_type != "TEXT":
                    continue
                bad = self.count(obj.name, "WHERE %s = '' OR trim(%s, "
                                 "char(9,10,13,32)) <> %s"
                                 % (column, column, column))
                self.assertEqual(bad, 0, "%s.%s is not trimmed"
                                 % (obj.name, field.name))
                if field.length:
                    longest = self.org.value('SELECT max(length(%s)) FROM '
                                             '"%s"' % (column, obj.name))
                    self.assertLessEqual(longest or 0, field.length,
                                         field.name)

    def test_restricted_picklists_hold_their_values(self):
        for obj in self.org.schema.objects:
            for field in obj.stored_fields:
                if not (field.restricted_picklist and field.picklist):
                    continue
                known = {v["value"] for v in field.picklist} | {None}
                found = {row[0] for row in self.org.connection.execute(
                    'SELECT DISTINCT "%s" FROM "%s"' % (field.name,
                                                        obj.name))}
                self.assertLessEqual(found, known, field.name)

    def test_external_ids_are_unique(self):
        for name, field in (("Lead", "Ext__c"), ("Machine__c", "Serial__c"),
                            ("CampaignMember", "Ext__c")):
            self.assertEqual(
                self.count(name, 'WHERE "%s" IS NOT NULL' % field),
                self.org.value('SELECT count(DISTINCT "%s") FROM "%s"'
                               % (field, name)))

    def test_members_are_unique(self):
        total = self.count("CampaignMember")
        self.assertEqual(total, self.org.value(
            'SELECT count(*) FROM (SELECT DISTINCT "CampaignId", "LeadId", '
            '"ContactId" FROM "CampaignMember")'))
        self.assertEqual(total, self.count(
            "CampaignMember", 'WHERE ("LeadId" IS NULL) <> '
            '("ContactId" IS NULL)'))

    def test_a_campaign_has_its_statuses(self):
        self.assertEqual(self.count("CampaignMemberStatus"),
                         2 * self.count("Campaign", 'WHERE "IsDeleted" = 0'))

    def test_task_of_a_lead_has_no_what(self):
        self.assertEqual(self.count(
            "Task", "WHERE \"WhoId\" LIKE '00Q%' AND \"WhatId\" IS NOT NULL"),
            0)

    def test_stamps(self):
        for obj in self.org.schema.objects:
            if not obj.field("SystemModstamp"):
                continue
            self.assertEqual(0, self.count(
                obj.name, 'WHERE "SystemModstamp" < "LastModifiedDate" OR '
                '"LastModifiedDate" < "CreatedDate" AND "IsDeleted" = 0'
                if obj.field("IsDeleted") else
                'WHERE "SystemModstamp" < "LastModifiedDate"'), obj.name)
        last = self.org.value('SELECT max("SystemModstamp") FROM "Lead"')
        self.assertLessEqual(last, NOW.strftime("%Y-%m-%dT%H:%M:%S.000Z"))
        first = self.org.value('SELECT min("CreatedDate") FROM "Lead"')
        self.assertGreaterEqual(
            first, (NOW - YEAR).strftime("%Y-%m-%dT%H:%M:%S.000Z"))

    def test_many_share_one_second(self):
        most = self.org.value('SELECT max(n) FROM (SELECT count(*) n FROM '
                              '"Lead" GROUP BY "SystemModstamp")')
        self.assertGreaterEqual(most, self.LEADS * 3 // 10)

    def test_awkward_text_is_there(self):
        for text in ("%\n\\.\n%", "%\"%", "%,%", "%\r\n%", "%🚀%"):
            self.assertTrue(self.org.value(
                'SELECT count(*) FROM "Lead" WHERE "Description" LIKE ?',
                text), text)
        self.assertTrue(self.count("Lead", "WHERE \"Title\" = '\\N'"))
        self.assertTrue(self.count("Lead", "WHERE \"LastName\" = 'Null'"))

    def test_no_nul(self):
        for name in ("Lead", "Machine__c"):
            for field in self.org.schema.object(name).stored_fields:
                self.assertEqual(0, self.count(
                    name, 'WHERE instr("%s", char(0))' % field.name))

    def test_recycle_bin_and_archive(self):
        self.assertTrue(self.count("Lead", 'WHERE "IsDeleted" = 1'))
        self.assertTrue(self.count("Task", 'WHERE "IsArchived" = 1'))

    def test_converted_leads_agree_with_their_contact(self):
        self.assertTrue(self.count("Lead", 'WHERE "IsConverted" = 1'))
        self.assertEqual(0, self.org.value(
            'SELECT count(*) FROM "Lead" l JOIN "Contact" c ON '
            'c."Id" = l."ConvertedContactId" WHERE l."ConvertedAccountId" '
            'IS NOT c."AccountId" OR l."ConvertedAccountId" IS NULL'))

    def test_logins(self):
        rows = dict(self.org.connection.execute(
            'SELECT "Username", "Id" FROM "User"'))
        for username, user_id in self.made["users"].items():
            self.assertEqual(rows[username], user_id)
        self.assertEqual(self.org.value(
            'SELECT "IsActive" FROM "User" WHERE "Username" = ?',
            "former@example.com"), 0)
        self.assertTrue(self.made["organization"].startswith("00D"))


class Sizes(unittest.TestCase):
    def test_small_orgs(self):
        for leads in (0, 1, 2, 10):
            tables = Tables()
            tables.fill(leads)
            self.assertEqual(leads, tables.value(
                'SELECT count(*) FROM "Lead" WHERE "IsDeleted" = 0'))

    def test_only_leads(self):
        tables = Tables()
        counts = dict.fromkeys(seed.default_counts(), 0)
        counts["Lead"] = 50
        seed.populate(tables.connection, tables.schema, 1, counts,
                      NOW - YEAR, NOW)
        self.assertEqual(tables.value('SELECT count(*) FROM "Lead"'), 50)
        self.assertEqual(tables.value('SELECT count(*) FROM "Task"'), 0)

    def test_person_accounts(self):
        tables = Tables(person_accounts=True)
        tables.fill(200)
        persons = tables.value('SELECT count(*) FROM "Account" WHERE '
                               '"IsPersonAccount" = 1')
        self.assertTrue(persons)
        self.assertEqual(persons, tables.value(
            'SELECT count(*) FROM "Account" a JOIN "Contact" c ON '
            'c."Id" = a."PersonContactId" WHERE c."AccountId" = a."Id" AND '
            'c."IsPersonAccount" = 1 AND c."LastName" = a."LastName"'))
        name = tables.value('SELECT "Name" FROM "Account" WHERE '
                            '"IsPersonAccount" = 1 AND "FirstName" IS NULL')
        self.assertTrue(name)


if __name__ == "__main__":
    unittest.main()
