#!/bin/bash
# Builds the guest image from the distribution's own packages, without root: a kernel, and an initramfs with busybox,
# virtio modules, dropbear and the bank. Everything of a guest is in memory but its data disk, so an image is small, boots
# in seconds even under emulation, and a snapshot of it is mostly what the experiment put there.
#   images/build.sh OUTDIR [NAME...]
# Makes OUTDIR/{vmlinuz,initrd,image.json}; does nothing when they were made from the same inputs. With NAMEs there is more
# software in it: images/with/NAME says which packages, and which of their programs.
set -euo pipefail
out=${1:?usage: images/build.sh OUTDIR [NAME...]}
shift
here=$(cd "$(dirname "$0")" && pwd)
say() { echo "image: $*" >&2; }
die() { say "$*"; exit 1; }

lists=()
for name in "$@"; do
  case $name in *[!a-z0-9]* | "") die "$name is no name of software: give one of $(ls "$here/with" | paste -sd ' ')" ;; esac
  [ -f "$here/with/$name" ] || die "there is no images/with/$name: give one of $(ls "$here/with" | paste -sd ' ')"
  lists+=("$here/with/$name")
done
mkdir -p "$out"
out=$(cd "$out" && pwd)
listed() { # what the lists of software say about `package` or `program`
  [ ${#lists[@]} = 0 ] || sed -n "s/^$1 //p" "${lists[@]}"
}

inputs=$(cd "$here" && cat bank.c bank-common.h build.sh init line.c packages.txt "${lists[@]}" | sha256sum | cut -d' ' -f1)
if [ -s "$out/vmlinuz" ] && [ -s "$out/initrd" ] && [ -f "$out/image.json" ] &&
  grep -q "\"inputs\": \"$inputs\"" "$out/image.json"; then
  exit 0
fi

for tool in gcc cpio dpkg-deb apt-get gzip; do
  command -v "$tool" >/dev/null || die "$tool is missing: apt-get install $(tr '\n' ' ' <"$here/packages.txt")"
done

work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/debs" "$work/root" "$work/initrd"

# Debian's cloud kernel; Ubuntu's (untested) has its modules in a package of their own.
kernel_packages() {
  local k
  k=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
  if [ -n "$k" ]; then echo "$k"; return; fi
  k=$(apt-cache depends linux-image-virtual 2>/dev/null | sed -n 's/^ *Depends: linux-image-\([0-9].*\)$/\1/p' | head -n 1)
  if [ -n "$k" ]; then echo "linux-image-$k linux-modules-$k"; return; fi
  die "apt knows no kernel package: run apt-get update as root first"
}
depends() { apt-cache depends --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$@"; }
library_packages() {
  depends --recurse dropbear-bin | grep '^[a-z]' | grep -E '^(lib|zlib|dropbear-bin)'
  for package in $(listed package); do # of these, by way of libraries only: the rest is for installing them
    depends "$package" | sed -n 's/^ *|\{0,1\}Depends: \(\(lib\|zlib\)[^ ]*\)$/\1/p'
  done | sort -u | while read -r library; do depends --recurse "$library" | grep -E '^(lib|zlib)'; done
}

packages="$(kernel_packages) busybox-static $(listed package | paste -sd ' ') $(library_packages | sort -u | paste -sd ' ')"
say "fetching $(echo "$packages" | wc -w) packages from the distribution"
(cd "$work/debs" && apt-get download -q $packages >"$work/download.log" 2>&1) || { cat "$work/download.log" >&2; die "apt-get download failed"; }
for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/root"; done

say "building the bank, and what measures a line"
gcc -O2 -Wall -Wextra -Werror -static -o "$work/bank" "$here/bank.c"
gcc -O2 -Wall -Wextra -Werror -static -o "$work/line" "$here/line.c"

say "packing the initramfs"
r=$work/initrd
mkdir -p "$r"/{bin,sbin,etc,proc,sys,dev,run,tmp,root,home,data,var/log,usr/bin,usr/sbin,lib/modules,lib64,lib/x86_64-linux-gnu}
busybox=$(find "$work/root" -path '*bin/busybox' -type f | head -n 1)
cp "$busybox" "$r/bin/busybox"
for applet in $("$busybox" --list); do [ "$applet" = busybox ] || ln -s busybox "$r/bin/$applet"; done
cp "$here/init" "$r/init" && chmod 755 "$r/init"
cp "$work/bank" "$work/line" "$r/usr/bin/"

modules=$(find "$work/root" -type d -path '*/lib/modules/*' -name kernel | head -n 1)
order="virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk failover net_failover virtio_net
  rng-core virtio-rng crc32c_generic libcrc32c crc16 mbcache jbd2 ext4
  pvpanic pvpanic-mmio" # pvpanic tells the host of a panic; its -mmio half is the one that finds the ISA device by ACPI
for m in $order; do # a name that is not found is built into this kernel
  file=$(find "$modules" -name "$m.ko*" | head -n 1)
  [ -n "$file" ] || continue
  case $file in
    *.xz) xz -dc "$file" >"$r/lib/modules/$m.ko" ;;
    *.zst)
      command -v zstd >/dev/null || die "zstd is missing, which unpacks this kernel's modules: apt-get install zstd"
      zstd -q -dc "$file" >"$r/lib/modules/$m.ko"
      ;;
    *) cp "$file" "$r/lib/modules/$m.ko" ;;
  esac
  echo "$m" >>"$r/lib/modules/order"
