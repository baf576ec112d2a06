# test/demo/place.sh - where the demo lives: one place for each user, so that
# demo-stop and the next demo find it, in /tmp, since the paths of sockets must
# be short and root's demo runs as nobody, who may not enter everywhere.
demo=/tmp/sync-demo-$(id -u)
