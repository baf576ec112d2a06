-- The extension as it is installed, and what PUBLIC may do with it.

CREATE EXTENSION sync;

-- all that is called and read has a comment
SELECT p.oid::regprocedure AS without_comment
FROM pg_proc p
WHERE p.pronamespace = 'sync'::regnamespace
    AND obj_description(p.oid, 'pg_proc') IS NULL
ORDER BY 1;
SELECT c.oid::regclass AS without_comment
FROM pg_class c
WHERE c.relnamespace = 'sync'::regnamespace AND c.relkind IN ('r', 'v')
    AND obj_description(c.oid, 'pg_class') IS NULL
ORDER BY 1;

-- functions that anybody may call
SELECT p.oid::regprocedure AS for_public
FROM pg_proc p
WHERE p.pronamespace = 'sync'::regnamespace
    AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                WHERE a.grantee = 0)
ORDER BY p.oid::regprocedure::text COLLATE "C";

-- nothing can be written by anybody, but numbers be drawn for new rows
SELECT c.oid::regclass AS relation, a.privilege_type
FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
WHERE c.relnamespace = 'sync'::regnamespace AND c.relkind IN ('r', 'v', 'S')
    AND a.grantee = 0
ORDER BY c.relname COLLATE "C", 2;

-- SECURITY DEFINER functions have a search path of their own
SELECT p.oid::regprocedure AS unsafe
FROM pg_proc p
WHERE p.pronamespace = 'sync'::regnamespace AND p.prosecdef
    AND NOT coalesce(p.proconfig::text LIKE '%search_path=%', false);

-- the configuration is dumped, the session is not
SELECT c.oid::regclass AS dumped
FROM pg_extension e, unnest(e.extconfig) oid JOIN pg_class c USING (oid)
WHERE e.extname = 'sync'
ORDER BY c.relname COLLATE "C";

-- and it can go and come again
DROP EXTENSION sync;
CREATE EXTENSION sync;
