# test/demo/services.sh DEMO BINDIR - starts the demo's org and server, as the
# user they shall run as, and returns when both answer.  The server listens on
# a socket in a folder that nobody else may enter, and on no port.

set -eu
demo=$1
bindir=$2
cd "$demo"
mkdir socket

# Some 100,000 records over the eight categories of objects, of the year up to
# yesterday.
setsid "$PYTHON" tree/test/org --state "$demo/org" --port-file "$demo/port.json" \
	--quiet --start "$(date -d '-366 days' +%F)" --end "$(date -d yesterday +%F)" \
	--leads 40000 --contacts 20000 --accounts 10000 \
	--opportunities 8000 --campaigns 100 --members 12000 --tasks 6000 \
	--events 2000 --machines 2000 </dev/null >org.log 2>&1 &
org=$!

"$bindir/initdb" -D "$demo/data" -U demo --auth=trust --encoding=UTF8 --no-locale \
	--no-sync >initdb.log 2>&1 || { cat initdb.log; exit 1; }
cat server.conf >>"$demo/data/postgresql.conf"
cat >>"$demo/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$demo/socket'
logging_collector = off
max_wal_size = '4GB'
CONF
"$bindir/pg_ctl" -D "$demo/data" -l server.log -w start </dev/null
"$bindir/createdb" -h "$demo/socket" -U demo demo

while [ ! -f port.json ]; do
	kill -0 "$org" 2>/dev/null || { cat org.log; exit 1; }
	sleep 0.1
done
