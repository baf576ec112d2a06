// What jsforce makes of the simulated org.  usage: node check.js PORTFILE
//
// Prints TAP.  Each check is a function of its own; one that throws has
// failed, and the others go on.

'use strict';

const assert = require('assert');
const crypto = require('crypto');
const fs = require('fs');
const jsforce = require('jsforce');

const ports = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const VERSION = '62.0';
const JWT = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const CHECK_MS = 60000;

let conn;                               // logged in as sync@example.com

// Logging in ----------------------------------------------------------------

function base64url(data) {
  return Buffer.from(data).toString('base64url');
}

function assertion(username) {
  const head = base64url(JSON.stringify({ alg: 'RS256' }));
  const body = base64url(JSON.stringify({
    iss: ports.client_id, sub: username, aud: 'https://login.salesforce.com',
    exp: Math.floor(Date.now() / 1000) + 120,
  }));
  const signed = `${head}.${body}`;
  const key = fs.readFileSync(ports.private_key_file);
  return `${signed}.${base64url(crypto.sign('sha256', signed, key))}`;
}

function fresh() {
  return new jsforce.Connection({
    version: VERSION,
    oauth2: { loginUrl: ports.login, clientId: ports.client_id,
              clientSecret: ports.client_secret },
  });
}

async function jwtLogin() {
  conn = fresh();
  const user = await conn.authorize(
    { grant_type: JWT, assertion: assertion('sync@example.com') });
  assert.strictEqual(user.id, ports.users['sync@example.com'].id);
  assert.strictEqual(user.organizationId, ports.org_id);
  assert.strictEqual(conn.instanceUrl, ports.instance);
  // Bulk jobs are looked at often, so that the checks are quick.
  conn.bulk2.pollInterval = 50;
  conn.bulk2.pollTimeout = CHECK_MS;
}

async function passwordLogin() {
  const other = fresh();
  const ada = ports.users['ada@example.com'];
  const user = await other.login('ada@example.com',
                                 ada.password + ada.security_token);
  assert.strictEqual(user.id, ada.id);
  const who = await other.identity();
  assert.strictEqual(who.username, 'ada@example.com');
}

async function badLogin() {
  await assert.rejects(fresh().login('ada@example.com', 'wrong'),
                       (error) => error.name === 'invalid_grant');
}

async function refreshesAfterExpiry() {
  const mine = new jsforce.Connection({
    version: VERSION, instanceUrl: ports.instance, accessToken: 'expired',
    refreshToken: ports.refresh_token,
    oauth2: { loginUrl: ports.login, clientId: ports.client_id,
              clientSecret: ports.client_secret },
  });
  let refreshed = 0;
  mine.on('refresh', () => { refreshed += 1; });
  const result = await mine.query('SELECT count() FROM Lead');
  assert.strictEqual(result.totalSize, 1000);
  assert.strictEqual(refreshed, 1);
}

async function versions() {
  const found = await conn.request('/services/data');
  assert(found.some((v) => v.version === VERSION
                    && v.url === `/services/data/v${VERSION}`));
}

// Describe --------------------------------------------------------------------

async function describeGlobal() {
  const all = await conn.describeGlobal();
  const lead = all.sobjects.find((o) => o.name === 'Lead');
  assert.strictEqual(lead.keyPrefix, '00Q');
  assert(all.sobjects.some((o) => o.name === 'Machine__c' && o.custom));
}

async function describe() {
  const lead = await conn.sobject('Lead').describe();
  assert.strictEqual(lead.fields.find((f) => f.name === 'LastName').length,
                     80);
  assert(lead.childRelationships.some(
    (c) => c.relationshipName === 'CampaignMembers' && c.cascadeDelete));
  await assert.rejects(conn.sobject('Nope').describe(),
                       (error) => error.errorCode === 'NOT_FOUND');
}

async function limits() {
  const found = await conn.limits();
  assert(found.DailyApiRequests.Remaining < found.DailyApiRequests.Max);
  assert(conn.limitInfo.apiUsage.used > 0);
  assert.strictEqual(conn.limitInfo.apiUsage.limit,
                     found.DailyApiRequests.Max);
}

// Query -----------------------------------------------------------------------

async function queryPages() {
  let pages = 1;
  let page = await conn.query('SELECT Id, Name FROM Lead ORDER BY Id', {
    headers: { 'Sforce-Query-Options': 'batchSize=300' } });
  const ids = page.records.map((r) => r.Id);
  assert.strictEqual(page.totalSize, 1000);
  assert.strictEqual(page.records.length, 300);
  while (!page.done) {
    page = await conn.queryMore(page.nextRecordsUrl);
    pages += 1;
    ids.push(...page.records.map((r) => r.Id));
  }
  assert.strictEqual(pages, 4);
  assert.strictEqual(new Set(ids).size, 1000);
}

