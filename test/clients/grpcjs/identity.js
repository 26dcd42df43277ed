// Calls the four methods of the example with @grpc/grpc-js as several callers,
// one after another, and prints what became of each as a line of JSON.
//
//   node identity.js HOST:PORT PROTO_ROOT CA_FILE < CALLERS
//
// Each line of the callers is a JSON object of files and tokens: cert, key, user
// and service, "" for none.

'use strict';

const fs = require('fs');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [addr, protoRoot, caFile] = process.argv.slice(2);
const definition = loader.loadSync('echo/v1/echo.proto', { includeDirs: [protoRoot] });
const { EchoService } = grpc.loadPackageDefinition(definition).echo.v1;
const deadline = () => ({ deadline: Date.now() + 10_000 });

// credentials are what the connection and its calls present.
function credentials(caller) {
  const file = (path) => (path ? fs.readFileSync(path) : null);
  const channel = grpc.credentials.createSsl(fs.readFileSync(caFile), file(caller.key), file(caller.cert));
  if (!caller.user && !caller.service) return channel;
  return grpc.credentials.combineChannelCredentials(channel, grpc.credentials.createFromMetadataGenerator((_, done) => {
    const metadata = new grpc.Metadata();
    if (caller.user) metadata.set('authorization', `Bearer ${caller.user}`);
    if (caller.service) metadata.set('easyops-service-authorization', `Bearer ${caller.service}`);
    done(null, metadata);
  }));
}

// name is that of a code as Go has it: PermissionDenied for PERMISSION_DENIED.
function name(code) {
  if (code === grpc.status.OK) return 'OK';
  return grpc.status[code].toLowerCase().replace(/(^|_)(.)/g, (all, _, letter) => letter.toUpperCase());
}

// one is what became of a call with one answer.
function one(begin) {
  return new Promise((resolve) => {
    begin((err, resp) => resolve({ code: name(err ? err.code : grpc.status.OK), message: resp ? resp.message : '' }));
  });
}

// several is what became of a call with a stream of answers.
function several(stream) {
  return new Promise((resolve) => {
    stream.on('data', () => {});
    stream.on('error', () => {}); // the status says it too
    stream.on('status', (status) => resolve({ code: name(status.code) }));
  });
}

function say(stream) {
  stream.write({ message: 'a' });
  stream.end();
  return stream;
}

async function answers(caller) {
  const client = new EchoService(addr, credentials(caller));
  const echo = await one((done) => client.echo({ message: 'hi' }, deadline(), done));
  const result = {
    who: echo.message,
    echo: echo.code,
    repeat: (await several(client.repeat({ message: 'hi', count: 1 }, deadline()))).code,
    collect: (await one((done) => say(client.collect(deadline(), done)))).code,
    chat: (await several(say(client.chat(deadline())))).code,
  };
  client.close();
  return result;
}

async function main() {
  for (const line of fs.readFileSync(0, 'utf8').trim().split('\n')) {
    console.log(JSON.stringify(await answers(JSON.parse(line))));
  }
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
