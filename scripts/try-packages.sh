#!/bin/sh
# Installs what `npm run package` made for this machine, from the folder `packages` beside scripts/ or the one given, and tries it. Needs Node.js,
# npm and openssl, which it installs in images that lack them: for the images and machines of the release workflow.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
packages=$(cd "${1:-$root/packages}" && pwd)
if command -v apk >/dev/null; then
    apk add --no-cache openssl
elif ! command -v node >/dev/null; then
    # RHEL 8 and what is made of it: the oldest glibc that pgtls runs with.
    dnf --assumeyes --quiet module install nodejs:22/common
    dnf --assumeyes --quiet install openssl
    getconf GNU_LIBC_VERSION
fi

platform=$(node --input-type=module --eval "
  const { hostTarget } = await import('file://$root/scripts/lib/platforms.mjs');
  console.log(hostTarget().name);
")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --ignore-scripts --no-audit --no-fund "$packages"/pgtls-[0-9]*.tgz "$packages/pgtls-$platform"-[0-9]*.tgz
node "$root/scripts/smoke.mjs" "$folder"