async function autoFetch() {
  const records = await conn.query('SELECT Id FROM Lead')
    .run({ autoFetch: true, maxFetch: 5000 });
  assert.strictEqual(records.records ? records.records.length
                     : records.length, 1000);
}

async function queryOfParentsAndChildren() {
  const found = await conn.query(
    'SELECT Id, Owner.Name, (SELECT Id, LastName FROM Contacts) '
    + 'FROM Account LIMIT 50');
  assert(found.records.every((r) => r.Owner.Name));
  assert(found.records.some((r) => r.Contacts && r.Contacts.records.length));
}

async function queryWithFind() {
  const found = await conn.sobject('Lead')
    .find({ IsConverted: false,
            CreatedDate: { $gte: jsforce.SfDate.YESTERDAY } }, ['Id', 'Name'])
    .limit(5);
  assert(Array.isArray(found));
  const like = await conn.sobject('Account')
    .find({ Name: { $like: 'The "Best"%' } }, 'Id, Name');
  assert(like.every((r) => r.Name.startsWith('The "Best"')));
}

async function queryAll() {
  const found = await conn.query(
    'SELECT Id FROM Lead WHERE IsDeleted = true', { scanAll: true });
  assert(found.totalSize > 0);
}

async function badQuery() {
  await assert.rejects(conn.query('SELECT Nope FROM Lead'),
                       (error) => error.errorCode === 'INVALID_FIELD');
  await assert.rejects(conn.query('SELECT Id FROM Lead WHERE'),
                       (error) => error.errorCode === 'MALFORMED_QUERY');
}

// Rows and Collections ----------------------------------------------------------

async function row() {
  const made = await conn.sobject('Lead').create(
    { LastName: 'Jürgens', Company: 'O\'Brien "& Co"' });
  assert(made.success && made.id.length === 18);
  const changed = await conn.sobject('Lead').update(
    { Id: made.id, Title: '部長' });
  assert(changed.success);
  const read = await conn.sobject('Lead').retrieve(made.id);
  assert.strictEqual(read.Title, '部長');
  assert.strictEqual(read.Company, 'O\'Brien "& Co"');
  assert((await conn.sobject('Lead').destroy(made.id)).success);
  await assert.rejects(conn.sobject('Lead').retrieve(made.id));
}

async function rowRefused() {
  await assert.rejects(
    conn.sobject('Lead').create({ Company: 'x' }),
    (error) => error.errorCode === 'REQUIRED_FIELD_MISSING');
}

async function rowUpsert() {
  const lead = { LastName: 'Up', Company: 'Sert', Ext__c: 'js-1' };
  const first = await conn.sobject('Lead').upsert({ ...lead }, 'Ext__c');
  assert(first.success && first.created);
  const second = await conn.sobject('Lead').upsert({ ...lead }, 'Ext__c');
  assert(second.success && !second.created);
}

async function collections() {
  const leads = [];
  for (let n = 0; n < 450; n += 1) {
    leads.push({ LastName: n === 7 ? '' : `Many ${n}`, Company: 'Acme' });
  }
  const made = await conn.sobject('Lead').create(
    leads, { allowRecursive: true });
  assert.strictEqual(made.length, 450);
  assert(!made[7].success);
  assert.strictEqual(made[7].errors[0].statusCode
                     || made[7].errors[0].errorCode,
                     'REQUIRED_FIELD_MISSING');
  const ids = made.filter((r) => r.success).map((r) => r.id);
  assert.strictEqual(ids.length, 449);
  const changed = await conn.sobject('Lead').update(
    ids.map((Id) => ({ Id, Title: 'Both' })), { allowRecursive: true });
  assert(changed.every((r) => r.success));
  const found = await conn.query(
    "SELECT count() FROM Lead WHERE Title = 'Both'");
  assert.strictEqual(found.totalSize, 449);
  const read = await conn.sobject('Lead').retrieve(ids.slice(0, 3));
  assert.deepStrictEqual(read.map((r) => r.Title), ['Both', 'Both', 'Both']);
  const gone = await conn.sobject('Lead').destroy(
    ids, { allowRecursive: true });
  assert(gone.every((r) => r.success));
}

async function collectionsAllOrNone() {
  const made = await conn.sobject('Lead').create(
    [{ LastName: 'None', Company: 'x' }, { Company: 'x' }],
    { allOrNone: true });
  assert.deepStrictEqual(made.map((r) => r.errors[0].statusCode), [
    'ALL_OR_NONE_OPERATION_ROLLED_BACK', 'REQUIRED_FIELD_MISSING']);
}

async function updatedAndDeleted() {
  const start = new Date(Date.now() - 3600000);
  const end = new Date(Date.now() + 120000);
  const changed = await conn.sobject('Lead').updated(start, end);
  assert(changed.ids.length > 0 && changed.latestDateCovered);
  const gone = await conn.sobject('Lead').deleted(start, end);
  assert(gone.deletedRecords.length >= 449);
  assert(gone.deletedRecords.every((r) => r.id && r.deletedDate));
}

