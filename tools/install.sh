#!/bin/sh
# What is missing of tools/packages, and how to get it.
#
#   install.sh WHAT...            installs it (apt; sudo if need be), and says so; silent if all is here
#   install.sh --missing WHAT...  installs nothing: one line with the command, status 1
#
# WHAT: build, run, check, handouts; each takes in those before it. And faster: what a check can do without.
set -u
cd "$(dirname "$0")/.." || exit 1
list=${ZENO_PACKAGES:-tools/packages}

here() {
	case $1 in
	cmd:*) command -v "${1#cmd:}" > /dev/null 2>&1 ;;
	file:*)
		# unquoted: it may be a pattern
		set -- ${1#file:}
		[ -e "$1" ]
		;;
	*)
		echo "$list: $1: neither cmd:NAME nor file:PATH" >&2
		exit 2
		;;
	esac
}

wanted() {
	for what; do
		case $what in
		build) echo build ;;
		run) echo build run ;;
		check) echo build run check handouts ;;
		handouts) echo build handouts ;;
		faster) echo build faster ;;
		*)
			echo "install.sh: I know no $what: build, run, check, handouts, faster" >&2
			exit 2
			;;
		esac
	done
	[ "$(uname -m)" = x86_64 ] || echo cross
}

only_say=
if [ "${1:-}" = --missing ]; then
	only_say=1
	shift
fi
whats=" $(wanted "$@" | tr '\n' ' ') " || exit 2
[ -n "${whats##* build *}" ] && exit 2

packages= names=
while read -r names_of what see why; do
	case $names_of in '' | '#'*) continue ;; esac
	case $whats in *" $what "*) ;; *) continue ;; esac
	here "$see" && continue
	packages="$packages $(echo "$names_of" | tr , ' ')"
	see=${see#cmd:}
	names="${names:+$names, }${see#file:}"
done < "$list"
[ -z "$packages" ] && exit 0

command="apt-get install --no-install-recommends$packages"
[ "$(id -u)" = 0 ] || command="sudo $command"
if [ -n "$only_say" ]; then
	echo "not here: $names; this installs it: $command"
	exit 1
fi
if ! command -v apt-get > /dev/null 2>&1; then
	echo "Zeno needs $names, and this system has no apt-get to install it with." >&2
	echo "Debian calls the packages$packages" >&2
	exit 1
fi
sudo=
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo > /dev/null 2>&1; then
		echo "Zeno needs $names. Run this as root, then start again:" >&2
		echo "    apt-get update && ${command#sudo }" >&2
		exit 1
	fi
	sudo=sudo
fi
echo "Zeno needs $names. Installing the packages$packages ..."
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
if $sudo apt-get -q update > "$log" 2>&1 &&
	$sudo env DEBIAN_FRONTEND=noninteractive \
		apt-get -q -y install --no-install-recommends $packages >> "$log" 2>&1; then
	echo "... installed."
else
	tail -n 20 "$log" >&2
	echo "apt-get failed (above). When it works again: $command" >&2
	exit 1
fi
