"""What single objects do by themselves when a record is saved.

Each rule takes the change, the object, the whole row as it will be, the columns that are being
set, and the row as it was (None for a new record); it adds columns or refuses. Fields that the
schema computes at reading time need no rule.
"""

import ids
from clock import from_stored, to_stored
from errors import RecordError

#: the parts of a person account that its contact shows under another name
PERSON_PARTS = {"FirstName": "FirstName", "LastName": "LastName", "Salutation": "Salutation",
                "PersonEmail": "Email", "PersonTitle": "Title", "PersonMobilePhone": "MobilePhone",
                "PersonDepartment": "Department", "PersonBirthdate": "Birthdate",
                "PersonMailingStreet": "MailingStreet", "PersonMailingCity": "MailingCity",
                "PersonMailingState": "MailingState",
                "PersonMailingPostalCode": "MailingPostalCode",
                "PersonMailingCountry": "MailingCountry"}


def put(obj, target, name, value):
    """Set a column, if the object has it."""
    field = obj.field(name)
    if field is not None and field.stored:
        target[field.name] = value


# -- sales -------------------------------------------------------------------------------------

def opportunity(change, obj, row, target, old):
    stage = row.get("StageName") or ""
    if old is not None and old.get("StageName") == stage:
        return
    given = row.get("Probability") if old is None else target.get("Probability")
    if given is None:
        put(obj, target, "Probability", chance_of(obj, stage))
    category = {"Closed Won": "Closed", "Closed Lost": "Omitted"}.get(stage, "Pipeline")
    if old is None and row.get("ForecastCategoryName") is None or \
            old is not None and "ForecastCategoryName" not in target:
        put(obj, target, "ForecastCategoryName", category)


def chance_of(obj, stage):
    """Each stage has its percentage; here the stages are spread evenly."""
    if stage == "Closed Won":
        return 100.0
    if stage == "Closed Lost":
        return 0.0
    stages = [entry["value"] for entry in obj.field("StageName").picklist
              if not entry["value"].startswith("Closed")]
    if stage not in stages:
        return 10.0
    return float(round(90 * (stages.index(stage) + 1) / len(stages), -1))


def case(change, obj, row, target, old):
    closed = row.get("Status") == "Closed"
    put(obj, target, "IsClosed", int(closed))
    put(obj, target, "ClosedDate", (row.get("ClosedDate") or change.stamp) if closed else None)
    if old is None:
        last = change.one('SELECT max("CaseNumber") FROM "Case"') or "00001000"
        put(obj, target, "CaseNumber", "%08d" % (int(last) + 1))


# -- activities --------------------------------------------------------------------------------

def task(change, obj, row, target, old):
    check_who(row)
    closed = row.get("Status") == "Completed"
    put(obj, target, "CompletedDateTime",
        (row.get("CompletedDateTime") or change.stamp) if closed else None)
    put(obj, target, "AccountId", account_of(change, row))


def check_who(row):
    if (row.get("WhoId") or "").startswith("00Q") and row.get("WhatId"):
        raise RecordError("FIELD_INTEGRITY_EXCEPTION", "Related To ID: If the Name is a lead, "
                          "the related-to must be blank.", ["WhatId"])


def account_of(change, row):
    """AccountId of an activity: what it is related to, or the contact's account."""
    what, who = row.get("WhatId") or "", row.get("WhoId") or ""
    if what.startswith("001"):
        return what
    if what.startswith("006"):
        return change.one('SELECT "AccountId" FROM "Opportunity" WHERE "Id" = ?', what)
    if who.startswith("003"):
        return change.one('SELECT "AccountId" FROM "Contact" WHERE "Id" = ?', who)
    return None