// Bulk API 2.0 ------------------------------------------------------------------

async function bulkQuery() {
  const records = [];
  const stream = await conn.bulk2.query(
    'SELECT Id, LastName, Description, IsConverted FROM Lead');
  for await (const record of stream) records.push(record);
  const rest = await conn.query(
    'SELECT Id, LastName, Description, IsConverted FROM Lead')
    .run({ autoFetch: true, maxFetch: 100000 });
  const wanted = new Map((rest.records || rest).map((r) => [r.Id, r]));
  assert.strictEqual(records.length, wanted.size);
  for (const record of records) {
    const one = wanted.get(record.Id);
    assert.strictEqual(record.LastName, one.LastName);
    assert.strictEqual(record.Description, one.Description || '');
    assert.strictEqual(record.IsConverted, String(one.IsConverted));
  }
}

async function bulkQueryRefused() {
  await assert.rejects(conn.bulk2.query('SELECT Id FROM TaskStatus'),
                       (error) => error.errorCode === 'INVALIDENTITY');
}

async function bulkIngest() {
  const input = [];
  for (let n = 0; n < 500; n += 1) {
    input.push({ LastName: n % 100 === 5 ? '' : `Bulk ${n}`,
                 Company: 'With "quotes", commas\nand lines',
                 Ext__c: `js-bulk-${n}` });
  }
  const result = await conn.bulk2.loadAndWaitForResults(
    { object: 'Lead', operation: 'insert', input,
      pollInterval: 50, pollTimeout: CHECK_MS });
  assert.strictEqual(result.successfulResults.length, 495);
  assert.strictEqual(result.failedResults.length, 5);
  assert(result.failedResults.every(
    (r) => r.sf__Error.startsWith('REQUIRED_FIELD_MISSING:')));
  assert.strictEqual(result.unprocessedRecords.length, 0);
  const one = await conn.sobject('Lead').findOne({ Ext__c: 'js-bulk-1' });
  assert.strictEqual(one.Company, 'With "quotes", commas\nand lines');
}

async function bulkUpsert() {
  const result = await conn.bulk2.loadAndWaitForResults(
    { object: 'Lead', operation: 'upsert', externalIdFieldName: 'Ext__c',
      input: [{ Ext__c: 'js-bulk-1', LastName: 'Renamed', Company: '' },
              { Ext__c: 'js-bulk-new', LastName: 'New', Company: 'Co' }],
      pollInterval: 50, pollTimeout: CHECK_MS });
  const created = Object.fromEntries(result.successfulResults.map(
    (r) => [r.Ext__c, r.sf__Created]));
  assert.deepStrictEqual(created, { 'js-bulk-1': 'false',
                                    'js-bulk-new': 'true' });
  const one = await conn.sobject('Lead').findOne({ Ext__c: 'js-bulk-1' });
  assert.strictEqual(one.LastName, 'Renamed');
  assert(one.Company.startsWith('With'), 'an empty value changes nothing');
}

async function bulkDelete() {
  const found = await conn.query(
    "SELECT Id FROM Lead WHERE Ext__c LIKE 'js-bulk-%'")
    .run({ autoFetch: true, maxFetch: 10000 });
  const result = await conn.bulk2.loadAndWaitForResults(
    { object: 'Lead', operation: 'delete',
      input: (found.records || found).map((r) => ({ Id: r.Id })),
      pollInterval: 50, pollTimeout: CHECK_MS });
  assert.strictEqual(result.successfulResults.length, 496);
}

// -------------------------------------------------------------------------------

const CHECKS = [
  jwtLogin, passwordLogin, badLogin, refreshesAfterExpiry, versions,
  describeGlobal, describe, limits,
  queryPages, autoFetch, queryOfParentsAndChildren, queryWithFind, queryAll,
  badQuery, row, rowRefused, rowUpsert, collections, collectionsAllOrNone,
  updatedAndDeleted, bulkQuery, bulkQueryRefused, bulkIngest, bulkUpsert,
  bulkDelete,
];

function inTime(check) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('took too long')), CHECK_MS);
  });
  return Promise.race([check(), late]).finally(() => clearTimeout(timer));
}

async function main() {
  let failed = 0;
  console.log(`1..${CHECKS.length}`);
  for (const [n, check] of CHECKS.entries()) {
    try {
      await inTime(check);
      console.log(`ok ${n + 1} - ${check.name}`);
    } catch (error) {
      failed += 1;
      console.log(`not ok ${n + 1} - ${check.name}`);
      console.log(String(error.stack || error).replace(/^/gm, '# '));
    }
  }
  // Sockets that are kept alive would keep the process, too.
  process.exit(failed ? 1 : 0);
}

main();
