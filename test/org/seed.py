"""The org's data: much of it, quickly, and the same for the same seed.

Rows are made column by column (seed_columns); SQLite takes them by
executemany in large transactions.
"""

import datetime

import ids
import seed_words as words
from seed_columns import CHUNK, Columns, Stamps, stamp

TRANSACTION = 10 * CHUNK

#: who can log in: username, first and last name, active, profile
LOGINS = (
    ("sync@example.com", "Sync", "Integration", 1, "Integration"),
    ("admin@example.com", "Alex", "Admin", 1, "System Administrator"),
    ("ada@example.com", "Ada", "Sommer", 1, "Standard User"),
    ("ben@example.com", "Ben", "O'Hara", 1, "Standard User"),
    ("former@example.com", "Fritz", "Former", 0, "Standard User"),
)
QUEUES = ("Inbound Leads", "Web Queue, EMEA", "Unassigned")
RECORD_TYPES = (("Business", "Account"), ("Partner", "Account"),
                ("Default", "Campaign"))


def default_counts(leads=1000, **given):
    """How many rows each object has, in proportion to the leads."""
    counts = {
        "User": max(12, min(leads // 100, 200)), "Group": len(QUEUES) + 2,
        "Lead": leads, "Account": max(leads // 5, 5),
        "Contact": max(leads // 2, 8), "Opportunity": max(leads // 5, 5),
        "OpportunityContactRole": max(leads // 4, 5),
        "Campaign": max(min(leads // 50, 500), 4),
        "CampaignMember": leads * 4 // 5, "Task": leads // 2,
        "Event": leads // 4, "Case": leads // 20,
        "Machine__c": max(leads // 10, 5), "LeadHistory": leads // 10,
        "Attachment": min(leads // 100, 50),
    }
    counts.update({name: n for name, n in given.items() if n is not None})
    return counts


class Seeder(Columns):
    """Makes the rows of each object, parents before children."""

    def __init__(self, connection, schema, seed, counts, start, end):
        super().__init__(schema, seed, end)
        self.connection = connection
        self.counts = counts
        self.start = start
        self.persons = None             # which accounts are persons

    # Tables -----------------------------------------------------------------

    def insert(self, object_name, count, columns, extra=None):
        """Make rows 0 .. count - 1 from their columns.

        extra is (how many, columns): rows after those, not counted as made,
        such as deleted ones.
        """
        obj = self.schema.object(object_name)
        if obj is None:
            return
        self.made[object_name] = count
        self._rows(obj, count, 0, count, columns)
        if extra and extra[0]:
            columns = dict(columns)
            columns.update(extra[1])
            self._rows(obj, count, count, count + extra[0], columns)

    def _rows(self, obj, count, first, last, columns):
        fields = obj.stored_fields
        columns = dict(self._audit(obj, count), **columns)
        known = {f.name for f in fields}
        columns = {k: v for k, v in columns.items() if k in known}
        sql = 'INSERT INTO "%s" VALUES (%s)' % (
            obj.name, ", ".join("?" * len(fields)))
        # The columns by their names: a table may hold them in other order.
        sql = sql.replace(" VALUES", " (%s) VALUES" % ", ".join(
            '"%s"' % f.name for f in fields))
        for begin in range(first, last, TRANSACTION):
            self.connection.execute("BEGIN")
            for a in range(begin, min(begin + TRANSACTION, last), CHUNK):
                b = min(a + CHUNK, last)
                self.connection.executemany(sql, zip(*[
                    self._column(f, columns, a, b) for f in fields]))
            self.connection.execute("COMMIT")

    def _column(self, field, columns, a, b):
        if field.name not in columns:
            columns[field.name] = self.filler(field)
        return columns[field.name](a, b)

    def _audit(self, obj, count):
        """Id and the fields that the platform itself keeps."""
        make = self.makers[obj.name]
        stamps = Stamps(self.rng, count, self.start, self.end)
        users = [self.makers["User"](n + 1) for n in range(4)]
        return {
            "Id": lambda a, b: make.span(a + 1, b + 1),
            "CreatedDate": stamps.created,
            "LastModifiedDate": stamps.modified,
            "SystemModstamp": stamps.modified,
            "CreatedById": self.pool(users),
            "LastModifiedById": self.pool(users),
        }

    def deleted(self, object_name):
        """How many rows are in the recycle bin, and their columns."""
        count = self.counts.get(object_name, 0) // 200
        recent = [stamp(self.end - datetime.timedelta(
            hours=self.rng.randrange(1, 240))) for _ in range(97)]
        return count, {"IsDeleted": lambda a, b: [1] * (b - a),
                       "SystemModstamp": self.periodic(recent),
                       "LastModifiedDate": self.periodic(recent),
                       "Ext__c": lambda a, b: [None] * (b - a)}

    def archived(self, object_name):
        """Activities of more than a year ago, which only queryAll shows."""
        count = self.counts.get(object_name, 0) // 50
        when = self.start - datetime.timedelta(days=100)

        def always(value):
            return lambda a, b: [value] * (b - a)
        return count, {"IsArchived": always(1),
                       "ActivityDate": always(when.date().isoformat()),
                       "Status": always("Completed"),
                       "CreatedDate": always(stamp(when)),
                       "LastModifiedDate": always(stamp(when)),
                       "SystemModstamp": always(stamp(when))}

    def person(self):
        return {"FirstName": self.sparse(words.FIRST, 0.85),
                "LastName": self.pool(words.LAST),
                "Title": self.pool(words.TITLE),
                "Description": self.pool(words.DESCRIPTION),
                "Email": self.mails(),
                "Phone": self.phones(0.8),
                "MobilePhone": self.phones(0.4),
                "Fax": self.phones(0.1)}

    # Objects ----------------------------------------------------------------

    def run(self):
        self.users()
        self.setup_objects()
        self.accounts()
        self.contacts()
        self.campaigns()
        self.opportunities()
        self.leads()
        self.members()
        self.activities()
        self.cases()
        self.machines()
        self.small_objects()
        self.others()
        return {"users": {login[0]: self.makers["User"](n + 1)
                          for n, login in enumerate(LOGINS)},
                "organization": self.makers["Organization"](1)}

    def users(self):
        count = max(self.counts.get("User", 0), len(LOGINS))
        self.made["User"] = count
        logins = list(LOGINS) + [
            ("user%d@example.com" % n, None, None,
             int(self.rng.random() < 0.9), None)
            for n in range(len(LOGINS), count)]
        first = [login[1] or self.rng.choice(words.FIRST) for login in logins]
        last = [login[2] or self.rng.choice(words.LAST) for login in logins]
        make = self.makers["User"]
        columns = {
            "Username": [login[0] for login in logins],
            "Email": [login[0] for login in logins],
            "FirstName": first, "LastName": last,
            "IsActive": [login[3] for login in logins],
            "Alias": ["user%d" % n for n in range(count)],
            "CommunityNickname": ["user%d.%d" % (n, 7 * n)
                                  for n in range(count)],
            "ManagerId": [make(2) if n > 1 else None for n in range(count)],
            "ProfileId": [ids.make("00e", 1 if n == 1 else 2)
                          for n in range(count)],
            "TimeZoneSidKey": ["Europe/Berlin"] * count,
            "LocaleSidKey": ["en_US"] * count,
            "EmailEncodingKey": ["UTF-8"] * count,
            "LanguageLocaleKey": ["en_US"] * count,
            "UserType": ["Standard"] * count,
            "DigestFrequency": ["D"] * count,
            "DefaultGroupNotificationFrequency": ["N"] * count,
            "Department": [self.rng.choice((None, "Sales", "Service"))
                           for _ in range(count)],
        }
        columns = {name: self.periodic(values)
                   for name, values in columns.items()}
        columns.update(self.place())
        self.insert("User", count, columns)

    def setup_objects(self):
        org = self.makers["Organization"](1)
        only = self.periodic
        self.insert("Organization", 1, dict(self.place(), **{
            "Name": only(["Example & Sons"]), "IsSandbox": only([0]),
            "InstanceName": only(["LOCAL"]),
            "OrganizationType": only(["Developer Edition"]),
            "LanguageLocaleKey": only(["en_US"]),
            "DefaultLocaleSidKey": only(["en_US"]),
            "TimeZoneSidKey": only(["Europe/Berlin"]),
            "FiscalYearStartMonth": only([1])}))
        count = max(self.counts.get("Group", 0), len(QUEUES))
        names = list(QUEUES) + ["Group %d" % n
                                for n in range(len(QUEUES), count)]
        self.insert("Group", count, {
            "Name": only(names),
            "DeveloperName": only(["G%d" % n for n in range(count)]),
            "Type": only(["Queue"] * len(QUEUES)
                         + ["Regular"] * (count - len(QUEUES))),
            "OwnerId": only([org])})
        self.insert("RecordType", len(RECORD_TYPES), {
            "Name": only([r[0] for r in RECORD_TYPES]),
            "DeveloperName": only([r[0] for r in RECORD_TYPES]),
            "SobjectType": only([r[1] for r in RECORD_TYPES]),
            "IsActive": only([1])})
        for name, source in (("LeadStatus", "Lead"), ("TaskStatus", "Task")):
            values = self.values(source, "Status")
            self.insert(name, len(values), {
                "MasterLabel": only(values), "ApiName": only(values),
                "SortOrder": only(list(range(1, len(values) + 1))),
                "IsDefault": only([1] + [0] * (len(values) - 1)),
                "IsConverted": only([int(v == "Closed - Converted")
                                     for v in values]),
                "IsClosed": only([int(v == "Completed") for v in values])})

    def accounts(self):
        count = self.counts.get("Account", 0)
        columns = {
            "Name": self.pool(words.COMPANY),
            "Type": self.picks("Account", "Type", 0.8),
            "Industry": self.picks("Account", "Industry", 0.7),
            "Rating": self.picks("Account", "Rating", 0.5),
            "AccountSource": self.picks("Account", "AccountSource", 0.5),
            "Support_Level__c": self.picks("Account", "Support_Level__c"),
            "AnnualRevenue": self.floats(1e4, 1e10, 0, 0.6),
            "NumberOfEmployees": self.integers(1, 100000, 0.6),
            "AccountNumber": self.names("A-%06d"),
            "Website": self.sparse(["https://www.example.com/?a=1&b=%C3%BC",
                                    "http://example.org"], 0.6),
            "Phone": self.phones(0.8), "Fax": self.phones(0.2),
            "Description": self.pool(words.DESCRIPTION),
            "RecordTypeId": self.pool([self.makers["RecordType"](1),
                                       self.makers["RecordType"](2)]),
            "OwnerId": self.owners(), "Ext__c": self.keys("ACC-%d"),
        }
        columns.update(self.place("Billing"))
        columns.update(self.place("Shipping"))
        # A tenth belong to an account made before them.
        make = self.makers["Account"]
        columns["ParentId"] = lambda a, b: [
            make(i // 10) if i % 10 == 9 and i >= 20 else None
            for i in range(a, b)]
        if self.schema.object("Account").field("IsPersonAccount"):
            self.person_accounts(columns, count)
        self.insert("Account", count, columns, self.deleted("Account"))

    def person_accounts(self, columns, count):
        """The last fifth of the accounts are persons."""
        first = count - count // 5
        people = self.person()
        self.persons = (first, count)
        contact = self.makers["Contact"]
        contacts = self.counts.get("Contact", 0)

        def only_persons(column):
            def inner(a, b):
                return [v if first <= i < count else None
                        for i, v in zip(range(a, b), column(a, b))]
            return inner
        for name in ("FirstName", "LastName"):
            columns[name] = only_persons(people[name])
        for name in ("Title", "Email", "MobilePhone"):
            columns["Person" + name] = only_persons(people[name])
        columns["IsPersonAccount"] = lambda a, b: [
            int(first <= i < count) for i in range(a, b)]
        columns["PersonContactId"] = lambda a, b: [
            contact(contacts + 1 + i - first) if first <= i < count else None
            for i in range(a, b)]
        company = columns["Name"]
        columns["Name"] = lambda a, b: [
            " ".join(p for p in (f, l) if p) if l else c
            for f, l, c in zip(columns["FirstName"](a, b),
                               columns["LastName"](a, b), company(a, b))]

    def contacts(self):
        count = self.counts.get("Contact", 0)
        account = self.contact_account = self.parents("Account", 0.9)
        columns = dict(self.person(), **self.place("Mailing"))
        columns.update({
            "Salutation": self.picks("Contact", "Salutation", 0.5),
            "AccountId": account, "OwnerId": self.owners(),
            "Department": self.sparse(["Sales", "IT", "F&E", "研究"], 0.5),
            "LeadSource": self.picks("Contact", "LeadSource", 0.6),
            "Birthdate": self.sparse(["1970-01-01", "1985-02-28",
                                      "1960-12-31", "2000-02-29"], 0.2),
            "Ext__c": self.keys("CON-%d"),
            "Languages__c": self.joined(
                self.picks("Contact", "Languages__c", 0.5),
                self.picks("Contact", "Languages__c", 0.3)),
        })
        self.insert("Contact", count, columns, self.deleted("Contact"))
        if self.persons:
            self.person_contacts(count)

    def person_contacts(self, count):
        """The contact that stands behind each person account."""
        self.connection.execute("BEGIN")
        first, last = self.persons
        make = self.makers["Contact"]
        # Deleted contacts took the next numbers: put the others after them.
        shift = self.counts.get("Contact", 0) // 200
        rows = self.connection.execute(
            'SELECT "Id", "FirstName", "LastName", "PersonEmail", "OwnerId", '
            '"CreatedDate", "LastModifiedDate", "SystemModstamp", '
            '"CreatedById", "LastModifiedById" FROM "Account" '
            'WHERE "IsPersonAccount" = 1 ORDER BY "Id"').fetchall()
        for n, row in enumerate(rows):
            contact = make(count + shift + 1 + n)
            self.connection.execute(
                'UPDATE "Account" SET "PersonContactId" = ? WHERE "Id" = ?',
                (contact, row[0]))
            self._contact_of(contact, row)
        self.connection.execute("COMMIT")

    def _contact_of(self, contact, row):
        fields = self.schema.object("Contact").stored_fields
        values = {f.name: 0 for f in fields if f.type == "boolean"}
        values.update(zip(("AccountId", "FirstName", "LastName", "Email",
                           "OwnerId", "CreatedDate", "LastModifiedDate",
                           "SystemModstamp", "CreatedById",
                           "LastModifiedById"), row))
        values.update(Id=contact, IsPersonAccount=1)
        known = {f.name for f in fields}
        values = {k: v for k, v in values.items() if k in known}
        self.connection.execute(
            'INSERT INTO "Contact" (%s) VALUES (%s)' % (
                ", ".join('"%s"' % n for n in values),
                ", ".join("?" * len(values))), list(values.values()))

    def campaigns(self):
        count = self.counts.get("Campaign", 0)
        names = self.pool(words.CAMPAIGN)
        make = self.makers["Campaign"]
        self.insert("Campaign", count, {
            "Name": lambda a, b: ["%s %d" % (name, n) for n, name in
                                  zip(range(a + 1, b + 1), names(a, b))],
            "ParentId": lambda a, b: [make(1) if i % 7 == 6 else None
                                      for i in range(a, b)],
            "Type": self.picks("Campaign", "Type", 0.9),
            "Status": self.picks("Campaign", "Status"),
            "IsActive": self.pool([0, 1, 1]),
            "StartDate": self.dates(300, 60, 0.9),
            "EndDate": self.dates(0, 200, 0.7),
            "BudgetedCost": self.floats(100, 90000, 2, 0.7),
            "ExpectedRevenue": self.floats(1000, 900000, 2, 0.7),
            "ExpectedResponse": self.floats(0, 30, 2, 0.7),
            "NumberSent": self.integers(0, 100000, 0.9),
            "Description": self.pool(words.DESCRIPTION),
            "OwnerId": self.owners(), "Ext__c": self.keys("CAM-%d"),
        }, self.deleted("Campaign"))
        self.insert("CampaignMemberStatus", 2 * count, {
            "CampaignId": lambda a, b: [make(i // 2 + 1)
                                        for i in range(a, b)],
            "Label": self.periodic(["Sent", "Responded"]),
            "SortOrder": self.periodic([1, 2]),
            "IsDefault": self.periodic([1, 0]),
            "HasResponded": self.periodic([0, 1])})

    def opportunities(self):
        count = self.counts.get("Opportunity", 0)
        stages = self.values("Opportunity", "StageName")
        chances = dict(zip(stages, (10, 10, 20, 50, 60, 70, 75, 90, 100, 0)))
        stage = self.rng.choices(stages, k=next(self.primes))
        names = self.pool(words.COMPANY)
        self.insert("Opportunity", count, {
            "Name": lambda a, b: ["%s - %d" % (name, n) for n, name in
                                  zip(range(a + 1, b + 1), names(a, b))],
            "AccountId": self.parents("Account", 0.95),
            "StageName": self.periodic(stage),
            "Probability": self.periodic([float(chances[s]) for s in stage]),
            "Amount": self.floats(100, 2e6, 2, 0.9),
            "TotalOpportunityQuantity": self.floats(1, 100, 2, 0.3),
            "CloseDate": self.dates(300, 200),
            "Type": self.picks("Opportunity", "Type", 0.7),
            "LeadSource": self.picks("Opportunity", "LeadSource", 0.6),
            "ForecastCategoryName": self.pool(["Pipeline"]),
            "NextStep": self.sparse(["Call", "Send offer, again"], 0.3),
            "CampaignId": self.parents("Campaign", 0.3),
            "Description": self.pool(words.DESCRIPTION),
            "OwnerId": self.owners(),
        }, self.deleted("Opportunity"))
        if count and self.made.get("Contact"):
            self.insert(
                "OpportunityContactRole",
                self.counts.get("OpportunityContactRole", 0), {
                    "OpportunityId": self.parents("Opportunity"),
                    "ContactId": self.parents("Contact"),
                    "Role": self.picks("OpportunityContactRole", "Role", 0.8),
                    "IsPrimary": self.pool([0, 0, 1])})

    def leads(self):
        count = self.counts.get("Lead", 0)
        columns = dict(self.person(), **self.place())
        columns.update({
            "Salutation": self.picks("Lead", "Salutation", 0.5),
            "Company": self.pool(words.COMPANY),
            "Website": self.sparse(["https://example.com/a?b=c&d=%20e",
                                    "example.org"], 0.4),
            "LeadSource": self.picks("Lead", "LeadSource", 0.8),
            "Status": self.pool([s for s in self.values("Lead", "Status")
                                 if s != "Closed - Converted"]),
            "Industry": self.picks("Lead", "Industry", 0.7),
            "Rating": self.picks("Lead", "Rating", 0.5),
            "AnnualRevenue": self.floats(1e4, 1e13, 2, 0.5),
            "NumberOfEmployees": self.integers(0, 99999999, 0.6),
            "OwnerId": self.owners(len(QUEUES)),
            "IsUnreadByOwner": self.pool([0, 1]),
            "LastActivityDate": self.dates(300, 0, 0.5),
            "Ext__c": self.keys("LEAD-%d"),
            "Score__c": self.floats(0, 100, 2, 0.8),
            "Products__c": self.joined(
                self.picks("Lead", "Products__c", 0.5),
                self.picks("Lead", "Products__c", 0.3)),
            "Order__c": self.integers(0, 9999),
            "Group__c": self.sparse(["A", "B, C", "D\"E"], 0.5),
            "Newsletter__c": self.pool([0, 0, 1]),
            "Budget__c": self.floats(-50, 99999999999, 2, 0.4),
            "First_Contact__c": self.datetimes(300, 0, 0.5),
        })
        self.converted(columns)
        self.insert("Lead", count, columns, self.deleted("Lead"))

    def converted(self, columns):
        """Every 25th lead has become a contact of an account."""
        contacts = self.made.get("Contact", 0)
        if not contacts or not self.made.get("Account"):
            return
        contact = self.makers["Contact"]
        accounts = self.contact_account
        status, day = columns["Status"], self.dates(200)

        def nth(i):
            """The contact of lead i: the next one that has an account."""
            n = i // 25 % contacts
            for _ in range(20):
                if accounts(n, n + 1)[0]:
                    return n
                n = (n + 1) % contacts
            return None

        def sift(make):
            return lambda a, b: [
                make(i, nth(i)) if i % 25 == 24 and nth(i) is not None
                else None for i in range(a, b)]
        columns["IsConverted"] = lambda a, b: [
            int(i % 25 == 24 and nth(i) is not None) for i in range(a, b)]
        columns["ConvertedDate"] = sift(lambda i, n: day(i, i + 1)[0])
        columns["ConvertedContactId"] = sift(lambda i, n: contact(n + 1))
        columns["ConvertedAccountId"] = sift(
            lambda i, n: accounts(n, n + 1)[0])
        columns["Status"] = lambda a, b: [
            "Closed - Converted" if i % 25 == 24 else s
            for i, s in zip(range(a, b), status(a, b))]

    def members(self):
        """Campaign members: seven leads to three contacts, no pair twice."""
        leads, contacts = self.made.get("Lead", 0), self.made.get("Contact", 0)
        campaigns = self.made.get("Campaign", 0)
        people = [(self.makers["Lead"], leads),
                  (self.makers["Contact"], contacts)]
        count = self.counts.get("CampaignMember", 0)
        if not campaigns or not leads or not contacts:
            count = 0
        # No person can be in more campaigns than there are.
        count = min(count, leads * campaigns * 10 // 7,
                    contacts * campaigns * 10 // 3)
        campaign = self.makers["Campaign"]
        kinds = (0, 0, 1, 0, 0, 1, 0, 0, 1, 0)
        ranks = [kinds[:k].count(kinds[k]) for k in range(10)]

        def nth(i):
            """Which person, and in which of its campaigns, member i is."""
            kind = kinds[i % 10]
            n = i // 10 * (3 if kind else 7) + ranks[i % 10]
            turn, person = divmod(n, people[kind][1])
            return kind, person, (person * 31 + turn) % campaigns

        def person_id(wanted):
            def column(a, b):
                out = []
                for i in range(a, b):
                    kind, person, _ = nth(i)
                    out.append(people[kind][0](person + 1)
                               if kind == wanted else None)
                return out
            return column
        status = self.pool(["Sent", "Sent", "Responded"])
        day = self.dates(200)
        self.insert("CampaignMember", count, {
            "CampaignId": lambda a, b: [campaign(nth(i)[2] + 1)
                                        for i in range(a, b)],
            "LeadId": person_id(0), "ContactId": person_id(1),
            "Status": status,
            "FirstRespondedDate": lambda a, b: [
                d if s == "Responded" else None
                for d, s in zip(day(a, b), status(a, b))],
            "Ext__c": self.keys("MEM-%d", 0.5)})

    def activities(self):
        """Tasks and events; a lead's have no WhatId."""
        for name in ("Task", "Event"):
            lead = self.parents("Lead", 0.5)
            contact = self.parents("Contact", 0.9)
            account = self.parents("Account", 0.8)
            columns = {
                "Subject": self.pool(words.SUBJECT),
                "Description": self.pool(words.DESCRIPTION),
                "OwnerId": self.owners(),
                "WhoId": lambda a, b, x=lead, y=contact: [
                    p or q for p, q in zip(x(a, b), y(a, b))],
                "WhatId": lambda a, b, x=lead, y=account: [
                    None if p else q for p, q in zip(x(a, b), y(a, b))],
                "AccountId": lambda a, b, x=lead, y=account: [
                    None if p else q for p, q in zip(x(a, b), y(a, b))],
                "ActivityDate": self.dates(300, 60, 0.9),
            }
            if name == "Task":
                columns.update(self.task())
            else:
                columns.update(self.event(columns))
            self.insert(name, self.counts.get(name, 0), columns,
                        self.archived(name))

    def task(self):
        return {"Status": self.picks("Task", "Status"),
                "Priority": self.picks("Task", "Priority"),
                "TaskSubtype": self.picks("Task", "TaskSubtype"),
                "CallDurationInSeconds": self.integers(1, 3600, 0.2),
                "CallType": self.picks("Task", "CallType", 0.2)}

    def event(self, columns):
        start = self.datetimes(300, 60)
        minutes = self.pool([15, 30, 60, 90, 480])

        def end(a, b):
            return [stamp(datetime.datetime.strptime(
                s, "%Y-%m-%dT%H:%M:%S.000Z") + datetime.timedelta(minutes=m))
                for s, m in zip(start(a, b), minutes(a, b))]
        return {"StartDateTime": start, "ActivityDateTime": start,
                "EndDateTime": end, "DurationInMinutes": minutes,
                "ActivityDate": lambda a, b: [s[:10] for s in start(a, b)],
                "EndDate": lambda a, b: [s[:10] for s in end(a, b)],
                "Location": self.sparse(["Room 5", "Zoom", "Café, 1st"], 0.5),
                "ShowAs": self.picks("Event", "ShowAs"),
                "GroupEventType": self.periodic(["0"]),
                "EventSubtype": self.periodic(["Event"])}

    def cases(self):
        self.insert("Case", self.counts.get("Case", 0), {
            "CaseNumber": self.names("%08d"),
            "AccountId": self.parents("Account", 0.9),
            "ContactId": self.parents("Contact", 0.9),
            "Subject": self.pool(words.SUBJECT),
            "Description": self.pool(words.DESCRIPTION),
            "Status": self.picks("Case", "Status"),
            "Origin": self.picks("Case", "Origin"),
            "Priority": self.picks("Case", "Priority"),
            "Type": self.picks("Case", "Type", 0.5),
            "Reason": self.picks("Case", "Reason", 0.5),
            "OwnerId": self.owners(len(QUEUES))}, self.deleted("Case"))

    def machines(self):
        make = self.makers["Machine__c"]
        names = self.pool(words.MACHINE)
        points = self.rng.choices(
            [(p[5], p[6]) for p in words.PLACE], k=next(self.primes))
        fields = {
            "Name": lambda a, b: ["%s %d" % (name, n) for n, name in
                                  zip(range(a + 1, b + 1), names(a, b))],
            "Serial__c": self.keys("SN-%06d", 0.9),
            "Account__c": self.parents("Account", 0.9),
            "Operator__c": self.parents("Contact", 0.5),
            "Replaces__c": lambda a, b: [
                make(i) if i % 9 == 8 else None for i in range(a, b)],
            "Kind__c": self.picks("Machine__c", "Kind__c", 0.9),
            "Options__c": self.joined(
                self.picks("Machine__c", "Options__c", 0.6),
                self.picks("Machine__c", "Options__c", 0.3)),
            "Active__c": self.pool([0, 1, 1, 1]),
            "Price__c": self.floats(0, 99999999999999.99, 2, 0.9),
            "Quantity__c": self.integers(0, 99999999, 0.8),
            "Wear__c": self.floats(0, 100, 2, 0.8),
            "Pressure__c": self.floats(-1, 100000, 6, 0.8),
            "Installed_On__c": self.dates(3000, 0, 0.9),
            "Last_Reading__c": self.datetimes(300, 0, 0.7),
            "Service_Time__c": self.sparse(
                ["08:00:00.000Z", "00:00:00.000Z", "23:59:59.999Z"], 0.5),
            "Notes__c": self.pool(words.DESCRIPTION),
            "Site_Email__c": self.mails(0.5),
            "Site_Phone__c": self.phones(0.5),
            "Manual__c": self.sparse(["https://example.com/m.pdf#p=1"], 0.5),
            "Position__Latitude__s": self.periodic([p[0] for p in points]),
            "Position__Longitude__s": self.periodic([p[1] for p in points]),
            "Order__c": self.integers(0, 99999),
            "Group__c": self.sparse(["north", "south"], 0.5),
            "User__c": self.sparse(["ada", "ben"], 0.3),
            "OwnerId": self.owners(),
        }
        self.insert("Machine__c", self.counts.get("Machine__c", 0), fields,
                    self.deleted("Machine__c"))

    def small_objects(self):
        if self.made.get("Lead"):
            self.insert("LeadHistory", self.counts.get("LeadHistory", 0), {
                "LeadId": self.parents("Lead"),
                "Field": self.picks("LeadHistory", "Field"),
                "DataType": self.periodic(["Text"]),
                "OldValue": self.pool(words.COMPANY),
                "NewValue": self.pool(words.COMPANY)})
        if self.made.get("Account"):
            self.insert("Attachment", self.counts.get("Attachment", 0), {
                "ParentId": self.parents("Account"),
                "Name": self.names("offer %d.txt"),
                "ContentType": self.periodic(["text/plain"]),
                "Body": self.periodic([b"hello\x00world", b"\xff\xfe", b"x"]),
                "OwnerId": self.owners()})


    def others(self):
        """Objects that were asked for by name and that are not our own."""
        for name, count in self.counts.items():
            obj = self.schema.object(name)
            if obj is not None and obj.name not in self.made:
                self.insert(obj.name, count, {})


def populate(connection, schema, seed, counts, start, end):
    """Fill the empty tables of an org.

    The connection is in autocommit mode; indexes are best made afterwards.
    Answers {"users": {username: id}, "organization": id}.
    """
    seeder = Seeder(connection, schema, seed, counts, start, end)
    # Nobody reads yet, and what breaks off here is begun anew: each page is
    # written once instead of also to a journal.
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    connection.execute("PRAGMA journal_mode = OFF")
    try:
        return seeder.run()
    finally:
        connection.execute("PRAGMA journal_mode = %s" % mode)