def event(change, obj, row, target, old):
    check_who(row)
    start, end, minutes = when_of(row, target, old)
    if not start or (end is None and minutes is None):
        raise RecordError("REQUIRED_FIELD_MISSING", "Required fields are missing: "
                          "[DurationInMinutes, ActivityDateTime]",
                          ["DurationInMinutes", "ActivityDateTime"])
    if end is None:
        end = to_stored(from_stored(start) + int(minutes) * 60)
    minutes = int((from_stored(end) - from_stored(start)) // 60)
    if minutes < 0:
        raise RecordError("FIELD_INTEGRITY_EXCEPTION", "Event duration can't be negative",
                          ["DurationInMinutes"])
    for name, value in (("StartDateTime", start), ("ActivityDateTime", start),
                        ("ActivityDate", start[:10]), ("EndDateTime", end),
                        ("EndDate", end[:10]), ("DurationInMinutes", minutes)):
        put(obj, target, name, value)
    put(obj, target, "AccountId", account_of(change, row))


def when_of(row, target, old):
    """Start, end and duration of an event; of the last two the one that is being set counts."""
    start = row.get("StartDateTime") or row.get("ActivityDateTime")
    end, minutes = row.get("EndDateTime"), row.get("DurationInMinutes")
    if old is not None:
        if "StartDateTime" not in target and target.get("ActivityDateTime"):
            start = target["ActivityDateTime"]
        if "EndDateTime" in target and "DurationInMinutes" not in target:
            minutes = None
        elif "EndDateTime" not in target:
            end = None
    if row.get("IsAllDayEvent") and not start and row.get("ActivityDate"):
        start = row["ActivityDate"] + "T00:00:00.000Z"
        minutes = minutes or 1440
    return start, end, minutes


# -- campaigns ---------------------------------------------------------------------------------

def member(change, obj, row, target, old):
    campaign = row.get("CampaignId")
    if old is None:
        check_member(change, campaign, row.get("LeadId"), row.get("ContactId"))
    states = {label.lower(): (label, responded, default) for label, responded, default in
              change.writer.query('SELECT "Label", "HasResponded", "IsDefault" FROM '
                                  '"CampaignMemberStatus" WHERE "CampaignId" = ? AND '
                                  '"IsDeleted" = 0', (campaign,))}
    status = row.get("Status")
    if status is None:
        status = next((label for label, _, default in states.values() if default), None)
    if not status or status.lower() not in states:
        raise RecordError("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "Status: bad value for "
                          "restricted picklist field: %s" % status, ["Status"])
    label, responded, _ = states[status.lower()]
    put(obj, target, "Status", label)
    if responded and not row.get("FirstRespondedDate"):
        put(obj, target, "FirstRespondedDate", change.stamp[:10])


def check_member(change, campaign, lead, contact):
    if bool(lead) == bool(contact):
        raise RecordError("FIELD_INTEGRITY_EXCEPTION", "Lead or Contact: a campaign member must "
                          "be either a lead or a contact", ["LeadId", "ContactId"])
    column, person = ("LeadId", lead) if lead else ("ContactId", contact)
    if change.one('SELECT "Id" FROM "CampaignMember" WHERE "CampaignId" = ? AND "%s" = ? '
                  'AND "IsDeleted" = 0' % column, campaign, person):
        raise RecordError("DUPLICATE_VALUE", "Already a campaign member.")


def member_status(change, obj, row, target, old):
    """A campaign keeps one default and one responded status."""
    for name in ("IsDefault", "HasResponded"):
        if old is not None and old.get(name) and not row.get(name):
            check_other_status(change, row, name)


def check_other_status(change, row, name):
    if not change.one('SELECT "Id" FROM "CampaignMemberStatus" WHERE "CampaignId" = ? AND "%s" = 1 '
                      'AND "IsDeleted" = 0 AND "Id" <> ?' % name, row["CampaignId"], row["Id"]):
        raise RecordError("FIELD_INTEGRITY_EXCEPTION", "a campaign needs a default and a responded "
                          "member status", [name])


def one_default(change, obj, record_id, row, is_new):
    """Choosing another default status takes the mark from the first."""
    if row.get("IsDefault"):
        change.writer.execute('UPDATE "CampaignMemberStatus" SET "IsDefault" = 0, '
                              '"SystemModstamp" = ? WHERE "CampaignId" = ? AND "Id" <> ? AND '
                              '"IsDefault" = 1', (change.stamp, row["CampaignId"], record_id))


def first_statuses(change, obj, record_id, row, is_new):
    """Each new campaign gets the statuses Sent and Responded."""
    if not is_new:
        return
    status = change.schema.object("CampaignMemberStatus")
    inner = change.as_platform()
    for order, label in ((3, "Sent"), (4, "Responded")):
        inner.insert(status, {"CampaignId": record_id, "Label": label, "SortOrder": order,
                              "IsDefault": label == "Sent", "HasResponded": label == "Responded"})


# -- person accounts ---------------------------------------------------------------------------

def account(change, obj, row, target, old):
    """An account with a last name is a person; its Name follows from the parts."""
    if not obj.field("IsPersonAccount"):
        return
    person = bool(row.get("LastName")) if old is None else bool(old.get("IsPersonAccount"))
    if not person:
        if not row.get("Name"):
            raise RecordError("REQUIRED_FIELD_MISSING", "Required fields are missing: [Name]",
                              ["Name"])
        return
    if (target if old is not None else row).get("Name") is not None:
        raise RecordError("INVALID_FIELD_FOR_INSERT_UPDATE", "Account: bad field names on "
                          "insert/update call: Name", ["Name"])
    put(obj, target, "Name", " ".join(filter(None, (row.get("FirstName"), row.get("LastName")))))
    if old is None:
        contact = change.schema.object("Contact")
        put(obj, target, "IsPersonAccount", 1)
        put(obj, target, "PersonContactId", change.org.store.new_id(contact))


def person_contact(change, obj, record_id, row, is_new):
    """The contact that stands behind a person account shows the same."""
    if not row.get("IsPersonAccount"):
        return
    contact, inner = change.schema.object("Contact"), change.as_platform()
    values = {theirs: row.get(ours) for ours, theirs in PERSON_PARTS.items()
              if obj.field(ours) and contact.field(theirs)}
    if is_new:
        inner.insert(contact, dict(values, Id=row["PersonContactId"], AccountId=record_id,
                                   OwnerId=row["OwnerId"], IsPersonAccount=True))
    else:
        inner.update(contact, row["PersonContactId"], values)


def contact(change, obj, row, target, old):
    if row.get("IsPersonAccount"):
        raise RecordError("INVALID_FIELD_FOR_INSERT_UPDATE", "the contact of a person account "
                          "cannot be changed: change the account", ["Id"])


#: before the save
DERIVE = {"Opportunity": opportunity, "Case": case, "Task": task, "Event": event,
          "CampaignMember": member, "CampaignMemberStatus": member_status, "Account": account,
          "Contact": contact}
#: after it
AFTER = {"Campaign": first_statuses, "CampaignMemberStatus": one_default,
         "Account": person_contact}


def queue_or(owner, user_id):
    """A queue can own a lead, but not a contact, an account or an opportunity."""
    return user_id if ids.long_form(owner).startswith("00G") else owner