done

for program in dropbear dropbearkey; do
  cp "$(find "$work/root" -name "$program" -type f -perm -u+x | head -n 1)" "$r/usr/sbin/$program"
done
copy_libraries() { # every shared library that a program names, and what those name in turn
  local needed lib
  needed=$(objdump -p "$1" | sed -n 's/^ *NEEDED *//p')
  for lib in $needed; do
    [ -e "$r/lib/x86_64-linux-gnu/$lib" ] && continue
    local from
    from=$(find "$work/root" -name "$lib" | head -n 1)
    [ -n "$from" ] || die "$lib, which $1 needs, is in none of the packages"
    cp -L "$from" "$r/lib/x86_64-linux-gnu/$lib"
    copy_libraries "$from"
  done
}
copy_libraries "$r/usr/sbin/dropbear"
copy_libraries "$r/usr/sbin/dropbearkey"
for program in $(listed program); do
  from=$(find "$work/root" -name "$program" -path '*bin/*' | head -n 1)
  [ -n "$from" ] || die "the program $program is in none of the packages $(listed package | paste -sd ' ')"
  cp -L "$from" "$r/usr/bin/$program"
  copy_libraries "$r/usr/bin/$program"
done
cp -L "$(find "$work/root" -name 'ld-linux-x86-64.so.2' | head -n 1)" "$r/lib64/ld-linux-x86-64.so.2"

(cd "$r" && find . | LC_ALL=C sort | cpio -o -H newc --quiet --owner=0:0 | gzip -6) >"$work/initrd.gz"
cp "$(find "$work/root/boot" -name 'vmlinuz-*' | head -n 1)" "$work/vmlinuz"

# panic=10: where pvpanic is there, QEMU ends the VM at the panic, before these 10 s begin, and what happens then is for the
# slice's policy to say. They are for a panic before that module is loaded, and in a guest from a snapshot of before it: it
# boots again, and whoever waits for it sees it boot or sees its watchdog bite.
versions=$(cd "$work/debs" && for d in *.deb; do printf '"%s",' "$d"; done)
cat >"$work/image.json" <<JSON
{
  "format": 1,
  "name": "violin-linux$(printf -- '-%s' "$@" | sed 's/^-$//')",
  "kernel": "vmlinuz",
  "initrd": "initrd",
  "append": "console=ttyS0 quiet loglevel=4 panic=10 ipv6.disable=1 random.trust_cpu=on",
  "sha256": { "kernel": "$(sha256sum "$work/vmlinuz" | cut -d' ' -f1)", "initrd": "$(sha256sum "$work/initrd.gz" | cut -d' ' -f1)" },
  "inputs": "$inputs",
  "packages": [${versions%,}]
}
JSON
mv "$work/vmlinuz" "$out/vmlinuz"
mv "$work/initrd.gz" "$out/initrd"
mv "$work/image.json" "$out/image.json" # last: with it the image is whole
say "made $out: kernel $(du -h "$out/vmlinuz" | cut -f1), initramfs $(du -h "$out/initrd" | cut -f1)"
