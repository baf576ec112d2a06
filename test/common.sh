# test/common.sh - what test/run, test/demo/start and test/bench/run share:
# finding or installing what they need, and building a private, staged copy.
#
# Sourced by sh scripts that have set $top to the root of the source tree.
# Nothing here touches a running server, the installed PostgreSQL or the tree.

# Python as the system has it: python3-cryptography is a system package.
PYTHON=${PYTHON:-/usr/bin/python3}
[ -x "$PYTHON" ] || PYTHON=python3
export PYTHON

say()
{
	printf '%s\n' "$*"
}

die()
{
	printf '%s\n' "$*" >&2
	exit 1
}

# True if $1 names the pg_config of a complete installation: server, client
# and what is needed to build extensions.
server_is_complete()
{
	bindir=$("$1" --bindir 2>/dev/null) || return 1
	[ -x "$bindir/postgres" ] && [ -x "$bindir/initdb" ] &&
		[ -x "$bindir/psql" ] &&
		[ -f "$("$1" --includedir-server)/postgres.h" ] &&
		[ -f "$("$1" --pgxs)" ]
}

# Sets PG_CONFIG, to the one given in the environment or the newest installed.
find_server()
{
	if [ -n "${PG_CONFIG:-}" ]; then
		server_is_complete "$PG_CONFIG"
		return
	fi
	for candidate in pg_config $(ls /usr/lib/postgresql/*/bin/pg_config \
		2>/dev/null | sort -rV); do
		if server_is_complete "$candidate"; then
			PG_CONFIG=$candidate
			export PG_CONFIG
			return 0
		fi
	done
	return 1
}

has_header()
{
	printf '#include <%s>\n' "$1" | cc -E - >/dev/null 2>&1
}

has_python()
{
	"$PYTHON" -c "import $1" >/dev/null 2>&1
}

has_perl()
{
	perl -M"$1" -e 1 >/dev/null 2>&1
}

# The Debian packages that are missing for building and running (always) and
# for the tests (with "tests").
missing_packages()
{
	command -v cc >/dev/null || echo gcc libc6-dev
	command -v make >/dev/null || echo make
	find_server || debian_server
	has_header curl/curl.h || echo libcurl4-openssl-dev
	has_header json-c/json.h || echo libjson-c-dev
	has_header openssl/evp.h || echo libssl-dev
	[ -x "$(command -v "$PYTHON")" ] || echo python3
	has_python cryptography || echo python3-cryptography
	command -v setpriv >/dev/null || echo util-linux
	if [ "${1:-}" = demo ]; then
		command -v curl >/dev/null || echo curl
	fi
	[ "${1:-}" = tests ] || return 0
	has_perl Test::More || echo perl
	has_perl IPC::Run || echo libipc-run-perl
	has_python requests || echo python3-requests
	command -v node >/dev/null || echo nodejs
	command -v npm >/dev/null || echo npm
}

# The server that this release of Debian calls "postgresql".
debian_server()
{
	version=$(apt-cache show postgresql 2>/dev/null |
		sed -n 's/^Depends:.*postgresql-\([0-9][0-9]*\).*/\1/p' | head -n 1)
	version=${version:-15}
	echo "postgresql-$version postgresql-server-dev-$version"
}

# Becomes root for one command, or says that it cannot.
as_root()
{
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif ! command -v sudo >/dev/null; then
		return 1
	elif [ -t 0 ]; then
		sudo "$@"
	else
		sudo -n "$@"
	fi
}

apt()
{
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get -q -o DPkg::Lock::Timeout=300 "$@"
}

# Installs what is missing; $1 = "demo" or "tests" for their own needs too.
set_up()
{
	missing=$(missing_packages "${1:-}" | tr '\n' ' ')
	if [ -z "$missing" ]; then
		find_server
		return
	fi
	command -v apt-get >/dev/null ||
		die "Missing, by their Debian names: $missing" \
			"- install them and try again."
	# The lists of packages may be absent or too old to install from, and
	# only with them is the server's version known.
	log=$(mktemp)
	say "Installing what is missing: $missing"
	apt update >"$log" 2>&1
	missing=$(missing_packages "${1:-}" | tr '\n' ' ')
	# shellcheck disable=SC2086
	if ! apt install -y --no-install-recommends $missing >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		rm -f "$log"
		die "Could not install them. As root: apt-get install $missing"
	fi
	rm -f "$log"
	left=$(missing_packages "${1:-}" | tr '\n' ' ')
	[ -z "$left" ] || die "Still missing: $left"
	find_server
}

has_fuzzer()
{
	make -s -C "$top/test/fuzz" PG_CONFIG="$PG_CONFIG" runtime >/dev/null 2>&1
}

# clang's libFuzzer, if it can be had: without it test/fuzz is skipped.
set_up_fuzzer()
{
	has_fuzzer && return
	if command -v apt-get >/dev/null && apt update >/dev/null 2>&1; then
		say "Installing clang for test/fuzz"
		apt install -y --no-install-recommends clang >/dev/null 2>&1
		version=$(clang -dumpversion 2>/dev/null | cut -d . -f 1)
		apt install -y --no-install-recommends "libclang-rt-$version-dev" \
			>/dev/null 2>&1
	fi
	has_fuzzer || say "No libFuzzer to be had: test/fuzz will be skipped."
}

# copy_tree FOLDER: the sources alone, without anything that was built.
copy_tree()
{
	mkdir -p "$1"
	(cd "$top" && tar -cf - --exclude='*.o' --exclude='*.so' --exclude='*.bc' \
		--exclude='*.d' --exclude=__pycache__ --exclude=node_modules \
		Makefile README.md sync.control sql src expected test) |
		tar -xf - --no-same-owner -C "$1"
}

# build_stage TREE STAGE [make arguments]: builds TREE, installs below STAGE.
build_stage()
{
	tree=$1
	stage=$2
	shift 2
	if ! {
		make -s -C "$tree" -j "$(nproc)" PG_CONFIG="$PG_CONFIG" \
			with_llvm=no "$@" &&
			make -s -C "$tree" install PG_CONFIG="$PG_CONFIG" \
				with_llvm=no DESTDIR="$stage" "$@"
	} >"$tree/build.log" 2>&1; then
		cat "$tree/build.log" >&2
		return 1
	fi
}

# The settings with which a server finds the staged extension.  Debian's
# servers have extension_destdir, others from 18 on extension_control_path.
stage_settings()
{
	echo "dynamic_library_path = '$1$("$PG_CONFIG" --pkglibdir):\$libdir'"
	if "$("$PG_CONFIG" --bindir)/postgres" --describe-config |
		grep -q '^extension_destdir'; then
		echo "extension_destdir = '$1'"
	else
		echo "extension_control_path = '$1$("$PG_CONFIG" --sharedir):\$system'"
	fi
	echo "shared_preload_libraries = 'sync'"
}

# Servers refuse to run as root.  unprivileged FOLDER COMMAND...: runs the
# command as nobody, to whom FOLDER is given, if we are root.
unprivileged()
{
	folder=$1
	shift
	if [ "$(id -u)" = 0 ]; then
		chown -R nobody:nogroup "$folder"
		(cd "$folder" && exec setpriv --reuid=nobody --regid=nogroup \
			--clear-groups env HOME="$folder" USER=nobody LOGNAME=nobody \
			"$@")
	else
		"$@"
	fi
}
