#!/bin/sh
# Makes the certificate authority and Elasticsearch's certificate, and replaces each of them in the last year before it
# expires.
#
# It runs at each `docker compose up`, before anything else, in Elasticsearch's image, which has elasticsearch-certutil.
set -eu
umask 077

tls=${TLS_FOLDER:-/tls}                # private: Elasticsearch's key and certificate, and the authority's key
ca=${CA_FOLDER:-/ca}                   # public: the authority's certificate, for all clients
owner=${ELASTICSEARCH_OWNER:-1000:0}   # the user that runs Elasticsearch in the image
authority_days=3650
server_days=1095
renewal_days=365

fail() {
  echo "certificates: $1" >&2
  exit 1
}

# lasts CERTIFICATE DAYS: whether the file exists, and is not yet in the period in which it is renewed
lasts() {
  [ -s "$1" ] && [ -z "$(find "$1" -mtime +$(($2 - renewal_days)))" ]
}

for folder in "$tls" "$ca"; do
  [ -w "$folder" ] || fail "cannot write to $folder: expected a volume that belongs to user $(id -u)"
done
rm -rf "$tls"/making.*
work=$(mktemp -d "$tls/making.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Certificates are removed first and written last, so if a certificate exists, its key also exists and matches it.

if lasts "$tls/ca.crt" "$authority_days" && [ -s "$tls/ca.key" ]; then
  echo "certificates: the authority is kept"
else
  elasticsearch-certutil ca --silent --pem --days "$authority_days" --out "$work/ca.zip" ||
    fail "elasticsearch-certutil could not make an authority"
  unzip -q "$work/ca.zip" -d "$work"
  chmod 0400 "$work/ca/ca.key"
  chmod 0444 "$work/ca/ca.crt"
  rm -f "$tls/elasticsearch.crt" "$tls/ca.crt"
  mv -f "$work/ca/ca.key" "$tls/ca.key"
  mv -f "$work/ca/ca.crt" "$tls/ca.crt"
  echo "certificates: made an authority that lasts $authority_days days"
fi

if [ "$(cat "$tls/ca.crt")" != "$(cat "$ca/ca.crt" 2>/dev/null)" ]; then
  cp "$tls/ca.crt" "$work/ca.crt.public"
  chmod 0444 "$work/ca.crt.public"
  mv -f "$work/ca.crt.public" "$ca/ca.crt"
fi

if lasts "$tls/elasticsearch.crt" "$server_days" && [ -s "$tls/elasticsearch.key" ]; then
  echo "certificates: Elasticsearch's certificate is kept"
else
  elasticsearch-certutil cert --silent --pem --days "$server_days" --out "$work/elasticsearch.zip" \
    --ca-cert "$tls/ca.crt" --ca-key "$tls/ca.key" \
    --name elasticsearch --dns elasticsearch,localhost --ip 127.0.0.1 ||
    fail "elasticsearch-certutil could not make Elasticsearch's certificate"
  unzip -q "$work/elasticsearch.zip" -d "$work"
  chmod 0400 "$work/elasticsearch/elasticsearch.key"
  chmod 0444 "$work/elasticsearch/elasticsearch.crt"
  chown "$owner" "$work/elasticsearch/elasticsearch.key"
  rm -f "$tls/elasticsearch.crt"
  mv -f "$work/elasticsearch/elasticsearch.key" "$tls/elasticsearch.key"
  mv -f "$work/elasticsearch/elasticsearch.crt" "$tls/elasticsearch.crt"
  echo "certificates: made Elasticsearch's certificate, which lasts $server_days days"
fi
