"""Merge and lead conversion, which no plain REST call does."""

import rules
from errors import RecordError
from records import given, of_object, pop_key


class Merging:
    """The part of a Change that makes one record of several."""

    def merge(self, obj, master, losers):
        """The losers go to the bin and name their master; what hung on them hangs on it."""
        if not obj.mergeable:
            raise RecordError("INVALID_TYPE_FOR_OPERATION", "entity type %s does not support merge"
                              % obj.name)
        master_id = of_object(obj, pop_key(master, "Id"))
        self.live_row(obj, master_id)
        if not 1 <= len(losers) <= 2:
            raise RecordError("INVALID_NUMBER_OF_MERGE_RECORDS", "one or two records can be merged "
                              "into another")
        for loser in losers:
            loser = of_object(obj, loser)
            if loser == master_id:
                raise RecordError("MERGE_FAILED", "a record cannot be merged with itself")
            self.live_row(obj, loser)
            self.lock(loser)
            for relation in self.relations(obj):
                self.reparent(relation, loser, master_id)
            self.bury(obj, loser, loser, master_id)
        self.update(obj, master_id, master)
        return master_id

    def reparent(self, relation, loser, master_id):
        child, field = relation.child, relation.field
        columns = {field.name: master_id}
        if self.org.config["bump_on_lookup_null"] and child.field("SystemModstamp"):
            columns["SystemModstamp"] = self.stamp
        for child_id in self.children(relation, loser):
            self.lock(child_id)
            if child.name == "CampaignMember":
                row = self.row(child, child_id)
                if self.one('SELECT "Id" FROM "CampaignMember" WHERE "CampaignId" = ? AND "%s" = ? '
                            'AND "IsDeleted" = 0' % field.name, row["CampaignId"], master_id):
                    self.bury(child, child_id, child_id)
                    continue
            self.set_columns(child, child_id, columns)

    def convert(self, order):
        """A lead becomes a contact of an account, and perhaps an opportunity."""
        lead_obj = self.schema.object("Lead")
        lead_id = of_object(lead_obj, order.get("leadId"))
        lead = self.live_row(lead_obj, lead_id)
        if lead["IsConverted"]:
            raise RecordError("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
        self.lock(lead_id)
        inner = self.without_assignment()
        owner = rules.queue_or(order.get("ownerId") or lead["OwnerId"], self.user.id)
        account = order.get("accountId") or inner.insert(
            self.schema.object("Account"), dict(given({
                "Name": lead["Company"], "Phone": lead["Phone"], "Website": lead["Website"],
                "Industry": lead["Industry"]}), OwnerId=owner))
        contact = order.get("contactId") or inner.insert(
            self.schema.object("Contact"), dict(given({
                "LastName": lead["LastName"], "FirstName": lead["FirstName"],
                "Salutation": lead["Salutation"], "Email": lead["Email"], "Phone": lead["Phone"],
                "MobilePhone": lead["MobilePhone"], "Title": lead["Title"],
                "LeadSource": lead["LeadSource"], "MailingStreet": lead["Street"],
                "MailingCity": lead["City"], "MailingState": lead["State"],
                "MailingPostalCode": lead["PostalCode"], "MailingCountry": lead["Country"]}),
                AccountId=account, OwnerId=owner))
        opportunity = None
        if not order.get("doNotCreateOpportunity"):
            opportunity = inner.insert(self.schema.object("Opportunity"), {
                "Name": order.get("opportunityName") or "%s-" % lead["Company"][:119],
                "AccountId": account, "StageName": "Prospecting", "OwnerId": owner,
                "CloseDate": self.stamp[:10]})
        self.finish_conversion(lead_obj, lead_id, order, account, contact, opportunity)
        return {"id": lead_id, "accountId": account, "contactId": contact,
                "opportunityId": opportunity}

    def finish_conversion(self, lead_obj, lead_id, order, account, contact, opportunity):
        status = order.get("convertedStatus") or "Closed - Converted"
        self.set_columns(lead_obj, lead_id, dict(
            self.touched(lead_obj), Status=status, IsConverted=1, ConvertedDate=self.stamp[:10],
            ConvertedAccountId=account, ConvertedContactId=contact,
            ConvertedOpportunityId=opportunity))
        members = self.writer.query('SELECT "Id" FROM "CampaignMember" WHERE "LeadId" = ? AND '
                                    '"IsDeleted" = 0', (lead_id,)).fetchall()
        member_obj = self.schema.object("CampaignMember")
        for (member,) in members:
            self.set_columns(member_obj, member, dict(self.touched(member_obj), ContactId=contact))
        for name in ("Task", "Event"):
            obj = self.schema.object(name)
            for (activity,) in self.writer.query(
                    'SELECT "Id" FROM "%s" WHERE "WhoId" = ? AND "IsDeleted" = 0' % name,
                    (lead_id,)).fetchall():
                columns = dict(self.touched(obj), WhoId=contact)
                rules.put(obj, columns, "AccountId", account)
                self.set_columns(obj, activity, columns)
