#!/bin/sh
# Two services that prove who they are and ask who calls: from the first key to
# the last refusal in 15 commands. README.md explains them. It needs a port of
# this machine, PORT or 4200, and leaves nothing but what it builds into .bin.
set -eu
cd "$(dirname "$0")/../.."
port=${PORT:-4200} dir=$(mktemp -d) pids=
trap 'kill $pids 2>/dev/null || true; wait; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

auth="mtls,jwks:$dir/keys/jwks.json?issuer=easyops-users&audience=example"
registry="local:$dir/registry"
greeter=greeter.v1.GreeterService

token() { .bin/easyops token --keys "$dir/keys" --audience example "$@"; }
call() { go -C test tool grpcurl -import-path ../proto -import-path ../example/proto -proto greeter/v1/greeter.proto "$@"; }
secure() { call -cacert "$dir/ca/ca.pem" "$@"; }
refused() { ! "$@" || { echo "It was let in, and should not have been."; exit 1; }; }

# Who is who: a key that signs tokens of users, an authority, and certificates of
# three services, of which one only calls.
go build -o .bin/ ./cmd/easyops ./example/echo ./example/greeter
.bin/easyops keys new "$dir/keys"
.bin/easyops ca new "$dir/ca"
.bin/easyops ca issue --id echo --service echo.v1.EchoService "$dir/ca"
.bin/easyops ca issue --id greeter --service $greeter --dns localhost "$dir/ca"
.bin/easyops ca issue --id billing "$dir/ca"

# Greeter finds echo through the registry.
.bin/echo -easyops.addr=127.0.0.1:0 -easyops.registry="$registry" -easyops.auth="$auth" \
	-easyops.tls-cert="$dir/ca/echo/cert.pem" -easyops.tls-key="$dir/ca/echo/key.pem" -easyops.tls-ca="$dir/ca/echo/ca.pem" &
pids="$pids $!"
.bin/greeter -easyops.addr="127.0.0.1:$port" -easyops.registry="$registry" -easyops.auth="$auth" \
	-easyops.tls-cert="$dir/ca/greeter/cert.pem" -easyops.tls-key="$dir/ca/greeter/key.pem" -easyops.tls-ca="$dir/ca/greeter/ca.pem" &
pids="$pids $!"

# This one is for everyone, so it tells when greeter serves.
until secure "localhost:$port" $greeter/GetLanguages; do kill -0 $pids; sleep 1; done

# Nobody is refused, and alice is greeted.
refused secure -d '{"name": "Ada"}' "localhost:$port" $greeter/Greet
secure -H "authorization: Bearer $(token --user alice)" -d '{"name": "Ada"}' "localhost:$port" $greeter/Greet

# This one is for users in the group staff. Echo, which greeter calls for each of
# the names, logs one call in a hundred: with user=alice and the service greeter.
names=$(yes '"Ada",' | head -n 2000)
refused secure -H "authorization: Bearer $(token --user alice)" -d '{"names": ["Ada"]}' "localhost:$port" $greeter/GreetAll
secure -H "authorization: Bearer $(token --user alice --groups staff)" -d "{\"names\": [$names \"Bob\"]}" "localhost:$port" $greeter/GreetAll | tail -n 3

# This one is for the service billing, which its certificate proves.
secure -cert "$dir/ca/billing/cert.pem" -key "$dir/ca/billing/key.pem" "localhost:$port" $greeter/ResetGreetings

# Without TLS there is not even what is for everyone.
refused call -plaintext -connect-timeout 2 "localhost:$port" $greeter/GetLanguages
