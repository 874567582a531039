#!/bin/sh
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

# debian_image.sh PURPOSE RELEASE REFERENCE CA_BUNDLE DIRECTORY PACKAGES [MIRROR...]: makes a root filesystem and imports it into
# podman, unless that has it. For the PURPOSE lab it is like that of a small Debian cloud image; for core it holds just Python and
# what the core needs of the system. PACKAGES are more packages, with commas between. DIRECTORY holds it for a moment. This
# file's hash is part of the image's name.
set -eu
purpose=$1 release=$2 reference=$3 CA_BUNDLE=$4 directory=$5 packages=$6
shift 6
export CA_BUNDLE

# Two runs that begin together need one image.
exec 9<"$(podman info --format '{{.Store.GraphRoot}}')"
flock 9
if podman image exists "$reference"; then exit; fi

work=$(mktemp -d -p "$directory")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# Certificates of this machine that Debian's own bundle lacks, put where update-ca-certificates keeps them.
# shellcheck disable=SC2016 # mmdebstrap's shell expands it
trust_this_machine='
  one_line() { awk "/BEGIN CERT/ { c = \"\" } { c = c \$0 \"|\" } /END CERT/ { print c }" "$1"; }
  [ -r "$CA_BUNDLE" ] || exit 0
  one_line "$1/etc/ssl/certs/ca-certificates.crt" >"$1/tmp/known"
  one_line "$CA_BUNDLE" | grep -vxFf "$1/tmp/known" | while read -r certificate; do
    number=$((${number:-0} + 1))
    echo "$certificate" | tr "|" "\n" >"$1/usr/local/share/ca-certificates/machine-$number.crt"
  done
  rm "$1/tmp/known"
  chroot "$1" update-ca-certificates >/dev/null 2>&1'

# What a cloud image brings and a minimal Debian does not; and no unit that needs a kernel of its own, that would lock the
# package manager at some random time, or that watches files for people who are not there (inotify is scarce, and shared).
# shellcheck disable=SC2016 # mmdebstrap's shell expands it
settle_lab='
  set -e
  echo LANG=C.UTF-8 >"$1/etc/default/locale"
  mkdir -p "$1/etc/systemd/journald.conf.d"
  printf "[Journal]\nStorage=volatile\nRuntimeMaxUse=64M\n" >"$1/etc/systemd/journald.conf.d/lab.conf"
  echo "HostKey /etc/ssh/ssh_host_ed25519_key" >"$1/etc/ssh/sshd_config.d/lab.conf"
  rm -f "$1"/etc/ssh/ssh_host_*
  : >"$1/etc/machine-id"
  touch "$1/etc/.updated" "$1/var/.updated"
  chroot "$1" systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer \
    systemd-binfmt.service systemd-logind.service systemd-modules-load.service systemd-remount-fs.service \
    systemd-sysctl.service systemd-ask-password-console.path systemd-ask-password-wall.path getty.target \
    dev-hugepages.mount sys-fs-fuse-connections.mount sys-kernel-debug.mount sys-kernel-tracing.mount'

# Given as --dpkgopt, these would make mmdebstrap filter each archive, which takes 10 s more.
# shellcheck disable=SC2016 # mmdebstrap's shell expands it
leave_out='
  printf "path-%s\n" "exclude=/usr/share/doc/*" "include=/usr/share/doc/*/copyright" "exclude=/usr/share/man/*" \
    "exclude=/usr/share/locale/*" >"$1/etc/dpkg/dpkg.cfg.d/lab"
  rm -rf "$1"/usr/share/man/* "$1"/usr/share/locale/*'

# What has the time or this machine in it
# shellcheck disable=SC2016 # mmdebstrap's shell expands it
settle_core='
  set -e
  : >"$1/etc/machine-id"
  rm -rf "$1"/var/log/* "$1"/var/cache/ldconfig/aux-cache "$1"/var/cache/debconf/*-old "$1"/var/lib/dpkg/*-old'

case $purpose in
  lab)
    packages=systemd,systemd-sysv,dbus,openssh-server,python3,python3-apt,sudo,ca-certificates,iproute2,procps${packages:+,$packages}
    settle=$settle_lab
    set -- --skip=cleanup/apt/lists "$release" "$work/root.tar" "$@"
    ;;
  core)
    packages=python3,ca-certificates${packages:+,$packages}
    settle=$settle_core
    set -- "$release" "$work/root.tar" "$@"
    ;;
esac

# The hooks of merged /usr save bookworm the package usrmerge, and with it perl. The package lists of a lab stay: five
# hosts need not fetch them as long as they are fresh.
mmdebstrap --quiet --variant=apt \
  --hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr \
  --include="$packages" \
  --aptopt='Acquire::Languages "none"' \
  --dpkgopt=force-unsafe-io \
  --essential-hook="$leave_out" \
  --customize-hook="$trust_this_machine" \
  --customize-hook="$settle" \
  "$@" </dev/null
podman import --quiet --change "LABEL=airstack.$purpose.image=true" "$work/root.tar" "$reference"
