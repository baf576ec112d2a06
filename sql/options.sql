-- Options of servers and user mappings, as they are checked when written.

-- servers
CREATE SERVER bare FOREIGN DATA WRAPPER salesforce;
CREATE SERVER unknown FOREIGN DATA WRAPPER salesforce OPTIONS (login 'x');
CREATE SERVER unknown FOREIGN DATA WRAPPER salesforce OPTIONS (username 'x');
CREATE SERVER plain FOREIGN DATA WRAPPER salesforce
    OPTIONS (login_url 'http://login.salesforce.com');
CREATE SERVER plain FOREIGN DATA WRAPPER salesforce
    OPTIONS (login_url 'http://127.0.0.1.evil.example:80');
CREATE SERVER plain FOREIGN DATA WRAPPER salesforce
    OPTIONS (login_url 'http://localhost@evil.example');
CREATE SERVER plain FOREIGN DATA WRAPPER salesforce
    OPTIONS (login_url 'ftp://login.salesforce.com');
CREATE SERVER plain FOREIGN DATA WRAPPER salesforce OPTIONS (login_url '');
CREATE SERVER versions FOREIGN DATA WRAPPER salesforce
    OPTIONS (api_version 'v62.0');
CREATE SERVER versions FOREIGN DATA WRAPPER salesforce
    OPTIONS (api_version '62');
CREATE SERVER durations FOREIGN DATA WRAPPER salesforce
    OPTIONS (interval '0');
CREATE SERVER durations FOREIGN DATA WRAPPER salesforce
    OPTIONS (interval '-5 min');
CREATE SERVER durations FOREIGN DATA WRAPPER salesforce
    OPTIONS (timeout 'soon');
CREATE SERVER budgets FOREIGN DATA WRAPPER salesforce
    OPTIONS (api_budget '101 %');
CREATE SERVER budgets FOREIGN DATA WRAPPER salesforce
    OPTIONS (api_budget 'nan');
CREATE SERVER headers FOREIGN DATA WRAPPER salesforce
    OPTIONS (client_name E'x\r\nAuthorization: y');
CREATE SERVER files FOREIGN DATA WRAPPER salesforce
    OPTIONS (ca_file 'ca.pem');

-- all of them, and changes
CREATE SERVER acme FOREIGN DATA WRAPPER salesforce
    OPTIONS (login_url 'https://acme.my.salesforce.com', api_version '60.0',
             interval '1 min', overlap '0', api_budget '50 %',
             client_name 'sync-test/1', ca_file '/etc/ssl/certs/ca.pem',
             timeout '30 s', keep_log '7 days');
ALTER SERVER acme OPTIONS (SET interval '1 fortnight');
ALTER SERVER acme OPTIONS (SET interval '2 min', DROP api_version);
SELECT unnest(srvoptions) FROM pg_foreign_server WHERE srvname = 'acme';
CREATE SERVER loopback FOREIGN DATA WRAPPER salesforce
    OPTIONS (login_url 'http://127.0.0.1:8080');
CREATE SERVER loopback6 FOREIGN DATA WRAPPER salesforce
    OPTIONS (login_url 'http://[::1]:8080');

-- user mappings: each grant names what it lacks
CREATE USER MAPPING FOR CURRENT_USER SERVER acme;
CREATE USER MAPPING FOR CURRENT_USER SERVER acme OPTIONS (user 'x');
CREATE USER MAPPING FOR CURRENT_USER SERVER acme OPTIONS (auth 'saml');
CREATE USER MAPPING FOR CURRENT_USER SERVER acme
    OPTIONS (auth 'jwt', client_id 'c', username 'u');
CREATE USER MAPPING FOR CURRENT_USER SERVER acme
    OPTIONS (auth 'jwt', client_id 'c', username 'u',
             private_key_file 'relative.pem');
CREATE USER MAPPING FOR CURRENT_USER SERVER acme
    OPTIONS (auth 'client_credentials', client_id 'c');
CREATE USER MAPPING FOR CURRENT_USER SERVER acme
    OPTIONS (auth 'refresh_token', client_id 'c');
CREATE USER MAPPING FOR CURRENT_USER SERVER acme
    OPTIONS (auth 'password', client_id 'c', client_secret 's', username 'u');
CREATE USER MAPPING FOR CURRENT_USER SERVER acme
    OPTIONS (auth 'password', client_id '', client_secret 's',
             username 'u', password 'p');

-- a value that is refused is not repeated: it may be a secret in the wrong place
CREATE USER MAPPING FOR CURRENT_USER SERVER acme
    OPTIONS (auth 'hunter2', client_id 'c');

CREATE USER MAPPING FOR CURRENT_USER SERVER acme
    OPTIONS (auth 'jwt', client_id 'c', username 'u',
             private_key_file '/no/such/key.pem');
ALTER USER MAPPING FOR CURRENT_USER SERVER acme OPTIONS (DROP username);

-- naming a file of the server takes the rights that file_fdw asks for
CREATE ROLE regress_sync_admin;
GRANT USAGE ON FOREIGN DATA WRAPPER salesforce TO regress_sync_admin;
SET ROLE regress_sync_admin;
CREATE SERVER theirs FOREIGN DATA WRAPPER salesforce;
CREATE USER MAPPING FOR CURRENT_USER SERVER theirs
    OPTIONS (auth 'jwt', client_id 'c', username 'u',
             private_key_file '/etc/passwd');
ALTER SERVER theirs OPTIONS (ca_file '/etc/passwd');
CREATE USER MAPPING FOR CURRENT_USER SERVER theirs
    OPTIONS (auth 'client_credentials', client_id 'c', client_secret 's');
RESET ROLE;
GRANT pg_read_server_files TO regress_sync_admin;
SET ROLE regress_sync_admin;
ALTER SERVER theirs OPTIONS (ca_file '/etc/ssl/certs/ca.pem');
RESET ROLE;

SET client_min_messages = warning;
DROP OWNED BY regress_sync_admin;
DROP ROLE regress_sync_admin;
DROP SERVER acme CASCADE;
DROP SERVER bare, loopback, loopback6;
