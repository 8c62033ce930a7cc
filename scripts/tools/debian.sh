# shellcheck shell=bash
# Sourced by install-engine and stand-ins: how they announce a step, fail, become root, and use apt.
#
# A step is announced in one line before it starts, and what it prints goes to the terminal. The
# first step that fails is the last one; a line that begins with "error: " then names it, and the
# exit code is 2, as with the gate's own errors.

doing="Looking at this machine"
explained=''

step() { # WHAT HOW_LONG
  doing=$1
  echo "--- $1 ($2)"
}

fail() { # WHAT_IS_WRONG_AND_WHAT_TO_DO…
  echo "error: $*" >&2
  explained=1
  exit 2
}

have() { command -v "$1" >/dev/null; }

as_root() { # COMMAND…
  if [ "$(id -u)" = 0 ]; then
    "$@"
  else
    have sudo || fail "$doing needs root, and sudo was not found: run this as root"
    sudo "$@"
  fi
}

apt() { # ARGUMENT…
  have apt-get || fail "$doing needs apt-get (Debian, Ubuntu), which was not found: do it by hand"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get "$@"
}

install_packages() { # PACKAGE…
  step "Installing $*" "up to a minute"
  local command=(install -y --no-install-recommends "$@")
  if apt "${command[@]}"; then return; fi
  # apt's lists of packages may be missing, or so old that the mirror has newer files.
  apt update
  apt "${command[@]}"
}

# Set `mirror` to the Debian mirror that this machine's apt uses.
find_mirror() {
  mirror=$(debian_mirror)
  if [ -z "$mirror" ]; then
    apt update
    mirror=$(debian_mirror)
  fi
  [ -n "$mirror" ] || fail "$doing needs Debian's packages, and apt has no source of them"
}

# shellcheck disable=SC2016 # apt expands $(SITE)
debian_mirror() { apt-get indextargets --format '$(SITE)' 'Label: Debian' | sed -n 1p; }

# Run apt-get in the current folder with Debian trixie as its only source, after find_mirror. The
# machine's own sources and lists stay as they are.
trixie() { # ARGUMENT…
  mkdir -p lists/partial
  printf '%s\n' "deb $mirror trixie main" "deb-src $mirror trixie main" >sources.list
  apt-get -o Dir::Etc::sourcelist="$PWD/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::State::Lists="$PWD/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
    -o APT::Sandbox::User=root "$@"
}

finish() {
  local code=$?
  # What debootstrap has unpacked belongs to root.
  rm -rf "$scratch" 2>/dev/null || as_root rm -rf "$scratch"
  if [ $code != 0 ] && [ -z "$explained" ]; then
    echo "error: $doing failed (see above)" >&2
    code=2
  fi
  exit $code
}

# All files are written in a folder that goes at the end. It is not in /tmp, which may be small, or
# mounted so that it cannot hold the devices of a Debian system.
scratch=$(mktemp -d "${TMPDIR:-/var/tmp}/engine.XXXXXX")
trap finish EXIT
