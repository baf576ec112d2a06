// The peer that a user would script: Bulk API 2.0 by jsforce into COPY by pg.
//
// usage: node copy.js PORTFILE SOCKETFOLDER TABLE SOQL
//
// Prints {"rows": n, "seconds": s}.  The clock begins before the job is created,
// whose result the org has kept from an earlier one, so that it is there at the
// first look; and ends with COPY's transaction.  The records are read by for
// await: in a pipeline jsforce's reader stalls.  pg gets a batch of rows per
// write, not each row alone.

'use strict';

const fs = require('fs');
const { once } = require('events');
const jsforce = require('jsforce');
const { Client } = require('pg');
const { from: copyFrom } = require('pg-copy-streams');

const [portFile, socket, table, soql] = process.argv.slice(2);
const ports = JSON.parse(fs.readFileSync(portFile, 'utf8'));
const BATCH = 64 * 1024;

async function logIn() {
  const conn = new jsforce.Connection({
    version: ports.api_versions.at(-1),
    oauth2: { loginUrl: ports.login, clientId: ports.client_id,
              clientSecret: ports.client_secret },
  });
  const user = ports.users[ports.run_as];
  await conn.login(ports.run_as, user.password + user.security_token);
  return conn;
}

function csvLine(record, columns) {
  return columns.map((column) => {
    const value = record[column];
    return value === '' || value === null || value === undefined
      ? '' : `"${String(value).replace(/"/g, '""')}"`;
  }).join(',') + '\n';
}

async function copyRecords(conn, client) {
  const columns = soql.match(/^SELECT (.*?) FROM/i)[1].split(/,\s*/);
  const names = columns.map((name) => client.escapeIdentifier(name.toLowerCase()));
  const sink = client.query(copyFrom(
    `COPY ${table} (${names.join(', ')}) FROM STDIN (FORMAT csv)`));
  const done = once(sink, 'finish');
  let rows = 0;
  let batch = '';
  const records = await conn.bulk2.query(
    soql, { scanAll: true, pollInterval: 10, pollTimeout: 600000 });
  for await (const record of records) {
    batch += csvLine(record, columns);
    rows += 1;
    if (batch.length >= BATCH) {
      if (!sink.write(batch)) await once(sink, 'drain');
      batch = '';
    }
  }
  sink.end(batch);
  await done;
  return rows;
}

async function main() {
  const client = new Client({ host: socket, user: 'bench', database: 'bench' });
  await client.connect();
  const conn = await logIn();
  const began = process.hrtime.bigint();
  await client.query('BEGIN');
  const rows = await copyRecords(conn, client);
  await client.query('COMMIT');
  const seconds = Number(process.hrtime.bigint() - began) / 1e9;
  await client.end();
  console.log(JSON.stringify({ rows, seconds }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
