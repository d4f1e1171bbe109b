#!/bin/sh
# make-certificates.sh DIRECTORY NAME UID: a CA (ca.crt) and a certificate of its for NAME (tls.crt, tls.key, the key for UID only).
#
# For trying things out. What is there already is kept; the CA's key is thrown away, so that nothing else can be issued by it.
set -eu
directory=$1 name=$2 uid=$3
cd "$directory"
if [ -f tls.crt ]; then
  exit 0
fi
umask 077
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=pgtls quick start CA" \
  -addext keyUsage=critical,keyCertSign,cRLSign -keyout ca.key -out ca.crt
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout tls.key -out tls.csr
printf 'subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n' "$name" >tls.ext
openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -extfile tls.ext -out tls.new
rm -f ca.key ca.srl tls.csr tls.ext
chmod 0644 ca.crt tls.new
chown "$uid" tls.key
chmod 0400 tls.key
mv tls.new tls.crt
