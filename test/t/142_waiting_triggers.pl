
# Deferred triggers that wait when the sync writes in a session fire with the
# rights of whoever made them wait, also if a function of somebody else's calls us.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 5, objects => ['Lead']);

hold($node);
sql($node, q{
    CREATE ROLE plain LOGIN;
    CREATE SCHEMA plain AUTHORIZATION plain;
    CREATE FUNCTION public.give_up() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
        AS 'SELECT sync.discard(seq) FROM sync.outbox LIMIT 1';
    INSERT INTO acme.lead (lastname, company) VALUES ('Given up', 'x');
    SET ROLE plain;
    CREATE TABLE plain.work (n int);
    CREATE TABLE plain.done (by_whom text);
    CREATE FUNCTION plain.note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO plain.done VALUES (current_user);
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER note AFTER INSERT ON plain.work DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION plain.note()});
sql($node, q{
    SET SESSION AUTHORIZATION plain;
    BEGIN;
    INSERT INTO plain.work VALUES (1);
    SELECT public.give_up();
    COMMIT});
is(sql($node, 'TABLE plain.done'), 'plain', 'a trigger that waited fired as who made it wait');
is(outbox($node), '', '... and the change was given up');
done_testing();
