-- The functions of salesforce_check.c.  psql -v so=PATH -f salesforce_check.sql

CREATE FUNCTION check_client(int, text) RETURNS void AS :'so' LANGUAGE c;
CREATE FUNCTION check_request(text, text, text[], text, int) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_many(text[]) RETURNS text[] AS :'so' LANGUAGE c;
CREATE FUNCTION check_stream(text, int) RETURNS bytea AS :'so' LANGUAGE c;
CREATE FUNCTION check_sockets() RETURNS int AS :'so' LANGUAGE c;
CREATE FUNCTION check_url(text) RETURNS bool AS :'so' LANGUAGE c;
CREATE FUNCTION check_origin(text, text) RETURNS bool AS :'so' LANGUAGE c;
CREATE FUNCTION check_json(bytea, text[]) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_id(text) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_soql_string(text) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_soql_datetime(timestamptz) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_parse_datetime(text) RETURNS timestamptz AS :'so' LANGUAGE c;
CREATE FUNCTION check_select(text[], text, text, text, text, int) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_csv(text[], bytea, int[]) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_csv_seconds(bytea, int) RETURNS float8 AS :'so' LANGUAGE c;
CREATE FUNCTION check_describe(text, text) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_login(text, text, text, text, text, text, text, text) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_version(text) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_error(int, text) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_refusal() RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_api(text, text, text) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_limits(int) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_query(text, text[], bool) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_record(text) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_bulk(text, text[], int) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_ask(text[], timestamptz, timestamptz) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_describe_org(text) RETURNS text AS :'so' LANGUAGE c;

-- The functions of write_check.c.
CREATE FUNCTION check_write(text) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_instance(text) RETURNS void AS :'so' LANGUAGE c;
CREATE FUNCTION check_record_refusal(text, text, text[], text) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_write_cost(int) RETURNS float8 AS :'so' LANGUAGE c;
CREATE FUNCTION check_ingest_csv(text[], text) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_ingest_create(text, text, text) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_ingest_upload(text, text) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_ingest_wait(text) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_ingest_abort(text) RETURNS bool AS :'so' LANGUAGE c;
CREATE FUNCTION check_ingest_delete(text) RETURNS void AS :'so' LANGUAGE c;
CREATE FUNCTION check_ingest_results(text, text, text[]) RETURNS text AS :'so' LANGUAGE c;
CREATE FUNCTION check_ingest(text, text, text, text[], text) RETURNS text AS :'so' LANGUAGE c;

-- The error that a statement ends in, as one line.
CREATE FUNCTION error_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    code text; message text; detail text; hint text;
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
        detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', code, message, nullif(detail, ''), nullif(hint, ''));
END $$;

-- Every way of cutting a page in two: how many different results there are.
CREATE FUNCTION csv_results(fields text[], page bytea) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT DISTINCT check_csv(fields, page, ARRAY[a, b])
    FROM generate_series(0, length(page)) a, generate_series(0, length(page)) b
    WHERE a <= b
$$;
